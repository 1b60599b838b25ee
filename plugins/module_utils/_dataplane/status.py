# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The status of a Dataplane as kumactl and the GUI show it, and whether it gets traffic. Pure functions.

An overview is an item of ``_overview``: ``{name, mesh, labels, dataplane: {networking}, dataplaneInsight: {subscriptions}}``.
"""

from __future__ import annotations

import typing as t

Overview = t.Mapping[str, t.Any]

ONLINE = "Online"
OFFLINE = "Offline"
DEGRADED = "Partially degraded"


def online(overview: Overview) -> bool:
    """Whether a proxy is connected: some subscription began and did not end."""
    return any(entry.get("connectTime") and not entry.get("disconnectTime") for entry in _subscriptions(overview))


def status(overview: Overview) -> str:
    """``Online``, ``Offline`` or ``Partially degraded``."""
    if not online(overview):
        return OFFLINE
    if _networking(overview).get("gateway") is not None:
        return ONLINE
    inbounds = _inbounds(overview)
    broken = sum(1 for inbound in inbounds if unhealthy(inbound) or inbound.get("state") == "NotReady")
    if broken == len(inbounds):  # also without any inbound (trap 40)
        return OFFLINE
    return DEGRADED if broken else ONLINE


def unhealthy(inbound: t.Mapping[str, t.Any]) -> bool:
    """Whether ``health`` keeps an inbound out of traffic, whatever its ``state``."""
    # `ready: false` is shown as an empty map (trap 15).
    health = inbound.get("health")
    return health is not None and not health.get("ready")


def fenced(overview: Overview) -> bool:
    """Whether traffic is kept away by ``health`` alone: only our own write lifts that (trap 12)."""
    return any(unhealthy(inbound) and inbound.get("state", "Ready") == "Ready" for inbound in _inbounds(overview))


def ready(overview: Overview) -> t.Tuple[bool, t.List[str]]:
    """Whether a proxy is connected and gets traffic on every inbound; and if not, why not.

    A proxy without inbounds is ready when it is connected, although its status is Offline.
    """
    reasons = []
    if not online(overview):
        ends = [str(entry["disconnectTime"]) for entry in _subscriptions(overview) if entry.get("disconnectTime")]
        reasons.append(f"not connected since {max(ends)}" if ends else "never connected")
    for inbound in _inbounds(overview):
        state = inbound.get("state", "Ready")
        name = f"inbound {inbound.get('name') or inbound.get('port')}"
        if state != "Ready":
            reasons.append(f"{name} has state {state}")
        elif unhealthy(inbound):
            reasons.append(f"{name} is fenced (health.ready is false)")
    if reasons:
        rejected = _rejected(overview)
        if rejected:
            reasons.append(f"Envoy rejected {rejected} configurations")
    return not reasons, reasons


def version(overview: Overview) -> str:
    """The version of kuma-dp as the control plane was told in the last connection."""
    told = ""
    for entry in _subscriptions(overview):
        told = str(((entry.get("version") or {}).get("kumaDp") or {}).get("version") or told)
    return told


def dataplane(overview: Overview) -> t.Dict[str, t.Any]:
    """The Dataplane in an overview, as ``GET /meshes/{mesh}/dataplanes/{name}`` has it."""
    kept = ("mesh", "name", "creationTime", "modificationTime", "labels", "kri")
    resource: t.Dict[str, t.Any] = {"type": "Dataplane"}
    resource.update({key: overview[key] for key in kept if key in overview})
    resource.update(overview.get("dataplane") or {})
    return resource


def has_labels(overview: Overview, labels: t.Mapping[str, str]) -> bool:
    """Whether all of ``labels`` are on the Dataplane, with these values."""
    found = overview.get("labels") or {}
    return all(found.get(key) == value for key, value in labels.items())


def _networking(overview: Overview) -> t.Mapping[str, t.Any]:
    networking: t.Mapping[str, t.Any] = (overview.get("dataplane") or {}).get("networking") or {}
    return networking


def _inbounds(overview: Overview) -> t.List[t.Mapping[str, t.Any]]:
    return list(_networking(overview).get("inbound") or [])


def _subscriptions(overview: Overview) -> t.List[t.Mapping[str, t.Any]]:
    # A list item of a proxy that never connected has no insight at all.
    return list((overview.get("dataplaneInsight") or {}).get("subscriptions") or [])


def _rejected(overview: Overview) -> int:
    total = 0
    for entry in _subscriptions(overview):
        if not entry.get("disconnectTime"):
            counters = (entry.get("status") or {}).get("total") or {}
            total += int(counters.get("responsesRejected") or 0)
    return total
