# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Take Dataplanes out of traffic and back: list once, decide, write what differs, wait until callers see it, read back."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import ApiError, Client, NotFound, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.concurrently import concurrently
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_time
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import fence, status
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import sync
from ansible_collections.meshfleet.kuma.plugins.module_utils._traffic.propagation import Propagation, Timing, Watch

FENCED, LIFTED = "fenced", "lifted"
WRITTEN = (FENCED, LIFTED)

Overviews = t.List[t.Dict[str, t.Any]]
Change = sync.Change


class Settings(t.NamedTuple):
    """What is asked for. ``fence`` false is back in traffic; ``duration`` in seconds, None without an end."""

    mesh: str
    fence: bool
    reason: str = ""
    duration: t.Optional[float] = None
    force: bool = False
    check: bool = False
    wait: bool = True
    timing: Timing = Timing()


class Outcome(t.NamedTuple):
    """What was decided and done. ``overviews`` are those after the last write, ``touched`` whether anything was (or would be) written."""

    changes: t.List[Change]
    overviews: Overviews
    touched: bool
    propagation: t.Optional[Propagation] = None


class Maintenance:
    """Maintenance of one mesh. ``now`` is in epoch seconds."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        now: float,
        sleep: t.Callable[[float], t.Any] = time.sleep,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self.client, self.settings, self.now = client, settings, now
        self.sleep, self.clock = sleep, clock
        self.dataplanes = sync.Dataplanes(client, sync.Settings(settings.mesh, check=settings.check))
        self.labels = self.dataplanes.labels

    def list(self) -> Overviews:
        return self.client.list(api_path("meshes", self.settings.mesh, "dataplanes", "_overview"))

    def apply(self, names: t.Sequence[str], labels: t.Mapping[str, str]) -> Outcome:
        """Fence or lift ``names``, or with ``labels`` all that have them. Raises sync.Refused and ApiError."""
        if labels and not self.labels:
            raise sync.Refused(
                "labels select nothing reliably: control planes before 2.13 lose labels at the first change of readiness. Give names instead."
            )
        overviews = self.list()
        known = {str(item["name"]): item for item in overviews}
        chosen = sorted(name for name, item in known.items() if status.has_labels(item, labels)) if labels else sorted(set(names))
        changes = [self._decide(name, known.get(name)) for name in chosen]
        if self.settings.fence and not self.settings.force:
            self._refuse_to_empty(overviews, changes)
        if self.settings.check or not any(change.action in WRITTEN for change in changes):
            return Outcome(changes, overviews, any(change.action in WRITTEN for change in changes))
        return self._carry_out(changes, overviews)

    def _decide(self, name: str, overview: t.Optional[fence.Overview]) -> Change:
        if overview is None:
            return _failed(name, "not_found", f"it is not registered in mesh {self.settings.mesh}: correct the name or the mesh")
        before = status.dataplane(overview)
        reason = fence.cannot_be_fenced(before)
        if reason and self.settings.fence:
            return _failed(name, "unsupported", reason)
        after = self._make(before)
        fields = tuple(fence.fields(before, after))
        if not fields:
            return Change(name, sync.UNCHANGED, before, before)
        if not self.settings.fence and not self.settings.force and _health(fields) and not status.online(overview):
            detail = (
                "its proxy is not connected, and back in traffic it would be called all the same: start it and repeat this, or set force"
            )
            return _failed(name, "refused", detail)
        return Change(name, FENCED if self.settings.fence else LIFTED, after, before, fields)

    def _make(self, before: sync.Dataplane) -> sync.Dataplane:
        if not self.settings.fence:
            return fence.lift(before)
        if not self.labels or (not fence.inbounds(before)):
            return fence.fence(before, None)
        held = fence.mark_of(before.get("labels"))
        end = fence.until(held.until if held else None, self.now, self.settings.duration)
        return fence.fence(before, fence.Mark(fence.slug(self.settings.reason), end))

    def _refuse_to_empty(self, overviews: Overviews, changes: t.Sequence[Change]) -> None:
        names = {change.name for change in changes if change.action == FENCED}
        services = fence.emptied(overviews, names)
        if not services:
            return
        last = "; ".join(f"{service} ({', '.join(who)})" for service, who in services.items())
        raise sync.Refused(
            f"Nothing was written. No instance in traffic and connected would be left of {last}. Fence fewer at a time, or set force.",
            [change._replace(action=sync.SKIPPED, fields=()) if change.action == FENCED else change for change in changes],
        )

    def _carry_out(self, changes: t.Sequence[Change], overviews: Overviews) -> Outcome:
        watch = self._watch(changes, overviews)
        done = concurrently(self._write, changes)
        written = [change for change in done if change.action in WRITTEN]
        if not written:
            return Outcome(done, overviews, False)
        propagation = None
        if watch is not None and any(_health(change.fields) for change in written):
            watch.only(self._all_moving(written))
            propagation = watch.wait(self.settings.timing, self.sleep, self.clock)
            done = [self._arrived(change, propagation) for change in done]
        after = self.list()
        return Outcome(self._read_back(done, after), after, True, propagation)

    def _watch(self, changes: t.Sequence[Change], overviews: Overviews) -> t.Optional[Watch]:
        moving = self._all_moving([change for change in changes if change.action in WRITTEN])
        if not self.settings.wait or not moving:
            return None
        return Watch(
            self.client,
            self.settings.mesh,
            overviews,
            moving,
            {change.name for change in changes},
            vanish=self.settings.fence,
        )

    def _all_moving(self, changes: t.Iterable[Change]) -> fence.Endpoints:
        moving: fence.Endpoints = {}
        for change in changes:
            for service, found in self._moving(change).items():
                moving.setdefault(service, set()).update(found)
        return moving

    def _moving(self, change: Change) -> fence.Endpoints:
        before = change.before or {}
        return fence.endpoints(before, fence.gets_traffic if self.settings.fence else fence.is_fenced)

    def _write(self, change: Change) -> Change:
        if change.action not in WRITTEN:
            return change

        def make(live: t.Optional[sync.Dataplane]) -> t.Optional[sync.Dataplane]:
            if live is None:
                raise NotFound("Gone", "it was deleted meanwhile", status=404)
            body = self._make(live)
            return body if fence.fields(live, body) else None

        try:
            written = self.dataplanes.rewrite(change.name, make)
        except ApiError as error:
            return change._replace(action=sync.FAILED, failure=error.as_failure())
        return change if written else change._replace(action=sync.UNCHANGED, fields=())

    def _arrived(self, change: Change, propagation: Propagation) -> Change:
        """``change``, failed when callers still have an endpoint of a Dataplane that was fenced."""
        if change.action != FENCED:
            return change
        own = set().union(*self._moving(change).values())
        late = [f"{address}:{port}" for address, port in propagation.late if (address, port) in own]
        if not late:
            return change
        detail = f"it is fenced, but {', '.join(propagation.peers)} still call {', '.join(late)} after {propagation.seconds:.0f} s"
        return change._replace(action=sync.FAILED, failure=_failure("timeout", "Not out of traffic", detail))

    def _read_back(self, changes: t.Sequence[Change], after: Overviews) -> t.List[Change]:
        held = {str(item["name"]): status.dataplane(item) for item in after}
        result = []
        for change in changes:
            if change.action in WRITTEN and change.name not in held:
                change = _failed(change.name, "not_found", "it was deleted right after the write")
            elif change.action == FENCED and any(fence.gets_traffic(inbound) for inbound in fence.inbounds(held[change.name])):
                change = change._replace(action=sync.FAILED, failure=_failure("dropped", "Not fenced", _UNDONE % "in traffic again"))
            elif change.action == LIFTED and any(fence.is_fenced(inbound) for inbound in fence.inbounds(held[change.name])):
                change = change._replace(action=sync.FAILED, failure=_failure("dropped", "Not lifted", _UNDONE % "fenced again"))
            result.append(change)
        return result


_UNDONE = "it is %s right after the write: its health changed, or somebody else writes to it; repeat this"


def carry_out(
    client: Client,
    settings: Settings,
    now: float,
    warn: t.Callable[[str], t.Any],
    names: t.Sequence[str] = (),
    labels: t.Optional[t.Mapping[str, str]] = None,
) -> Result:
    """Fence or lift, and the result of the task that does: ``{changed, results, stale, lost, diff, propagation}``.

    Raises ItemsFailed, with as much of the result as there is, and ApiError.
    """
    maintenance = Maintenance(client, settings, now)
    try:
        outcome = maintenance.apply(names, labels or {})
    except sync.Refused as refused:
        raise ItemsFailed(refused.msg, {"changed": False, "results": [change.result() for change in refused.changes]}) from refused
    found = report(outcome.overviews, now)
    result: Result = {
        "changed": outcome.touched,
        "results": [change.result() for change in outcome.changes],
        "diff": diff(outcome.changes, settings.mesh),
        **found,
    }
    if outcome.propagation is not None:
        result["propagation"] = outcome.propagation.result()
    for text in warnings(found, outcome, settings):
        warn(text)
    if settings.fence and not maintenance.labels and outcome.touched:
        warn(f"Neither reason nor duration is recorded: a control plane of version {client.capabilities().version} loses labels.")
    failed = [change for change in outcome.changes if change.action == sync.FAILED]
    if failed:
        raise ItemsFailed(sync.describe_failures(failed), result)
    return result


def report(overviews: t.Iterable[fence.Overview], now: float) -> t.Dict[str, t.Any]:
    """``stale``: Dataplanes whose maintenance should be over; ``lost``: names of those in maintenance that get traffic again."""
    marked = fence.marked(overviews)
    stale = [
        {"name": entry.name, "reason": entry.mark.reason, "until": entry.mark.until, "fenced": entry.fenced}
        for entry in marked
        if fence.stale(entry, now)
    ]
    lost = [entry.name for entry in marked if not entry.fenced and not fence.stale(entry, now)]
    return {"stale": stale, "lost": sorted(lost)}


def warnings(found: t.Mapping[str, t.Any], outcome: Outcome, settings: Settings) -> t.List[str]:
    """What a user has to be told beside the result."""
    texts = []
    if found["stale"]:
        each = ", ".join(f"{item['name']} ({item['reason']}, until {format_time(item['until'])})" for item in found["stale"][:10])
        texts.append(f"The maintenance of {len(found['stale'])} Dataplanes should be over: {each}. Bring them back with state=in_traffic.")
    if found["lost"]:
        texts.append(
            f"In maintenance, but in traffic again: {', '.join(found['lost'][:10])}. A proxy that is stopped and started while it is fenced may lose its fence."
        )
    unfenced = [
        f"{change.name} ({', '.join(inbounds)})"
        for change in outcome.changes
        for inbounds in [fence.unfenced(change.before or {})]
        if settings.fence and inbounds and change.action in (*WRITTEN, sync.UNCHANGED)
    ]
    if unfenced:
        texts.append(
            f"Not ready and therefore not fenced: {', '.join(unfenced[:10])}. They come into traffic as soon as their proxies are healthy."
        )
    propagation = outcome.propagation
    if propagation is not None and propagation.late and not settings.fence:
        late = ", ".join(f"{address}:{port}" for address, port in propagation.late[:10])
        texts.append(f"Back in traffic, but {', '.join(propagation.peers)} do not call {late} yet after {propagation.seconds:.0f} s.")
    return texts


def diff(changes: t.Iterable[Change], mesh: str) -> t.List[t.Dict[str, t.Any]]:
    """One entry per Dataplane that changes, in the shape of Ansible's diff."""
    entries = []
    for change in changes:
        if change.fields and change.before is not None and change.desired is not None:
            header = f"Dataplane {mesh}/{change.name}"
            before, after = fence.view(change.before), fence.view(change.desired)
            entries.append({"before_header": header, "after_header": header, "before": before, "after": after})
    return entries


def _health(fields: t.Iterable[str]) -> bool:
    """Whether inbounds change and not only labels."""
    return any(not field.startswith("labels") for field in fields)


def _failed(name: str, kind: str, detail: str) -> Change:
    return Change(name, sync.FAILED, failure=_failure(kind, "Not done", detail))


def _failure(kind: str, title: str, detail: str) -> t.Dict[str, t.Any]:
    return {"kind": kind, "status": None, "title": title, "detail": detail, "invalid_parameters": []}
