# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root and directories of others: what they put there in the place of a file is neither read nor written through, nor waited for."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely
from tests.examples import examples

SECRET = "root:$6$of-nobody-else"


@pytest.fixture(autouse=True)
def _no_waiting():
    """Whoever waits for a fifo is woken, and fails."""

    def wake(*_arguments):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, wake)
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _no_descriptor_stays_open():
    before = os.listdir("/proc/self/fd")
    yield
    assert len(os.listdir("/proc/self/fd")) <= len(before)


@pytest.fixture
def shadow(tmp_path):
    """A file of root's, whose content nobody may learn."""
    path = tmp_path / "etc/shadow"
    path.parent.mkdir(exist_ok=True)
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


@pytest.fixture(params=[False, True], ids=["root's", "theirs"])
def place(request, tmp_path):
    """A directory: one of root's, and one in which everybody writes."""
    path = tmp_path / "run/web-1"
    path.mkdir(parents=True)
    path.chmod(0o777 if request.param else 0o755)
    return path


@pytest.fixture
def theirs(tmp_path):
    path = tmp_path / "run/theirs"
    path.mkdir(parents=True)
    path.chmod(0o777)
    return path


def put(path, kind, shadow):
    """Something in the place of a file; False where this machine does not let anybody make it."""
    if kind == "link":
        path.symlink_to(shadow)
    elif kind == "link to nothing":
        path.symlink_to("none")
    elif kind == "link to itself":
        path.symlink_to(path.name)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(str(path))
        bound.close()
    elif kind == "endless":
        with path.open("wb") as handle:
            handle.truncate(1 << 40)
    elif kind == "device":
        try:
            os.mknod(path, 0o644 | stat.S_IFCHR, os.makedev(1, 5))
        except OSError:
            pytest.skip("nobody makes devices here")


KINDS = ["link", "link to nothing", "link to itself", "fifo", "directory", "socket", "endless", "device"]
READING = {
    "read": safely.read,
    "examine": safely.examine,
    "digest": safely.digest,
    "text_of": safely.text_of,
}


@pytest.mark.parametrize("function", READING)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_plain_file_is_not_read(place, shadow, kind, function):
    put(place / "file", kind, shadow)
    if function == "text_of":
        assert safely.text_of(str(place / "file")) is None
    else:
        with pytest.raises(safely.Refused, match=r"file (is a|has more than)"):
            READING[function](str(place / "file"))


def test_a_file_is_read_with_who_may_and_how_long_it_is(place):
    path = place / "file"
    path.write_bytes(b"content")
    path.chmod(0o640)
    content, status = safely.examine(str(path))
    assert (content, stat.S_IMODE(status.st_mode)) == (b"content", 0o640)
    assert safely.read(str(path), limit=7) == b"content"
    with pytest.raises(safely.Refused, match=r"file has more than 6 bytes, expected at most as many"):
        safely.read(str(path), limit=6)
    with safely.opened(str(path)) as handle:
        assert handle.read() == b"content"
    assert safely.text_of(str(place / "none")) is None
    with pytest.raises(FileNotFoundError):
        safely.read(str(place / "none"))
    with pytest.raises(NotADirectoryError):
        safely.read(str(path / "below"))


def test_a_file_that_grows_while_it_is_read_comes_to_an_end(place, monkeypatch):
    path = place / "file"
    path.write_bytes(b"x")
    read = os.read

    def growing(descriptor, size):
        with path.open("ab") as handle:
            handle.write(b"x" * 2000)
        return read(descriptor, size)

    monkeypatch.setattr(safely.os, "read", growing)
    with pytest.raises(safely.Refused, match="more than 10000 bytes"):
        safely.read(str(path), limit=10000)


@pytest.mark.parametrize("path", ["relative", "", "/etc/../etc/passwd", "/etc/pas\0swd", "/.."])
def test_a_path_that_is_none_is_refused(path):
    for function in (safely.read, safely.status, safely.names, safely.remove, safely.target):
        with pytest.raises(safely.Refused):
            function(path)
    assert not safely.exists(path)
    assert not safely.is_directory(path)


# -- links on the way


