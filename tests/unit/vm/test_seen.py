# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a look tells of paths: enough to compare them, and nothing of a secret."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import types

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import seen as vm_seen
from tests.unit import module_runner
from tests.unit.vm.test_proxy import jwt

ME = pwd.getpwuid(os.getuid()).pw_name
MINE = grp.getgrgid(os.getgid()).gr_name


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "file").write_text("A=1\n")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "directory").mkdir(mode=0o750)
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "token").write_text(jwt())
    (tmp_path / "token").chmod(0o600)
    return tmp_path


def test_each_kind_is_told_with_what_it_has(tree):
    own = {"owner": ME, "group": MINE}
    expected = {
        "file": {"kind": "file", "mode": "0640", "sha256": hashlib.sha256(b"A=1\n").hexdigest(), **own},
        "directory": {"kind": "directory", "mode": "0750", **own},
        "link": {"kind": "link", "mode": "0777", "target": "file", **own},
        "fifo": {"kind": "other", "mode": "0600", **own},
        "missing": {"kind": "absent"},
        "file/below": {"kind": "absent"},
    }
    found = vm_seen.describe(f"{tree}/{name}" for name in expected)
    assert found == {f"{tree}/{name}": facts for name, facts in expected.items()}


def test_nothing_of_a_secret_is_told_but_who_may_read_it(tree):
    token, link = f"{tree}/token", f"{tree}/link"
    result = module_runner.run("proxy_info", {"paths": [token, f"{tree}/file"], "secret_paths": [token, link, f"{tree}/gone"]})
    paths = result["host"]["paths"]
    assert paths[token] == {"kind": "file", "mode": "0600", "owner": ME, "group": MINE}
    assert paths[link] == {"kind": "link", "mode": "0777", "owner": ME, "group": MINE}
    assert paths[f"{tree}/gone"] == {"kind": "absent"}
    assert "sha256" in paths[f"{tree}/file"]
    text = json.dumps(result)
    for secret in (jwt(), hashlib.sha256(jwt().encode()).hexdigest(), str(len(jwt()))):
        assert secret not in text


def test_with_a_key_nobody_else_can_try_what_a_file_holds(tree):
    path = f"{tree}/file"
    plain = hashlib.sha256((tree / "file").read_bytes()).hexdigest()
    told = [module_runner.run("proxy_info", {"paths": [path], "digest_key": key}) for key in ("one of a run", "that of another")]
    digests = [result["host"]["paths"][path]["sha256"] for result in told]
    assert digests == [vm_seen.digest_of((tree / "file").read_bytes(), key) for key in ("one of a run", "that of another")]
    assert len({plain, *digests}) == 3
    assert "one of a run" not in json.dumps(told)
    assert vm_seen.describe([path])[path]["sha256"] == vm_seen.digest_of((tree / "file").read_bytes()) == plain


def test_without_paths_none_are_told(tmp_path):
    assert module_runner.run("proxy_info", {"config_dir": str(tmp_path)})["host"]["paths"] == {}


def test_a_check_tells_the_same(tree):
    options = {"paths": [f"{tree}/file", f"{tree}/directory"]}
    results = [module_runner.run("proxy_info", options, check=check)["host"]["paths"] for check in (False, True)]
    assert results[0] == results[1]


def test_paths_that_are_none_are_refused_all_at_once(tree):
    failed = module_runner.run("proxy_info", {"paths": ["relative", f"{tree}/../x"], "secret_paths": ["also", f"{tree}//file"]})
    assert failed["msg"] == (
        "Nothing was looked at: paths: relative is not an absolute path; "
        f"paths: {tree}/../x has .. among its parts, expected a path without . and ..; secret_paths: also is not an absolute path"
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_owners_without_a_name_are_numbers(tree):
    os.chown(tree / "file", 12345, 54321)
    facts = vm_seen.describe([f"{tree}/file"])[f"{tree}/file"]
    assert (facts["owner"], facts["group"]) == ("12345", "54321")


def test_each_owner_is_looked_up_once(tree, monkeypatch):
    asked = []
    fake = types.SimpleNamespace(getpwuid=lambda uid: asked.append(uid) or pwd.getpwuid(uid))
    monkeypatch.setattr(vm_seen, "pwd", fake)
    vm_seen.describe([f"{tree}/{name}" for name in os.listdir(tree)])
    assert asked == [os.getuid()]


def test_what_cannot_be_looked_at_is_not_absent(tree, monkeypatch):
    def refuse(*_arguments, **_named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(vm_seen.safely, "read", refuse)
    assert "sha256" not in vm_seen.describe([f"{tree}/file"])[f"{tree}/file"]
    monkeypatch.setattr(vm_seen.safely, "status", refuse)
    assert vm_seen.kind_of(f"{tree}/file") == "other"
    assert vm_seen.describe([f"{tree}/file"]) == {f"{tree}/file": {"kind": "other"}}
