# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A comparison on the controller says what a write on the VM would do, and where it cannot know, that there is something to do."""

from __future__ import annotations

import json
import os
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import comparing
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import files as vm_files
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import seen as vm_seen
from tests.examples import examples
from tests.unit import module_runner
from tests.unit.vm.test_files import ME, options

# No user has these numbers.
OWNERS = {"root": 0, "12345": 12345, "54321": 54321} if os.getuid() == 0 else {ME: os.getuid()}
PATHS = ["a", "b", "c", "d", "d/a", "d/b"]
CONTENTS = ["", "x\n", "ä"]
MODES = ["0640", "644", "0755", "1777"]


KEY = "of this run"


def described(params):
    """What a look tells of the paths of a write, as it reaches the controller."""
    return json.loads(json.dumps(vm_seen.describe(*comparing.paths_of(params), KEY)))


# -- against the plan of a write


def attributes():
    return {"mode": st.sampled_from(MODES), "owner": st.sampled_from([*OWNERS]), "group": st.sampled_from([*OWNERS])}


def wish(kind):
    more = {
        "files": {"content": st.sampled_from(CONTENTS)},
        "secrets": {"content": st.none()},
        "environments": {"content": st.sampled_from(CONTENTS), "shown": st.just([])},
        "links": {"target": st.sampled_from(["a", "b"])},
    }
    if kind == "links":
        return st.fixed_dictionaries(more[kind])
    return st.fixed_dictionaries(more.get(kind, {}), optional=attributes())


KINDS = ["directories", "files", "secrets", "environments", "links", "absent"]
WISHES = st.dictionaries(
    st.sampled_from(PATHS),
    st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), st.none() if kind == "absent" else wish(kind))),
)
THERE = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(["file", "directory", "link", "fifo"]))
DEEDS = ["content", "mode", "sticky", "owner", "group", "gone", "other"]


def params_of(root, wishes):
    params = {kind: [] for kind in KINDS if kind != "environments"}
    for path, (kind, more) in wishes.items():
        params["secrets" if kind == "environments" else kind].append(
            f"{root}/{path}" if kind == "absent" else {"path": f"{root}/{path}", **more}
        )
    return {**params, "below": [str(root)]}


def put(path, kind):
    if not path.parent.is_dir() or os.path.lexists(path):
        return
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("a")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("x\n")


def spoil(path, deed):
    """One path otherwise than it was wished, where it can be."""
    if not os.path.lexists(path) or (path.is_dir() and not path.is_symlink() and os.listdir(path)):
        return
    if deed in ("gone", "other"):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        if deed == "other":
            os.mkfifo(path)
    elif path.is_symlink():
        path.unlink()
        path.symlink_to("c")
    elif deed == "content" and path.is_file():
        path.write_text("another")
    elif deed in ("mode", "sticky"):
        path.chmod(0o604 if deed == "mode" else path.stat().st_mode ^ 0o1000)
    elif deed in ("owner", "group") and os.getuid() == 0:
        os.chown(path, *((77777, -1) if deed == "owner" else (-1, 77777)), follow_symlinks=False)


def check(params):
    """Returns what differs."""
    differing = comparing.differs(params, described(params), KEY)
    removals, problems = vm_files.removals_of(params)
    try:
        changes = vm_files.plan([*vm_files.wishes_of(params), *removals], known=problems)
    # An OSError is a directory that is a link to itself.
    except (vm_files.Problems, OSError):
        assert differing, "a visit that would complain is not left out"
    else:
        assert differing == [change.wish.path for change in changes]
    return differing


@given(wishes=WISHES, there=THERE)
@settings(max_examples=examples(200))
def test_what_differs_is_what_a_write_would_change_wherever_it_comes(tmp_path_factory, wishes, there):
    root = tmp_path_factory.mktemp("tree")
    for path in PATHS:
        if path in there:
            put(root / path, there[path])
    check(params_of(root, wishes))


