# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The zone proxies of a control plane: listing them in one form whatever its version, waiting for them, and deleting them."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client, NotFound, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import waiting
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import resource

WAITS = ("none", "online", "gone")

Overviews = waiting.Overviews


def zone_name(client: Client) -> str:
    """The zone of the control plane; empty when it does not tell. Raises ApiError."""
    return str(client.control_plane().get("zone") or "")


def overviews(client: Client, mesh: str, kinds: t.Iterable[str] = resource.KINDS) -> Overviews:
    """The zone proxies of these kinds, by name. One listing for each kind, or one of ``mesh`` from 3.0 on. Raises ApiError."""
    if client.capabilities().model == "v3":
        wanted = set(kinds)
        listed = client.list(api_path("meshes", mesh, "dataplanes", "_overview"))
        return [item for item in listed if wanted.intersection(resource.listeners(item.get("dataplane") or {}))]
    zone = zone_name(client)
    found: Overviews = []
    for kind in sorted(set(kinds)):
        found.extend(resource.as_overview(item, kind, zone) for item in client.list(api_path(resource.PATHS[kind], "_overview")))
    return sorted(found, key=lambda item: str(item["name"]))


def path_of(overview: resource.Overview, mesh: str) -> str:
    """Where the resource of an overview is, of a zone proxy or of any other Dataplane."""
    given = overview.get("zoneProxy")
    if given:
        return api_path(resource.PATHS[str(given["kind"])], str(overview["name"]))
    return api_path("meshes", mesh, "dataplanes", str(overview["name"]))


def pending(found: Overviews, names: t.Sequence[str], wait: str) -> waiting.Pending:
    """``(name, reason)`` of each zone proxy that is not yet what ``wait`` asks for."""
    by_name = {str(item["name"]): item for item in found}
    if wait == "gone":
        return sorted((name, "still registered") for name in set(names) & set(by_name))
    if wait != "online":
        return []
    missing = [(name, "not registered") for name in names if name not in by_name]
    late = [(name, status.ready(by_name[name])[1][0]) for name in names if name in by_name and not status.online(by_name[name])]
    return sorted(missing + late)


def wait_for(
    client: Client,
    mesh: str,
    names: t.Sequence[str],
    wait: str,
    timeout: float,
    interval: float,
    sleep: t.Callable[[float], t.Any] = time.sleep,
    clock: t.Callable[[], float] = time.monotonic,
) -> t.Tuple[Overviews, waiting.Pending]:
    """As :func:`waiting.poll`, for the zone proxies of a control plane."""

    def look() -> t.Tuple[Overviews, waiting.Pending]:
        found = overviews(client, mesh)
        return found, pending(found, names, wait)

    return waiting.poll(look, timeout, interval, sleep, clock)


def delete(client: Client, mesh: str, found: t.Sequence[resource.Overview]) -> t.List[str]:
    """Delete these; returns the names of those that were still there. Raises ApiError."""
    gone = []
    for item in found:
        try:
            client.delete(path_of(item, mesh))
        except NotFound:
            continue
        gone.append(str(item["name"]))
    return gone
