# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outbound ports of ten thousand services."""

from __future__ import annotations

import time

from ansible_collections.meshfleet.kuma.plugins.filter.outbounds import outbounds
from tests.bench.report import Row

SERVICES = 10_000
BUDGET = 0.2


def measure() -> list[Row]:
    names = [f"service-{number}" for number in range(SERVICES)]
    found = min(_seconds(names, {}) for _round in range(3))
    existing = {item["service"]: item["port"] for item in outbounds(names, range="10001-65535")}
    again = min(_seconds(names, existing) for _round in range(3))
    return [
        Row(f"outbound ports of {SERVICES:,} services", f"{found:.3f} s", f"{BUDGET} s", found <= BUDGET),
        Row("the same with all of them in use", f"{again:.3f} s", f"{BUDGET} s", again <= BUDGET),
    ]


def _seconds(names: list[str], existing: dict[str, int]) -> float:
    started = time.perf_counter()
    outbounds(names, range="10001-65535", existing=existing)
    return time.perf_counter() - started
