# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What root writes, removes, locks and connects to, where others can put something in the way."""

from __future__ import annotations

import os
import pathlib
import socket
import stat

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import release, removal, safely
from tests.unit.vm.hostile import KINDS, SECRET, no_descriptor_stays_open, no_waiting, place, put, shadow

# Fixtures are found by their names.
__all__ = ["no_descriptor_stays_open", "no_waiting", "place", "shadow"]


@pytest.mark.parametrize("there", [None, "file", *KINDS[:4], "socket"])
def test_a_write_replaces_what_is_there_and_touches_nothing_else(place, shadow, there):
    path = place / "file"
    if there == "file":
        path.write_text("old")
    elif there:
        put(path, there, shadow)
    before = os.umask(0o077)
    try:
        safely.write(str(path), b"new", 0o644)
    finally:
        os.umask(before)
    assert (path.read_bytes(), path.lstat().st_mode) == (b"new", stat.S_IFREG | 0o644)
    assert (shadow.read_text(), shadow.stat().st_mode & 0o777) == (SECRET, 0o600)
    assert os.listdir(place) == ["file"]


def test_a_write_over_a_directory_fails_and_leaves_nothing(place):
    (place / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        safely.write(str(place / "file"), b"new")
    with pytest.raises(IsADirectoryError):
        safely.write_link(str(place / "file"), "new")
    assert os.listdir(place) == ["file"]


@pytest.mark.parametrize("function", ["fsync", "fchmod", "rename"])
def test_a_write_that_fails_leaves_the_old_file_alone(place, monkeypatch, function):
    (place / "file").write_text("old")

    def refuse(*_arguments, **_named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safely.os, function, refuse)
    with pytest.raises(OSError, match="No space"):
        safely.write(str(place / "file"), b"new")
    assert [(path.name, path.read_text()) for path in place.iterdir()] == [("file", "old")]


def test_a_file_waits_under_a_name_that_a_removal_knows(place):
    for staged in (safely.stage(f"{place}/file", b"new", 0o640), safely.stage_link(f"{place}/file", "x")):
        assert removal._LEFTOVER.match(os.path.basename(staged))
        assert os.path.dirname(staged) == str(place)
        safely.move(staged, f"{place}/file")
    assert os.readlink(place / "file") == "x"


@pytest.mark.parametrize("kind", ["link", "fifo", "socket", "link to nothing"])
def test_attributes_are_those_of_files_and_directories_alone(place, shadow, kind):
    put(place / "file", kind, shadow)
    with pytest.raises(safely.Refused, match="expected a regular file or directory"):
        safely.set_attributes(str(place / "file"), 0o777)
    assert shadow.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_attributes_are_set_as_a_whole(place):
    safely.make_directory(str(place / "directory"), 0o2750, 12345, 54321)
    safely.write(str(place / "file"), b"", 0o640, 12345, 54321)
    safely.write(str(place / "other"), b"", 0o600)
    safely.set_attributes(str(place / "other"), 0o640, gid=54321)
    found = {name: os.lstat(place / name) for name in ("directory", "file", "other")}
    assert {name: (oct(facts.st_mode & 0o7777), facts.st_uid, facts.st_gid) for name, facts in found.items()} == {
        "directory": ("0o2750", 12345, 54321),
        "file": ("0o640", 12345, 54321),
        "other": ("0o640", 0, 54321),
    }
    with pytest.raises(FileExistsError):
        safely.make_directory(str(place / "directory"))


def test_a_tree_is_removed_without_what_its_links_lead_to(place, shadow):
    tree = place / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").write_text("x")
    (tree / "a/etc").symlink_to(shadow.parent)
    os.mkfifo(tree / "fifo")
    safely.remove_tree(str(tree))
    assert os.listdir(place) == []
    assert shadow.read_text() == SECRET
    (place / "file").write_text("x")
    safely.remove_tree(str(place / "file"))
    assert os.listdir(place) == []


def test_a_tree_without_end_is_left_to_somebody_else(place):
    deep = place.joinpath("tree", *["d"] * (safely._DEEPEST + 1))
    deep.mkdir(parents=True)
    with pytest.raises(safely.Refused, match="tree has directories in more than 100 others: remove it by hand"):
        safely.remove_tree(str(place / "tree"))
    safely.remove_tree(str(place / "tree/d/d"))
    assert os.listdir(place / "tree/d") == []


def test_contents_are_compared_as_a_whole(place):
    for name, content in {
        "a": b"x" * (3 << 20),
        "b": b"x" * (3 << 20),
        "c": b"x" * (3 << 20) + b"y",
        "d": b"y" + b"x" * ((3 << 20) - 1),
    }.items():
        (place / name).write_bytes(content)
    assert [release._is_same(f"{place}/a", f"{place}/{name}") for name in "abcd"] == [True, True, False, False]


# -- locks and sockets


def test_a_lock_is_held_by_one(place):
    path = str(place / "lock")
    with safely.locked(path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with pytest.raises(BlockingIOError), safely.locked(path, wait=False):
            pass
    with safely.locked(path, wait=False):
        pass


def test_a_lock_that_everybody_could_hold_is_closed_to_them(place):
    """0.1.0 made it with the mode that the umask left."""
    path = place / "lock"
    path.touch()
    path.chmod(0o644)
    with safely.locked(str(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["link", "fifo", "socket", "directory"])
def test_a_lock_is_a_file(place, shadow, kind):
    put(place / "lock", kind, shadow)
    with pytest.raises(safely.Refused), safely.locked(str(place / "lock")):
        pass


def test_a_socket_is_connected_to_however_long_its_path_is(place, tmp_path):
    deep = place.joinpath(*["d" * 60] * 4)
    deep.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        os.rename(tmp_path / "s", deep / "admin.sock")
        listening.listen()
        with socket.socket(socket.AF_UNIX) as client, safely.socket_at(str(deep / "admin.sock")) as path:
            client.connect(path)
            listening.accept()[0].close()


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "endless"])
def test_nothing_else_is_connected_to(place, shadow, kind):
    put(place / "admin.sock", kind, shadow)
    with pytest.raises(safely.Refused, match="expected a socket"), safely.socket_at(str(place / "admin.sock")):
        pass


def test_what_is_there_is_told(place, shadow):
    for name in ("file", *KINDS[:6]):
        put(place / name, name, shadow)
    (place / "file").write_text("x")
    assert {name: safely.kind_of(safely.status(f"{place}/{name}")) for name in safely.names(str(place))} == {
        "directory": "directory",
        "fifo": "fifo",
        "file": "file",
        "link": "link",
        "link to itself": "link",
        "link to nothing": "link",
        "socket": "socket",
    }
    assert [safely.exists(f"{place}/{name}") for name in ("link to nothing", "none")] == [True, False]
    assert [safely.is_directory(f"{place}/{name}") for name in ("directory", "link", "link to itself", "none")] == [
        True,
        False,
        False,
        False,
    ]
    assert safely.target(f"{place}/link to nothing") == "none"
    assert safely.names("/proc/self/fdinfo") != []
    assert safely.kind_of(pathlib.Path("/dev/null").stat()) == "device"
