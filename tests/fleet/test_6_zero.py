# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarts of a proxy under load by clients that forgive nothing, beside restarts that are known to lose requests.

Without the controls a test that finds no failure would only show that nobody looked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import cover
from tests.fleet.fleet import Fleet, service
from tests.lab.load import Load, Profile, http2, keepalive, load, new, pooled, slow, slow_http2, tcp
from tests.lab.processes import wait_until
from tests.lab.traffic import ask, outbounds

CALLER, ONLY = "vm1", "vm2"
ECHO_PORT = 18090
DRAIN_TIME = 25


def alone(groups: dict[str, Any]) -> None:
    """vm2 is the only instance of three more services, and vm1 calls them."""
    services = groups["web"]["vars"]["kuma_dp_services"]
    groups["web"]["hosts"][ONLY]["kuma_dp_services"] = [
        *services,
        service("solo", 8081),
        service("solo-http2", 8082) | {"protocol": "http2"},
        service("solo-tcp", 8083, ECHO_PORT) | {"protocol": "tcp"},
    ]
    groups["shop"]["vars"]["kuma_dp_upstreams"] += ["solo", "solo-http2", "solo-tcp"]


@pytest.fixture(scope="module")
def solo(fleet: Fleet) -> Iterator[Fleet]:
    run, _seen = fleet.join(inventory=fleet.inventory(alone))
    assert run.code == 0, run.explain()
    wait_for_answers(fleet)
    yield fleet
    fleet.join()


def port(fleet: Fleet, name: str = "SOLO") -> int:
    return outbounds(fleet.host(CALLER))[name]


def wait_for_answers(fleet: Fleet) -> None:
    """Until the service answers on all its ports again and again."""
    ports = [port(fleet, "SOLO"), port(fleet, "SOLO_HTTP2")]

    def answers() -> bool:
        return all(not ask(fleet.host(CALLER), number, 10).failures for number in ports)

    wait_until(answers, 40, f"answers of {ONLY}", interval=0.5)


def requests(fleet: Fleet) -> list[Profile]:
    """All ways to send requests, at the same time."""
    http1, shared = port(fleet), port(fleet, "SOLO_HTTP2")
    return [new(http1), keepalive(http1), pooled(http1), slow(http1), http2(shared), slow_http2(shared)]


def restart_as_documented(fleet: Fleet, name: str) -> Load:
    """The unit of Kuma's documentation leaves systemd's default: every process gets the signal, Envoy too."""
    host = fleet.host(name)
    dropin = f"/run/systemd/system/kuma-dp@{name}.service.d"
    host.run(f"mkdir -p {dropin}; printf '[Service]\\nKillMode=control-group\\n' > {dropin}/documented.conf; systemctl daemon-reload")
    try:
        with load(fleet.host(CALLER), *requests(fleet)) as seen:
            host.run(f"systemctl restart kuma-dp@{name}")
            wait_for_answers(fleet)
    finally:
        host.run(f"rm -r {dropin}; systemctl daemon-reload")
    return seen


def cover_of(fleet: Fleet, name: str) -> dict[str, Any]:
    """Its Dataplane, from the live one, and its token."""
    dataplane = cover.dataplane(fleet.dataplanes()[name])
    return {"dataplane": dataplane, "token": fleet.stage.control_plane.token("/tokens/dataplane", name=dataplane["name"], mesh="default")}


def restart(fleet: Fleet, name: str, strategy: str, drain_time: float = DRAIN_TIME) -> dict[str, Any]:
    """Restart a proxy with the module alone; its result."""
    proxy = {"name": name, "strategy": strategy, "reasons": [], **({"cover": cover_of(fleet, name)} if strategy == "cover" else {})}
    task = {"name": "Restart", "meshfleet.kuma.proxy_restart": {"proxies": "{{ proxies }}", "drain_time": drain_time}}
    playbook = fleet.ansible.directory / "restart-one.yml"
    playbook.write_text(yaml.safe_dump([{"name": "Restart", "hosts": name, "gather_facts": False, "tasks": [task]}], sort_keys=False))
    run = fleet.ansible.playbook(playbook, extra={"proxies": [proxy]})
    assert run.code == 0, run.explain()
    results: list[dict[str, Any]] = run.results[-1]["result"]["results"]
    assert [result["name"] for result in results] == [name]
    print(json.dumps(results[0]))
    return results[0]


