# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts of a fleet: those in the play as they were looked at, the others as the inventory says."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.plan import Fleet
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone.plan import Zones
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import fleet

SERVICE = {"name": "web", "port": 8080, "service_port": 18080}


def hosts(inventory, looks=None, mesh=(), zone=(), in_play=()):
    def known(host):
        return lambda variable, default: inventory.get(host, {}).get(variable, default)

    return fleet.Hosts(looks or {}, known, mesh, zone, in_play)


def lost(role, **known):
    """The entry of a host that was unreachable. The fleet is this host alone."""
    found = hosts({"web-1": known}, mesh=["web-1"], zone=["web-1"], in_play=["web-1"])
    (host,) = found.of_mesh() if role == "kuma_dp" else found.of_zone()
    assert (host["in_play"], host["dropped_out"]) == (False, True)
    return host


@pytest.mark.parametrize(
    "known",
    [
        {"kuma_transparent_proxy_enabled": True},
        {"kuma_transparent_proxy_enabled": "yes"},
        {
            "kuma_dp_lifecycle": "direct",
            "kuma_dp_proxies": [
                {"name": "a", "dataplane_template": "a.yaml", "dataplane_vars": {"x": "y"}, "services": [{"name": "a", "port": 80}]}
            ],
        },
    ],
    ids=["redirected", "redirected by the command line", "direct"],
)
def test_a_vm_that_is_unreachable_does_not_stop_the_others_by_what_is_sound(known):
    found = Fleet([lost("kuma_dp", ansible_host="10.0.0.1", **known)], [], "v2", (2, 14, 3))
    found.plan()
    assert found.problems == []


def test_a_vm_that_is_unreachable_and_wrong_stops_the_others():
    found = Fleet([lost("kuma_dp", ansible_host="10.0.0.1")], [], "v2", (2, 14, 3))
    found.plan()
    assert "kuma_dp_services is not set" in found.problems[0] or "kuma_dp_services is []" in found.problems[0]


@pytest.mark.parametrize(
    ("known", "problems"),
    [
        ({"ansible_host": "gate-1.example.com"}, []),
        ({}, []),
        ({"ansible_host": "10.0.0.1"}, []),
        ({"kuma_zone_proxy_address": "gate-1.example.com"}, ["web-1: kuma_zone_proxy_address is 'gate-1.example.com', expected the IP"]),
    ],
)
def test_a_zone_proxy_that_is_unreachable_need_not_tell_its_address(known, problems):
    zones = Zones([lost("kuma_zone_proxy", kuma_zone_proxy_type="ingress", **known)], [], "v2", "default")
    zones.plan()
    assert len(zones.problems) == len(problems)
    assert all(problem.startswith(wanted) for problem, wanted in zip(zones.problems, problems, strict=True))


def look(**options):
    values = {"name": "web-1", "mesh": "default", "address": "10.0.0.1", "services": [], "upstreams": ["api"], "version": "2.14.3"}
    return {"options": {**values, **options}, "host": {"proxies": {}}}


def test_ports_that_a_host_outside_the_play_reserves_are_no_outbound_ports():
    inventory = {"api-1": {"ansible_host": "10.0.0.2", "kuma_dp_services": [{**SERVICE, "name": "api"}], "kuma_dp_reserved_ports": [10001]}}
    ports = []
    for known in (inventory, {"api-1": {**inventory["api-1"], "kuma_dp_reserved_ports": []}}):
        found = hosts(known, {"web-1": look(outbound_range="10001-10002")}, mesh=["web-1", "api-1"], in_play=["web-1"])
        planned = Fleet(found.of_mesh(), [], "v2", (2, 14, 3))
        (proxy,) = planned.plan()["web-1"]["proxies"]
        assert planned.problems == []
        ports.append(proxy["outbounds"][0]["port"])
    assert 10001 not in ports[:1]


def test_services_of_a_host_outside_the_play_count():
    inventory = {"api-1": {"ansible_host": "10.0.0.2", "kuma_dp_services": [{**SERVICE, "name": "api"}]}}
    found = hosts(inventory, {"web-1": look()}, mesh=["web-1", "api-1"], in_play=["web-1"])
    planned = Fleet(found.of_mesh(), [], "v2", (2, 14, 3), exclusive=True)
    plans = planned.plan()
    assert planned.problems == []
    # In an Exclusive mesh an outbound names the MeshService, which only who knows the service's ports can do.
    assert plans["web-1"]["proxies"][0]["outbounds"][0]["backend_ref"]["kind"] == "MeshService"


@pytest.mark.parametrize("variable", ["kuma_dp_name", "kuma_dp_address"])
def test_names_and_addresses_of_hosts_outside_the_play_are_taken(variable):
    taken = {"kuma_dp_name": "web-1", "kuma_dp_address": "10.0.0.1"}[variable]
    inventory = {"api-1": {"kuma_dp_services": [SERVICE], variable: taken}}
    found = hosts(inventory, {"web-1": look()}, mesh=["web-1", "api-1"], in_play=["web-1"])
    planned = Fleet(found.of_mesh(), [], "v2", (2, 14, 3))
    planned.plan()
    assert any(f"{variable} {taken}" in problem for problem in planned.problems)


def test_who_is_outside_the_play_and_who_dropped_out():
    found = hosts({}, {"a": look(name="a")}, mesh=["a", "b", "c"], in_play=["b", "a"]).of_mesh()
    assert [(host["host"], host["in_play"], host.get("dropped_out")) for host in found] == [
        ("a", True, None),
        ("b", False, True),
        ("c", False, False),
    ]


