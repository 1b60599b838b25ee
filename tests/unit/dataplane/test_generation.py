# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which generation of Dataplanes is written where, what outbounds refer to, and what is refused because it would get lost."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import generation, resource, schema
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.plan import Fleet
from tests.unit.join.test_plan import host, overview

V212, V213, V214, V3 = (2, 12, 14), (2, 13, 10), (2, 14, 3), (3, 0, 0)
RELEASES = [V212, V213, V214, V3]
WEB = {"name": "web", "port": 8080, "service_port": 18080, "protocol": "http"}
ADMIN = {"name": "admin", "port": 8081, "service_port": 18081, "protocol": "http"}


def plan(*hosts, model="v2", release=V214, exclusive=False, live=()):
    fleet = Fleet(list(hosts), [overview(item) for item in live], model, release, release >= V213, exclusive)
    return fleet.plan(), fleet.problems


def dataplanes(plans):
    return {proxy["name"]: proxy["dataplane"] for entry in plans.values() for proxy in entry["proxies"]}


def outbounds(plans, name):
    return [outbound.get("backendRef") or outbound["tags"] for outbound in dataplanes(plans)[name]["networking"]["outbound"]]


@pytest.mark.parametrize(
    ("wish", "release", "mode", "disabled", "model", "refused"),
    [
        ("auto", V212, "Disabled", False, "v2", None),
        ("auto", V213, "Everywhere", False, "v2", None),
        ("auto", V214, "Exclusive", False, "v2", None),
        ("auto", V214, "Exclusive", True, "v3", None),
        ("auto", V214, "Everywhere", True, "v2", None),
        ("auto", V3, "Disabled", False, "v3", None),
        ("v2", V212, "Disabled", False, "v2", None),
        ("v2", V214, "Exclusive", False, "v2", None),
        ("v3", V3, "Disabled", False, "v3", None),
        ("v3", V214, "Exclusive", True, "v3", None),
        ("v2", V3, "Disabled", False, "v2", "drops tags and outbounds by kuma.io/service without a word: expected auto or v3"),
        ("v2", V214, "Exclusive", True, "v2", "takes the protocol of a service from inbound.protocol alone"),
        ("v3", V212, "Disabled", False, "v3", "drops inbound.protocol without a word and refuses inbounds without the tag"),
        ("v3", V213, "Exclusive", False, "v3", "expected auto or v2, or 2.14 or later"),
        ("v3", V214, "Exclusive", False, "v3", "KUMA_EXPERIMENTAL_INBOUND_TAGS_DISABLED=true on it"),
        ("v3", V214, "Disabled", True, "v3", "meshServices.mode of the Mesh is Disabled"),
    ],
)
def test_a_generation_that_the_control_plane_would_refuse_or_drop_is_refused(wish, release, mode, disabled, model, refused):
    rules, problems = generation.choose(wish, release, mode, disabled)
    assert rules.model == model
    assert rules.exclusive == (mode == "Exclusive" and release < V3)
    if refused is None:
        assert problems == []
    else:
        assert len(problems) == 1
        assert refused in problems[0]
        assert problems[0].startswith(f"kuma_dp_api is {wish}, but")


def test_one_generation_for_the_fleet():
    assert generation.asked([host(1, api="v3"), host(2, in_play=False)]) == ("v3", [])
    assert generation.asked([]) == ("auto", [])
    (problem,) = generation.asked([host(1, api="v2"), host(2)])[1]
    assert "kuma_dp_api differs within the fleet (auto on web-2, v2 on web-1), expected one" in problem
    assert generation.asked([host(1, api="v1")])[1] == ["web-1: kuma_dp_api is 'v1', expected one of auto, v2, v3"]


CALLED = host(2, services=[WEB, ADMIN], upstreams=[])
CALLER = host(1, services=[], upstreams=["web", "admin"])


