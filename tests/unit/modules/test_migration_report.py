# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module migration_report against control planes: before the upgrade, after it, and without rights."""

from __future__ import annotations

import json
import time

import pytest

from tests.unit.http_server import answer_json, problem
from tests.unit.module_runner import run

HOSTS = [
    {
        "host": "vm-1",
        "variables": {"name": "mig-web-1", "address": "10.8.0.1", "services": [{"name": "web", "port": 8080, "protocol": "http"}]},
    },
    {"host": "vm-2", "variables": {"name": "mig-job-1", "address": "10.8.0.2", "upstreams": ["web"]}},
]


def web(**inbound):
    inbound = {"port": 8080, "servicePort": 18080, "serviceAddress": "127.0.0.1", **inbound}
    return {"name": "mig-web-1", "labels": {"kuma.io/workload": "web"}, "networking": {"address": "10.8.0.1", "inbound": [inbound]}}


def job(**outbound):
    return {
        "name": "mig-job-1",
        "labels": {"kuma.io/workload": "job"},
        "networking": {"address": "10.8.0.2", "outbound": [{"port": 10001, **outbound}]},
    }


TAGGED = [
    web(tags={"kuma.io/service": "web", "kuma.io/protocol": "http", "version": "v1"}),
    {
        **job(tags={"kuma.io/service": "web"}),
        "networking": {
            **job(tags={"kuma.io/service": "web"})["networking"],
            "inbound": [{"port": 9000, "servicePort": 19000, "serviceAddress": "127.0.0.1", "tags": {"kuma.io/service": "job"}}],
        },
    },
]
NEW = [web(protocol="http", name="web"), job(backendRef={"kind": "MeshService", "name": "web", "port": 8080})]


@pytest.fixture
def mesh(request, control_plane_of):
    """``mesh(version, definition, dataplanes)``: a mesh of its own with Dataplanes; returns its name and the API options."""

    def make(version, dataplanes, **definition):
        options = control_plane_of(version).options
        name = f"m{time.monotonic_ns()}"
        made = run("resource", options(definition={"type": "Mesh", "name": name, **definition}))
        assert made["action"] == "created"
        done = run("dataplanes", options(mesh=name, dataplanes=dataplanes))
        assert not done.get("failed"), done
        names = [{"name": item["name"]} for item in dataplanes]
        request.addfinalizer(lambda: run("dataplanes", options(mesh=name, dataplanes=names, state="absent")))
        return name, options

    return make


def hosts(mesh):
    return [dict(host, variables={**host["variables"], "mesh": mesh}) for host in HOSTS]


def codes(result, **fields):
    found = result["report"]["findings"]
    return [item["code"] for item in found if item["severity"] != "info" and all(item[key] == value for key, value in fields.items())]


def test_a_fleet_of_2_14_before_the_upgrade(mesh):
    mtls = {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}
    name, options = mesh(
        "2.14.3", TAGGED, mtls=mtls, constraints={"dataplaneProxy": {"requirements": [{"tags": {"kuma.io/service": "*"}}]}}
    )
    timeout = {"type": "MeshTimeout", "mesh": name, "name": "t", "spec": {"targetRef": {"kind": "MeshSubset", "tags": {"version": "v1"}}}}
    run("resource", options(definition=timeout))
    result = run("migration_report", options(mesh=name, hosts=hosts(name)))
    assert result["changed"] is False
    assert codes(result, host="vm-1") == ["protocol", "tags"]
    assert codes(result, host="vm-2") == ["outbound-tags"]
    assert codes(result, type="Mesh") == ["mesh-mtls", "mesh-setting", "mesh-services"]
    assert codes(result, type="MeshTimeout") == ["policy-target"]
    (outbound,) = [item for item in result["report"]["findings"] if item["code"] == "outbound-tags"]
    assert "backendRef {kind: MeshService, name: web, port: 8080}" in outbound["remedy"]
    assert result["report"]["hosts"]["vm-1"] == {"silent": 2, "loud": 0, "changes": 0, "info": 0}
    assert any("mig-web-1" in line for line in result["text"])


