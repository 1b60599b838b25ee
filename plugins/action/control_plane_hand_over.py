# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.control_plane_hand_over, whose documentation is in plugins/modules/control_plane_hand_over.py.

The administrator's token comes from the VM and goes to its file on the controller within this task. It is in no result.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, control_plane, hand_over

Json = t.Dict[str, t.Any]


class ActionModule(action.FleetAction):
    """Fetches the administrator's token, keeps it on the controller with the CA, and says where everything is."""

    ARGUMENTS = action.of_role("kuma_cp")

    def step(self) -> Json:
        deployed = self.own("deployed")
        wanted = control_plane.ControlPlane(self.host, self.read(control_plane.CONTROL_PLANE), {})
        fetched = self._fetched(wanted)
        kept = self._kept(wanted.options["fetch_dir"], deployed["ca"], fetched["token"])
        return {
            "changed": bool(fetched.get("changed") or kept),
            "diff": kept if self._task.diff else [],
            "url": wanted.url,
            "dp_url": wanted.dp_url,
            "ca": deployed["ca"],
            "summary": wanted.summary(deployed["actions"]),
        }

    def _fetched(self, wanted: control_plane.ControlPlane) -> Json:
        open_to_all = wanted.options["localhost_is_admin"]
        try:
            return self.secret("control_plane_token", localhost_is_admin=open_to_all, path=wanted.admin_token, **wanted.asking())
        except action.VisitFailed as failed:
            # Its message alone: what else there is was never meant to be shown.
            raise ItemsFailed(f"{self.host}: {failed.msg}") from None

    def _kept(self, directory: str, ca: str, token: str) -> t.List[Json]:
        if not directory:
            return []
        try:
            return hand_over.keep(directory, ca, token, self.check)
        except hand_over.NotKept as error:
            raise ItemsFailed(f"{self.host}: {error}") from error
