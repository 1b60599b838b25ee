# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The release archive: pinned, complete, and built for the architecture of the VM."""

from __future__ import annotations

import hashlib
import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._join import archive as join_archive
from tests.unit.vm.archives import member, pack


def elf(machine):
    return b"\x7fELF\x02\x01" + bytes(12) + machine.to_bytes(2, "little") + bytes(44)


def make(path, files):
    return str(path), pack(path, [member(name, content, folder="") for name, content in files.items()])


def test_an_archive_has_one_checksum_whenever_it_is_packed(tmp_path, monkeypatch):
    """Which the tests that pack one twice rely on."""
    _path, first = make(tmp_path / "first.tar.gz", GOOD)
    monkeypatch.setattr(time, "time", lambda: 1.0)
    assert make(tmp_path / "second.tar.gz", GOOD)[1] == first


GOOD = {"kuma-2.14.3/bin/kuma-dp": elf(62), "kuma-2.14.3/bin/envoy": elf(62)}


def problems(path, checksum, architecture="amd64", **variables):
    values = {"version": "2.14.3", "archive": path, "archive_checksum": checksum, **variables}
    archive, faults = join_archive.wanted("web-1", values, architecture)
    return faults or join_archive.inspect(archive)


@pytest.mark.parametrize("wrap", [str, "sha256:{}".format, str.upper, lambda value: {"amd64": value}])
def test_a_pinned_archive_is_accepted(tmp_path, wrap):
    path, checksum = make(tmp_path / "kuma.tar.gz", GOOD)
    assert problems(path, wrap(checksum)) == []


def test_placeholders_are_filled_in(tmp_path):
    _path, checksum = make(tmp_path / "kuma-2.14.3-amd64.tar.gz", GOOD)
    assert problems(str(tmp_path / "kuma-{version}-{arch}.tar.gz"), {"amd64": checksum, "arm64": "0" * 64}) == []


@pytest.mark.parametrize("pinned", [None, "", {}, {"arm64": "0" * 64}])
def test_without_a_checksum_for_the_architecture_it_is_refused(tmp_path, pinned):
    path, _checksum = make(tmp_path / "kuma.tar.gz", GOOD)
    (problem,) = problems(path, pinned)
    assert problem.startswith("web-1: kuma_dp_archive_checksum has no SHA-256 for architecture amd64")


def test_a_wrong_checksum_names_both(tmp_path):
    path, checksum = make(tmp_path / "kuma.tar.gz", GOOD)
    (problem,) = problems(path, "0" * 64)
    assert f"has SHA-256 {checksum}, expected {'0' * 64} from kuma_dp_archive_checksum" in problem


def test_a_checksum_that_is_none_is_shown(tmp_path):
    path, _checksum = make(tmp_path / "kuma.tar.gz", GOOD)
    assert "kuma_dp_archive_checksum is 'md5:1', expected 64 hexadecimal digits" in problems(path, "md5:1")[0]


def test_the_wrong_architecture_is_found_inside(tmp_path):
    path, checksum = make(tmp_path / "kuma.tar.gz", {**GOOD, "kuma-2.14.3/bin/envoy": elf(183)})
    (problem,) = problems(path, checksum)
    assert "web-1: bin/envoy in kuma_dp_archive" in problem
    assert "is built for arm64, expected amd64" in problem


def test_an_archive_of_something_else_is_refused(tmp_path):
    path, checksum = make(tmp_path / "kuma.tar.gz", {"kuma-2.14.3/bin/kuma-dp": b"#!"})
    assert "has no <folder>/bin/envoy" in problems(path, checksum)[0]
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(b"not a tar")
    assert "cannot be read" in problems(str(broken), hashlib.sha256(b"not a tar").hexdigest())[0]


def test_a_missing_file_is_named_but_a_url_may_not_be_there_yet(tmp_path):
    assert "does not exist on the controller" in problems("/nowhere/kuma.tar.gz", "0" * 64)[0]
    assert problems("https://kuma.example/kuma.tar.gz", "0" * 64, archive_cache=str(tmp_path)) == []
    make(tmp_path / "kuma.tar.gz", GOOD)
    assert "has SHA-256" in problems("https://kuma.example/kuma.tar.gz", "0" * 64, archive_cache=str(tmp_path))[0]


@pytest.mark.parametrize("name", ["", ".", "..", "a\nb", "x" * 300, "a\0"])
def test_what_is_fetched_is_a_file_of_the_cache(tmp_path, name):
    (problem,) = problems(f"https://kuma.example/{name}", "0" * 64, archive_cache=str(tmp_path))
    assert problem.startswith("web-1: kuma_dp_archive is 'https://kuma.example/")
    assert problem.endswith(", expected the URL of a file")


@pytest.mark.parametrize("version", ["", "v2.14.3", "2.14.3; rm", "..", "current"])
def test_a_version_must_be_a_version(tmp_path, version):
    path, checksum = make(tmp_path / "kuma.tar.gz", GOOD)
    assert f"web-1: kuma_dp_version is {version!r}, expected a released version" in problems(path, checksum, version=version)[0]


def test_elf_headers_are_read_in_both_byte_orders():
    assert join_archive.elf_machine(elf(62)) == "amd64"
    assert join_archive.elf_machine(b"\x7fELF\x02\x02" + bytes(12) + (183).to_bytes(2, "big")) == "arm64"
    assert join_archive.elf_machine(elf(8)) == "machine 8"
    assert join_archive.elf_machine(b"#!/usr/bin/env python3") is None
