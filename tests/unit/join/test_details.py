# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gateways, probes, tags and references: what the inventory may say of them, and the Dataplane that comes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import fence, resource, schema, status
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import inventory
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import cover as roll_cover
from tests.unit.join.test_plan import V3, V214, host, overview, plan, problems_of

V212 = (2, 12, 14)
EDGE = {"services": [], "upstreams": ["web"], "gateway": {"name": "edge", "tags": {"tier": "front"}}}
WEB = host(9, upstreams=[])


def edge(model="v2", release=V214, **changes):
    plans, problems = plan([host(1, **{**EDGE, **changes}), WEB], model=model, release=release)
    assert problems == []
    return plans["web-1"]["proxies"][0]


@pytest.mark.parametrize(("model", "release"), [("v2", V212), ("v2", V214), ("v3", V3)])
def test_trap_39_a_gateway_has_its_service_tag_in_every_generation(model, release):
    proxy = edge(model, release)
    networking = proxy["dataplane"]["networking"]
    assert networking["gateway"]["type"] == "DELEGATED"
    assert networking["gateway"]["tags"]["kuma.io/service"] == "edge"
    assert networking["gateway"]["tags"]["tier"] == "front"
    assert "inbound" not in networking
    assert len(networking["outbound"]) == 1
    assert schema.dropped_fields(proxy["dataplane"], release) == []
    labels = proxy["dataplane"].get("labels", {})
    assert labels["kuma.io/workload"] == "edge"
    assert ("tier" in labels) == (model == "v3")


def test_a_gateway_that_the_control_plane_holds_differs_from_nothing():
    desired = edge()["dataplane"]
    held = {**desired, "networking": {**desired["networking"], "gateway": {"tags": {**desired["networking"]["gateway"]["tags"]}}}}
    held["networking"]["gateway"]["tags"]["kuma.io/zone"] = "default"
    assert resource.difference(desired, held, V214) == []
    (proxy,) = plan([host(1, **EDGE), WEB], [overview(held)])[0]["web-1"]["proxies"]
    assert not proxy["differs"]


def test_a_connected_gateway_is_ready_cannot_be_fenced_and_has_a_cover_with_a_token_for_its_service():
    proxy = edge()
    desired = proxy["dataplane"]
    connected = overview(desired, dataplaneInsight={"subscriptions": [{"connectTime": "x"}]})
    assert status.ready(connected) == (True, [])
    assert status.status(connected) == "Online"
    assert status.ready(overview(desired))[0] is False
    assert "load balancer" in fence.cannot_be_fenced(desired)
    cover = roll_cover.dataplane(desired)
    assert cover["networking"] == desired["networking"]
    request = roll_cover.token_request(cover, proxy["claims"], V214, "30m")
    assert request.items() >= {"tags": {"kuma.io/service": ["edge"]}, "validFor": "30m"}.items()


@pytest.mark.parametrize(
    ("bind", "expected"),
    [(None, {"tags", "workload"}), (["workload"], {"workload"}), (["tags"], {"tags"}), ([], set())],
)
def test_a_token_is_bound_to_what_the_inventory_says(bind, expected):
    (proxy,) = plan([host(1, token_bind=bind)])[0]["web-1"]["proxies"]
    assert set(proxy["token"]) & {"tags", "workload"} == expected


@pytest.mark.parametrize("bind", [["tag"], "tags", {"tags": True}])
def test_a_token_is_bound_to_nothing_else(bind):
    (problem,) = plan([host(1, token_bind=bind)])[1]
    assert problem.startswith("web-1: kuma_dp_token_bind is ")


def test_the_token_of_a_direct_proxy_is_bound_to_what_its_file_claims():
    services = [{"name": "web", "port": 8080, "tags": {"version": "v1"}}, {"name": "api", "port": 8090}]
    (proxy,) = plan([host(1, services=services, lifecycle="direct")])[0]["web-1"]["proxies"]
    assert proxy["token"]["tags"] == {"kuma.io/protocol": ["tcp"], "kuma.io/service": ["api", "web"], "version": ["v1"]}


