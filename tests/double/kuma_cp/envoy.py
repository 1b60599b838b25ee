# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Envoy's configuration: what a proxy listens on, where it sends to, and the bootstrap that makes it ask for the rest."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from . import metrics, transparent
from .status import inbound_ready
from .store import Resource, Store
from .xds import (
    CONTROL_PLANE_CLUSTER,
    TYPES,
    Json,
    cluster_of,
    config_source,
    direct_response,
    endpoint,
    filter_of,
    http_filter,
    listener,
    resolved,
    socket_address,
)

REUSE_PORT_FEATURE = "feature-reuse-port"


def workload(inbound: Json, proxy: Resource) -> str:
    """The application's own address and port."""
    networking = proxy.spec["networking"]
    address = inbound.get("serviceAddress") or inbound.get("address") or networking["address"]
    return f"{address}:{inbound.get('servicePort') or inbound['port']}"


def probes(proxy: Resource) -> list[Json]:
    """What the health check of a proxy tries besides Envoy itself."""
    found = []
    for inbound in proxy.spec["networking"].get("inbound", []):
        if "serviceProbe" in inbound:
            address, _colon, port = workload(inbound, proxy).rpartition(":")
            probe = inbound["serviceProbe"]
            found.append(
                {
                    "address": address,
                    "port": int(port),
                    "timeout": float(probe.get("timeout", "2s")[:-1]),
                    "unhealthyThreshold": probe.get("unhealthyThreshold", 1),
                    "healthyThreshold": probe.get("healthyThreshold", 1),
                }
            )
    return found


@dataclass
class Snapshot:
    """A proxy's configuration: resources by kind (lds, cds, eds) and name, and a version for each kind."""

    resources: dict[str, dict[str, Json]] = field(default_factory=lambda: {kind: {} for kind in TYPES})
    versions: dict[str, str] = field(default_factory=dict)

    def seal(self) -> Snapshot:
        for kind, resources in self.resources.items():
            self.versions[kind] = _version(resources)
        return self

    def answer(self, kind: str, names: Iterable[str]) -> tuple[str, list[Json]]:
        """Version and resources of a discovery response."""
        wanted = list(names)
        known = self.resources[kind]
        if not wanted:
            return self.versions.get(kind, ""), list(known.values())
        chosen = {name: known[name] for name in wanted if name in known}
        return _version(chosen), list(chosen.values())


def _version(resources: dict[str, Json]) -> str:
    return hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]


