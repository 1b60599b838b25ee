# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_wait, whose documentation is in plugins/modules/fleet_wait.py."""

from __future__ import annotations

import typing as t
from contextlib import closing

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import ApiError
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import waiting
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import api as zone_api
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action

Json = t.Dict[str, t.Any]

_INTERVAL = 1.0


class ActionModule(action.FleetAction):
    """Waits once for the proxies of all hosts. Who does not come is told, and is no failure: each host fails for itself afterwards."""

    _requires_connection = False

    def step(self) -> Json:
        names = [name for host in self.in_play for name in (self.fact(host, "deployed") or {}).get("state", {}).get("wait_for", [])]
        if not names or self.check:
            return {"changed": False, "late": {}}
        timeout, mesh = float(self.value("kuma_dp_wait_timeout")), str(self.value("kuma_dp_mesh"))
        with closing(self.client()) as client:
            try:
                if self.role == "kuma_dp":
                    _overviews, pending = waiting.wait_for(client, mesh, names, {}, "ready", timeout, _INTERVAL)
                else:
                    _overviews, pending = zone_api.wait_for(client, mesh, names, "online", timeout, _INTERVAL)
            except ApiError as error:
                pending = [(name, str(error)) for name in names]
        return {"changed": False, "late": dict(pending)}
