# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The gate behind a restart: is the proxy what it has to be, in the eyes of the control plane? Pure functions."""

from __future__ import annotations

import typing as t

Proxy = t.Mapping[str, t.Any]

# Phases of a restart on the VM, by the phase of the journal that they belong to.
_PHASES = {"cover": "cover", "settle": "cover", "drain": "drain", "stop": "restart", "start": "restart", "ready": "restart"}


class Result(t.NamedTuple):
    """What the task on the VM said. ``proxies`` are the results of ``proxy_restart``, by name."""

    ok: bool
    unreachable: bool = False
    reason: str = ""
    proxies: t.Mapping[str, t.Mapping[str, t.Any]] = {}


def read(result: t.Any, names: t.Sequence[str], kind: str) -> Result:
    """The registered result of the task on the VM, whatever became of it."""
    if not isinstance(result, t.Mapping) or not result:
        return Result(False, reason="no task on the VM said how it went")
    proxies = {str(entry.get("name")): entry for entry in result.get("results") or [] if isinstance(entry, t.Mapping)}
    said = " ".join(str(result.get("msg") or "").split())[:500]
    if result.get("unreachable"):
        return Result(False, True, f"the host could not be reached: {said}" if said else "the host could not be reached", proxies)
    if result.get("failed"):
        return Result(False, reason=said or "the task on the VM failed without a message", proxies=proxies)
    if result.get("skipped"):
        return Result(False, reason="the task on the VM was skipped", proxies=proxies)
    missing = [name for name in names if (proxies.get(name) or {}).get("outcome") != "restarted"]
    if kind != "leave" and missing:
        whys = [f"{name} was not restarted ({(proxies.get(name) or {}).get('problem') or 'it is not in the result'})" for name in missing]
        return Result(False, reason="; ".join(whys), proxies=proxies)
    return Result(True, proxies=proxies)


def measured(result: Result) -> t.Dict[str, t.Any]:
    """What the journal keeps of a result: ``phases``, ``connections_cut``, ``served_by``, ``after`` (the version), ``drained``."""
    phases: t.Dict[str, float] = {}
    for entry in result.proxies.values():
        for name, seconds in (entry.get("phases") or {}).items():
            if name in _PHASES and isinstance(seconds, (int, float)):
                phases[_PHASES[name]] = round(phases.get(_PHASES[name], 0.0) + seconds, 2)
    entries = list(result.proxies.values())
    worst = [str(entry.get("served_by") or "") for entry in entries]
    return {
        "phases": phases,
        "connections_cut": sum(int(entry.get("connections_cut") or 0) for entry in entries),
        "served_by": next((side for side in ("none", "cover") if side in worst), "main" if "main" in worst else ""),
        "after": str(((entries[0].get("version") or {}).get("after") or "") if entries else ""),
        "drained": sorted(name for name, entry in result.proxies.items() if entry.get("strategy") == "drained"),
    }


def unhealthy(before: t.Optional[Proxy], now: t.Optional[Proxy], ours: t.Collection[str]) -> t.List[str]:
    """Why a proxy does not do what it did ``before``, as far as its inbounds and its connection go. ``ours`` are inbounds that we fenced."""
    if now is None:
        return ["it is not registered"]
    if not now["online"]:
        return ["it is not connected to the control plane"]
    found = []
    if now["rejected"]:
        found.append(f"Envoy rejected {now['rejected']} configurations")
    for key, inbound in now["inbounds"].items():
        was = ((before or {}).get("inbounds") or {}).get(key)
        if not _required(was, key in ours):
            continue
        if inbound["state"] != "Ready":
            found.append(f"inbound {inbound['name']} has state {inbound['state']}")
        elif not inbound["healthy"] and key not in ours:
            found.append(f"inbound {inbound['name']} is fenced by somebody else")
    return found


def _required(was: t.Optional[Proxy], ours: bool) -> bool:
    if was is None or ours:
        return True
    if was["state"] == "Ready":
        return bool(was["healthy"])
    # Without a probe its own proxy alone decides; with one, the application was down before and may be still.
    return was["state"] == "NotReady" and not was["probe"]


def problems(before: t.Optional[Proxy], now: t.Optional[Proxy], ours: t.Collection[str], target: str, kind: str) -> t.List[str]:
    """Why the gate is not passed: :func:`unhealthy`, and no new connection since ``before``, or another version than ``target``."""
    if kind == "leave":
        return ["it is still connected to the control plane"] if now is not None and now["online"] else []
    found = unhealthy(before, now, ours)
    if now is None or not now["online"]:
        return found
    if not set(now["ids"]) - set((before or {}).get("ids") or []):
        found.insert(0, "it has not connected anew since it was admitted")
    if target and now["version"].lstrip("v") != target.lstrip("v"):
        found.append(f"the control plane sees kuma-dp {now['version'] or 'of an unknown version'}, expected {target}")
    return found
