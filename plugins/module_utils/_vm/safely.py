# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Files of a VM as root may touch them, wherever they are: also where the user of a service can write. Standard library only.

Who can write to a directory can put a link, a fifo or something endless where a file was, at any moment. So a path is walked from / by
descriptors; a link counts only where nobody but root can have put it, and at the end of a path not even there unless the caller says so; what
is opened is a regular file, opened without blocking, and read up to a limit. Paths are absolute. All raise OSError, of which Refused is one.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import fcntl
import hashlib
import os
import random
import stat
import string
import typing as t

# More than any file that this collection lays down or that a proxy is started with.
LIMIT = 16 << 20  # bytes
_BLOCK = 1 << 20
_LINKS, _DEEPEST = 40, 100  # one after the other, as the kernel follows; and directories in one another, each with a descriptor
# A controller that is no Linux imports this, and opens nothing.
_PATH = getattr(os, "O_PATH", os.O_RDONLY)
_DIRECTORY = _PATH | os.O_DIRECTORY | os.O_NOFOLLOW
_KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "link"),
    (stat.S_ISFIFO, "fifo"),
    (stat.S_ISSOCK, "socket"),
)
# Appended to a name while a file waits for its place; `removal` knows such names.
_LETTERS = string.ascii_lowercase + string.digits


class Refused(OSError):
    """What is at a path may not be touched as it is."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(errno.EPERM, text, path)

    def __str__(self) -> str:
        return "%s %s" % (self.filename, self.strerror)


class _Place(t.NamedTuple):
    """The open directory that the last part of a path is in. ``ours``: nobody but root could exchange that directory."""

    descriptor: int
    name: str
    ours: bool


def kind_of(status: os.stat_result) -> str:
    """file, directory, link, fifo, socket or device."""
    return next((kind for is_one, kind in _KINDS if is_one(status.st_mode)), "device")


def _is_ours(directory: os.stat_result, entry: os.stat_result) -> bool:
    """Whether only root, or whoever runs this, can have put an entry where it is."""
    if not others_write(directory):
        return True
    # In a directory such as /tmp everybody exchanges but what is one's own.
    return directory.st_uid in _owners() and bool(directory.st_mode & stat.S_ISVTX) and entry.st_uid in _owners()


def others_write(status: os.stat_result) -> bool:
    """Whether others than root, or whoever runs this, can change a file or what is in a directory."""
    shared = stat.S_IWOTH | (stat.S_IWGRP if status.st_gid else 0)
    return status.st_uid not in _owners() or bool(status.st_mode & shared)


def _owners() -> t.Tuple[int, int]:
    return 0, os.geteuid()


def _is_out_of_reach(place: _Place, entry: os.stat_result) -> bool:
    return place.ours and _is_ours(os.fstat(place.descriptor), entry)


@contextlib.contextmanager
def _place(path: str, follow: bool = False, whole: bool = False) -> t.Iterator[_Place]:
    """Where the last part of a path is, which need not exist; with ``follow`` where root's links at the end of it lead to.

    With ``whole`` the path is that of a directory, and the last part is ``.``.
    """
    if not path.startswith("/") or "\0" in path:
        raise Refused(path, "is not an absolute path")
    parts = collections.deque(_parts(path))
    if ".." in parts:
        raise Refused(path, "has .. among its parts, expected a path without")
    if whole or not parts:
        parts.append(".")
    descriptor, ours, links = os.open("/", _DIRECTORY), True, 0
    try:
        while True:
            name = parts.popleft()
            if not parts and not follow:
                break
            try:
                entry = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                if parts:
                    raise
                break
            safe = ours and _is_ours(os.fstat(descriptor), entry)
            if stat.S_ISLNK(entry.st_mode):
                links += 1
                if not safe or links > _LINKS:
                    raise Refused(path, "leads through the link %s, which is not root's alone to change" % name)
                target = os.readlink(name, dir_fd=descriptor)
                parts.extendleft(reversed(_parts(target) or ["."]))
                if target.startswith("/"):
                    descriptor, ours = _exchanged(descriptor, os.open("/", _DIRECTORY)), True
            elif not parts:
                break
            else:
                descriptor, ours = _exchanged(descriptor, os.open(name, _DIRECTORY, dir_fd=descriptor)), safe
        yield _Place(descriptor, name, ours)
    finally:
        os.close(descriptor)


def _parts(path: str) -> t.List[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _exchanged(old: int, new: int) -> int:
    os.close(old)
    return new


@contextlib.contextmanager
def _opened(path: str, flags: int, kinds: t.Sequence[str], follow: bool = False, own: bool = False) -> t.Iterator[int]:
    """A descriptor of what is at a path, when it is one of ``kinds``, file or directory."""
    with _place(path, follow) as place:
        # Not even opened when it is something else: to open a device may do something.
        _check(path, place, os.stat(place.name, dir_fd=place.descriptor, follow_symlinks=False), kinds)
        descriptor = os.open(place.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=place.descriptor)
        try:
            found = os.fstat(descriptor)
            _check(path, place, found, kinds)
            if own and (not _is_out_of_reach(place, found) or others_write(found)):
                raise Refused(path, "can be changed by others than root")
            yield descriptor
        finally:
            os.close(descriptor)


def _check(path: str, place: _Place, found: os.stat_result, kinds: t.Sequence[str]) -> None:
    kind = kind_of(found)
    if kind not in kinds:
        raise Refused(path, "is a %s, expected a %s" % (kind, " or ".join("regular file" if kind == "file" else kind for kind in kinds)))
    # Of a file that is not theirs, users can make no more than a second name, where the kernel lets them.
    if kind == "file" and found.st_nlink > 1 and not _is_out_of_reach(place, found):
        raise Refused(path, "has %d names, expected a file with this one alone where others than root can write" % found.st_nlink)


# Looking.


def status(path: str, follow: bool = False) -> os.stat_result:
    """Of what is at the path itself; with ``follow`` of where root's links lead to."""
    with _place(path, follow) as place:
        return os.stat(place.name, dir_fd=place.descriptor, follow_symlinks=False)


