# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Who may be restarted now? The rules of a rolling restart, as pure functions over a small state. All times are epoch seconds.

A host that waits holds a fork of the controller, and others may not get one before it is done. So a host only ever waits for what
goes on without a fork of its own: hosts in flight, hosts that wait before it, time, or the control plane. What could only be admitted
after anything else is deferred to a second pass, and refused there.

One decision looks at the hosts that wait and those in flight, never at the whole fleet.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.settings import Settings, share

ADMIT, WAIT, DEFER, REFUSE = "admit", "wait", "defer", "refuse"
# What a service is: instances that are called, a gateway, a zone proxy, or proxies that nobody calls.
CALLED, GATEWAY, ZONE, CALLER = "called", "gateway", "zone proxy", "caller"
ONE_AT_A_TIME = (GATEWAY, ZONE)

FRESH = 10.0  # how old, beside the time it took, a view may be when a host is admitted
SETTLE = 10.0  # proxies reconnect for so long after an outage of the control plane

Counts = t.Dict[str, int]


class Verdict(t.NamedTuple):
    kind: str
    reason: str = ""


@dataclasses.dataclass
class Service:
    """``total`` instances, of which those in ``down`` (names without the suffix of a cover) do not serve; ``offline`` are those of them of
    which the control plane says no more than that they are not connected."""

    total: int
    down: t.Set[str] = dataclasses.field(default_factory=set)
    kind: str = CALLED
    offline: t.Set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass
class View:
    """What the control plane said at ``at``, which took ``took`` seconds; ``outage`` is since when it has not answered."""

    at: float
    services: t.Dict[str, Service] = dataclasses.field(default_factory=dict)
    took: float = 0.0
    outage: t.Optional[float] = None
    error: str = ""
    recovered: float = 0.0


@dataclasses.dataclass
class Member:
    """A host of the roll. ``services`` are its instances of each, ``loses`` those that do not serve while it is restarted.

    ``group`` is shared by hosts that are alike (services and target version): one of them is the canary of the others.
    ``lost`` is set with its admission: what counts as lost while it is in flight. One that ``heals`` serves nobody, by what its VM says:
    whenever it is restarted, nothing is taken from anybody, and nothing is proven for others.
    """

    order: int
    proxies: t.List[str]
    services: Counts = dataclasses.field(default_factory=dict)
    loses: Counts = dataclasses.field(default_factory=dict)
    group: str = ""
    turn: int = 1
    since: float = 0.0
    canary: bool = False
    heals: bool = False
    lost: Counts = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class State:
    """A roll of ``size`` hosts. ``proven`` counts the successes of each group, ``missing`` names instances that are lost although
    the control plane may not know it yet, ``changed`` is when the last host left, ``soaked`` when the last canary did.

    Of proxies that were not connected when the roll began their VMs said that those in ``dead`` served nobody, and that those in ``serving``
    did."""

    size: int
    waiting: t.Dict[str, Member] = dataclasses.field(default_factory=dict)
    flying: t.Dict[str, Member] = dataclasses.field(default_factory=dict)
    proven: Counts = dataclasses.field(default_factory=dict)
    missing: t.Dict[str, t.List[str]] = dataclasses.field(default_factory=dict)
    dead: t.List[str] = dataclasses.field(default_factory=list)
    serving: t.List[str] = dataclasses.field(default_factory=list)
    admitted: int = 0
    finished: int = 0
    succeeded: int = 0
    failed: t.List[str] = dataclasses.field(default_factory=list)
    changed: float = 0.0
    soaked: float = 0.0
    abort: str = ""

    def as_json(self) -> t.Dict[str, t.Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: t.Mapping[str, t.Any]) -> State:
        state = cls(**data)
        state.waiting = {host: Member(**member) for host, member in data["waiting"].items()}
        state.flying = {host: Member(**member) for host, member in data["flying"].items()}
        return state


def arrive(state: State, host: str, member: Member) -> None:
    if host not in state.flying:
        state.waiting[host] = member


