# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root and directories of others: what they put there in the place of a file is neither read nor written through, nor waited for."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely
from tests.examples import examples
from tests.unit.vm.hostile import KINDS, SECRET, no_descriptor_stays_open, no_waiting, place, put, shadow, theirs

# Fixtures are found by their names.
__all__ = ["no_descriptor_stays_open", "no_waiting", "place", "shadow", "theirs"]

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


def calls(path, source):
    """Everything that can be done to a path below a directory."""
    return {
        "read": lambda: safely.read(path, follow=True),
        "status": lambda: safely.status(path, follow=True),
        "names": lambda: safely.names(os.path.dirname(path)),
        "target": lambda: safely.target(path),
        "write": lambda: safely.write(path, b"new"),
        "write_link": lambda: safely.write_link(path, "new"),
        "move": lambda: safely.move(source, path),
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


@pytest.mark.parametrize(
    ("what", "mode", "uid", "gid"),
    [
        ("file", 0o600, 12345, 0),
        ("file", 0o660, 0, 12345),
        ("file", 0o606, 0, 0),
        ("directory", 0o755, 12345, 0),
        ("directory", 0o775, 0, 12345),
        ("directory", 0o757, 0, 0),
        ("directory", 0o1777, 12345, 0),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_is_done_as_a_file_says_has_to_be_roots_own(tmp_path, what, mode, uid, gid):
    path = tmp_path / "state/good.json"
    path.parent.mkdir()
    path.write_text("{}")
    assert safely.read(str(path), own=True) == b"{}"
    (path.parent if what == "directory" else path).chmod(0o775)
    # The group of root has nobody else in it.
    assert safely.read(str(path), own=True) == b"{}"
    changed = path.parent if what == "directory" else path
    os.chown(changed, uid, gid)
    changed.chmod(mode)
    with pytest.raises(safely.Refused, match="can be changed by others than root"):
        safely.read(str(path), own=True)
    assert safely.read(str(path)) == b"{}"


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
    for kind, name, other in entries:
        path = theirs / name
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
