# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a leave does on a VM: what is there and nobody else needs is stopped and taken away."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.action import fleet_remove
from tests.unit.action.steps import Vm, only, step
from tests.unit.play.vm import host, seen

STOPPED = {"active": False, "state": "inactive", "enabled": False}


def look(names, **proxies):
    """What was looked at: ``name=<KUMA_DATAPLANE_PROXY_TYPE>``, empty for one of the mesh."""
    found = {name: seen(environment={"KUMA_DATAPLANE_PROXY_TYPE": kind} if kind else {}) for name, kind in proxies.items()}
    return {"host": host(proxies=found, transparent_proxy=True), "names": names}


def stop(looked, role="kuma_dp", **options):
    return step(fleet_remove, {"step": "stop"}, {f"{role}_look": looked, **options}, role=role)


@pytest.mark.parametrize(
    ("proxies", "led_past"),
    [
        ({"a": ""}, True),
        # Nobody takes what is redirected once the proxy of the mesh has stopped.
        ({"a": "", "gate": "ingress"}, True),
        ({"a": "", "gate": "dataplane"}, True),
        ({"a": "", "other": ""}, False),
    ],
)
def test_a_zone_proxy_does_not_keep_the_rules_of_the_mesh(proxies, led_past):
    _result, vm = stop(look(["a"], **proxies))
    assert vm.modules == [*(["transparent_proxy"] if led_past else []), "proxy_service"]
    if led_past:
        assert only(vm.calls, "transparent_proxy") == {"state": "absent"}


def test_a_zone_proxy_that_leaves_leads_nobody_past_the_mesh():
    _result, vm = stop(look(["gate"], gate="ingress"), role="kuma_zone_proxy")
    assert vm.modules == ["proxy_service"]


def test_proxies_are_drained_stopped_and_disabled():
    result, vm = stop(look(["a"], a="", other=""), kuma_dp_drain_time="7s")
    assert only(vm.calls, "proxy_service") == {"names": ["a"], "state": "stopped", "enabled": False, "drain_time": "7s"}
    assert result["changed"]


@pytest.mark.parametrize(
    ("unit", "covered", "visited"),
    [
        (STOPPED, False, False),
        ({**STOPPED, "state": "failed"}, False, False),
        ({**STOPPED, "enabled": True}, False, True),
        ({**STOPPED, "state": "activating"}, False, True),
        # The cover of a proxy that has ended goes with it.
        (STOPPED, True, True),
    ],
)
def test_only_what_is_there_is_stopped(unit, covered, visited):
    looked = {"host": host(proxies={"gate": seen(unit=unit, cover_active=covered)}), "names": ["gate"]}
    result, vm = stop(looked, role="kuma_zone_proxy")
    assert vm.modules == (["proxy_service"] if visited else [])
    assert result["changed"] is visited


def remove(looked, stopped=True, deleted=(), vm=None, **options):
    known = {"kuma_dp_look": looked, "kuma_dp_stopped": {"changed": stopped}, "kuma_dp_deleted": {"deleted": list(deleted)}, **options}
    return step(fleet_remove, {"step": "remove"}, known, vm=vm)


@pytest.mark.parametrize(
    ("options", "found", "proxies", "purged"),
    [
        ({}, {}, {"a": ""}, False),
        ({"kuma_dp_leave_purge": True}, {}, {"a": ""}, True),
        ({"kuma_dp_leave_purge": "yes"}, {}, {"a": ""}, True),
        ({"kuma_dp_leave_purge": True}, {}, {"a": "", "other": ""}, False),
        # www-data, say, or one that somebody else manages.
        ({"kuma_dp_leave_purge": True}, {"user_comment": "www-data"}, {"a": ""}, False),
    ],
)
def test_the_account_goes_with_the_last_proxy_when_it_was_made_for_proxies(options, found, proxies, purged):
    looked = look(["a"], **proxies)
    looked["host"].update(found)
    _result, vm = remove(looked, **options)
    assert vm.modules == ["proxy_files", *(["proxy_release"] if purged else [])]
    if purged:
        assert only(vm.calls, "proxy_release") == {
            "state": "absent", "user": "kuma-dp", "group": "kuma-dp", "comment": "Kuma data plane proxies",
        }  # fmt: skip


@pytest.mark.parametrize(("control_plane", "releases"), [(False, ["/opt/kuma"]), (True, [])])
def test_releases_stay_where_a_control_plane_runs_one_of_them(control_plane, releases):
    looked = look(["a"], a="")
    looked["host"]["control_plane"] = control_plane
    _result, vm = remove(looked, kuma_dp_leave_purge=True, kuma_dp_version="2.14.3")
    assert only(vm.calls, "proxy_files")["absent_releases"] == releases


def test_a_leave_needs_no_version():
    _result, vm = remove(look(["a"], a=""), kuma_dp_leave_purge=True)
    assert only(vm.calls, "proxy_files")["absent_unfinished"] == []


@pytest.mark.parametrize(
    ("stopped", "deleted", "files", "changed"),
    [
        (False, [], False, False),
        (True, [], False, True),
        (False, ["a"], False, True),
        (False, ["b"], False, False),
        (False, [], True, True),
    ],
)
def test_a_host_has_left_when_something_of_it_was_still_there(stopped, deleted, files, changed):
    result, _vm = remove(look(["a"], a=""), stopped, deleted, Vm({"proxy_files": {"changed": files}}))
    assert result["state"] == {"changed": changed, "names": ["a"]}


@pytest.mark.parametrize("what", ["stop", "remove"])
def test_a_vm_that_cannot_be_reached_is_left_as_it_is(what):
    result, vm = step(fleet_remove, {"step": what}, {"kuma_dp_look": {"unreachable": True}, "kuma_dp_name": "w"})
    assert vm.calls == []
    assert result["state"] == {"changed": False, "unreachable": True, "names": ["w"]}
