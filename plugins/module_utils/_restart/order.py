# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Has a proxy restarted by its unit on the VM and tells what became of it, for the module proxy_restart."""

from __future__ import annotations

import json
import time
import typing as t
import uuid

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import redact
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files, steps
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.vm import Vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import journal, safely
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import COVER_UNIT, RESTART_UNIT, UNIT, parse_show

Result = t.Dict[str, t.Any]
_POLL = 0.1
_ENDED = 20  # readings
# The proxy that ran is gone, and the one that follows does not serve yet.
STOPPED = "stopped"
# What a call before the restart itself may wait for, and what it may find.
PREPARED, FREE, BUSY = "prepared", "free", "busy"
_UNDER_WAY = ("active", "activating", "reloading")
_AFTER_STOP = ("start", "ready", "fall_back", "stranded")
_TAKEN_OVER = "a restart of this proxy was already under way"
_RESULT = (
    "outcome",
    "strategy",
    "reasons",
    "notes",
    "served_by",
    "fell_back",
    "connections_cut",
    "seconds",
    "phases",
    "started",
    "version",
)


def identifier() -> str:
    return uuid.uuid4().hex


def untouched(wish: t.Mapping[str, t.Any], problem: t.Optional[str]) -> Result:
    """The result for a proxy that nothing was done to."""
    state = steps.begin({}, "", 0.0, None)
    return {**_shown(wish["name"], state), "outcome": "untouched", "reasons": wish["reasons"], "problem": problem, "served_by": "main"}


class Unable(Exception):
    """This VM cannot restart the proxy; nothing was touched."""


def restart(vm: Vm, wish: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any], request: str) -> Result:
    """Restart one proxy and wait until it is decided what became of it, or only until it is stopped.

    A restart that an earlier call began and left is waited for.
    """
    notes = []
    stopped = params["until"] == STOPPED
    if wish["request"]:
        return _shown(wish["name"], _wait(vm, wish["request"], _bound(params), stopped))
    try:
        state = _under_way(vm, _units(vm))
        if state is None:
            _order(vm, wish, params, request)
        else:
            request = state["request"]["id"]
            notes.append(_TAKEN_OVER)
    except Unable as exc:
        return untouched(wish, redact(str(exc)))
    result = _shown(wish["name"], _wait(vm, request, _bound(params), stopped))
    return {**result, "notes": [*result["notes"], *notes], "taken_over": bool(notes)}


def lay_cover(vm: Vm, wish: t.Mapping[str, t.Any]) -> Result:
    """Lay down Dataplane and token of a cover for a restart that is to follow. ``busy``: one is under way, and the files are its own."""
    try:
        units = _units(vm)
    except Unable as exc:
        return untouched(wish, redact(str(exc)))
    if units[RESTART_UNIT % vm.paths.name].get("ActiveState") in _UNDER_WAY:
        return {**untouched(wish, None), "outcome": BUSY, "cover_token": vm.cover_claims()}
    _write_cover(vm, wish["cover"])
    return untouched(wish, None)


def wait_free(vm: Vm, wish: t.Mapping[str, t.Any]) -> Result:
    """Wait for a restart that only retires its cover. ``busy``: one that is not decided is under way, and its request is told."""
    try:
        state = _under_way(vm, _units(vm))
    except Unable as exc:
        return untouched(wish, redact(str(exc)))
    if state is None:
        return untouched(wish, None)
    return {**untouched(wish, None), "outcome": BUSY, "request": state["request"]["id"], "notes": [_TAKEN_OVER], "taken_over": True}


def _units(vm: Vm) -> t.Dict[str, t.Dict[str, str]]:
    """The units of the proxy, read again by systemd where their files changed. Raises Unable when they are missing."""
    names = [unit % vm.paths.name for unit in (UNIT, COVER_UNIT, RESTART_UNIT)]
    command = ["systemctl", "show", "--property=Id,LoadState,ActiveState,NeedDaemonReload", *names]
    units = parse_show(vm.run(command)[1])
    if any(unit.get("NeedDaemonReload") == "yes" or unit.get("LoadState") == "not-found" for unit in units.values()):
        vm.run(["systemctl", "daemon-reload"])
        units = parse_show(vm.run(command)[1])
    missing = [name for name in names if units.get(name, {}).get("LoadState") != "loaded"]
    if missing:
        found = units.get(missing[0], {}).get("LoadState") or "unknown to systemd"
        raise Unable("%s is %s, expected the files of the role kuma_dp: run the playbook join_mesh on this VM first" % (missing[0], found))
    return units


