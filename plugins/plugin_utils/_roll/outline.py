# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a plan says of itself before it begins: how long it takes, and its lines for people. Pure functions, linear in the hosts."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import admission
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.settings import Settings, share

COVER, DRAINED = "cover", "drained"
SECONDS = {COVER: 12.0, DRAINED: 8.0}  # a restart with short requests, its fence and gate included
NAME_BUSY = 10.0  # more where a Direct proxy is restarted, whose name is not free before
NAMED = 20  # hosts that a line of the plan names

Record = t.Dict[str, t.Any]


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
    healed = [host for host in order if records[host]["heals"]]
    if healed:
        lines.append(f"restarted whenever there is room, as they serve nobody: {some(healed, NAMED)}")
    ways: t.Dict[t.Tuple[str, str], t.List[str]] = {}
    for host in [host for host in order if not records[host]["heals"]]:
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
