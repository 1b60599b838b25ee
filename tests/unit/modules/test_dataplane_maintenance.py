# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dataplane_maintenance against a control plane; every result is checked against RETURN."""

from __future__ import annotations

import itertools
import json
import time

import pytest

from tests.unit.module_runner import run

numbers = itertools.count(1)
# No proxy is connected to these control planes: nothing can be measured, and to lift takes force.
QUICK = {"propagation_delay": 0, "force": True}


@pytest.fixture(params=["2.14.3", "2.12.14", "3.0-dev"])
def api(request, control_plane_of):
    return control_plane_of(request.param).options()


@pytest.fixture
def register():
    """``register(api, name, ...)``: Dataplanes in traffic, gone again at the end."""
    made = []

    def make(api, *names, **extra):
        v3 = run("control_plane_info", api)["model"] == "v3"
        inbound = {"port": 8080, "servicePort": 18080, "serviceAddress": "127.0.0.1"}
        inbound.update({"name": "web"} if v3 else {"tags": {"kuma.io/service": "kept"}})
        items = [{"name": name, "networking": {"address": f"10.8.0.{next(numbers)}", "inbound": [inbound]}, **extra} for name in names]
        made.append((api, items))
        created = run("dataplanes", {**api, "dataplanes": items, "initial_state": "Ready"})
        assert not created.get("failed"), created

    yield make
    for api, items in made:
        run("dataplanes", {**api, "dataplanes": items, "state": "absent"})


def actions(result):
    return {item["name"]: item["action"] for item in result["results"]}


def health(api, name):
    (found,) = run("dataplane_info", {**api, "names": [name]})["dataplanes"]
    return found["fenced"], found["dataplane"].get("labels") or {}


def test_out_of_traffic_and_back(api, register):
    register(api, "m-1", "m-2", "m-3")
    args = {**api, **QUICK, "names": ["m-1", "m-2"], "reason": "Disk swap", "duration": "2h"}
    planned = run("dataplane_maintenance", {**args, "state": "fenced"}, check=True, diff=True)
    assert planned["changed"] is True
    assert actions(planned) == {"m-1": "fenced", "m-2": "fenced"}
    assert [entry["before_header"] for entry in planned["diff"]] == ["Dataplane default/m-1", "Dataplane default/m-2"]
    assert planned["requests"] == 2
    assert health(api, "m-1")[0] is False

    fenced = run("dataplane_maintenance", {**args, "state": "fenced"})
    assert actions(fenced) == {"m-1": "fenced", "m-2": "fenced"}
    # The version, the listing, a read and a write of each, and the listing that proves them.
    assert fenced["requests"] == 2 + 2 * 2 + 1
    assert fenced["propagation"]["measured"] is False
    is_fenced, labels = health(api, "m-1")
    assert is_fenced
    if run("control_plane_info", api)["capabilities"]["labels_survive"]:
        assert labels["meshfleet.kuma/maintenance"] == "disk-swap"
        assert int(labels["meshfleet.kuma/maintenance-until"]) == pytest.approx(time.time() + 7200, abs=600)
    assert health(api, "m-3")[0] is False

    again = run("dataplane_maintenance", {**args, "state": "fenced"}, diff=True)
    assert (again["changed"], again["diff"], again["requests"]) == (False, [], 2)

    lifted = run("dataplane_maintenance", {**args, "state": "in_traffic"})
    assert actions(lifted) == {"m-1": "lifted", "m-2": "lifted"}
    is_fenced, labels = health(api, "m-1")
    assert not is_fenced
    assert "maintenance" not in str(labels)
    assert run("dataplane_maintenance", {**args, "state": "in_traffic"})["changed"] is False


def test_the_last_instance_is_refused_before_anything_is_written(control_plane, register):
    api = control_plane.options()
    register(api, "last-1", "last-2")
    args = {**api, "names": ["last-1"], "state": "fenced"}
    refused = run("dataplane_maintenance", args)
    assert refused["failed"] is True
    # Nobody is connected, so last-2 does not count.
    assert "would be left of kept (last-1)" in refused["msg"]
    assert actions(refused) == {"last-1": "skipped"}
    assert health(api, "last-1")[0] is False


def test_labels_select_and_strangers_are_named(control_plane, register):
    api = control_plane.options()
    register(api, "mine-1", "mine-2", labels={"team": "maintenance-test"})
    args = {**api, **QUICK, "state": "fenced"}
    fenced = run("dataplane_maintenance", {**args, "labels": {"team": "maintenance-test"}})
    assert actions(fenced) == {"mine-1": "fenced", "mine-2": "fenced"}
    result = run("dataplane_maintenance", {**args, "names": ["mine-1", "nobody"]})
    assert result["failed"] is True
    assert actions(result) == {"mine-1": "unchanged", "nobody": "failed"}
    assert "Dataplane nobody: it is not registered in mesh default" in result["msg"]


def test_an_expired_fence_is_reported_by_any_run(control_plane, register):
    api = control_plane.options()
    past = {"meshfleet.kuma/maintenance": "forgotten", "meshfleet.kuma/maintenance-until": "1700000000"}
    register(api, "expired-1", labels=past)
    result = run("dataplane_maintenance", {**api, "names": [], "state": "fenced"})
    assert result["stale"] == [{"name": "expired-1", "reason": "forgotten", "until": 1700000000, "fenced": False}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["a"], "duration": "2 hours"}, "expected a duration such as"),
        ({"labels": {}}, "labels is empty"),
    ],
)
def test_options_that_make_no_sense_are_refused(control_plane, options, message):
    result = run("dataplane_maintenance", control_plane.options(state="fenced", **options))
    assert result["failed"] is True
    assert message in result["msg"]


def test_the_token_is_in_no_result(control_plane):
    wrong = "not.a.token"
    result = run("dataplane_maintenance", control_plane.options(token=wrong, names=["a"], state="fenced"))
    assert result["failure"]["status"] == 401
    assert wrong not in json.dumps(result)
