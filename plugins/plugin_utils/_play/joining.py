# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The part of a join that is done once for the whole fleet: plan, register, issue tokens.

The mesh is listed once, and one more time when something was written.
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
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue, zone
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import controller

Json = t.Dict[str, t.Any]
Plan = t.Callable[[], Json]

_NOT_REGISTERED = (sync.FAILED, sync.SKIPPED)


@dataclass
class Joining:
    """``plan`` makes the plan anew, ``options`` are ``options.REGISTRATION``, ``wanting`` are the hosts on which a release is missing.

    Afterwards ``tokens`` are the new ones: ``{host: {proxy: token}}``.
    """

    client: Client
    plan: Plan
    options: Json
    role: str
    wanting: bool
    check: bool
    tokens: t.Dict[str, t.Dict[str, str]] = field(default_factory=dict)

    def join(self, register: bool) -> Json:
        """The plan, with what became of each proxy; ``register`` is false for those that register themselves.

        Raises ItemsFailed with everything that speaks against it, before anything is written.
        """
        plan = self._planned()
        changes = {change.name: change for change in (self._registered(plan) if register else [])}
        not_registered = {name for name, change in changes.items() if change.action in _NOT_REGISTERED}
        results, tokens, diff = self._issued(plan, not_registered)
        by_name = {result["name"]: result for result in results}
        for host, own in plan["plan"].items():
            names = [proxy["name"] for proxy in own["proxies"]]
            own["refused"] = [*own["refused"], *refusals(own["proxies"], changes, by_name)]
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

    def _planned(self) -> Json:
        plan = self.plan()
        if plan["fetch"] and self.wanting and not self.check:
            problems = controller.fetch(plan["fetch"], self.role)
            if problems:
                raise ItemsFailed(preflight.message(problems), {})
            # Now there is something to look into.
            plan = self.plan()
        return plan

    def _registered(self, plan: Json) -> t.List[sync.Change]:
        differing = set(plan["differing"])
        wanted = [dataplane for dataplane in plan["dataplanes"] if dataplane["name"] in differing]
        if not wanted:
            return []
        settings = sync.Settings(mesh=self.options["mesh"], initial_state=self.options["initial_state"], check=self.check)
        dataplanes = self._dataplanes = sync.Dataplanes(self.client, settings)
        try:
            return sync.present(dataplanes, wanted, plan["live"])
        except sync.Refused as refused:
            return refused.changes
        except ApiError as error:
            return [sync.Change(name, sync.FAILED, failure=error.as_failure()) for name in sorted(differing)]

    def _diff(self, changes: t.Sequence[sync.Change]) -> t.List[Json]:
        return sync.diff(changes, self._dataplanes) if changes else []

    def _issued(self, plan: Json, unregistered: t.Container[str]) -> t.Tuple[t.List[Json], t.Dict[str, str], Json]:
        """``(results, tokens, diff)``: what became of the token of each proxy, and the new ones by proxy."""
        entries = [
            {"mesh": self.options["mesh"], **proxy["token"]}
            for own in plan["plan"].values()
            for proxy in own["proxies"]
            if proxy["name"] not in unregistered and not own["refused"]
        ]
        wishes = issue.plan(
            entries,
            self.options["token_valid_for"],
            self.options["token_renew_before"],
            time.time(),
            lambda: self.client.capabilities().workload_tokens,
            sort=zone.ZONE if any("scope" in entry for entry in entries) else issue.DATAPLANE,
        )
        if self.check:
            return issue.describe_plan(wishes), {}, issue.diff_lines(wishes)
        return (*issue.issue(self.client, wishes), issue.diff_lines(wishes))


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
