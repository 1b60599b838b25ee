# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The hosts of a fleet as the plans want them: what looks at VMs found, and of the rest of the fleet what the inventory says.

Hosts that a play does not handle take part: their names, addresses and ports must not be used twice, and their services count for the
outbound ports. Pure functions.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks, naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import shown_url
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone.inventory import UNKNOWN_ADDRESS
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import options

Json = t.Dict[str, t.Any]
# What the inventory says about a variable of one host, or the default that is given as the second argument.
Known = t.Callable[[str, t.Any], t.Any]


class Hosts(t.NamedTuple):
    """``looks`` are the results ``{options, host}`` of hosts in the play by host, ``known(host)`` is the inventory.

    ``mesh`` and ``zone`` are the groups of a fleet, ``in_play_at_first`` are all hosts with which the play began: one that dropped out since
    did so because its variables are wrong, which is for the plan to say, or as unreachable.
    """

    looks: t.Mapping[str, Json]
    known: t.Callable[[str], Known]
    mesh: t.Sequence[str]
    zone: t.Sequence[str]
    in_play_at_first: t.Sequence[str]

    def of_mesh(self) -> t.List[Json]:
        """As plans of the mesh take them."""
        return [self._of_mesh(host) for host in sorted({*self.mesh, *self.in_play_at_first})]

    def of_zone(self) -> t.List[Json]:
        """As plans of zone proxies take them: hosts of the mesh count with the names and ports of their Dataplanes."""
        zone = {*self.zone, *self.in_play_at_first}
        return [self._of_zone(host, host in zone) for host in sorted({*self.mesh, *zone})]

    def _of_mesh(self, host: str) -> Json:
        look = self.looks.get(host)
        if look is not None:
            return {"host": host, "in_play": True, "variables": look["options"], "observed": look["host"]}
        return self._elsewhere(host, mesh_elsewhere(host, self.known(host)))

    def _of_zone(self, host: str, zone: bool) -> Json:
        known, look = self.known(host), self.looks.get(host)
        mesh = _mesh_of(host, known) if host in self.mesh else {"mesh_names": [], "mesh_ports": []}
        if look is not None:
            return {"host": host, "in_play": True, "variables": {**look["options"], **mesh}, "observed": look["host"]}
        if not zone:
            return {"host": host, "in_play": False, "observed": None, "variables": mesh}
        return self._elsewhere(host, {**zone_elsewhere(host, known), **mesh})

    def _elsewhere(self, host: str, variables: Json) -> Json:
        dropped = host in self.in_play_at_first
        return {"host": host, "in_play": False, "dropped_out": dropped, "observed": None, "variables": variables}


def one_mesh(hosts: t.Iterable[Known]) -> str:
    """The mesh of all these hosts, which is one of one control plane. Raises ItemsFailed when it is not."""
    table = {"mesh": options.JOIN["mesh"], "url": options.API["url"]}
    found = [options.read_elsewhere(table, known) for known in hosts]
    meshes = list(dict.fromkeys(str(told["mesh"]) for told in found))
    urls = list(dict.fromkeys(str(told.get("url") or "") for told in found))
    if len(meshes) != 1 or len(urls) != 1 or not urls[0]:
        raise ItemsFailed(
            f"The hosts have kuma_dp_mesh {', '.join(meshes)} and kuma_dp_control_plane_url {', '.join(shown_url(url) or 'not set' for url in urls)}, "
            "expected one of each. Handle one at a time with --limit."
        )
    return str(meshes[0])


def of_report(in_play: t.Mapping[str, Known], others: t.Mapping[str, Known]) -> t.List[Json]:
    """The hosts as the report about a migration takes them. Those outside of the play offer services that those inside call."""
    return [
        {"host": host, "in_play": inside, "variables": mesh_elsewhere(host, known)}
        for inside, hosts in ((True, in_play), (False, others))
        for host, known in hosts.items()
    ]