def exists(path: str) -> bool:
    """Whether anything is there, a link that leads nowhere included."""
    try:
        status(path)
    except OSError:
        return False
    return True


def is_directory(path: str) -> bool:
    """Whether there is a directory, or a link of root's to one."""
    try:
        return stat.S_ISDIR(status(path, follow=True).st_mode)
    except OSError:
        return False


def names(path: str) -> t.List[str]:
    """What is in a directory, sorted."""
    with _place(path, whole=True) as place:
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=place.descriptor)
        try:
            return sorted(os.listdir(descriptor))
        finally:
            os.close(descriptor)


def target(path: str) -> str:
    """Where a link leads to, as it is written in it."""
    with _place(path) as place:
        return os.readlink(place.name, dir_fd=place.descriptor)


def examine(path: str, limit: int = LIMIT, follow: bool = False, own: bool = False) -> t.Tuple[bytes, os.stat_result]:
    """The content of a regular file of at most ``limit`` bytes, and its status. It may grow meanwhile.

    With ``own`` it is refused when others than root can have put it there or changed it: what it says is done.
    """
    with _opened(path, os.O_RDONLY, ("file",), follow, own) as descriptor:
        found, blocks, size = os.fstat(descriptor), [], 0
        while True:
            block = os.read(descriptor, min(_BLOCK, limit + 1 - size))
            blocks.append(block)
            size += len(block)
            if size > limit:
                raise Refused(path, "has more than %d bytes, expected at most as many" % limit)
            if not block:
                return b"".join(blocks), found


@contextlib.contextmanager
def opened(path: str, follow: bool = False) -> t.Iterator[t.BinaryIO]:
    """A regular file from its beginning, however long it is: whoever reads it has a limit, or means all of it."""
    with _opened(path, os.O_RDONLY, ("file",), follow) as descriptor, os.fdopen(os.dup(descriptor), "rb") as handle:
        yield handle


def digest(path: str, limit: int = LIMIT) -> str:
    """The SHA-256 of a regular file, as hexadecimal digits."""
    return hashlib.sha256(read(path, limit)).hexdigest()


def read(path: str, limit: int = LIMIT, follow: bool = False, own: bool = False) -> bytes:
    """The content of a regular file."""
    return examine(path, limit, follow, own)[0]


def text_of(path: str, limit: int = LIMIT, follow: bool = False) -> t.Optional[str]:
    """The text of a regular file; None when there is none that may be read."""
    try:
        return read(path, limit, follow).decode("utf-8", "replace")
    except OSError:
        return None


@contextlib.contextmanager
def socket_at(path: str) -> t.Iterator[str]:
    """A path of the socket that is at ``path`` now, to connect to: short, and nothing else can take its place."""
    with _place(path) as place:
        descriptor = os.open(place.name, _PATH | os.O_NOFOLLOW, dir_fd=place.descriptor)
        try:
            _check(path, place, os.fstat(descriptor), ("socket",))
            yield "/proc/self/fd/%d" % descriptor
        finally:
            os.close(descriptor)


# Writing.


