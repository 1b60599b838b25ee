# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zone proxies as the inventory and the control plane describe them, their plan, and who may leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import zone as tokens_zone
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.renewal import Before
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import inventory
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import resource as zone_resource
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone.plan import Zones
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import admission, pulse, view

NOW = 1_795_400_000
GOOD = {"name": "gate-ingress", "type": "ingress", "address": "10.0.0.21"}


def faults(model="v2", **variables):
    return inventory.read("gate", {**GOOD, **variables}, model)[1]


def item(name, kind="ingress", online=True, zone="", labels=None):
    """An item of /zoneingresses/_overview or /zoneegresses/_overview."""
    spec, insight = {"ingress": ("zoneIngress", "zoneIngressInsight"), "egress": ("zoneEgress", "zoneEgressInsight")}[kind]
    subscription = {"id": f"{name}-1", "connectTime": "x", "version": {"kumaDp": {"version": "2.14.3"}}}
    if not online:
        subscription["disconnectTime"] = "y"
    body = {"networking": {"address": "10.0.0.21", "port": 10001, "admin": {"port": 9801}}}
    if zone:
        body["zone"] = zone
    return {"name": name, "labels": labels or {}, spec: body, insight: {"subscriptions": [subscription]}}


def overviews(*items, kind="ingress"):
    return [zone_resource.as_overview(entry, kind, "default") for entry in items]


def host(where, in_play=True, observed=None, **variables):
    given = {"name": f"{where}-ingress", "type": "ingress", "address": f"10.0.0.{len(where)}", **variables}
    return {"host": where, "in_play": in_play, "variables": given, "observed": observed or {"proxies": {}}}


def plan(*hosts, found=(), model="v2", zone="default"):
    zones = Zones(hosts, found, model, zone)
    return zones.plan(), zones.problems


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"type": ""}, "gate: kuma_zone_proxy_type is not set, expected ingress or egress"),
        ({"type": "gateway"}, "gate: kuma_zone_proxy_type is 'gateway', expected ingress or egress"),
        ({"name": "Gate_1"}, "gate: kuma_zone_proxy_name is 'Gate_1', expected a lower-case DNS name"),
        ({"name": "gate-cover"}, "gate: kuma_zone_proxy_name is 'gate-cover', expected a name that does not end in -cover"),
        ({"address": "0.0.0.0"}, "gate: kuma_zone_proxy_address is '0.0.0.0', expected the IP address at which other VMs reach this one"),
        ({"address": "gate.example.com"}, "gate: kuma_zone_proxy_address is 'gate.example.com', expected the IP address"),
        ({"port": "http"}, "gate: kuma_zone_proxy_port is 'http', expected a port from 1 to 65535"),
        ({"port": 65536}, "gate: kuma_zone_proxy_port is 65536, expected a port from 1 to 65535"),
        ({"admin_port": -1}, "gate: kuma_zone_proxy_admin_port is -1, expected a port"),
        ({"readiness_port": "x"}, "gate: kuma_zone_proxy_readiness_port is 'x', expected a port"),
        ({"advertised_port": 443}, "gate: kuma_zone_proxy_advertised_address is not set, expected both"),
        ({"advertised_address": "203.0.113.7"}, "gate: kuma_zone_proxy_advertised_port is not set, expected both"),
        ({"advertised_address": "::", "advertised_port": 443}, "gate: kuma_zone_proxy_advertised_address is '::', expected the address"),
        ({"advertised_address": "a", "advertised_port": 0.5}, "gate: kuma_zone_proxy_advertised_port is 0.5, expected a port"),
        ({"proxies": "gate"}, "gate: kuma_zone_proxy_proxies is 'gate', expected a list"),
        ({"proxies": [{"name": "a", "type": "egress", "size": 1}]}, "gate: kuma_zone_proxy_proxies[0].size is 1, expected only the keys"),
        ({"proxies": [{"name": "a"}]}, "gate: kuma_zone_proxy_proxies[0].type is not set, expected ingress or egress"),
    ],
)
def test_bad_input_names_the_variable_and_what_is_expected(variables, expected):
    found = faults(**variables)
    assert any(problem.startswith(expected) for problem in found), found


def test_trap_41_an_advertised_address_is_refused_where_the_control_plane_would_drop_it():
    pair = {"advertised_address": "203.0.113.7", "advertised_port": 443}
    assert faults(**pair) == []
    assert [problem.split(", ")[1][:16] for problem in faults(type="egress", **pair)] == ["expected nothing"] * 2
    assert [problem.split(", ")[1][:16] for problem in faults(model="v3", **pair)] == ["expected nothing"] * 2