@pytest.mark.parametrize("release", RELEASES)
def test_the_same_inventory_has_a_form_for_every_release(release):
    rules, _problems = generation.choose("auto", release, "Disabled", False)
    caller = host(1, services=[{"name": "shop", "port": 9000}], upstreams=["web", "admin"])
    plans, problems = plan(caller, CALLED, model=rules.model, release=release)
    assert problems == []
    for dataplane in dataplanes(plans).values():
        assert schema.dropped_fields(dataplane, release) == []
        assert ("labels" in dataplane) == (release >= V213)
    ports = [item["port"] for item in plans["web-1"]["proxies"][0]["outbounds"]]
    assert ports == [item["port"] for item in plan(caller, CALLED)[0]["web-1"]["proxies"][0]["outbounds"]]


def test_in_3_0_a_service_is_a_port_of_its_workload():
    plans, problems = plan(CALLER, CALLED, model="v3", release=V3)
    assert problems == []
    assert outbounds(plans, "web-1") == [
        {"kind": "MeshService", "name": "web", "port": 8081},
        {"kind": "MeshService", "name": "web", "port": 8080},
    ]
    inbounds = dataplanes(plans)["web-2"]["networking"]["inbound"]
    assert [(inbound["name"], inbound["port"]) for inbound in inbounds] == [("web", 8080), ("admin", 8081)]


def test_in_an_exclusive_mesh_outbounds_refer_to_mesh_services_and_inbounds_keep_their_tags():
    plans, problems = plan(CALLER, CALLED, exclusive=True)
    assert problems == []
    assert outbounds(plans, "web-1") == [
        {"kind": "MeshService", "name": "admin", "port": 8081},
        {"kind": "MeshService", "name": "web", "port": 8080},
    ]
    assert dataplanes(plans)["web-2"]["networking"]["inbound"][0]["tags"]["kuma.io/service"] == "web"
    before = plan(CALLER, CALLED)[0]
    assert [item["port"] for item in before["web-1"]["proxies"][0]["outbounds"]] == [
        item["port"] for item in plans["web-1"]["proxies"][0]["outbounds"]
    ]


@pytest.mark.parametrize(("model", "release", "exclusive"), [("v2", V214, False), ("v2", V214, True), ("v3", V3, False)])
@given(moved=st.integers(12000, 12100))
def test_no_port_moves_when_the_form_of_outbounds_changes(model, release, exclusive, moved):
    live = copy.deepcopy(list(dataplanes(plan(CALLER, CALLED)[0]).values()))
    for dataplane in live:
        for index, outbound in enumerate(dataplane["networking"].get("outbound") or []):
            outbound["port"] = moved + 200 * index
    first, problems = plan(CALLER, CALLED, model=model, release=release, exclusive=exclusive, live=live)
    assert problems == []
    expected = [("admin", moved), ("web", moved + 200)]
    assert [(item["service"], item["port"]) for item in first["web-1"]["proxies"][0]["outbounds"]] == expected
    again, problems = plan(CALLER, CALLED, model=model, release=release, exclusive=exclusive, live=dataplanes(first).values())
    assert problems == []
    assert [(item["service"], item["port"]) for item in again["web-1"]["proxies"][0]["outbounds"]] == expected
    assert not any(proxy["differs"] for entry in again.values() for proxy in entry["proxies"])


def test_the_port_of_a_service_outside_the_inventory_is_found_in_the_mesh():
    stranger = dataplanes(plan(host(9, services=[{**WEB, "name": "backend", "port": 9000}], upstreams=[]))[0])["web-9"]
    plans, problems = plan(host(1), exclusive=True, live=[stranger])
    assert problems == []
    assert outbounds(plans, "web-1") == [{"kind": "MeshService", "name": "backend", "port": 9000}]
    (problem,) = plan(host(1), exclusive=True)[1]
    assert "no host offers backend, so its port is not known, expected backend_ref: {port: <port>}" in problem


