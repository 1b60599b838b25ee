# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Stops a proxy for good, as soon as it is idle: the first half of a drained restart, of which nothing is kept on the VM."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.machine import Machine
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.vm import Vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import UNIT, parse_show


class NotStopped(Exception):
    """The proxy still runs, as a sentence."""


class Leaving(Vm):
    """A proxy that leaves. Without a file nothing could start it again after this process was killed."""

    drain_time = 30.0
    said = ""  # why systemd did not do what it was told last
    state: t.Mapping[str, t.Any] = {}

    def load(self) -> t.Optional[t.Dict[str, t.Any]]:
        return None

    def save(self, state: t.Mapping[str, t.Any]) -> None:
        self.state = state

    def request(self) -> t.Optional[t.Dict[str, t.Any]]:
        return {"id": "leaving", "strategy": "drained", "reasons": [], "drain_time": self.drain_time, "ready_timeout": 0.0, "poll": 0.25}

    def forget_request(self) -> None:
        return

    def keep_good(self) -> None:
        return

    def log(self, text: str) -> None:
        if text.startswith("systemctl "):
            self.said = text


def refusing(names: t.Sequence[str], run: Runner) -> t.List[str]:
    """The units of these proxies that systemd stops for nobody who asks, so that to drain them would leave them half stopped."""
    if not names:
        return []
    units = [UNIT % name for name in names]
    shown = parse_show(run(["systemctl", "show", "--property=Id,RefuseManualStop", *units])[1])
    return [unit for unit in units if shown.get(unit, {}).get("RefuseManualStop") == "yes"]


def stop(vm: Leaving) -> int:
    """Drain a proxy until it is idle or its time is over, and stop it. Returns how many connections were cut. Raises NotStopped.

    Whoever calls this has taken the proxy out of traffic and ended what else restarts it.
    """
    state = Machine(vm).run(until=("start", "stranded"))
    if state["stage"] == "stranded":
        raise NotStopped("%s (%s)" % (state["problem"], vm.said) if vm.said else str(state["problem"]))
    return int(state["connections_cut"])
