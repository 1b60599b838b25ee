# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module that puts a release on a VM: what it says that it did is what it did, and a check does nothing."""

from __future__ import annotations

import os
import types

import pytest
from ansible.module_utils import basic

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import account, release
from tests.unit import module_runner
from tests.unit.vm import archives
from tests.unit.vm.test_files import snapshot

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to root")
OURS = "Kuma data plane proxies"
UID = 4711
ACCOUNT = {"user": "kuma-dp", "group": "kuma-dp", "comment": OURS}


class System:
    """The users and groups of a VM, and the commands that make them."""

    def __init__(self):
        self.users, self.groups = {}, set()
        self.commands, self.broken = [], ""

    def run_command(self, command, **_options):
        program, name = command[0], command[-1]
        self.commands.append(command)
        if program == self.broken:
            return 1, "", f"{program}: cannot lock /etc/passwd; try again later.\n"
        if program == "useradd":
            assert command[command.index("--gid") + 1] in self.groups
            self.users[name] = command[command.index("--comment") + 1]
        elif program == "groupadd":
            self.groups.add(name)
        elif program == "userdel":
            # As Debian has it, with the group of the user.
            del self.users[name]
            self.groups.discard(name)
        else:
            assert program == "groupdel"
            return (0 if name in self.groups else 6), "", ""
        return 0, "", ""

    def user(self, name):
        return types.SimpleNamespace(pw_gecos=self.users[name], pw_uid=UID)

    def group(self, name):
        if name not in self.groups:
            raise KeyError(name)


@pytest.fixture
def system(monkeypatch, tmp_path, tmp_path_factory):
    found = System()
    monkeypatch.setattr(basic.AnsibleModule, "run_command", lambda _module, command, **options: found.run_command(command, **options))
    monkeypatch.setattr(account, "pwd", types.SimpleNamespace(getpwnam=found.user))
    monkeypatch.setattr(account, "grp", types.SimpleNamespace(getgrnam=found.group))
    monkeypatch.setattr(release, "SELINUX", str(tmp_path / "none"))
    monkeypatch.setattr(release, "LOCK", str(tmp_path_factory.mktemp("run") / "lock"))
    return found


@pytest.fixture
def options(tmp_path):
    """A first join, with the archive on the VM."""
    checksum = archives.pack(tmp_path / "kuma.tar.gz", archives.release())
    (tmp_path / "vm").mkdir()
    place = {"install_dir": f"{tmp_path}/vm/opt", "version": "2.14.3"}
    return {**ACCOUNT, **place, "src": f"{tmp_path}/kuma.tar.gz", "checksum": checksum.upper(), "programs": ["kuma-dp", "envoy"]}


def tree(root):
    """Everything below a directory without its times: one is made and goes again."""
    return {path: facts[:2] for path, facts in snapshot(root).items()}


def run(options, check=False):
    return module_runner.run("proxy_release", options, check=check)


def test_a_first_join_makes_all_of_it_and_a_check_says_the_same(system, options, tmp_path):
    before = tree(tmp_path)
    checked = run(options, check=True)
    assert (tree(tmp_path), system.commands) == (before, [])
    done = run(options)
    assert (done["changed"], done["actions"]) == (True, ["directories made", "unpacked", "group made", "user made"])
    assert (checked["changed"], checked["actions"]) == (True, done["actions"])
    assert (checked["replaced"], done["replaced"]) == (False, False), "nothing was there"
    assert system.users == {"kuma-dp": OURS}
    assert (tmp_path / "vm/opt/2.14.3/bin/envoy").read_bytes() == b"new envoy"
    assert (tmp_path / "kuma.tar.gz").exists(), "it belongs to whoever put it there"


def test_what_is_there_is_left_alone(system, options):
    run(options)
    system.commands.clear()
    again = run({**options, "src": None, "checksum": None})
    assert (again["changed"], again["actions"], system.commands) == (False, [], [])
    assert run(options)["actions"] == ["unpacked"], "what is asked for is unpacked"


@pytest.mark.parametrize("kind", ["file", "link"])
@pytest.mark.parametrize("other", [False, True])
def test_whether_a_program_is_another_one_is_told(system, options, tmp_path, other, kind):
    def members(number):
        there = archives.release(envoy=b"envoy %d" % number) if kind == "file" else archives.release()
        return [*there, archives.link("bin/other", f"envoy-{number}" if kind == "link" else "envoy")]

    options["checksum"] = archives.pack(tmp_path / "kuma.tar.gz", members(1))
    run(options)
    mark = tmp_path / "vm/opt/2.14.3/.archive-sha256"
    mark.write_text(options["checksum"] + "\n")
    if other:
        options["checksum"] = archives.pack(tmp_path / "kuma.tar.gz", members(2))
    (tmp_path / "vm/opt/2.14.3/bin/envoy").chmod(0o700)
    # A check is made without the archive, too.
    assert [run({**options, "src": src}, check=True)["replaced"] for src in (options["src"], None)] == [other, other]
    assert run(options)["replaced"] is other
    mark.unlink(missing_ok=True)
    assert run({**options, "src": None}, check=True)["replaced"], "nobody knows what it is"
    assert not run(options)["replaced"]


