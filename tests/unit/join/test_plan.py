# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a join: one map of outbound ports, and every problem of the inventory in one list."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import proxy_ports
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.plan import Fleet

V214, V3 = (2, 14, 3), (3, 0, 0)


def host(number, in_play=True, observed=None, **variables):
    name = f"web-{number}"
    base = {
        "name": name,
        "address": f"10.0.0.{number}",
        "services": [{"name": "web", "port": 8080, "service_port": 18080, "protocol": "http"}],
        "upstreams": ["backend"],
    }
    return {"host": name, "in_play": in_play, "observed": observed, "variables": {**base, **variables}}


def overview(dataplane, **extra):
    return {
        **{key: dataplane[key] for key in ("name", "mesh")},
        "labels": dataplane.get("labels", {}),
        "dataplane": {"networking": dataplane["networking"]},
        **extra,
    }


def plan(hosts, overviews=(), model="v2", release=V214):
    fleet = Fleet(hosts, overviews, model, release)
    return fleet.plan(), fleet.problems


def problems_of(*hosts, **settings):
    return plan(list(hosts), **settings)[1]


def test_a_sound_fleet_has_one_plan_per_host_and_no_problem():
    plans, problems = plan([host(1), host(2), host(3, in_play=False)])
    assert problems == []
    assert sorted(plans) == ["web-1", "web-2"]
    (proxy,) = plans["web-1"]["proxies"]
    assert proxy["dataplane"]["networking"]["address"] == "10.0.0.1"
    tags = {"kuma.io/protocol": ["http"], "kuma.io/service": ["web"]}
    asked = {"name": "web-1", "mesh": "default", "workload": "web", "tags": tags}
    assert proxy["token"] == {**asked, "host": "web-1", "current": None, "current_kid": None}
    assert (proxy["registered"], proxy["differs"], proxy["ready"]) == (False, True, False)
    assert proxy["ports"] == proxy_ports.DEFAULT_PORTS
    assert proxy["outbounds"] == plans["web-2"]["proxies"][0]["outbounds"]


def test_the_limit_does_not_change_anybodys_ports():
    everybody = [host(1, upstreams=["a", "b"]), host(2, upstreams=["c"]), host(3, upstreams=["d", "a"])]
    limited = copy.deepcopy(everybody)
    limited[0]["in_play"] = limited[2]["in_play"] = False
    assert plan(limited)[0]["web-2"] == plan(everybody)[0]["web-2"]


def test_a_joined_host_differs_from_nothing_and_keeps_its_ports():
    first, _problems = plan([host(1)])
    live = copy.deepcopy(first["web-1"]["proxies"][0]["dataplane"])
    live["networking"]["outbound"][0]["port"] = 15555
    (proxy,) = plan([host(1), host(2)], [overview(live)])[0]["web-1"]["proxies"]
    assert proxy["outbounds"][0]["port"] == 15555
    assert (proxy["registered"], proxy["differs"]) == (True, False)
    # The only VM that uses it is the majority, so a new VM gets the same port.
    assert plan([host(1), host(2)], [overview(live)])[0]["web-2"]["proxies"][0]["outbounds"][0]["port"] == 15555


def test_a_port_outside_the_range_stays_where_it_is():
    live = copy.deepcopy(plan([host(1)])[0]["web-1"]["proxies"][0]["dataplane"])
    live["networking"]["outbound"][0]["port"] = 33033
    plans, problems = plan([host(1)], [overview(live)])
    assert plans["web-1"]["proxies"][0]["outbounds"][0]["port"] == 33033
    assert problems == []


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=4), min_size=1, max_size=5),
    st.integers(0, 1000),
)
def test_a_service_has_one_port_in_the_whole_fleet(upstreams, seed):
    hosts = [host(number, upstreams=sorted(set(names))) for number, names in enumerate(upstreams, 1)]
    plans, problems = plan(hosts)
    assert problems == []
    seen = {}
    for entry in plans.values():
        for outbound in entry["proxies"][0]["outbounds"]:
            assert seen.setdefault(outbound["service"], outbound["port"]) == outbound["port"]
    assert len(set(seen.values())) == len(seen)


def test_application_ports_are_never_outbound_ports():
    taken = plan([host(1)])[0]["web-1"]["proxies"][0]["outbounds"][0]["port"]
    plans, problems = plan([host(1), host(2, services=[{"name": "web", "port": 8080, "service_port": taken}])])
    assert problems == []
    assert plans["web-1"]["proxies"][0]["outbounds"][0]["port"] != taken


