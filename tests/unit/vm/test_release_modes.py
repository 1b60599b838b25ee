# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may use and who may change a release, whatever its archive holds, what was there before, and whatever the umask."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import proxy as vm_proxy
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import release as vm_release
from tests.examples import examples
from tests.unit.vm import archives
from tests.unit.vm.test_files import snapshot
from tests.unit.vm.test_release import Vm, no_commands, vm

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to root")
# Fixtures are found by their names.
__all__ = ["vm"]


@pytest.mark.parametrize(("path", "mode"), [(".", 0o700), ("bin", 0o700), ("bin", 0o2755), ("bin/envoy", 0o700), ("bin/kuma-dp", 0o4755)])
def test_a_rerun_repairs_modes_and_exchanges_no_program(vm, path, mode):
    vm.unpack()
    vm.mark()
    assert vm.installed() == {"2.14.3": "abc"}
    before = {name: (vm.directory / f"bin/{name}").stat().st_ino for name in ("kuma-dp", "envoy")}
    (vm.directory / path).chmod(mode)
    assert vm.installed() == {}, "it is unpacked once more"
    for change in vm_release.directories(str(vm.directory)):
        vm_release.files.apply([change])
    vm.unpack()
    vm.mark()
    assert vm.installed() == {"2.14.3": "abc"}
    assert {name: (vm.directory / f"bin/{name}").stat().st_ino for name in before} == before


@pytest.mark.parametrize(("path", "kept"), [("bin/mine", 0o700), ("conf", 0o755)])
def test_nobody_else_may_change_what_lies_there_and_is_not_in_the_archive(vm, path, kept):
    vm.unpack()
    vm.mark()
    other = vm.directory / path
    other.mkdir() if path == "conf" else other.write_text("x")
    other.chmod(kept)
    assert vm.installed() == {"2.14.3": "abc"}, "what is root's own is nobody's business"
    other.chmod(kept | 0o022)
    os.chown(other, 12345, 12345)
    assert vm.installed() == {}
    vm.unpack()
    vm.mark()
    assert vm.installed() == {"2.14.3": "abc"}
    assert (other.stat().st_mode & 0o7777, other.stat().st_uid) == (kept, 0)


def test_what_0_1_0_unpacked_counts_as_it_is(vm):
    """Kuma's own archives have programs of mode 0555, which it kept: no fleet is unpacked again because of that."""
    vm.unpack()
    vm.mark()
    for name in ("kuma-dp", "envoy"):
        (vm.directory / f"bin/{name}").chmod(0o555)
    assert vm.installed() == {"2.14.3": "abc"}


def test_links_lead_to_programs_or_the_release_is_not_complete(vm):
    vm.unpack([*archives.release(), archives.member("envoy-1.38", b"envoy", 0o755), archives.link("bin/envoy", "../envoy-1.38")])
    vm.mark()
    (vm.directory.parent / "current").symlink_to("2.14.3")
    assert vm.installed() == {"2.14.3": "abc"}
    (vm.directory / "envoy-1.38").unlink()
    assert vm.installed() == {}


# -- against tar itself

NAMES = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
FILES = st.dictionaries(NAMES, st.tuples(st.binary(max_size=2000), st.sampled_from([0o644, 0o755, 0o4755, 0o666, 0o500])), max_size=8)


def usable(mode):
    return mode & ~0o7777 | (0o755 if mode & 0o100 else 0o644)


@given(FILES)
@settings(max_examples=examples(80))
def test_files_come_to_lie_where_tar_unpacks_them(tmp_path_factory, files):
    # Nothing is below a file.
    files = {name: file for name, file in files.items() if not any(name.startswith(f"{other}/") for other in files)}
    root = tmp_path_factory.mktemp("release")
    ours, theirs = root / "ours", root / "theirs"
    ours.mkdir()
    theirs.mkdir()
    checksum = archives.pack(root / "a.tar.gz", [archives.member(name, content, mode) for name, (content, mode) in files.items()])
    vm_release.unpack(vm_release.Archive(str(root / "a.tar.gz"), checksum), str(ours), lambda _command: (0, "", ""))
    subprocess.run(["tar", "-xzf", root / "a.tar.gz", "-C", theirs, "--strip-components=1", "--no-same-owner"], check=True)
    found = [
        {
            str(path.relative_to(place)): (
                oct(usable(path.stat().st_mode) if place == theirs else path.stat().st_mode),
                path.is_dir() or path.read_bytes(),
            )
            for path in place.rglob("*")
        }
        for place in (ours, theirs)
    ]
    assert found[0] == found[1]


