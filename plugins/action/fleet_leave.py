# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_leave, whose documentation is in plugins/modules/fleet_leave.py."""

from __future__ import annotations

import typing as t
from contextlib import closing

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, leaving, options

Json = t.Dict[str, t.Any]


class ActionModule(action.FleetAction):
    """What a leave does at the control plane, once for all hosts: before their proxies stop, and after."""

    _requires_connection = False
    ARGUMENTS: t.ClassVar[t.Dict[str, t.Any]] = {"step": {"type": "str", "choices": ["withdraw", "delete"], "required": True}}

    def step(self) -> Json:
        withdraw = self.params["step"] == "withdraw"
        with closing(self.client()) as client:
            leave = self._mesh if self.role == "kuma_dp" else self._zone
            result = leave(client, withdraw)
            self.warnings.extend(client.warnings)
            return result

    def _looks(self) -> t.List[Json]:
        return [look for host in self.in_play for look in [self.fact(host, "look")] if look]

    def _names(self) -> t.List[str]:
        return sorted(name for host in self.in_play for name in self.leaving(host))

    def _mesh(self, client: Client, withdraw: bool) -> Json:
        leave = leaving.MeshLeave(client, str(self.value("kuma_dp_mesh")), self._names(), self.check)
        if withdraw:
            self.warnings.extend(leave.withdraw())
            return {"changed": False}
        direct = [
            name
            for look in self._looks()
            for name, proxy in look.get("host", {}).get("proxies", {}).items()
            if proxy["lifecycle"] == "direct" and name in look["names"]
        ]
        deleted, diff = leave.delete(direct)
        return {"changed": bool(deleted), "deleted": deleted, "diff": diff}

    def _zone(self, client: Client, withdraw: bool) -> Json:
        last = self.read(options.ZONE_LEAVE)["last"]
        leave = leaving.ZoneLeave(client, str(self.value("kuma_dp_mesh")), self._names(), last, self.check)
        if withdraw:
            return {"changed": False, "registered": leave.judge()}
        deleted = leave.delete()
        return {"changed": bool(deleted), "deleted": deleted, "diff": {"before": "".join(f"{name}\n" for name in deleted), "after": ""}}
