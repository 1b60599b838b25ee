# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a control plane takes, in seconds. A file may say otherwise while it runs, for tests that are about something else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Delays:
    """`report` and `check`: between two reports and two checks of a proxy's health. `deregistration`: of a Direct proxy that has left.
    `propagation`: until a write reaches the proxies.

    `file` holds a JSON object with some of them; without it they are those that a real control plane was measured with.
    """

    report: float = 5.0
    check: float = 1.0
    deregistration: float = 10.0
    propagation: float = 1.0
    file: Path | None = None

    def now(self) -> dict[str, float]:
        known = {name: getattr(self, name) for name in ("report", "check", "deregistration", "propagation")}
        if self.file is None or not self.file.exists():
            return known
        other = json.loads(self.file.read_text(encoding="utf-8"))
        unknown = sorted(set(other) - set(known))
        if unknown:
            raise ValueError(f"{self.file}: {', '.join(unknown)} is no delay, expected some of {', '.join(known)}")
        return {**known, **{name: float(seconds) for name, seconds in other.items()}}
