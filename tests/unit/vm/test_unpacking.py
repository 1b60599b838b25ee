# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may lie where: no member of an archive leads out of the directory of its version, whatever the archive says."""

from __future__ import annotations

import gzip
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.naming import shown
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import unpacking
from tests.unit.vm import archives

LOST = "which may be outside"


def read(path, members, programs=(), stage=None):
    archives.pack(path, members)
    with path.open("rb") as handle:
        return unpacking.read(str(path), handle, programs, stage)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("kuma/bin/envoy", "bin/envoy"),
        ("./bin/envoy", "bin/envoy"),
        ("kuma//bin/./envoy", "bin/envoy"),
        ("kuma", ""),
        ("kuma/", ""),
        ("kuma/...", "..."),
    ],
)
def test_the_first_part_of_a_name_stands_for_the_directory_of_the_version(name, place):
    assert unpacking.place_of(name) == place


@pytest.mark.parametrize("name", ["/bin/sh", "//bin/sh", "../x", "kuma/../x", "kuma/bin/../../../x", "kuma/..", "..", "kuma/a\0b"])
def test_a_name_that_leads_elsewhere_has_no_place(name):
    with pytest.raises(ValueError, match="has "):
        unpacking.place_of(name)


@given(st.text("ab./", max_size=12))
def test_a_place_is_always_below(name):
    try:
        place = unpacking.place_of(name)
    except ValueError:
        return
    assert os.path.normpath("/d/" + place).startswith("/d")
    assert place == "" or os.path.normpath(place) == place


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([archives.link("bin/x", "/etc/passwd")], LOST),
        ([archives.link("bin/x", "../../x")], LOST),
        ([archives.link("x", "..")], LOST),
        ([archives.link("x", "")], LOST),
        # By way of a link that is nearer to the top than it looks, this leads out.
        ([archives.link("a/b/up", "../.."), archives.link("x", "a/b/up/../..")], LOST),
        ([archives.hard_link("x", "/etc/passwd")], "which has an absolute path"),
        ([archives.hard_link("x", f"{archives.FOLDER}/../x")], "which has .. among"),
        ([archives.hard_link("x", f"{archives.FOLDER}/y")], "no file before it"),
        ([archives.hard_link("x", f"{archives.FOLDER}/y"), archives.member("y")], "no file before it"),
        ([archives.directory("y"), archives.hard_link("x", f"{archives.FOLDER}/y")], "no file before it"),
        ([archives.link("y", "bin"), archives.hard_link("x", f"{archives.FOLDER}/y")], "no file before it"),
        ([archives.member("x", kind=tarfile.CHRTYPE)], "neither a file nor a directory nor a link"),
        ([archives.member("x", kind=tarfile.BLKTYPE)], "neither a file nor a directory nor a link"),
        ([archives.member("x", kind=tarfile.FIFOTYPE)], "neither a file nor a directory nor a link"),
        ([archives.member("/etc/cron.d/x", folder=None)], "absolute path"),
        ([archives.member("../x")], "has .. among the parts of its path"),
        ([archives.member("a\nb")], "has a control character in its path"),
        ([archives.member("x" * 256)], "has a part of more than 255 bytes in its path"),
        ([archives.directory("\u00e4" * 128)], "has a part of more than 255 bytes in its path"),
        ([archives.member(".release.x.tmp/a")], "begins with .release., which is for files that wait for their place"),
        ([archives.member("x", kind=tarfile.GNUTYPE_SPARSE)], "neither a file nor a directory nor a link"),
    ],
)
def test_a_member_that_leads_out_is_refused_by_its_name(tmp_path, members, reason):
    with pytest.raises(ModuleFailed) as failed:
        read(tmp_path / "kuma.tar.gz", [*archives.release(), *members])
    said = failed.value.msg
    assert said.startswith(f"src: {tmp_path}/kuma.tar.gz has a member '")
    assert reason in said
    refused = members[-1] if "before it" not in reason else next(item for item in members if item[0].islnk())
    assert f"has a member {shown(refused[0].name)}, which " in said
    assert said.endswith("Nothing was unpacked.")


