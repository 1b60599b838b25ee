# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Stops a proxy for good, as soon as it is idle: the first half of a drained restart, of which nothing is kept on the VM."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.machine import Machine
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.vm import Vm


class Leaving(Vm):
    """A proxy that leaves. Without a file nothing could start it again after this process was killed."""

    drain_time = 30.0
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


def stop(vm: Leaving) -> int:
    """Drain a proxy until it is idle or its time is over, and stop it. Returns how many connections were cut.

    Whoever calls this has taken the proxy out of traffic and ended what else restarts it.
    """
    return int(Machine(vm).run(until="start")["connections_cut"])