def test_a_reference_of_the_users_is_completed_in_every_mesh():
    for reference, expected in (
        ({"name": "web"}, {"kind": "MeshService", "name": "web", "port": 8080}),
        ({"kind": "MeshExternalService"}, {"kind": "MeshExternalService", "name": "web"}),
        ({"name": "other", "port": 1}, {"kind": "MeshService", "name": "other", "port": 1}),
    ):
        plans, problems = plan(host(1, services=[WEB], upstreams=[{"service": "web", "backend_ref": reference}]))
        assert problems == []
        assert outbounds(plans, "web-1") == [expected]


def test_a_service_of_another_zone_is_referred_to_by_labels():
    labels = {"kuma.io/display-name": "backend", "kuma.io/zone": "east"}
    upstream = {"service": "backend", "backend_ref": {"kind": "MeshMultiZoneService", "labels": labels, "port": 80}}
    for settings in ({"exclusive": True}, {"model": "v3", "release": V3}):
        plans, problems = plan(host(1, upstreams=[upstream]), **settings)
        assert problems == []
        assert outbounds(plans, "web-1") == [{"kind": "MeshMultiZoneService", "labels": labels, "port": 80}]
        moved = copy.deepcopy(dataplanes(plans)["web-1"])
        moved["networking"]["outbound"][0]["port"] = 15432
        again, _problems = plan(host(1, upstreams=[upstream]), live=[moved], **settings)
        assert again["web-1"]["proxies"][0]["outbounds"][0]["port"] == 15432


def test_a_service_of_two_workloads_has_no_mesh_service():
    hosts = [CALLER, CALLED, host(3, services=[ADMIN], upstreams=[])]
    (problem,) = plan(*hosts, model="v3", release=V3)[1]
    assert "web-1: kuma_dp_upstreams: admin belongs to the workloads admin and web, and a MeshService is one of them" in problem
    hosts[0] = host(1, services=[], upstreams=["web", {"service": "admin", "backend_ref": {"name": "admin"}}])
    plans, problems = plan(*hosts, model="v3", release=V3)
    assert problems == []
    assert outbounds(plans, "web-1")[0] == {"kind": "MeshService", "name": "admin", "port": 8081}


def test_trap_42_vms_of_a_mesh_service_with_different_ports_are_refused():
    other = host(3, services=[{**WEB, "port": 8090}], upstreams=[])
    assert plan(CALLED, other)[1] == []
    (problem,) = plan(CALLED, other, model="v3", release=V3)[1]
    assert "web-3: kuma_dp_services: web is one MeshService, and web-3 has the ports 8090 web http in it" in problem
    assert "expected those of web-2 (8080 web http, 8081 admin http): the same on every VM, or another kuma_dp_workload" in problem
    (problem,) = plan(CALLED, other, exclusive=True)[1]
    assert "expected those of web-2 (8080 http): the same on every VM, or another name" in problem
    reordered = host(3, services=[ADMIN, WEB], upstreams=[], workload="web")
    plans, problems = plan(CALLED, reordered, model="v3", release=V3)
    assert problems == []
    first, second = (item["networking"]["inbound"] for item in dataplanes(plans).values())
    assert first == second
    outside = {**copy.deepcopy(other), "in_play": False}
    assert plan({**copy.deepcopy(CALLED), "in_play": False}, outside, model="v3", release=V3)[1] == []


