# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""A run as one worker of the controller sees it: the state behind its lock, a shared view of the control plane, and whether to go on."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied, ApiError, Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue
from ansible_collections.meshfleet.kuma.plugins.module_utils._traffic.propagation import Timing
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import admission, settings, view, zone
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import journal as roll_journal
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import pulse as roll_pulse
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.lock import Locks, Taken
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.traffic import Traffic

POLL = 0.5  # seconds between two looks of a worker that waits
LEAST_AGE = 1.0  # the control plane is asked at most once in so many seconds, and for at most a third of the time
# What a control plane that restarts or is overloaded answers; anything else does not get better by itself.
PASSING = frozenset(("connection", "timeout", "unavailable", "server"))

T = t.TypeVar("T")
Json = t.Dict[str, t.Any]


class Stopped(Exception):
    """This worker must not go on: its controller is gone, or another one continues the run."""


class Roll:
    """``parent`` gives the process that owns this worker; ``clock`` epoch seconds. ``issuer`` makes the tokens of covers; without one the
    control plane does."""

    def __init__(
        self,
        journal: roll_journal.Journal,
        client: Client,
        parent: t.Callable[[], int] = os.getppid,
        clock: t.Callable[[], float] = time.time,
        sleep: t.Callable[[float], t.Any] = time.sleep,
        issuer: t.Optional[issue.Issuer] = None,
    ) -> None:
        self.journal, self.client = journal, client
        self.issuer = issuer or issue.Issuer(client)
        self.parent, self.clock, self.sleep = parent, clock, sleep
        self.owner = parent()
        head = journal.head()
        self.mesh, self.kind, self.epoch = str(head["mesh"]), str(head["kind"]), int(head["epoch"])
        self.settings = settings.read(head["settings"])
        self.locks = Locks(client, self.mesh, journal.run, self.epoch, str(head["owner"]), self.settings.host_timeout)
        self.warnings: t.List[str] = []
        self._traffic: t.Optional[Traffic] = None

    @property
    def traffic(self) -> Traffic:
        if self._traffic is None:
            timing = Timing(self.settings.propagation_delay, self.settings.propagation_timeout)
            self._traffic = Traffic(self.client, self.mesh, self.journal.run, timing, self.sleep)
        return self._traffic

    # -- whether to go on

    def guard(self, head: t.Mapping[str, t.Any]) -> None:
        """Raise Stopped unless this worker's controller lives and owns the run."""
        if self.parent() != self.owner:
            raise Stopped("the controller that started this worker is gone")
        if head["epoch"] != self.epoch:
            raise Stopped(f"another controller continues run {self.journal.run}")
        if head["process"]["pid"] != self.owner:
            raise Stopped(
                f"run {self.journal.run} belongs to another process ({head['owner']}, process {head['process']['pid']}): begin one with state=start"
            )

    def pause(self) -> None:
        """Wait a little, and look whether to go on."""
        self.sleep(POLL)
        self.guard(self.journal.head())

    def patiently(self, request: t.Callable[[], T]) -> T:
        """``request()``, again while the control plane is away, for at most pause_timeout. Raises ApiError and Stopped."""
        since = self.clock()
        while True:
            try:
                return request()
            except ApiError as error:
                if error.kind not in PASSING or self.clock() - since >= self.settings.pause_timeout:
                    raise
            self.pause()

    # -- the state

    @contextlib.contextmanager
    def state(self) -> t.Iterator[t.Tuple[Json, admission.State]]:
        """Head and state of the run behind the lock; what was changed is kept. Raises Stopped."""
        with self.journal.locked():
            head = self.journal.head()
            self.guard(head)
            state = admission.State.from_json(head["state"])
            yield head, state
            after = state.as_json()
            if after != head["state"] or state.abort != (head["abort"] or ""):
                head["state"], head["abort"] = after, state.abort or None
                self.journal.save_head(head)

    def abort(self, reason: str) -> None:
        with self.state() as (_head, state):
            state.abort = state.abort or reason

    # -- the view

    def kept(self) -> Json:
        return self.journal.overview() or {}

    def refresh(self) -> None:
        """Ask the control plane unless somebody has done so, or is about to."""
        if self._is_fresh(self.kept()):
            return
        with self.journal.refreshing() as mine:
            kept = self.kept()
            if not mine or self._is_fresh(kept):
                return
            self._ask(kept)

    def _is_fresh(self, kept: Json) -> bool:
        age = self.clock() - float(kept.get("asked", 0.0))
        return 0 <= age < max(LEAST_AGE, 2 * float(kept.get("took", 0.0)))

    def _ask(self, kept: Json) -> None:
        head = self.journal.head()
        self.guard(head)
        state = admission.State.from_json(head["state"])
        members = [*state.waiting.values(), *state.flying.values()]
        wanted = {name for member in members for name in member.proxies}
        at = self.clock()
        # Before the listing: one that does not answer takes seconds, and the view has to be fresh.
        pulse = self._listen(kept, state, at)
        at = self.clock()
        try:
            overviews = zone.overviews(self.client, self.mesh, head.get("zone_proxies") or [])
            self._renew(head, at)
        except Taken as taken:
            self.abort(f"the lock in the control plane was lost: {taken}")
            return
        except ApiError as error:
            if error.kind not in PASSING:
                self.abort(f"the control plane refuses to answer: {error}")
            self.journal.save_overview({**kept, "asked": self.clock(), "outage": kept.get("outage") or at, "error": error.title})
            return
        fresh = view.summary(overviews, wanted, at, self.clock() - at)
        fresh.update(asked=self.clock(), recovered=at if kept.get("outage") else kept.get("recovered", 0.0), wanted=sorted(wanted))
        self._count_lost(fresh, pulse, roll_pulse.siblings(overviews, {name for member in members for name in member.services}))
        self._note(fresh, kept, state, set(head["services"]), at)
        self.journal.save_overview(fresh)

    def _listen(self, kept: Json, state: admission.State, now: float) -> Json:
        """What is heard of the other instances of the services that wait, for the next view."""
        pulse = kept.get("pulse") or roll_pulse.nothing()
        flying = {name for member in state.flying.values() for name in member.proxies}
        wanted = {} if kept.get("outage") else roll_pulse.due(pulse, kept.get("siblings") or {}, flying, now)
        return roll_pulse.update(pulse, roll_pulse.listen(self.client, self.mesh, wanted), self.clock()) if wanted else pulse

    @staticmethod
    def _count_lost(fresh: Json, pulse: Json, siblings: roll_pulse.Siblings) -> None:
        fresh.update(pulse=pulse, siblings=siblings)
        for service, own in siblings.items():
            entry = fresh["services"][service]
            entry["down"] = sorted({*entry["down"], *roll_pulse.lost(pulse, own)})

    def _renew(self, head: Json, now: float) -> None:
        lock = head.get("lock")
        if not lock or lock["expires"] - now > self.settings.host_timeout / 2:
            return
        expires = self.locks.acquire(now)
        with self.journal.locked():
            latest = self.journal.head()
            if latest["epoch"] == self.epoch:
                latest["lock"] = {"name": self.locks.name, "expires": expires}
                self.journal.save_head(latest)

    def _note(self, fresh: Json, kept: Json, state: admission.State, rolled: t.AbstractSet[str], at: float) -> None:
        """The history of the services that are rolled, when something changed."""
        numbers: t.Dict[str, t.List[int]] = {}
        flying: t.Dict[str, int] = {}
        for member in state.flying.values():
            for service in member.services:
                flying[service] = flying.get(service, 0) + 1
        for service, entry in fresh["services"].items():
            if service in rolled:
                numbers[service] = [entry["total"], entry["total"] - len(entry["down"]), flying.get(service, 0)]
        before = kept.get("numbers") or {}
        self.journal.note_services(
            [
                {"service": service, "at": round(at, 2), "total": found[0], "serving": found[1], "in_flight": found[2]}
                for service, found in sorted(numbers.items())
                if before.get(service) != found
            ]
        )
        fresh["numbers"] = numbers

    def callers(self) -> t.Dict[str, t.List[str]]:
        return t.cast(t.Dict[str, t.List[str]], self.kept().get("callers") or {})


def open_run(run_dir: str, run: str, client: Client, issuer: t.Optional[issue.Issuer] = None) -> Roll:
    """The run that ``state=start`` returned. Raises journal.NoRun."""
    return Roll(roll_journal.find(run_dir, run), client, issuer=issuer)


__all__ = ["PASSING", "POLL", "AccessDenied", "Roll", "Stopped", "open_run"]