def leave(state: State, host: str) -> None:
    """``host`` waits no more and is not admitted."""
    state.waiting.pop(host, None)


def admit(state: State, settings: Settings, view: View, host: str, now: float) -> Member:
    member = state.waiting.pop(host)
    member.since = now
    member.canary = _is_candidate(state, settings, member)
    # It is out whether it is in flight or not.
    for service, count in member.services.items() if not member.heals else ():
        down = len(_own(state, view.services.get(service), service, member))
        lost = max(down, member.loses.get(service, 0))
        if lost:
            member.lost[service] = min(lost, count)
    state.flying[host] = member
    state.admitted += 1
    return member


def complete(state: State, settings: Settings, host: str, success: bool, lost: bool, now: float) -> None:
    """``host`` is not in flight any more. ``lost``: its instances may be down whatever the control plane says."""
    member = state.flying.pop(host, None)
    if member is None:
        return
    state.changed = now
    state.finished += 1
    if success:
        if not member.heals:
            state.succeeded += 1
            state.proven[member.group] = state.proven.get(member.group, 0) + 1
        for service in member.services:
            state.missing[service] = [name for name in state.missing.get(service, []) if name not in member.proxies]
        if member.canary:
            state.soaked = now
        return
    if lost:
        for service in member.services:
            state.missing.setdefault(service, []).extend(member.proxies)
    # That it does not get well says nothing about the others, and is told at the end.
    if not member.heals:
        count_failure(state, settings, host)


def count_failure(state: State, settings: Settings, host: str) -> None:
    """Failures count over the whole roll, hosts that cannot be reached among them."""
    state.failed.append(host)
    allowed = share(settings.max_failures, state.size)
    if len(state.failed) > allowed and not state.abort:
        names = ", ".join(state.failed[:5]) + (" and more" if len(state.failed) > 5 else "")
        state.abort = f"{len(state.failed)} failed ({names}), max_failures is {settings.max_failures}"


def decide(state: State, settings: Settings, view: View, now: float) -> t.Dict[str, Verdict]:
    """What becomes of each host that waits. At most one is admitted: the first in the queue that may be."""
    if state.abort:
        return {host: Verdict(REFUSE, f"the roll was stopped: {state.abort}") for host in state.waiting}
    hold = _hold(state, view, now)
    if hold:
        return {host: Verdict(WAIT, hold) for host in state.waiting}
    flight = _Flight(state)
    queue = sorted(state.waiting.items(), key=lambda entry: entry[1].order)
    harm: t.Dict[str, _Harm] = {}
    healing: t.Set[str] = set(flight.healing)
    for host, member in queue:
        harm[host] = _harm(state, settings, view, flight, member, healing)
        if harm[host].verdict.kind != DEFER:
            healing.update(member.proxies)
    canary_waits = any(
        _is_candidate(state, settings, member) and (harm[host].verdict.kind == ADMIT or harm[host].by_flight) for host, member in queue
    )
    verdicts: t.Dict[str, Verdict] = {}
    first = ""
    for host, member in queue:
        verdict = harm[host].verdict
        if verdict.kind == ADMIT:
            verdict = _room(settings, view, flight, member) or _turn(state, settings, flight, member, canary_waits, now)
        if verdict.kind == ADMIT and first:
            verdict = Verdict(WAIT, f"{first} is before it")
        elif verdict.kind == ADMIT:
            first = host
        if verdict.kind == DEFER and view.at <= member.since:
            verdict = Verdict(WAIT, "for a newer view of the control plane")
        if verdict.kind == DEFER and member.turn > 1:
            verdict = Verdict(REFUSE, verdict.reason)
        verdicts[host] = verdict
    return verdicts


def overdue(settings: Settings, view: View, now: float) -> str:
    """Why the roll has to stop because of the control plane; empty while it need not."""
    if view.outage is None or now - view.outage < settings.pause_timeout:
        return ""
    return f"the control plane has not answered for {now - view.outage:.0f} s (pause_timeout is {settings.pause_timeout:g}): {view.error}"


