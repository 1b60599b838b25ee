# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_join, whose documentation is in plugins/modules/fleet_join.py."""

from __future__ import annotations

import time
import typing as t
from contextlib import closing

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import without_user
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import fleet as join_fleet
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import fleet as zone_fleet
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, controller, fleet, issuing, joining, options, rotating

Json = t.Dict[str, t.Any]


class ActionModule(action.FleetAction):
    """Plans, registers and has tokens issued, once for all hosts; in a step of its own it writes the Dataplanes that wait for tokens."""

    _requires_connection = False
    ARGUMENTS: t.ClassVar[t.Dict[str, t.Any]] = {"step": {"type": "str", "choices": ["plan", "register"], "default": "plan"}}

    def step(self) -> Json:
        wanted = self.read(options.REGISTRATION)
        return self._join(wanted) if self.params["step"] == "plan" else self._register(wanted)

    def _join(self, wanted: Json) -> Json:
        begun = time.time()
        looks = {host: look for host in self.in_play for look in [self.fact(host, "look")] if look and "options" in look}
        hosts = fleet.Hosts(
            looks=looks,
            known=self.known,
            mesh=self.group("kuma_fleet", "mesh_fleet"),
            zone=self.group("kuma_zone_fleet", "mesh_zone_proxies"),
            in_play_at_first=self.in_play_at_first,
        )
        issued = issuing.Issuing(self.read(options.ISSUING), self.search_dirs())
        rotation = rotating.of(self.variables)
        told = self.read_playbook(options.ROTATE) if rotation == rotating.TOKENS else {}
        wanted["token_renew_before"] = rotating.due(told, wanted["token_renew_before"])
        with closing(self.client()) as client:
            if told.get("revoke"):
                lists = rotating.lists(wanted["mesh"], self.role == "kuma_zone_proxy" and client.capabilities().model != "v3")
                rotating.may_revoke(client, lists, "Rotate without that with -e kuma_rotate_revoke=false.")
            join = joining.Joining(
                client=client,
                plan=lambda: self._plan(client, hosts, wanted, issued),
                options=wanted,
                role="kuma_dp",
                wanting=any(look["options"]["install"] for look in looks.values()),
                check=self.check,
                issuer=issued.issuer(client),
                kids={**(rotating.newest(client, wanted["mesh"]) if rotation == rotating.KEY else {}), **issued.kids},
                users=lambda: self._users(looks),
            )
            result = join.join(register=self.role == "kuma_dp")
            self.tray().lay(join.tokens)
            self.warnings.extend(client.warnings)
            return {**result, "begun": begun, "requests": client.requests}

    def _users(self, looks: t.Mapping[str, Json]) -> Json:
        """The URLs of archives that hold a user or a password, by what is left of them in results."""
        found = {}
        for host, look in looks.items():
            told = str(self.seen(host)("kuma_dp_archive", ""))
            url = controller.archive_source(told, look["options"]["version"], look["host"]["architecture"], [])
            found[without_user(url)] = url
        return found

    def _plan(self, client: Client, hosts: fleet.Hosts, wanted: Json, issued: issuing.Issuing) -> Json:
        warnings: t.List[str] = []
        offline = issued.offline(wanted["mesh"])
        if self.role == "kuma_dp":
            plan = join_fleet.plan(client, hosts.of_mesh(), wanted["mesh"], wanted["initial_state"], warnings.append, offline)
        else:
            plan = zone_fleet.plan(client, hosts.of_zone(), wanted["mesh"], warnings.append, offline)
        # A second plan, with the archives that were fetched, says the same.
        self.warnings = list(dict.fromkeys([*self.warnings, *warnings]))
        return plan

    def _register(self, wanted: Json) -> Json:
        plans = self.own("plan")["plan"]
        if not any(plans[host]["held"] for host in self.in_play):
            return {"changed": False, "refused": {}, "requests": 0}
        with closing(self.client()) as client:
            result = joining.Registration(client, wanted, self.check).held(plans, self.in_play)
            self.warnings.extend(client.warnings)
            return {**result, "requests": client.requests}
