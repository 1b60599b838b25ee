# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a roll takes from the join before it in the same play run, and from its own tasks: who is rolled, by which rules, and how it went.

Pure functions. ``facts`` are the variables of one host with what tasks registered for it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import redact
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import fleet, options

Json = t.Dict[str, t.Any]
Facts = t.Mapping[str, t.Any]

# The groups of the hosts that a play run has joined.
JOINED, ZONE_JOINED = "meshfleet_kuma_join", "meshfleet_kuma_zone_join"
# What the tasks of role kuma_roll register.
PLAN, ADMISSION, RESTARTED, PROBLEM = "kuma_roll_plan", "kuma_roll_admission", "kuma_roll_restarted", "kuma_roll_problem"
# How the proxies of a VM are restarted, under the names that proxy_restart has for it.
RESTART: options.Table = {
    **{key: options.VM[key] for key in ("drain_time", "config_dir", "install_dir", "user", "group")},
    "ready_timeout": options.VM["wait_timeout"],
}

# Files with tasks of the user.
HOOKS: options.Table = {key: options.ROLL[key] for key in ("before", "after")}

_SETTINGS = tuple(key for key in options.ROLL if key not in (*HOOKS, "kind", "resume", "directory"))


class NotJoined(ValueError):
    """A host was not joined in this play run, so that nobody knows what it runs."""


class Fleet(t.NamedTuple):
    """The hosts of a roll: ``mesh`` and ``zone`` are those that this play run has joined, ``in_play`` those that it has not lost since.

    ``facts(host)`` are what tasks registered, ``known(host)`` is the inventory.
    """

    mesh: t.Sequence[str]
    zone: t.Sequence[str]
    in_play: t.Container[str]
    facts: t.Callable[[str], Facts]
    known: t.Callable[[str], fleet.Known]

    def hosts(self) -> t.List[Json]:
        """As rollout takes them. Raises NotJoined."""
        return [
            self._here(host) if host in self.in_play else self._refused(host) or self._late(host) or self._lost(host)
            for host in sorted({*self.mesh, *self.zone})
        ]

    def _here(self, host: str) -> Json:
        facts, proxies, version = self.facts(host), [], ""
        for role, members in (("kuma_dp", self.mesh), ("kuma_zone_proxy", self.zone)):
            if host in members:
                if not _state(facts, role):
                    raise NotJoined(f"{host} has not joined in this play run: the playbook rolling_restart joins all hosts first")
                proxies += _state(facts, role)["roll"]
                version = facts[f"{role}_look"]["options"]["version"]
        return {"host": host, "reachable": True, "proxies": proxies, "target_version": version}

    def _refused(self, host: str) -> t.Optional[Json]:
        """A host that the plan of the join has refused, so that nothing was done there: None for any other. What it serves it goes on serving."""
        facts = self.facts(host)
        reasons: t.List[str] = []
        serves: t.Dict[str, t.Any] = {}
        for role, members in (("kuma_dp", self.mesh), ("kuma_zone_proxy", self.zone)):
            planned = ((facts.get(f"{role}_plan") or {}).get("plan") or {}).get(host) or {}
            if host in members and planned.get("refused"):
                reasons += planned["refused"]
                seen = ((facts.get(f"{role}_look") or {}).get("host") or {}).get("proxies") or {}
                serves.update((proxy["name"], (seen.get(proxy["name"]) or {}).get("serves")) for proxy in planned["proxies"])
        if not reasons:
            return None
        found = self._lost(host)
        proxies = [{**proxy, "serves": serves.get(proxy["name"])} for proxy in found["proxies"]]
        return {**found, "reachable": True, "proxies": proxies, "late": f"its join was refused: {'; '.join(dict.fromkeys(reasons))}"}

    def _late(self, host: str) -> t.Optional[Json]:
        """A host that the join has lost because of proxies that served nobody before it, and serve nobody after it: None for any other.

        Nothing is known to be wrong with what was laid down, so that it is no reason to stop for the others.
        """
        facts = self.facts(host)
        reasons: t.List[str] = []
        late: t.Set[str] = set()
        for role, members in (("kuma_dp", self.mesh), ("kuma_zone_proxy", self.zone)):
            verdict, state = facts.get(f"{role}_verdict") or {}, _state(facts, role)
            if host in members and not state:
                return None
            if verdict.get("failed"):
                own = set(state.get("wait_for", [])).intersection((facts.get(f"{role}_seen") or {}).get("late", ()))
                if not own or not own.issubset(state.get("dead", [])):
                    return None
                late |= own
                reasons.append(str(verdict.get("msg") or "").partition("\n")[0])
        if not late:
            return None
        found = self._here(host)
        proxies = [{**proxy, "serves": False} if proxy["name"] in late else proxy for proxy in found["proxies"]]
        return {**found, "proxies": proxies, "late": f"its join failed: {'; '.join(reasons)}"}

    def _lost(self, host: str) -> Json:
        """What a play has lost counts as unreachable, with the proxies that the inventory gives it."""
        known = self.known(host)
        zone = [{"name": name, "zone_proxy": kind} for name, kind in fleet.zone_names(host, known)] if host in self.zone else []
        mesh = [{"name": name} for name in fleet.mesh_names(host, known)] if host in self.mesh else []
        names = {proxy["name"] for proxy in mesh}
        # Without a type, which a template that fails does not tell, a zone proxy may have the name of the host.
        return {"host": host, "reachable": False, "proxies": [*mesh, *(proxy for proxy in zone if proxy["name"] not in names)]}