def wait_for_the_end_of_the_cover(fleet: Fleet, name: str) -> None:
    """It is retired in the background, and the control plane forgets it some time after that."""
    units = f"kuma-dp-cover@{name} kuma-dp-restart@{name}"
    wait_until(
        lambda: set(fleet.host(name).run(f"systemctl is-active {units}", check=False).split()) == {"inactive"},
        60,
        f"the cover of {name} to end",
        interval=0.5,
    )


def upstream_trouble(fleet: Fleet) -> dict[str, int]:
    """Failed connections and retries that the caller's Envoy counted so far, where there are any."""
    lines = str(fleet.stage.control_plane.call("GET", f"/meshes/default/dataplanes/{CALLER}/stats")).splitlines()
    pairs = [line.rsplit(": ", 1) for line in lines if line.startswith("cluster.solo") and ": " in line]
    counted = {name: int(value) for name, value in pairs if name.endswith((".upstream_cx_connect_fail", ".upstream_rq_retry"))}
    assert counted
    return {name: value for name, value in counted.items() if value}


def check_restarted(result: dict[str, Any], strategy: str) -> None:
    assert result["outcome"] == "restarted", result
    assert result["strategy"] == strategy
    assert result["served_by"] == "main"
    assert result["fell_back"] is False
    assert result["problem"] is None


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(ONLY, id="the only instance of a service"),
        pytest.param(CALLER, id="the caller's own proxy", marks=pytest.mark.nightly),
    ],
)
def test_a_restart_under_cover_loses_no_request(solo: Fleet, name: str) -> None:
    fleet = solo
    documented = restart_as_documented(fleet, name)
    print(documented)
    fleet.wait_ready(name)
    assert documented["new"].failures, f"the clients do not notice a restart that cuts everything\n{documented}"
    assert documented["keepalive"].failures
    assert documented["slow"].failures

    with load(fleet.host(CALLER), *requests(fleet)) as drained:
        check_restarted(restart(fleet, name, "drained"), "drained")
        wait_for_answers(fleet)
    print(drained)
    fleet.wait_ready(name)
    assert drained["new"].failures, f"nobody served meanwhile, and nobody noticed\n{drained}"

    # A new Envoy of the caller counts anew.
    trouble = upstream_trouble(fleet) if name != CALLER else {}
    with load(fleet.host(CALLER), *requests(fleet)) as covered:
        result = restart(fleet, name, "cover")
        wait_for_the_end_of_the_cover(fleet, name)
    print(covered)
    assert covered.failures == []
    check_restarted(result, "cover")
    assert result["connections_cut"] == 0
    if name != CALLER:
        assert upstream_trouble(fleet) == trouble
    for profile, seen in covered.results.items():
        assert list(seen.by_host) == [ONLY], profile
        # Enough of them for a gap of some milliseconds to show.
        assert seen.sent > 3 * result["seconds"], profile
    wait_until(lambda: f"{name}-cover" not in fleet.dataplanes(), 30, "the cover's Dataplane to go", interval=0.5)


@pytest.mark.nightly
def test_conversations_that_outlast_the_drain_are_counted(solo: Fleet) -> None:
    """Plain TCP cannot be told to go: the bound of the drain cuts it, once per side."""
    fleet = solo
    profiles = [new(port(fleet), rate=50), tcp(port(fleet, "SOLO_TCP"))]
    with load(fleet.host(CALLER), *profiles) as seen:
        result = restart(fleet, ONLY, "cover", drain_time=4)
        wait_for_the_end_of_the_cover(fleet, ONLY)
    print(seen)
    assert seen["new"].failures == []
    check_restarted(result, "cover")
    # Connections of a pool that nobody used meanwhile, and so nobody told anything, are cut as well.
    assert result["connections_cut"] >= profiles[1].connections
    # These were opened again through the cover, which was retired with the same bound.
    assert len(seen["tcp"].failures) == 2 * profiles[1].connections, seen.failures
