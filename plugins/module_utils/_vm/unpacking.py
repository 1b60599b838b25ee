# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What is in an archive: where each member comes to lie, and whether it may. Its files wait in a stage until somebody gives them their place."""

from __future__ import annotations

import concurrent.futures
import gzip
import itertools
import os
import shutil
import tarfile
import typing as t
import unicodedata
import zlib

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.naming import shown
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import modes
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.removal import MARKER

_BLOCK = 1 << 20  # bytes
# No release comes near to these. What is more was packed to fill the disk of a VM, or its memory.
MEMBERS = 10000
SIZE = 4 << 30  # bytes, unpacked
_AROUND = 2 << 20  # bytes that headers may have: the names of members are read into memory
_AHEAD = 1 << 18  # bytes that are read at once
_LONGEST = 255  # bytes of a name in a directory
# How files are called that wait for their place.
STAGE = (".release.", ".tmp")


class Item(t.NamedTuple):
    """What is to lie at a place. ``kind`` is directory, file or link, ``staged`` the path at which it waits, where it does."""

    kind: str
    mode: int = 0
    target: str = ""
    staged: str = ""


Items = t.Dict[str, Item]


def place_of(name: str) -> str:
    """Where a member lies below the directory of its version, which stands for the first part of its name. Raises ValueError.

    Empty for what has no other part, such as the folder that everything is in.
    """
    if name.startswith("/"):
        raise ValueError("has an absolute path")
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise ValueError("has a control character in its path")
    parts = name.split("/")
    if ".." in parts:
        raise ValueError("has .. among the parts of its path")
    if any(len(os.fsencode(part)) > _LONGEST for part in parts):
        raise ValueError("has a part of more than %d bytes in its path" % _LONGEST)
    place = "/".join(part for part in parts[1:] if part not in ("", "."))
    if place.startswith(STAGE[0]):
        raise ValueError("begins with %s, which is for files that wait for their place" % STAGE[0])
    return place


def item_of(member: tarfile.TarInfo, place: str, before: t.Mapping[str, Item]) -> Item:
    """What a member is; ``before`` are those in front of it, one of which a hard link means. Raises ValueError for what is refused."""
    if member.isdir():
        return Item("directory", modes.DIRECTORY)
    if member.isreg() and not member.issparse():
        return Item("file", modes.of_file(member.mode))
    if member.issym():
        _check_target(place, member.linkname)
        return Item("link", target=member.linkname)
    if member.islnk():
        try:
            meant = before.get(place_of(member.linkname))
        except ValueError as exc:
            raise ValueError("is a hard link to %s, which %s" % (shown(member.linkname), exc)) from exc
        if meant is None or meant.kind != "file":
            raise ValueError("is a hard link to %s, which is no file before it in the archive" % shown(member.linkname))
        return meant
    raise ValueError("is neither a file nor a directory nor a link")


