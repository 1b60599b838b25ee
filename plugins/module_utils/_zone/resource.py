# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Zone ingresses and egresses: what the inventory says about them, the resource that is made of it, and their overviews. Pure functions.

Up to 2.x a zone proxy is a resource of its own, which belongs to the zone. In 3.0 it is a Dataplane of a mesh with a listener.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import inventory

Json = t.Dict[str, t.Any]
Overview = t.Mapping[str, t.Any]

INGRESS, EGRESS = "ingress", "egress"
KINDS = (INGRESS, EGRESS)
TYPES = {INGRESS: "ZoneIngress", EGRESS: "ZoneEgress"}
PATHS = {INGRESS: "zoneingresses", EGRESS: "zoneegresses"}
DEFAULT_PORTS = {INGRESS: 10001, EGRESS: 10002}
ZONE_LABEL = "kuma.io/zone"
# Stands for the address of a VM that only the VM itself could tell, when it did not.
UNKNOWN_ADDRESS = "unknown.invalid"

_FIELDS = {INGRESS: ("zoneIngress", "zoneIngressInsight"), EGRESS: ("zoneEgress", "zoneEgressInsight")}
_PROXY_KEYS = {
    "name", "type", "address", "port", "advertised_address", "advertised_port", "admin_port", "readiness_port",
}  # fmt: skip


def group(kind: str, zone: str) -> str:
    """What the zone proxies of one kind and zone offer together, as plans and reports call it."""
    return f"zone {kind} of {zone}"


# -- what the inventory says


def read(host: str, variables: t.Mapping[str, t.Any], model: str) -> t.Tuple[t.List[Json], t.List[str]]:
    """The zone proxies of one VM and every fault in its variables.

    ``variables`` are those of the role without their prefix. With an empty ``proxies`` there is one, described by the flat variables.
    A proxy is ``{host, name, kind, zone, mesh, address, port, advertised_address, advertised_port, port_pins, field}``.
    """
    reader = inventory.Reader(host, model)
    explicit = variables.get("proxies")
    if not explicit:
        return [_proxy(reader, variables, variables, "kuma_zone_proxy_")], reader.problems
    proxies = []
    for index, value in enumerate(reader.items(explicit, "kuma_zone_proxy_proxies")):
        field = f"kuma_zone_proxy_proxies[{index}]"
        proxies.append(_proxy(reader, reader.mapping(value, field, _PROXY_KEYS), variables, field + "."))
    return proxies, reader.problems


def _proxy(reader: inventory.Reader, own: t.Mapping[str, t.Any], host: t.Mapping[str, t.Any], prefix: str) -> Json:
    kind = own.get("type")
    if kind not in KINDS:
        reader.fault(prefix + "type", kind, "ingress or egress")
        kind = INGRESS
    address = str(own.get("address") or host.get("address") or "")
    field = prefix + "address" if own.get("address") else "kuma_zone_proxy_address"
    if (address != UNKNOWN_ADDRESS and not checks.is_ip(address)) or checks.is_wildcard(address):
        reader.fault(field, address, "the IP address at which other VMs reach this one, not a wildcard")
    port = reader.port(own.get("port") or DEFAULT_PORTS[kind], prefix + "port")
    advertised = _advertised(reader, own, kind, prefix)
    pins = {}
    for which in ("admin", "readiness"):
        if own.get(which + "_port"):
            pin = reader.port(own[which + "_port"], f"{prefix}{which}_port")
            if pin is not None:
                pins[which] = pin
    return {
        "host": reader.host,
        "name": reader.name(own.get("name"), prefix + "name"),
        "kind": kind,
        "zone": reader.loose_name(host["zone"], "kuma_zone_proxy_zone") if host.get("zone") else "",
        "mesh": reader.loose_name(host.get("mesh") or "default", "kuma_dp_mesh"),
        "address": address,
        "port": port or 0,
        "advertised_address": advertised[0],
        "advertised_port": advertised[1],
        "port_pins": pins,
        "field": prefix,
    }


