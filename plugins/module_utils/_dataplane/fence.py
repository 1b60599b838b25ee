# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The fence: a Dataplane taken out of traffic by ``health: {ready: false}``, and brought back. Pure functions.

``state`` is the control plane's: its health checks undo a ``NotReady`` of ours and never undo an ``Ignored`` (traps 7 and 11), but
leave ``health`` alone while ``state`` is ``Ready``. So only inbounds that are Ready are fenced and lifted.
"""

from __future__ import annotations

import copy
import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource, status

Dataplane = t.Dict[str, t.Any]
Overview = t.Mapping[str, t.Any]
Endpoint = t.Tuple[str, int]
Endpoints = t.Dict[str, t.Set[Endpoint]]

REASON_LABEL = "meshfleet.kuma/maintenance"
UNTIL_LABEL = "meshfleet.kuma/maintenance-until"
DEFAULT_REASON = "maintenance"

# `web::10.0.0.11:8080::cx_active::0`, and `[2001:db8::1]:8080` for IPv6.
_CLUSTER_LINE = re.compile(r"^.*?::(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]+)::", re.MULTILINE)


class Mark(t.NamedTuple):
    """Why, as a slug, and until when (epoch seconds; None: no end) a Dataplane is out of traffic."""

    reason: str
    until: t.Optional[int] = None


class Marked(t.NamedTuple):
    """A Dataplane with a mark, and whether none of its inbounds gets traffic."""

    name: str
    mark: Mark
    fenced: bool


def slug(reason: str) -> str:
    """``reason`` in the characters and the length that a label may have."""
    text = re.sub(r"[^a-z0-9._-]+", "-", reason.lower())
    return text[:63].strip("-._") or DEFAULT_REASON


def gets_traffic(inbound: t.Mapping[str, t.Any]) -> bool:
    """Whether callers are given this inbound; the connection of its proxy does not count (trap 9)."""
    return inbound.get("state", "Ready") == "Ready" and not status.unhealthy(inbound)


def is_fenced(inbound: t.Mapping[str, t.Any]) -> bool:
    return inbound.get("state", "Ready") == "Ready" and status.unhealthy(inbound)


def inbounds(dataplane: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
    return list((dataplane.get("networking") or {}).get("inbound") or [])


def inbound_name(inbound: t.Mapping[str, t.Any]) -> str:
    return str(inbound.get("name") or inbound.get("port"))


def unfenced(dataplane: t.Mapping[str, t.Any]) -> t.List[str]:
    """The inbounds that no fence holds back: NotReady now, the control plane makes them Ready when their proxy is healthy."""
    return [inbound_name(inbound) for inbound in inbounds(dataplane) if inbound.get("state") == "NotReady"]


def cannot_be_fenced(dataplane: t.Mapping[str, t.Any]) -> t.Optional[str]:
    """Why this Dataplane cannot be taken out of traffic here, and what to do instead; None when it can, or gets none anyway."""
    if inbounds(dataplane):
        return None
    networking = dataplane.get("networking") or {}
    if networking.get("gateway") is not None or networking.get("listeners"):
        return "a gateway has no inbounds to fence: take it out of the load balancer, or the DNS record, that leads clients to it"
    return None


def fence(dataplane: t.Mapping[str, t.Any], mark: t.Optional[Mark]) -> Dataplane:
    """A copy in which no inbound gets traffic, with ``mark`` as its labels; None leaves the labels alone."""
    fenced = copy.deepcopy(dict(dataplane))
    for inbound in inbounds(fenced):
        if gets_traffic(inbound):
            inbound["health"] = {"ready": False}
    if mark is not None:
        labels = dict(fenced.get("labels") or {})
        labels[REASON_LABEL] = mark.reason
        labels.pop(UNTIL_LABEL, None)
        if mark.until is not None:
            labels[UNTIL_LABEL] = str(mark.until)
        fenced["labels"] = labels
    return fenced


def lift(dataplane: t.Mapping[str, t.Any]) -> Dataplane:
    """A copy without fence and mark. Inbounds that are NotReady or Ignored are left alone: not we keep those out of traffic."""
    lifted = copy.deepcopy(dict(dataplane))
    for inbound in inbounds(lifted):
        if is_fenced(inbound):
            inbound["health"] = {"ready": True}
    labels = lifted.get("labels") or {}
    for key in (REASON_LABEL, UNTIL_LABEL):
        labels.pop(key, None)
    return lifted


def fields(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> t.List[str]:
    """What :func:`fence` or :func:`lift` changed, as paths; empty when there is nothing to write."""
    found = [
        f"networking.inbound[{index}].health"
        for index, (old, new) in enumerate(zip(inbounds(before), inbounds(after)))
        if status.unhealthy(old) != status.unhealthy(new)
    ]
    old_labels, new_labels = before.get("labels") or {}, after.get("labels") or {}
    return found + [f'labels["{key}"]' for key in (REASON_LABEL, UNTIL_LABEL) if old_labels.get(key) != new_labels.get(key)]


def view(dataplane: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """What a diff shows of a Dataplane."""
    labels = dataplane.get("labels") or {}
    return {
        "inbounds": {
            inbound_name(inbound): {"state": inbound.get("state", "Ready"), "health": {"ready": not status.unhealthy(inbound)}}
            for inbound in inbounds(dataplane)
        },
        "labels": {key: labels[key] for key in (REASON_LABEL, UNTIL_LABEL) if key in labels},
    }


def mark_of(labels: t.Optional[t.Mapping[str, t.Any]]) -> t.Optional[Mark]:
    """The mark in the labels of a Dataplane. An end that is not a number counts as none."""
    reason = (labels or {}).get(REASON_LABEL)
    if not reason:
        return None
    until = str((labels or {}).get(UNTIL_LABEL) or "")
    return Mark(str(reason), int(until) if re.match(r"[0-9]{1,12}\Z", until) else None)


def until(held: t.Optional[int], now: float, duration: t.Optional[float]) -> t.Optional[int]:
    """When a fence of ``duration`` seconds ends, in epoch seconds; None without a duration.

    The end it has already, ``held``, stays while more than half of ``duration`` is left: repeating a task changes nothing.
    """
    if duration is None:
        return None
    if held is not None and now + duration / 2 < held <= now + duration:
        return held
    return int(now + duration)


def marked(overviews: t.Iterable[Overview]) -> t.List[Marked]:
    """Every Dataplane with a mark."""
    found = []
    for overview in overviews:
        mark = mark_of(overview.get("labels"))
        if mark is not None:
            dataplane = status.dataplane(overview)
            found.append(Marked(str(overview["name"]), mark, not any(gets_traffic(inbound) for inbound in inbounds(dataplane))))
    return found


def stale(entry: Marked, now: float) -> bool:
    """Whether the time of a mark is over."""
    return entry.mark.until is not None and entry.mark.until <= now


def endpoints(dataplane: t.Mapping[str, t.Any], only: t.Callable[[t.Mapping[str, t.Any]], bool]) -> Endpoints:
    """``{service: {(address, port)}}`` as callers are given them, of the inbounds for which ``only`` holds."""
    networking = dataplane.get("networking") or {}
    found: Endpoints = {}
    for inbound in inbounds(dataplane):
        if only(inbound):
            address = networking.get("advertisedAddress") or inbound.get("address") or networking.get("address")
            found.setdefault(service_of(dataplane, inbound), set()).add((str(address), int(inbound.get("port") or 0)))
    return found


def service_of(dataplane: t.Mapping[str, t.Any], inbound: t.Mapping[str, t.Any]) -> str:
    """The service that an inbound belongs to, in the tags or labels of its Dataplane."""
    tag = (inbound.get("tags") or {}).get(resource.SERVICE_TAG)
    workload = (dataplane.get("labels") or {}).get(resource.WORKLOAD_LABEL)
    return str(tag or workload or dataplane.get("name"))


def emptied(overviews: t.Iterable[Overview], names: t.AbstractSet[str]) -> t.Dict[str, t.List[str]]:
    """``{service: [Dataplanes]}`` of the services that nobody would serve any more with the Dataplanes ``names`` fenced.

    Who stays has to be in traffic and connected. Endpoints count, not Dataplanes: two proxies may share one.
    """
    leaving: t.Dict[str, t.List[str]] = {}
    going: Endpoints = {}
    staying: Endpoints = {}
    for overview in overviews:
        name, dataplane = str(overview["name"]), status.dataplane(overview)
        for service, found in endpoints(dataplane, gets_traffic).items():
            if name in names:
                going.setdefault(service, set()).update(found)
                leaving.setdefault(service, []).append(name)
            elif status.online(overview):
                staying.setdefault(service, set()).update(found)
    return {service: sorted(who) for service, who in sorted(leaving.items()) if not staying.get(service, set()) - going[service]}


def callers(overviews: t.Iterable[Overview], service: str, avoid: t.AbstractSet[str]) -> t.List[str]:
    """The connected Dataplanes that call ``service``, those in ``avoid`` last."""
    found = []
    for overview in overviews:
        networking = (overview.get("dataplane") or {}).get("networking") or {}
        calls = any(resource.outbound_service(outbound) == service for outbound in networking.get("outbound") or [])
        if calls and status.online(overview):
            found.append(str(overview["name"]))
    return sorted(found, key=lambda name: (name in avoid, name))


def cluster_endpoints(text: str) -> t.Set[Endpoint]:
    """The endpoints that the ``/clusters`` of an Envoy names, whatever cluster they are in."""
    return {(match.group(1) or match.group(2), int(match.group(3))) for match in _CLUSTER_LINE.finditer(text)}
