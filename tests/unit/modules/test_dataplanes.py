# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dataplane, dataplanes and fleet_plan against a control plane; every result is checked against RETURN."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.unit.module_runner import run

numbers = itertools.count(1)


def desired(name, **changes):
    inbound = {"port": 8080, "servicePort": 18080, "serviceAddress": "127.0.0.1", "tags": {"kuma.io/service": "web"}}
    return {"name": name, "networking": {"address": f"10.9.0.{next(numbers)}", "inbound": [{**inbound, **changes}]}}


def actions(result):
    return {item["name"]: item["action"] for item in result["results"]}


@pytest.fixture(params=["2.14.3", "2.12.14"])
def api(request, control_plane_of):
    return control_plane_of(request.param).options()


def test_dataplanes_come_stay_change_and_go(api):
    items = [desired("bulk-1"), desired("bulk-2")]
    planned = run("dataplanes", {**api, "dataplanes": items}, check=True, diff=True)
    assert planned["changed"] is True
    assert actions(planned) == {"bulk-1": "created", "bulk-2": "created"}
    assert planned["diff"][0]["before"] == {}
    assert run("dataplane_info", {**api, "names": ["bulk-1"]})["missing"] == ["bulk-1"]

    created = run("dataplanes", {**api, "dataplanes": items})
    assert actions(created) == {"bulk-1": "created", "bulk-2": "created"}
    again = run("dataplanes", {**api, "dataplanes": items}, diff=True)
    assert (again["changed"], again["diff"]) == (False, [])
    assert again["requests"] < created["requests"]

    items[0]["networking"]["inbound"][0]["servicePort"] = 18081
    changed = run("dataplanes", {**api, "dataplanes": items}, diff=True)
    assert actions(changed) == {"bulk-1": "updated", "bulk-2": "unchanged"}
    assert changed["results"][0]["fields"] == ["networking.inbound[0].servicePort"]
    (diff,) = changed["diff"]
    assert diff["before"]["networking"]["inbound"][0]["servicePort"] == 18080

    gone = run("dataplanes", {**api, "dataplanes": items, "state": "absent"})
    assert set(actions(gone).values()) == {"deleted"}
    assert run("dataplanes", {**api, "dataplanes": items, "state": "absent"})["changed"] is False


def test_a_rejected_dataplane_shows_its_invalid_parameters_and_the_others_are_written(api):
    result = run("dataplanes", {**api, "dataplanes": [desired("rejected", port=0), desired("accepted")]})
    assert result["failed"] is True
    assert actions(result) == {"rejected": "failed", "accepted": "created"}
    assert "Dataplane rejected" in result["msg"]
    assert "networking.inbound[0].port" in result["msg"]
    run("dataplanes", {**api, "dataplanes": [{"name": "accepted"}], "state": "absent"})


def test_a_field_that_would_be_dropped_writes_nothing(api):
    result = run("dataplanes", {**api, "dataplanes": [desired("dropped", servisePort=1), desired("innocent")]})
    assert result["failed"] is True
    assert actions(result) == {"dropped": "failed", "innocent": "skipped"}
    assert "networking.inbound[0].servisePort" in result["msg"]
    assert run("dataplane_info", {**api, "names": ["innocent"]})["missing"] == ["innocent"]


def test_the_token_is_in_no_result(control_plane):
    wrong = "not.a.token"
    result = run("dataplanes", control_plane.options(token=wrong, dataplanes=[desired("secret")]), diff=True)
    assert result["failed"] is True
    assert result["failure"]["status"] == 401
    assert wrong not in json.dumps(result)


def test_a_missing_mesh_is_named(control_plane):
    result = run("dataplanes", control_plane.options(mesh="nope", dataplanes=[desired("lost")]))
    assert result["failed"] is True
    assert "nope" in result["msg"]


def test_purge_is_bounded(control_plane):
    api = control_plane.options()
    mine = [desired(f"purge-{number}") for number in range(3)]
    run("dataplanes", {**api, "dataplanes": mine, "owner": "purger"})
    refused = run("dataplanes", {**api, "dataplanes": mine[:1], "owner": "purger", "purge": True, "purge_limit": 1})
    assert "would delete 2 Dataplanes" in refused["msg"]
    purged = run("dataplanes", {**api, "dataplanes": mine[:1], "owner": "purger", "purge": True})
    assert actions(purged) == {"purge-0": "unchanged", "purge-1": "deleted", "purge-2": "deleted"}
    run("dataplanes", {**api, "dataplanes": [], "owner": "purger", "purge": True})


def test_one_dataplane_comes_changes_and_goes(api):
    networking = desired("one")["networking"]
    args = {**api, "name": "one", "networking": networking}
    assert run("dataplane", args, check=True)["action"] == "created"
    assert run("dataplane", args)["action"] == "created"
    assert run("dataplane", args)["changed"] is False
    networking["inbound"][0]["servicePort"] = 1
    changed = run("dataplane", args, diff=True)
    assert (changed["action"], len(changed["diff"])) == ("updated", 1)
    assert run("dataplane", {**api, "name": "one", "state": "absent"}, check=True)["changed"] is True
    assert run("dataplane", {**api, "name": "one", "state": "absent"})["action"] == "deleted"
    assert run("dataplane", {**api, "name": "one", "state": "absent"})["changed"] is False


def test_one_faulty_dataplane_fails(api):
    result = run("dataplane", {**api, "name": "one", "networking": {"address": "10.9.1.1", "bogus": 1}})
    assert (result["failed"], result["action"]) == (True, "failed")
    assert "networking.bogus" in result["msg"]