@pytest.mark.parametrize("through", [archives.link("lib", "bin"), archives.member("lib")])
@pytest.mark.parametrize("late", [False, True])
def test_nothing_lies_below_what_is_no_directory(tmp_path, through, late):
    inside = archives.member("lib/x")
    with pytest.raises(ModuleFailed, match=r"has something below 'lib', which is a (link|file), expected a directory there"):
        read(tmp_path / "kuma.tar.gz", [inside, through] if late else [through, inside])


def extended(**headers):
    """A header in front of a member, which says more of it."""
    info = archives.member("f")[0]
    info.pax_headers = headers
    return info.tobuf(tarfile.PAX_FORMAT)[:-512]


@pytest.mark.parametrize(
    "blocks",
    [
        [extended(comment="x")] * 1500,
        [archives.member("x", b"kuma/ff\0", kind=tarfile.GNUTYPE_LONGNAME)[0].tobuf() + b"kuma/ff\0".ljust(512, b"\0")] * 1500,
        [extended(**{"GNU.sparse.map": "a,b"})],
        [extended(**{"GNU.sparse.map": "9" * 400 + ",1"})],
    ],
    ids=["many headers", "many names", "no map", "no size"],
)
def test_headers_that_nobody_can_read_are_an_archive_that_cannot_be_read(tmp_path, blocks):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(b"".join(blocks) + archives.member("f")[0].tobuf() + b"\0" * 1024, 1))
    with pytest.raises(ModuleFailed, match=r"(cannot be read|neither a file nor).* Nothing was unpacked\."), path.open("rb") as handle:
        unpacking.read(str(path), handle, ())


@pytest.mark.parametrize("character", ["\0", "\n", "\x7f"])
def test_a_link_to_what_no_path_is_is_refused(tmp_path, character):
    info, content = archives.link("bin/x", "envoy")
    info.pax_headers = {"linkpath": f"en{character}voy"}
    with pytest.raises(ModuleFailed, match="has a control character"):
        read(tmp_path / "a.tar.gz", [*archives.release(), (info, content)])


def test_links_that_stay_inside_are_taken(tmp_path):
    members = [archives.link("a/b/x", "../../bin/envoy"), archives.link("y", "./a/b"), archives.link("z", "nowhere")]
    items = read(tmp_path / "kuma.tar.gz", [*archives.release(), *members])
    assert [items[place].target for place in ("a/b/x", "y", "z")] == ["../../bin/envoy", "./a/b", "nowhere"]


def test_everybody_may_use_and_nobody_change_what_is_unpacked(tmp_path):
    programs, plain = (0o4755, 0o2755, 0o1777, 0o555, 0o722, 0o700, 0o100), (0o666, 0o600, 0o4000, 0)
    members = [archives.member(f"{mode:o}", mode=mode) for mode in (*programs, *plain)]
    members += [archives.directory(f"d{mode:o}", mode) for mode in (0, 0o700, 0o7777)]
    items = read(tmp_path / "kuma.tar.gz", members)
    assert {item.mode for place, item in items.items() if place.startswith("d")} == {0o755}
    assert {int(place, 8) for place, item in items.items() if item.mode == 0o755 and not place.startswith("d")} == set(programs)
    assert {int(place, 8) for place, item in items.items() if item.mode == 0o644} == set(plain)


def test_the_last_of_two_members_counts(tmp_path):
    items = read(tmp_path / "kuma.tar.gz", [archives.member("x", mode=0o600), archives.member("x", mode=0o644)])
    assert items["x"].mode == 0o644


