# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The part of a join that is done once for the whole fleet: plan, register, issue tokens.

The mesh is listed once, and one more time when something was written. A Dataplane that changes together with its token is written when its
VM has the new one: a proxy that starts in between, after a crash, comes with a token that fits.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import ApiError
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import preflight
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import sync
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue, ledger, zone
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import controller

Json = t.Dict[str, t.Any]
Plan = t.Callable[[], Json]

_NOT_REGISTERED = (sync.FAILED, sync.SKIPPED)


@dataclass
class Joining:
    """``plan`` makes the plan anew, ``options`` are ``options.REGISTRATION``, ``wanting`` are the hosts on which a release is missing.

    ``issuer`` makes tokens; those of another key than ``kids`` has for the path of their sort are replaced. ``users`` has the URLs of archives
    with their user by those without. Afterwards ``tokens`` are the new ones: ``{host: {proxy: token}}``.
    """

    client: Client
    plan: Plan
    options: Json
    role: str
    wanting: bool
    check: bool
    issuer: issue.Issuer
    kids: t.Mapping[str, str] = field(default_factory=dict)
    users: t.Callable[[], t.Mapping[str, str]] = dict
    tokens: t.Dict[str, t.Dict[str, str]] = field(default_factory=dict)

    def join(self, register: bool) -> Json:
        """The plan, with what became of each proxy; ``register`` is false for those that register themselves.

        ``held`` of a host are the names of those Dataplanes that are written when its VM has the new token. Raises ItemsFailed with
        everything that speaks against it, before anything is written.
        """
        plan = self._planned()
        wishes = self._wishes(plan)
        self._prepare(wishes)
        held = held_back(plan, {wish.name for wish in wishes if wish.reason and wish.current}) if register else set()
        changes = {change.name: change for change in (self._registered(plan, held) if register else [])}
        not_registered = {name for name, change in changes.items() if change.action in _NOT_REGISTERED}
        results, tokens, diff = self._issued([wish for wish in wishes if wish.name not in not_registered])
        by_name = {result["name"]: result for result in results}
        for host, own in plan["plan"].items():
            names = [proxy["name"] for proxy in own["proxies"]]
            own["refused"] = [*own["refused"], *refusals(own["proxies"], changes, by_name)]
            own["held"] = [name for name in names if name in held]
            own["registered"] = [name for name in names if name in changes and sync.changed([changes[name]])]
            own["unissued"] = [name for name in names if self.check and by_name.get(name, {}).get("action") == "issued"]
            mine = {name: tokens[name] for name in names if name in tokens}
            if mine:
                self.tokens[host] = mine
        return {
            **{key: plan[key] for key in ("plan", "labels_lost", "not_ready", "control_plane", "certificates") if key in plan},
            "results": [change.result() for change in changes.values()],
            "changed": sync.changed(changes.values()) or any(result["action"] == "issued" for result in results),
            "diff": [*self._diff(list(changes.values())), diff],
        }

    def _prepare(self, wishes: t.Sequence[issue.Wish]) -> None:
        try:
            if not self.check:
                self.issuer.prepare(wishes)
        except ledger.LedgerFailed as error:
            raise ItemsFailed(preflight.message([str(error)])) from error

    def _planned(self) -> Json:
        plan = self.plan()
        if plan["fetch"] and self.wanting and not self.check:
            problems = controller.fetch(plan["fetch"], self.role, self.users())
            if problems:
                raise ItemsFailed(preflight.message(problems), {})
            # Now there is something to look into.
            plan = self.plan()
        return plan

    def _registered(self, plan: Json, held: t.Container[str]) -> t.List[sync.Change]:
        differing = set(plan["differing"])
        wanted = [dataplane for dataplane in plan["dataplanes"] if dataplane["name"] in differing and dataplane["name"] not in held]
        self._registration = Registration(self.client, self.options, self.check)
        return self._registration.register(wanted, plan["live"])

    def _diff(self, changes: t.Sequence[sync.Change]) -> t.List[Json]:
        return self._registration.diff(changes) if changes else []

    def _wishes(self, plan: Json) -> t.List[issue.Wish]:
        entries = [
            {"mesh": self.options["mesh"], **proxy["token"]}
            for own in plan["plan"].values()
            if not own["refused"]
            for proxy in own["proxies"]
        ]
        sort = zone.ZONE if any("scope" in entry for entry in entries) else issue.DATAPLANE
        return issue.plan(
            entries,
            self.options["token_valid_for"],
            self.options["token_renew_before"],
            time.time(),
            lambda: self.client.capabilities().workload_tokens,
            sort=sort,
            kid=self.kids.get(sort.path, ""),
        )

    def _issued(self, wishes: t.Sequence[issue.Wish]) -> t.Tuple[t.List[Json], t.Dict[str, str], Json]:
        """``(results, tokens, diff)``: what became of the token of each proxy, and the new ones by proxy."""
        if self.check:
            return issue.describe_plan(wishes), {}, issue.diff_lines(wishes)
        return (*issue.issue(self.issuer, wishes), issue.diff_lines(wishes))