def mesh_elsewhere(host: str, known: Known) -> Json:
    """The variables of a host of which the inventory alone is known. An address that only the VM could tell is one that nobody has."""
    variables = options.read_elsewhere(options.JOIN, known)
    variables.setdefault("name", host)
    address = variables["address"] or _reached_at(host, known)
    variables["address"] = address if checks.is_ip(str(address)) else UNKNOWN_ADDRESS
    variables["redirected"] = options.read_elsewhere(options.TRANSPARENT_ENABLED, known)["enabled"]
    return variables


def zone_elsewhere(host: str, known: Known) -> Json:
    """The same of a host with zone proxies."""
    variables = options.read_elsewhere(options.ZONE, known)
    variables.setdefault("name", zone_name(host, variables["type"]))
    address = variables["address"] or _reached_at(host, known)
    variables["address"] = address if variables["address"] or checks.is_ip(str(address)) else UNKNOWN_ADDRESS
    return variables


def zone_name(host: str, kind: str) -> str:
    """The name of a zone proxy that nobody gave one."""
    return f"{host}-{kind}" if kind else host


def mesh_names(host: str, known: Known) -> t.List[str]:
    """The proxies of the mesh that a host has, by the inventory alone."""
    return _named(known("kuma_dp_proxies", [])) or [str(known("kuma_dp_name", host))]


def zone_names(host: str, known: Known) -> t.List[t.Tuple[str, str]]:
    """``(name, type)`` of the zone proxies that a host has, by the inventory alone."""
    single = {"type": known("kuma_zone_proxy_type", "")}
    found = []
    for proxy in known("kuma_zone_proxy_proxies", []) or [single]:
        kind = str(proxy.get("type") or "")
        found.append((str(proxy.get("name") or known("kuma_zone_proxy_name", "") or zone_name(host, kind)), kind))
    return found


def proxy_names(variables: Json) -> t.List[str]:
    """The names of the proxies of a host in the play, mesh or zone."""
    return _named(variables["proxies"]) if variables["proxies"] else [variables["name"]]


def check_names(host: str, names: t.Iterable[str], role: str, proxies: t.Any) -> None:
    """Raise ItemsFailed with all ``names`` that no proxy of a VM can have. ``proxies`` is ``<role>_proxies``: without them ``<role>_name`` is it."""
    variable = f"a name in {role}_proxies" if proxies else f"{role}_name"
    faults = [naming.fault(name, naming.PROXY) for name in names]
    wrong = [f"{host}: {variable} {fault}" for fault in faults if fault]
    if wrong:
        raise ItemsFailed("; ".join(wrong))


def address(given: t.Any, host: str, known: Known, default_address: t.Optional[str]) -> str:
    """Where others reach a VM: as the inventory says, else as Ansible reaches it if that is an IP address, else as the VM tells."""
    if given:
        return str(given)
    reached = str(_reached_at(host, known))
    return reached if checks.is_ip(reached) else default_address or ""


def _reached_at(host: str, known: Known) -> t.Any:
    return known("ansible_host", host) or host


def _mesh_of(host: str, known: Known) -> Json:
    found = services(known("kuma_dp_services", []), known("kuma_dp_proxies", []))
    ports = [service[key] for key in ("port", "service_port") for service in found if key in service]
    return {"mesh_names": mesh_names(host, known), "mesh_ports": ports}


def services(own: t.Any, proxies: t.Any) -> t.List[Json]:
    """All services of a host. What has not the shape of services is for the plan to tell."""
    found = [*_items(own)]
    for proxy in _items(proxies):
        found += _items(proxy.get("services"))
    return found


def _items(value: t.Any) -> t.List[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _named(proxies: t.Any) -> t.List[str]:
    return [str(proxy["name"]) for proxy in _items(proxies) if "name" in proxy]


def ports_of_unit(own: t.Any, proxies: t.Any, zone_port: t.Any, zone_proxies: t.Any) -> t.List[int]:
    """Where proxies of a VM listen, those of the mesh and of the zone. It follows from the inventory, for the unit is one for all of them."""
    numbers = [service.get("port") for service in services(own, proxies)]
    numbers += [proxy.get("port") for proxy in _items(zone_proxies)] + [zone_port]
    return [port for port in map(checks.port_of, numbers) if port is not None]