BAD_VARIABLES = [
    (
        {"services": [{"name": "web", "port": 70000}]},
        "web-1: kuma_dp_services[0].port is 70000, expected a port from 1 to 65535",
    ),
    ({"services": [{"name": "web", "port": "http"}]}, "web-1: kuma_dp_services[0].port is 'http', expected a port"),
    ({"services": [{"name": "web", "port": True}]}, "web-1: kuma_dp_services[0].port is True, expected a port"),
    (
        {"services": [{"name": "web", "port": 80, "protocol": "smtp"}]},
        "web-1: kuma_dp_services[0].protocol is 'smtp', expected one of grpc, http, http2, kafka, tcp",
    ),
    ({"services": [{"name": "web shop", "port": 80}]}, "web-1: kuma_dp_services[0].name is 'web shop', expected"),
    (
        {"services": [{"name": "web", "port": 80, "servise_port": 1}]},
        "web-1: kuma_dp_services[0].servise_port is 1, expected only the keys",
    ),
    (
        {"services": [{"name": "web", "port": 80, "service_address": "localhost"}]},
        "kuma_dp_services[0].service_address is 'localhost', expected an IP address",
    ),
    (
        {"services": [{"name": "web", "port": 80, "probe": {"interval": "soon"}}]},
        "kuma_dp_services[0].probe.interval is 'soon', expected a duration",
    ),
    ({"services": "web"}, "web-1: kuma_dp_services is 'web', expected a list"),
    (
        {"services": [], "upstreams": []},
        "web-1: kuma_dp_services is [], expected services that this VM offers, or upstreams",
    ),
    ({"upstreams": [{"service": "x", "port": 0}]}, "web-1: kuma_dp_upstreams[0].port is 0, expected a port"),
    (
        {"upstreams": [{"services": "x"}]},
        "web-1: kuma_dp_upstreams[0].service is not set, expected the name of a service",
    ),
    ({"name": "Web_1"}, "web-1: kuma_dp_name is 'Web_1', expected a lower-case DNS name"),
    ({"name": "web-1-cover"}, "web-1: kuma_dp_name is 'web-1-cover', expected a name that does not end in -cover"),
    (
        {"address": "0.0.0.0"},
        "web-1: kuma_dp_address is '0.0.0.0', expected the address that other VMs reach this one at",
    ),
    ({"address": "10.0.0.300"}, "web-1: kuma_dp_address is '10.0.0.300', expected an IP address"),
    ({"address": None}, "web-1: kuma_dp_address is not set, expected"),
    ({"labels": {"bad key!": "x"}}, "web-1: kuma_dp_labels[\"bad key!\"] is 'x', expected a Kubernetes label"),
    ({"labels": {"kuma.io/zone": "b"}}, 'web-1: kuma_dp_labels["kuma.io/zone"] is \'b\', expected no label that the control plane'),
    ({"lifecycle": "sideways"}, "web-1: kuma_dp_lifecycle is 'sideways', expected indirect or direct"),
    ({"outbound_pins": {"backend": 15001}}, "service backend is pinned to port 15001, which is reserved"),
    (
        {"outbound_range": "10001-10001", "upstreams": ["a", "b"]},
        "web-1: kuma_dp_outbound_range or kuma_dp_outbound_pins: the outbound range 10001-10001 is full",
    ),
    (
        {"outbound_pins": {"backend": 18080}},
        "web-1: port 18080 is claimed by outbound backend of web-1 and by the application behind web",
    ),
    (
        {"proxies": [{"name": "a", "services": [{"name": "x", "port": 1}], "admin": 5}]},
        "web-1: kuma_dp_proxies[0].admin is 5, expected only the keys",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("variables", "message"), BAD_VARIABLES)
def test_bad_variables_are_named(variables, message):
    problems = problems_of(host(1, **variables))
    assert any(message in problem for problem in problems), problems


def test_all_problems_are_reported_together():
    problems = problems_of(
        host(1, services=[{"name": "web", "port": 0}]),
        host(2, address="::"),
        host(3, address="10.0.0.4"),
        host(4, name="web-3"),
    )
    assert len(problems) == 4


def test_duplicate_names_and_addresses_name_every_host():
    assert problems_of(host(1), host(2, address="10.0.0.1")) == [
        "web-1: kuma_dp_address 10.0.0.1 is the address of web-2 as well, expected an address of its own for every VM"
    ]
    assert problems_of(host(1), host(2, name="web-1")) == [
        "web-1: kuma_dp_name web-1 is used 2 times (web-1, web-2), expected a name of its own for every proxy"
    ]


def test_a_duplicate_outside_the_limit_counts_but_two_outside_do_not():
    assert problems_of(host(1), host(2, in_play=False, address="10.0.0.1"))
    assert not problems_of(host(1), host(2, in_play=False, address="10.0.0.9"), host(3, in_play=False, address="10.0.0.9"))


def test_hosts_of_two_meshes_are_refused():
    assert "found kuma_dp_mesh default (web-1), other (web-2)" in problems_of(host(1), host(2, mesh="other"))[0]


TWO = [
    {"name": "web-1-a", "services": [{"name": "a", "port": 8080, "service_port": 18080}]},
    {"name": "web-1-b", "services": [{"name": "b", "port": 8081, "service_port": 18081}]},
]


def test_two_proxies_on_one_vm_get_ports_of_their_own_and_keep_them():
    plans, problems = plan([host(1, proxies=TWO)])
    assert problems == []
    first, second = plans["web-1"]["proxies"]
    assert not set(first["ports"].values()) & set(second["ports"].values())
    assert "admin" not in first["dataplane"]["networking"]
    assert second["dataplane"]["networking"]["admin"] == {"port": second["ports"]["admin"]}
    live = [overview(proxy["dataplane"]) for proxy in (first, second)]
    observed = {"proxies": {"web-1-b": {"environment": {"KUMA_READINESS_PORT": str(second["ports"]["readiness"])}}}}
    (alone,) = plan([host(1, proxies=TWO[1:], observed=observed)], live)[0]["web-1"]["proxies"]
    assert alone["ports"]["admin"] == second["ports"]["admin"]
    assert alone["ports"]["readiness"] == second["ports"]["readiness"]
    assert not alone["differs"]


def test_colliding_ports_of_two_proxies_are_named():
    clash = copy.deepcopy(TWO)
    clash[1]["services"][0]["port"] = 8080
    (problem,) = problems_of(host(1, proxies=clash))
    assert "web-1: port 8080 is claimed by inbound a of web-1-a and by inbound b of web-1-b" in problem


def test_an_inbound_on_the_applications_own_socket_is_a_collision():
    (problem,) = problems_of(host(1, services=[{"name": "web", "port": 80, "service_port": 80, "service_address": "10.0.0.1"}]))
    assert "port 80 is claimed by inbound web of web-1 and by the application behind web" in problem


LISTENING = {
    "listening": [
        {"address": "0.0.0.0", "port": 8080, "process": "nginx"},
        {"address": "127.0.0.1", "port": 18080, "process": "python3"},
    ]
}


def test_a_port_taken_on_the_vm_is_named_unless_the_proxy_runs_there():
    (problem,) = problems_of(host(1, observed=LISTENING))
    assert "web-1: port 8080 of inbound web of web-1 is taken by nginx on 0.0.0.0, expected a free port" in problem
    running = {**LISTENING, "proxies": {"web-1": {"unit": {"active": True}}}}
    assert problems_of(host(1, observed=running)) == []
    ours = {"listening": [{"address": "10.0.0.1", "port": 8080, "process": "envoy"}]}
    assert problems_of(host(1, observed=ours)) == []


def test_v3_finds_the_port_of_a_service_in_the_fleet_or_asks_for_it():
    hosts = [host(1), host(2, services=[{"name": "backend", "port": 9000}], upstreams=[])]
    plans, problems = plan(hosts, model="v3", release=V3)
    assert problems == []
    outbound = plans["web-1"]["proxies"][0]["dataplane"]["networking"]["outbound"][0]
    assert outbound["backendRef"] == {"kind": "MeshService", "name": "backend", "port": 9000}
    (problem,) = problems_of(host(1), model="v3", release=V3)
    assert "web-1: kuma_dp_upstreams: no host offers backend" in problem
    given_port = host(1, upstreams=[{"service": "backend", "backend_ref": {"port": 80}}])
    assert problems_of(given_port, model="v3", release=V3) == []


def test_somebody_elses_dataplane_is_not_written_over():
    theirs = plan([host(1, owner="team-b")])[0]["web-1"]["proxies"][0]["dataplane"]
    fleet = Fleet([host(1, owner="team-a"), host(2, owner="team-a")], [overview(theirs)], "v2", V214)
    assert sorted(fleet.plan()) == ["web-1", "web-2"]
    assert fleet.problems == [], "nobody else is stopped"
    assert list(fleet.refused) == ["web-1"]
    (reason,) = fleet.refused["web-1"]
    assert reason.startswith("Dataplane web-1 has the owner team-b, expected team-a: choose another kuma_dp_name")
    fleet = Fleet([host(1, owner="team-b")], [overview(theirs)], "v2", V214)
    fleet.plan()
    assert (fleet.problems, fleet.refused) == ([], {})


def test_a_fenced_proxy_gets_no_inbound_outside_its_fence():
    fenced = copy.deepcopy(plan([host(1)])[0]["web-1"]["proxies"][0]["dataplane"])
    fenced["networking"]["inbound"][0]["health"] = {}
    moved = host(1, services=[{"name": "web", "port": 8081, "service_port": 18080}])
    (problem,) = plan([moved], [overview(fenced)])[1]
    assert "web-1: web-1 is fenced, and port 8081 would be in traffic nevertheless" in problem
    assert plan([host(1)], [overview(fenced)])[1] == []


def test_an_upstream_with_two_settings_is_refused():
    (problem,) = problems_of(host(1, upstreams=[{"service": "b", "port": 10500}, {"service": "b", "port": 10600}]))
    assert "kuma_dp_upstreams[1]" in problem
    assert problems_of(host(1, upstreams=["b", "b"])) == []


def test_the_owner_label_is_part_of_the_dataplane():
    plans, _problems = plan([host(1, owner="ansible")])
    assert plans["web-1"]["proxies"][0]["dataplane"]["labels"][resource.OWNER_LABEL] == "ansible"


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "services",
                "upstreams",
                "name",
                "address",
                "labels",
                "proxies",
                "outbound_pins",
                "outbound_range",
                "reserved_ports",
                "workload",
            ]
        ),
        st.one_of(
            st.none(),
            st.integers(),
            st.text(max_size=4),
            st.lists(
                st.one_of(
                    st.text(max_size=3),
                    st.dictionaries(st.sampled_from(["name", "port", "service"]), st.one_of(st.text(max_size=3), st.integers())),
                ),
                max_size=3,
            ),
        ),
    )
)
def test_no_variables_whatever_make_the_plan_fail(variables):
    plans, problems = plan([{"host": "h", "in_play": True, "observed": None, "variables": variables}])
    assert problems or plans["h"]["proxies"]