def _under_way(vm: Vm, units: t.Mapping[str, t.Mapping[str, str]]) -> t.Optional[t.Dict[str, t.Any]]:
    """The restart that is under way and not decided. One that only retires its cover is waited for, one that is stranded is ended."""
    unit = RESTART_UNIT % vm.paths.name
    if units[unit].get("ActiveState") not in _UNDER_WAY:
        return None
    state = vm.load()
    if state is None or steps.finished(state) or not state["outcome"]:
        end = time.monotonic() + steps.SLACK
        while (state is None or steps.finished(state)) and time.monotonic() < end and _active(vm, unit):
            # It is about to begin, or to end.
            time.sleep(_POLL)
            state = vm.load()
        return state if state is not None and not state["outcome"] else None
    end = time.monotonic() + float(state["request"]["drain_time"]) + steps.SLACK
    while state["stage"] == "retire" and _active(vm, unit) and time.monotonic() < end:
        time.sleep(_POLL)
        state = vm.load() or state
    if _active(vm, unit) and state["stage"] == "stranded":
        vm.run(["systemctl", "stop", unit])
        vm.save({**state, "stage": "done"})
    while _active(vm, unit) and time.monotonic() < end:
        time.sleep(_POLL)
    return None


def _active(vm: Vm, unit: str) -> bool:
    return vm.run(["systemctl", "is-active", "--quiet", unit])[0] == 0


def _order(vm: Vm, wish: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any], request: str) -> None:
    """Write what the unit needs and start it. Raises Unable."""
    paths = vm.paths
    if params["restore"] and files.read_json(paths.own("good.json")) is None:
        raise Unable("what it ran with before is not known, so that it cannot be put back: %s is missing" % paths.own("good.json"))
    files.make_directories(paths)
    if wish["cover"]:
        _write_cover(vm, wish["cover"])
    asked = {key: params[key] for key in ("drain_time", "ready_timeout", "poll", "restore")}
    order = {"id": request, "strategy": wish["strategy"], "reasons": wish["reasons"], **asked}
    files.write_json(paths.own("request.json"), order)
    unit = RESTART_UNIT % paths.name
    vm.run(["systemctl", "reset-failed", unit])
    status, output, error = vm.run(["systemctl", "start", unit])
    if status:
        files.forget_cover(paths)
        raise Unable("systemctl start %s failed: %s" % (unit, (error or output).strip()))


def _write_cover(vm: Vm, cover: t.Mapping[str, t.Any]) -> None:
    gid = files.make_directories(vm.paths)
    dataplane = json.dumps(cover["dataplane"], sort_keys=True).encode("utf-8")
    safely.write(vm.paths.own("cover", "dataplane.yaml"), dataplane, 0o640, 0, gid)
    safely.write(vm.paths.cover_token, cover["token"].strip().encode("utf-8"), 0o600, vm.uid() or 0, gid)


def _bound(params: t.Mapping[str, t.Any]) -> float:
    """After how many seconds something is wrong with the machine itself."""
    return steps.longest(float(params["drain_time"]), float(params["ready_timeout"]))


def _wait(vm: Vm, request: str, seconds: float, stopped: bool = False) -> t.Dict[str, t.Any]:
    """The state of the restart once its outcome is known, or one that says that the machine itself failed.

    With ``stopped`` it is enough that the old process is gone.
    """
    unit = RESTART_UNIT % vm.paths.name
    end, ended = time.monotonic() + seconds, 0
    while True:
        state = vm.load()
        if state is not None and state["request"]["id"] == request and state["outcome"]:
            return state
        if stopped and state is not None and state["request"]["id"] == request and state["stage"] in _AFTER_STOP:
            return {**state, "outcome": STOPPED, "served_by": "cover" if state["strategy"] == "cover" else "none"}
        # Between a crash and its next start it is not active for a moment.
        shown = vm.run(["systemctl", "show", "--property=ActiveState", "--value", unit])[1].strip()
        ended = 0 if shown in ("active", "activating") else ended + 1
        if ended > _ENDED or time.monotonic() >= end:
            return _broken(vm, unit, state if state is not None and state["request"]["id"] == request else None)
        time.sleep(_POLL)


def _broken(vm: Vm, unit: str, state: t.Optional[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    facts = vm.look("begin")
    served = "main" if facts.main.serves else "cover" if facts.cover.serves else "none"
    stage = "stage: " + state["stage"] if state is not None else "it did not begin"
    problem = "%s ended or hangs without a result (%s)" % (unit, stage)
    lines = journal.of_unit(unit, vm.run)
    known = state if state is not None else steps.begin({}, "", 0.0, None)
    return {**known, "outcome": "failed", "served_by": served, "problem": problem, "journal": lines}


def _shown(name: str, state: t.Mapping[str, t.Any]) -> Result:
    return {
        "name": name,
        "request": state["request"].get("id"),
        **{key: state[key] for key in _RESULT},
        "problem": redact(state["problem"]) if state["problem"] else None,
        "journal": [redact(line) for line in state["journal"]],
        "taken_over": False,
    }