def test_one_proxy_of_a_vm_may_be_a_gateway():
    proxies = [{"name": "a", "services": [{"name": "web", "port": 8080}]}, {"name": "b", "gateway": {"name": "edge"}, "upstreams": ["web"]}]
    plans, problems = plan([host(1, proxies=proxies)])
    assert problems == []
    assert [("gateway" in proxy["dataplane"]["networking"]) for proxy in plans["web-1"]["proxies"]] == [False, True]


BAD = [
    ({"gateway": {"name": "edge"}}, "kuma_dp_gateway is {'name': 'edge'}, expected no services beside it"),
    ({**EDGE, "upstreams": []}, "kuma_dp_upstreams is [], expected the services that the gateway sends requests to"),
    ({**EDGE, "gateway": True}, "kuma_dp_gateway is True, expected a mapping with the keys name, tags"),
    ({**EDGE, "gateway": {"tags": {}}}, "kuma_dp_gateway.name is not set, expected a name of letters, digits and . - _ :, shared by all"),
    ({**EDGE, "gateway": {"name": "edge", "port": 80}}, "kuma_dp_gateway.port is 80, expected only the keys name, tags"),
    ({**EDGE, "gateway": {"name": "e", "tags": {"kuma.io/service": "x"}}}, 'kuma_dp_gateway.tags["kuma.io/service"] is \'x\', expected name instead'),
    ({**EDGE, "gateway": {"name": "e", "tags": {"a b": "x"}}}, 'kuma_dp_gateway.tags["a b"] is \'x\', expected a tag'),
    ({**EDGE, "gateway": {"name": "e", "tags": "x"}}, "kuma_dp_gateway.tags is 'x', expected a mapping"),
    ({"proxies": [{"name": "a", "gateway": {"name": "/"}, "upstreams": ["x"]}]}, "kuma_dp_proxies[0].gateway.name is '/', expected"),
    ({"upstreams": [{"service": "x", "backend_ref": {"port": 0}}]}, "kuma_dp_upstreams[0].backend_ref.port is 0, expected a port"),
    ({"upstreams": [{"service": "x", "backend_ref": {"kind": "Service"}}]}, "backend_ref.kind is 'Service', expected one of MeshExternalService"),
    ({"upstreams": [{"service": "x", "backend_ref": {"name": "X"}}]}, "backend_ref.name is 'X', expected a name of at most 63"),
    ({"upstreams": [{"service": "x", "backend_ref": {"namespace": "n"}}]}, "backend_ref.namespace is 'n', expected only the keys"),
    ({"upstreams": [{"service": "x", "backend_ref": {"name": "x", "labels": {"a": "b"}}}]}, "backend_ref.labels is {'a': 'b'}, expected either"),
    ({"upstreams": [{"service": "x", "backend_ref": {"labels": {}}}]}, "backend_ref.labels is {}, expected either a name, or labels"),
    ({"upstreams": [{"service": "x", "tags": {"v": "1"}, "backend_ref": {"port": 1}}]}, "expected either tags or backend_ref"),
    ({"upstreams": [{"service": "x", "tags": ["v"]}]}, "kuma_dp_upstreams[0].tags is ['v'], expected a mapping"),
]  # fmt: skip


def service(**more):
    return {"services": [{"name": "web", "port": 8080, "service_port": 18080, **more}]}