@given(
    st.sampled_from(zone_resource.KINDS),
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.none() | st.tuples(st.ip_addresses().map(str).filter(lambda text: text not in ("0.0.0.0", "::")), st.integers(1, 65535)),
)
def test_what_is_valid_becomes_a_resource_that_says_all_of_it(kind, port, admin, advertised):
    advertised = advertised if kind == "ingress" else None
    more = {"advertised_address": advertised[0], "advertised_port": advertised[1]} if advertised else {}
    proxies, problems = inventory.read("gate", {**GOOD, "type": kind, "port": port, **more}, "v2")
    assert problems == []
    resource = zone_resource.build(proxies[0], admin, "v2")
    expected = {"address": "10.0.0.21", "port": port, "admin": {"port": admin}}
    if advertised:
        expected.update(advertisedAddress=advertised[0], advertisedPort=advertised[1])
    assert resource == {"type": zone_resource.TYPES[kind], "name": "gate-ingress", "networking": expected}
    dataplane = zone_resource.build(proxies[0], admin, "v3")
    assert dataplane["type"] == "Dataplane"
    assert zone_resource.listeners(dataplane) == [kind]


def test_trap_58_ingresses_of_other_zones_are_not_ours():
    found = overviews(item("ours"), item("theirs", zone="west"), item("labelled", labels={"kuma.io/zone": "north"}))
    assert [zone_resource.groups_of(entry)[0] for entry in found] == [
        "zone ingress of default",
        "zone ingress of west",
        "zone ingress of north",
    ]
    assert zone_resource.last_ones(found, ["ours"]) != []


def test_trap_57_the_last_that_is_connected_may_not_leave():
    both = overviews(item("a"), item("b"))
    assert zone_resource.last_ones(both, ["a"]) == []
    assert zone_resource.last_ones(both, ["a", "b"]) == ["a, b would leave zone ingress of default without any proxy that is connected"]
    down = overviews(item("a"), item("b", online=False))
    assert zone_resource.last_ones(down, ["a"]) == ["a would leave zone ingress of default without any proxy that is connected"]
    assert zone_resource.last_ones(down, ["b"]) == [], "it is not connected, so that nothing is lost"
    mixed = [*overviews(item("a")), *overviews(item("e", "egress"), kind="egress")]
    assert zone_resource.last_ones(mixed, ["a"]) != [], "an egress is no ingress"


@given(st.lists(st.tuples(st.sampled_from(["ingress", "egress"]), st.booleans(), st.booleans()), max_size=8))
def test_who_leaves_leaves_one_of_each_kind_or_is_named(each):
    found, leaving, left = [], [], {}
    for index, (kind, online, goes) in enumerate(each):
        found += overviews(item(f"p{index}", kind, online), kind=kind)
        if goes:
            leaving.append(f"p{index}")
        left.setdefault(kind, [0, 0])[goes] += online
    named = zone_resource.last_ones(found, leaving)
    assert len(named) == sum(1 for stays, goes in left.values() if goes and not stays)


def test_a_roll_sees_the_zone_proxies_of_a_kind_and_zone_as_a_service():
    found = overviews(item("a"), item("b", online=False), item("b-cover"), item("theirs", zone="west", online=False))
    instances = view.instances(found)
    services = view.services(instances)
    assert services["zone ingress of default"] == admission.Service(2, set(), admission.ZONE)
    assert services["zone ingress of west"].down == {"theirs"}
    assert instances["a"].version == "2.14.3"
    listener = {"networking": {"inbound": [{"port": 1, "tags": {"kuma.io/service": "web"}}], "listeners": [{"type": "ZoneEgress"}]}}
    both = {"name": "d", "mesh": "default", "labels": {"kuma.io/zone": "east"}, "dataplane": listener}
    assert set(view.instances([both])["d"].services) == {"web", "zone egress of east"}


def test_zone_proxies_are_asked_whether_they_live_before_another_one_is_restarted():
    found = [*overviews(item("a"), item("b-cover"), item("c", online=False)), *overviews(item("e", "egress"), kind="egress")]
    asked = pulse.siblings(found, {"zone ingress of default"})
    assert asked == {"zone ingress of default": {"a": "/zoneingresses/a", "b": "/zoneingresses/b-cover"}}


TOKEN = {"name": "gate-ingress", "host": "gate", "current": None, "current_kid": None}


