# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.control_plane_deploy, whose documentation is in plugins/modules/control_plane_deploy.py."""

from __future__ import annotations

import typing as t

from ansible.plugins.filter.core import to_nice_yaml

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, control_plane, control_plane_files, controller

Json = t.Dict[str, t.Any]


class ActionModule(action.FleetAction):
    """Brings the VM of a control plane to what was checked: its release, its files and its certificate, and kuma-cp runs with them."""

    ARGUMENTS = action.of_role("kuma_cp")

    def step(self) -> Json:
        look, wanted = self.own("look"), self._wanted()
        unpacked = self._release(wanted, look)
        written = self.entrust("proxy_files", **control_plane_files.options(wanted, look["checksum"], self._render, _to_yaml))
        signed: Json = {} if wanted.given else self.module("control_plane_certificate", **wanted.signing())
        renewed = bool(written.get("changed") or signed.get("changed"))
        served = self.module("control_plane_service", files=wanted.inputs, files_changed=renewed, **wanted.asking())
        steps = [unpacked, written, signed, served]
        return {
            "changed": any(step.get("changed") for step in steps),
            "diff": action.diffs(steps),
            "actions": served["actions"],
            "reasons": served["reasons"],
            "ca": wanted.pem["tls_ca"] if wanted.given else signed["trusted"],
        }

    def _wanted(self) -> control_plane.ControlPlane:
        options = {**self.read(control_plane.CONTROL_PLANE), "https_address": self.own("look")["https_address"]}
        texts, _missing = controller.pem_texts({key: options[key] for key in control_plane.PEM}, self.search_dirs())
        return control_plane.ControlPlane(self.host, options, texts)

    def _release(self, wanted: control_plane.ControlPlane, look: Json) -> Json:
        own, install = wanted.options, look["install"]
        if look["account"] and not install:
            return {}
        unpack: Json = {}
        if install:
            src = None if self.check else self.send(look["archive"])
            unpack = {"version": own["version"], "checksum": look["checksum"], "src": src}
        return self.module(
            "proxy_release", user=own["user"], group=own["group"], comment=control_plane.COMMENT, install_dir=own["install_dir"], **unpack
        )

    def _render(self, template: str, variables: t.Mapping[str, t.Any]) -> str:
        return self.render(template, variables, "kuma_cp")


def _to_yaml(value: t.Any) -> str:
    return str(to_nice_yaml(value, indent=2, sort_keys=True))
