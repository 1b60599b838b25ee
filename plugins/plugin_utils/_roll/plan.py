# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The plan of a rolling restart: who is rolled, in which order and how. Pure functions, linear in the hosts."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import parse_release
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import claims
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import admission, outline, view
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.outline import COVER, DRAINED
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.settings import Settings

UNSERVING = "it serves nobody"

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
        hosts: t.Sequence[Host],
    ) -> None:
        self.kind, self.settings, self.instances, self.abilities = kind, settings, instances, abilities
        said = {str(proxy["name"]): proxy.get("serves") for host in hosts for proxy in host.get("proxies") or []}
        lost = {name for name in said if name not in instances or not instances[name].online}
        self.dead = {name for name in lost if said[name] is False}
        self.stale = {name for name in lost if said[name] is True}
        self.services = view.services(instances)
        for service in self.services.values():
            service.down -= service.offline & self.stale
        self.leftovers = {host: index for index, host in enumerate(leftovers)}

    def record(self, host: Host) -> Record:
        """The entry of a host: its parts (proxies) with the way of each, or ``status`` skipped, refused or unreachable."""
        parts = [self.part(host, proxy) for proxy in host.get("proxies") or []]
        drained = [part for part in parts if part["strategy"] == DRAINED]
        losing = [part for part in drained if not part["dead"]]
        record: Record = {
            "order": -1,
            "pass": 1,
            "services": sorted({service for part in parts for service in part["services"]}),
            "proxies": [part["name"] for part in parts],
            "strategy": DRAINED if drained else COVER,
            "reasons": sorted({reason for part in drained for reason in part["reasons"]}),
            "canary": False,
            "heals": self.kind != "leave" and bool(parts) and all(part["dead"] for part in parts),
            "status": "waiting",
            "reason": "",
            "parts": parts,
            "counts": _count(parts),
            "loses": _count(losing),
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
            "dead": name in self.dead,
            "stale": name in self.stale,
            "claims": dict(proxy.get("claims") or {}),
        }

    def strategy(self, host: Host, proxy: Host, name: str, instance: view.Instance) -> t.Tuple[str, t.List[str], str]:
        """``(strategy, why not under cover, why not at all)`` of one proxy."""
        if self.kind == "leave":
            return DRAINED, ["it leaves the mesh"], ""
        if name in self.dead:
            return DRAINED, [UNSERVING], ""
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
        reasons.extend(claims.excess(instance.claims, proxy.get("claims")))
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
        if host.get("late"):
            return "refused", str(host["late"])
        if self.kind != "leave" and not self.settings.force and not any(part["pending"] for part in parts):
            return "skipped", "nothing to do"
        for part in parts:
            if part["refused"]:
                return "refused", part["refused"]
        losing = [part for part in parts if part["strategy"] == DRAINED and not part["dead"]]
        for service, takes in sorted(_count(losing).items()):
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
        """Leftovers, who serves nobody, the canaries, and the rest with like hosts spread evenly, so that limits of one service hold up no other."""
        groups: t.Dict[str, t.List[str]] = {}
        keyed: t.List[t.Tuple[t.Tuple[float, float, float], str]] = []
        place = {host: index for index, host in enumerate(records)}
        for host, record in records.items():
            if record["status"] == "waiting" and record["heals"]:
                keyed.append(((0.0 if host in self.leftovers else 0.5, float(self.leftovers.get(host, place[host])), 0.0), host))
            elif record["status"] == "waiting":
                groups.setdefault(self.group(record), []).append(host)
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
    """The plan for ``hosts`` (``{host, reachable, target_version, late, proxies: [{name, strategy, possible, reasons, claims, pending, refuse,
    direct, version, serves}]}``; ``late`` is why a host is no part of the roll although it could be reached).

    ``kind`` is restart, upgrade or leave. ``leftovers`` are hosts that an earlier run left in the middle; they go first.
    """
    planner = _Planner(kind, settings, instances, abilities, leftovers, hosts)
    records = {str(host["host"]): planner.record(host) for host in hosts}
    order = planner.order(records)
    for index, host in enumerate(order):
        records[host]["order"] = index
        records[host]["group"] = planner.group(records[host])
    by_status: t.Dict[str, t.Dict[str, str]] = {"skipped": {}, "refused": {}, "unreachable": {}}
    for host, record in records.items():
        if record["status"] in by_status:
            by_status[record["status"]][host] = record["reason"]
    seconds = outline.expected_seconds(order, records, settings, planner.services)
    lines = outline.describe(order, records, settings, planner.services, seconds)
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
        heals=bool(record.get("heals")),
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
    parts = [part for record in plan.records.values() if record["status"] != "done" for part in record["parts"]]
    state.dead = sorted(part["name"] for part in parts if part.get("dead"))
    state.serving = sorted(part["name"] for part in parts if part.get("stale"))
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
