# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a lab lives: identity, addresses and directories, all derived from LAB_ID."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

STATE_ROOT = Path("/run/meshfleet-kuma-lab")
LABS = range(10)
# What listens on this machine for a lab, by Kuma's usual port. Complete, because Settings.port knows no other.
PORTS = {
    5676: "monitoring assignments",
    5678: "the dp-server",
    5680: "diagnostics of the control plane",
    5681: "the API over HTTP",
    5682: "the API over HTTPS",
    5683: "other control planes",
    5690: "the recorder",
    5692: "Postgres",
}


class LabError(Exception):
    """The lab cannot do what was asked; the text says what to do about it."""


def repository() -> Path:
    """The root of the working tree."""
    return Path(__file__).resolve().parents[2]


def cache() -> Path:
    """The directory of everything worth keeping between runs; made when missing."""
    base = os.environ.get("MESHFLEET_CACHE")
    path = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meshfleet-kuma"
    path.mkdir(parents=True, exist_ok=True)
    return path


@dataclass(frozen=True)
class Settings:
    """One lab among the ten that may run side by side on a machine."""

    lab_id: int

    @classmethod
    def wanted(cls) -> Settings | None:
        """The lab that LAB_ID names. None without it: then whoever asks has to find one."""
        text = os.environ.get("LAB_ID")
        if not text:
            return None
        if text not in map(str, LABS):
            raise LabError(f"LAB_ID is {text!r}; it must be a number from 0 to {LABS[-1]}")
        return cls(int(text))

    @property
    def state(self) -> Path:
        return STATE_ROOT / str(self.lab_id)

    @property
    def lock(self) -> Path:
        return STATE_ROOT / f"{self.lab_id}.lock"

    @property
    def bridge(self) -> str:
        return f"br-kuma{self.lab_id}"

    @property
    def network(self) -> ipaddress.IPv4Network:
        """All addresses of the lab."""
        return ipaddress.IPv4Network(f"10.{77 + self.lab_id}.0.0/16")

    @property
    def controller_address(self) -> str:
        """This machine, as the hosts of the lab reach it."""
        return f"10.{77 + self.lab_id}.0.1"

    def port(self, base: int) -> int:
        """Kuma's usual port, moved for every lab but the first: the real control plane listens on all addresses."""
        if base not in PORTS:
            raise ValueError(f"port {base} is not in PORTS, so nobody would notice that it is taken")
        return base + 100 * self.lab_id

    def address(self, index: int) -> str:
        return f"10.{77 + self.lab_id}.0.{10 + index}"

    @property
    def machine_prefix(self) -> str:
        return f"kuma{self.lab_id}-"

    def machine(self, index: int) -> str:
        return f"{self.machine_prefix}vm{index}"
