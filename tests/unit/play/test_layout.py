# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a leave takes away: what is the proxies', what is allowed to it, and nothing of others."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files as restart_files
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import removal as vm_removal
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import layout
from tests.unit.play.vm import PLACE, Laid, wish


def removal(names=("a",), others=(), mesh_others=None, purge=True, **place):
    """The options of proxy_files with which ``names`` leave; ``others`` stay, of which ``mesh_others`` are no zone proxies."""
    values = {"config_dir": "/etc/kuma", "install_dir": "/opt/kuma", "user": "kuma-dp", "group": "kuma-dp", **place}
    where = layout.Layout.of(values, values.get("version", "2.14.3"))
    mesh_staying = others if mesh_others is None else mesh_others
    found = layout.removal(where, names, staying=others, mesh_staying=mesh_staying, purge=purge)
    return {option: found[option] for option in vm_removal.OPTIONS}


@pytest.mark.parametrize(
    ("names", "others", "mesh_others", "removed"),
    [
        (["a"], ["gate"], [], True),
        (["gate"], ["a"], ["a"], False),
        (["a"], ["b"], ["b"], False),
        (["gate"], [], [], True),
    ],
)
def test_the_file_of_outbounds_goes_with_the_last_proxy_of_the_mesh(names, others, mesh_others, removed):
    assert ("/etc/kuma/outbounds.env" in removal(names, others, mesh_others)["absent"]) is removed


def test_releases_stay_unless_they_are_purged_with_the_last():
    assert removal()["absent_releases"] == ["/opt/kuma"]
    assert removal(purge=False)["absent_releases"] == []
    assert removal(others=["b"])["absent_releases"] == []


def test_a_purge_takes_what_an_interrupted_join_unpacked():
    assert removal()["absent_unfinished"] == ["/opt/kuma/2.14.3"]
    # A leave needs no version.
    assert removal(version="")["absent_unfinished"] == []
    assert removal(purge=False)["absent_unfinished"] == []
    assert removal(others=["b"])["absent_unfinished"] == []


def test_what_a_leave_removes_is_allowed_to_it():
    for others in ([], ["b"]):
        given = removal(others=others)
        planned, problems = vm_removal.plan(given)
        assert problems == []
        assert {step.path for step in planned} >= set(given["absent"])
    plans = [vm_removal.plan(removal(**given)) for given in ({"config_dir": "/etc/kuma/", "install_dir": "/opt//kuma/"}, {})]
    assert plans[0] == plans[1]
    assert plans[0][1] == []


@pytest.mark.parametrize("others", [[], ["b"]])
def test_a_leave_takes_all_files_that_a_proxy_has(others):
    paths = restart_files.Paths("a")
    absent = removal(["a"], others)["absent"]
    own = [path for path in paths.started_with() if path not in (paths.unit, "/etc/kuma/control-plane-ca.pem")]
    assert set(absent) >= {
        *own,
        paths.directory,
        paths.cover_token,
        *(paths.kept(name, path) for name in ("started", "good") for path in paths.secrets),
    }
    assert [path for path in absent if "b" in path.split("/")[-1].split(".")] == []


def test_a_join_removes_what_an_older_release_laid_down_in_one_folder_and_nothing_that_it_lays_down():
    planned, problems = vm_removal.plan(
        {**{option: [] for option in vm_removal.OPTIONS}, "absent": PLACE.outdated(["a"]), "below": PLACE.kept_below}
    )
    assert problems == []
    package = f"{layout.RESTART_DIR}/{layout.PACKAGE}/"
    paths = {step.path for step in planned}
    assert paths == {"/var/lib/kuma-dp/a/cover/token", *(f"{package}{name}.py" for name in layout.OLD_SOURCES)}
    assert not paths & {f"{package}{name}.py" for name in layout.RESTART_SOURCES}


@pytest.mark.parametrize(
    "place",
    [
        {"config_dir": "/"},
        {"config_dir": "/etc/kuma/.."},
        {"config_dir": ""},
        {"config_dir": "/etc/systemd"},
        {"install_dir": "/"},
        {"install_dir": "/opt/kuma/.."},
        {"version": ".."},
        {"version": "2.14/3"},
    ],
)
def test_a_leave_with_a_typing_error_removes_nothing(place):
    planned, problems = vm_removal.plan(removal(["a"], **place))
    assert planned == []
    assert problems != []


@pytest.mark.parametrize("name", ["..", "", ".", "../../passwd", "-x", "x" * 232, "a\n"])
def test_there_are_no_files_of_what_is_no_proxy(name):
    for make in (
        PLACE.dataplane,
        PLACE.environment,
        PLACE.token,
        PLACE.secret,
        lambda name: PLACE.outdated([name]),
        lambda name: removal([name]),
    ):
        with pytest.raises(ValueError, match="the name of a proxy is"):
            make(name)


@pytest.mark.parametrize("directory", ["/etc", "/opt", "/usr/local", "/etc/default", "/usr/share/kuma-test", "/etc/ssl/kuma-test"])
def test_a_leave_takes_its_own_from_directories_of_others(directory):
    given = removal(config_dir=directory, install_dir=directory)
    planned, problems = vm_removal.plan(given)
    assert problems == []
    assert {step.path for step in planned} == set(given["absent"])


def test_what_a_join_lays_down_for_proxies_and_the_last_leave_takes_away_is_the_same(renderer):
    laid = Laid(renderer).options(wish(observed=dict(wish().observed, needrestart=True)))
    kept_with_the_release = {PLACE.marker}
    below = (layout.RESTART_DIR + "/", layout.STATE_DIR + "/")
    paths = {item["path"] for item in laid["files"] + laid["secrets"]}
    assert {path for path in paths if not path.startswith(below)} - kept_with_the_release <= set(removal(["web-1"])["absent"])


def test_directories_come_after_those_that_they_are_in():
    paths = [item["path"] for item in PLACE.directories(needrestart=True)]
    assert len(paths) == len(set(paths))
    for index, path in enumerate(paths):
        inside = [other for other in paths if path.startswith(other + "/")]
        assert all(paths.index(other) < index for other in inside)
