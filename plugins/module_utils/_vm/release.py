# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The directory of a release, and what its archive puts there.

The archive is read once: every file is complete on disk, beside its place, before the first one is renamed into it. So whatever is wrong with
the archive, nothing was written; a program that runs is never cut; and an unpacking that is interrupted leaves no half file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.naming import shown
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import files, modes, safely, seen
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.removal import MARKER, tidy
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.unpacking import STAGE, Item, Stage, places_below, read

_BLOCK = 1 << 20  # bytes
_GZIP = b"\x1f\x8b"
_CHECKSUM = re.compile(r"[0-9a-f]{64}\Z")
SELINUX = "/sys/fs/selinux/enforce"
# Root's alone. Whoever can read a directory can lock it, and everybody reads that of a release: root would wait for as long as they like.
LOCK = "/run/kuma-release.lock"


class Archive(t.NamedTuple):
    """A tar.gz on this VM, its SHA-256 in lower-case hexadecimal digits, and the programs that have to be in its ``bin``."""

    path: str
    checksum: str
    programs: t.Tuple[str, ...] = ()


def problems(params: t.Mapping[str, t.Any]) -> t.List[str]:
    """What is wrong with the options of a release beside each by itself; an archive needs the others."""
    version, src, checksum = params["version"], params["src"], params["checksum"]
    found = []
    if src is not None and version is None:
        found.append("version: it is not given, expected the one that is in src (%s)" % src)
    if src is not None and not _CHECKSUM.match((checksum or "").lower()):
        found.append("checksum: found %s, expected the SHA-256 of src (%s) as 64 hexadecimal digits" % (shown(checksum), src))
    return found


def directory_of(install_dir: str, version: str) -> str:
    return os.path.join(tidy(install_dir), version)


def directories(directory: str) -> t.List[files.Change]:
    """What has to be done to the directory of a version and the one that it is in. Raises ModuleFailed when they cannot be made."""
    attributes = {"mode": "0755", "owner": "root", "group": "root"}
    wanted = [{"path": path, **attributes} for path in (os.path.dirname(directory), directory)]
    try:
        return files.plan(files.wishes_of({"directories": wanted, "files": [], "secrets": [], "links": []}))
    except files.Problems as exc:
        raise ModuleFailed("install_dir: %s. Correct that on the VM, or name another directory. Nothing was done." % exc) from exc


def check_parents(directory: str, uid: t.Optional[int]) -> None:
    """Raise ModuleFailed where the user of the proxies, if there is one, owns what the directory of a version is in.

    Who owns it can put something else in its place at any moment, and root runs programs from there.
    """
    parent = os.path.dirname(directory)
    while parent != "/":
        parent = os.path.dirname(parent)
        try:
            owner = safely.status(parent).st_uid
        except OSError:
            continue
        if owner == uid and owner not in (0, os.geteuid()):
            raise ModuleFailed(
                "install_dir: %s is the user's whom proxies run as, who could exchange the programs below it, expected a directory of root: "
                "give it to root, or name another directory. Nothing was done." % parent
            )


@contextlib.contextmanager
def made(changes: t.Sequence[files.Change]) -> t.Iterator[None]:
    """The directories as they should be. Those that were not there go again when what follows fails."""
    try:
        files.apply(changes)
    except files.WriteFailed as exc:
        raise ModuleFailed("install_dir: %s" % exc) from exc
    try:
        yield
    except BaseException:
        for change in reversed(changes):
            if change.found.kind == "absent":
                with contextlib.suppress(OSError):
                    safely.remove_directory(change.wish.path)
        raise


def inspect(archive: Archive, directory: str) -> None:
    """Everything that unpacking checks, without a write. Raises ModuleFailed. An archive that is not there yet is not looked at."""
    if os.path.lexists(archive.path):
        with _opened(archive) as handle:
            _check_space(handle, directory)
            _check_places(read(archive.path, handle, archive.programs), directory)


def holds_another(directory: str, checksum: str) -> bool:
    """Whether the directory of a version has programs that are not known to be those of the archive with this checksum."""
    return safely.exists(os.path.join(directory, "bin")) and (safely.text_of(os.path.join(directory, MARKER)) or "").strip() != checksum


def unpack(archive: Archive, directory: str, run: Runner) -> bool:
    """Put everything of an archive into the directory of its version, which exists. Returns whether it took the place of something else.

    Raises ModuleFailed, after which nothing was written, unless the disk failed while files took their places; the version is unfinished then.

    The mark of a finished unpacking is removed and not made again: whoever calls this makes it when all else is there.
    """
    with _opened(archive) as handle, _alone():
        for name in safely.names(directory):
            if name.startswith(STAGE[0]) and name.endswith(STAGE[1]):
                _forget(os.path.join(directory, name))
        _check_space(handle, directory)
        stage = tempfile.mkdtemp(prefix=STAGE[0], suffix=STAGE[1], dir=directory)
        try:
            with Stage(stage) as staging:
                items = read(archive.path, handle, archive.programs, staging)
            _check_places(items, directory)
            replaced = _publish(items, directory)
        except OSError as exc:
            raise ModuleFailed(
                "src: %s was not unpacked to %s (%s): correct that on the VM and run this again" % (archive.path, directory, exc)
            ) from exc
        finally:
            _forget(stage)
    if safely.exists(SELINUX):
        # Programs have a type of their own where SELinux is on; files get that of their directory. Systems without the command need none.
        run(["restorecon", "-R", directory])
    return replaced