def settings(roll: Json) -> Json:
    """The rules, from the values of ``options.ROLL``."""
    return {**{key: roll[key] for key in _SETTINGS}, "hooked": bool(roll["before"])}


def gates(facts: Facts) -> t.List[Json]:
    """What the applications of a VM have to answer before it counts as restarted."""
    return [gate for role in ("kuma_dp", "kuma_zone_proxy") for gate in _state(facts, role).get("gates", [])]


def moving(facts: Facts) -> t.Dict[str, Json]:
    """``{name: Dataplane}`` of the proxies that run Direct and become Indirect."""
    state = _state(facts, "kuma_dp")
    return {name: state["dataplanes"][name] for name in state.get("moving", [])}


def few_forks(forks: int, max_in_flight: int, size: int, option: str) -> t.List[str]:
    """What is to be said where fewer hosts of ``size`` can wait than are allowed at once."""
    text = (
        f"forks is {forks}, and up to {max_in_flight} hosts may be restarted at once ({option}): "
        "with more forks than that the roll is faster. Set forks in ansible.cfg, or --forks."
    )
    return [text] if forks < min(max_in_flight, size) else []


def turned_away(facts: Facts) -> t.Optional[Json]:
    """The admission of a host that may not be restarted; None for one that may."""
    admission: Json = facts.get(ADMISSION) or {"outcome": "refused", "reason": "it has not asked for admission"}
    return None if admission.get("admitted") else admission


def problem(facts: Facts) -> str:
    """Why a host failed beside its restart, as a rescue knows it. Raises ValueError outside of one."""
    if "ansible_failed_result" not in facts:
        raise ValueError("state=problem is for the rescue of a block, and no task has failed")
    task, result = facts.get("ansible_failed_task") or {}, facts["ansible_failed_result"]
    # A rescue is told all of it, also where nobody is to see it, and what is said here is in the report of the roll.
    hidden = bool(task.get("no_log")) or "censored" in result or bool(result.get("_ansible_no_log"))
    told = "failed, and why is hidden by no_log" if hidden else redact(str(result.get("msg") or "failed"))
    return f"{task.get('name') or task.get('action') or 'a task'}: {told}"


def outcome(facts: Facts) -> Json:
    """What became of the restart, as it is judged. A hook that failed is a failure of the host, too."""
    restarted: Json = facts.get(RESTARTED) or {}
    failed = facts.get(PROBLEM)
    if failed is None:
        return restarted
    return {"failed": True, "msg": failed["msg"], "results": restarted.get("results") or []}


def renewed(result: Facts) -> t.List[str]:
    """The proxies that run with something new. What did not come back with it was put back by its VM."""
    return [each["name"] for each in result.get("results") or [] if each["outcome"] == "restarted" and not each.get("fell_back")]


def put_back(host: str, result: Facts) -> str:
    """What is said of a host that failed, after the restart of its proxies with what they ran with before."""
    if result.get("failed") or result.get("unreachable"):
        return f"{host} runs with what failed, for it could not be put back to what it ran with before: {result['msg']}"
    return f"{host} was put back to what it ran with before"


def _state(facts: Facts, role: str) -> Json:
    """What a join says of a VM; empty where it did not get that far."""
    return (facts.get(f"{role}_deployed") or {}).get("state") or {}
