# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_tokens, whose documentation is in plugins/modules/fleet_tokens.py."""

from __future__ import annotations

import time
import typing as t
from contextlib import closing

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import ApiError
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import check_names
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import held, issue, revocations, sign
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import LedgerFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, fleet, issuing, layout, options, rotating, signing_key

Json = t.Dict[str, t.Any]

LOOK = "kuma_tokens_look"
PLANS = ("kuma_dp_plan", "kuma_zone_proxy_plan")
STEPS = ["prepare", "look", "settle", "revoke", "add_key", "remove_key"]


class ActionModule(action.FleetAction):
    """Looks at the tokens on a VM; once for all hosts it revokes tokens, and adds and removes the keys that sign them."""

    ARGUMENTS: t.ClassVar[t.Dict[str, t.Any]] = {
        "step": {"type": "str", "choices": STEPS, "required": True},
        "purpose": {"type": "str", "choices": ["join", "revoke", "signing_key"], "default": "join"},
    }

    def step(self) -> Json:
        step: t.Callable[[], Json] = getattr(self, f"_{self.params['step']}")
        return step()

    def hosts(self) -> rotating.Hosts:
        """The hosts of this play run, with what was found on their VMs."""
        groups, purpose = self.variables["groups"], self.params["purpose"]
        return rotating.Hosts(
            mesh=groups.get(f"meshfleet_kuma_{purpose}", []),
            zone=groups.get(f"meshfleet_kuma_zone_{purpose}", []),
            look=lambda host: self._registered(host, LOOK),
            before=lambda host: self._registered(host, "kuma_dp_look") or self._registered(host, "kuma_zone_proxy_look"),
            known=self.known,
        )

    def _registered(self, host: str, name: str) -> t.Optional[Json]:
        """What a look at a VM found."""
        found: Json = self.variables["hostvars"].raw_get(host).get(name) or {}
        return found.get("host")

    def mesh(self) -> str:
        mesh = fleet.one_mesh(self.seen(host) for host in self.in_play_at_first)
        check_names({"mesh": mesh}, {"mesh": naming.LOOSE})
        return mesh

    def book(self) -> held.Book:
        ledger = issuing.ledger(self.read(options.ISSUING))
        try:
            return held.Book(ledger.read() if ledger is not None else [])
        except LedgerFailed as error:
            raise ItemsFailed(str(error)) from error

    def _prepare(self) -> Json:
        """Of a revocation: what is asked for, and whether this user may do it."""
        told = self.read_playbook(options.REVOKE)
        what = rotating.revocation(told)
        check_names({"names": told["names"]}, {"names[]": naming.NAME})
        mesh, zone = self.mesh(), self.hosts().zone
        with closing(self.client()) as client:
            lists = [revocations.secret_of(mesh), *([revocations.ZONE] if what and zone else [])]
            rotating.may_revoke(client, lists, "Nobody else can revoke them.")
            self.warnings.extend(client.warnings)
        return {"changed": False}

    def _look(self) -> Json:
        if self.params["purpose"] == "revoke" and not self.read_playbook(options.REVOKE)["what"]:
            return {"changed": False}
        names = [name for name, host, _zone in self.hosts().names() if host == self.host]
        return {"changed": False, "host": self.module("proxy_info", names=names, **self.read(layout.PLACE))["host"]}

    def _settle(self) -> Json:
        told = self.read_playbook(options.ROTATE)
        least = rotating.before_of(told, str(self.value("kuma_dp_token_renew_before")))
        hosts, mesh, book, now = self.hosts(), self.mesh(), self.book(), time.time()
        ids: t.List[str] = []
        lost: t.List[str] = []
        with closing(self.client()) as client:
            try:
                overviews = rotating.overviews(client, mesh, bool(hosts.zone))
                holders = hosts.holders(mesh, overviews, client.capabilities().model)
                if told["revoke"]:
                    ids = rotating.Revoking(client, book, now, self.check).replaced(holders)
            except ApiError as error:
                # How long the fleet has left is known nevertheless.
                holders, lost = hosts.holders(mesh, [], "v2"), [str(error)]
            self.warnings.extend(client.warnings)
        lines, problems = rotating.settled(holders, ids, held.left(holders, book, least, now, self._begun()), self.check)
        result: Json = {"changed": bool(ids), "revoked": ids, "_ansible_verbose_always": True}
        if problems or lost:
            return {**result, "failed": True, "msg": "\n".join([lines[-1], *(lost or problems)])}
        return {**result, "msg": lines}

    def _begun(self) -> t.Optional[float]:
        """When the join of this play decided which tokens are due; that of the zone proxies came first."""
        plans = [self.variables["hostvars"].raw_get(host).get(name) or {} for host in self.in_play_at_first for name in PLANS]
        return min((float(plan["begun"]) for plan in plans if "begun" in plan), default=None)

    def _revoke(self) -> Json:
        told = self.read_playbook(options.REVOKE)
        hosts, mesh, book = self.hosts(), self.mesh(), self.book()
        holders: t.List[held.Holder] = []
        named = rotating.named(told["names"], mesh, book)
        with closing(self.client()) as client:
            if told["what"]:
                # Proxies of the inventory are asked for by that alone.
                overviews = rotating.overviews(client, mesh, bool(hosts.zone))
                holders = hosts.holders(mesh, overviews, client.capabilities().model)
            revoking = rotating.Revoking(client, book, time.time(), self.check)
            ids = revoking.replaced(holders) if told["what"] == rotating.REPLACED else revoking.all_of(holders)
            ids += [*revoking.all_of(named), *revoking.given(told["ids"], mesh)]
            self.warnings.extend(client.warnings)
        lines = rotating.revoked(ids, holders, named, told["what"], book, self.check)
        return {"changed": bool(ids), "revoked": ids, "msg": lines, "_ansible_verbose_always": True}

    def _add_key(self) -> Json:
        told = self.read_playbook(options.SIGNING_KEY)
        if signing_key.step(told) not in (signing_key.ALL, signing_key.ADD):
            return {"changed": False}
        given = issuing.read(told["file"], "kuma_signing_key_file", self.search_dirs()) if told["file"] else ""
        try:
            changed, line = self._on_keys(lambda rotation: rotation.add(given))
        except sign.BadKey as error:
            raise ItemsFailed(f"kuma_signing_key_file {error}") from None
        except sign.Missing as error:
            raise ItemsFailed(str(error)) from None
        return {"changed": changed, "msg": line, "_ansible_verbose_always": True}

    def _remove_key(self) -> Json:
        told = self.read_playbook(options.SIGNING_KEY)
        if signing_key.step(told) not in (signing_key.ALL, signing_key.REMOVE):
            return {"changed": False}
        hosts, mesh, book = self.hosts(), self.mesh(), self.book()

        def remove(rotation: signing_key.Rotation) -> t.Tuple[bool, str]:
            overviews = rotating.overviews(rotation.client, mesh, False)
            holders = hosts.holders(mesh, overviews, rotation.client.capabilities().model)
            return rotation.remove([str(item["name"]) for item in overviews], holders, book, told["force"])

        changed, line = self._on_keys(remove)
        return {"changed": changed, "msg": line, "_ansible_verbose_always": True}

    def _on_keys(self, do: t.Callable[[signing_key.Rotation], t.Tuple[bool, str]]) -> t.Tuple[bool, str]:
        signer = issuing.Issuing(self.read(options.ISSUING), self.search_dirs()).signers.get(issue.PATH)
        mesh = self.mesh()
        with closing(self.client()) as client:
            try:
                return do(signing_key.Rotation(client, mesh, signer, self.check))
            finally:
                self.warnings.extend(client.warnings)
