# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of zone proxies and their rolls against stand-in control planes with connected zone proxies."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client, NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims
from tests.unit.module_runner import run
from tests.unit.roll.controller import Rolling
from tests.unit.roll.mesh import Proxy

numbers = itertools.count(1)
# How the stand-in keeps the streams of zone proxies.
STREAMS = {"ingress": "!ingress", "egress": "!egress"}


class Zone:
    """Zone proxies that are connected to a control plane of 2.x; nothing of them is left in the end."""

    def __init__(self, control_plane):
        self.control_plane = control_plane
        self.client = Client(control_plane.url, control_plane.token)
        self.dp = ("127.0.0.1", self.client.get("/config").body["dpServer"]["port"])
        self.proxies, self.paths = {}, []

    def name(self, what):
        return f"{what}-{next(numbers)}"

    def token(self, *scope, zone="default"):
        return self.client.post_text("/tokens/zone", {"zone": zone, "scope": list(scope), "validFor": "1h"})

    def connect(self, name, kind="ingress", token=None):
        resource = {"type": {"ingress": "ZoneIngress", "egress": "ZoneEgress"}[kind], "name": name}
        resource["networking"] = {"address": "10.9.0.1", "port": 10001, "admin": {"port": 9801}}
        self.proxies[name] = Proxy(self.dp, name, STREAMS[kind], token or self.token(kind), "2.14.3", resource)
        self.paths.append({"ingress": "/zoneingresses/", "egress": "/zoneegresses/"}[kind] + name)
        return name

    def disconnect(self, name):
        self.proxies.pop(name).close()

    def close(self):
        for proxy in self.proxies.values():
            proxy.close()
        for path in self.paths:
            with contextlib.suppress(NotFound):
                self.client.delete(path)
        self.client.close()


@pytest.fixture
def zone(control_plane):
    made = Zone(control_plane)
    yield made
    made.close()


def wish(name="gate", **more):
    return {"name": name, "zone": "default", "scope": ["ingress"], **more}


def test_zone_tokens_are_issued_once_and_kept(control_plane):
    options = control_plane.options(tokens=[wish("a"), wish("b", scope=["egress"])], valid_for="30d")
    assert run("zone_tokens", options, check=True)["tokens"] == {}
    first = run("zone_tokens", options, diff=True)
    assert first["changed"]
    assert "eyJ" not in str(first["diff"])
    claims = {name: decode_claims(token) for name, token in first["tokens"].items()}
    assert {name: (found["Zone"], found["Scope"]) for name, found in claims.items()} == {
        "a": ("default", ["ingress"]),
        "b": ("default", ["egress"]),
    }
    kept = [wish("a", current=claims["a"]), wish("b", scope=["egress"], current=claims["b"])]
    again = run("zone_tokens", control_plane.options(tokens=kept, valid_for="30d"))
    assert not again["changed"]
    assert again["requests"] == 0
    wider = run("zone_tokens", control_plane.options(tokens=[wish("b", current=claims["b"])]))
    assert wider["results"][0]["reason"] == "scope is egress, expected ingress"


def test_without_the_right_no_zone_token_is_issued_and_none_is_shown(control_plane):
    user = Client(control_plane.url, control_plane.token).post_text("/tokens/user", {"name": "somebody", "groups": [], "validFor": "1h"})
    failed = run("zone_tokens", {**control_plane.options(tokens=[wish("a"), wish("b")]), "token": user})
    assert failed["failed"]
    assert "2 of 2 tokens could not be issued. a, b: " in failed["msg"]
    assert failed["failure"]["kind"] == "authorization"
    bad = run("zone_tokens", control_plane.options(tokens=[wish(), wish(), wish("c", valid_for="1h")]))
    assert bad["failed"]
    assert [found["field"] for found in bad["failure"]["invalid_parameters"]] == ["tokens[1].name"]


def test_trap_26_a_zone_token_of_another_scope_or_zone_lets_nobody_in(zone):
    for token, said in (
        (zone.token("egress"), "ingress is out of token"),
        (zone.token("ingress", zone="west"), "zone from requestor: default is different than in token: west"),
    ):
        with pytest.raises(AssertionError, match=said):
            zone.connect(zone.name("gate"), token=token)


def test_zone_proxies_are_listed_and_waited_for(zone):
    ingress, egress = zone.connect(zone.name("in")), zone.connect(zone.name("out"), "egress")
    options = zone.control_plane.options(names=[ingress, egress], wait="online", wait_timeout=20, poll_interval=0.1)
    found = run("zone_proxy_info", options)
    assert [(item["name"], item["kinds"], item["online"], item["version"]) for item in found["zone_proxies"]] == [
        (ingress, ["ingress"], True, "2.14.3"),
        (egress, ["egress"], True, "2.14.3"),
    ]
    assert found["zone_proxies"][0]["groups"] == ["zone ingress of default"]
    assert found["requests"] == 4, "version, zone and one listing for each kind"
    zone.disconnect(egress)
    late = run("zone_proxy_info", {**options, "names": [ingress, egress, "nobody"], "wait_timeout": 0.2})
    assert late["failed"]
    assert "2 of 3 zone proxies are not online after 0.2 s" in late["msg"]
    assert "nobody: not registered" in late["msg"]
    assert f"{egress}: not connected since" in late["msg"]
    assert late["missing"] == ["nobody"]
    assert not run("zone_proxy_info", {**options, "names": ["nobody"], "wait": "gone"}).get("failed")