def fleet_host(name, address, **variables):
    base = {
        "name": name,
        "address": address,
        "version": "2.14.3",
        "services": [{"name": "web", "port": 8080, "service_port": 18080}],
        "upstreams": ["backend"],
    }
    return {"host": name, "variables": {**base, **variables}}


def test_the_plan_of_a_fleet_reads_six_times_and_writes_never(control_plane):
    api = control_plane.options()
    hosts = [fleet_host("plan-1", "10.9.2.1"), fleet_host("plan-2", "10.9.2.2")]
    planned = run("fleet_plan", {**api, "hosts": hosts})
    assert planned["requests"] == 6
    assert planned["differing"] == ["plan-1", "plan-2"]
    run("dataplanes", {**api, "dataplanes": planned["dataplanes"]})
    again = run("fleet_plan", {**api, "hosts": hosts})
    assert again["differing"] == []
    assert again["not_ready"] == ["plan-1", "plan-2"]
    assert again["plan"]["plan-1"]["proxies"][0]["outbounds"] == planned["plan"]["plan-1"]["proxies"][0]["outbounds"]
    run("dataplanes", {**api, "dataplanes": planned["dataplanes"], "state": "absent"})


TEMPLATE = """
type: Dataplane
mesh: {{mesh}}
name: {{name}}
labels: {kuma.io/workload: {{workload}}, team: {{team}}}
networking:
  address: {{address}}
  inbound: [{port: 8080, servicePort: 18080, serviceAddress: 127.0.0.1, tags: {kuma.io/service: web, kuma.io/protocol: tcp}}]
"""


def test_direct_proxies_are_planned_and_not_registered(control_plane, tmp_path):
    (tmp_path / "second").mkdir()
    (tmp_path / "second/web.mustache").write_text(TEMPLATE)
    template = {"dataplane_template": "web.mustache", "search_dirs": [str(tmp_path / "first"), str(tmp_path / "second")]}
    hosts = [
        fleet_host("direct-1", "10.9.7.1", upstreams=[], lifecycle="direct", dataplane_vars={"team": "shop"}, **template),
        fleet_host("direct-2", "10.9.7.2", upstreams=[]),
    ]
    planned = run("fleet_plan", control_plane.options(hosts=hosts))
    assert planned["differing"] == [item["name"] for item in planned["dataplanes"]] == ["direct-2"]
    assert planned["not_ready"] == ["direct-1", "direct-2"]
    (own,) = planned["plan"]["direct-1"]["proxies"]
    assert (own["lifecycle"], own["template"], own["token"]["name"]) == ("direct", TEMPLATE, "direct-1")
    hosts[0]["variables"]["dataplane_template"] = "nothing.mustache"
    failed = run("fleet_plan", control_plane.options(hosts=hosts))
    assert failed["problems"] == [
        "direct-1: kuma_dp_dataplane_template nothing.mustache was not found on the controller, expected a file in first, second".replace(
            "first, second", f"{tmp_path / 'first'}, {tmp_path / 'second'}"
        )
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mesh": "nope"}, "kuma_dp_mesh is nope, which this control plane does not have: create the Mesh"),
        ({"token": "nonsense"}, "401"),
        ({"token": None}, "kuma_dp_api_token belongs to mesh-system:anonymous"),
        ({"url": "http://127.0.0.1:9"}, "127.0.0.1:9"),
    ],
)
def test_problems_of_the_control_plane_and_of_the_inventory_come_together(control_plane, options, message):
    args = control_plane.options(retries=0, hosts=[fleet_host("bad-1", "0.0.0.0"), fleet_host("Bad_2", "10.9.3.1")])
    result = run("fleet_plan", {**args, **options})
    assert result["failed"] is True
    assert "nothing was written" in result["msg"]
    assert message in result["msg"]
    assert "bad-1: kuma_dp_address is '0.0.0.0'" in result["msg"]
    assert "Bad_2: kuma_dp_name is 'Bad_2'" in result["msg"]
    assert len(result["problems"]) == 3


def test_the_wrong_ca_is_named(control_plane, control_plane_of):
    other = control_plane_of("2.12.14")
    result = run("fleet_plan", control_plane.options(ca_path=other.ca_file, hosts=[fleet_host("ca-1", "10.9.4.1")]))
    assert result["failed"] is True
    assert other.ca_file in result["msg"]


def test_the_archive_is_part_of_the_plan(control_plane, tmp_path):
    host = fleet_host("arch-1", "10.9.5.1", archive=str(tmp_path / "none.tar.gz"), archive_checksum="0" * 64)
    host["observed"] = {"architecture": "amd64"}
    result = run("fleet_plan", control_plane.options(hosts=[host]))
    assert "arch-1: kuma_dp_archive is" in result["msg"]
    installed = {**host, "observed": {"architecture": "amd64", "archives": {"2.14.3": "0" * 64}}}
    assert "plan" in run("fleet_plan", control_plane.options(hosts=[installed]))
    host["variables"].update(archive="https://kuma.example/kuma-{version}-{arch}.tar.gz", archive_cache=str(tmp_path))
    planned = run("fleet_plan", control_plane.options(hosts=[host]))
    assert planned["fetch"] == [
        {
            "url": "https://kuma.example/kuma-2.14.3-amd64.tar.gz",
            "path": str(tmp_path / "kuma-2.14.3-amd64.tar.gz"),
            "checksum": "sha256:" + "0" * 64,
        }
    ]
