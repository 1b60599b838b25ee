# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The Dataplanes of a mesh before its migration, and what follows from all of them together. Pure functions."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane.resource import SERVICE_TAG, WORKLOAD_LABEL

Dataplane = t.Mapping[str, t.Any]


class Mesh:
    """The Dataplanes of one mesh beside what the inventory says, with what is derived from all of them together.

    ``overviews``: DataplaneOverviews. ``proxies``: proxies of the inventory as ``inventory.read`` gives them, each with ``owner``.
    ``mesh_services``: MeshService resources.
    """

    def __init__(
        self,
        name: str,
        overviews: t.Sequence[t.Mapping[str, t.Any]],
        proxies: t.Sequence[t.Mapping[str, t.Any]] = (),
        mesh_services: t.Sequence[t.Mapping[str, t.Any]] = (),
    ) -> None:
        self.name = name
        self.overviews = {str(overview["name"]): overview for overview in overviews}
        self.live: t.Dict[str, Dataplane] = {key: status.dataplane(overview) for key, overview in self.overviews.items()}
        self.proxies = {str(proxy["name"]): proxy for proxy in proxies}
        self.workloads = {key: self._workload(key, dataplane) for key, dataplane in self.live.items()}
        self.services = {str(service.get("name")): _service_ports(service) for service in mesh_services}
        self.targets = self._targets()
        self.odd_ports = self._odd_ports()

    def _workload(self, name: str, dataplane: Dataplane) -> str:
        """The workload that a Dataplane has, or gets from the inventory, or is likely to get: the name of its first service."""
        label = labels_of(dataplane).get(WORKLOAD_LABEL)
        planned = self.proxies.get(name, {}).get("workload")
        return str(label or planned or next(iter(services_of(dataplane)), ""))

    def _targets(self) -> t.Dict[str, t.List[t.Tuple[str, int]]]:
        """For each service of today: the workloads and ports under which 3.0 offers it."""
        targets: t.Dict[str, t.Set[t.Tuple[str, int]]] = {}
        for name, dataplane in self.live.items():
            for inbound in inbounds_of(dataplane):
                service = (inbound.get("tags") or {}).get(SERVICE_TAG) or self.workloads[name]
                targets.setdefault(str(service), set()).add((self.workloads[name], int(inbound.get("port") or 0)))
        return {service: sorted(found) for service, found in targets.items()}

    def _odd_ports(self) -> t.Dict[str, t.Tuple[t.List[int], t.List[int]]]:
        """Dataplanes whose ports are not those of most others of their workload: their own and the others' ports (trap 42)."""
        groups: t.Dict[str, t.Dict[str, t.Tuple[int, ...]]] = {}
        for name, dataplane in self.live.items():
            ports = tuple(sorted({int(inbound.get("port") or 0) for inbound in inbounds_of(dataplane)}))
            if ports and self.workloads[name]:
                groups.setdefault(self.workloads[name], {})[name] = ports
        odd = {}
        for members in groups.values():
            counted = collections.Counter(members.values())
            usual = min(counted, key=lambda ports: (-counted[ports], ports))
            odd.update({name: (list(ports), list(usual)) for name, ports in members.items() if ports != usual})
        return odd

    def host(self, name: str) -> str:
        return str(self.proxies.get(name, {}).get("host") or "")


def inbounds_of(dataplane: Dataplane) -> t.List[t.Mapping[str, t.Any]]:
    return list((dataplane.get("networking") or {}).get("inbound") or [])


def services_of(dataplane: Dataplane) -> t.List[str]:
    """The services that the tags of a Dataplane's inbounds name, each once, in their order."""
    names = [(inbound.get("tags") or {}).get(SERVICE_TAG) for inbound in inbounds_of(dataplane)]
    return list(dict.fromkeys(str(name) for name in names if name))


def labels_of(dataplane: Dataplane) -> t.Dict[str, str]:
    return {str(key): str(value) for key, value in (dataplane.get("labels") or {}).items()}


def _service_ports(service: t.Mapping[str, t.Any]) -> t.List[int]:
    ports = (service.get("spec") or {}).get("ports") or []
    return sorted({int(port["port"]) for port in ports if isinstance(port, dict) and str(port.get("port") or "").isdigit()})