def test_a_fleet_of_2_12_whose_labels_are_gone(mesh):
    name, options = mesh("2.12.14", TAGGED)
    result = run("migration_report", options(mesh=name, hosts=hosts(name)))
    assert codes(result, host="vm-1") == ["protocol", "tags", "workload-label"]
    (label,) = [item for item in result["report"]["findings"] if item["code"] == "workload-label" and item["host"] == "vm-1"]
    assert label["remedy"].endswith("below which labels do not survive")


def test_a_fleet_that_has_arrived_on_3_0(mesh):
    name, options = mesh("3.0-dev", NEW)
    result = run("migration_report", options(mesh=name, hosts=hosts(name), fail_on="any"))
    assert not result.get("failed"), result
    assert codes(result) == []


def test_a_fleet_on_3_0_whose_ports_differ(mesh):
    other = {**web(protocol="http"), "name": "mig-web-2"}
    other["networking"] = {"address": "10.8.0.3", "inbound": [{"port": 9090, "servicePort": 19090, "serviceAddress": "127.0.0.1"}]}
    name, options = mesh("3.0-dev", [*NEW, other])
    result = run("migration_report", options(mesh=name, hosts=hosts(name)))
    assert codes(result) == ["workload-ports"]
    assert codes(run("migration_report", options(mesh=name, hosts=hosts(name), strangers=False))) == []


def test_zone_proxies(control_plane_of):
    options = control_plane_of("2.13.10").options
    egress = {"type": "ZoneEgress", "name": "egress-1", "networking": {"address": "10.8.0.9", "port": 10002}}
    run("resource", options(definition=egress))
    result = run("migration_report", options())
    assert codes(result, type="ZoneEgress") == ["type-gone"]
    run("resource", options(type="ZoneEgress", name="egress-1", state="absent"))


@pytest.mark.parametrize(("fail_on", "failed"), [("none", False), ("silent", True), ("any", True)])
def test_failing_on_request_with_the_whole_report(mesh, fail_on, failed):
    name, options = mesh("2.14.3", TAGGED, meshServices={"mode": "Exclusive"})
    result = run("migration_report", options(mesh=name, fail_on=fail_on))
    assert bool(result.get("failed")) is failed
    assert (result["failing"] > 0) is failed
    assert result["report"]["counts"]["silent"] == 3
    if failed:
        assert f"fail_on ({fail_on})" in result["msg"]


def test_a_mesh_that_does_not_exist(control_plane):
    result = run("migration_report", control_plane.options(mesh="nowhere"))
    assert result["failed"]
    assert result["failure"]["status"] == 404
    assert "mesh is nowhere, which" in result["msg"]


def test_what_may_not_be_read_is_said(serve):
    def handler(request):
        if request.path == "/":
            return answer_json({"product": "Kuma", "version": "2.14.3"})
        if request.path == "/_resources":
            policy = {"name": "MeshTimeout", "path": "meshtimeouts", "scope": "Mesh", "policy": {"isTargetRef": True}}
            return answer_json({"resources": [policy, {"name": "Zone", "path": "zones", "scope": "Global"}]})
        if request.path == "/meshes/m":
            return answer_json({"type": "Mesh", "name": "m"})
        if request.path == "/meshes/m/dataplanes/_overview":
            return answer_json({"total": 0, "items": [], "next": None})
        return problem(403, "Access Denied", "user cannot access the resource")

    server = serve(handler)
    result = run("migration_report", {"url": server.url, "mesh": "m"})
    unread = [item["type"] for item in result["report"]["findings"] if item["code"] == "unread"]
    assert unread == ["MeshTimeout", "Zone"]
    assert {request.method for request in server.requests} == {"GET"}


def test_nothing_is_written_and_no_secret_is_shown(mesh, control_plane):
    name, options = mesh("2.14.3", TAGGED)
    before = run("dataplane_info", options(mesh=name))["dataplanes"]
    result = run("migration_report", options(mesh=name))
    assert run("dataplane_info", options(mesh=name))["dataplanes"] == before
    assert control_plane.token not in json.dumps(result)
