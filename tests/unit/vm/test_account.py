# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The account of a release: made where it is missing, and removed only where a role made it."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import account
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.account import Account

OURS = "Kuma data plane proxies"
GROUPADD = ["groupadd", "--system", "kuma-dp"]
USERADD = ["useradd", "--system", "--gid", "kuma-dp", "--comment", OURS, "--shell", "/usr/sbin/nologin", "--home-dir", "/nonexistent"]
USERADD += ["--no-create-home", "kuma-dp"]


@pytest.mark.parametrize(
    ("found", "commands"),
    [
        (Account(None, False), [GROUPADD, USERADD]),
        (Account(None, True), [USERADD]),
        (Account("somebody else's", False), [GROUPADD]),
        # Whatever they are like.
        (Account("somebody else's", True), []),
        (Account(OURS, True), []),
    ],
)
def test_what_is_missing_is_made_the_group_first(found, commands):
    assert [step.command for step in account.to_make("kuma-dp", "kuma-dp", OURS, found)] == commands


def test_a_user_is_made_without_a_comment_where_none_is_given():
    (step,) = account.to_make("kuma-dp", "kuma-dp", None, Account(None, True))
    assert step.command == [part for part in USERADD if part not in ("--comment", OURS)]


@pytest.mark.parametrize(
    ("group", "found", "actions"),
    [
        ("kuma-dp", Account(OURS, True), ["user removed", "group removed"]),
        ("kuma-dp", Account(OURS, False), ["user removed"]),
        # The role made the user, and nobody knows who made this group.
        ("ssl-cert", Account(OURS, True), ["user removed"]),
        # www-data, say, or one that somebody else manages.
        ("kuma-dp", Account("www-data", True), []),
        ("kuma-dp", Account("", True), []),
        ("kuma-dp", Account(None, True), []),
        ("kuma-dp", Account(None, False), []),
    ],
)
def test_the_user_that_the_role_made_and_its_group_are_removed_and_no_other(group, found, actions):
    steps = account.to_remove("kuma-dp", group, OURS, found)
    assert [step.action for step in steps] == actions
    assert [step.command for step in steps] == [["userdel", "kuma-dp"], ["groupdel", "kuma-dp"]][: len(steps)]


@pytest.mark.parametrize(
    ("program", "status", "fine"),
    [
        ("groupadd", 0, True),
        ("groupadd", 9, True),
        ("useradd", 9, True),
        # userdel takes the group of a user with it on some systems.
        ("groupdel", 6, True),
        ("userdel", 6, True),
        ("userdel", 8, False),
        ("useradd", 6, False),
        ("groupdel", 8, False),
        ("useradd", 127, False),
    ],
)
def test_a_command_that_finds_it_so_already_has_not_failed(program, status, fine):
    step = account.Step("user made", "user", [program, "--comment", "a b", "kuma-dp"])
    if fine:
        account.carry_out(step, lambda _command: (status, "", "it is so"))
    else:
        with pytest.raises(ModuleFailed) as failed:
            account.carry_out(step, lambda _command: (status, "", f"{program}: no\n"))
        assert failed.value.msg == (
            f"user: {program} failed for kuma-dp: {program}: no. Correct that on the VM, or do it by hand: {program} --comment 'a b' kuma-dp"
        )


def test_a_command_that_says_nothing_fails_with_its_status():
    with pytest.raises(ModuleFailed, match="userdel failed for kuma-dp: status 1"):
        account.carry_out(account.Step("user removed", "user", ["userdel", "kuma-dp"]), lambda _command: (1, "", ""))


def test_the_account_of_this_machine_is_found():
    me = pwd.getpwuid(os.getuid())
    assert account.look(me.pw_name, grp.getgrgid(me.pw_gid).gr_name) == Account(me.pw_gecos, True)
    assert account.look("kuma-dp-missing", "kuma-dp-missing") == Account(None, False)