# -- against whatever an archive may hold


def mostly(good, bad):
    """What is taken, and now and then what is not: otherwise each archive would be refused because of something else."""
    return st.integers(0, 19).flatmap(lambda number: bad if number == 7 else good)


GOOD_NAMES = st.lists(st.sampled_from(["a", "b", "bin", "kuma-dp"]), min_size=1, max_size=3).map("/".join)
BAD_NAMES = st.sampled_from(
    ["..", "a/..", ".", "", "a//b/./c", ".archive-sha256", ".archive-sha256/a", ".release.x.tmp", "a\nb", "a/\u00e4"]
)
TAR = archives.tarfile
KINDS = st.sampled_from([TAR.REGTYPE] * 4 + [TAR.DIRTYPE] * 3 + [TAR.SYMTYPE] * 3 + [TAR.LNKTYPE])
LINKS = st.sampled_from(["/etc/passwd", "..", "../..", "../bin", "b/../.."])
MEMBERS = st.builds(
    lambda name, kind, mode, link, folder: archives.member(name, b"x" if kind == TAR.REGTYPE else b"", mode, kind, link, folder),
    mostly(GOOD_NAMES, BAD_NAMES),
    mostly(KINDS, st.sampled_from([TAR.CHRTYPE, TAR.FIFOTYPE])),
    st.integers(0, 0o7777),
    st.one_of(GOOD_NAMES, GOOD_NAMES.map(lambda name: f"{archives.FOLDER}/{name}"), LINKS),
    mostly(st.just(archives.FOLDER), st.sampled_from(["other", "", "/"])),
)


def timeless(root):
    """Content, mode and inode of everything below a directory; of links without the inode."""
    return {path: facts[: 2 if facts[1].startswith("0o12") else 3] for path, facts in snapshot(root).items()}


@given(st.lists(MEMBERS, max_size=7), st.sampled_from([0o022, 0o077, 0o000, 0o777]), st.booleans())
@settings(max_examples=examples(150))
def test_whatever_an_archive_holds_lies_inside_and_is_everybodys_to_use_and_roots_to_change(tmp_path_factory, members, umask, complete):
    root = tmp_path_factory.mktemp("vm")
    vm = Vm(root)
    (root / "outside").write_text("outside")
    archive = vm.pack([*(archives.release() if complete else []), *members], programs=())
    before, mask = timeless(root), os.umask(umask)
    try:
        vm_release.unpack(archive, str(vm.directory), lambda _command: (0, "", ""))
    except ModuleFailed:
        assert timeless(root) == before, "what is refused leaves nothing"
        return
    finally:
        os.umask(mask)
    assert {path: facts for path, facts in timeless(root).items() if not path.startswith("opt/2.14.3/")} == before
    for path in vm.directory.rglob("*"):
        facts = path.lstat()
        assert (facts.st_uid, facts.st_gid) == (0, 0)
        if path.is_symlink():
            assert pathlib.Path(os.path.realpath(path)).is_relative_to(vm.directory)
        elif path.is_dir():
            assert oct(facts.st_mode) == "0o40755"
        else:
            assert oct(facts.st_mode) in ("0o100755", "0o100644")
    again = timeless(vm.directory)
    vm_release.unpack(archive, str(vm.directory), lambda _command: (0, "", ""))
    assert timeless(vm.directory) == again, "nothing is exchanged"


@pytest.mark.parametrize("umask", [0o077, 0o777])
def test_an_archive_without_directories_can_be_run_whatever_the_umask(vm, tmp_path, umask):
    (tmp_path / "usr").mkdir()
    directory = tmp_path / "usr/kuma/2.14.3"
    files = [member for member in archives.release() if not member[0].isdir()]
    archive, mask = vm.pack(files), os.umask(umask)
    try:
        with vm_release.made(vm_release.directories(str(directory))):
            vm_release.unpack(archive, str(directory), no_commands)
    finally:
        os.umask(mask)
    (directory / vm_proxy.MARKER).write_text("abc")
    assert vm_proxy.installed(str(directory.parent)) == {"2.14.3": "abc"}
    for path in (directory.parent, directory, directory / "bin", directory / "bin/kuma-dp"):
        assert oct(path.stat().st_mode & 0o7777) == "0o755"
