# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The fence of a roll: the inbounds that it took out of traffic, and no others, come back.

What an operator fenced stays fenced: the journal remembers the inbounds that were in traffic before, and their Dataplane has the label
``meshfleet.kuma/maintenance`` with a reason that names the run, where there is no such label yet.
"""

from __future__ import annotations

import copy
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client, NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import fence
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import sync
from ansible_collections.meshfleet.kuma.plugins.module_utils._traffic.propagation import Timing, Watch
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import view

REASON = "rollout-"
TRIES = 3  # how often a fence that somebody lifts at once is put back

Keys = t.List[str]


class NotFenced(Exception):
    """A Dataplane still gets traffic; the message says which and why."""


def reason(run: str) -> str:
    return fence.slug(REASON + run)


def marked(dataplane: t.Mapping[str, t.Any]) -> str:
    """The reason in the mark of a Dataplane; empty without a mark."""
    mark = fence.mark_of(dataplane.get("labels"))
    return mark.reason if mark is not None else ""


def is_ours(dataplane: t.Mapping[str, t.Any]) -> bool:
    """Whether the mark of a Dataplane is one of a roll, whichever."""
    return marked(dataplane).startswith(REASON)


def out_of_traffic(dataplane: t.Mapping[str, t.Any]) -> Keys:
    return [view.inbound_key(inbound) for inbound in fence.inbounds(dataplane) if fence.is_fenced(inbound)]


def in_traffic(dataplane: t.Mapping[str, t.Any]) -> Keys:
    return [view.inbound_key(inbound) for inbound in fence.inbounds(dataplane) if fence.gets_traffic(inbound)]


def fenced(dataplane: t.Mapping[str, t.Any], run: str, labels: bool) -> t.Dict[str, t.Any]:
    """A copy of which nothing gets traffic, marked as ours where nobody else has marked it."""
    held = fence.mark_of(dataplane.get("labels"))
    mark = fence.Mark(reason(run)) if labels and (held is None or held.reason == reason(run)) else None
    return fence.fence(dataplane, mark)


def lifted(dataplane: t.Mapping[str, t.Any], keys: t.Collection[str]) -> t.Dict[str, t.Any]:
    """A copy in which the inbounds ``keys`` are not fenced any more, without our mark."""
    result = copy.deepcopy(dict(dataplane))
    for inbound in fence.inbounds(result):
        if view.inbound_key(inbound) in keys and fence.is_fenced(inbound):
            inbound["health"] = {"ready": True}
    if is_ours(result):
        for key in (fence.REASON_LABEL, fence.UNTIL_LABEL):
            result["labels"].pop(key, None)
    return result


class Traffic:
    """Takes the proxies of one mesh out of traffic and back, one request at a time. ``sleep`` and ``clock`` are in seconds."""

    def __init__(
        self,
        client: Client,
        mesh: str,
        run: str,
        timing: Timing,
        sleep: t.Callable[[float], t.Any] = time.sleep,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self.client, self.mesh, self.run, self.timing = client, mesh, run, timing
        self.sleep, self.clock = sleep, clock
        self.dataplanes = sync.Dataplanes(client, sync.Settings(mesh))

    def fence(
        self, names: t.Sequence[str], callers: t.Mapping[str, t.Sequence[str]], remember: t.Callable[[str, Keys], None]
    ) -> t.List[str]:
        """Fence ``names`` and wait until their callers have seen it; returns what a report should mention.

        ``callers`` are the callers of each service. ``remember(name, keys)`` is called before each write with the inbounds it takes out of
        traffic. Raises NotFenced and ApiError.
        """
        notes: t.List[str] = []
        for attempt in range(TRIES):
            watch = self._watch(names, callers, vanish=True)
            written = [name for name in names if self._fence_one(name, remember)]
            if not written:
                return notes
            if attempt:
                notes.append(f"somebody else lifted the fence of {', '.join(written)}, and it was put back")
            if watch is not None:
                done = watch.wait(self.timing, self.sleep, self.clock)
                # Callers that still have what somebody brought back are right to: it is fenced once more.
                if done.late and not any(in_traffic(self.dataplanes.get(name) or {}) for name in names):
                    late = ", ".join(f"{address}:{port}" for address, port in done.late)
                    raise NotFenced(
                        f"{', '.join(names)} are fenced, but {', '.join(done.peers)} still call {late} after {done.seconds:.0f} s"
                    )
        busy = [name for name in names if in_traffic(self.dataplanes.get(name) or {})]
        if busy:
            raise NotFenced(
                f"somebody else brings {', '.join(busy)} back into traffic again and again: find out who writes to these Dataplanes"
            )
        return notes

    def _fence_one(self, name: str, remember: t.Callable[[str, Keys], None]) -> bool:
        def make(live: t.Optional[sync.Dataplane]) -> t.Optional[sync.Dataplane]:
            keys = in_traffic(live or {})
            if live is None or not keys:
                return None
            remember(name, keys)
            return fenced(live, self.run, self.dataplanes.labels)

        return self.dataplanes.rewrite(name, make)

    def _watch(self, names: t.Sequence[str], callers: t.Mapping[str, t.Sequence[str]], vanish: bool) -> t.Optional[Watch]:
        endpoints: fence.Endpoints = {}
        for name in names:
            live = self.dataplanes.get(name)
            for service, found in fence.endpoints(live or {}, fence.gets_traffic if vanish else fence.is_fenced).items():
                endpoints.setdefault(service, set()).update(found)
        if not endpoints:
            return None
        return Watch(self.client, self.mesh, _as_overviews(callers), endpoints, set(names), vanish)

    def lift(self, keys: t.Mapping[str, t.Collection[str]], callers: t.Mapping[str, t.Sequence[str]]) -> t.List[str]:
        """Bring the inbounds ``keys`` of each Dataplane back and wait until callers have seen it; returns the Dataplanes written.

        One that is gone has nothing to lift. Raises ApiError, and NotFound when one vanishes between reading and writing.
        """
        names = sorted(name for name, own in keys.items() if own)
        watch = self._watch(names, callers, vanish=False) if callers and names else None
        written = [name for name in sorted(keys) if self._lift_one(name, keys[name])]
        if written and watch is not None:
            watch.wait(self.timing, self.sleep, self.clock)
        return written

    def _lift_one(self, name: str, keys: t.Collection[str]) -> bool:
        def make(live: t.Optional[sync.Dataplane]) -> t.Optional[sync.Dataplane]:
            if live is None:
                return None
            body = lifted(live, keys)
            return body if fence.fields(live, body) else None

        return self.dataplanes.rewrite(name, make)

    def still_fenced(self, keys: t.Mapping[str, t.Collection[str]]) -> t.List[str]:
        """The Dataplanes of which some of ``keys`` get no traffic."""
        found = []
        for name, own in sorted(keys.items()):
            live = self.dataplanes.get(name)
            if own and live is not None and set(own) - set(in_traffic(live)):
                found.append(name)
        return found


def _as_overviews(callers: t.Mapping[str, t.Sequence[str]]) -> t.List[t.Dict[str, t.Any]]:
    """What was kept of the callers, as the overviews that a watch reads: connected proxies and what they call."""
    calls: t.Dict[str, t.List[str]] = {}
    for service, names in callers.items():
        for name in names:
            calls.setdefault(name, []).append(service)
    return [
        {
            "name": name,
            "dataplane": {"networking": {"outbound": [{"tags": {"kuma.io/service": service}} for service in services]}},
            "dataplaneInsight": {"subscriptions": [{"connectTime": "now"}]},
        }
        for name, services in calls.items()
    ]


__all__ = [
    "Keys",
    "NotFenced",
    "NotFound",
    "Timing",
    "Traffic",
    "fenced",
    "in_traffic",
    "is_ours",
    "lifted",
    "marked",
    "out_of_traffic",
    "reason",
]
