# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts that Envoy's configuration is made of: listeners, filters, clusters."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from typing import Any

Json = dict[str, Any]

TYPES = {
    "lds": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "cds": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "eds": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
}
HTTP = ("http", "http2", "grpc")
CONTROL_PLANE_CLUSTER = "kuma_control_plane"
_HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_DIRECT_RESPONSE = "type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@lru_cache(maxsize=4096)
def resolved(address: str) -> str:
    """An IP address for a Dataplane that is registered with a name; empty when it cannot be resolved."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        pass
    try:
        return socket.gethostbyname(address)
    except OSError:
        return ""


def socket_path(work_dir: str, name: str) -> str:
    """Where a socket of a proxy is. Real control planes and proxies cut the path without a word, so that long ones are one and the same."""
    return f"{work_dir}/{name}"[:98] + ".sock"


def socket_address(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}


def endpoint(address: str, port: int) -> Json:
    return {"endpoint": {"address": socket_address(address, port)}}


def listener(name: str, address: Json, network_filter: Json, direction: str = "", reuse_port: bool | None = None) -> Json:
    """A listener with one filter. Without `reuse_port` it is Envoy that decides, which means yes."""
    found: Json = {"@type": TYPES["lds"], "name": name, "address": address, "filter_chains": [{"filters": [network_filter]}]}
    if direction:
        found["traffic_direction"] = direction
    if reuse_port is not None:
        found["enable_reuse_port"] = reuse_port
    return found


def http_filter(prefix: str, routes: list[Json]) -> Json:
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": _HCM,
            "stat_prefix": prefix,
            "route_config": {"name": prefix, "virtual_hosts": [{"name": prefix, "domains": ["*"], "routes": routes}]},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
        },
    }


def filter_of(protocol: str, prefix: str, cluster: str, timeout: str) -> Json:
    if protocol in HTTP:
        return http_filter(prefix, [{"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": timeout}}])
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {"@type": _TCP_PROXY, "stat_prefix": prefix, "cluster": cluster},
    }


def direct_response(text: str) -> Json:
    """The filter that says something to who connects, and closes."""
    return {
        "name": "envoy.filters.network.direct_response",
        "typed_config": {"@type": _DIRECT_RESPONSE, "response": {"inline_string": text}},
    }


def cluster_of(name: str, protocol: str, assignment: Json | None) -> Json:
    """A cluster with these endpoints; without them Envoy asks for its endpoints."""
    cluster: Json = {"@type": TYPES["cds"], "name": name, "connect_timeout": "5s"}
    if assignment is None:
        cluster.update(type="EDS", eds_cluster_config={"eds_config": config_source()})
    else:
        cluster.update(type="STATIC", load_assignment=assignment)
    if protocol in ("http2", "grpc"):
        cluster["typed_extension_protocol_options"] = {
            _HTTP_OPTIONS: {"@type": f"type.googleapis.com/{_HTTP_OPTIONS}", "explicit_http_config": {"http2_protocol_options": {}}}
        }
    return cluster


def config_source() -> Json:
    """Where Envoy asks: the control plane holds each request until there is something new."""
    return {
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
        "api_config_source": {
            "api_type": "REST",
            "transport_api_version": "V3",
            "cluster_names": [CONTROL_PLANE_CLUSTER],
            "refresh_delay": "0.1s",
            "request_timeout": "60s",
        },
    }