def test_a_host_of_the_mesh_counts_for_zone_proxies_with_its_names_and_ports():
    own = {"kuma_dp_services": [SERVICE], "kuma_dp_proxies": [{"name": "b", "services": [{"port": 81}]}, {"name": "c"}]}
    found = hosts({"web-1": own, "gate-1": {"kuma_zone_proxy_type": "egress"}}, mesh=["web-1"], zone=["gate-1"], in_play=["gate-1"])
    gate, web = found.of_zone()
    assert web == {
        "host": "web-1",
        "in_play": False,
        "observed": None,
        "variables": {"mesh_names": ["b", "c"], "mesh_ports": [8080, 81, 18080]},
    }
    assert (gate["variables"]["name"], gate["variables"]["mesh_names"]) == ("gate-1-egress", [])


@pytest.mark.parametrize(
    ("given", "ansible_host", "default", "expected"),
    [
        ("10.0.0.9", "10.0.0.1", "10.0.0.5", "10.0.0.9"),
        ("", "10.0.0.1", "10.0.0.5", "10.0.0.1"),
        ("", "fd00::1", "10.0.0.5", "fd00::1"),
        ("", "web-1.example.com", "10.0.0.5", "10.0.0.5"),
        ("", None, "10.0.0.5", "10.0.0.5"),
        ("", None, None, ""),
    ],
)
def test_where_others_reach_a_vm(given, ansible_host, default, expected):
    def known(_variable, otherwise):
        return ansible_host if ansible_host is not None else otherwise

    assert fleet.address(given, "web-1", known, default) == expected


def names_by(known):
    return known.get


@pytest.mark.parametrize(
    ("known", "mesh", "zone"),
    [
        ({}, ["web-1"], [("web-1", "")]),
        ({"kuma_dp_name": "w", "kuma_zone_proxy_type": "ingress"}, ["w"], [("web-1-ingress", "ingress")]),
        ({"kuma_dp_proxies": [{"name": "a"}, {"name": 5}], "kuma_zone_proxy_name": "g"}, ["a", "5"], [("g", "")]),
        ({"kuma_zone_proxy_proxies": [{"type": "egress"}, {"name": "x"}]}, ["web-1"], [("web-1-egress", "egress"), ("x", "")]),
    ],
)
def test_the_names_of_a_host_by_its_inventory_alone(known, mesh, zone):
    assert fleet.mesh_names("web-1", names_by(known)) == mesh
    assert fleet.zone_names("web-1", names_by(known)) == zone


def test_all_ports_of_a_vm_count_for_its_unit():
    own, proxies, zones = [SERVICE, {"port": "x"}], [{"services": [{"port": 81}]}, "no"], [{"port": 82}, {"port": 0}]
    assert sorted(fleet.ports_of_unit(own, proxies, 83, zones)) == [81, 82, 83, 8080]


def said(**variables):
    return variables.get


def test_hosts_of_one_mesh_of_one_control_plane():
    url = {"kuma_dp_control_plane_url": "https://a:5682"}
    assert fleet.one_mesh([said(**url), said(kuma_dp_mesh="default", **url)]) == "default"
    assert fleet.one_mesh([said(kuma_dp_mesh=5, **url)]) == "5"


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        ([{}, {}], "kuma_dp_mesh default and kuma_dp_control_plane_url not set"),
        ([{"kuma_dp_control_plane_url": ""}], "kuma_dp_mesh default and kuma_dp_control_plane_url not set"),
        (
            [{"kuma_dp_control_plane_url": "a", "kuma_dp_mesh": "b"}, {"kuma_dp_control_plane_url": "a"}],
            "kuma_dp_mesh b, default and kuma_dp_control_plane_url a",
        ),
        (
            [{"kuma_dp_control_plane_url": "a"}, {}, {"kuma_dp_control_plane_url": "b"}],
            "kuma_dp_mesh default and kuma_dp_control_plane_url a, not set, b",
        ),
        (
            [{"kuma_dp_control_plane_url": "https://a:geheim@b"}, {"kuma_dp_control_plane_url": "https://b?token=geheim"}],
            "kuma_dp_mesh default and kuma_dp_control_plane_url https://(hidden)@b, https://b?...",
        ),
    ],
)
def test_hosts_of_several_or_of_none_are_refused(hosts, told):
    with pytest.raises(ItemsFailed) as refused:
        fleet.one_mesh([said(**variables) for variables in hosts])
    assert refused.value.msg == f"The hosts have {told}, expected one of each. Handle one at a time with --limit."


def test_a_report_knows_of_the_hosts_of_the_play_and_of_the_others():
    known = said(kuma_dp_services=[SERVICE], kuma_dp_environment={"PASSWORD": "geheim"}, ansible_host="10.0.0.1")
    inside, outside = fleet.of_report({"a": known}, {"b": said(kuma_dp_name="of b")})
    assert (inside["host"], inside["in_play"], outside["host"], outside["in_play"]) == ("a", True, "b", False)
    wanted = {"name": "a", "mesh": "default", "address": "10.0.0.1", "services": [SERVICE], "environment": ["PASSWORD"]}
    assert {key: inside["variables"][key] for key in wanted} == wanted
    wanted = {"name": "of b", "services": [], "environment": []}
    assert {key: outside["variables"][key] for key in wanted} == wanted
    assert "geheim" not in str(inside)
