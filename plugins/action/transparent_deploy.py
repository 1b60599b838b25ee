# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.transparent_deploy, whose documentation is in plugins/modules/transparent_deploy.py."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, options, redirection, redirection_files

Json = t.Dict[str, t.Any]

_PAUSE = 1.0
# For how long a VM is waited for that undoes its rules.
_UNDONE_WITHIN = 60.0


class ActionModule(action.FleetAction):
    """Has the rules of a VM applied where they differ, and confirms them in a new connection. A VM that has none is not visited."""

    ARGUMENTS = action.of_role("kuma_dp")

    def step(self) -> Json:
        if not self.read(options.TRANSPARENT_ENABLED)["enabled"]:
            return {"changed": False, "ordered": False}
        timing = self.read(options.TRANSPARENT_APPLY)
        applied = self.module("transparent_proxy", **self._wanted(self.own("look"), timing))
        result: Json = {key: applied[key] for key in ("changed", "ordered", "reasons", "arguments", "diff") if key in applied}
        if applied["ordered"]:
            self._confirm(result, timing["rollback_timeout"])
        return result

    def _wanted(self, look: Json, timing: Json) -> Json:
        vm = self.read({key: options.VM[key] for key in ("user", "install_dir")})
        program = redirection_files.command(look["host"]["python_executable"])
        return {
            # What the plan of the join has checked.
            **look["options"]["transparent_proxy"],
            **timing,
            "user": vm["user"],
            "kumactl": f"{vm['install_dir']}/current/bin/kumactl",
            "ansible_port": self.value("ansible_port") if "ansible_port" in self.variables else None,
            "members": self._members(),
            "program": program,
            "directories": redirection_files.directories(),
            "files": redirection_files.files(program, self._render, action.code),
        }

    def _members(self) -> t.List[str]:
        """VMs of the fleet call each other through their proxies, also the one that Ansible may be run from."""
        looks = [self.fact(host, "look") or {} for host in self.in_play_at_first]
        return [look["options"]["address"] for look in looks if "options" in look]

    def _render(self, template: str, variables: t.Mapping[str, t.Any]) -> str:
        return self.render(template, variables, "kuma_transparent_proxy")

    def _confirm(self, applied: Json, seconds: float) -> None:
        """The VM undoes the rules by itself unless it is told otherwise in a new connection. Raises VisitFailed."""
        why = f"no new connection was possible within {seconds} s"
        if self._come_back(seconds):
            try:
                self.module("transparent_proxy", state="confirmed")
            except action.VisitFailed as failed:
                why = failed.msg
            else:
                return
        reachable = self._come_back(_UNDONE_WITHIN)
        if not reachable:
            # Or Ansible would clean up there, and tell of that alone.
            self._connection._shell.tmpdir = None
        raise action.VisitFailed({**applied, "msg": redirection.undone(self.host, why, reachable)})

    def _come_back(self, seconds: float) -> bool:
        """Whether a new connection was possible in time."""
        end = time.monotonic() + seconds
        while True:
            # Connection plugins raise what they like.
            with contextlib.suppress(Exception):
                self._connection.reset()
                done = self._low_level_execute_command("true", sudoable=False)  # type: ignore[no-untyped-call]
                if done["rc"] == 0:
                    return True
            if time.monotonic() >= end:
                return False
            time.sleep(_PAUSE)