def _advertised(reader: inventory.Reader, own: t.Mapping[str, t.Any], kind: str, prefix: str) -> t.Tuple[str, t.Optional[int]]:
    """Where other zones reach an ingress. The control plane wants both or none, and does not know them for an egress (trap 41)."""
    address, number = str(own.get("advertised_address") or ""), own.get("advertised_port") or None
    port = reader.port(number, prefix + "advertised_port") if number is not None else None
    for what, value in (("advertised_address", address), ("advertised_port", number)):
        if value and kind == EGRESS:
            reader.fault(prefix + what, value, "nothing: only an ingress is called from other zones")
        elif value and reader.model == "v3":
            reader.fault(
                prefix + what, value, "nothing: from 3.0 on the control plane drops it, a MeshZoneAddress says where a zone is reached"
            )
    if bool(address) != (number is not None) and kind == INGRESS:
        missing = "advertised_port" if address else "advertised_address"
        reader.fault(prefix + missing, None, "both of advertised_address and advertised_port, or none")
    if address:
        reader.address(address, prefix + "advertised_address")
    return address, port


# -- the resource


def resource(proxy: t.Mapping[str, t.Any], admin_port: int, model: str) -> Json:
    """What kuma-dp registers for ``proxy``, a proxy of :func:`read`."""
    networking: Json = {"address": proxy["address"], "admin": {"port": admin_port}}
    if model == "v3":
        networking["listeners"] = [
            {"type": TYPES[proxy["kind"]], "address": proxy["address"], "port": proxy["port"], "name": f"zone-{proxy['kind']}"}
        ]
        return {"type": "Dataplane", "mesh": proxy["mesh"], "name": proxy["name"], "networking": networking}
    networking["port"] = proxy["port"]
    if proxy["advertised_address"] and proxy["advertised_port"]:
        networking.update(advertisedAddress=proxy["advertised_address"], advertisedPort=proxy["advertised_port"])
    return {"type": TYPES[proxy["kind"]], "name": proxy["name"], "networking": networking}


# -- what the control plane says


def as_overview(item: Overview, kind: str, zone: str) -> Json:
    """The overview of a ZoneIngress or ZoneEgress in the form of a Dataplane's, with ``zoneProxy: {kind, zone}`` beside it.

    ``zone`` is that of the control plane. A resource that another zone sent carries the name of that one.
    """
    spec_field, insight_field = _FIELDS[kind]
    spec = item.get(spec_field) or {}
    labels = item.get("labels") or {}
    kept = ("name", "creationTime", "modificationTime", "labels", "kri")
    result = {key: item[key] for key in kept if key in item}
    own = str(spec.get("zone") or labels.get(ZONE_LABEL) or zone)
    result.update(mesh="", dataplane=dict(spec, type=TYPES[kind]), zoneProxy={"kind": kind, "zone": own})
    if item.get(insight_field):
        result["dataplaneInsight"] = item[insight_field]
    return result


def listeners(dataplane: t.Mapping[str, t.Any]) -> t.List[str]:
    """The kinds of zone proxy that a Dataplane is, from 2.14 on."""
    types = {str(listener.get("type")) for listener in (dataplane.get("networking") or {}).get("listeners") or []}
    return [kind for kind in KINDS if TYPES[kind] in types]


def groups_of(overview: Overview) -> t.List[str]:
    """The groups that an overview belongs to; empty for what is no zone proxy."""
    given = overview.get("zoneProxy")
    if given:
        return [group(str(given["kind"]), str(given["zone"]))]
    dataplane = overview.get("dataplane") or {}
    zone = str((overview.get("labels") or {}).get(ZONE_LABEL) or "this zone")
    return [group(kind, zone) for kind in listeners(dataplane)]


def last_ones(overviews: t.Iterable[Overview], leaving: t.Collection[str]) -> t.List[str]:
    """A sentence for each group that would lose the last zone proxy that is connected. One that is not takes nothing away."""
    staying: t.Dict[str, t.List[str]] = {}
    going: t.Dict[str, t.List[str]] = {}
    for overview in overviews:
        if not status.online(overview):
            continue
        name = str(overview["name"])
        for which in groups_of(overview):
            (going if name in leaving else staying).setdefault(which, []).append(name)
    return [
        f"{', '.join(sorted(names))} would leave {which} without any proxy that is connected"
        for which, names in sorted(going.items())
        if not staying.get(which)
    ]
