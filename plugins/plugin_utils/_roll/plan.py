# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The plan of a rolling restart: who is rolled, in which order, how, and how long that takes. Pure functions, linear in the hosts."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import parse_release
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane.resource import excess
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import admission, view
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.settings import Settings, share

COVER, DRAINED = "cover", "drained"
SECONDS = {COVER: 12.0, DRAINED: 8.0}  # a restart with short requests, its fence and gate included
NAME_BUSY = 10.0  # more where a Direct proxy is restarted, whose name is not free before
NAMED = 20  # hosts that a line of the plan names

Host = t.Mapping[str, t.Any]
Record = t.Dict[str, t.Any]


class Abilities(t.NamedTuple):
    """What the control plane allows: why no cover can have a token (empty: it can), and ``{proxy: policy that names it}``."""

    no_token: str = ""
    named: t.Mapping[str, str] = {}


class Plan(t.NamedTuple):
    """``records`` holds the entry of the journal for every host, ``order`` the hosts to roll."""

    order: t.List[str]
    records: t.Dict[str, Record]
    skipped: t.Dict[str, str]
    refused: t.Dict[str, str]
    unreachable: t.List[str]
    lines: t.List[str]
    seconds: float


class _Planner:
    def __init__(
        self,
        kind: str,
        settings: Settings,
        instances: t.Mapping[str, view.Instance],
        abilities: Abilities,
        leftovers: t.Sequence[str],
    ) -> None:
        self.kind, self.settings, self.instances, self.abilities = kind, settings, instances, abilities
        self.services = view.services(instances)
        self.leftovers = {host: index for index, host in enumerate(leftovers)}

    def record(self, host: Host) -> Record:
        """The entry of a host: its parts (proxies) with the way of each, or ``status`` skipped, refused or unreachable."""
        parts = [self.part(host, proxy) for proxy in host.get("proxies") or []]
        drained = [part for part in parts if part["strategy"] == DRAINED]
        record: Record = {
            "order": -1,
            "pass": 1,
            "services": sorted({service for part in parts for service in part["services"]}),
            "proxies": [part["name"] for part in parts],
            "strategy": DRAINED if drained else COVER,
            "reasons": sorted({reason for part in drained for reason in part["reasons"]}),
            "canary": False,
            "status": "waiting",
            "reason": "",
            "parts": parts,
            "counts": _count(parts),
            "loses": _count(drained),
            "target_version": str(host.get("target_version") or ""),
            "phases": {},
            "connections_cut": 0,
            "version": {"before": parts[0]["version"] if parts else "", "after": ""},
            "served_by": "",
            "notes": [],
            "fenced": {},
        }
        status, reason = self.verdict(host, parts)
        if status:
            record.update(status=status, reason=reason)
        return record

    def part(self, host: Host, proxy: Host) -> Record:
        name = str(proxy["name"])
        instance = self.instances.get(name) or view.Instance()
        strategy, reasons, refused = self.strategy(host, proxy, name, instance)
        if self.kind != "leave":
            refused = str(proxy.get("refuse") or "") or refused
        return {
            "name": name,
            "strategy": strategy,
            "reasons": reasons,
            "refused": refused,
            "direct": bool(proxy.get("direct")),
            "pending": [str(reason) for reason in proxy.get("pending") or []],
            "version": str(proxy.get("version") or instance.version),
            "services": dict(instance.services),
            "zone_proxy": str(proxy.get("zone_proxy") or ""),
            "claims": dict(proxy.get("claims") or {}),
        }

    def strategy(self, host: Host, proxy: Host, name: str, instance: view.Instance) -> t.Tuple[str, t.List[str], str]:
        """``(strategy, why not under cover, why not at all)`` of one proxy."""
        if self.kind == "leave":
            return DRAINED, ["it leaves the mesh"], ""
        wish = str(proxy.get("strategy") or "auto")
        if wish == "auto":
            wish = self.settings.strategy
        if wish == DRAINED:
            return DRAINED, ["asked for"], ""
        reasons = self.against_cover(host, proxy, name, instance)
        if not reasons:
            return COVER, [], ""
        if wish == COVER:
            return COVER, reasons, f"{name} cannot be restarted under cover, which is asked for: {'; '.join(reasons)}"
        return DRAINED, reasons, ""

    def against_cover(self, host: Host, proxy: Host, name: str, instance: view.Instance) -> t.List[str]:
        reasons = [str(reason) for reason in proxy.get("reasons") or []]
        if not proxy.get("possible") and not reasons:
            reasons.append("the VM says that it cannot be covered")
        if name not in self.instances:
            reasons.append("it is not registered")
        if name.endswith(naming.COVER_SUFFIX):
            reasons.append(f"its own name ends in {naming.COVER_SUFFIX}, which is reserved for covers")
        if self.abilities.no_token:
            reasons.append(self.abilities.no_token)
        reasons.extend(excess(instance.claims, proxy.get("claims")))
        if name in self.abilities.named:
            reasons.append(f"{self.abilities.named[name]} applies to it by its name and would not apply to its cover")
        for what, version in (("runs", proxy.get("version") or instance.version), ("gets", host.get("target_version"))):
            if version and not parse_release(str(version)).shares_listeners:
                reasons.append(f"it {what} kuma-dp {version}, whose listeners cannot be shared (2.13.7 and later)")
        return reasons

    def verdict(self, host: Host, parts: t.Sequence[Record]) -> t.Tuple[str, str]:
        if not parts:
            return "skipped", "it has no proxy"
        if not host.get("reachable", True):
            return "unreachable", "it could not be reached when the roll began"
        if self.kind != "leave" and not self.settings.force and not any(part["pending"] for part in parts):
            return "skipped", "nothing to do"
        for part in parts:
            if part["refused"]:
                return "refused", part["refused"]
        for service, takes in sorted(_count([part for part in parts if part["strategy"] == DRAINED]).items()):
            known = self.services.get(service)
            if known is None or known.kind == admission.CALLER or self.settings.allow_singleton:
                continue
            if known.kind == admission.GATEWAY and self.kind != "leave" and not self.settings.hooked:
                why = "; ".join(sorted({reason for part in parts for reason in part["reasons"]}))
                return "refused", (
                    f"it is a gateway of {service} and would be restarted without cover ({why}), while nothing keeps clients away from it: make a "
                    "restart under cover possible, take it out of its load balancer in kuma_dp_roll_before, or set allow_singleton"
                )
            if known.total <= takes and not all(part["name"] in known.down for part in parts if service in part["services"]):
                why = "; ".join(sorted({reason for part in parts for reason in part["reasons"]}))
                return "refused", (
                    f"it has the only instance of {service} and would be restarted without cover ({why}): add an instance, make a restart "
                    "under cover possible, or set allow_singleton"
                )
        return "", ""

    def group(self, record: Record) -> str:
        return "|".join([*record["services"], record["target_version"]])

    def sick(self, record: Record) -> bool:
        return any(name in self.instances and self.instances[name].sick for name in record["proxies"])

    def at_budget(self, record: Record) -> bool:
        for service in record["services"]:
            known = self.services.get(service)
            if known is None or known.kind == admission.CALLER or not known.down:
                continue
            if len(known.down) >= max(1, admission.budget(self.settings, known.total)):
                return True
        return False

    def last(self, record: Record) -> bool:
        """Gateways and zone proxies come after everything else."""
        kinds = {kind for part in record["parts"] for kind in part["services"].values()}
        return bool(kinds & set(admission.ONE_AT_A_TIME))

    def order(self, records: t.Mapping[str, Record]) -> t.List[str]:
        """Leftovers, the canaries, and the rest with like hosts spread evenly, so that limits of one service hold up no other."""
        groups: t.Dict[str, t.List[str]] = {}
        for host, record in records.items():
            if record["status"] == "waiting":
                groups.setdefault(self.group(record), []).append(host)
        keyed: t.List[t.Tuple[t.Tuple[float, float, float], str]] = []
        place = {host: index for index, host in enumerate(records)}
        for members in groups.values():
            ordered = self.within(members, records)
            for index, host in enumerate(ordered):
                record = records[host]
                canary = index < self.settings.canaries
                record["canary"] = canary
                block = 3.0 if self.last(record) else (1.0 if canary else 2.0)
                if host in self.leftovers:
                    keyed.append(((0.0, float(self.leftovers[host]), 0.0), host))
                else:
                    keyed.append(((block, 0.0 if canary else (index + 0.5) / len(ordered), float(place[host])), host))
        return [host for _key, host in sorted(keyed)]

    def within(self, members: t.List[str], records: t.Mapping[str, Record]) -> t.List[str]:
        """Like hosts: a canary that is well, then those that are not, which lose nothing. When these use up a budget, they go first."""
        sick = [host for host in members if self.sick(records[host])]
        if not sick:
            return members
        ailing = set(sick)
        well = [host for host in members if host not in ailing]
        if self.at_budget(records[members[0]]):
            return sick + well
        return well[: self.settings.canaries] + sick + well[self.settings.canaries :]


