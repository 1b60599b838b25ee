# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status that kumactl and the GUI compute from a Dataplane and its insight."""

from __future__ import annotations

from typing import Any

from .store import Resource, Store


def inbound_ready(inbound: dict[str, Any]) -> bool:
    """Whether other proxies send traffic to an inbound."""
    health = inbound.get("health")
    return "state" not in inbound and (health is None or bool(health.get("ready")))


def status(store: Store, resource: Resource) -> str:
    """Online, Offline or Partially degraded."""
    subscriptions = (store.insights.get(resource.key) or {}).get("subscriptions", [])
    online = any("connectTime" in s and "disconnectTime" not in s for s in subscriptions)
    networking = resource.spec["networking"]
    if not online or "gateway" in networking:
        return "Online" if online else "Offline"
    inbounds = networking.get("inbound", [])
    unready = [i for i in inbounds if i.get("state") == "NotReady" or ("health" in i and not i["health"].get("ready"))]
    if len(unready) == len(inbounds):
        return "Offline"
    return "Partially degraded" if unready else "Online"