def _check_target(place: str, target: str) -> None:
    """ValueError unless a symbolic link stays inside.

    It may climb from its own directory, which is a real one, and then only descend: behind a part that may be a link, .. leads anywhere.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbs = len(list(itertools.takewhile(lambda part: part == "..", parts)))
    if any(unicodedata.category(character) == "Cc" for character in target):
        raise ValueError("is a link to %s, which has a control character" % shown(target))
    if not target or target.startswith("/") or ".." in parts[climbs:] or climbs > place.count("/"):
        raise ValueError("is a link to %s, which may be outside" % shown(target))


def places_below(items: t.Iterable[str]) -> t.Set[str]:
    """The directories that lie on the way to ``items``, without that of the version itself."""
    found: t.Set[str] = set()
    for place in items:
        parent = os.path.dirname(place)
        while parent and parent not in found:
            found.add(parent)
            parent = os.path.dirname(parent)
    return found


class _TooMuch(Exception):
    """The archive has more than an archive of a release has, as the rest of a sentence."""


class _Unpacked(gzip.GzipFile):
    """The bytes that are in a gzip file, in their order, of which only as many come as are expected."""

    came, bound = 0, _AROUND

    def expect(self, size: int) -> None:
        """A member with ``size`` bytes, and after it headers."""
        if self.came + size > SIZE:
            raise _TooMuch("becomes more than %d GiB when it is unpacked" % (SIZE >> 30))
        self.bound = self.came + size + _AROUND

    def read(self, size: t.Optional[int] = -1) -> bytes:
        block = super().read(size)
        self.came += len(block)
        if self.came > self.bound:
            raise _TooMuch("has more than %d MiB between two members" % (_AROUND >> 20))
        return block


class Stage:
    """A directory in which files wait, complete on disk. Each gets there while the next one is unpacked."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._numbers = itertools.count()
        self._flushing = concurrent.futures.ThreadPoolExecutor(1)
        self._flushed: t.List[t.Any] = []

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_failure: t.Any) -> None:
        self._flushing.shutdown()

    def keep(self, item: Item, data: t.Optional[t.IO[bytes]]) -> Item:
        """``item`` where it waits. Without ``data`` a file is another name of the one that waits already. Raises OSError."""
        if item.kind == "directory":
            return item
        path = os.path.join(self.directory, str(next(self._numbers)))
        if item.kind == "link":
            os.symlink(item.target, path)
            os.lchown(path, 0, 0)
        elif data is None:
            os.link(item.staged, path)
        else:
            self._write(path, item.mode, data)
        return item._replace(staged=path)

    def _write(self, path: str, mode: int, data: t.IO[bytes]) -> None:
        with open(path, "wb") as handle:
            shutil.copyfileobj(data, handle, _BLOCK)
            os.fchown(handle.fileno(), 0, 0)
            os.fchmod(handle.fileno(), mode)
        self._flushed.append(self._flushing.submit(_flush, path))

    def wait(self) -> None:
        """Until everything is on disk. Raises OSError when something did not get there."""
        for flushed in self._flushed:
            flushed.result()


def _flush(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: str, handle: t.IO[bytes], programs: t.Iterable[str], stage: t.Optional[Stage] = None) -> Items:
    """What is in the archive at ``path`` by its places. Files wait in ``stage``; without one they are read and nothing is written.

    Raises ModuleFailed when something of it is refused or one of ``programs`` is not in its ``bin``, OSError for the stage.
    """
    items: Items = {}
    unpacked = _Unpacked(fileobj=handle)
    try:
        with tarfile.open(fileobj=unpacked, mode="r|", bufsize=_AHEAD) as tar:
            for number, member in enumerate(tar):
                if number >= MEMBERS:
                    raise _TooMuch("has more than %d members" % MEMBERS)
                unpacked.expect(member.size if member.isreg() else 0)
                _take(path, tar, member, items, stage)
                unpacked.expect(0)
    except _TooMuch as exc:
        raise _refused(path, str(exc), "a release, which is smaller") from exc
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ArithmeticError, LookupError, RecursionError, ValueError) as exc:
        # The last four are what tarfile raises of headers that say what no header says, or of a thousand in front of one member.
        raise _refused(path, "cannot be read (%s)" % exc, "a tar.gz") from exc
    for place in sorted(places_below(items)):
        if place in items and items[place].kind != "directory":
            raise _refused(path, "has something below %s, which is a %s" % (shown(place), items[place].kind), "a directory there")
    for program in programs:
        item = items.get("bin/" + program)
        if item is None or item.kind == "directory" or (item.kind == "file" and not item.mode & 0o111):
            raise _refused(path, "has no program <folder>/bin/%s" % program, "a release of Kuma or Kong Mesh for Linux")
    if stage:
        stage.wait()
    return items


def _take(path: str, tar: tarfile.TarFile, member: tarfile.TarInfo, items: Items, stage: t.Optional[Stage]) -> None:
    try:
        place = place_of(member.name)
        item = item_of(member, place, items)
    except ValueError as exc:
        expected = "files, directories and links that stay inside of one folder"
        raise _refused(path, "has a member %s, which %s" % (shown(member.name), exc), expected) from exc
    data = tar.extractfile(member) if member.isreg() else None
    # The mark of a directory that was packed when it was finished: this one is not.
    if place and place.partition("/")[0] != MARKER:
        items[place] = stage.keep(item, data) if stage else item
    # What nobody keeps is read as well, so that its bytes are counted.
    while data is not None and data.read(_BLOCK):
        continue


def _refused(path: str, found: str, expected: str) -> ModuleFailed:
    return ModuleFailed("src: %s %s, expected %s: give another archive. Nothing was unpacked." % (path, found, expected))