def _count(parts: t.Iterable[Record]) -> t.Dict[str, int]:
    counts: t.Dict[str, int] = {}
    for part in parts:
        for service, kind in part["services"].items():
            counts[service] = counts.get(service, 0) + (1 if kind != admission.CALLER else 0)
    return counts


def make(
    kind: str,
    hosts: t.Sequence[Host],
    settings: Settings,
    instances: t.Mapping[str, view.Instance],
    abilities: Abilities = Abilities(),  # noqa: B008 -- a constant
    leftovers: t.Sequence[str] = (),
) -> Plan:
    """The plan for ``hosts``: ``{host, reachable, proxies: [{name, strategy, possible, reasons, claims, pending, refuse, direct, version}], target_version}``.

    ``kind`` is restart, upgrade or leave. ``leftovers`` are hosts that an earlier run left in the middle; they go first.
    """
    planner = _Planner(kind, settings, instances, abilities, leftovers)
    records = {str(host["host"]): planner.record(host) for host in hosts}
    order = planner.order(records)
    for index, host in enumerate(order):
        records[host]["order"] = index
        records[host]["group"] = planner.group(records[host])
    by_status: t.Dict[str, t.Dict[str, str]] = {"skipped": {}, "refused": {}, "unreachable": {}}
    for host, record in records.items():
        if record["status"] in by_status:
            by_status[record["status"]][host] = record["reason"]
    seconds = expected_seconds(order, records, settings, planner.services)
    lines = describe(order, records, settings, planner.services, seconds)
    return Plan(order, records, by_status["skipped"], by_status["refused"], list(by_status["unreachable"]), lines, seconds)