def test_trap_57_the_last_zone_proxy_is_not_deleted_without_a_word(zone):
    first, second = zone.connect(zone.name("in")), zone.connect(zone.name("in"))
    options = zone.control_plane.options(names=[first, second])
    for check in (True, False):
        refused = run("zone_proxies", options, check=check)
        assert refused["failed"]
        assert f"{first}, {second} would leave zone ingress of default without any proxy that is connected" in refused["msg"]
    one = {**options, "names": [first]}
    would = run("zone_proxies", one, check=True, diff=True)
    assert (would["changed"], would["deleted"]) == (True, [first])
    zone.client.get(f"/zoneingresses/{first}")
    assert run("zone_proxies", one)["deleted"] == [first]
    again = run("zone_proxies", one)
    assert (again["changed"], again["deleted"]) == (False, [])
    last = run("zone_proxies", {**options, "names": [second], "allow_last": True})
    assert (last["deleted"], len(last["last"])) == ([second], 1)


def gate(**more):
    variables = {"name": "gate-in", "type": "ingress", "address": "10.0.0.21", "version": "2.14.3", **more}
    return {"host": "gate", "variables": variables}


def test_the_plan_looks_at_the_control_plane(zone):
    name = zone.connect(zone.name("in"))
    done = run("zone_proxy_plan", zone.control_plane.options(hosts=[gate(name=name)]))
    assert done["not_ready"] == []
    assert done["control_plane"]["zone"] == "default"
    assert done["plan"]["gate"]["proxies"][0]["token"]["zone"] == "default"
    bad = run("zone_proxy_plan", zone.control_plane.options(hosts=[gate(zone="west", port="x")]))
    assert bad["failed"]
    assert len(bad["problems"]) == 2
    assert "nothing was written. 2 problems were found" in bad["msg"]
    user = zone.client.post_text("/tokens/user", {"name": "somebody", "groups": [], "validFor": "1h"})
    refused = run("zone_proxy_plan", {**zone.control_plane.options(hosts=[gate()]), "token": user})
    assert "which may not issue zone tokens" in refused["msg"]


def test_the_plan_under_3_0(control_plane_of):
    control_plane = control_plane_of("3.0-dev")
    proxy = run("zone_proxy_plan", control_plane.options(hosts=[gate()]))["plan"]["gate"]["proxies"][0]
    assert proxy["dataplane"]["networking"]["listeners"][0]["type"] == "ZoneIngress"
    client = Client(control_plane.url, control_plane.token)
    client.put("/meshes/default/dataplanes/gate-in", proxy["dataplane"])
    kept = client.get("/meshes/default/dataplanes/gate-in").body["networking"]
    assert kept == proxy["dataplane"]["networking"], "nothing is dropped without a word"
    listed = run("zone_proxy_info", control_plane.options())["zone_proxies"]
    assert [(item["name"], item["groups"], item["online"]) for item in listed] == [("gate-in", ["zone ingress of default"], False)]
    assert run("zone_proxies", control_plane.options(names=["gate-in"]))["deleted"] == ["gate-in"]
    client.close()


@pytest.mark.usefixtures("_short_waits")
def test_a_roll_lists_zone_proxies_only_when_it_has_some_and_covers_them_with_a_token_of_their_zone(zone, make_mesh, tmp_path):
    name, mesh = zone.connect(zone.name("in")), make_mesh(web_0="web", web_1="web")
    plain = Rolling(mesh, tmp_path / "plain")
    plain.start(plain.hosts("web-0"))
    assert mesh.way.count("GET", "/zone") == 0
    plain.finish()
    rolling = Rolling(mesh, tmp_path / "zone")
    begun = rolling.start(rolling.hosts(name, zone_proxy="ingress"))
    assert begun["order"] == [name]
    assert mesh.way.count("GET", "/zoneegresses") == 0
    (proxy,) = rolling.covered(name)
    cover = proxy["cover"]
    assert cover["dataplane"] == {
        "type": "ZoneIngress",
        "name": f"{name}-cover",
        "networking": {"address": "10.9.0.1", "port": 10001, "admin": {"port": 9801}},
    }
    claims = decode_claims(cover["token"])
    assert (claims["Zone"], claims["Scope"]) == ("default", ["ingress"])
    zone.connect(f"{name}-cover", token=cover["token"])
    assert zone.client.get(f"/zoneingresses/{name}-cover").body["networking"]["port"] == 10001
    rolling.finish()


@pytest.mark.usefixtures("_short_waits")
def test_trap_57_the_last_zone_proxy_is_drained_only_when_that_is_allowed(zone, make_mesh, tmp_path):
    name, other, mesh = zone.connect(zone.name("in")), zone.connect(zone.name("in")), make_mesh()
    rolling = Rolling(mesh, tmp_path)
    both = [*rolling.hosts(name, cover=False, zone_proxy="ingress"), *rolling.hosts(other, cover=False, zone_proxy="ingress")]
    assert sorted(rolling.start(both)["order"]) == sorted([name, other])
    rolling.finish()
    zone.disconnect(other)
    alone = rolling.start(both[:1])
    assert alone["order"] == [name]
    admitted = rolling.admit(name)
    assert admitted.outcome == "deferred", "the other one counts and is not connected"
    assert "1 of 2 instances of zone ingress of default do not serve" in admitted.reason
    rolling.finish()
    allowed = Rolling(mesh, tmp_path, allow_singleton=True)
    zone.client.delete(f"/zoneingresses/{other}")
    assert rolling.start(both[:1])["refused"][name].startswith("it has the only instance of zone ingress of default")
    assert allowed.start(both[:1])["order"] == [name]
    assert allowed.admit(name).outcome == "admitted"
    assert mesh.way.count("PUT", "/dataplanes/") == 0, "there is nothing to fence"
    allowed.finish()
