# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in control plane has the real Envoy do: listeners, protocols, metrics; and when its kuma-dp tries again."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import requests

from tests.contract.fleet import Fleet, log_of, new_address, status
from tests.contract.processes import LIMIT, application, free_port, until
from tests.double.kuma_dp.stream import Backoff


def listeners(fleet: Fleet, name: str) -> dict[str, dict[str, Any]]:
    """The listeners of a proxy's Envoy, by name."""
    found = {}
    for section in fleet.api.get(f"{fleet.api.dataplane(name)}/xds")["configs"]:
        for entry in section.get("dynamic_listeners", []):
            if "active_state" in entry:
                found[entry["name"]] = entry["active_state"]["listener"]
    return found


def kind(listener: dict[str, Any]) -> str:
    found: str = listener["filter_chains"][0]["filters"][0]["name"].rpartition(".")[2]
    return found


def statistic(fleet: Fleet, name: str, statistic_name: str) -> int | None:
    lines = fleet.api.get(f"{fleet.api.dataplane(name)}/stats").splitlines()
    found = [line.rpartition(": ")[2] for line in lines if line.rpartition(": ")[0] == statistic_name]
    return int(found[0]) if found else None


@pytest.mark.parametrize("fleet", ["2.14.3", "2.12.14"], indirect=True)
def test_directions_and_shared_ports(fleet: Fleet) -> None:
    web = fleet.dataplane("web-1", new_address(), upstream="web-1")
    fleet.join(web)
    until("all listeners are there", lambda: len(listeners(fleet, "web-1")) == 3)
    found = {
        name.partition(":")[0]: (item["traffic_direction"], item.get("enable_reuse_port"))
        for name, item in listeners(fleet, "web-1").items()
    }
    shared, outbound = (True, None) if fleet.version == "2.14.3" else (False, False)
    assert found == {"inbound": ("INBOUND", shared), "kuma": ("INBOUND", shared), "outbound": ("OUTBOUND", outbound)}


def test_without_the_feature_only_inbounds_are_not_shared(fleet: Fleet) -> None:
    web = fleet.dataplane("web-1", new_address(), upstream="web-1")
    fleet.join(web, KUMA_DATAPLANE_RUNTIME_REUSE_PORT_ENABLED="false")
    until("all listeners are there", lambda: len(listeners(fleet, "web-1")) == 3)
    found = {name.partition(":")[0]: item.get("enable_reuse_port") for name, item in listeners(fleet, "web-1").items()}
    assert found == {"inbound": False, "kuma": False, "outbound": None}


def test_an_outbound_by_tag_is_plain_tcp_without_a_ready_endpoint(fleet: Fleet) -> None:
    with application("hello") as port:
        web = fleet.dataplane("web-1", new_address(), port, service="web")
        client = fleet.dataplane("client", new_address(), upstream="web")
        outbound = client["networking"]["outbound"][0]["port"]
        fleet.register(web)
        fleet.join(client)

        def spoken() -> str:
            return kind(listeners(fleet, "client")[f"outbound:127.0.0.1:{outbound}"])

        until("nobody is ready", lambda: spoken() == "tcp_proxy")
        fleet.start("web-1")
        until("web is ready", lambda: spoken() == "http_connection_manager" and status("127.0.0.1", outbound) == 200)
        fleet.api.change_inbound("web-1", health={"ready": False})
        until("the last one is fenced", lambda: spoken() == "tcp_proxy")
        until("connections are closed without an answer", lambda: status("127.0.0.1", outbound) == 0)
        fleet.api.change_inbound("web-1", health=None)
        until("it is back", lambda: spoken() == "http_connection_manager" and status("127.0.0.1", outbound) == 200)


def test_an_outbound_by_reference_keeps_its_protocol(fleet: Fleet) -> None:
    fleet.change_mesh(meshServices={"mode": "Everywhere"})
    web = fleet.dataplane("web-1", new_address(), service="web")
    client = fleet.dataplane("client", new_address(), upstream="web")
    reference = {"kind": "MeshService", "name": "web", "port": 8080}
    client["networking"]["outbound"] = [{"port": (port := free_port()), "backendRef": reference}]
    fleet.register(web)
    fleet.join(client)
    until("the caller is told", lambda: status("127.0.0.1", port) == 503)
    assert kind(listeners(fleet, "client")[f"outbound:127.0.0.1:{port}"]) == "http_connection_manager"


def test_a_metrics_policy_opens_a_port_and_a_socket_that_always_has_a_connection(fleet: Fleet) -> None:
    address = new_address()
    process = fleet.join(fleet.dataplane("web-1", address))
    assert not any("metric" in name or "dynamic" in name for name in listeners(fleet, "web-1"))
    backends = [{"type": "Prometheus", "prometheus": {"port": 5670, "path": "/metrics"}}]
    policy = {"type": "MeshMetric", "mesh": fleet.mesh, "name": "all"}
    path = f"/meshes/{fleet.mesh}/meshmetrics/all"
    fleet.api.put(path, {**policy, "spec": {"targetRef": {"kind": "Mesh"}, "default": {"backends": backends}}})
    # As long as it may be.
    socket = f"{process.directory}/work/kuma-mesh-metric-config"[:98] + ".sock"  # type: ignore[attr-defined]
    active = f"listener.{socket}.downstream_cx_active"
    until("kuma-dp has its connection", lambda: statistic(fleet, "web-1", active) == 1)
    before = statistic(fleet, "web-1", "http._kuma_dynamicconfig.downstream_rq_total") or 0
    until("it asks again", lambda: (statistic(fleet, "web-1", "http._kuma_dynamicconfig.downstream_rq_total") or 0) > before)
    assert statistic(fleet, "web-1", f"listener.{socket}.downstream_cx_total") == 1, "over the same connection"

    until("the port is open", lambda: status(address, 5670, "/metrics") == 200)
    assert "envoy_server_live" in requests.get(f"http://{address}:5670/metrics", timeout=LIMIT).text
    assert statistic(fleet, "web-1", "http._kuma_metrics_prometheus_default-backend.downstream_rq_total") == 2
    found = listeners(fleet, "web-1")["_kuma:metrics:prometheus:default-backend"]
    assert (found["traffic_direction"], found["enable_reuse_port"]) == ("INBOUND", True)

    fleet.api.put(path, {**policy, "spec": {"targetRef": {"kind": "Dataplane", "name": "other"}, "default": {"backends": backends}}})
    until("the policy is for another", lambda: "_kuma:dynamicconfig" not in listeners(fleet, "web-1"))


def test_waiting_for_a_name_takes_longer_and_longer() -> None:
    longest = Backoff(fraction=lambda: 1.0)
    assert [longest.following() for _attempt in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    longest.reset()
    assert longest.following() == 0.5
    assert Backoff(fraction=lambda: 0.0).following() == 0
    assert len({Backoff().following() for _attempt in range(9)}) > 1, "nobody waits as long as the next"


def test_who_waited_for_a_name_gets_it(fleet: Fleet) -> None:
    def refusals(process: subprocess.Popen[bytes]) -> int:
        return log_of(process).count("closed: 2, there is already an active stream from this node, try again later")

    first = fleet.join(fleet.dataplane("web-1", new_address()))
    second = fleet.start("web-1")
    until("it is refused several times", lambda: refusals(second) >= 3)
    first.kill()
    first.wait()
    until("it has taken over", lambda: len(fleet.api.subscriptions("web-1")) == 2 and fleet.api.is_online("web-1"))
