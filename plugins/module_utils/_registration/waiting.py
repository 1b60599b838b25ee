# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Waiting for Dataplanes: one paged listing per poll, never one request for each of them."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import ApiError, Client, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status

WAITS = ("none", "online", "ready", "gone")
# A control plane that restarts while we wait is waited for.
PASSING = frozenset(("connection", "timeout", "unavailable"))

Overviews = t.List[t.Dict[str, t.Any]]
Pending = t.List[t.Tuple[str, str]]


def select(client: Client, mesh: str, names: t.Sequence[str], labels: t.Mapping[str, str]) -> Overviews:
    """The overviews of one mesh, by name; only those with these names (all when empty) and labels."""
    params = {f"filter[labels.{key}]": value for key, value in labels.items()}
    if len(names) == 1:
        params["name"] = names[0]
    found = client.list(api_path("meshes", mesh, "dataplanes", "_overview"), params)
    wanted = set(names)
    # Filtered again: `name` matches parts of names, and old control planes know no filter by label (trap 21).
    kept = [item for item in found if (not wanted or item["name"] in wanted) and status.has_labels(item, labels)]
    return sorted(kept, key=lambda item: str(item["name"]))


def pending(overviews: Overviews, names: t.Sequence[str], wait: str) -> Pending:
    """``(name, reason)`` of each Dataplane that is not yet what ``wait`` asks for."""
    if wait == "none":
        return []
    if wait == "gone":
        return [(str(item["name"]), "still registered") for item in overviews]
    found = {str(item["name"]) for item in overviews}
    result: Pending = [(name, "not registered") for name in names if name not in found]
    for item in overviews:
        if wait == "online" and not status.online(item):
            result.append((str(item["name"]), status.ready(item)[1][0]))
        elif wait == "ready":
            is_ready, reasons = status.ready(item)
            if not is_ready:
                result.append((str(item["name"]), ", ".join(reasons)))
    return sorted(result)


def wait_for(
    client: Client,
    mesh: str,
    names: t.Sequence[str],
    labels: t.Mapping[str, str],
    wait: str,
    timeout: float,
    interval: float,
    sleep: t.Callable[[float], t.Any] = time.sleep,
    clock: t.Callable[[], float] = time.monotonic,
) -> t.Tuple[Overviews, Pending]:
    """As :func:`poll`, for the Dataplanes of one mesh."""

    def look() -> t.Tuple[Overviews, Pending]:
        overviews = select(client, mesh, names, labels)
        return overviews, pending(overviews, names, wait)

    return poll(look, timeout, interval, sleep, clock)


def poll(
    look: t.Callable[[], t.Tuple[Overviews, Pending]],
    timeout: float,
    interval: float,
    sleep: t.Callable[[float], t.Any] = time.sleep,
    clock: t.Callable[[], float] = time.monotonic,
) -> t.Tuple[Overviews, Pending]:
    """Look until nothing is pending or ``timeout`` seconds have passed; returns the last overviews and what is pending then.

    Raises ApiError when the first look fails, when a later one fails for good, or when the control plane does not come
    back in time.
    """
    deadline = clock() + timeout
    first = True
    while True:
        failure: t.Optional[ApiError] = None
        overviews: Overviews = []
        missing: Pending = []
        try:
            overviews, missing = look()
        except ApiError as exc:
            if first or exc.kind not in PASSING:
                raise
            failure = exc
        first = False
        left = deadline - clock()
        if failure is None and (not missing or left <= 0):
            return overviews, missing
        if failure is not None and left <= 0:
            raise failure
        sleep(min(interval, max(left, 0.0)))
