# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is removed from a VM: strictly below the directories that were named, by our own names, or by our marker. Nothing else."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import removal
from tests.unit import module_runner
from tests.unit.vm.test_files import snapshot

SHARED = ["/", "/etc", "/opt", "/usr", "/usr/local", "/usr/local/lib", "/var", "/var/lib", "/run", "/home", "/home/me", "/root", "/tmp"]
SHARED += ["/srv", "/etc/systemd", "/etc/systemd/system", "/etc/sysctl.d", "/etc/needrestart/conf.d", "/usr/bin", "/usr/lib/x", "/boot/efi"]
SHARED += ["/etc/ssl", "/etc/ssl/certs", "/etc/ssl/tokens", "/usr/share", "/usr/share/doc", "/usr/share/zoneinfo/Europe"]
SHARED += ["/usr/lib/x/tokens", "/proc/x/env", "/usr/libexec/x/env", "/boot/x/dataplanes", "/usr/sbin/x/tokens"]
OPTIONS = ["absent", "below", "absent_if_empty", "absent_releases", "absent_unfinished"]


def remove(**options):
    return module_runner.run("proxy_files", options)


@pytest.fixture
def tree(tmp_path):
    """A directory of settings with what is ours and what is not."""
    for path in ("kuma/tokens/web-1", "kuma/tokens/web-2", "kuma/env/web-1.env", "kuma/outbounds.env", "others/file"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    return tmp_path


@pytest.mark.parametrize("part", ["..", ".", "../tokens", "../../others", "web-1/..", "web-1/../../tokens", "web\n1"])
@pytest.mark.parametrize("option", OPTIONS)
def test_a_path_that_says_another_one_is_refused(tree, part, option):
    before = snapshot(tree)
    given = {"absent": [f"{tree}/kuma/tokens/web-1"], "below": [f"{tree}/kuma/tokens"]}
    failed = remove(**{**given, option: [f"{tree}/kuma/tokens/{part}"]})
    assert failed["failed"]
    assert failed["problems"][0].startswith(f"{option}: {tree}/kuma/tokens/{part} ")
    assert snapshot(tree) == before


@pytest.mark.parametrize("option", ["directories", "files", "secrets", "links"])
@pytest.mark.parametrize("part", ["..", "."])
def test_a_path_that_says_another_one_is_not_written(tree, option, part):
    before = snapshot(tree)
    item = {"path": f"{tree}/kuma/{part}/new", **({"target": "x"} if option == "links" else {})}
    if option in ("files", "secrets"):
        item["content"] = "x"
    failed = remove(**{option: [item]})
    assert failed["problems"][0].startswith(f"{tree}/kuma/{part}/new has {part} among its parts")
    assert snapshot(tree) == before


def test_slashes_that_say_nothing_are_left_out_where_something_is_written(tree):
    (tree / "kuma/a").write_text("x")
    assert not remove(files=[{"path": f"{tree}//kuma///a", "content": "x"}], directories=[{"path": f"{tree}/kuma/"}])["changed"]


def test_slashes_that_say_nothing_are_left_out_where_something_is_removed(tree):
    tokens = f"{tree}/kuma/tokens"
    before = snapshot(tree)
    # The directory itself is not strictly below itself, however it is written.
    assert remove(absent=[f"{tokens}/"], below=[tokens])["problems"][0].startswith(f"absent: {tokens} is not to be removed")
    assert snapshot(tree) == before
    removed = remove(absent=[f"{tree}//kuma/tokens/web-1/"], below=[f"{tokens}/"], absent_if_empty=[f"{tokens}//"])
    assert removed["changed_paths"] == [f"{tokens}/web-1"]
    versions = releases(tree / "opt")
    assert remove(absent_releases=[f"{versions}/"], absent_unfinished=[f"{versions}/2.14.4/"])["changed_paths"][-1] == str(versions)


def test_a_path_with_dots_is_refused_in_plain_words(tree):
    failed = remove(below=[f"{tree}/kuma/../tokens/"])
    assert failed["problems"] == [f"below: {tree}/kuma/../tokens has .. among its parts, expected a path without . and .."]


@pytest.mark.parametrize("directory", SHARED)
def test_directories_of_the_system_are_no_place_to_remove_from(directory):
    for option in ("below", "absent_if_empty"):
        planned, problems = removal.plan({option: [directory], "absent": [f"{directory.rstrip('/')}/kuma-test-of-removal"]})
        assert planned == []
        assert any(problem.startswith(f"{option}: {directory} is a directory of the system") for problem in problems)


@pytest.mark.parametrize("place", ["/usr/share/kuma", "/etc/ssl/kuma", "/usr/src/a/b", "/etc/systemd/kuma", "/usr/local/lib/kuma"])
def test_a_directory_of_settings_may_be_in_a_tree_of_the_system(place):
    below = [f"{place}/{name}" for name in ("dataplanes", "env", "tokens")]
    absent = [f"{place}/outbounds.env", f"{place}/tokens/web-1"]
    planned, problems = removal.plan({"below": below, "absent": absent, "absent_if_empty": below})
    assert problems == []
    assert [step.path for step in planned] == absent


@pytest.mark.parametrize("path", ["kuma", "kuma/tokens", "others/file", "others", "kuma/tokens-2/a", "kuma/env/web-1.env"])
def test_only_what_is_strictly_below_is_removed(tree, path):
    before = snapshot(tree)
    failed = remove(absent=[f"{tree}/kuma/tokens/web-1", f"{tree}/{path}"], below=[f"{tree}/kuma/tokens"])
    place = f"{tree}/kuma/tokens"
    expected = f"expected a path strictly below one of below ({place}), or one that is known to be a proxy's"
    assert failed["problems"] == [f"absent: {tree}/{path} is not to be removed, {expected}"]
    assert snapshot(tree) == before


def test_links_do_not_lead_out(tree):
    (tree / "kuma/tokens/out").symlink_to(tree / "others")
    (tree / "kuma/elsewhere").symlink_to("/etc")
    before = snapshot(tree)
    assert remove(absent=[f"{tree}/kuma/tokens/out/file"], below=[f"{tree}/kuma/tokens"])["failed"]
    assert "which is /etc" in remove(below=[f"{tree}/kuma/elsewhere"])["msg"]
    assert snapshot(tree) == before
    # The link itself is removed, not what it leads to.
    assert remove(absent=[f"{tree}/kuma/tokens/out"], below=[f"{tree}/kuma/tokens"])["changed"]
    assert (tree / "others/file").exists()


def test_a_directory_of_settings_may_be_a_link(tree):
    (tree / "settings").symlink_to("kuma")
    assert remove(absent=[f"{tree}/settings/tokens/web-1"], below=[f"{tree}/settings/tokens"])["changed"]
    assert sorted(os.listdir(tree / "kuma/tokens")) == ["web-2"]


def test_files_of_ours_are_known_by_their_names_and_directories_are_not(tree):
    ours = {"absent": [f"{tree}/kuma/outbounds.env"], "below": [f"{tree}/kuma/tokens"]}
    assert remove(**ours)["changed_paths"] == [f"{tree}/kuma/outbounds.env"]
    (tree / "kuma/outbounds.env").mkdir()
    assert remove(**ours)["failed"]


@pytest.mark.parametrize("below", [[], ["others/tokens"], ["kuma/tokens/deeper"]])
@pytest.mark.parametrize("name", ["outbounds.env", "control-plane-ca.pem"])
def test_a_file_with_a_name_of_ours_stays_where_nothing_else_is_ours(tree, name, below):
    (tree / "kuma" / name).write_text("x")
    before = snapshot(tree)
    failed = remove(absent=[f"{tree}/kuma/{name}"], below=[f"{tree}/{place}" for place in below])
    assert failed["problems"][0].startswith(f"absent: {tree}/kuma/{name} is not to be removed")
    assert snapshot(tree) == before


def test_directories_go_when_they_are_empty(tree):
    tokens = tree / "kuma/tokens"
    options = {"absent": [f"{tokens}/web-1"], "below": [str(tokens)], "absent_if_empty": [str(tokens)]}
    assert remove(**options)["changed_paths"] == [f"{tokens}/web-1"]
    # What a write left that lost its power, with a token in it.
    (tokens / ".web-2.abcd1234.tmp").write_text("token")
    options["absent"] = [f"{tokens}/web-1", f"{tokens}/web-2"]
    checked = module_runner.run("proxy_files", options, check=True)
    assert tokens.exists()
    assert (
        remove(**options)["changed_paths"] == checked["changed_paths"] == [f"{tokens}/web-2", f"{tokens}/.web-2.abcd1234.tmp", str(tokens)]
    )
    assert not tokens.exists()
    assert not remove(**options)["changed"]


@pytest.mark.parametrize("stranger", ["notes", ".hidden", ".a.tmp"])
def test_a_directory_with_something_else_stays(tree, stranger):
    tokens = tree / "kuma/tokens"
    (tokens / stranger).write_text("x")
    remove(absent=[f"{tokens}/web-1", f"{tokens}/web-2"], below=[str(tokens)], absent_if_empty=[str(tokens)])
    assert os.listdir(tokens) == [stranger]


def releases(root, current="2.14.3"):
    for version in ("2.14.2", "2.14.3"):
        (root / version / "bin").mkdir(parents=True)
        (root / version / ".archive-sha256").write_text("0" * 64)
    (root / "current").symlink_to(current)
    return root


def test_releases_go_and_strangers_stay(tmp_path):
    root = releases(tmp_path / "opt")
    (root / "other/bin").mkdir(parents=True)
    (root / "linked").symlink_to("2.14.3")
    first = remove(absent_releases=[str(root)])
    assert first["changed_paths"] == [f"{root}/current", f"{root}/2.14.2", f"{root}/2.14.3"]
    assert sorted(os.listdir(root)) == ["linked", "other"]
    assert not remove(absent_releases=[str(root)])["changed"]


def test_a_directory_of_nothing_but_releases_goes(tmp_path):
    root = releases(tmp_path / "opt")
    checked = module_runner.run("proxy_files", {"absent_releases": [str(root)]}, check=True)
    assert root.exists()
    assert remove(absent_releases=[str(root)])["changed_paths"] == checked["changed_paths"]
    assert not root.exists()
    assert not remove(absent_releases=[str(root)])["changed"]


@pytest.mark.parametrize("target", ["/somewhere", "other", "../others"])
def test_a_link_of_others_stays(tmp_path, target):
    root = releases(tmp_path / "opt", target)
    (root / "other").mkdir()
    remove(absent_releases=[str(root)])
    assert sorted(os.listdir(root)) == ["current", "other"]


def unpacked(version, *paths):
    """A directory of a version without the marker; names that end in / are directories."""
    version.mkdir(parents=True)
    for path in paths:
        (version / path).parent.mkdir(exist_ok=True)
        (version / path).mkdir() if path.endswith("/") else (version / path).write_text("x")


@pytest.mark.parametrize(
    ("paths", "goes"),
    [
        ((), True),
        (("bin/kuma-dp", "LICENSE", "NOTICE", "NOTICE-kumactl", "README", "conf/kuma-cp.defaults.yaml", "install_missing_crds.sh"), True),
        # What the write of the marker left that lost its power.
        (("bin/kuma-dp", "..archive-sha256.abcd1234.tmp"), True),
        # What was unpacked and had not taken its place.
        ((".release.abcd1234.tmp/",), True),
        ((".release.abcd1234.tmp/", "README"), False),
        (("bin/kuma-dp", "notes"), False),
        (("bin/kuma-dp", "lib/"), False),
        (("bin/kuma-dp", ".hidden"), False),
        (("README",), False),
        (("bin",), False),
    ],
)
def test_a_version_that_was_not_unpacked_to_its_end_goes_when_it_is_named(tmp_path, paths, goes):
    root = releases(tmp_path / "opt")
    unpacked(root / "2.14.4", *paths)
    unpacked(root / "2.14.5", "bin/kuma-dp")
    options = {"absent_releases": [str(root)], "absent_unfinished": [f"{root}/2.14.4"]}
    checked = module_runner.run("proxy_files", options, check=True)
    assert (root / "2.14.4").exists()
    assert remove(**options)["changed_paths"] == checked["changed_paths"]
    # The other one was not named.
    assert sorted(os.listdir(root)) == (["2.14.5"] if goes else ["2.14.4", "2.14.5"])
    assert not remove(**options)["changed"]


def test_the_directory_of_releases_goes_with_the_unfinished_one(tmp_path):
    root = tmp_path / "opt"
    unpacked(root / "2.14.3", "bin/kuma-dp")
    assert remove(absent_releases=[str(root)], absent_unfinished=[f"{root}/2.14.3"])["changed_paths"] == [f"{root}/2.14.3", str(root)]


def test_a_version_with_its_marker_or_a_link_is_not_unfinished(tmp_path):
    root = releases(tmp_path / "opt")
    unpacked(tmp_path / "elsewhere", "bin/kuma-dp")
    (root / "2.14.4").symlink_to(tmp_path / "elsewhere")
    removed = remove(absent_releases=[str(root)], absent_unfinished=[f"{root}/2.14.3", f"{root}/2.14.4"])
    assert removed["changed_paths"] == [f"{root}/current", f"{root}/2.14.2", f"{root}/2.14.3"]
    assert (root / "2.14.4/bin/kuma-dp").exists()


@pytest.mark.parametrize("path", ["opt", "opt/2.14.3/bin", "others", "others/2.14.3"])
def test_an_unfinished_version_is_directly_below_the_releases(tmp_path, path):
    root = releases(tmp_path / "opt")
    unpacked(tmp_path / "others/2.14.3", "bin/kuma-dp")
    before = snapshot(tmp_path)
    failed = remove(absent_releases=[str(root)], absent_unfinished=[f"{tmp_path}/{path}"])
    assert failed["problems"] == [f"absent_unfinished: {tmp_path}/{path} is not a version directly below one of absent_releases ({root})"]
    assert "(which is empty)" in remove(absent_unfinished=[f"{root}/2.14.3"])["msg"]
    assert snapshot(tmp_path) == before


def test_a_directory_of_the_system_is_no_unfinished_version(tmp_path, monkeypatch):
    root = tmp_path / "opt"
    unpacked(root / "games")
    (tmp_path / "linked").symlink_to("opt")
    monkeypatch.setattr(removal, "_SHARED", frozenset([f"{root}/games"]))
    for place in (root, tmp_path / "linked"):
        # A purge does not fail for it either: its proxies are stopped by then.
        assert not remove(absent_releases=[str(place)], absent_unfinished=[f"{place}/games"])["changed"]
    assert (root / "games").exists()


PARTS = st.sampled_from(["a", "etc", "kuma", "tokens", "..", ".", "", "opt", "var", "lib", "x/y", "web-1", "\n", "usr", "local", "out"])
PATHS = st.lists(PARTS, max_size=5).map(lambda parts: "/" + "/".join(parts))


@given(PATHS, st.lists(PATHS, max_size=3))
def test_whatever_is_removed_is_strictly_below_or_ours(path, below):
    planned, problems = removal.plan({"absent": [path], "below": below})
    assert bool(planned) != bool(problems)
    for step in planned:
        assert step.path == os.path.normpath(step.path) == removal.tidy(path)
        places = [removal.tidy(place) for place in below]
        directory, name = os.path.split(step.path)
        beside = name in removal.OWN_FILES and directory in map(os.path.dirname, places)
        ours = beside or step.path in removal.OWN_PATHS
        assert ours or any(step.path != place and os.path.commonpath([step.path, place]) == place for place in places)
        assert step.path not in SHARED


@given(PATHS)
def test_no_path_is_both_plain_and_another_one(path):
    if not removal.problem(removal.tidy(path)):
        assert os.path.normpath(removal.tidy(path)) == removal.tidy(path)
