# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_summary, whose documentation is in plugins/modules/fleet_summary.py."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._join import trust
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, summary

Json = t.Dict[str, t.Any]

# What the tasks of the roles register, in their order; a host failed because of the last of them that did.
_RESULTS = (
    "kuma_dp_look", "kuma_dp_plan", "kuma_dp_deployed", "kuma_dp_registered", "kuma_dp_redirected",
    "kuma_dp_verdict", "kuma_dp_withdrawn", "kuma_dp_stopped", "kuma_dp_deleted", "kuma_dp_removed",
)  # fmt: skip
_ZONE_RESULTS = (
    "kuma_zone_proxy_look", "kuma_zone_proxy_plan", "kuma_zone_proxy_deployed", "kuma_zone_proxy_verdict", "kuma_zone_proxy_withdrawn",
    "kuma_zone_proxy_stopped", "kuma_zone_proxy_deleted", "kuma_zone_proxy_removed",
)  # fmt: skip


class ActionModule(action.FleetAction):
    """Says what became of every host of the play."""

    _requires_connection = False
    ARGUMENTS: t.ClassVar[t.Dict[str, t.Any]] = {"purpose": {"type": "str", "choices": ["join", "leave"], "default": "join"}}

    def step(self) -> Json:
        outcomes = [self._outcome(host) for host in sorted(self.in_play_at_first)]
        if self.params["purpose"] == "leave":
            revoked = (self.variables.get(f"{self.role}_deleted") or {}).get("revoked") or []
            lines = summary.left(outcomes, self.check, len(revoked))
        else:
            plan = self.variables.get(f"{self.role}_plan") or {}
            what = "zone proxies" if self.role == "kuma_zone_proxy" else ""
            lines = summary.joined(outcomes, self.check, plan.get("labels_lost") or [], what)
            lines += trust.lines(plan.get("certificates") or [], time.time())
        return {"changed": False, "msg": lines, "_ansible_verbose_always": True}

    def _outcome(self, host: str) -> summary.Outcome:
        known = self.variables["hostvars"].raw_get(host)
        results = [known.get(name) for name in (_RESULTS if self.role == "kuma_dp" else _ZONE_RESULTS)]
        state = (known.get(f"{self.role}_{'removed' if self.params['purpose'] == 'leave' else 'deployed'}") or {}).get("state")
        healed = [f"{host}, {item['name']}{': ' * bool(item['reason'])}{item['reason']}" for item in (state or {}).get("healed", [])]
        if host not in self.in_play or state is None:
            return summary.Outcome(host, failed=summary.reason(results), healed=healed)
        restarted = self._restarted(host, known)
        return summary.Outcome(
            host,
            changed=state["changed"] or bool(restarted),
            unreachable=state.get("unreachable", False),
            names=state["names"] if self.role == "kuma_zone_proxy" else (),
            healed=healed,
            pending=[
                f"{host}, {item['name']}: {', '.join(item['reasons'])}"
                for item in state.get("pending", [])
                if item["name"] not in restarted
            ],
            others=[f"{host}, {name}" for name in state.get("others", [])],
            outbounds=state.get("outbounds", {}),
        )

    def _restarted(self, host: str, known: t.Mapping[str, t.Any]) -> t.List[str]:
        """The proxies that a drained restart has restarted."""
        found: t.List[str] = []
        for result in (known.get(f"{self.role}_restarted") or {}).get("results") or []:
            item = result.get("kuma_dp_item") or {}
            if item.get("host") == host:
                found += item["names"]
        return found
