# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.control_plane_rotation, whose documentation is in plugins/modules/control_plane_rotation.py."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, control_plane, controller, hand_over, options, rotation

Json = t.Dict[str, t.Any]


class ActionModule(action.FleetAction):
    """A step of the rollover of its CA on the VM of a control plane, which does nothing where it was done before."""

    ARGUMENTS: t.ClassVar[t.Dict[str, t.Any]] = {
        **action.of_role("kuma_cp"),
        "step": {"type": "str", "choices": ["prepare", "switch", "finish"], "required": True},
    }

    def step(self) -> Json:
        step = str(self.params["step"])
        own = self.read(control_plane.CONTROL_PLANE)
        texts, _missing = controller.pem_texts({key: own[key] for key in control_plane.PEM}, self.search_dirs())
        wanted = control_plane.ControlPlane(self.host, own, texts)
        if not wanted.on_postgres:
            raise ItemsFailed(
                f"{self.host}: kuma_cp_store is {own['store']}, expected postgres: with another certificate kuma-cp restarts, and forgets keys and "
                f"Dataplanes of its fleet. In a lab move {wanted.tls_dir} away, run control_plane, and join the fleet again"
            )
        if not self.check and step != "prepare":
            why = rotation.lacking(self._fleet(), self.registered(rotation.CONFIRMED if step == "switch" else rotation.ENDED))
            if why:
                raise ItemsFailed(f"{self.host}: {rotation.not_ready(why)}")
        if wanted.given:
            ca = texts["tls_ca"]
            return {"changed": False, "new": ca, "trusted": ca, "stage": "", "reasons": []}
        again = self.asked(options.ROTATION)["again"]
        signed = self.module("control_plane_certificate", **wanted.signing(), rollover=step, again=again)
        kept = self._kept(own["fetch_dir"], signed["trusted"])
        return {
            "changed": bool(signed["changed"] or kept),
            "new": signed["next"] or signed["ca"],
            "trusted": signed["trusted"],
            "stage": signed["stage"],
            "reasons": signed["reasons"],
            "diff": kept if self._task.diff else [],
        }

    def _kept(self, directory: str, ca: str) -> t.List[Json]:
        """Whoever joins meanwhile lays down what the fleet has to trust meanwhile."""
        try:
            return hand_over.keep_ca(directory, ca, self.check) if directory and ca else []
        except hand_over.NotKept as error:
            raise ItemsFailed(f"{self.host}: {error}") from error

    def _fleet(self) -> t.List[str]:
        found = self.whole_fleet()
        if not found:
            raise ItemsFailed(f"{self.host}: the fleet of this control plane has no host, so nobody knows whether it trusts the new CA")
        return found
