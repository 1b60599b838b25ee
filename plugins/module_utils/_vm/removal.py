# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What may be removed from a VM. Whoever mistypes a name or a directory loses nothing that is not of this collection.

A path is removed when it is one of ours by its full path, a file of ours by its name, or strictly below a directory that the caller
names and that is no directory of the system. Shared directories lose what bears our marker, or what the caller names of it and is nothing
but parts of an archive, and go themselves only when they are empty.
"""

from __future__ import annotations

import os
import re
import stat
import typing as t
import unicodedata

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming

# The archive's SHA-256, written when everything of it has been unpacked. Without it a version does not count as installed.
MARKER = ".archive-sha256"
CURRENT = naming.CURRENT
# What an archive of Kuma or Kong Mesh has in its folder.
_UNPACKED = frozenset(("LICENSE", "NOTICE", "README", "bin", "conf", "group", "install_missing_crds.sh", "passwd"))
_UNPACKED |= frozenset(("NOTICE-kuma", "NOTICE-kuma-init", "NOTICE-kumactl"))

# The options of proxy_files that remove.
OPTIONS = ("absent", "below", "absent_releases", "absent_unfinished", "absent_if_empty")
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
# Files that are directly in the directory of settings, which may be one that others use. It is known by those in it that are ours alone.
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
_SYSTEM = ["/" + name for name in ("bin", "boot", "dev", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys")] + [
    "/usr/" + name for name in ("bin", "lib", "lib32", "lib64", "libexec", "libx32", "sbin")
]
# The same, but a directory of settings may be below them: a leave that removes files has stopped its proxies and cannot refuse any more.
_TREES = (
    ["/usr/" + name for name in ("games", "include", "share", "src")]
    + ["/etc/" + name for name in ("alternatives", "apt", "pam.d", "pki", "security", "ssh", "ssl", "sudoers.d", "systemd", "udev")]
    + ["/var/lib/" + name for name in ("apt", "dbus", "dpkg", "rpm", "systemd")]
)
_SETTINGS = frozenset(("dataplanes", "env", "tokens"))
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
    """Why no file can be meant by ``path``, a tidy one, as the end of a sentence; empty when it is a plain absolute path."""
    if not path.startswith("/") or "\0" in path:
        return "is not an absolute path"
    bad = [part for part in path.split("/") if part in (".", "..")]
    if bad:
        return "has %s among its parts, expected a path without . and .." % bad[0]
    if any(unicodedata.category(character) == "Cc" for character in path):
        return "holds a control character, expected none"
    return ""


def is_system(path: str) -> bool:
    """Whether ``path`` is a directory that does not belong to one service: /, those in it, homes, and those of the distribution."""
    if path.count("/") < 2 or path in _SHARED or re.match(r"/home/[^/]+\Z", path):
        return True
    if any((path + "/").startswith(tree + "/") for tree in _SYSTEM):
        return True
    below = [path[len(tree) :] for tree in _TREES if (path + "/").startswith(tree + "/")]
    return any(rest.count("/") < 2 or os.path.basename(rest) not in _SETTINGS for rest in below)


def plan(params: t.Mapping[str, t.Any]) -> t.Tuple[t.List[Removal], t.List[str]]:
    """What the options of OPTIONS remove, in order, and what is wrong with them.

    What is to go only when it is empty counts as empty when all in it goes, too.
    """
    given = {option: [tidy(path) for path in params.get(option) or []] for option in OPTIONS}
    problems = ["%s: %s %s" % (option, path, problem(path)) for option in OPTIONS for path in given[option] if problem(path)]
    if problems:
        return [], problems
    absent, below, releases, unfinished, vacant = (given[option] for option in OPTIONS)
    problems.extend(_option_problems(below, releases, unfinished, vacant))
    problems.extend(filter(None, (_absent_problem(path, below) for path in absent)))
    if problems:
        return [], problems
    found = [Removal(path) for path in absent]
    for directory in releases:
        found.extend(Removal(path) for path in _releases(directory))
    going = {removal.path for removal in found}
    found.extend(Removal(path) for path in unfinished if path not in going and _is_unfinished(path))
    # A directory in another one is empty first.
    for directory in sorted({*vacant, *(path for path in releases if not is_system(path))}, key=lambda path: (-path.count("/"), path)):
        found.extend(_vacated(directory, {removal.path for removal in found}))
    return found, []


def _option_problems(
    below: t.Sequence[str], releases: t.Sequence[str], unfinished: t.Sequence[str], vacant: t.Sequence[str]
) -> t.Iterator[str]:
    for option, paths in (("below", below), ("absent_if_empty", vacant)):
        for path in paths:
            real = os.path.realpath(path)
            if is_system(path) or is_system(real):
                where = path if real == path else "%s, which is %s" % (path, real)
                yield "%s: %s is a directory of the system, expected one of the proxies" % (option, where)
    for path in releases:
        if path == "/":
            yield "absent_releases: / is the root directory, expected the one that holds the releases"
    for path in unfinished:
        if os.path.dirname(path) not in releases:
            places = ", ".join(releases) or "which is empty"
            yield "absent_unfinished: %s is not a version directly below one of absent_releases (%s)" % (path, places)


def _absent_problem(path: str, below: t.Sequence[str]) -> str:
    if path in OWN_PATHS:
        return ""
    directory, name = os.path.split(path)
    if name in OWN_FILES and path.count("/") >= 2 and directory in map(os.path.dirname, below) and not _is_directory(path):
        return ""
    real = os.path.realpath(directory)
    for place in below:
        inside = os.path.realpath(place)
        # A link on the way must not lead out of it again.
        if path.startswith(place + "/") and (real + "/").startswith(inside + "/"):
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


def _is_unfinished(path: str) -> bool:
    """Whether this is what an unpacking left that was interrupted: a directory with nothing but parts of an archive."""
    if not _is_directory(path) or is_system(path) or is_system(os.path.realpath(path)):
        return False
    # What had not taken its place yet may be all there is.
    names = [name for name in map(os.path.basename, _entries(path)) if not _LEFTOVER.match(name)]
    return _UNPACKED.issuperset(names) and (not names or _is_directory(os.path.join(path, "bin")))


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
