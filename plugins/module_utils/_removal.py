# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What may be removed from a VM. Whoever mistypes a name or a directory loses nothing that is not of this collection.

A path is removed when it is one of ours by its full path, a file of ours by its name, or strictly below a directory that the caller
names and that is no directory of the system. Shared directories lose what bears our marker, and go themselves only when they are empty.
"""

from __future__ import annotations

import os
import re
import stat
import typing as t
import unicodedata

# The archive's SHA-256, written when everything of it has been unpacked. Without it a version does not count as installed.
MARKER = ".archive-sha256"
CURRENT = "current"

# What the roles lay down outside of directories that are options of theirs.
OWN_PATHS = frozenset(
    (
        "/etc/needrestart/conf.d/kuma-dp.conf",
        "/etc/sysctl.d/60-kuma-dp.conf",
        "/etc/systemd/system/kuma-dp-cover@.service",
        "/etc/systemd/system/kuma-dp-restart@.service",
        "/etc/systemd/system/kuma-dp@.service",
        "/usr/local/lib/kuma-dp-restart",
        "/var/lib/kuma-dp",
    )
)
# Files that are directly in the directory of settings, which may be one that others use.
OWN_FILES = frozenset(("control-plane-ca.pem", "outbounds.env"))

# Directories of the system, where others have files beside ours. One for this collection alone may be in them.
_SHARED = frozenset(
    ["/usr/local"]
    + ["/usr/local/" + name for name in ("bin", "etc", "games", "include", "lib", "libexec", "man", "sbin", "share", "src")]
    + ["/var/" + name for name in ("backups", "cache", "crash", "lib", "local", "lock", "log", "mail", "opt", "run", "spool", "tmp", "www")]
    + ["/etc/" + name for name in ("cron.d", "default", "init.d", "logrotate.d", "modprobe.d", "needrestart", "needrestart/conf.d")]
    + ["/etc/" + name for name in ("netplan", "network", "profile.d", "skel", "sysctl.d")]
    + ["/run/" + name for name in ("lock", "systemd", "user")]
)
# Those that are the distribution's with everything below them.
_SYSTEM = (
    ["/" + name for name in ("bin", "boot", "dev", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys")]
    + ["/usr/" + name for name in ("bin", "games", "include", "lib", "lib32", "lib64", "libexec", "libx32", "sbin", "share", "src")]
    + ["/etc/" + name for name in ("alternatives", "apt", "pam.d", "pki", "security", "ssh", "ssl", "sudoers.d", "systemd", "udev")]
    + ["/var/lib/" + name for name in ("apt", "dbus", "dpkg", "rpm", "systemd")]
)
# What a write of ours leaves beside its file when the VM loses power meanwhile; it may hold a token.
_LEFTOVER = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp(\.old)?\Z", re.DOTALL)


class Removal(t.NamedTuple):
    """A path to remove; with ``only_empty`` a directory that has to be empty by then."""

    path: str
    only_empty: bool = False


def tidy(path: str) -> str:
    """``path`` without slashes that say nothing. Its other parts stay as they are: ``..`` is for :func:`problem`."""
    return re.sub("/+", "/", path).rstrip("/") or "/" if path.startswith("/") else path


def problem(path: str) -> str:
    """Why no file can be meant by ``path``, as the end of a sentence; empty when it is a plain absolute path."""
    if not path.startswith("/") or "\0" in path:
        return "is not an absolute path"
    parts = path[1:].split("/") if path != "/" else []
    bad = [part for part in parts if part in ("", ".", "..")]
    if bad:
        return "has %s among its parts, expected a path without empty parts, . and .." % (bad[0] or "an empty one")
    if any(unicodedata.category(character) == "Cc" for character in path):
        return "holds a control character, expected none"
    return ""


def is_system(path: str) -> bool:
    """Whether ``path`` is a directory that does not belong to one service: /, those in it, homes, and those of the distribution."""
    if path.count("/") < 2 or path in _SHARED or re.match(r"/home/[^/]+\Z", path):
        return True
    return any(path == tree or path.startswith(tree + "/") for tree in _SYSTEM)


def plan(params: t.Mapping[str, t.Any]) -> t.Tuple[t.List[Removal], t.List[str]]:
    """What the options ``absent``, ``below``, ``absent_releases`` and ``absent_if_empty`` remove, in order, and what is wrong with them.

    What is to go only when it is empty counts as empty when all in it goes, too.
    """
    absent, below, releases, vacant = (list(params.get(key) or []) for key in ("absent", "below", "absent_releases", "absent_if_empty"))
    problems = [
        "%s: %s %s" % (option, path, problem(path))
        for option, paths in (("absent", absent), ("below", below), ("absent_releases", releases), ("absent_if_empty", vacant))
        for path in paths
        if problem(path)
    ]
    if problems:
        return [], problems
    problems.extend(_option_problems(below, releases, vacant))
    problems.extend(filter(None, (_absent_problem(path, below) for path in absent)))
    if problems:
        return [], problems
    found = [Removal(path) for path in absent]
    for directory in releases:
        found.extend(Removal(path) for path in _releases(directory))
    # A directory in another one is empty first.
    for directory in sorted({*vacant, *(path for path in releases if not is_system(path))}, key=lambda path: (-path.count("/"), path)):
        found.extend(_vacated(directory, {removal.path for removal in found}))
    return found, []


def _option_problems(below: t.Sequence[str], releases: t.Sequence[str], vacant: t.Sequence[str]) -> t.Iterator[str]:
    for option, paths in (("below", below), ("absent_if_empty", vacant)):
        for path in paths:
            real = os.path.realpath(path)
            if is_system(path) or is_system(real):
                where = path if real == path else "%s, which is %s" % (path, real)
                yield "%s: %s is a directory of the system, expected one of the proxies" % (option, where)
    for path in releases:
        if path == "/":
            yield "absent_releases: / is the root directory, expected the one that holds the releases"


def _absent_problem(path: str, below: t.Sequence[str]) -> str:
    if path in OWN_PATHS:
        return ""
    if os.path.basename(path) in OWN_FILES and path.count("/") >= 2 and not _is_directory(path):
        return ""
    real = os.path.realpath(os.path.dirname(path))
    for directory in below:
        inside = os.path.realpath(directory)
        # A link on the way must not lead out of it again.
        if path.startswith(directory + "/") and (real + "/").startswith(inside + "/"):
            return ""
    return "absent: %s is not to be removed, expected a path strictly below one of below (%s), or one that is known to be a proxy's" % (
        path,
        ", ".join(below) or "which is empty",
    )


def _releases(directory: str) -> t.List[str]:
    """The link to the current version and all versions that were unpacked here by us."""
    versions = [path for path in _entries(directory) if _is_directory(path) and _is_file(os.path.join(path, MARKER))]
    link = os.path.join(directory, CURRENT)
    try:
        target = os.readlink(link)
    except OSError:
        return versions
    # Ours names a version beside it. One whose version is gone already was left by a removal that did not come to its end.
    beside = os.path.join(directory, target)
    ours = beside in versions or ("/" not in target and not os.path.lexists(beside))
    return ([link] if ours else []) + versions


def _vacated(directory: str, going: t.AbstractSet[str]) -> t.List[Removal]:
    """The removal of ``directory`` and of what our own writes left in it, when there is nothing else; empty otherwise."""
    if not _is_directory(directory) or directory in going:
        return []
    staying = [path for path in _entries(directory) if path not in going]
    if any(_is_directory(path) or not _LEFTOVER.match(os.path.basename(path)) for path in staying):
        return []
    return [*(Removal(path) for path in staying), Removal(directory, only_empty=True)]


def _entries(directory: str) -> t.List[str]:
    try:
        return sorted(os.path.join(directory, name) for name in os.listdir(directory))
    except OSError:
        return []


def _is_directory(path: str) -> bool:
    return _has_mode(path, stat.S_ISDIR)


def _is_file(path: str) -> bool:
    return _has_mode(path, stat.S_ISREG)


def _has_mode(path: str, check: t.Callable[[int], bool]) -> bool:
    """Of the path itself: links are not followed."""
    try:
        return check(os.lstat(path).st_mode)
    except OSError:
        return False
