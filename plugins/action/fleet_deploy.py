# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_deploy, whose documentation is in plugins/modules/fleet_deploy.py.

Files are filled in and compared here. A VM is visited for what differs: its release, its files, its units; one that is as it should be is not.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.plugins.filter.core import to_nice_yaml

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import comparing
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import (
    action,
    causes,
    controller,
    done,
    files,
    fleet,
    layout,
    options,
)

Json = t.Dict[str, t.Any]


class ActionModule(action.FleetAction):
    """Brings one VM to what was planned for it."""

    def step(self) -> Json:
        look, joined = self.own("look"), self.own("plan")
        plan = joined["plan"][self.host]
        if plan["refused"]:
            raise ItemsFailed(f"{self.host}: {'; '.join(plan['refused'])}")
        wish = self._wish(look, plan)
        undone = self._undo_redirection(look["host"])
        unpacked = self._release(wish, look, plan["archive"])
        written = self._files(wish, bool(look["options"]["install"]))
        outcome = done.Done(
            place=wish.layout,
            observed=look["host"],
            planned=wish.planned,
            changed_paths=written.get("changed_paths", ()),
            replaced=bool(unpacked.get("replaced")),
        )
        started = self._service(wish, written, outcome.to_heal())
        self.tray().clear(self.host)
        steps = [undone, unpacked, written, started]
        lost = {proxy["name"]: self._cause(outcome, proxy["name"]) for proxy in wish.planned if outcome.stale(proxy)}
        outcome = dataclasses.replace(outcome, started=_begun(started), healed=_begun(started, "healed"), lost=lost)
        state = self._state(outcome, joined)
        changed = any(step.get("changed") for step in steps)
        return {
            "changed": changed,
            "diff": action.diffs(steps),
            "written": written.get("changed_paths", []),
            "state": {**state, "changed": changed or bool(plan["registered"])},
        }

    def _wish(self, look: Json, plan: Json) -> files.Wish:
        vm = self.read(options.VM)
        vm["control_plane_ca"] = controller.pem_text(vm["control_plane_ca"], "kuma_dp_control_plane_ca", self.search_dirs())
        return files.Wish(
            layout=layout.Layout.of(vm, look["options"]["version"]),
            planned=plan["proxies"],
            options=vm,
            checksum=plan["checksum"],
            tokens=self.tray().take(self.host),
            unissued=plan["unissued"],
            observed=look["host"],
            ports=fleet.ports_of_unit(
                self.value("kuma_dp_services"),
                self.value("kuma_dp_proxies"),
                self.value("kuma_zone_proxy_port"),
                self.value("kuma_zone_proxy_proxies"),
            ),
        )

    def _undo_redirection(self, seen: Json) -> Json:
        """Rules that nobody wants any more go before their proxy may."""
        if self.role != "kuma_dp" or not seen["transparent_proxy"] or self.read(options.TRANSPARENT_ENABLED)["enabled"]:
            return {}
        return self.module("transparent_proxy", state="absent")

    def _release(self, wish: files.Wish, look: Json, archive: str) -> Json:
        seen, place = look["host"], wish.layout
        install = look["options"]["install"]
        if not install and seen["user_exists"] and seen["group_exists"]:
            return {}
        unpack = {"version": place.version, "checksum": wish.checksum, "src": None if self.check else self.send(archive)} if install else {}
        return self.module(
            "proxy_release", user=place.user, group=place.group, comment=layout.COMMENT, install_dir=place.install_dir, **unpack
        )

    def _files(self, wish: files.Wish, unpacked: bool) -> Json:
        wanted = files.options(wish, self.render, action.code, lambda value: str(to_nice_yaml(value, indent=2, sort_keys=True)))
        # What was unpacked has lost its mark, also when the look before that has seen it.
        if not unpacked and not comparing.differs(wanted, wish.observed["paths"], self.digest_key()):
            return {}
        return self.entrust("proxy_files", **wanted, daemon_reload=True)

    def _service(self, wish: files.Wish, written: Json, heal: t.Sequence[str]) -> Json:
        names = [proxy["name"] for proxy in wish.planned]
        gates = [gate for proxy in wish.planned for gate in proxy["gates"]]
        units = [wish.observed["proxies"][name]["unit"] for name in names]
        if not written.get("changed") and not heal and not gates and all(unit["active"] and unit["enabled"] for unit in units):
            return {}
        return self.module("proxy_service", names=names, state="started", enabled=True, gates=gates, heal=list(heal) or None)

    def _state(self, outcome: done.Done, joined: Json) -> Json:
        zone_proxies = (self.variables.get("kuma_zone_proxy_deployed") or {}).get("state", {}).get("names", ())
        pending = outcome.pending()
        names = [proxy["name"] for proxy in outcome.planned]
        restartable = outcome.restartable()
        drained = self.role == "kuma_dp" and self.value("kuma_dp_restart") == "drained"
        due = [item["name"] for item in pending if drained and item["name"] in restartable]
        state = {
            "names": names,
            "pending": pending,
            "dead": outcome.dead(),
            "healed": [{"name": name, "reason": self._cause(outcome, name)} for name in outcome.healed],
            "others": outcome.others(zone_proxies) if self.role == "kuma_dp" else [],
            "wait_for": outcome.waited_for(joined["not_ready"], [item for item in pending if item["name"] not in due]),
            "outbounds": outcome.outbounds(),
            "gates": outcome.gates(),
            "moving": outcome.moving,
            "dataplanes": {proxy["name"]: proxy["dataplane"] for proxy in outcome.planned if proxy["name"] in outcome.moving},
            "roll": outcome.roll(pending, self.value("kuma_dp_roll_strategy")),
            "restarts": [],
        }
        if due:
            state["restarts"] = [{"host": self.host, "names": due, "ready": outcome.ready(), "gates": outcome.gates()}]
        return state

    def _cause(self, outcome: done.Done, name: str) -> str:
        """Why a proxy was not connected; empty where its journal does not tell. It ran with what was there before this join."""
        seen = outcome.seen(name)
        if not seen.get("refusal"):
            return ""
        planned = next(proxy for proxy in outcome.planned if proxy["name"] == name)
        # The looks at large fleets were a while ago: what the clocks say of each other is not told here.
        now = float(outcome.observed["time"])
        asked = seen["environment"].get("KUMA_CONTROL_PLANE_URL") or str(self.value("kuma_dp_control_plane_dp_url"))
        found = causes.of(causes.Situation(seen, planned, asked, now, now, earlier=True))
        return found.what if found is not None else ""


def _begun(service: Json, action: str = "") -> t.List[str]:
    """Whom the module did not find running, or to whom it did this."""
    results = service.get("results", [])
    return [result["name"] for result in results if (action in result["actions"] if action else set(result["actions"]) - {"enabled"})]
