# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the control plane refuses in a Dataplane, a Mesh, names and labels."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from .releases import SUPPORTED_PROTOCOLS, Release

Violations = list[tuple[str, str]]

PORT_RANGE = "port must be in the range [1, 65535]"
REFERENCE_KINDS = ("MeshExternalService", "MeshMultiZoneService", "MeshService")
_TAG_NAME = re.compile(r"[a-zA-Z0-9.\-_:/]*")
_TAG_VALUE = re.compile(r"[a-zA-Z0-9.\-_:]*")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LOOSE_NAME = re.compile(r"[0-9a-z\-_.]*")
_LABEL_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_DNS_NAME = re.compile(r"([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62}[a-zA-Z0-9_])?)(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62}[a-zA-Z0-9_])?)*\.?")

NAME_REASON = (
    "invalid characters. A lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
LOOSE_NAME_REASON = "invalid characters. Valid characters are numbers, lowercase latin letters and '-', '_', '.' symbols."
LABEL_KEY_REASON = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
LABEL_VALUE_REASON = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def _is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _hint() -> str:
    return f"Allowed values: {', '.join(SUPPORTED_PROTOCOLS)}"


def _port(path: str, value: int) -> Violations:
    return [] if 1 <= value <= 65535 else [(path, PORT_RANGE)]


def _address(path: str, value: str) -> Violations:
    if not value:
        return [(path, "address can't be empty")]
    found: Violations = []
    if value in ("0.0.0.0", "::"):
        found.append((path, "must not be 0.0.0.0 or ::"))
    if not _is_ip(value) and not _DNS_NAME.fullmatch(value):
        found.append((path, "address has to be valid IP address or domain name"))
    return found


def _tags(path: str, tags: dict[str, str], require_service: bool = False) -> Violations:
    found: Violations = []
    for key in sorted(tags):
        if not key:
            found.append((path, "tag name must be non-empty"))
        if not _TAG_NAME.fullmatch(key):
            found.append((f'{path}["{key}"]', "tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores"))
        if not tags[key]:
            found.append((f'{path}["{key}"]', "tag value must be non-empty"))
        if not _TAG_VALUE.fullmatch(tags[key]):
            found.append((f'{path}["{key}"]', "tag value must consist of alphanumeric characters, dots, dashes and underscores"))
    if require_service and "kuma.io/service" not in tags:
        found.append((path, 'mandatory tag "kuma.io/service" is missing'))
    return found


def _inbound(path: str, inbound: dict[str, Any], address: str, release: Release) -> Violations:
    port, service_port = inbound.get("port", 0), inbound.get("servicePort", 0)
    service_address, own = inbound.get("serviceAddress", ""), inbound.get("address", "")
    found = _port(f"{path}.port", port)
    if service_port:
        found += _port(f"{path}.servicePort", service_port)
    loops = service_port in (0, port)
    loop = (f"{path}.serviceAddress", "serviceAddress and servicePort has to differ from address and port")
    if service_address:
        if not _is_ip(service_address):
            found.append((f"{path}.serviceAddress", "serviceAddress has to be valid IP address"))
        if service_address == address and loops:
            found.append(loop)
    if own:
        if not _is_ip(own):
            found.append((f"{path}.address", "address has to be valid IP address"))
        if own == service_address and loops:
            found.append(loop)
    tags = inbound.get("tags", {})
    if not release.v3:
        protocol = tags.get("kuma.io/protocol")
        if protocol is not None and protocol.lower() not in SUPPORTED_PROTOCOLS:
            found.append((f'{path}.tags["kuma.io/protocol"]', f'tag "kuma.io/protocol" has an invalid value "{protocol}". {_hint()}'))
        found += _tags(f"{path}.tags", tags)
    protocol = inbound.get("protocol", "")
    if protocol and protocol.lower() not in SUPPORTED_PROTOCOLS:
        found.append((f"{path}.protocol", f'has an invalid value "{protocol}". {_hint()}'))
    probe = inbound.get("serviceProbe", {})
    found += [(f"{path}.serviceProbe.{key}", "must have a positive value") for key in ("interval", "timeout") if probe.get(key) == "0s"]
    found += [
        (f"{path}.serviceProbe.{key}", "must have a positive value")
        for key in ("unhealthyThreshold", "healthyThreshold")
        if probe.get(key) == 0
    ]
    if not release.v3 and "kuma.io/service" not in tags and (tags or not release.inbound_optional):
        found.append((f'{path}.tags["kuma.io/service"]', "tag has to exist"))
    return found


def _outbound(path: str, outbound: dict[str, Any], release: Release) -> Violations:
    found = _port(f"{path}.port", outbound.get("port", 0))
    address = outbound.get("address", "")
    if address and not _is_ip(address):
        found.append((f"{path}.address", "address has to be valid IP address"))
    reference, tags = outbound.get("backendRef"), outbound.get("tags", {})
    if reference is not None:
        if reference.get("kind", "") not in REFERENCE_KINDS:
            found.append((f"{path}.backendRef.kind", f"invalid value. Available values are: {','.join(REFERENCE_KINDS)}"))
        if not reference.get("name") and not reference.get("labels"):
            found.append((f"{path}.backendRef", "either 'name' or 'labels' should be specified"))
        if reference.get("kind") != "MeshExternalService":
            found += _port(f"{path}.backendRef.port", reference.get("port", 0))
        if tags:
            found.append((f"{path}.backendRef", "both backendRef and tags/service cannot be defined"))
    elif release.v3:
        found.append((f"{path}.backendRef", "must be defined"))
    elif not tags:
        found.append((f"{path}.tags", 'mandatory tag "kuma.io/service" is missing'))
    else:
        found += _tags(f"{path}.tags", tags, require_service=True)
    return found


def _gateway(gateway: dict[str, Any], release: Release) -> Violations:
    tags = gateway.get("tags", {})
    found: Violations = []
    protocol = tags.get("kuma.io/protocol")
    path = "networking.gateway.tags"
    if protocol is not None and protocol.lower() != "tcp":
        found.append((f'{path}["kuma.io/protocol"]', f'other values than tcp are not allowed, provided value "{protocol}"'))
    return found + _tags(path, tags, require_service=bool(tags) or not release.inbound_optional)


def _listeners(networking: dict[str, Any]) -> Violations:
    found: Violations = []
    inbounds = networking.get("inbound", [])
    names = {inbound.get("name") or str(inbound.get("port", 0)) for inbound in inbounds}
    taken = {f"{inbound.get('address') or networking.get('address', '')}:{inbound.get('port', 0)}" for inbound in inbounds}
    seen: dict[str, str] = {}
    for index, listener in enumerate(networking.get("listeners", [])):
        path = f"networking.listeners[{index}]"
        kind, name = listener.get("type", ""), listener.get("name", "")
        if not kind:
            found.append((f"{path}.type", "type must be ZoneIngress or ZoneEgress"))
        found += _address(f"{path}.address", listener.get("address", ""))
        found += _port(f"{path}.port", listener.get("port", 0))
        if name:
            if name in names:
                found.append((f"{path}.name", f'name "{name}" must be unique across inbounds and listeners'))
            names.add(name)
        key = f"{listener.get('address', '')}:{listener.get('port', 0)}"
        if key in seen:
            reason = "already used by another listener" if seen[key] == kind else "used by listeners of different types"
            found.append((path, f"address:port {key} is {reason}"))
        else:
            seen[key] = kind
        if key in taken:
            found.append((path, f"address:port {key} collides with an inbound listener"))
    return found


def _admin(networking: dict[str, Any]) -> Violations:
    port = networking["admin"].get("port", 0)
    loopback = ("127.0.0.1", "0.0.0.0", "::")
    found: Violations = []
    for inbound in networking.get("inbound", []):
        listen = inbound.get("address") or networking.get("address", "")
        workload = inbound.get("serviceAddress") or listen
        own = inbound.get("port", 0)
        if (listen in loopback and own == port) or (workload in loopback and (inbound.get("servicePort") or own) == port):
            found.append(("networking.admin.port", "must differ from inbound"))
            break
    for outbound in networking.get("outbound", []):
        if outbound.get("address", "127.0.0.1") in loopback and outbound.get("port", 0) == port:
            found.append(("networking.admin.port", "must differ from outbound"))
            break
    return found


def dataplane(spec: dict[str, Any], release: Release) -> Violations:
    """All violations of a Dataplane's spec, in the order in which the control plane reports them."""
    networking = spec.get("networking")
    if networking is None:
        return [("networking", "must be defined")]
    found: Violations = []
    if "admin" in networking:
        found += _admin(networking)
    gateway = networking.get("gateway")
    inbounds = networking.get("inbound", [])
    if gateway is not None:
        kind = "builtin" if gateway.get("type") == "BUILTIN" else "delegated"
        for key in ("inbound", "outbound", "listeners"):
            if networking.get(key) and (kind == "builtin" or key != "outbound"):
                found.append((f"networking.{key}", f"{key} cannot be defined for {kind} gateways"))
        found += _gateway(gateway, release)
    elif not inbounds and not release.inbound_optional:
        found.append(("networking", "has to contain at least one inbound interface or gateway"))
    address = networking.get("address", "")
    found += _address("networking.address", address)
    for index, inbound in enumerate(inbounds):
        found += _inbound(f"networking.inbound[{index}]", inbound, address, release)
    for index, outbound in enumerate(networking.get("outbound", [])):
        found += _outbound(f"networking.outbound[{index}]", outbound, release)
    if gateway is None:
        found += _listeners(networking)
    return found


def mesh(spec: dict[str, Any], release: Release) -> Violations:
    """All violations of a Mesh; its options are gone in 3.0."""
    if not release.mesh_options:
        return []
    mtls = spec.get("mtls") or {}
    enabled = mtls.get("enabledBackend", "")
    if enabled and enabled not in {backend.get("name") for backend in mtls.get("backends", [])}:
        return [("mtls.enabledBackend", "has to be set to one of the backends in the mesh")]
    return []


def policy(spec: Any, release: Release) -> Violations:
    """A policy's own targetRef; the rest of a policy is stored unseen."""
    target = (spec or {}).get("targetRef") or {}
    kind = target.get("kind", "")
    allowed = ["Mesh", "Dataplane"]
    if not release.v3:
        allowed = ["Mesh", "MeshSubset", "MeshGateway", "MeshService", "MeshExternalService", "MeshMultiZoneService"]
        allowed += ["MeshServiceSubset", "MeshHTTPRoute", "Dataplane"]
    if kind and kind not in allowed:
        return [("spec.targetRef.kind", f"in body should be one of [{' '.join(allowed)}]")]
    if kind == "Dataplane" and target.get("labels") and (target.get("name") or target.get("namespace")):
        return [("spec.targetRef.labels", "either labels or name and namespace must be specified")]
    return []


address_violations, port_violations = _address, _port


def name(value: str, loose: bool) -> Violations:
    """Names are RFC 1123 subdomains; names of a Mesh are looser."""
    if not value:
        return [("name", "cannot be empty")]
    if loose:
        return [] if _LOOSE_NAME.fullmatch(value) else [("name", LOOSE_NAME_REASON)]
    if len(value) > 253:
        return [("name", "value length must less or equal 253")]
    return [] if _SUBDOMAIN.fullmatch(value) else [("name", NAME_REASON)]


def labels(given: dict[str, str], mesh_name: str | None, zone: str) -> Violations:
    """Keys and values are Kubernetes labels; the control plane's own labels must say what it would say."""
    found: Violations = []
    origin = given.get("kuma.io/origin")
    if origin is not None and origin not in ("zone", "global"):
        found.append(('labels["kuma.io/origin"]', f'unknown resource origin "{origin}"'))
    if origin != "global":
        if given.get("kuma.io/zone", zone) != zone:
            found.append(('labels["kuma.io/zone"]', f"kuma.io/zone label should have {zone} value"))
        if mesh_name is not None and given.get("kuma.io/mesh", mesh_name) != mesh_name:
            found.append(('labels["kuma.io/mesh"]', "kuma.io/mesh label must not differ from mesh set on resource"))
    for key in sorted(given):
        prefix, _slash, part = key.rpartition("/")
        if not _LABEL_PART.fullmatch(part) or len(part) > 63:
            found.append((f'labels["{key}"]', LABEL_KEY_REASON))
        if prefix and not _SUBDOMAIN.fullmatch(prefix):
            found.append((f'labels["{key}"]', "prefix part " + NAME_REASON))
        value = given[key]
        if len(value) > 63:
            found.append((f'labels["{key}"]', "must be no more than 63 characters"))
        if value and not _LABEL_PART.fullmatch(value):
            found.append((f'labels["{key}"]', LABEL_VALUE_REASON))
    return found