@given(st.text(max_size=70), st.text(max_size=70))
def test_labels_follow_kubernetes_rules(key, value):
    if checks.is_label(key, value):
        assert len(key.rpartition("/")[2]) <= 63
        assert len(value) <= 63
        assert key.isascii()


@given(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1), st.sets(st.integers(9900, 9999)))
def test_internal_ports_never_collide_and_do_not_depend_on_the_order(names, taken):
    allocated = proxy_ports.allocate([{"name": name} for name in names], taken)
    used = [port for proxy in allocated.values() for port in proxy.values()]
    assert len(set(used)) == len(used)
    assert not set(used) & taken
    again = proxy_ports.allocate([{"name": name, "current": allocated[name]} for name in reversed(names)], taken)
    assert again == allocated


@pytest.mark.parametrize(("model", "release"), [("v2", V214), ("v3", V3)])
def test_a_proxy_may_claim_what_the_inventory_says_whatever_its_dataplane_claims(model, release):
    """Without tags as well: a Direct proxy runs with those that it has until it is restarted."""
    offered = [{"name": name, "port": port, "service_port": port + 10000} for name, port in (("web", 8080), ("api", 8081))]
    foreign = overview(plan([host(1, services=[{**offered[0], "name": "payments"}])])[0]["web-1"]["proxies"][0]["dataplane"])
    plans, _problems = plan([host(1, services=offered, workload="shop")], [foreign], model, release)
    assert plans["web-1"]["proxies"][0]["claims"] == {"services": ["api", "web"], "workload": "shop"}


def test_a_gateway_may_claim_its_own_service():
    plans, _problems = plan([host(1, services=[], gateway={"name": "edge"})])
    assert plans["web-1"]["proxies"][0]["claims"]["services"] == ["edge"]
