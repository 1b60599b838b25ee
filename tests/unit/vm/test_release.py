# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release gets to its place as a whole or not at all, whatever is wrong with its archive, with the VM, and whenever it is interrupted."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import os
import pathlib
import subprocess
import threading
import types

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import host as vm_host
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import proxy as vm_proxy
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import release as vm_release
from tests.unit.vm import archives
from tests.unit.vm.test_files import snapshot

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to root")


def no_commands(command):
    raise AssertionError(f"a command was run: {command}")


class Vm:
    """A VM in a directory: the archive that was put there, and the directory of the version."""

    def __init__(self, root):
        self.src, self.directory = root / "kuma.tar.gz", root / "opt/2.14.3"
        self.directory.mkdir(parents=True)

    def pack(self, members=None, programs=("kuma-dp", "envoy")):
        checksum = archives.pack(self.src, members or archives.release())
        return vm_release.Archive(str(self.src), checksum, programs)

    def unpack(self, members=None, **other):
        archive = self.pack(members)._replace(**other)
        vm_release.unpack(archive, str(self.directory), no_commands)

    def refused(self, members=None, **other):
        """The message of a failure, after which everything is as before."""
        before = snapshot(self.directory)
        with pytest.raises(ModuleFailed) as failed:
            self.unpack(members, **other)
        assert snapshot(self.directory) == before
        return failed.value.msg

    def installed(self):
        return vm_proxy.installed(str(self.directory.parent))

    def mark(self):
        (self.directory / vm_proxy.MARKER).write_text("abc\n")


@pytest.fixture
def vm(tmp_path, monkeypatch):
    # Whatever the machine of the tests has.
    monkeypatch.setattr(vm_release, "SELINUX", str(tmp_path / "none"))
    monkeypatch.setattr(vm_release, "LOCK", str(tmp_path / "lock"))
    return Vm(tmp_path)


def test_everything_is_in_its_place_and_belongs_to_root(vm):
    vm.unpack([*archives.release(), archives.member("conf/a", b"a", 0o4666), archives.link("envoy", "bin/envoy")])
    assert (vm.directory / "bin/kuma-dp").read_bytes() == b"new kuma-dp"
    assert (vm.directory / "envoy").read_bytes() == b"new envoy"
    facts = snapshot(vm.directory)
    assert {path: mode for path, (_content, mode, *_rest) in facts.items()} == {
        "README": "0o100644",
        "bin": "0o40755",
        "bin/envoy": "0o100755",
        "bin/kuma-dp": "0o100755",
        "conf": "0o40755",
        "conf/a": "0o100644",
        "envoy": "0o120777",
    }
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in vm.directory.rglob("*")} == {(0, 0)}


def test_it_counts_as_installed_once_somebody_marks_it(vm):
    vm.unpack()
    assert vm.installed() == {}
    vm.mark()
    assert vm.installed() == {"2.14.3": "abc"}


def test_a_program_that_runs_is_not_cut(vm):
    vm.unpack(archives.release(envoy=pathlib.Path("/bin/sleep").read_bytes()))
    process = subprocess.Popen([vm.directory / "bin/envoy", "60"])
    try:
        vm.unpack()
        assert process.poll() is None
        assert vm_host.Processes().program(process.pid) == (str(vm.directory / "bin/envoy"), True)
        assert (vm.directory / "bin/envoy").read_bytes() == b"new envoy"
    finally:
        process.kill()
        process.wait()


def test_what_is_not_in_the_archive_stays(vm):
    (vm.directory / "bin").mkdir()
    (vm.directory / "bin/mine").write_text("x")
    vm.unpack()
    assert (vm.directory / "bin/mine").read_text() == "x"


def test_the_directories_of_the_archive_are_repaired_listed_in_it_or_not(vm):
    for name in ("bin", "conf"):
        (vm.directory / name).mkdir()
        (vm.directory / name).chmod(0o711)
        os.chown(vm.directory / name, 12345, 12345)
    vm.unpack([*archives.release(), archives.member("conf/a")])
    found = {name: (vm.directory / name).stat() for name in ("bin", "conf")}
    assert [(facts.st_mode & 0o777, facts.st_uid) for facts in found.values()] == [(0o755, 0), (0o755, 0)]


def test_the_umask_and_the_group_of_a_directory_change_nothing(vm):
    os.chown(vm.directory, 0, 12345)
    vm.directory.chmod(0o2755)
    before = os.umask(0o077)
    try:
        vm.unpack([*archives.release(), archives.member("conf/a")])
    finally:
        os.umask(before)
    found = {name: (vm.directory / name).stat() for name in ("bin", "conf", "conf/a", "bin/envoy")}
    assert {name: (facts.st_mode & 0o777, facts.st_gid) for name, facts in found.items()} == {
        "bin": (0o755, 0),
        "conf": (0o755, 0),
        "conf/a": (0o644, 0),
        "bin/envoy": (0o755, 0),
    }


