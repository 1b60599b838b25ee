# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What became of a VM, and what is left to do there. Pure functions."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._join import lifecycle
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import reasons, refusals
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import layout

Json = t.Dict[str, t.Any]

# Seconds that a proxy has to get its first configuration, before a restart counts as better than patience.
GRACE = 30.0


@dataclasses.dataclass(frozen=True)
class Done:
    """What a join did on a VM: ``changed_paths`` of proxy_files, whether programs were ``replaced``, ``started`` are the proxies that it started.

    ``observed`` is the ``host`` of proxy_info before it, ``planned`` the proxies from the plan. ``healed`` are those of ``started`` that ran and
    served nobody, ``lost`` says in words why proxies that serve are not connected, as far as that is known.
    """

    place: layout.Layout
    observed: Json
    planned: t.Sequence[Json]
    changed_paths: t.Container[str]
    replaced: bool
    started: t.Sequence[str] = ()
    healed: t.Sequence[str] = ()
    lost: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    def seen(self, name: str) -> Json:
        return t.cast(Json, self.observed["proxies"][name])

    @property
    def moving(self) -> t.List[str]:
        """Proxies that run Direct and are to be Indirect: the control plane deletes their Dataplane ten seconds after they have stopped."""
        return [
            proxy["name"]
            for proxy in self.planned
            if proxy["lifecycle"] == lifecycle.INDIRECT
            and self.seen(proxy["name"])["lifecycle"] == lifecycle.DIRECT
            and proxy["name"] not in self.healed
        ]

    def dead(self) -> t.List[str]:
        """Who is not connected and serves nobody, whether it runs or not."""
        return [proxy["name"] for proxy in self.planned if not proxy["connected"] and self.seen(proxy["name"]).get("serves") is False]

    def to_heal(self) -> t.List[str]:
        """Who runs, is not connected and serves nobody: a restart takes nothing from anybody, and only with one it takes what is laid down.

        One that was started a moment ago, with all that is laid down, and was not refused may be about to connect. A fenced Direct one would
        lose its fence.
        """
        names = self.dead()
        dead = [
            proxy for proxy in self.planned if proxy["name"] in names and self.seen(proxy["name"])["unit"]["active"] and not proxy["hold"]
        ]
        # The control plane deletes what was Direct ten seconds after its last connection: by then it was registered anew for nothing.
        moving = self.moving
        return [
            proxy["name"]
            for proxy in dead
            if self._waited(proxy) or ((self._why(proxy) or self._refused(proxy)) and proxy["name"] not in moving)
        ]

    def _refused(self, proxy: Json) -> bool:
        """Whether the process that runs has been told why it gets nothing. What it runs with may be older than all that is laid down."""
        refusal = self.seen(proxy["name"]).get("refusal") or {}
        return bool(refusal) and refusal["code"] not in (refusals.UNREGISTERED, refusals.BUSY)

    def _waited(self, proxy: Json) -> bool:
        """Whether it had the time to connect."""
        started = self.seen(proxy["name"])["unit"].get("started")
        return started is not None and self.observed["time"] - started > GRACE

    def stale(self, proxy: Json) -> bool:
        """Whether it serves with the configuration that it has, as the control plane refuses it or is not where it looks for it.

        Its journal need not say why: the access log of one that is called may have pushed that out.
        """
        seen = self.seen(proxy["name"])
        lost = bool(seen.get("refusal")) or seen.get("connected") is False
        return bool(seen["unit"]["active"]) and not proxy["connected"] and bool(seen.get("serves")) and lost

    def pending(self) -> t.List[Json]:
        """``[{name, reasons}]`` of the proxies that ran before this and are not what the files now say."""
        found = []
        for proxy in self.planned:
            if self.seen(proxy["name"])["unit"]["active"] and proxy["name"] not in self.healed:
                why = self._why(proxy)
                if why and self.stale(proxy):
                    why.append(reasons.Reason(reasons.REFUSED, self.lost.get(proxy["name"]) or "its journal does not say why"))
                if why:
                    found.append({"name": proxy["name"], "reasons": sorted(reason.text for reason in why)})
        return found

    def _why(self, proxy: Json) -> t.List[reasons.Reason]:
        name, seen = proxy["name"], self.seen(proxy["name"])
        direct = seen["lifecycle"] == lifecycle.DIRECT
        files = {
            reasons.FILE_OF_UNIT: layout.UNIT,
            reasons.ENVIRONMENT: self.place.environment(name),
            reasons.CA: self.place.ca,
            **({} if seen["token"].get("reloaded") else {reasons.TOKEN: self.place.token(name)}),
            **({reasons.DATAPLANE: self.place.dataplane(name)} if direct else {}),
        }
        codes = {code for code in seen["restart_codes"] if code in reasons.FILES}
        codes |= {code for code, path in files.items() if path in self.changed_paths}
        found = [reasons.Reason(code) for code in codes]
        if seen["version"] and seen["version"] != self.place.version:
            found.append(reasons.Reason(reasons.VERSION, seen["version"], self.place.version))
        elif self.replaced or reasons.PROGRAM in seen["restart_codes"]:
            found.append(reasons.Reason(reasons.PROGRAM))
        if seen["lifecycle"] != proxy["lifecycle"]:
            found.append(reasons.Reason(reasons.LIFECYCLE, seen["lifecycle"], proxy["lifecycle"]))
        elif proxy["lifecycle"] == lifecycle.DIRECT and proxy["differs"] and reasons.DATAPLANE not in codes:
            found.append(reasons.Reason(reasons.REGISTRATION, "another" if proxy["registered"] else ""))
        return found

    def restartable(self) -> t.List[str]:
        """Whom a drained restart may touch. Only a roll restarts the others: those that move, and a fenced Direct proxy never."""
        return [proxy["name"] for proxy in self.planned if not proxy["hold"] and proxy["name"] not in self.moving]

    def roll(self, pending: t.Sequence[Json], strategy: str) -> t.List[Json]:
        """What rollout has to know about each proxy: why it wants a restart, and whether it can be covered."""
        why = {item["name"]: item["reasons"] for item in pending}
        found = []
        for proxy in self.planned:
            seen = self.seen(proxy["name"])
            cover = seen.get("cover") or {}
            found.append(
                {
                    "name": proxy["name"],
                    "address": proxy["address"],
                    "strategy": strategy,
                    "possible": bool(cover.get("possible")),
                    "reasons": cover.get("reasons") or [],
                    "direct": seen["lifecycle"] == lifecycle.DIRECT,
                    "pending": why.get(proxy["name"], []),
                    "version": seen["version"] or "",
                    "serves": None if proxy["name"] in self.started else seen.get("serves"),
                    "claims": proxy["claims"],
                    **({"zone_proxy": proxy["zone_proxy"]} if "zone_proxy" in proxy else {"refuse": proxy["hold"]}),
                }
            )
        return found

    def waited_for(self, not_ready: t.Container[str], pending: t.Sequence[Json] = ()) -> t.List[str]:
        """Who has to come into traffic: who is not in it, and who was started just now. ``pending`` are those whose restart is left to others.

        Nobody waits for one that is fenced, nor for one that serves and will be let in by the control plane after its restart alone.
        """
        left = {item["name"] for item in pending}
        return [
            proxy["name"]
            for proxy in self.planned
            if not proxy.get("fenced")
            and (proxy["name"] in self.started or (proxy["name"] in not_ready and not (proxy["name"] in left and self.stale(proxy))))
        ]

    def gates(self) -> t.List[Json]:
        """What applications have to answer before this VM counts as done."""
        return [gate for proxy in self.planned for gate in proxy["gates"]]

    def ready(self) -> t.Dict[str, str]:
        """Where each proxy says that it has its configuration: ``{name: address:port}``."""
        return {proxy["name"]: f"{proxy['address']}:{proxy['ports']['admin']}" for proxy in self.planned}

    def outbounds(self) -> t.Dict[str, str]:
        """``{service: address:port}`` of all services that are called."""
        calls = [outbound for proxy in self.planned for outbound in proxy["outbounds"]]
        return {outbound["service"]: f"{outbound['address']}:{outbound['port']}" for outbound in calls}

    def others(self, known: t.Container[str]) -> t.List[str]:
        """Proxies on the VM that nobody asked for."""
        ours = {proxy["name"] for proxy in self.planned}
        return [name for name in self.observed["proxies"] if name not in ours and name not in known]
