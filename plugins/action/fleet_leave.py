# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_leave, whose documentation is in plugins/modules/fleet_leave.py."""

from __future__ import annotations

import time
import typing as t
from contextlib import closing

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import held
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import LedgerFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, issuing, leaving, options, rotating

Json = t.Dict[str, t.Any]

_WITHOUT = "Leave without that with kuma_dp_leave_revoke: false; their tokens stay valid until they end."


class ActionModule(action.FleetAction):
    """What a leave does at the control plane, once for all hosts: before their proxies stop, and after."""

    _requires_connection = False
    ARGUMENTS: t.ClassVar[t.Dict[str, t.Any]] = {"step": {"type": "str", "choices": ["withdraw", "delete"], "required": True}}

    def step(self) -> Json:
        withdraw = self.params["step"] == "withdraw"
        # What is no name is refused before anything is asked.
        mesh, names = str(self.value("kuma_dp_mesh")), self._names()
        with closing(self.client()) as client:
            holders = self._holders(client, mesh) if self.read(options.LEAVE)["revoke"] else []
            if withdraw and holders:
                self._book()
                rotating.may_revoke(client, [holder.list for holder in holders], _WITHOUT)
            leave = self._mesh if self.role == "kuma_dp" else self._zone
            result = leave(client, mesh, names, withdraw)
            if holders and not withdraw:
                result = self._with_revoked(client, holders, result)
            self.warnings.extend(client.warnings)
            return result

    def _looks(self) -> t.List[Json]:
        return [look for host in self.in_play for look in [self.fact(host, "look")] if look]

    def _names(self) -> t.List[str]:
        return sorted(name for host in self.in_play for name in self.leaving(host))

    def _holders(self, client: Client, mesh: str) -> t.List[held.Holder]:
        """Whose tokens are revoked, with what their VMs hold."""
        zone = self.role != "kuma_dp" and client.capabilities().model != "v3"
        found = []
        for host in self.in_play:
            proxies = (self.fact(host, "look") or {}).get("host", {}).get("proxies", {})
            for name in self.leaving(host):
                claims = ((proxies.get(name) or {}).get("token") or {}).get("claims") or {}
                found.append(held.Holder(name, host, mesh, zone, name in proxies, claims))
        return found

    def _book(self) -> held.Book:
        """Read before anything is stopped as well, where a ledger that cannot be read is still in nobody's way."""
        ledger = issuing.ledger(self.read(options.ISSUING))
        try:
            return held.Book(ledger.read() if ledger is not None else [])
        except LedgerFailed as error:
            raise ItemsFailed(str(error)) from error

    def _with_revoked(self, client: Client, holders: t.Sequence[held.Holder], result: Json) -> Json:
        """After the Dataplanes: a proxy that nobody can stop loses its place in the mesh first."""
        book = self._book()
        ids = rotating.Revoking(client, book, time.time(), self.check).all_of(holders)
        unknown = [holder.name for holder in holders if holder.name in result["deleted"] and not held.all_of(holder, book)]
        self.warnings.extend(leaving.unrevoked(unknown))
        return {**result, "changed": result["changed"] or bool(ids), "revoked": ids}

    def _mesh(self, client: Client, mesh: str, names: t.List[str], withdraw: bool) -> Json:
        leave = leaving.MeshLeave(client, mesh, names, self.check)
        if withdraw:
            self.warnings.extend(leave.withdraw())
            return {"changed": False}
        direct = [
            name
            for look in self._looks()
            for name, proxy in look.get("host", {}).get("proxies", {}).items()
            if proxy["lifecycle"] == "direct" and name in look["names"]
        ]
        deleted, diff = leave.delete(direct)
        return {"changed": bool(deleted), "deleted": deleted, "diff": diff}

    def _zone(self, client: Client, mesh: str, names: t.List[str], withdraw: bool) -> Json:
        last = self.read(options.ZONE_LEAVE)["last"]
        leave = leaving.ZoneLeave(client, mesh, names, last, self.check)
        if withdraw:
            return {"changed": False, "registered": leave.judge()}
        deleted = leave.delete()
        return {"changed": bool(deleted), "deleted": deleted, "diff": {"before": "".join(f"{name}\n" for name in deleted), "after": ""}}