def stuck(state: State, settings: Settings, now: float) -> t.List[str]:
    """The hosts in flight that nobody will ever report about."""
    return [host for host, member in state.flying.items() if now - member.since > settings.host_timeout]


def limit(settings: Settings, service: t.Optional[Service]) -> int:
    """How many hosts of a service may be in flight at a time."""
    if service is None:
        return settings.max_in_flight
    if service.kind in ONE_AT_A_TIME:
        return 1
    return max(1, share(settings.limit, service.total))


def budget(settings: Settings, total: int) -> int:
    """How many of ``total`` instances may not serve: never all of them, and one of two or more."""
    if total < 2:
        return 0
    return min(max(1, share(settings.budget, total)), total - 1)


class _Flight:
    """Sums over the hosts in flight. Of those that heal only their number and their proxies, ``healing``, are known to the rules."""

    def __init__(self, state: State) -> None:
        self.size = len(state.flying)
        self.rolled = [member for member in state.flying.values() if not member.heals]
        self.healing = {proxy for member in state.flying.values() if member.heals for proxy in member.proxies}
        self.canaries = sum(1 for member in self.rolled if member.canary)
        self.proxies: t.Set[str] = set()
        self.hosts: Counts = {}
        self.lost: Counts = {}
        self.groups: Counts = {}
        for member in self.rolled:
            self.proxies.update(member.proxies)
            self.groups[member.group] = self.groups.get(member.group, 0) + 1
            for service in member.services:
                self.hosts[service] = self.hosts.get(service, 0) + 1
            for service, count in member.lost.items():
                self.lost[service] = self.lost.get(service, 0) + count


class _Harm(t.NamedTuple):
    verdict: Verdict
    by_flight: bool = False  # whether it waits for hosts in flight alone


_HARMLESS = _Harm(Verdict(ADMIT))


def _out(state: State, service: Service) -> t.Set[str]:
    """The instances that do not serve as the control plane sees it, without those that lost it alone and serve by what their VM said."""
    return service.down - service.offline.intersection(state.serving)


def _own(state: State, service: t.Optional[Service], name: str, member: Member) -> t.List[str]:
    """The proxies of a host that do not serve now, as the control plane sees it or as an earlier restart ended."""
    missing = state.missing.get(name, ())
    out = _out(state, service) if service is not None else set()
    return [proxy for proxy in member.proxies if service is not None and (proxy in out or proxy in missing)]


def _hold(state: State, view: View, now: float) -> str:
    if view.outage is not None:
        return f"the control plane does not answer: {view.error}"
    if view.recovered and now - view.recovered < SETTLE:
        return "the control plane was away a moment ago, and proxies are coming back"
    if view.at <= state.changed or now - view.at > FRESH + 3 * view.took:
        return "for a newer view of the control plane"
    return ""


def _harm(state: State, settings: Settings, view: View, flight: _Flight, member: Member, healing: t.Set[str]) -> _Harm:
    """Whether a restart would take more from one of its services than its budget allows."""
    if member.heals:
        return _HARMLESS
    worst = _HARMLESS
    for name in sorted(member.services):
        service = view.services.get(name)
        if service is None or service.kind == CALLER:
            continue
        found = _service_harm(state, settings, name, service, flight, member, healing)
        if found.verdict.kind == DEFER:
            return found
        # Waiting for a host before it is the weaker reason: it must never hold a canary's place.
        if found.verdict.kind == WAIT and (worst.verdict.kind == ADMIT or not found.by_flight):
            worst = found
    return worst