@given(wishes=WISHES, spoilt=st.sampled_from(PATHS), deed=st.sampled_from(DEEDS))
@settings(max_examples=examples(400))
def test_after_a_write_nothing_differs_but_what_somebody_changed(tmp_path_factory, wishes, spoilt, deed):
    root = tmp_path_factory.mktemp("tree")
    if any("/" in path for path in wishes):
        wishes["d"] = ("directories", {"mode": "0755"})
    params = params_of(root, wishes)
    # A secret without content keeps what it has.
    given = {
        **params,
        "secrets": [{"content": "x", **{key: value for key, value in item.items() if value is not None}} for item in params["secrets"]],
    }
    # Nobody cuts the power of a test.
    with mock.patch.object(os, "fsync"):
        vm_files.apply(vm_files.plan(vm_files.wishes_of(given)))
    assert check(params) == []
    spoil(root / spoilt, deed)
    assert set(check(params)) <= {f"{root}/{path}" for path in wishes if path == spoilt or spoilt == "d"}


# -- as the modules have it


def looked(params):
    paths, secrets = comparing.paths_of(params)
    return module_runner.run("proxy_info", {"paths": paths, "secret_paths": secrets})["host"]["paths"]


def test_after_a_write_only_secrets_with_content_differ(tmp_path):
    params = options(tmp_path, absent=[f"{tmp_path}/kuma/old"], below=[f"{tmp_path}/kuma"])
    (tmp_path / "kuma").mkdir()
    (tmp_path / "kuma/old").write_text("x")
    before = comparing.differs(params, looked(params))
    assert before == module_runner.run("proxy_files", params, check=True)["changed_paths"]
    assert f"{tmp_path}/kuma/old" in before
    module_runner.run("proxy_files", params)
    secret = params["secrets"][0]
    assert comparing.differs(params, looked(params)) == [secret["path"]]
    kept = {**params, "secrets": [{key: value for key, value in secret.items() if key != "content"}]}
    assert comparing.differs(kept, looked(kept)) == []
    (tmp_path / "kuma/tokens/a").chmod(0o644)
    assert comparing.differs(kept, looked(kept)) == [secret["path"]]
    assert module_runner.run("proxy_files", kept, check=True)["changed_paths"] == [secret["path"]]


FILE = {"path": "/etc/kuma/a", "content": "x\n", "mode": "0644", "owner": "root", "group": "root"}
RIGHT = {"kind": "file", "mode": "0644", "owner": "root", "group": "root"}
RIGHT["sha256"] = "73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac"


@pytest.mark.parametrize(
    ("wanted", "seen", "different"),
    [
        ({}, {}, False),
        ({"mode": None, "owner": None, "group": None}, {"mode": "0600", "owner": "web", "group": "web"}, False),
        ({"owner": "0"}, {}, False),
        ({"group": 0}, {}, False),
        ({"owner": "web"}, {}, True),
        # Who that is only the VM knows.
        ({"owner": "1"}, {"owner": "daemon"}, True),
        ({"mode": "644"}, {}, False),
        ({"mode": "0600"}, {}, True),
        ({}, {"mode": "1644"}, True),
        ({}, {"group": "web"}, True),
        ({"mode": "rw"}, {}, True),
        ({}, {"sha256": "0"}, True),
        ({}, {"sha256": None}, True),
        ({}, {"kind": "link", "target": "x"}, True),
        ({}, {"kind": "other"}, True),
        ({"path": "/etc//kuma/a/"}, {}, False),
        ({"path": "/etc/kuma/./a"}, {}, True),
        ({"path": "/etc/kuma/b"}, {}, True),
    ],
)
def test_a_file_differs_by_what_was_asked_for(wanted, seen, different):
    facts = {"/etc/kuma//a": {**RIGHT, **seen}}
    assert bool(comparing.differs({"files": [{**FILE, **wanted}]}, facts)) is different


def test_what_is_asked_for_twice_is_left_to_the_visit():
    assert comparing.differs({"files": [FILE, FILE]}, {"/etc/kuma/a": RIGHT}) == ["/etc/kuma/a"] * 2


@pytest.mark.parametrize("option", ["absent_releases", "absent_unfinished", "absent_if_empty"])
def test_what_a_look_does_not_tell_differs(option):
    assert comparing.differs({option: ["/opt/kuma/"]}, {"/opt/kuma": {"kind": "absent"}}) == ["/opt/kuma"]


def test_nothing_asked_for_is_nothing_to_do():
    assert comparing.differs({}, {}) == []
    assert comparing.paths_of({}) == ([], [])
    assert comparing.differs({"absent": ["/etc/kuma/b"]}, {"/etc/kuma/b": {"kind": "absent"}}) == []
    assert comparing.differs({"absent": ["/etc/kuma/b"]}, {}) == ["/etc/kuma/b"]
