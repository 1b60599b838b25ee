# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""One host on its way through a roll: it waits, is admitted, is restarted by another task, and is completed."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import ApiError
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import admission, cover, gate, outline, plan, retiring, traffic, zone
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import pulse as roll_pulse
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import view as roll_view
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.run import Json, Roll

IN_TRAFFIC = 15.0  # seconds that a lifted fence may take to show in the Dataplane
# After a restart that failed, its proxy may be about to come back.
RECOVERY = 30.0


class Answer(t.NamedTuple):
    """What the action returns about a host. ``proxies`` are ``[{name, strategy, reasons}]``, and hold no secret."""

    outcome: str
    reason: str = ""
    proxies: t.Sequence[Json] = ()


def _wish(part: Json) -> Json:
    return {key: part[key] for key in ("name", "strategy", "reasons")}


class Host:
    def __init__(self, roll: Roll, name: str) -> None:
        self.roll, self.name = roll, name

    def _record(self) -> t.Optional[Json]:
        return self.roll.journal.record(self.name)

    def _save(self, record: Json) -> None:
        with self.roll.journal.locked():
            self.roll.journal.save_record(self.name, record)

    # -- admission

    def admit(self) -> Answer:
        """Wait until this host may be restarted, take it out of traffic where it is drained, and say how it is to be restarted."""
        record = self._record()
        if record is None:
            return Answer("refused", f"it is no part of run {self.roll.journal.run}")
        status = record["status"]
        if status == "done":
            return Answer("done", "it is done")
        if status not in ("waiting", "deferred", "admitted"):
            return Answer("refused", record["reason"] or status)
        if status != "admitted":
            with self.roll.journal.waits(self.name):
                answer = self._wait(record, 2 if status == "deferred" else 1)
            if answer is not None:
                return answer
        return self._prepare()

    def _wait(self, record: Json, turn: int) -> t.Optional[Answer]:
        """None when the host is admitted."""
        roll = self.roll
        arrived = roll.clock()
        with roll.state() as (_head, state):
            admission.arrive(state, self.name, plan.member(record, turn, arrived))
            record.update({"arrived": record.get("arrived") or arrived, "pass": turn})
            roll.journal.save_record(self.name, record)
        try:
            while True:
                roll.refresh()
                verdict = self._look(record)
                if verdict.kind == admission.ADMIT:
                    return None
                if verdict.kind != admission.WAIT:
                    return Answer({"defer": "deferred", "refuse": "refused"}[verdict.kind], verdict.reason)
                roll.pause()
        except ApiError as error:
            with roll.state() as (_head, state):
                admission.leave(state, self.name)
            return Answer("refused", str(error))

    def _look(self, record: Json) -> admission.Verdict:
        """One look at the state: whatever is decided is written down before the lock is given back."""
        roll, now = self.roll, self.roll.clock()
        with roll.state() as (_head, state):
            kept = roll.kept()
            view = roll_view.view(kept)
            state.abort = state.abort or admission.overdue(roll.settings, view, now)
            for host in admission.stuck(state, roll.settings, now):
                self._give_up(state, host, now)
            verdicts = self._verdicts(state, view, now)
            verdict = verdicts.get(self.name) or admission.Verdict(admission.REFUSE, "it does not wait any more")
            if verdict.kind == admission.ADMIT and not set(record["proxies"]) <= set(kept.get("wanted") or []):
                return admission.Verdict(admission.WAIT, "for a newer view of the control plane")
            unheard = self._unheard(state, kept, now) if verdict.kind == admission.ADMIT else []
            if unheard:
                return admission.Verdict(admission.WAIT, f"for a sign of life of {', '.join(unheard[:3])}")
            if verdict.kind == admission.ADMIT:
                member = admission.admit(state, roll.settings, view, self.name, now)
                before = {name: kept["proxies"].get(name) for name in record["proxies"]}
                record.update(status="admitted", reason="", canary=member.canary, admitted=now, before=before, epoch=roll.epoch)
                record["phases"]["wait"] = round(now - record["arrived"], 2)
            elif verdict.kind != admission.WAIT:
                verdict = verdict._replace(reason=verdict.reason + roll_pulse.hint(kept))
                admission.leave(state, self.name)
                status = "deferred" if verdict.kind == admission.DEFER else "refused"
                record.update(status=status, reason=verdict.reason)
            if verdict.kind != admission.WAIT:
                roll.journal.save_record(self.name, record)
        return verdict

    def _unheard(self, state: admission.State, kept: Json, now: float) -> t.List[str]:
        """The other instances of its services that have to answer before this host may go."""
        flying = {name for member in state.flying.values() for name in member.proxies}
        pulse = kept.get("pulse") or roll_pulse.nothing()
        own = state.waiting[self.name]
        return roll_pulse.unheard(pulse, kept.get("siblings") or {}, own.services, flying | set(own.proxies), now)

    def _verdicts(self, state: admission.State, view: admission.View, now: float) -> t.Dict[str, admission.Verdict]:
        """Decisions, without the hosts whose worker has died: nobody waits for these."""
        while True:
            verdicts = admission.decide(state, self.roll.settings, view, now)
            first = next((host for host, verdict in verdicts.items() if verdict.kind == admission.ADMIT), self.name)
            if first == self.name or self.roll.journal.still_waits(first):
                return verdicts
            admission.leave(state, first)

    def _give_up(self, state: admission.State, host: str, now: float) -> None:
        record = self.roll.journal.record(host)
        admission.complete(state, self.roll.settings, host, success=False, lost=True, now=now)
        if record is not None:
            reason = f"nobody said how its restart went within {self.roll.settings.host_timeout:g} s"
            self.roll.journal.save_record(host, dict(record, status="failed", reason=reason, completed=now))

    def _prepare(self) -> Answer:
        """Fences for a host that is admitted. One that cannot have them has failed, untouched."""
        record = t.cast(Json, self._record())
        try:
            proxies = self._proxies(record)
        except (ApiError, traffic.NotFenced) as error:
            reason = f"it was not touched: {error}"
            self._lift(record, sorted(record["fenced"]))
            self._end(record, "failed", reason, lost=False)
            return Answer("refused", reason)
        return Answer("admitted", "; ".join(record["reasons"]), proxies)

    def _proxies(self, record: Json) -> t.List[Json]:
        roll, begun = self.roll, self.roll.clock()
        # A zone proxy has no inbound to fence. Its callers are told by its drain, and another one of its zone serves. Who serves nobody is
        # restarted as it is.
        drained = [
            part["name"]
            for part in record["parts"]
            if part["strategy"] == outline.DRAINED and not part.get("zone_proxy") and not part.get("dead")
        ]

        def remember(name: str, keys: t.Sequence[str]) -> None:
            record["fenced"][name] = sorted({*record["fenced"].get(name, []), *keys})
            self._save(record)

        if drained:
            notes = roll.patiently(lambda: roll.traffic.fence(drained, roll.callers(), remember))
            record["notes"] = sorted({*record["notes"], *notes})
            record["phases"]["fence"] = round(roll.clock() - begun, 2)
            self._save(record)
        return [_wish(part) for part in record["parts"]]

    # -- restart

    def wishes(self, names: t.Sequence[str]) -> t.List[Json]:
        """``[{name, strategy, reasons}]`` for ``names``, or for all proxies of this host. Raises ValueError for a name of another host."""
        record = self._record()
        parts = {part["name"]: part for part in record["parts"]} if record is not None else {}
        unknown = sorted(set(names) - set(parts))
        if record is None or unknown:
            raise ValueError(f"{', '.join(unknown) or self.name} is no part of run {self.roll.journal.run} on {self.name}")
        return [_wish(parts[name]) for name in names or record["proxies"]]

    def cover(self, name: str, longest: float) -> Json:
        """``{dataplane, token}`` for the cover of a proxy whose restart begins now and takes at most ``longest`` seconds.

        They are for the one task that hands them to the VM, and in no result and no file of the roll. Raises ApiError and Stopped.
        """
        roll, validity = self.roll, cover.valid_for(longest)
        record = t.cast(Json, self._record())
        part: Json = next((part for part in record["parts"] if part["name"] == name), {})
        made = roll.patiently(lambda: zone.material(roll.issuer, roll.mesh, name, part, validity, self.name))
        # Before it leaves this process: a controller that is killed from here on leaves word of it.
        retiring.note(self.roll.journal, self.name, name, decode_claims(made["token"]))
        return made

    def note_token(self, name: str, claims: t.Mapping[str, t.Any]) -> None:
        """Write down that the cover of ``name`` has a token with these claims, so that it is revoked when the cover is gone.

        It is the VM that says so: a token that the ledger knows as another's stays valid.
        """
        if not self.roll.issuer.knows_as_anothers(claims.get("jti"), naming.cover_name(name)):
            retiring.note(self.roll.journal, self.name, name, claims, told=True)

    def failed_with_an_upgrade(self) -> bool:
        """Whether it is to be put back to what it ran with before."""
        record = self._record()
        return self.roll.kind == "upgrade" and record is not None and record["status"] == "failed"

    # -- completion

    def complete(self, result: t.Any) -> Answer:
        """Judge what the task on the VM said, and then the control plane; bring the host back into traffic where it may be."""
        record = self._record()
        if record is None:
            return Answer("refused", f"it is no part of run {self.roll.journal.run}")
        if record["status"] != "admitted":
            return Answer(record["status"], record["reason"])
        found = gate.read(result, record["proxies"], self.roll.kind)
        measured = gate.measured(found)
        record["phases"].update(measured["phases"])
        record.update(connections_cut=measured["connections_cut"], served_by=measured["served_by"])
        # What the VM decided when it looked: a cover that was possible may not be any more.
        record["notes"] = sorted(
            {*record["notes"], *(f"{name} was drained" for name in measured["drained"] if record["strategy"] == outline.COVER)}
        )
        begun = self.roll.clock()
        problem, healthy = self._gate(record, found)
        record["phases"]["gate"] = round(self.roll.clock() - begun, 2)
        record["version"]["after"] = measured["after"] or record["version"]["after"]
        back = healthy if self.roll.kind != "leave" else []
        kept_out = self._lift(record, back)
        if found.ok and not problem and not kept_out:
            return self._end(record, "done", "", lost=False)
        reasons = [found.reason, problem] if not kept_out else [found.reason, problem, f"{', '.join(kept_out)} left out of traffic"]
        lost = len(healthy) < len(record["proxies"])
        return self._end(record, "unreachable" if found.unreachable else "failed", "; ".join(filter(None, reasons)), lost)

    def _gate(self, record: Json, found: gate.Result) -> t.Tuple[str, t.List[str]]:
        """``(why the gate is not passed, the proxies that are healthy all the same)`` once it is passed or its time is over.

        After a failed restart nothing more is asked of a proxy than that it does what it did before. On a host that cannot be reached the
        restart may be under way: only a proxy that has connected anew is healthy there.
        """
        roll, settings = self.roll, self.roll.settings
        strict = found.ok or found.unreachable
        left = settings.gate_timeout if strict else min(settings.gate_timeout, RECOVERY)
        last, begun, good_since = roll.clock(), roll.clock(), None
        away = 0.0
        why: t.Dict[str, t.List[str]] = {name: ["the control plane was not asked"] for name in record["proxies"]}
        while True:
            roll.refresh()
            kept, now = roll.kept(), roll.clock()
            spent, last = now - last, now
            if kept.get("outage"):
                away += spent
                if away >= settings.pause_timeout:
                    return f"the control plane has not answered for {away:.0f} s: {kept['error']}", []
            else:
                left -= spent
                if kept.get("at", 0.0) > begun:
                    why = {name: self._problems(record, kept, name, strict, found) for name in record["proxies"]}
                    self._version(record, kept)
                    good_since = None if any(why.values()) else good_since if good_since is not None else now
                    if good_since is not None and now - good_since >= (settings.min_healthy if found.ok else 0.0):
                        return "", list(record["proxies"])
                if left <= 0:
                    break
            roll.pause()
        text = "; ".join(f"{name}: {', '.join(reasons)}" for name, reasons in sorted(why.items()) if reasons)
        return text or "it was not healthy for min_healthy seconds", [name for name, reasons in why.items() if not reasons]

    def _problems(self, record: Json, kept: Json, name: str, strict: bool, found: gate.Result) -> t.List[str]:
        before, now, ours = (record.get("before") or {}).get(name), kept["proxies"].get(name), record["fenced"].get(name, [])
        if not strict:
            return gate.unhealthy(before, now, ours)
        if (found.proxies.get(name) or {}).get("taken_over"):
            # It may have connected anew before this run admitted it.
            before = dict(before or {}, ids=(record.get("earlier") or {}).get(name, []))
        return gate.problems(before, now, ours, record["target_version"], self.roll.kind)

    @staticmethod
    def _version(record: Json, kept: Json) -> None:
        first = kept["proxies"].get(record["proxies"][0])
        if first is not None and first["version"]:
            record["version"]["after"] = first["version"]

    def _lift(self, record: Json, names: t.Sequence[str]) -> t.List[str]:
        """Bring ``names`` back into traffic; returns all proxies of the host that we took out of it and that are not back."""
        roll = self.roll
        keys = {name: record["fenced"][name] for name in names if record["fenced"].get(name)}
        rest = sorted(name for name in record["fenced"] if name not in keys)
        if not keys:
            return rest if roll.kind != "leave" else []
        try:
            roll.patiently(lambda: roll.traffic.lift(keys, roll.callers()))
            deadline = roll.clock() + IN_TRAFFIC
            while True:
                left = roll.patiently(lambda: roll.traffic.still_fenced(keys))
                if not left or roll.clock() >= deadline:
                    break
                roll.pause()
        except ApiError as error:
            record["notes"].append(f"its fence could not be lifted: {error}")
            left = sorted(keys)
        for name in keys:
            if name not in left:
                del record["fenced"][name]
        return rest + left

    def _end(self, record: Json, status: str, reason: str, lost: bool) -> Answer:
        roll = self.roll
        with roll.state() as (_head, state):
            now = roll.clock()
            record.update(status=status, reason=reason, completed=now)
            roll.journal.save_record(self.name, record)
            admission.complete(state, roll.settings, self.name, status == "done", lost, now)
        retiring.sweep(roll)
        return Answer(status, reason)
