# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All files of a VM in one step: idempotent, atomic, put back after a failure, and without secrets in any output."""

from __future__ import annotations

import json
import os
import pwd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import files as vm_files
from tests.unit import module_runner
from tests.unit.vm.test_proxy import jwt

ME = pwd.getpwuid(os.getuid()).pw_name


def options(root, **changes):
    """What a first join writes, in a directory."""
    return {
        "directories": [{"path": f"{root}/kuma/tokens", "mode": "0750"}, {"path": f"{root}/kuma", "mode": "0755"}],
        "files": [{"path": f"{root}/kuma/a.env", "content": "A=1\n", "mode": "0640", "owner": ME}],
        "secrets": [{"path": f"{root}/kuma/tokens/a", "content": jwt(), "mode": "0600", "owner": ME}],
        "links": [{"path": f"{root}/kuma/current", "target": "2.14.3"}],
        **changes,
    }


def run(root, check=False, diff=True, **changes):
    return module_runner.run("proxy_files", options(root, **changes), check=check, diff=diff)


def snapshot(root):
    """Everything below a directory: type, content, mode, inode and time of each path."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(root))] = (content, oct(status.st_mode), status.st_ino, status.st_mtime_ns, status.st_uid)
    return found


def test_the_first_run_writes_and_the_second_touches_nothing(tmp_path):
    first = run(tmp_path)
    assert first["changed"]
    assert sorted(first["changed_paths"]) == [f"{tmp_path}/kuma{rest}" for rest in ("", "/a.env", "/current", "/tokens", "/tokens/a")]
    assert (tmp_path / "kuma/tokens/a").read_text() == jwt()
    assert oct((tmp_path / "kuma/tokens/a").stat().st_mode & 0o777) == "0o600"
    assert os.readlink(tmp_path / "kuma/current") == "2.14.3"
    before = snapshot(tmp_path)
    second = run(tmp_path)
    assert (second["changed"], second["changed_paths"], second["diff"]) == (False, [], [])
    assert snapshot(tmp_path) == before


def test_a_check_writes_nothing_and_says_the_same(tmp_path):
    checked = run(tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []
    written = run(tmp_path)
    assert checked["changed_paths"] == written["changed_paths"]
    assert checked["diff"] == written["diff"]


def test_a_check_accepts_owners_that_an_earlier_task_would_have_created(tmp_path):
    files = [{"path": f"{tmp_path}/a", "content": "x", "owner": "kuma-dp-missing", "group": "kuma-dp-missing"}]
    assert run(tmp_path, check=True, files=files)["changed"]
    failed = run(tmp_path, files=files)
    assert failed["failed"]
    assert failed["problems"] == [
        f"{tmp_path}/a: there is no user kuma-dp-missing",
        f"{tmp_path}/a: there is no group kuma-dp-missing",
    ]
    assert list(tmp_path.iterdir()) == []


def test_no_output_holds_a_secret(tmp_path):
    env = {"path": f"{tmp_path}/kuma/a.env", "content": f'A=1\nDB_PASSWORD="hunter2"\nB={jwt()}\n'}
    outputs = [run(tmp_path, files=[env]), run(tmp_path, files=[dict(env, content="A=2\n")], secrets=[])]
    outputs.append(run(tmp_path, secrets=[dict(options(tmp_path)["secrets"][0], content="another-secret-text")], check=True))
    outputs.append(
        run(tmp_path, directories=[], files=[], secrets=[], links=[], absent=[f"{tmp_path}/kuma/tokens/a"], below=[f"{tmp_path}/kuma"])
    )
    text = json.dumps(outputs)
    for secret in (jwt(), jwt().split(".")[1], "hunter2", "another-secret-text"):
        assert secret not in text
    assert "+A=2" not in text  # the diff is before and after, not a patch
    assert "A=2" in text
    assert "(secret, %d bytes)" % len(jwt()) in text


def test_of_an_environment_file_the_names_are_shown_and_which_values_change(tmp_path):
    env = {"path": f"{tmp_path}/kuma/a.env", "mode": "0640", "shown": ["PORT", "URL"]}
    before = 'A="canary-a"\nGONE="canary-gone"\nPORT="1"\nSEVERAL="canary-one\nB=canary-two"\n'
    after = 'A="canary-a"\nNEW="canary-new"\nPORT="2"\nSEVERAL="canary-three\nB=canary-two"\nURL="https://me:canary@example.com/"\n'
    first = run(tmp_path, files=[], secrets=[{**env, "content": before}])
    second = run(tmp_path, files=[], secrets=[{**env, "content": after}])
    again = run(tmp_path, files=[], secrets=[{**env, "content": after}])
    assert "canary" not in json.dumps([first, second, again])
    (diff,) = second["diff"]
    assert diff["before"] == "A=(hidden)\nGONE=(hidden)\nPORT=1\nSEVERAL=(hidden)\n"
    assert diff["after"] == "A=(hidden)\nNEW=(hidden)\nPORT=2\nSEVERAL=(hidden, changed)\nURL=https://(hidden)@example.com/\n"
    assert not again["changed"]
    assert [entry["before"] for entry in first["diff"] if entry["after_header"].endswith("a.env")] == [""]


def test_the_diff_of_a_file_is_true(tmp_path):
    run(tmp_path)
    changed = run(tmp_path, files=[dict(options(tmp_path)["files"][0], content="A=2\n")])
    header = f"{tmp_path}/kuma/a.env"
    assert changed["diff"] == [{"before_header": header, "after_header": header, "before": "A=1\n", "after": "A=2\n"}]
    assert "diff" not in run(tmp_path, diff=False)


def test_a_mode_alone_is_repaired_without_a_rewrite(tmp_path):
    run(tmp_path)
    token = tmp_path / "kuma/tokens/a"
    token.chmod(0o644)
    (tmp_path / "kuma/tokens").chmod(0o777)
    before = token.stat().st_ino
    repaired = run(tmp_path)
    assert repaired["changed_paths"] == [f"{tmp_path}/kuma/tokens", str(token)]
    assert [(oct(path.stat().st_mode & 0o777)) for path in (token, token.parent)] == ["0o600", "0o750"]
    assert token.stat().st_ino == before
    assert "mode: 0644" in repaired["diff"][1]["before"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_the_owner_is_repaired(tmp_path):
    run(tmp_path)
    os.chown(tmp_path / "kuma/tokens/a", 12345, 12345)
    assert run(tmp_path)["changed_paths"] == [f"{tmp_path}/kuma/tokens/a"]
    assert (tmp_path / "kuma/tokens/a").stat().st_uid == os.getuid()
    assert not run(tmp_path)["changed"]


def test_a_secret_without_content_keeps_what_it_has(tmp_path):
    run(tmp_path)
    kept = [{"path": f"{tmp_path}/kuma/tokens/a", "mode": "0600", "owner": ME}]
    assert not run(tmp_path, secrets=kept)["changed"]
    (tmp_path / "kuma/tokens/a").chmod(0o640)
    assert run(tmp_path, secrets=kept)["changed"]
    assert (tmp_path / "kuma/tokens/a").read_text() == jwt()
    missing = run(tmp_path, secrets=[{"path": f"{tmp_path}/kuma/tokens/b"}])
    assert missing["problems"] == [f"{tmp_path}/kuma/tokens/b does not exist, expected its content"]


def test_a_link_is_switched_and_never_missing(tmp_path, monkeypatch):
    run(tmp_path)
    seen = []
    rename = os.rename

    def watched(source, target, **named):
        seen.append(os.readlink(tmp_path / "kuma/current"))
        rename(source, target, **named)
        seen.append(os.readlink(tmp_path / "kuma/current"))

    monkeypatch.setattr(os, "rename", watched)
    run(tmp_path, links=[{"path": f"{tmp_path}/kuma/current", "target": "2.14.4"}])
    assert seen == ["2.14.3", "2.14.4"]


def test_everything_is_checked_before_the_first_write(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("x")
    bad = [
        {"path": f"{tmp_path}/good", "content": "x"},
        {"path": f"{tmp_path}/missing/a", "content": "x"},
        {"path": f"{tmp_path}/taken", "content": "x"},
        {"path": f"{tmp_path}/mode", "content": "x", "mode": "rw"},
        {"path": "relative", "content": "x"},
        {"path": f"{tmp_path}/good", "content": "y"},
    ]
    before = snapshot(tmp_path)
    failed = run(tmp_path, directories=[{"path": f"{tmp_path}/file"}], files=bad, secrets=[], links=[], absent=["/etc"])
    assert snapshot(tmp_path) == before
    assert failed["msg"].startswith("Nothing was written: ")
    expected = "expected a path strictly below one of below (which is empty), or one that is known to be a proxy's"
    assert sorted(failed["problems"]) == sorted(
        [
            f"{tmp_path}/missing/a: there is no directory {tmp_path}/missing, expected it to exist or among the directories",
            f"{tmp_path}/taken is a directory, expected a file",
            f"{tmp_path}/file is a file, expected a directory",
            f"{tmp_path}/mode: its mode is not octal, expected three or four digits such as '0640'",
            "relative is not an absolute path",
            f"{tmp_path}/good is given twice",
            f"absent: /etc is not to be removed, {expected}",
        ]
    )


@pytest.mark.parametrize("function", ["rename", "fsync", "link", "symlink", "chmod", "mkdir"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_failure_half_way_leaves_nothing_changed(tmp_path, monkeypatch, function, call):
    run(tmp_path)
    before = snapshot(tmp_path)
    original, calls = getattr(os, function), []

    def failing(*arguments, **named):
        calls.append(arguments)
        if len(calls) == call:
            raise OSError(28, "No space left on device")
        return original(*arguments, **named)

    changes = {
        "directories": [
            {"path": f"{tmp_path}/kuma", "mode": "0700"},
            {"path": f"{tmp_path}/kuma/tokens"},
            {"path": f"{tmp_path}/kuma/new"},
        ],
        "files": [
            {"path": f"{tmp_path}/kuma/a.env", "content": "A=2\n", "mode": "0644"},
            {"path": f"{tmp_path}/kuma/new/b.env", "content": "B=2\n"},
        ],
        "secrets": [{"path": f"{tmp_path}/kuma/tokens/a", "content": "other", "mode": "0600"}],
        "links": [{"path": f"{tmp_path}/kuma/current", "target": "2.14.4"}],
    }
    monkeypatch.setattr(os, function, failing)
    failed = run(tmp_path, **changes)
    monkeypatch.undo()
    if len(calls) < call:
        assert not failed.get("failed")
        return
    assert failed["failed"]
    assert "No space left on device" in failed["msg"]
    after = snapshot(tmp_path)
    assert {path: facts[:3] for path, facts in after.items()} == {path: facts[:3] for path, facts in before.items()}
    assert not run(tmp_path, **options(tmp_path))["changed"]


def test_paths_are_removed_once(tmp_path):
    run(tmp_path)
    absent = {"directories": [], "files": [], "secrets": [], "links": [], "absent": [f"{tmp_path}/kuma/current", f"{tmp_path}/kuma/tokens"]}
    absent["below"] = [f"{tmp_path}/kuma"]
    assert run(tmp_path, **absent)["changed_paths"] == absent["absent"]
    assert sorted(os.listdir(tmp_path / "kuma")) == ["a.env"]
    assert not run(tmp_path, **absent)["changed"]


NAMES = st.sampled_from(["a", "b", "c"])
CONTENTS = st.dictionaries(NAMES, st.text(max_size=20), max_size=3)


@given(CONTENTS, CONTENTS)
def test_any_state_becomes_any_other(tmp_path_factory, old, new):
    root = tmp_path_factory.mktemp("files")
    for state in (old, new):
        wishes = [vm_files.Wish("file", str(root / name), content.encode()) for name, content in state.items()]
        wishes += [vm_files.Wish("absent", str(root / name)) for name in old if name not in state]
        vm_files.apply(vm_files.plan(wishes))
        assert {path.name: path.read_bytes().decode() for path in root.iterdir()} == state
        assert vm_files.plan(wishes) == []


def hostile(root, content="x"):
    """A file in a directory in which everybody writes, beside one that nobody may read or change."""
    (root / "kuma/env").mkdir(parents=True)
    (root / "kuma/env").chmod(0o777)
    shadow = root / "shadow"
    shadow.write_text("of nobody else")
    shadow.chmod(0o600)
    return shadow, root / "kuma/env/a.env", {"files": [{"path": f"{root}/kuma/env/a.env", "content": content, "mode": "0640"}]}


def none_of(**options):
    return {"directories": [], "files": [], "secrets": [], "links": [], **options}


@pytest.mark.parametrize("content", ["x", "of nobody else"])
@pytest.mark.parametrize("kind", ["link", "second name"])
def test_another_file_that_somebody_put_in_the_place_of_one_stays_as_it_is(tmp_path, kind, content):
    """Its content is not told either, nor whether it is the wanted one."""
    shadow, path, options = hostile(tmp_path, content)
    path.symlink_to(shadow) if kind == "link" else os.link(shadow, path)
    done = run(tmp_path, **none_of(**options))
    assert done["changed_paths"] == [str(path)]
    assert "of nobody else" not in json.dumps(done["diff"]).replace(json.dumps(done["diff"][0]["after"]), "")
    assert (path.read_text(), path.is_symlink(), path.stat().st_mode & 0o777) == (content, False, 0o640)
    assert (shadow.read_text(), shadow.stat().st_mode & 0o777, shadow.stat().st_nlink) == ("of nobody else", 0o600, 1)


def test_a_file_without_end_is_replaced(tmp_path):
    _shadow, path, options = hostile(tmp_path)
    with path.open("wb") as handle:
        handle.truncate(1 << 40)
    assert run(tmp_path, check=True, **none_of(**options))["changed"]
    assert run(tmp_path, **none_of(**options))["changed"]
    assert path.read_text() == "x"


def test_a_directory_that_leads_elsewhere_is_named_and_nothing_is_written_there(tmp_path):
    shadow, _path, options = hostile(tmp_path)
    (tmp_path / "kuma").chmod(0o777)
    (tmp_path / "kuma/env").rmdir()
    (tmp_path / "kuma/env").symlink_to(tmp_path)
    (tmp_path / "a.env").write_text("of root")
    failed = run(tmp_path, **none_of(**options))
    assert failed["failed"]
    assert any("leads through the link env" in problem for problem in failed["problems"])
    assert (tmp_path / "a.env").read_text() == "of root"
    assert shadow.read_text() == "of nobody else"


def test_what_is_new_is_there_before_what_imports_it(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("import c")
    order, rename = [], os.rename
    monkeypatch.setattr(os, "rename", lambda source, target, **named: order.append(target) or rename(source, target, **named))
    files = [{"path": f"{tmp_path}/{name}.py", "content": "new"} for name in "abcd"]
    (tmp_path / "b.py").write_text("old")
    assert run(tmp_path, **none_of(files=files))["changed"]
    assert order == ["c.py", "d.py", "a.py", "b.py"]