def _forget(stage: str) -> None:
    with contextlib.suppress(OSError):
        safely.remove_tree(stage)


@contextlib.contextmanager
def _opened(archive: Archive) -> t.Iterator[t.BinaryIO]:
    """The archive from its beginning, when it is the one that is meant. Nothing of another one is ever read as an archive."""
    try:
        handle = open(archive.path, "rb")  # noqa: SIM115
    except OSError as exc:
        raise ModuleFailed(
            "src: %s cannot be read: %s. Expected the archive of the release on the VM" % (archive.path, exc.strerror)
        ) from exc
    with handle:
        digest = hashlib.sha256()
        for block in iter(lambda: handle.read(_BLOCK), b""):
            digest.update(block)
        if digest.hexdigest() != archive.checksum:
            raise ModuleFailed(
                "src: %s has SHA-256 %s, expected %s of checksum: transfer it again, or correct the checksum after checking where the "
                "archive came from. Nothing was unpacked." % (archive.path, digest.hexdigest(), archive.checksum)
            )
        handle.seek(0)
        yield handle


@contextlib.contextmanager
def _alone() -> t.Iterator[None]:
    """Only one unpacks on a VM at a time: a module goes on when its controller was killed, and the next one comes."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # of somebody who is not root, who unpacks for himself
            stack.enter_context(safely.locked(LOCK))
        yield


def _check_space(handle: t.BinaryIO, directory: str) -> None:
    """Whether there is room for what an archive says that it becomes. Leaves ``handle`` where it was."""
    while not safely.is_directory(directory):
        directory = os.path.dirname(directory)
    found = os.statvfs(directory)
    free, needed = found.f_bavail * found.f_frsize, _unpacked_size(handle)
    # Some network filesystems do not tell their size.
    if found.f_blocks and free < needed:
        raise ModuleFailed(
            "install_dir: %s has %d MB of free space, expected %d MB for what is in src: remove something there, such as versions that are no "
            "longer used, or name another directory. Nothing was unpacked." % (directory, free >> 20, (needed >> 20) + 1)
        )


def _unpacked_size(handle: t.BinaryIO) -> int:
    """The bytes that the end of a gzip file tells, up to 4 GiB, and never less than those of the file itself."""
    size = handle.seek(0, os.SEEK_END)
    handle.seek(0)
    told = 0
    if size > 18 and handle.read(2) == _GZIP:
        handle.seek(-4, os.SEEK_END)
        told = int.from_bytes(handle.read(4), "little")
    handle.seek(0)
    return max(size, told)


def _check_places(items: t.Mapping[str, Item], directory: str) -> None:
    """Nothing on the VM may lead elsewhere or be in the way. Raises ModuleFailed."""
    wanted = dict.fromkeys(places_below(items), "directory")
    wanted.update({place: "directory" if item.kind == "directory" else "file" for place, item in items.items()})
    for place, kind in sorted(wanted.items()):
        path = os.path.join(directory, place)
        found = seen.kind_of(path)
        if found != "absent" and (found == "directory") != (kind == "directory"):
            raise ModuleFailed("install_dir: %s is a %s, expected a %s: remove it. Nothing was unpacked." % (path, found, kind))


def _publish(items: t.Mapping[str, Item], directory: str) -> bool:
    """Everything into its place, the parents of a directory first. From here on the version is unfinished until somebody marks it.

    Returns whether something else was in one of the places.
    """
    with contextlib.suppress(FileNotFoundError):
        safely.remove(os.path.join(directory, MARKER))
    safely.sync_directory(directory)
    # Nobody but root may exchange a directory before anything comes to lie in it.
    for path, mode in sorted(modes.dangerous(directory).items()):
        safely.set_attributes(path, mode, 0, 0)
    below = sorted({*places_below(items), *(place for place, item in items.items() if item.kind == "directory")})
    for place in below:
        path = os.path.join(directory, place)
        with contextlib.suppress(FileExistsError):
            safely.make_directory(path)
        safely.set_attributes(path, modes.DIRECTORY, 0, 0)
    replaced = [_give(item, os.path.join(directory, place)) for place, item in items.items() if item.kind != "directory"]
    for place in ["", *below]:
        safely.sync_directory(os.path.join(directory, place))
    return any(replaced)


def _give(item: Item, path: str) -> bool:
    """Its place to a file or a link; whether something else was there. What is the same already stays: of a program that is exchanged its
    proxies would be restarted."""
    there = seen.kind_of(path)
    if there == item.kind == "link" and safely.target(path) == item.target:
        return False
    if there == item.kind == "file" and _is_same(item.staged, path):
        safely.set_attributes(path, item.mode, 0, 0)
        return False
    safely.move(item.staged, path)
    return there != "absent"


def _is_same(path: str, other: str) -> bool:
    """Whether two regular files hold the same, however long they are."""
    with safely.opened(path) as handle, safely.opened(other) as second:
        if os.fstat(handle.fileno()).st_size != os.fstat(second.fileno()).st_size:
            return False
        while True:
            block = handle.read(_BLOCK)
            if block != second.read(_BLOCK):
                return False
            if not block:
                return True
