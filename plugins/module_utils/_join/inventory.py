# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What the inventory says about one VM, checked and brought into one shape. Pure functions.

Every fault is a sentence that names the host, the variable, what was found and what was expected; all are collected.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import claims
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import details, gates, lifecycle
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.reader import Reader
from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent import redirection

PROTOCOLS = ("grpc", "http", "http2", "kafka", "tcp")

_SERVICE_KEYS = {
    "name", "port", "service_port", "service_address", "address", "protocol", "tags", "inbound_name", "probe", "gate",
}  # fmt: skip
_UPSTREAM_KEYS = {"service", "port", "tags", "backend_ref"}
_PROXY_KEYS = lifecycle.KEYS | {
    "name", "address", "services", "upstreams", "labels", "workload", "outbound_pins", "admin_port", "readiness_port", "gateway",
}  # fmt: skip


def read(host: str, variables: t.Mapping[str, t.Any], model: str) -> t.Tuple[t.List[t.Dict[str, t.Any]], t.List[str]]:
    """The proxies of one VM and every fault in its variables.

    ``variables`` are the role's, without their prefix; ``redirected`` stands for ``transparent_proxy`` where no more is known. With an
    empty ``proxies`` there is one, described by the flat variables. A proxy is ``{host, name, mesh, address, services, gateway,
    upstreams, labels, workload, token_bind, pins, port_pins, reserved_ports, lifecycle, template, vars, search_dirs}``.
    """
    reader = Reader(host, model)
    explicit = variables.get("proxies")
    if not explicit:
        proxies = [_proxy(reader, variables, variables, "kuma_dp_")]
        _check_transparent(reader, variables, proxies)
        return proxies, reader.problems
    proxies = []
    for index, value in enumerate(reader.items(explicit, "kuma_dp_proxies")):
        field = "kuma_dp_proxies[%d]" % index
        proxies.append(_proxy(reader, reader.mapping(value, field, _PROXY_KEYS), variables, field + "."))
    _check_transparent(reader, variables, proxies)
    return proxies, reader.problems


