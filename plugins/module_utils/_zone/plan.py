# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The plan for the zone proxies of an inventory: what each VM gets, and everything that speaks against it. Pure functions."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import claims, health, proxy_ports
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import inventory, resource

Json = t.Dict[str, t.Any]

# A series of their own: the other proxies of the VM, which are planned apart from these, count from 9901 (trap 35).
OWN_PORTS = {"admin": 9801, "readiness": 9802}


class Zones:
    """``hosts`` are ``[{host, in_play, dropped_out, variables, observed}]`` as for a fleet. ``variables`` hold beside those of the role
    ``mesh_names``, the Dataplanes of that host, and ``mesh_ports``, the ports that these have. ``overviews`` are those of the zone
    proxies that the control plane of ``zone`` knows."""

    def __init__(self, hosts: t.Sequence[t.Mapping[str, t.Any]], overviews: t.Sequence[resource.Overview], model: str, zone: str) -> None:
        self.model, self.zone = model, zone
        self.overviews = {str(overview["name"]): overview for overview in overviews}
        self.problems: t.List[str] = []
        self.hosts = [dict(host) for host in hosts]
        for host in self.hosts:
            variables = host.get("variables") or {}
            # One that is of the mesh alone counts for its names.
            host["proxies"], problems = inventory.read(host["host"], variables, model) if "type" in variables else ([], [])
            if host["in_play"] or host.get("dropped_out"):
                self.problems.extend(problems)

    def plan(self) -> t.Dict[str, Json]:
        """``{host: {proxies: [<plan of one proxy>]}}`` for the hosts in play; ``problems`` is complete afterwards."""
        self._check_names()
        plans = {}
        for host in self.hosts:
            if host["in_play"]:
                self._check_zone(host)
                ports = self._ports(host)
                self._check_ports(host, ports)
                plans[host["host"]] = {"proxies": [self._proxy(proxy, host, ports[proxy["name"]]) for proxy in host["proxies"]]}
        self.problems = sorted(set(self.problems))
        return plans

    def _check_names(self) -> None:
        in_play = {host["host"] for host in self.hosts if host["in_play"]}
        holders: t.Dict[str, t.List[t.Tuple[str, str]]] = {}
        for host in self.hosts:
            for proxy in host["proxies"]:
                holders.setdefault(proxy["name"], []).append((host["host"], "kuma_zone_proxy_name"))
            for name in (host.get("variables") or {}).get("mesh_names") or []:
                holders.setdefault(str(name), []).append((host["host"], "kuma_dp_name"))
        for name, found in sorted(holders.items()):
            ours = any(variable == "kuma_zone_proxy_name" for _host, variable in found)
            if name and ours and len(found) > 1 and in_play.intersection(host for host, _variable in found):
                self.problems.append(
                    f"{found[0][0]}: the name {name} is used {len(found)} times ({', '.join(f'{where} as {what}' for where, what in found)}), "
                    "expected a name of its own for every proxy: set kuma_zone_proxy_name"
                )

    def _check_zone(self, host: t.Mapping[str, t.Any]) -> None:
        wanted = str((host.get("variables") or {}).get("zone") or "")
        if wanted and self.zone and wanted != self.zone:
            self.problems.append(
                f"{host['host']}: kuma_zone_proxy_zone is {wanted!r}, expected {self.zone!r}, which is the zone of this control plane: "
                "correct it, or use the control plane of that zone"
            )

    def _ports(self, host: t.Mapping[str, t.Any]) -> t.Dict[str, t.Dict[str, int]]:
        observed = host.get("observed") or {}
        # The control plane opens <address>:<admin port>/ready as well, so these ports are kept free on every address.
        taken = {proxy["port"] for proxy in host["proxies"]} | set(_mesh_ports(host))
        wishes = [
            {"name": proxy["name"], "pins": proxy["port_pins"], "current": self._current(proxy["name"], observed)}
            for proxy in host["proxies"]
        ]
        return proxy_ports.allocate(wishes, taken, OWN_PORTS)

    def _current(self, name: str, observed: t.Mapping[str, t.Any]) -> t.Dict[str, int]:
        environment = ((observed.get("proxies") or {}).get(name) or {}).get("environment") or {}
        live = ((self.overviews.get(name) or {}).get("dataplane") or {}).get("networking") or {}
        found = {"readiness": environment.get("KUMA_READINESS_PORT"), "admin": (live.get("admin") or {}).get("port")}
        return {which: int(str(port)) for which, port in found.items() if str(port or "").isdigit()}

    def _check_ports(self, host: t.Mapping[str, t.Any], ports: t.Mapping[str, t.Mapping[str, int]]) -> None:
        name = host["host"]
        wanted = []
        for proxy in host["proxies"]:
            wanted.append(claims.Claim(proxy["address"], proxy["port"], f"{proxy['field']}port of {proxy['name']}"))
            wanted.extend(
                claims.Claim(checks.ANY_ADDRESS, port, f"{proxy['field']}{which}_port of {proxy['name']}")
                for which, port in sorted(proxy["port_pins"].items())
            )
        mesh = [claims.Claim(checks.ANY_ADDRESS, port, "kuma_dp_services") for port in _mesh_ports(host)]
        for index, claim in enumerate(wanted):
            for other in [*wanted[:index], *mesh]:
                if claim.collides(other):
                    self.problems.append(
                        f"{name}: port {claim.port} is claimed by {other.what} and by {claim.what}, expected different ports: change one of them"
                    )
        self.problems.extend(claims.taken(name, ports, wanted, host.get("observed") or {}))

    def _proxy(self, proxy: Json, host: t.Mapping[str, t.Any], ports: t.Mapping[str, int]) -> Json:
        name, kind = proxy["name"], proxy["kind"]
        overview = self.overviews.get(name)
        ready = overview is not None and status.online(overview)
        seen = ((host.get("observed") or {}).get("proxies") or {}).get(name) or {}
        held = seen.get("token") or {}
        token = {"name": name, "host": host["host"], "current": held.get("claims"), "current_kid": held.get("kid")}
        if self.model == "v3":
            token["mesh"] = proxy["mesh"]
        else:
            token.update(zone=self.zone, scope=[kind])
        connected = health.connected(overview, seen)
        refused = health.refused_token(connected, seen)
        if refused:
            token["refused"] = refused
        built = resource.build(proxy, ports["admin"], self.model)
        return {
            "name": name,
            "mesh": proxy["mesh"] if self.model == "v3" else "",
            "address": proxy["address"],
            "zone_proxy": kind,
            # What kuma-dp is told with --proxy-type; a Dataplane with a listener is a Dataplane.
            "proxy_type": "dataplane" if self.model == "v3" else kind,
            "dataplane": built,
            # It is registered by its kuma-dp, like a Direct Dataplane.
            "lifecycle": "direct",
            "file": built,
            "template": "",
            "arguments": "",
            "hold": "",
            "gates": [],
            "registered": overview is not None,
            "differs": False,
            "outbounds": [],
            "ports": dict(ports),
            "claims": {"services": [], "workload": ""},
            "token": token,
            "connected": connected,
            "ready": ready,
            "not_ready_reasons": status.ready(overview)[1] if overview else ["not registered"],
            "privileged_ports": proxy["port"] < 1024,
        }


def _mesh_ports(host: t.Mapping[str, t.Any]) -> t.List[int]:
    """What is no port is for the plan of the mesh to tell."""
    return [int(port) for port in (host.get("variables") or {}).get("mesh_ports") or [] if checks.is_port(port)]
