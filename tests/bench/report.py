# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of a benchmark and how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEADER = """<!--
Copyright: (c) 2026, the meshfleet.kuma maintainers
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
-->
# Benchmarks

Printed by `make bench` on a machine with {cpus} processors. Ratios and counts hold elsewhere, seconds do not.

"""


@dataclass(frozen=True)
class Row:
    """One figure. ``kept`` says whether it is within ``budget``; a row without a budget is for information."""

    what: str
    found: str
    budget: str = ""
    kept: bool = True


def table(rows: Sequence[Row]) -> str:
    width = max(len(row.what) for row in rows)
    lines = [f"{row.what:{width}}  {row.found:>24}  {row.budget:22} {'' if row.kept else 'OVER'}".rstrip() for row in rows]
    return "\n".join([f"{'':{width}}  {'found':>24}  budget", *lines])


def markdown(rows: Sequence[Row], cpus: int) -> str:
    lines = [f"| {row.what} | {row.found} | {row.budget or '-'} |" for row in rows]
    return HEADER.format(cpus=cpus) + "\n".join(["| what | found | budget |", "|---|---|---|", *lines]) + "\n"
