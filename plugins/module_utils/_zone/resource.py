# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Zone ingresses and egresses: the resource that is made of one, their overviews, and who may leave. Pure functions.

Up to 2.x a zone proxy is a resource of its own, which belongs to the zone. In 3.0 it is a Dataplane of a mesh with a listener.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status

Json = t.Dict[str, t.Any]
Overview = t.Mapping[str, t.Any]

INGRESS, EGRESS = "ingress", "egress"
KINDS = (INGRESS, EGRESS)
TYPES = {INGRESS: "ZoneIngress", EGRESS: "ZoneEgress"}
PATHS = {INGRESS: "zoneingresses", EGRESS: "zoneegresses"}
ZONE_LABEL = "kuma.io/zone"

_FIELDS = {INGRESS: ("zoneIngress", "zoneIngressInsight"), EGRESS: ("zoneEgress", "zoneEgressInsight")}


def group(kind: str, zone: str) -> str:
    """What the zone proxies of one kind and zone offer together, as plans and reports call it."""
    return f"zone {kind} of {zone}"


def build(proxy: t.Mapping[str, t.Any], admin_port: int, model: str) -> Json:
    """What kuma-dp registers for ``proxy``, as ``inventory.read`` gives it."""
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