def calls(path, other):
    """Everything that can be done to a path below a directory."""
    return {
        "read": lambda: safely.read(path, follow=True),
        "status": lambda: safely.status(path, follow=True),
        "names": lambda: safely.names(os.path.dirname(path)),
        "target": lambda: safely.target(path),
        "write": lambda: safely.write(path, b"new"),
        "write_link": lambda: safely.write_link(path, "new"),
        "move": lambda: safely.move(other, path),
        "second_name": lambda: safely.second_name(path, path + ".old"),
        "set_attributes": lambda: safely.set_attributes(path, 0o777),
        "make_directory": lambda: safely.make_directory(path + ".d"),
        "remove": lambda: safely.remove(path),
        "remove_directory": lambda: safely.remove_directory(path),
        "remove_tree": lambda: safely.remove_tree(os.path.dirname(path)),
        "sync_directory": lambda: safely.sync_directory(os.path.dirname(path)),
        "locked": lambda: safely.locked(path).__enter__(),
        "socket_at": lambda: safely.socket_at(path).__enter__(),
    }


@pytest.mark.parametrize("name", calls("", ""))
def test_nothing_is_done_through_a_link_that_others_can_make(theirs, shadow, name, tmp_path):
    """The directory that they own leads to /etc, where nothing happens. What is to be removed is the link at most."""
    (theirs / "lib").symlink_to(shadow.parent)
    other = tmp_path / "other"
    other.write_text("other")
    before = snapshot(shadow.parent)
    if name == "remove_tree":
        safely.remove_tree(str(theirs / "lib"))
        assert not (theirs / "lib").is_symlink()
    else:
        with pytest.raises(safely.Refused, match="leads through the link lib, which is not root's alone to change"):
            calls(f"{theirs}/lib/shadow", str(other))[name]()
    assert snapshot(shadow.parent) == before


def snapshot(directory):
    return {path.name: (path.read_bytes(), path.lstat().st_mode, path.lstat().st_ino) for path in directory.iterdir()}


def test_a_link_that_root_made_is_followed_on_the_way_and_at_the_end_when_it_is_asked_for(tmp_path, shadow):
    (tmp_path / "var").symlink_to("etc")
    (tmp_path / "var-absolute").symlink_to(tmp_path / "var")
    (tmp_path / "unit").symlink_to("var-absolute/../etc/./shadow")
    for directory in ("var", "var-absolute"):
        assert safely.read(f"{tmp_path}/{directory}/shadow") == SECRET.encode()
        assert safely.names(f"{tmp_path}/{directory}") == ["shadow"]
        assert safely.is_directory(f"{tmp_path}/{directory}")
    with pytest.raises(safely.Refused, match="unit is a link, expected a regular file"):
        safely.read(f"{tmp_path}/unit")
    assert safely.read(f"{tmp_path}/unit", follow=True) == SECRET.encode()
    assert safely.kind_of(safely.status(f"{tmp_path}/unit")) == "link"
    assert safely.kind_of(safely.status(f"{tmp_path}/unit", follow=True)) == "file"
    safely.write(f"{tmp_path}/var/new", b"new")
    assert (shadow.parent / "new").read_bytes() == b"new"


def test_what_root_made_in_a_directory_of_others_is_theirs_all_the_same(theirs, shadow):
    """They can exchange it, whoever owns it."""
    inside = theirs / "root's"
    inside.mkdir(mode=0o755)
    (inside / "link").symlink_to(shadow)
    with pytest.raises(safely.Refused):
        safely.read(str(inside / "link"), follow=True)


