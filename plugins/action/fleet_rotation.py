# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_rotation, whose documentation is in plugins/modules/fleet_rotation.py.

Each step decides by what the control plane and the VMs show at this moment, so that a rollover goes on wherever it was cut.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import trust
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, controller, layout, options, rotation

Json = t.Dict[str, t.Any]

# How long a control plane of role kuma_cp that was just restarted may take until its dp-server is there, and how often it is asked.
GRACE, POLL = 60.0, 2.0
# What a control plane wants of the host in the address is for the join to tell, which asks for its version.
_ANY_RELEASE = Release(2, 14, 0)
STEPS = ["begin", "confirm", "ready", "await", "served", "end", "over"]


class ActionModule(action.FleetAction):
    """A step of the rollover of a CA, on one VM or once for the fleet. See playbook rotate_ca.yml for their order."""

    ARGUMENTS: t.ClassVar[t.Dict[str, t.Any]] = {"step": {"type": "str", "choices": STEPS, "required": True}}

    def step(self) -> Json:
        found: Json = getattr(self, f"_{self.params['step']}")()
        return {"changed": False, **found}

    # -- on each VM

    def _begin(self) -> Json:
        """Whom its proxies trust on the way: the new CA alone where the control plane shows it already, else both."""
        prepared = self._prepared()
        new = rotation.successor(prepared, self._text("kuma_rotate_ca_new", str(self.asked(options.ROTATION)["new"])))
        both = rotation.trust(self._text("kuma_dp_control_plane_ca", str(self.value("kuma_dp_control_plane_ca"))), prepared, new).both
        seen = self._look(both)
        verdict = self._judged(both, seen)
        if verdict.refused:
            raise ItemsFailed(f"{self.host}: {'; '.join(verdict.refused)}")
        self.warnings.extend(verdict.warnings)
        first = new if rotation.shows_new_alone(seen["dp_server"], new) else both
        api = self._text("kuma_dp_api_ca", str(self.value("kuma_dp_api_ca")))
        return {
            "ca": first,
            "new": new,
            "both": both,
            "api_ca": rotation.trust(api, prepared, new).both if api else "",
            "by_role": bool(prepared),
        }

    def _confirm(self) -> Json:
        """Whether all proxies of the VM run with that."""
        return {"problem": self._unconfirmed(self._begun()["ca"])}

    def _served(self) -> Json:
        """Whom its proxies trust in the end."""
        begun = self._begun()
        if not self.check and not self._shows_new(begun, 0.0):
            raise ItemsFailed(
                f"{self.host}: the control plane shows this VM another certificate than one of the new CA, so it goes on trusting both"
            )
        return {"ca": begun["new"]}

    def _end(self) -> Json:
        return {"problem": self._unconfirmed(self._begun()["new"])}

    # -- once for the fleet

    def _ready(self) -> Json:
        """Whether the control plane may change. Raises ItemsFailed with everybody who would lose it."""
        self._refuse_unless(rotation.CONFIRMED)
        return {}

    def _await(self) -> Json:
        """Wait until the control plane has changed, as the first VM sees it. Raises ItemsFailed."""
        begun = self._begun()
        wait = GRACE if begun["by_role"] else self.asked(options.ROTATION)["wait"]
        if not self.check and not self._shows_new(begun, wait):
            verdict = self._judged(begun["new"], self._look(begun["new"]))
            raise ItemsFailed(rotation.waiting({self.host: verdict.refused or ["it shows the new one by now"]}, begun["by_role"]))
        return {}

    def _over(self) -> Json:
        self._refuse_unless(rotation.ENDED)
        begun = self._begun()
        return {"msg": rotation.over(begun["new"], begun["by_role"]), "_ansible_verbose_always": True}

    # -- what they share

    def _refuse_unless(self, fact: str) -> None:
        """Raises ItemsFailed with all hosts of the fleet, in the play or not, of which ``fact`` is not known or tells a problem."""
        why = {} if self.check else rotation.lacking(self.whole_fleet(), self.registered(fact))
        if why:
            raise ItemsFailed(rotation.not_ready(why))

    def _prepared(self) -> t.List[Json]:
        found = [result for host in self.variables["groups"]["all"] for result in [self.registered(rotation.PREPARED)(host)] if result]
        failed = [result for result in found if result.get("failed")]
        if failed:
            raise ItemsFailed(f"the control plane is not prepared: {failed[0]['msg']}")
        return found

    def _begun(self) -> Json:
        return t.cast(Json, self.variables[rotation.BEGUN])

    @property
    def _url(self) -> str:
        return str(self.value("kuma_dp_control_plane_dp_url"))

    def _text(self, variable: str, value: str) -> str:
        return controller.pem_text(value, variable, self.search_dirs())

    def _look(self, ca: str) -> Json:
        """The VM and what it sees of the control plane."""
        return t.cast(Json, self.module("proxy_info", **self.read(layout.PLACE), dp_server_url=self._url, dp_server_ca=ca)["host"])

    def _judged(self, ca: str, seen: Json) -> trust.Verdict:
        return trust.judge(trust.Wish.of(self._url, ca, 0.0), seen["dp_server"], (seen["time"], time.time()), _ANY_RELEASE)

    def _shows_new(self, begun: Json, wait: float) -> bool:
        end = time.monotonic() + wait
        while not rotation.shows_new_alone(self._look(begun["both"])["dp_server"], begun["new"]):
            if time.monotonic() >= end:
                return False
            time.sleep(POLL)
        return True

    def _unconfirmed(self, ca: str) -> str:
        if self.check:
            return ""
        place = self.read(layout.PLACE)
        path = layout.Layout.of(place, "").ca
        return rotation.unconfirmed(self.module("proxy_info", **place, paths=[path])["host"], path, ca)
