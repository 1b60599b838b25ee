# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""A Dataplane that its control plane is about to delete, because a Direct proxy has left, is registered again at that moment.

The control plane deletes it ten seconds after the stream ended, whoever registered it, and until then refuses every other stream of that
name. The Indirect proxy that follows is let in when both are over: when the name is free, and the Dataplane is there again.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import ApiError
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource, status
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import sync, waiting

CREATED, KEPT = "created", "kept"
INTERVAL = 0.3


class StillThere(Exception):
    """The control plane did not delete the Dataplane, and its proxy did not come back either."""


def hand_over(
    dataplanes: sync.Dataplanes,
    desired: t.Mapping[str, t.Any],
    timeout: float,
    sleep: t.Callable[[float], t.Any] = time.sleep,
    clock: t.Callable[[], float] = time.monotonic,
) -> str:
    """Wait until the Dataplane is deleted and write it again, with the ``state``, ``health`` and foreign labels that it had.

    Returns CREATED, or KEPT when it need not be written: its proxy is connected again, to another control plane instance, or somebody else
    has written it. Raises StillThere after ``timeout`` seconds, and ApiError.
    """
    name, settings = str(desired["name"]), dataplanes.settings
    deadline = clock() + timeout
    first: t.Optional[t.Dict[str, t.Any]] = None
    last: t.Optional[t.Dict[str, t.Any]] = None
    while True:
        try:
            found = waiting.select(dataplanes.client, settings.mesh, [name], {})
        except ApiError as error:
            if error.kind not in waiting.PASSING or clock() >= deadline:
                raise
            sleep(INTERVAL)
            continue
        if not found:
            return _write(dataplanes, name, desired, last)
        last = found[0]
        first = first or last
        if _connected_anew(first, last) or first.get("creationTime") != last.get("creationTime"):
            return KEPT
        if clock() >= deadline:
            if status.online(last):
                return KEPT
            raise StillThere(
                f"Dataplane {name} is still registered {timeout:g} s after its Direct proxy was stopped, and its proxy is not connected: "
                "the control plane may have been restarted meanwhile; run the roll again"
            )
        sleep(INTERVAL)


def _write(dataplanes: sync.Dataplanes, name: str, desired: t.Mapping[str, t.Any], last: t.Optional[t.Mapping[str, t.Any]]) -> str:
    initial = dataplanes.settings.initial_state
    before = status.dataplane(last) if last is not None else None

    def make(live: t.Optional[sync.Dataplane]) -> t.Optional[sync.Dataplane]:
        if live is not None:
            return None
        if before is None:
            return resource.body_for_create(desired, initial, dataplanes.labels)
        return resource.body_for_update(desired, before, initial, dataplanes.labels)

    return CREATED if dataplanes.rewrite(name, make) else KEPT


def _connected_anew(first: t.Mapping[str, t.Any], last: t.Mapping[str, t.Any]) -> bool:
    known = {item.get("id") for item in _subscriptions(first)}
    return status.online(last) and any(item.get("id") not in known for item in _subscriptions(last))


def _subscriptions(overview: t.Mapping[str, t.Any]) -> t.List[t.Mapping[str, t.Any]]:
    return (overview.get("dataplaneInsight") or {}).get("subscriptions") or []