def test_a_mark_that_was_packed_is_not_taken(tmp_path):
    marks = [archives.member(".archive-sha256", b"0"), archives.member(".archive-sha256/a"), archives.member("bin/.archive-sha256")]
    items = read(tmp_path / "kuma.tar.gz", marks)
    assert list(items) == ["bin/.archive-sha256"]


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize(
    ("limits", "members", "said"),
    [
        ({"MEMBERS": 7}, 3, "has more than 7 members"),
        ({"SIZE": 3 << 30}, "large", "becomes more than 3 GiB when it is unpacked"),
        ({"SIZE": 1 << 20}, "many", "becomes more than 0 GiB when it is unpacked"),
        ({}, "header", "has more than 2 MiB between two members"),
        ({}, "names", "has more than 2 MiB between two members"),
    ],
)
def test_a_bomb_is_refused_before_the_disk_or_the_memory_is_full(tmp_path, monkeypatch, limits, members, said, staged):
    for name, value in limits.items():
        monkeypatch.setattr(unpacking, name, value)
    path = tmp_path / "kuma.tar.gz"
    if members == "large":
        # Its size is told by its header, and its bytes are never read.
        large = archives.member("large")
        archives.pack(path, archives.release())
        with tarfile.open(path, "w:gz") as tar:
            large[0].size = 3 << 30
            tar.fileobj.write(large[0].tobuf())
    else:
        more = {
            3: [archives.member(f"{number}") for number in range(3)],
            "many": [archives.member(f"{number}", b"x" * 300_000) for number in range(4)],
            "header": [archives.member("x")],
            "names": [archives.member("/".join(["x" * 200] * 20_000))],
        }[members]
        if members == "header":
            more[0][0].pax_headers = {"comment": "x" * (3 << 20)}
        archives.pack(path, [*archives.release(), *more])
    (tmp_path / "stage").mkdir()
    with path.open("rb") as handle, unpacking.Stage(str(tmp_path / "stage")) as stage, pytest.raises(ModuleFailed) as failed:
        unpacking.read(str(path), handle, [], stage if staged else None)
    assert failed.value.msg == f"src: {path} {said}, expected a release, which is smaller: give another archive. Nothing was unpacked."


def test_a_release_of_any_size_is_far_from_the_limits(tmp_path):
    """Kuma's own have about 30 members and 600 MB."""
    members = [archives.member(f"conf/{number}", b"x" * 100) for number in range(2000)]
    assert len(read(tmp_path / "kuma.tar.gz", members)) == 2000
    assert (unpacking.MEMBERS, unpacking.SIZE) == (10_000, 4 << 30)


@pytest.mark.parametrize(
    ("extra", "programs", "missing"),
    [
        ([], ["kuma-dp", "envoy"], None),
        ([], ["kuma-dp", "kuma-cp"], "kuma-cp"),
        ([archives.member("bin/kuma-cp", mode=0o644)], ["kuma-cp"], "kuma-cp"),
        ([archives.directory("bin/kuma-cp")], ["kuma-cp"], "kuma-cp"),
        ([archives.link("bin/kuma-cp", "kuma-dp")], ["kuma-cp"], None),
        ([archives.member("kuma-cp", mode=0o755)], ["kuma-cp"], "kuma-cp"),
    ],
)
def test_programs_have_to_be_there(tmp_path, extra, programs, missing):
    members = [*archives.release(), *extra]
    if missing is None:
        read(tmp_path / "kuma.tar.gz", members, programs)
    else:
        with pytest.raises(ModuleFailed, match=f"has no program <folder>/bin/{missing}, expected a release of Kuma"):
            read(tmp_path / "kuma.tar.gz", members, programs)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_files_wait_complete_and_with_their_mode(tmp_path):
    members = [*archives.release(), archives.hard_link("bin/again", f"{archives.FOLDER}/bin/envoy"), archives.link("x", "bin")]
    (tmp_path / "stage").mkdir()
    with unpacking.Stage(str(tmp_path / "stage")) as stage:
        items = read(tmp_path / "kuma.tar.gz", members, stage=stage)
    staged = {place: item.staged for place, item in items.items() if item.kind != "directory"}
    assert len(set(staged.values())) == len(staged) == len(os.listdir(tmp_path / "stage"))
    envoy, again = os.stat(staged["bin/envoy"]), os.stat(staged["bin/again"])
    assert (envoy.st_ino, envoy.st_mode & 0o7777, envoy.st_uid, envoy.st_gid) == (again.st_ino, 0o755, 0, 0)
    assert os.readlink(staged["x"]) == "bin"
