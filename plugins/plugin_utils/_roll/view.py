# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a roll reads from the overviews of a mesh: instances, services, and the proxies it restarts. Pure functions.

``<name>-cover`` is the cover of ``<name>``: the two are one instance, which serves when either does.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import claims, fence, resource, status
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone.resource import groups_of
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.admission import CALLED, CALLER, GATEWAY, ZONE, Service, View

CALLERS_KEPT = 12  # callers of a service that are remembered, more than are ever watched
NOBODY_CALLS = "(no inbounds)"

Overview = t.Mapping[str, t.Any]
Proxy = t.Dict[str, t.Any]


class Instance:
    """One proxy with its cover. ``services`` maps what it offers to the kind of that, ``serving`` are those it offers now.

    ``claims`` is what its Dataplane claims it to be. ``ready`` are those services that clients still have it for, whether it is connected or not.
    """

    __slots__ = ("claims", "online", "ready", "services", "serving", "version")

    def __init__(self) -> None:
        self.claims: t.Dict[str, t.Any] = {}
        self.services: t.Dict[str, str] = {}
        self.serving: t.Set[str] = set()
        self.ready: t.Set[str] = set()
        self.online = False
        self.version = ""

    @property
    def sick(self) -> bool:
        return not self.online or any(kind != CALLER and name not in self.serving for name, kind in self.services.items())


def instances(overviews: t.Iterable[Overview]) -> t.Dict[str, Instance]:
    found: t.Dict[str, Instance] = {}
    for overview in overviews:
        name = str(overview["name"])
        instance = found.setdefault(naming.base_name(name), Instance())
        online = status.online(overview)
        instance.online = instance.online or online
        if naming.base_name(name) == name:
            instance.version = status.version(overview)
            instance.claims = claims.identity(status.dataplane(overview))
        for service, (kind, serving) in offers(overview).items():
            instance.services.setdefault(service, kind)
            if serving:
                instance.ready.add(service)
            if serving and online:
                instance.serving.add(service)
    return found


def offers(overview: Overview) -> t.Dict[str, t.Tuple[str, bool]]:
    """Like :func:`offered`, of what an overview shows; zone proxies are a service of their kind and zone."""
    found = offered(status.dataplane(overview))
    zones = groups_of(overview)
    if zones:
        found.pop(NOBODY_CALLS, None)
    return {**found, **dict.fromkeys(zones, (ZONE, True))}


def offered(dataplane: t.Mapping[str, t.Any]) -> t.Dict[str, t.Tuple[str, bool]]:
    """``{service: (kind, whether all of its inbounds get traffic)}`` of a Dataplane; the connection of its proxy does not count."""
    networking = dataplane.get("networking") or {}
    found: t.Dict[str, t.Tuple[str, bool]] = {}
    for inbound in fence.inbounds(dataplane):
        service = fence.service_of(dataplane, inbound)
        found[service] = (CALLED, fence.gets_traffic(inbound) and found.get(service, (CALLED, True))[1])
    gateway = networking.get("gateway")
    if gateway is not None:
        tag = (gateway.get("tags") or {}).get(resource.SERVICE_TAG)
        workload = (dataplane.get("labels") or {}).get(resource.WORKLOAD_LABEL)
        found[str(tag or workload or dataplane.get("name"))] = (GATEWAY, True)
    return found or {NOBODY_CALLS: (CALLER, True)}


def services(found: t.Mapping[str, Instance]) -> t.Dict[str, Service]:
    result: t.Dict[str, Service] = {}
    for name, instance in found.items():
        for service, kind in instance.services.items():
            entry = result.get(service)
            if entry is None:
                entry = result[service] = Service(0, set(), kind)
            entry.total += 1
            if service not in instance.serving:
                entry.down.add(name)
                if not instance.online and service in instance.ready:
                    entry.offline.add(name)
    return result


def callers(overviews: t.Iterable[Overview]) -> t.Dict[str, t.List[str]]:
    """``{service: [connected Dataplanes that call it]}``, at most twelve each."""
    found: t.Dict[str, t.List[str]] = {}
    for overview in overviews:
        outbounds = ((overview.get("dataplane") or {}).get("networking") or {}).get("outbound") or []
        if not outbounds or not status.online(overview):
            continue
        for outbound in outbounds:
            names = found.setdefault(str(resource.outbound_service(outbound)), [])
            if len(names) < CALLERS_KEPT and overview["name"] not in names:
                names.append(str(overview["name"]))
    return found


def proxy(overview: Overview) -> Proxy:
    """What a gate looks at: ``{ids, version, rejected, online, inbounds: {address:port: {state, healthy, probe}}}``.

    ``ids`` are the subscriptions that are connected; version and rejections are those of the last of them.
    """
    connected = [
        entry
        for entry in (overview.get("dataplaneInsight") or {}).get("subscriptions") or []
        if entry.get("connectTime") and not entry.get("disconnectTime")
    ]
    counters = ((connected[-1].get("status") or {}).get("total") or {}) if connected else {}
    return {
        "online": bool(connected),
        "ids": [str(entry.get("id")) for entry in connected],
        "version": status.version(overview),
        "rejected": int(counters.get("responsesRejected") or 0),
        "inbounds": {inbound_key(inbound): inbound_view(inbound) for inbound in fence.inbounds(status.dataplane(overview))},
    }


def inbound_key(inbound: t.Mapping[str, t.Any]) -> str:
    return "%s:%d" % resource.inbound_key(inbound)


def inbound_view(inbound: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return {
        "name": fence.inbound_name(inbound),
        "state": inbound.get("state", "Ready"),
        "healthy": not status.unhealthy(inbound),
        "probe": bool(inbound.get("serviceProbe")),
    }


def summary(overviews: t.Sequence[Overview], wanted: t.AbstractSet[str], at: float, took: float) -> t.Dict[str, t.Any]:
    """What is kept of a listing for all workers, as JSON: small however big the mesh, but for what is down.

    ``wanted`` are the main proxies whose details are kept, with those of their covers.
    """
    known = services(instances(overviews))
    return {
        "at": at,
        "took": took,
        "services": {
            name: {"total": entry.total, "down": sorted(entry.down), "offline": sorted(entry.offline), "kind": entry.kind}
            for name, entry in known.items()
        },
        "callers": callers(overviews),
        "proxies": {str(item["name"]): proxy(item) for item in overviews if naming.base_name(str(item["name"])) in wanted},
        "covers": covers(overviews),
        "outage": None,
        "error": "",
        "recovered": 0.0,
    }


def covers(overviews: t.Iterable[Overview]) -> t.List[str]:
    """The covers that are connected."""
    return sorted(str(item["name"]) for item in overviews if naming.base_name(str(item["name"])) != item["name"] and status.online(item))


def view(kept: t.Mapping[str, t.Any]) -> View:
    """The view for the rules, from a :func:`summary`."""
    return View(
        at=kept["at"],
        services={
            # A run that an older version began has nobody of whom that is known.
            name: Service(entry["total"], set(entry["down"]), entry["kind"], set(entry.get("offline", ())))
            for name, entry in kept["services"].items()
        },
        took=kept["took"],
        outage=kept["outage"],
        error=kept["error"],
        recovered=kept["recovered"],
    )