def member(record: t.Mapping[str, t.Any], turn: int, now: float) -> admission.Member:
    """The host of a record as the rules see it."""
    return admission.Member(
        order=record["order"],
        proxies=list(record["proxies"]),
        services={service: record["counts"].get(service, 0) for service in record["services"]},
        loses={service: count for service, count in record["loses"].items() if count},
        group=record["group"],
        turn=turn,
        since=now,
    )


def begin(
    plan: Plan,
    settings: Settings,
    done: t.Optional[t.Mapping[str, int]] = None,
    earlier: t.Optional[admission.State] = None,
    leftovers: t.Sequence[str] = (),
) -> admission.State:
    """The state at the beginning of a run, or of the continuation of ``earlier``: ``done`` then counts the hosts of each group that are
    done already. Nobody knows how the ``leftovers`` that are rolled again are. Hosts that cannot be reached have failed."""
    before = dict(done or {})
    count = sum(before.values())
    state = admission.State(
        size=len(plan.order) + len(plan.unreachable) + count, proven=before, admitted=count, finished=count, succeeded=count
    )
    state.missing = {service: list(names) for service, names in (earlier.missing if earlier else {}).items()}
    for host in leftovers:
        record = plan.records.get(host) or {}
        if record.get("status") == "waiting":
            for service in record["services"]:
                state.missing.setdefault(service, []).extend(record["proxies"])
    for host in [*(earlier.failed if earlier else []), *plan.unreachable]:
        if host not in state.failed:
            admission.count_failure(state, settings, host)
    return state