class Registration:
    """Dataplanes on their way to the control plane; ``options`` are ``options.REGISTRATION``."""

    def __init__(self, client: Client, options: Json, check: bool) -> None:
        self._client = client
        self._settings = sync.Settings(mesh=options["mesh"], initial_state=options["initial_state"], check=check)

    def register(self, wanted: t.Sequence[Json], live: t.Optional[t.Mapping[str, Json]] = None) -> t.List[sync.Change]:
        """What became of each. ``live`` is what the mesh holds, where that is known."""
        if not wanted:
            return []
        try:
            self._dataplanes = sync.Dataplanes(self._client, self._settings)
            return sync.present(self._dataplanes, wanted, live)
        except sync.Refused as refused:
            return refused.changes
        except ApiError as error:
            return [sync.Change(name, sync.FAILED, failure=error.as_failure()) for name in sorted(str(one["name"]) for one in wanted)]

    def diff(self, changes: t.Sequence[sync.Change]) -> t.List[Json]:
        return sync.diff(changes, self._dataplanes)

    def held(self, plans: t.Mapping[str, Json], hosts: t.Iterable[str]) -> Json:
        """Write the Dataplanes that were held back, of those hosts whose VMs have the new tokens by now.

        Returns ``{changed, results, refused: {host: [sentence]}, diff}``.
        """
        waiting = {
            proxy["name"]: (host, proxy["dataplane"])
            for host in hosts
            for proxy in plans[host]["proxies"]
            if proxy["name"] in plans[host].get("held", ())
        }
        changes = {change.name: change for change in self.register([dataplane for _host, dataplane in waiting.values()])}
        refused: t.Dict[str, t.List[str]] = {}
        for name, (host, _dataplane) in waiting.items():
            for sentence in refusals([{"name": name}], changes, {}):
                refused.setdefault(host, []).append(sentence)
        return {
            "changed": sync.changed(changes.values()),
            "results": [change.result() for change in changes.values()],
            "refused": refused,
            "diff": self.diff(list(changes.values())) if changes else [],
        }


def held_back(plan: Json, replaced: t.Container[str]) -> t.Set[str]:
    """The Dataplanes that are written after the VM has the new token: those that are there, differ, and change together with a token that the
    VM holds. ``replaced`` are the proxies whose token is.

    A proxy that starts meanwhile with the new one is refused until its Dataplane is written, and tries again by itself. One that started
    with the old one would have to be restarted.
    """
    return {
        proxy["name"]
        for own in plan["plan"].values()
        for proxy in own["proxies"]
        if proxy["registered"] and proxy["name"] in plan["differing"] and proxy["name"] in replaced
    }


def refusals(proxies: t.Iterable[Json], changes: t.Mapping[str, sync.Change], results: t.Mapping[str, Json]) -> t.List[str]:
    """Why a host with these proxies does not go on: a sentence for each Dataplane that was not registered and each token that was not issued.

    A proxy that holds a token stops as well when the one that it needs now was not issued.
    """
    found = []
    for proxy in proxies:
        change, result = changes.get(proxy["name"]), results.get(proxy["name"])
        if change is not None and change.action in _NOT_REGISTERED:
            found.append(f"the Dataplane was not registered: {sync.reason(change)}")
        elif result is not None and result["action"] == "failed":
            found.append(f"no token was issued: {result['reason']}")
    return list(dict.fromkeys(found))
