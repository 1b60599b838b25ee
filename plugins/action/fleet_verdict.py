# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_verdict, whose documentation is in plugins/modules/fleet_verdict.py."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, causes, layout

Json = t.Dict[str, t.Any]

_LINES = 8


class ActionModule(action.FleetAction):
    """Fails a host whose Dataplane was refused in the end, whose restart failed, or whose proxies did not come into traffic. Only the last is
    visited, for its journals."""

    def step(self) -> Json:
        refused = (self.variables.get(f"{self.role}_registered") or {}).get("refused", {}).get(self.host)
        if refused:
            raise ItemsFailed(f"{self.host}: {'; '.join(refused)}")
        self._judge_restart()
        late = (self.variables.get(f"{self.role}_seen") or {}).get("late", {})
        mine = sorted(name for name in self.own("deployed")["state"]["wait_for"] if name in late)
        if mine:
            raise ItemsFailed("\n".join(self._late(mine, late)))
        return {"changed": False}

    def _judge_restart(self) -> None:
        for result in (self.variables.get(f"{self.role}_restarted") or {}).get("results") or []:
            if (result.get("kuma_dp_item") or {}).get("host") == self.host and result.get("msg"):
                lines = [line for journal in (result.get("journals") or {}).values() for line in journal]
                raise ItemsFailed("\n  ".join([str(result["msg"]), *lines[-_LINES:]]))

    def _late(self, names: t.Sequence[str], late: t.Mapping[str, str]) -> t.Iterator[str]:
        vm = self.read(layout.PLACE)
        host = self.module("proxy_info", names=list(names), diagnose=True, **vm)["host"]
        now, timeout = time.time(), self.value("kuma_dp_wait_timeout")
        for name in names:
            seen = host["proxies"][name]
            planned = {"name": name, "mesh": self.value("kuma_dp_mesh"), "zone_proxy": self.role != "kuma_dp"}
            dp_url = str(self.value("kuma_dp_control_plane_dp_url")) if seen.get("refusal") else ""
            situation = causes.Situation(seen, planned, dp_url, float(host.get("time", now)), now)
            yield causes.late(self.host, situation, timeout, late[name]) + " Its last lines:"
            yield from (f"  {line}" for line in seen["journal"][-_LINES:])