def _service_harm(
    state: State, settings: Settings, name: str, service: Service, flight: _Flight, member: Member, healing: t.Set[str]
) -> _Harm:
    out = _out(state, service)
    takes, own = member.loses.get(name, 0), sum(1 for proxy in member.proxies if proxy in out)
    if own and takes <= own:
        return _HARMLESS  # it does not serve now, so that its restart takes nothing
    # Of whom an earlier run knows nothing, the control plane alone can say that it serves; of two such, each would wait for the other.
    missing = state.missing.get(name, ())
    down = out if any(proxy in missing for proxy in member.proxies) else out.union(missing)
    down = {entry for entry in down if entry not in flight.proxies and entry not in member.proxies}
    flying, allowed, total = flight.lost.get(name, 0), budget(settings, service.total), service.total
    taken = max(takes, own)
    if not takes:
        # A restart under cover takes nothing. It waits all the same while a service is at its budget: a failure would add to that. One that
        # was dead before the roll, and may be for good, keeps nobody from being covered.
        down.difference_update(state.dead)
    over = len(down) + taken > allowed if takes else len(down) >= max(allowed, 1)
    now_over = len(down) + flying + taken > allowed if takes else len(down) + flying >= max(allowed, 1)
    if takes > allowed:
        alone = f"{takes} of {total} instances of {name} would not serve, {allowed} may"
        if not settings.allow_singleton:
            return _Harm(Verdict(DEFER, f"{alone}: add instances, make a restart under cover possible, or set allow_singleton"))
        over, now_over = bool(down), bool(down) or flying > 0
    if over:
        text = f"{len(down)} of {total} instances of {name} do not serve ({some(sorted(down), 3)}), {allowed} may"
        left = down - healing
        still_over = (len(left) + taken > allowed if takes else len(left) >= max(allowed, 1)) if takes <= allowed else bool(left)
        if down & healing and not still_over:
            return _Harm(Verdict(WAIT, f"{text}: they are restarted first"))
        return _Harm(Verdict(DEFER, text))
    if now_over:
        return _Harm(Verdict(WAIT, f"{flying} instances of {name} are being restarted, {allowed} may"), by_flight=True)
    return _HARMLESS


def _room(settings: Settings, view: View, flight: _Flight, member: Member) -> t.Optional[Verdict]:
    if flight.size >= settings.max_in_flight:
        return Verdict(WAIT, f"{flight.size} hosts are in flight, max_in_flight is {settings.max_in_flight}")
    for name in () if member.heals else sorted(member.services):
        most = limit(settings, view.services.get(name))
        if flight.hosts.get(name, 0) >= most:
            return Verdict(WAIT, f"{flight.hosts[name]} hosts of {name} are in flight, {most} may be")
    return None


def _is_candidate(state: State, settings: Settings, member: Member) -> bool:
    """Whether it goes before the others of its group, as long as these are not proven."""
    return not member.heals and state.proven.get(member.group, 0) < settings.canaries


def _turn(state: State, settings: Settings, flight: _Flight, member: Member, canary_waits: bool, now: float) -> Verdict:
    """Canaries by themselves, the first of all alone; then a soak; then stages that widen. Who heals waits for none of them."""
    if member.heals:
        return Verdict(ADMIT)
    if _is_candidate(state, settings, member):
        alike = flight.groups.get(member.group, 0)
        if state.proven.get(member.group, 0) + alike >= settings.canaries:
            return Verdict(WAIT, "for the canary of its kind")
        size = len(flight.rolled)
        if size > flight.canaries or (size and not state.succeeded):
            return Verdict(WAIT, "a canary goes alone")
        return Verdict(ADMIT)
    if flight.canaries or canary_waits:
        return Verdict(WAIT, "for the canaries")
    if settings.canaries and now < state.soaked + settings.soak:
        return Verdict(WAIT, f"the canaries soak for {settings.soak:g} s")
    border = stage_border(settings, state.size, state.finished)
    if state.admitted >= border:
        return Verdict(WAIT, f"the stage of {border} of {state.size} hosts ends first")
    return Verdict(ADMIT)


def stage_border(settings: Settings, size: int, finished: int) -> int:
    """How many hosts may have been admitted until all of those are finished."""
    for stage in settings.stages:
        border = max(1, share(stage, size))
        if border > finished:
            return border
    # Beyond the last stage nothing is left to wait for, however hosts were counted in a roll that was resumed.
    return max(size, finished + size)