def stage(path: str, content: bytes, mode: int, uid: int = -1, gid: int = -1) -> str:
    """Write a file that waits beside ``path``, complete on disk; returns its path. Nobody else can read it before it is as it should be."""
    with _place(path) as place:
        name = _temporary(place.name)
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=place.descriptor)
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(content)
                handle.flush()
                if (uid, gid) != (-1, -1):
                    os.fchown(handle.fileno(), uid, gid)
                os.fchmod(handle.fileno(), mode)
                os.fsync(handle.fileno())
        except BaseException:
            os.unlink(name, dir_fd=place.descriptor)
            raise
    return _beside(path, name)


def stage_link(path: str, target: str) -> str:
    """A link that waits beside ``path``."""
    with _place(path) as place:
        name = _temporary(place.name)
        os.symlink(target, name, dir_fd=place.descriptor)
    return _beside(path, name)


def _temporary(name: str) -> str:
    return ".%s.%s.tmp" % (name, "".join(random.SystemRandom().choice(_LETTERS) for _number in range(8)))


def _beside(path: str, name: str) -> str:
    return os.path.join(os.path.dirname(path), name)


def move(path: str, other: str) -> None:
    """Give a file or link another place. What is there goes; a link is replaced and not followed."""
    with _place(path) as old, _place(other) as new:
        os.rename(old.name, new.name, src_dir_fd=old.descriptor, dst_dir_fd=new.descriptor)


def write(path: str, content: bytes, mode: int = 0o600, uid: int = -1, gid: int = -1) -> None:
    """Replace a file so that it is always either the old or the new one, also after a crash of the VM."""
    _published(path, stage(path, content, mode, uid, gid))


def write_link(path: str, target: str) -> None:
    """Replace a link, which leads to the old target or to the new one at any time."""
    _published(path, stage_link(path, target))


def _published(path: str, staged: str) -> None:
    try:
        move(staged, path)
    except BaseException:
        with contextlib.suppress(OSError):
            remove(staged)
        raise


def second_name(path: str, other: str) -> None:
    """Give the file or link at ``path`` a second name ``other`` in its directory."""
    with _place(path) as place:
        os.link(place.name, os.path.basename(other), src_dir_fd=place.descriptor, dst_dir_fd=place.descriptor, follow_symlinks=False)


def set_attributes(path: str, mode: t.Optional[int] = None, uid: int = -1, gid: int = -1) -> None:
    """Owner, group and mode of a regular file or a directory. The owner comes first: it takes special bits of the mode away."""
    with _opened(path, os.O_RDONLY, ("file", "directory")) as descriptor:
        if (uid, gid) != (-1, -1):
            os.fchown(descriptor, uid, gid)
        if mode is not None:
            os.fchmod(descriptor, mode)


def make_directory(path: str, mode: int = 0o700, uid: int = -1, gid: int = -1) -> None:
    """A new directory with these attributes, whatever the umask. FileExistsError when there is something."""
    with _place(path) as place:
        os.mkdir(place.name, 0o700, dir_fd=place.descriptor)
    set_attributes(path, mode, uid, gid)


def remove(path: str) -> None:
    """Remove what is no directory."""
    with _place(path) as place:
        os.unlink(place.name, dir_fd=place.descriptor)


def remove_directory(path: str) -> None:
    """Remove an empty directory."""
    with _place(path) as place:
        os.rmdir(place.name, dir_fd=place.descriptor)


def remove_tree(path: str) -> None:
    """Remove a directory with all that is in it; of a link the link alone, and of anything else that itself."""
    with _place(path) as place:
        _remove_in(path, place.descriptor, place.name, _DEEPEST)


def _remove_in(path: str, directory: int, name: str, deepest: int) -> None:
    if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=directory)
        return
    if not deepest:
        raise Refused(path, "has directories in more than %d others: remove it by hand" % _DEEPEST)
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        for entry in os.listdir(descriptor):
            _remove_in(path, descriptor, entry, deepest - 1)
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=directory)


def sync_directory(path: str) -> None:
    """Make what was renamed and removed in a directory outlive a loss of power. One that is gone needs nothing."""
    with contextlib.suppress(FileNotFoundError), _place(path, whole=True) as place:
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=place.descriptor)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(path: str, wait: bool = True) -> t.Iterator[None]:
    """Hold the lock of a file, which is made. BlockingIOError when somebody else does and is not waited for."""
    with contextlib.suppress(FileExistsError), _place(path) as place:
        os.close(os.open(place.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=place.descriptor))
    with _opened(path, os.O_RDONLY, ("file",)) as descriptor:
        os.fchmod(descriptor, 0o600)  # whoever can read it can hold it, and 0.1.0 let everybody
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
