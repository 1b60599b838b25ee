# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The user that a release runs as, and its group: what makes them where they are missing, and takes them away again."""

from __future__ import annotations

import grp
import pwd
import shlex
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner

# Nobody logs in, and there is nothing to find at home.
_SHELL = "/usr/sbin/nologin"
_HOME = "/nonexistent"
# With this status they say that what they were asked for is so already. Some systems remove the group of a user with the user.
_SO_ALREADY = {"groupadd": 9, "useradd": 9, "groupdel": 6, "userdel": 6}


class Account(t.NamedTuple):
    """What there is: the comment of the user, None without a user, and whether the group exists."""

    comment: t.Optional[str]
    group: bool


class Step(t.NamedTuple):
    """One command, and what a report says of it. ``option`` is the one whose value it is about."""

    action: str
    option: str
    command: t.List[str]


def look(user: str, group: str) -> Account:
    try:
        comment: t.Optional[str] = pwd.getpwnam(user).pw_gecos
    except KeyError:
        comment = None
    try:
        grp.getgrnam(group)
    except KeyError:
        return Account(comment, False)
    return Account(comment, True)


def uid_of(user: str) -> t.Optional[int]:
    """None without such a user."""
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def to_make(user: str, group: str, comment: t.Optional[str], found: Account) -> t.List[Step]:
    """What is missing. A user or group that is there stays as it is, whatever it is like."""
    steps = []
    if not found.group:
        steps.append(Step("group made", "group", ["groupadd", "--system", group]))
    if found.comment is None:
        told = ["--comment", comment] if comment else []
        alone = ["--shell", _SHELL, "--home-dir", _HOME, "--no-create-home"]
        steps.append(Step("user made", "user", ["useradd", "--system", "--gid", group, *told, *alone, user]))
    return steps


def to_remove(user: str, group: str, comment: str, found: Account) -> t.List[Step]:
    """What goes: the user with this comment, which only its maker gave it, and a group of its own.

    Nothing about a group tells who made it. One with the name of such a user is the user's; any other, such as ssl-cert, stays.
    """
    if found.comment != comment:
        return []
    steps = [Step("user removed", "user", ["userdel", user])]
    if found.group and group == user:
        steps.append(Step("group removed", "group", ["groupdel", group]))
    return steps


def carry_out(step: Step, run: Runner) -> None:
    """Run one command. Raises ModuleFailed with what it said."""
    program, name = step.command[0], step.command[-1]
    status, output, error = run(step.command)
    if status not in (0, _SO_ALREADY[program]):
        said = (error or output).strip() or "status %d" % status
        raise ModuleFailed(
            "%s: %s failed for %s: %s. Correct that on the VM, or do it by hand: %s"
            % (step.option, program, name, said, " ".join(map(shlex.quote, step.command)))
        )