def _check_transparent(reader: Reader, variables: t.Mapping[str, t.Any], proxies: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Of a VM whose connections are redirected to its proxy."""
    wanted = variables.get("transparent_proxy")
    if not wanted:
        return
    reader.problems.extend("%s: kuma_transparent_proxy_%s" % (reader.host, problem) for problem in redirection.problems(wanted))
    if len(proxies) > 1:
        reader.fault("kuma_dp_proxies", ["..."] * len(proxies), "one proxy: kuma_transparent_proxy_enabled leads all connections to one")
    for proxy in proxies:
        if proxy["upstreams"]:
            reader.fault(
                proxy["field"] + "upstreams",
                [upstream["service"] for upstream in proxy["upstreams"]],
                "none with kuma_transparent_proxy_enabled: applications call services by their names, and kuma-dp refuses outbounds",
            )


def _proxy(reader: Reader, own: t.Mapping[str, t.Any], host: t.Mapping[str, t.Any], prefix: str) -> t.Dict[str, t.Any]:
    services = [
        _service(reader, value, "%sservices[%d]" % (prefix, index))
        for index, value in enumerate(reader.items(own.get("services"), prefix + "services"))
    ]
    upstreams = [
        _upstream(reader, value, "%supstreams[%d]" % (prefix, index))
        for index, value in enumerate(reader.items(own.get("upstreams"), prefix + "upstreams"))
    ]
    asked: t.Dict[str, t.Any] = {}
    for index, upstream in enumerate(upstreams):
        if upstream and asked.setdefault(upstream["service"], upstream) != upstream:
            reader.fault("%supstreams[%d]" % (prefix, index), upstream, "each service once, or twice with the same settings")
    valid = [service for service in services if service]
    port_pins = {}
    for kind in ("admin", "readiness"):
        if own.get(kind + "_port"):
            port = reader.port(own[kind + "_port"], "%s%s_port" % (prefix, kind))
            if port is not None:
                port_pins[kind] = port
    gateway = details.gateway(reader, own.get("gateway"), prefix + "gateway", services)
    if host.get("transparent_proxy") or host.get("redirected"):
        pass  # Everything that the VM calls goes through the proxy, without being named.
    elif gateway is not None and not upstreams:
        reader.fault(prefix + "upstreams", own.get("upstreams"), "the services that the gateway sends requests to")
    elif not services and not upstreams:
        reader.fault(prefix + "services", own.get("services"), "services that this VM offers, or upstreams that it calls")
    workload = str(own.get("workload") or (valid[0]["name"] if valid else gateway["name"] if gateway else own.get("name")) or "")
    if own.get("workload") and not checks.RFC1035.match(workload):
        reader.fault(prefix + "workload", workload, "a name of lower-case letters, digits and -, starting with a letter")
    return {
        "host": reader.host,
        "name": reader.name(own.get("name"), prefix + "name"),
        "mesh": reader.loose_name(host.get("mesh") or "default", "kuma_dp_mesh"),
        "address": reader.address(
            own.get("address") or host.get("address"), prefix + "address" if own.get("address") else "kuma_dp_address"
        ),
        "services": valid,
        "gateway": gateway,
        "upstreams": [upstream for upstream in upstreams if upstream],
        "labels": reader.labels(reader.merged(prefix + "labels", host.get("labels"), own.get("labels")), prefix + "labels"),
        "workload": workload if checks.is_rfc1035(workload) else "",
        "token_bind": _bindings(reader, host.get("token_bind")),
        "pins": _pins(
            reader,
            reader.merged(prefix + "outbound_pins", host.get("outbound_pins"), own.get("outbound_pins")),
            prefix + "outbound_pins",
        ),
        "reserved_ports": reader.ports(host.get("reserved_ports"), "kuma_dp_reserved_ports"),
        "port_pins": port_pins,
        "transparent_proxy": host.get("transparent_proxy") or {},
        "field": prefix,
        **lifecycle.read(reader, own, host, prefix),
    }


def _bindings(reader: Reader, value: t.Any) -> t.List[str]:
    """To what the token of a proxy is bound; to all of it where nothing is said."""
    found = [str(item) for item in (claims.BINDINGS if value is None else reader.items(value, "kuma_dp_token_bind"))]
    for item in found:
        if item not in claims.BINDINGS:
            reader.fault("kuma_dp_token_bind", item, "a list of " + " and ".join(claims.BINDINGS))
    return found


def _service(reader: Reader, value: t.Any, field: str) -> t.Optional[t.Dict[str, t.Any]]:
    service = reader.mapping(value, field, _SERVICE_KEYS)
    if not service:
        return None
    before = len(reader.problems)
    name = str(service.get("name") or "")
    if reader.model == "v3":
        sound, expected = bool(checks.RFC1035.match(name)), "a name of lower-case letters, digits and -, starting with a letter"
    else:
        sound, expected = checks.is_tag_value(name), "a name of letters, digits and . - _ :"
    if not sound:
        reader.fault(field + ".name", service.get("name"), expected)
    service["name"] = name
    service["port"] = reader.port(service.get("port"), field + ".port")
    if service.get("service_port") is not None:
        service["service_port"] = reader.port(service["service_port"], field + ".service_port")
    for key in ("service_address", "address"):
        if service.get(key) and not checks.is_ip(str(service[key])):
            reader.fault("%s.%s" % (field, key), service[key], "an IP address")
    service["protocol"] = service.get("protocol") or "tcp"
    if service["protocol"] not in PROTOCOLS:
        reader.fault(field + ".protocol", service["protocol"], "one of " + ", ".join(PROTOCOLS))
    if service.get("tags") is not None:
        service["tags"] = details.tags(reader, service["tags"], field + ".tags")
    if service.get("probe") is not None:
        details.probe(reader, service["probe"], field + ".probe")
    if service.get("gate") is not None:
        service["gate"] = gates.read(reader, service["gate"], field + ".gate")
    return service if len(reader.problems) == before else None


def _upstream(reader: Reader, value: t.Any, field: str) -> t.Optional[t.Dict[str, t.Any]]:
    upstream: t.Dict[str, t.Any] = {"service": value} if isinstance(value, str) else reader.mapping(value, field, _UPSTREAM_KEYS)
    name = str(upstream.get("service") or "")
    if not checks.is_tag_value(name):
        reader.fault(field + ".service", upstream.get("service"), "the name of a service")
        return None
    upstream["service"] = name
    if upstream.get("port") is not None:
        upstream["port"] = reader.port(upstream["port"], field + ".port")
        if upstream["port"] is None:
            return None
    before = len(reader.problems)
    if upstream.get("tags") is not None:
        upstream["tags"] = details.tags(reader, upstream["tags"], field + ".tags")
    if upstream.get("backend_ref") is not None:
        upstream["backend_ref"] = details.backend_ref(reader, upstream["backend_ref"], field + ".backend_ref")
        if upstream.get("tags"):
            reader.fault(field + ".backend_ref", upstream["backend_ref"], "either tags or backend_ref")
    return upstream if len(reader.problems) == before else None


def _pins(reader: Reader, value: t.Mapping[str, t.Any], field: str) -> t.Dict[str, int]:
    pins = {}
    for service, number in value.items():
        port = reader.port(number, "%s.%s" % (field, service))
        if port is not None:
            pins[str(service)] = port
    return pins
