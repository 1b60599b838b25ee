# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_migration, whose documentation is in plugins/modules/fleet_migration.py."""

from __future__ import annotations

import json
import typing as t
from contextlib import closing

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration import api, report
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, controller, fleet, options

Json = t.Dict[str, t.Any]


class ActionModule(action.FleetAction):
    """Examines the mesh of all hosts of the play and writes the report; in a step of its own it fails as it was asked to."""

    _requires_connection = False
    ARGUMENTS: t.ClassVar[t.Dict[str, t.Any]] = {"step": {"type": "str", "choices": ["examine", "judge"], "required": True}}

    def step(self) -> Json:
        wish = self.read_playbook(options.MIGRATION)
        if wish["fail_on"] not in report.FAIL_ON:
            raise ItemsFailed(f"kuma_migration_fail_on is {wish['fail_on']}, expected none, silent (what breaks without an error) or any.")
        return self._examine(wish) if self.params["step"] == "examine" else self._judge(wish["fail_on"])

    def _examine(self, wish: Json) -> Json:
        path = controller.writable(wish["report_path"], "kuma_migration_report_path") if wish["report_path"] else ""
        in_play = {host: self.seen(host) for host in self.in_play}
        mesh = fleet.one_mesh(in_play.values())
        others = [host for host in self.group("kuma_fleet", "mesh_fleet") if host not in self.in_play_at_first]
        hosts = fleet.of_report(in_play, {host: self.known(host) for host in others})
        with closing(self.client()) as client:
            try:
                found = api.examine(client, mesh, hosts, "ansible_limit" not in self.variables, wish["fail_on"])
            finally:
                self.warnings.extend(client.warnings)
        # As Ansible's filter to_nice_json writes it.
        text = json.dumps(found["report"], indent=4, sort_keys=True) + "\n"
        diff = controller.write(path, text, self.check) if path else {}
        return {"changed": bool(diff), "diff": diff, "failing": found["failing"], "msg": found["text"], "_ansible_verbose_always": True}

    def _judge(self, fail_on: str) -> Json:
        failing = self.variables["kuma_migration_examined"]["failing"]
        if failing:
            raise ItemsFailed(report.verdict(failing, fail_on))
        return {"changed": False}