def test_what_is_in_a_directory_such_as_tmp_belongs_to_who_made_it(tmp_path, shadow):
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "mine").symlink_to(shadow)
    assert safely.read(str(shared / "mine"), follow=True) == SECRET.encode()
    if os.geteuid() == 0:
        os.lchown(shared / "mine", 12345, 12345)
        with pytest.raises(safely.Refused):
            safely.read(str(shared / "mine"), follow=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
def test_a_directory_that_belongs_to_somebody_is_theirs(tmp_path, shadow):
    directory = tmp_path / "work"
    directory.mkdir(mode=0o755)
    (directory / "link").symlink_to(shadow.parent)
    assert safely.read(f"{directory}/link/shadow") == SECRET.encode()
    os.chown(directory, 12345, -1)
    with pytest.raises(safely.Refused):
        safely.read(f"{directory}/link/shadow")


def test_another_name_of_a_file_of_roots_is_not_taken_for_theirs(place, shadow):
    os.link(shadow, place / "file")
    if place.stat().st_mode & 0o002:
        for touch in (lambda: safely.read(f"{place}/file"), lambda: safely.set_attributes(f"{place}/file", 0o777)):
            with pytest.raises(safely.Refused, match="file has 2 names"):
                touch()
    else:
        assert safely.read(f"{place}/file") == SECRET.encode()
    assert shadow.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("when", ["stat", "open"])
@pytest.mark.parametrize("what", ["link", "fifo", "link on the way"])
def test_what_is_exchanged_while_it_is_looked_at_is_not_followed(theirs, shadow, monkeypatch, when, what):
    path = theirs / "lib/shadow"
    path.parent.mkdir()
    path.write_text("theirs")
    victim = path.parent if what == "link on the way" else path
    function, done = getattr(os, when), []

    def exchanging(name, *arguments, **named):
        here = name == victim.name and named.get("dir_fd") is not None and not done
        if here and when == "open":
            exchange()
        found = function(name, *arguments, **named)
        if here and when == "stat":
            exchange()
        return found

    def exchange():
        done.append(victim.rename(victim.with_suffix(".old")))
        if what == "fifo":
            os.mkfifo(victim)
        else:
            victim.symlink_to(shadow if what == "link" else shadow.parent)

    with monkeypatch.context() as patch:
        patch.setattr(safely.os, when, exchanging)
        with pytest.raises(OSError):  # noqa: PT011
            safely.read(str(path))


NAMES = st.sampled_from(["a", "b", "c"])
ENTRIES = st.one_of(
    st.tuples(st.just("file"), NAMES, NAMES),
    st.tuples(st.just("directory"), NAMES, NAMES),
    st.tuples(
        st.just("link"), st.lists(NAMES, min_size=1, max_size=2).map("/".join), st.sampled_from([".", "..", "a", "b/c", "../../etc", "/"])
    ),
)


@given(st.lists(ENTRIES, max_size=6), st.lists(NAMES, min_size=1, max_size=3), st.booleans())
@settings(max_examples=examples(150))
def test_nothing_outside_is_reached_whatever_others_put_into_their_directory(tmp_path_factory, entries, parts, follow):
    root = tmp_path_factory.mktemp("vm")
    (root / "etc").mkdir()
    for name in ("a", "b", "c"):
        (root / "etc" / name).write_text(SECRET)
    theirs = root / "theirs"
    theirs.mkdir()
    theirs.chmod(0o777)
    for kind, place, other in entries:
        path = theirs / place
        try:
            if kind == "link":
                path.symlink_to(other.replace("/", str(root / "etc"), 1) if other == "/" else other)
            elif kind == "directory":
                path.mkdir()
                (path / other).write_text("theirs")
            else:
                path.write_text("theirs")
        except OSError:
            continue
    path = str(theirs.joinpath(*parts))
    assert safely.text_of(path, follow=follow) in (None, "theirs")
    for change in (lambda: safely.write(path, b"new"), lambda: safely.set_attributes(path, 0o600), lambda: safely.remove_tree(path)):
        try:
            change()
        except OSError:
            continue
    assert {item.read_text() for item in (root / "etc").iterdir()} == {SECRET}
    assert len(list((root / "etc").iterdir())) == 3
    assert {item.stat().st_mode & 0o777 for item in (root / "etc").iterdir()} == {0o644}


# -- writing


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
    from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import removal

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
    assert [safely.same_content(f"{place}/a", f"{place}/{name}") for name in "abcd"] == [True, True, False, False]


# -- locks and sockets


def test_a_lock_is_held_by_one(place):
    path = str(place / "lock")
    with safely.locked(path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with pytest.raises(BlockingIOError), safely.locked(path, wait=False):
            pass
    with safely.locked(path, wait=False), safely.locked(str(place), wait=False):
        pass


@pytest.mark.parametrize("kind", ["link", "fifo", "socket"])
def test_a_lock_is_a_file_or_a_directory(place, shadow, kind):
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