def test_directories_are_made_without_an_archive_and_accounts_without_a_version(system, options, tmp_path):
    assert run({**options, "src": None, "version": None})["actions"] == ["group made", "user made"]
    assert not (tmp_path / "vm/opt").exists()
    assert run({**options, "src": None})["actions"] == ["directories made"]
    (tmp_path / "vm/opt").chmod(0o777)
    assert run({**options, "src": None})["actions"] == ["directories repaired"]
    assert oct((tmp_path / "vm/opt").stat().st_mode) == "0o40755"


def test_slashes_that_say_nothing_change_nothing(system, options, tmp_path):
    run(options)
    assert run({**options, "src": None, "install_dir": f"{tmp_path}//vm/opt/"})["actions"] == []


@pytest.mark.parametrize("check", [False, True])
def test_an_archive_that_is_refused_leaves_no_account_either(system, options, tmp_path, check):
    options["checksum"] = archives.pack(tmp_path / "kuma.tar.gz", [*archives.release(), archives.member("../x")])
    before = tree(tmp_path)
    failed = run(options, check=check)
    assert failed["failed"]
    assert "has a member 'kuma-2.14.3/../x', which has .. among the parts of its path" in failed["msg"]
    assert (failed["actions"], failed["changed"]) == ([], False)
    assert (tree(tmp_path), system.commands) == (before, [])


@pytest.mark.parametrize("fault", ["checksum", "conflict", "space"])
def test_a_check_finds_what_a_run_would(system, options, tmp_path, monkeypatch, fault):
    if fault == "checksum":
        options["checksum"] = "0" * 64
    elif fault == "conflict":
        (tmp_path / "vm/opt/2.14.3/README").mkdir(parents=True)
    else:
        monkeypatch.setattr(release.os, "statvfs", lambda _path: types.SimpleNamespace(f_bavail=0, f_frsize=1, f_blocks=9))
    messages = [run(options, check=check)["msg"] for check in (True, False)]
    assert messages[0].replace("/vm has", "/vm/opt/2.14.3 has") == messages[1]


def test_a_check_accepts_an_archive_that_nobody_transferred(system, options):
    options["src"] += ".later"
    assert run(options, check=True)["actions"][:2] == ["directories made", "unpacked"]
    assert "No such file" in run(options)["msg"]


def test_a_command_that_fails_is_told_with_what_was_done_before(system, options):
    system.broken = "useradd"
    failed = run(options)
    assert failed["failed"]
    assert failed["msg"].startswith("user: useradd failed for kuma-dp: useradd: cannot lock /etc/passwd; try again later.. Correct that")
    assert (failed["changed"], failed["actions"]) == (True, ["directories made", "unpacked", "group made"])
    system.broken = ""
    assert run(options)["actions"] == ["unpacked", "user made"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("inner", ["opt", "deep/opt"])
def test_where_the_user_of_the_proxies_could_exchange_programs_none_are_put(system, options, tmp_path, check, inner):
    system.users["kuma-dp"] = OURS
    (tmp_path / "vm/deep").mkdir()
    os.chown(tmp_path / "vm", UID, -1)
    before = tree(tmp_path)
    done = run({**options, "install_dir": f"{tmp_path}/vm/{inner}"}, check=check)
    assert done["msg"].startswith(f"install_dir: {tmp_path}/vm is the user's whom proxies run as")
    assert (tree(tmp_path), system.commands) == (before, [])
    # That of somebody else is none of its business.
    os.chown(tmp_path / "vm", UID + 1, -1)
    assert run({**options, "install_dir": f"{tmp_path}/vm/{inner}"}, check=check)["changed"]


def test_all_that_is_wrong_with_the_options_is_told_at_once(system, options, tmp_path):
    before = tree(tmp_path)
    failed = run({**options, "user": "-x", "version": "..", "checksum": "abc"})
    assert [problem.split(" ")[0] for problem in failed["problems"]] == ["user", "version", "checksum:"]
    assert failed["msg"] == "Nothing was done: " + "; ".join(failed["problems"])
    assert (tree(tmp_path), system.commands) == (before, [])


@pytest.mark.parametrize("options_of_a_leave", [{}, {"version": "2.14.3", "install_dir": "/opt/kuma"}])
def test_an_account_that_was_made_is_removed_and_nothing_else(system, options, tmp_path, options_of_a_leave):
    run(options)
    before = tree(tmp_path)
    absent = {**ACCOUNT, **options_of_a_leave, "state": "absent"}
    checked = run(absent, check=True)
    assert system.users == {"kuma-dp": OURS}
    done = run(absent)
    assert done["actions"] == checked["actions"] == ["user removed", "group removed"]
    assert (system.users, system.groups, tree(tmp_path)) == ({}, set(), before)
    again = run(absent)
    assert (again["changed"], again["actions"]) == (False, [])


def test_an_account_of_others_stays(system):
    system.users, system.groups = {"www-data": "www-data"}, {"www-data"}
    absent = {"state": "absent", "user": "www-data", "group": "www-data"}
    assert run({**absent, "comment": OURS})["actions"] == []
    # A user without a comment is not known by it.
    system.users["www-data"] = ""
    for comment in ("", None):
        assert run({**absent, "comment": comment})["problems"] == [
            "comment: it is empty, expected the comment of a user that may be removed"
        ]
    assert system.commands == []