@pytest.mark.parametrize(
    ("variables", "settings", "message"),
    [
        (
            {"upstreams": [{"service": "web", "tags": {"version": "1"}}]},
            {"exclusive": True},
            "the tags of web choose nothing in a mesh with",
        ),
        ({"upstreams": [{"service": "web", "tags": {"version": "1"}}]}, {"model": "v3", "release": V3}, "choose nothing in 3.0"),
        ({"services": [{**WEB, "name": "web_1"}]}, {"exclusive": True}, "services: name is 'web_1', expected letters, digits and -"),
        (
            {"services": [{**WEB, "tags": {"v": "1"}}, {**ADMIN, "tags": {"v": "2"}}]},
            {"model": "v3", "release": V3},
            "the tag v has the values 1 and 2, but becomes one label of the Dataplane",
        ),
        ({"services": [{**WEB, "tags": {"v": "1"}}], "labels": {"v": "2"}}, {"model": "v3", "release": V3}, "has the values 1 and 2"),
        ({"services": [{**WEB, "tags": {"v": "1:2"}}]}, {"model": "v3", "release": V3}, "[\"v\"] is '1:2', expected what a label may be"),
    ],
)
def test_what_a_generation_would_lose_is_an_error(variables, settings, message):
    problems = plan(host(1, **variables), CALLED, **settings)[1]
    assert any(message in problem and problem.startswith("web-1: kuma_dp_") for problem in problems), problems


def test_a_proxy_without_inbounds_is_for_2_14_and_later():
    for release in (V214, V3):
        assert plan(CALLER, CALLED, model="v3" if release == V3 else "v2", release=release)[1] == []
    (problem,) = plan(CALLER, CALLED, release=V213)[1]
    assert "web-1: kuma_dp_services: there are none, and this control plane (2.13) refuses a proxy without inbounds" in problem
    assert plan(host(1, services=[], upstreams=["web"], gateway={"name": "edge"}), CALLED, release=V212)[1] == []


def test_what_2_x_keeps_is_no_error():
    assert plan(host(1, upstreams=[{"service": "web", "tags": {"version": "1"}}]), CALLED)[1] == []
    assert plan(host(1, services=[{**WEB, "tags": {"v": "1"}}, {**ADMIN, "tags": {"v": "2"}}]), CALLED)[1] == []


SERVICES = st.lists(st.builds(dict, name=st.sampled_from("abc"), port=st.integers(1000, 1004)), max_size=3)


@given(st.lists(SERVICES, max_size=4), st.lists(st.sampled_from("abcd"), unique=True), st.sampled_from(["v2", "v3"]), st.booleans())
def test_every_outbound_that_is_written_leads_to_a_port_of_its_mesh_service(services, called, model, exclusive):
    hosts = [host(n, services=items, upstreams=["a"]) for n, items in enumerate(services, 2)]
    hosts.append(host(1, services=[], upstreams=called or ["a"]))
    plans, problems = plan(*hosts, model=model, release=V3 if model == "v3" else V214, exclusive=exclusive)
    if problems or not (exclusive or model == "v3"):
        return
    offered = set()
    for dataplane in dataplanes(plans).values():
        for inbound in dataplane["networking"].get("inbound") or []:
            name = dataplane["labels"]["kuma.io/workload"] if model == "v3" else inbound["tags"]["kuma.io/service"]
            offered.add((name, inbound["port"]))
    for reference in outbounds(plans, "web-1"):
        assert (reference["name"], reference["port"]) in offered
    assert json.dumps(plans)


def test_trap_16_labels_that_a_control_plane_lost_are_told_from_labels_that_are_new():
    wanted = dataplanes(plan(host(1, labels={"team": "a"}))[0])["web-1"]
    for labels, lost in (
        ({}, True),
        ({"kuma.io/mesh": "default"}, True),
        ({"kuma.io/workload": "web"}, False),
        (wanted["labels"], False),
    ):
        assert resource.labels_lost(wanted, {**wanted, "labels": labels}) is lost
    assert not resource.labels_lost({**wanted, "labels": {}}, wanted)
    plans, _problems = plan(host(1, labels={"team": "a"}), live=[{**wanted, "labels": {}}])
    (proxy,) = plans["web-1"]["proxies"]
    assert (proxy["labels_lost"], proxy["differs"]) == (True, True)
    assert not plan(host(1), live=[wanted])[0]["web-1"]["proxies"][0]["labels_lost"]
    assert not plan(host(1), live=[{**wanted, "labels": {}}], release=V212)[0]["web-1"]["proxies"][0]["labels_lost"]
