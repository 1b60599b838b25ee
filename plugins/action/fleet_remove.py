# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_remove, whose documentation is in plugins/modules/fleet_remove.py."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, layout, options

Json = t.Dict[str, t.Any]

_ENDED = ("inactive", "failed")


class ActionModule(action.FleetAction):
    """What a leave does on one VM: it stops the proxies, and takes away what is theirs. One that cannot be reached is left as it is."""

    ARGUMENTS: t.ClassVar[t.Dict[str, t.Any]] = {"step": {"type": "str", "choices": ["stop", "remove"], "required": True}}

    def step(self) -> Json:
        look = self.own("look")
        if "host" not in look:
            return {"changed": False, "state": {"changed": False, "unreachable": True, "names": self.leaving(self.host)}}
        return self._stop(look) if self.params["step"] == "stop" else self._remove(look)

    def _staying(self, look: Json) -> t.List[str]:
        return [name for name in look["host"]["proxies"] if name not in look["names"]]

    def _mesh_staying(self, look: Json) -> t.List[str]:
        """Those of them that belong to the mesh. A zone proxy alone is told of which type it is."""
        proxies = look["host"]["proxies"]
        return [name for name in self._staying(look) if "KUMA_DATAPLANE_PROXY_TYPE" not in proxies[name]["environment"]]

    def _stop(self, look: Json) -> Json:
        undone: Json = {}
        # As long as they run: whatever is redirected to nobody is refused. What is open stays open.
        if self.role == "kuma_dp" and look["host"]["transparent_proxy"] and not self._mesh_staying(look):
            undone = self.module("transparent_proxy", state="absent")
        proxies = [look["host"]["proxies"][name] for name in look["names"]]
        stopped: Json = {}
        if any(proxy["unit"]["state"] not in _ENDED or proxy["unit"]["enabled"] or proxy["cover_active"] for proxy in proxies):
            drain_time = str(self.value("kuma_dp_drain_time"))
            stopped = self.module("proxy_service", names=look["names"], state="stopped", enabled=False, drain_time=drain_time)
        return {
            "changed": bool(undone.get("changed") or stopped.get("changed")),
            "stopped": bool(stopped.get("changed")),
            "results": stopped.get("results", []),
        }

    def _remove(self, look: Json) -> Json:
        seen, names = look["host"], look["names"]
        purge = self.read(options.LEAVE)["purge"]
        version = str(self.value("kuma_dp_version") or "") if "kuma_dp_version" in self.variables else ""
        place = layout.Layout.of(self.read(layout.PLACE), version)
        staying = self._staying(look)
        wanted = layout.removal(
            place, names, staying=staying, mesh_staying=self._mesh_staying(look), purge=purge and not seen["control_plane"]
        )
        removed = self.module("proxy_files", **wanted)
        account: Json = {}
        if purge and not staying and seen["user_comment"] == layout.COMMENT:
            account = self.module("proxy_release", state="absent", user=place.user, group=place.group, comment=layout.COMMENT)
        deleted = (self.variables.get(f"{self.role}_deleted") or {}).get("deleted", [])
        changed = bool(removed.get("changed") or account.get("changed"))
        stopped = bool(self.own("stopped").get("changed"))
        return {
            "changed": changed,
            "diff": removed.get("diff") or [],
            "state": {"changed": changed or stopped or any(name in deleted for name in names), "names": names},
        }