def test_the_plan_of_a_host():
    plans, problems = plan(host("gate"), found=overviews(item("gate-ingress")))
    assert problems == []
    proxy = plans["gate"]["proxies"][0]
    assert proxy["ready"]
    assert proxy["proxy_type"] == proxy["zone_proxy"] == "ingress"
    assert proxy["ports"] == {"admin": 9801, "readiness": 9802}
    assert proxy["token"] == {**TOKEN, "zone": "default", "scope": ["ingress"]}
    assert not plan(host("gate"))[0]["gate"]["proxies"][0]["ready"]


def test_the_plan_under_3_0_is_one_of_a_dataplane():
    proxy = plan(host("gate", mesh="shop"), model="v3")[0]["gate"]["proxies"][0]
    assert (proxy["mesh"], proxy["proxy_type"], proxy["dataplane"]["mesh"]) == ("shop", "dataplane", "shop")
    assert proxy["token"] == {**TOKEN, "mesh": "shop"}


def test_trap_35_ports_do_not_meet_those_of_the_mesh_and_stay():
    observed = {"proxies": {"gate-ingress": {"environment": {"KUMA_READINESS_PORT": "9812"}, "unit": {"active": True}}}}
    plans, problems = plan(host("gate", observed=observed, mesh_ports=[9801, 8080]), found=())
    assert problems == []
    assert plans["gate"]["proxies"][0]["ports"] == {"admin": 9811, "readiness": 9812}
    two = [{"name": "in", "type": "ingress"}, {"name": "out", "type": "egress", "admin_port": 9801}]
    plans, problems = plan(host("gate", proxies=two))
    assert problems == []
    assert [proxy["ports"] for proxy in plans["gate"]["proxies"]] == [
        {"admin": 9811, "readiness": 9802},
        {"admin": 9801, "readiness": 9812},
    ]


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([host("a", name="x"), host("bb", name="x", in_play=False)], "the name x is used 2 times"),
        ([host("a", name="a", mesh_names=["a"])], "the name a is used 2 times (a as kuma_zone_proxy_name, a as kuma_dp_name)"),
        ([host("a", zone="west")], "kuma_zone_proxy_zone is 'west', expected 'default'"),
        ([host("a", port=8080, mesh_ports=[8080])], "port 8080 is claimed by kuma_dp_services and by kuma_zone_proxy_port"),
        (
            [host("a", port=9900, admin_port=9900)],
            "port 9900 is claimed by kuma_zone_proxy_port of a-ingress and by kuma_zone_proxy_admin_port",
        ),
        (
            [host("a", observed={"listening": [{"address": "0.0.0.0", "port": 10001, "process": "nginx"}]})],
            "port 10001 of kuma_zone_proxy_port of a-ingress is taken by nginx on 0.0.0.0",
        ),
    ],
)
def test_what_speaks_against_a_plan(hosts, expected):
    problems = plan(*hosts)[1]
    assert any(expected in problem for problem in problems), problems


def test_ports_of_the_mesh_that_are_none_are_for_its_own_plan_to_tell():
    plans, problems = plan(host("gate", mesh_ports=["http", None, True, 0, "8080"]))
    assert (list(plans), problems) == (["gate"], [])
    assert plan(host("gate", mesh_ports=["10001", None]))[1] != []


def test_hosts_of_the_mesh_alone_have_no_zone_proxy():
    only_mesh = {"host": "web", "in_play": False, "variables": {"mesh_names": ["web"], "mesh_ports": [10001]}, "observed": None}
    plans, problems = plan(host("gate"), only_mesh)
    assert problems == []
    assert list(plans) == ["gate"]


CLAIMS = {"Zone": "default", "Scope": ["ingress"], "exp": NOW + 1000}


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        (None, "there is no token"),
        ({**CLAIMS, "Zone": "west"}, "zone is west, expected default"),
        ({**CLAIMS, "Zone": ""}, "zone is not bound, expected default"),
        ({**CLAIMS, "Scope": ["egress", "ingress"]}, "scope is egress, ingress, expected ingress"),
        ({**CLAIMS, "Scope": None}, "scope is none, expected ingress"),
        ({**CLAIMS, "exp": NOW + 50}, "expires at 2026-11-23T02:54:10Z"),
        ({**CLAIMS, "exp": None}, "the token names no end"),
        (CLAIMS, None),
    ],
)
def test_trap_56_a_zone_token_is_kept_while_it_allows_what_is_wanted_and_no_more(claims, expected):
    wanted = tokens_zone.body({"zone": "default", "scope": ["ingress"]})
    found = tokens_zone.needs_renewal(claims, wanted, NOW, Before(100))
    assert (found or "")[:10] == (expected or "")[:10]
    if expected and not expected.startswith("expires"):
        assert found == expected