# -- what is refused


def test_a_member_that_is_refused_leaves_everything_as_it_was(vm):
    vm.unpack()
    vm.mark()
    said = vm.refused([*archives.release(), archives.link("x", "/etc/passwd")])
    assert said.startswith(f"src: {vm.src} has a member 'kuma-2.14.3/x', which is a link to '/etc/passwd'")
    assert vm.installed() == {"2.14.3": "abc"}
    assert "has no program <folder>/bin/kuma-dp" in vm.refused([archives.member("README")])


def test_another_archive_is_not_read(vm, monkeypatch):
    monkeypatch.setattr(vm_release, "read", no_commands)
    said = vm.refused(checksum="0" * 64)
    assert said.startswith(f"src: {vm.src} has SHA-256 {vm.pack().checksum}, expected {'0' * 64} of checksum: transfer it again")


def test_a_missing_archive_is_named(vm):
    said = vm.refused(path=f"{vm.src}.gone")
    assert said == f"src: {vm.src}.gone cannot be read: No such file or directory. Expected the archive of the release on the VM"


@pytest.mark.parametrize("content", ["text", "cut", "tar", "empty"])
def test_what_is_no_tar_gz_is_refused(vm, tmp_path, content):
    vm.pack([*archives.release(), archives.member("big", os.urandom(100_000))])
    whole = vm.src.read_bytes()
    other = tmp_path / "other"
    contents = {"text": b"no archive", "cut": whole[: len(whole) // 2], "tar": gzip.decompress(whole), "empty": b""}
    other.write_bytes(contents[content])
    before = snapshot(vm.directory)
    with pytest.raises(ModuleFailed, match=r"src: .*/other cannot be read \(.*\), expected a tar\.gz"):
        vm_release.unpack(vm_release.Archive(str(other), sha256(other)), str(vm.directory), no_commands)
    assert snapshot(vm.directory) == before


def sha256(path):
    return vm_release.hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("there", "kind"),
    [("bin/envoy", "directory"), ("bin", "link"), ("bin", "file"), ("README", "directory")],
)
def test_what_is_in_the_way_is_named_and_nothing_goes_through_a_link(vm, tmp_path, there, kind):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = vm.directory / there
    path.parent.mkdir(exist_ok=True)
    {"directory": path.mkdir, "link": lambda: path.symlink_to(elsewhere), "file": lambda: path.write_text("x")}[kind]()
    expected = "directory" if there == "bin" else "file"
    assert vm.refused() == f"install_dir: {path} is a {kind}, expected a {expected}: remove it. Nothing was unpacked."
    assert os.listdir(elsewhere) == []


def test_too_little_space_is_told_before_anything_is_written(vm, monkeypatch):
    monkeypatch.setattr(vm_release.os, "statvfs", lambda _path: types.SimpleNamespace(f_bavail=3, f_frsize=1 << 20, f_blocks=9))
    members = [*archives.release(), archives.member("big", b"x" * (5 << 20))]
    monkeypatch.setattr(vm_release.tempfile, "mkdtemp", no_commands)
    assert vm.refused(members).startswith(f"install_dir: {vm.directory} has 3 MB of free space, expected 6 MB for what is in src: remove")


def test_a_filesystem_that_does_not_tell_its_size_is_tried(vm, monkeypatch):
    monkeypatch.setattr(vm_release.os, "statvfs", lambda _path: types.SimpleNamespace(f_bavail=0, f_frsize=0, f_blocks=0))
    vm.unpack()


@pytest.mark.parametrize("function", ["fsync", "fchown", "fchmod", "link", "symlink"])
@pytest.mark.parametrize("call", [1, 2])
def test_a_disk_that_is_full_leaves_everything_as_it_was(vm, monkeypatch, function, call):
    vm.unpack()
    vm.mark()
    # Of the lock, which is there already, nothing has to be written.
    monkeypatch.setattr(vm_release.safely, "locked", lambda _path: contextlib.nullcontext())
    original, calls = getattr(os, function), []

    def failing(*arguments, **named):
        calls.append(arguments)
        if len(calls) == call:
            raise OSError(28, "No space left on device")
        return original(*arguments, **named)

    monkeypatch.setattr(os, function, failing)
    links = [archives.link(name, "bin") for name in "ab"] + [archives.hard_link(name, f"{archives.FOLDER}/bin/envoy") for name in "cd"]
    said = vm.refused([*archives.release(), *links])
    assert said == (
        f"src: {vm.src} was not unpacked to {vm.directory} ([Errno 28] No space left on device): correct that on the VM and run this again"
    )
    assert vm.installed() == {"2.14.3": "abc"}


# -- interrupted, and two at once


class Killed(BaseException):
    """The process is gone here."""


@pytest.mark.parametrize("call", [1, 2, 3])
def test_an_interrupted_replacement_counts_as_unfinished_and_leaves_no_half_file(vm, monkeypatch, call):
    vm.unpack([*archives.release(b"old kuma-dp", b"old envoy")[:-1], archives.member("README", b"old README")])
    vm.mark()
    calls = []
    rename = os.rename

    def killed(source, target, **named):
        calls.append(target)
        if len(calls) == call:
            raise Killed
        rename(source, target, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", killed)
        # Nobody cleans up after a process that was killed.
        patch.setattr(vm_release.safely, "remove_tree", lambda _path: None)
        with pytest.raises(Killed):
            vm.unpack()
    assert vm.installed() == {}
    assert {(vm.directory / f"bin/{name}").read_text() for name in ("kuma-dp", "envoy")} <= {
        f"{age} {name}" for age in ("old", "new") for name in ("kuma-dp", "envoy")
    }
    assert [path.name for path in vm.directory.glob(".*")] != []
    vm.unpack()
    assert sorted(os.listdir(vm.directory)) == ["README", "bin"], "what was left is gone"


def test_the_mark_goes_before_the_first_file_changes(vm, monkeypatch):
    vm.unpack()
    vm.mark()
    marked, rename = [], os.rename

    def watched(source, target, **named):
        marked.append((vm.directory / vm_proxy.MARKER).exists())
        rename(source, target, **named)

    monkeypatch.setattr(os, "rename", watched)
    vm.unpack([archives.release()[0], *(archives.member(name, b"changed", 0o755) for name in ("bin/kuma-dp", "bin/envoy", "README"))])
    assert marked == [False, False, False]


def test_only_one_unpacks_at_a_time(vm, tmp_path):
    archive = vm.pack()
    descriptor = os.open(tmp_path / "lock", os.O_RDONLY | os.O_CREAT, 0o600)
    thread = threading.Thread(target=vm_release.unpack, args=(archive, str(vm.directory), no_commands))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert os.listdir(vm.directory) == []
    finally:
        os.close(descriptor)
    thread.join(30)
    assert (vm.directory / "bin/envoy").exists()


def test_nobody_else_keeps_root_from_unpacking(vm, tmp_path):
    """Whoever may read a directory may lock it, so a lock that counts is in a file of root's alone."""
    descriptor = os.open(vm.directory, os.O_RDONLY)
    thread = threading.Thread(target=vm.unpack, daemon=True)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
    finally:
        os.close(descriptor)
    status = (tmp_path / "lock").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (0, 0o600)


# -- around it


def refuse_in(directory):
    with vm_release.made(vm_release.directories(str(directory))):
        assert oct(directory.stat().st_mode) == oct(directory.parent.stat().st_mode) == "0o40755"
        raise ModuleFailed("refused")


@pytest.mark.parametrize("there", [[], ["opt"], ["opt", "opt/2.14.3"]])
def test_the_directories_that_were_made_go_again_when_the_archive_is_refused(tmp_path, there):
    for name in there:
        (tmp_path / name).mkdir()
    with pytest.raises(ModuleFailed, match="refused"):
        refuse_in(tmp_path / "opt/2.14.3")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == there


def test_a_directory_whose_parent_is_missing_is_named(tmp_path):
    with pytest.raises(ModuleFailed, match=f"install_dir: {tmp_path}/srv/opt: there is no directory {tmp_path}/srv, expected it to exist"):
        vm_release.directories(f"{tmp_path}/srv/opt/2.14.3")


@pytest.mark.parametrize(("there", "expected"), [(True, [["restorecon", "-R"]]), (False, [])])
def test_programs_get_their_type_where_selinux_is_on(vm, tmp_path, monkeypatch, there, expected):
    monkeypatch.setattr(vm_release, "SELINUX", str(tmp_path if there else tmp_path / "none"))
    commands = []
    vm_release.unpack(vm.pack(), str(vm.directory), lambda command: commands.append(list(command)) or (127, "", ""))
    assert commands == [[*command, str(vm.directory)] for command in expected]


OPTIONS = {"version": "2.14.3", "src": "/tmp/kuma.tar.gz", "checksum": "A" * 64}


@pytest.mark.parametrize(
    ("changed", "problems"),
    [
        ({}, []),
        ({"src": None, "checksum": None}, []),
        ({"src": None, "checksum": None, "version": None}, []),
        ({"version": None}, ["version: it is not given, expected the one that is in src (/tmp/kuma.tar.gz)"]),
        ({"checksum": None}, ["checksum: found None, expected the SHA-256 of src (/tmp/kuma.tar.gz) as 64 hexadecimal digits"]),
        (
            {"checksum": "A" * 63},
            [f"checksum: found '{'A' * 63}', expected the SHA-256 of src (/tmp/kuma.tar.gz) as 64 hexadecimal digits"],
        ),
    ],
)
def test_options_that_do_not_go_together_are_named(changed, problems):
    assert vm_release.problems({**OPTIONS, **changed}) == problems