BAD += [
    (service(probe={}), "kuma_dp_services[0].probe.interval is not set, expected a duration above zero such as 10s (a probe needs interval and"),
    (service(probe={"interval": "1s"}), "kuma_dp_services[0].probe.timeout is not set, expected a duration above zero"),
    (service(probe={"timeout": "1s"}), "kuma_dp_services[0].probe.interval is not set, expected a duration above zero"),
    (service(probe={"interval": "1s", "timeout": "0s"}), "kuma_dp_services[0].probe.timeout is '0s', expected a duration above zero"),
    (
        service(probe={"interval": "1s", "timeout": "1s", "healthy_threshold": 0}),
        "kuma_dp_services[0].probe.healthy_threshold is 0, expected a number above zero",
    ),
    (service(probe={"interval": "1s", "timeout": "1s", "path": "/"}), "kuma_dp_services[0].probe.path is '/', expected only the keys"),
    (service(probe="tcp"), "kuma_dp_services[0].probe is 'tcp', expected a mapping"),
    (service(tags={"kuma.io/protocol": "http"}), "expected protocol instead"),
    (service(tags={"v": ""}), "kuma_dp_services[0].tags[\"v\"] is not set, expected a tag"),
    (service(gate={}), "kuma_dp_services[0].gate.path is not set, expected a path that begins with /, such as /healthz"),
    (service(gate="/"), "kuma_dp_services[0].gate is '/', expected a mapping with the keys interval, path, status, timeout"),
    (service(gate={"path": "healthz"}), "kuma_dp_services[0].gate.path is 'healthz', expected a path that begins with /"),
    (service(gate={"path": "/a b"}), "kuma_dp_services[0].gate.path is '/a b', expected a path"),
    (service(gate={"path": "/", "status": "ok"}), "kuma_dp_services[0].gate.status is 'ok', expected the status of an application that works"),
    (service(gate={"path": "/", "status": []}), "kuma_dp_services[0].gate.status is [], expected the status"),
    (service(gate={"path": "/", "timeout": "0s"}), "kuma_dp_services[0].gate.timeout is '0s', expected a duration above zero such as 60s"),
    (service(gate={"path": "/", "interval": "often"}), "kuma_dp_services[0].gate.interval is 'often', expected a duration above zero such as 1s"),
    (service(gate={"path": "/", "url": "x"}), "kuma_dp_services[0].gate.url is 'x', expected only the keys"),
]  # fmt: skip


@pytest.mark.parametrize(("variables", "message"), BAD)
def test_bad_input_is_named(variables, message):
    problems = problems_of(host(1, **variables))
    assert any(message in problem for problem in problems), problems


def test_bad_input_of_all_kinds_is_collected():
    bad = {**service(probe={}, gate={}, tags=1), "upstreams": [{"service": "x", "backend_ref": 1}], "gateway": {"name": "/"}}
    found = " ".join(problems_of(host(1, **bad)))
    for field in ("probe.interval", "probe.timeout", "gate.path", "services[0].tags", "backend_ref", "gateway.name"):
        assert field in found


def test_a_probe_is_sent_with_interval_and_timeout():
    probe = {"interval": "1m", "timeout": "2s", "unhealthy_threshold": "3"}
    plans, problems = plan([host(1, **service(probe=probe))])
    assert problems == []
    (inbound,) = plans["web-1"]["proxies"][0]["dataplane"]["networking"]["inbound"]
    assert inbound["serviceProbe"] == {"interval": "1m", "timeout": "2s", "tcp": {}, "unhealthyThreshold": 3}


@pytest.mark.parametrize("probe", [{"interval": "1s", "tcp": {}}, {"timeout": "1s", "tcp": {}}, {"tcp": {}}])
def test_a_probe_with_half_of_its_times_is_refused_in_any_dataplane(probe):
    written = {"networking": {"inbound": [{"port": 1}, {"port": 2, "serviceProbe": probe}]}}
    missing = {f"networking.inbound[1].serviceProbe.{key}" for key in ("interval", "timeout") if key not in probe}
    assert {problem["field"] for problem in schema.misread_probes(written)} == missing


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 70000), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(["name", "tags", "labels", "port", "path", "status", "timeout", "interval", "kind"]), inner, max_size=3
        ),
    ),
    max_leaves=5,
)


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING, st.sampled_from(["v2", "v3"]))
def test_nothing_that_an_inventory_may_hold_makes_reading_it_fail(gateway, gate, probe, tags, reference, model):
    variables = {
        **service(gate=gate, probe=probe, tags=tags),
        "name": "h",
        "address": "10.0.0.1",
        "gateway": gateway,
        "upstreams": [{"service": "x", "tags": tags, "backend_ref": reference}],
    }
    proxies, problems = inventory.read("h", variables, model)
    assert len(proxies) == 1
    assert all(problem.startswith("h: kuma_dp_") for problem in problems)
    plan([{"host": "h", "in_play": True, "observed": None, "variables": variables}], model=model)