def expected_seconds(
    order: t.Sequence[str], records: t.Mapping[str, Record], settings: Settings, services: t.Mapping[str, admission.Service]
) -> float:
    """How long the roll takes, when nothing goes wrong and requests are short: of each stage the busiest service, or all together."""
    if not order:
        return 0.0
    canaries = [host for host in order if records[host]["canary"]]
    rest = [host for host in order if not records[host]["canary"]]
    total = _wave(canaries[:1], records, settings, services) + _wave(canaries[1:], records, settings, services)
    total += settings.soak if canaries and rest else 0.0
    start = 0
    for border in [*(max(1, share(stage, len(order))) - len(canaries) for stage in settings.stages), len(rest)]:
        if border > start:
            total += _wave(rest[start:border], records, settings, services)
            start = border
    return round(total, 1)


def _wave(
    hosts: t.Sequence[str], records: t.Mapping[str, Record], settings: Settings, services: t.Mapping[str, admission.Service]
) -> float:
    if not hosts:
        return 0.0
    longest = max(SECONDS[records[host]["strategy"]] + NAME_BUSY * any(part["direct"] for part in records[host]["parts"]) for host in hosts)
    numbers: t.Dict[str, int] = {}
    drained: t.Dict[str, int] = {}
    for host in hosts:
        for service in records[host]["services"]:
            numbers[service] = numbers.get(service, 0) + 1
        for service, count in records[host]["loses"].items():
            drained[service] = drained.get(service, 0) + count
    rounds = math.ceil(len(hosts) / settings.max_in_flight)
    for service, number in numbers.items():
        rounds = max(rounds, math.ceil(number / admission.limit(settings, services.get(service))))
    for service, number in drained.items():
        known = services.get(service)
        if known is not None and number and known.kind != admission.CALLER:
            rounds = max(rounds, math.ceil(number / max(1, admission.budget(settings, known.total))))
    return rounds * longest


def describe(
    order: t.Sequence[str],
    records: t.Mapping[str, Record],
    settings: Settings,
    services: t.Mapping[str, admission.Service],
    seconds: float,
) -> t.List[str]:
    """The plan in lines for people."""
    lines = [f"{len(order)} hosts to roll, about {_duration(seconds)} when requests are short"]
    canaries = [host for host in order if records[host]["canary"]]
    if canaries and len(order) > len(canaries):
        lines.append(f"canaries, the first alone: {some(canaries, NAMED)}; then {settings.soak:g} s of soak")
    borders = sorted({max(1, share(stage, len(order))) for stage in settings.stages} | {len(order)})
    borders = [border for border in borders if border > len(canaries)]
    if borders:
        lines.append("stages, by hosts in all: %s; at most %d hosts in flight" % (", ".join(map(str, borders)), settings.max_in_flight))
    ways: t.Dict[t.Tuple[str, str], t.List[str]] = {}
    for host in order:
        ways.setdefault((records[host]["strategy"], "; ".join(records[host]["reasons"])), []).append(host)
    for (strategy, reasons), hosts in ways.items():
        how = "under cover" if strategy == COVER else f"drained ({reasons})"
        lines.append(f"{how}: {some(hosts, NAMED)}")
    for status in ("unreachable", "refused", "skipped"):
        whys: t.Dict[str, t.List[str]] = {}
        for host, record in records.items():
            if record["status"] == status:
                whys.setdefault(record["reason"], []).append(host)
        lines.extend(f"{status} ({reason}): {some(hosts, NAMED)}" for reason, hosts in whys.items())
    lines.extend(_at_risk(order, records, settings, services))
    return lines


def _at_risk(
    order: t.Sequence[str], records: t.Mapping[str, Record], settings: Settings, services: t.Mapping[str, admission.Service]
) -> t.List[str]:
    lines = []
    rolled = {service for host in order for service in records[host]["services"]}
    drained = {service for host in order for service, count in records[host]["loses"].items() if count}
    for service in sorted(rolled):
        known = services.get(service)
        if known is None or known.kind == admission.CALLER:
            continue
        allowed = admission.budget(settings, known.total)
        if known.down:
            gone = f"{len(known.down)} of {known.total} instances of {service} do not serve ({some(sorted(known.down), NAMED)})"
            if len(known.down) >= max(1, allowed):
                lines.append(f"at risk: {gone}, {allowed} may: only these are restarted until they serve")
            else:
                lines.append(f"at risk: {gone}")
        if service in drained and known.total == 1:
            lines.append(f"at risk: the only instance of {service} is drained and not available meanwhile")
    return lines


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"
