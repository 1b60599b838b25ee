# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a MeshMetric policy puts into a proxy: the listener that is scraped, and the one that its kuma-dp asks every second."""

from __future__ import annotations

from .store import Resource, Store
from .xds import Json, cluster_of, http_filter, listener, resolved, socket_address, socket_path

DYNAMIC = "_kuma:dynamicconfig"
SOCKET = "kuma-mesh-metric-config"
STATISTICS = "_kuma:metrics:hijacker"
DEFAULT_PORT = 5670


def _selects(target: Json, proxy: Resource) -> bool:
    """Whether a policy with this targetRef is for a proxy."""
    kind = target.get("kind") or "Mesh"
    if kind == "Dataplane":
        labels = target.get("labels") or {}
        return target.get("name") in (None, "", proxy.name) and all(proxy.labels.get(key) == value for key, value in labels.items())
    return bool(kind == "Mesh")


def _backends(store: Store, proxy: Resource) -> list[Json]:
    """The backends of the most specific policy, among equals of the first by name."""
    found = []
    for policy in store.tables["MeshMetric"].within(proxy.mesh):
        spec = policy.spec.get("spec") or {}
        target = spec.get("targetRef") or {}
        backends = (spec.get("default") or {}).get("backends")
        if backends and _selects(target, proxy):
            found.append((target.get("kind") != "Dataplane", policy.name, backends))
    chosen: list[Json] = min(found, key=lambda entry: entry[:2])[2] if found else []
    return chosen


def configure(resources: dict[str, dict[str, Json]], store: Store, proxy: Resource, options: Json, reuse_port: bool) -> None:
    """Adds what the policies of a proxy ask for to its resources. `options` is what its kuma-dp said about itself."""
    backends, work_dir = _backends(store, proxy), options.get("workDir")
    address = resolved(proxy.spec["networking"]["address"])
    if not backends or not work_dir or not address:
        return
    route = {"match": {"path": "/meshmetric"}, "direct_response": {"status": 200, "body": {"inline_string": "{}"}}}
    pipe = {"pipe": {"path": socket_path(work_dir, SOCKET)}}
    resources["lds"][DYNAMIC] = listener(DYNAMIC, pipe, http_filter("_kuma_dynamicconfig", [route]))
    for backend in backends:
        if backend.get("type") != "Prometheus":
            continue
        settings = backend.get("prometheus") or {}
        client = settings.get("clientId") or "default-backend"
        resources["cds"][STATISTICS] = _statistics(options)
        forward = {"cluster": STATISTICS, "prefix_rewrite": "/stats/prometheus"}
        scraped = http_filter(
            f"_kuma_metrics_prometheus_{client}", [{"match": {"path": settings.get("path") or "/metrics"}, "route": forward}]
        )
        where = socket_address(address, settings.get("port") or DEFAULT_PORT)
        name = f"_kuma:metrics:prometheus:{client}"
        resources["lds"][name] = listener(name, where, scraped, "INBOUND", reuse_port)


def _statistics(options: Json) -> Json:
    """The real one goes through kuma-dp, which adds what applications count; this one leads to Envoy's own statistics."""
    where = {"pipe": {"path": options["adminSocket"]}} if options.get("adminSocket") else socket_address("127.0.0.1", options["adminPort"])
    assignment = {"cluster_name": STATISTICS, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}]}
    return cluster_of(STATISTICS, "http", assignment)
