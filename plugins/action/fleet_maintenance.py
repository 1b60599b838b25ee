# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_maintenance, whose documentation is in plugins/modules/fleet_maintenance.py."""

from __future__ import annotations

import time
import typing as t
from contextlib import closing

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._traffic import maintenance
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, fleet, maintaining, options, summary

Json = t.Dict[str, t.Any]


class ActionModule(action.FleetAction):
    """Takes the proxies of all hosts of the play out of traffic or back, at the control plane alone."""

    _requires_connection = False

    def step(self) -> Json:
        wish = maintaining.wish(self.read_playbook(options.MAINTENANCE))
        hosts = {host: self.seen(host) for host in self.in_play}
        mesh = fleet.one_mesh(hosts.values())
        names = {host: fleet.mesh_names(host, seen) for host, seen in hosts.items()}
        for host, own in names.items():
            fleet.check_names(host, own, "kuma_dp", hosts[host]("kuma_dp_proxies", []))
        return self._carry_out(wish._replace(mesh=mesh, check=self.check), [name for own in names.values() for name in own])

    def _carry_out(self, wish: maintenance.Settings, names: t.Sequence[str]) -> Json:
        with closing(self.client()) as client:
            try:
                result = maintenance.carry_out(client, wish, time.time(), self.warnings.append, names=names)
            except ItemsFailed as failed:
                return {**_undone(failed, wish.fence), "failed": True}
            finally:
                self.warnings.extend(client.warnings)
        lines = summary.moved(result, wish.fence)
        return {"changed": result["changed"], "diff": result["diff"], "msg": lines, "_ansible_verbose_always": True}


def _undone(failed: ItemsFailed, fence: bool) -> Json:
    """Where some failed, and others are where they should be. After a refusal nothing was written."""
    result = failed.result
    if "stale" not in result:
        return {"changed": False, "msg": failed.msg}
    return {"changed": result["changed"], "diff": result["diff"], "msg": "\n".join([failed.msg, *summary.moved(result, fence)])}
