# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Which variables of which hosts are looked at, and for what, before a play asks or writes anything."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import specs
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.findings import THE_PLAY, Findings
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.values import Values, Variables

# Whose options count for hosts of each kind. Those of the first role have to be set that it demands.
KINDS: t.Mapping[str, t.Sequence[str]] = {
    "proxies": ("kuma_dp", "kuma_transparent_proxy"),
    "zone_proxies": ("kuma_zone_proxy", "kuma_dp"),
    "control_planes": ("kuma_cp",),
}
# The entry point of the roles that hosts come to. Where they come to none, nothing has to be set.
PURPOSES = {"join": "main", "leave": "leave", "maintenance": "", "migration": "", "revoke": "", "signing_key": "", "control_plane": "main"}
# That of those who lay files down on VMs.
_JOINS = "main"


class Inspection:
    """Takes hosts in: ``hosts`` by their kind, ``purpose`` is what they are looked at for."""

    def __init__(
        self,
        findings: Findings,
        values: Values,
        specifications: specs.Specs,
        hosts: t.Mapping[str, t.Sequence[str]],
        purpose: t.Optional[str],
    ) -> None:
        self._findings, self._values, self._specs = findings, values, specifications
        self._hosts = {kind: frozenset(hosts[kind]) for kind in KINDS}
        self._named = list(dict.fromkeys(host for kind in KINDS for host in hosts[kind]))
        self._entry = PURPOSES[purpose] if purpose else ""
        self._known: t.Dict[t.Tuple[str, ...], specs.Wanted] = {}

    def look(self, in_play: t.Sequence[str]) -> None:
        """At all hosts that are named, or at those in the play when none is."""
        named = frozenset(self._named)
        kinds: t.Set[str] = set()
        # In the order of the inventory, which filters do not keep. Nobody may be in a fleet because the variable that names its group
        # is misspelt.
        hosts = list(dict.fromkeys([*(host for host in in_play if host in named), *self._named])) or in_play
        self._findings.play(self._values.of_nobody)
        for host in hosts:
            inventory = self._values.inventory(host)
            if inventory is not None:
                kinds.update(self._kinds(host))
                self._at(host, inventory)
        wanted = self._wanted(tuple(kind for kind in KINDS if kind in kinds))
        self._findings.options(THE_PLAY, wanted, self._values.alike, self._values.of_play())

    def _kinds(self, host: str) -> t.Tuple[str, ...]:
        return tuple(kind for kind, hosts in self._hosts.items() if host in hosts)

    def _at(self, host: str, inventory: Variables) -> None:
        self._findings.variables(host, inventory)
        kinds = self._kinds(host)
        if not kinds:
            return
        values, wanted = self._values.of(host, inventory), self._wanted(kinds)
        self._findings.required(host, wanted, values)
        self._findings.options(host, wanted, self._values.differing(host, inventory), values)
        for kind in kinds:
            if kind != "control_planes":
                self._findings.proxies(host, KINDS[kind][0], values)
        if kinds != ("control_planes",):
            self._findings.mesh(host, values)
            if self._entry == _JOINS:
                self._findings.trust(host, values)

    def _wanted(self, kinds: t.Tuple[str, ...]) -> specs.Wanted:
        """What is wanted of a host of these kinds."""
        if kinds not in self._known:
            roles = [role for kind in kinds for role in KINDS[kind]]
            required = [(KINDS[kind][0], self._entry) for kind in kinds]
            self._known[kinds] = specs.wanted(self._specs, roles, required)
        return self._known[kinds]