class View:
    """The endpoints of all services at one moment."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._services: dict[str, dict[tuple[str, ...], list[tuple[Resource, Json]]]] = {}

    def _index(self, mesh: str) -> dict[tuple[str, ...], list[tuple[Resource, Json]]]:
        """Inbounds by ("tag", service) and ("workload", name)."""
        if mesh not in self._services:
            index: dict[tuple[str, ...], list[tuple[Resource, Json]]] = {}
            for proxy in self.store.tables["Dataplane"].within(mesh):
                for inbound in proxy.spec["networking"].get("inbound", []):
                    service = inbound.get("tags", {}).get("kuma.io/service")
                    if service:
                        index.setdefault(("tag", service), []).append((proxy, inbound))
                    name = proxy.labels.get("kuma.io/workload")
                    if name:
                        index.setdefault(("workload", name), []).append((proxy, inbound))
            self._services[mesh] = index
        return self._services[mesh]

    def _backends(self, mesh: str, outbound: Json) -> tuple[str, list[tuple[Resource, Json]]]:
        """Cluster name and inbounds behind an outbound; no name when there is no such service."""
        reference = outbound.get("backendRef")
        index = self._index(mesh)
        if reference is None:
            tags = outbound.get("tags", {})
            service = tags.get("kuma.io/service", "")
            found = index.get(("tag", service), [])
            return service, [(p, i) for p, i in found if all(i["tags"].get(k) == v for k, v in tags.items())]
        if reference.get("kind") != "MeshService":
            return "", []
        name, port = reference.get("name") or "", reference.get("port", 0)
        cluster = f"kri_msvc_{mesh}_{self.store.zone}__{name}_{port}"
        if self.store.release.v3:
            found = index.get(("workload", name), [])
        else:
            owner = self.store.mesh(mesh)
            mode = ((owner.spec.get("meshServices") or {}).get("mode") if owner else None) or "Disabled"
            found = [] if mode == "Disabled" else index.get(("tag", name), [])
        found = [(p, i) for p, i in found if i["port"] == port]
        return (cluster, found) if found else ("", [])

    @staticmethod
    def _protocol(outbound: Json, backends: list[tuple[Resource, Json]]) -> str:
        """
        What an outbound speaks: by backendRef what the service says, by tag what its ready endpoints have in common.

        Without a ready endpoint nothing is known, and an outbound by tag is plain TCP.
        """
        if "backendRef" not in outbound:
            backends = [(proxy, inbound) for proxy, inbound in backends if inbound_ready(inbound)]
        protocols = {i.get("protocol") or i.get("tags", {}).get("kuma.io/protocol", "tcp") for _backend, i in backends}
        return protocols.pop().lower() if len(protocols) == 1 else "tcp"

    def snapshot(self, proxy: Resource, options: Json) -> Snapshot:
        """The configuration of one proxy. `options` is what its kuma-dp said about itself."""
        networking = proxy.spec["networking"]
        out = Snapshot()
        # Since it knows the option, the control plane says yes or no of what others connect to, and nothing of outbounds.
        shared = self.store.release.reuse_port and REUSE_PORT_FEATURE in (options.get("features") or [])
        choice = {"INBOUND": shared, "OUTBOUND": None if self.store.release.reuse_port else False}

        def listen(name: str, address: str, port: int, direction: str, network_filter: Json) -> None:
            where = socket_address(address, port)
            out.resources["lds"][name] = listener(name, where, network_filter, direction, choice[direction])

        if proxy.kind.name == "ZoneIngress":
            # Without services to forward to, which are other zones' affair, the real one answers with a word about itself as well.
            word = json.dumps({"proxy": f".{proxy.name}", "zone": self.store.zone})
            address, port = resolved(networking["address"]), networking["port"]
            listen(f"inbound:{address}:{port}", address, port, "INBOUND", direct_response(word))
        for inbound in networking.get("inbound", []):
            address, port = inbound.get("address") or resolved(networking["address"]), inbound["port"]
            target, _colon, target_port = workload(inbound, proxy).rpartition(":")
            local = f"localhost:{target_port}"
            protocol = inbound.get("protocol") or inbound.get("tags", {}).get("kuma.io/protocol", "tcp")
            if not address or not resolved(target):
                continue
            assignment = {"cluster_name": local, "endpoints": [{"lb_endpoints": [endpoint(resolved(target), int(target_port))]}]}
            out.resources["cds"][local] = cluster_of(local, protocol.lower(), assignment)
            prefix = f"localhost_{target_port}"
            listen(f"inbound:{address}:{port}", address, port, "INBOUND", filter_of(protocol.lower(), prefix, local, "0s"))
        for outbound in networking.get("outbound", []):
            cluster, backends = self._backends(proxy.mesh, outbound)
            if not cluster:
                continue
            protocol = self._protocol(outbound, backends)
            out.resources["cds"][cluster] = cluster_of(cluster, protocol, None)
            out.resources["eds"][cluster] = self._assignment(cluster, backends)
            address, port = outbound.get("address", "127.0.0.1"), outbound["port"]
            listen(f"outbound:{address}:{port}", address, port, "OUTBOUND", filter_of(protocol, cluster, cluster, "15s"))
        self._readiness(out, networking, options, listen)
        if "transparentProxying" in networking:
            mesh = self.store.mesh(proxy.mesh)
            strict = self.store.release.strict_inbound_ports and mesh is not None and transparent.insists(mesh.spec)
            transparent.configure(out.resources, networking["transparentProxying"], strict)
        metrics.configure(out.resources, self.store, proxy, options, shared)
        return out.seal()

    @staticmethod
    def _assignment(cluster: str, backends: list[tuple[Resource, Json]]) -> Json:
        """Endpoints follow the Dataplanes alone: Ready, and health absent or ready. One address counts once."""
        chosen: dict[tuple[str, int], Json] = {}
        for proxy, inbound in backends:
            networking = proxy.spec["networking"]
            address = resolved(networking.get("advertisedAddress") or inbound.get("address") or networking["address"])
            if inbound_ready(inbound) and address:
                chosen.setdefault((address, inbound["port"]), endpoint(address, inbound["port"]))
        return {"@type": TYPES["eds"], "cluster_name": cluster, "endpoints": [{"lb_endpoints": list(chosen.values())}] if chosen else []}

    @staticmethod
    def _readiness(out: Snapshot, networking: Json, options: Json, listen: Any) -> None:
        """<address>:<admin port>/ready: answers only once the proxy has its configuration."""
        readiness, port = options.get("readiness") or {}, options.get("adminPort") or 0
        address = resolved(networking["address"])
        taken = not options.get("adminSocket") and address == "127.0.0.1"
        if not port or not address or taken or not readiness:
            return
        name = "kuma:readiness"
        where = {"pipe": {"path": readiness["path"]}} if "path" in readiness else socket_address("127.0.0.1", readiness["port"])
        assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}]}
        out.resources["cds"][name] = cluster_of(name, "http", assignment)
        route = {"match": {"path": "/ready"}, "route": {"cluster": name}}
        listen("kuma:envoy:admin", address, port, "INBOUND", http_filter("kuma_envoy_admin", [route]))


def bootstrap(node: Json, host: str, port: int, ca: str, admin: Json) -> Json:
    """Envoy's bootstrap. `admin` is the address of its admin interface."""
    assignment = {"cluster_name": CONTROL_PLANE_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint(host, port)]}]}
    tls: Json = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"validation_context": {"trusted_ca": {"inline_string": ca}}},
    }
    if not _is_ip(host):
        tls["sni"] = host
    cluster = {
        "name": CONTROL_PLANE_CLUSTER,
        "type": "STATIC" if _is_ip(host) else "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": assignment,
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 10}},
    }
    return {
        "node": node,
        "admin": {"address": admin},
        "static_resources": {"clusters": [cluster]},
        "dynamic_resources": {"lds_config": config_source(), "cds_config": config_source()},
        "layered_runtime": {
            "layers": [{"name": "kuma", "static_layer": {"re2.max_program_size.error_level": 4294967295}}],
        },
    }


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
