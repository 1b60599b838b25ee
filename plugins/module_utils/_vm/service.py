# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Units of proxies: what has to be done to bring them to a state, and doing it with one command for all of a VM."""

from __future__ import annotations

import http.client
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import asking, journal, systemd
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner

Units = t.Mapping[str, t.Mapping[str, str]]
_POLL = 0.25
_ANSWER_WITHIN = 2.0


class Steps(t.NamedTuple):
    """What has to be done, each for the proxies named."""

    enable: t.List[str]
    disable: t.List[str]
    start: t.List[str]
    stop: t.List[str]
    restart: t.List[str]

    def actions(self, names: t.Iterable[str]) -> t.List[t.Dict[str, t.Any]]:
        """For each proxy what is done to it: ``[{name, actions}]``."""
        past = {"enable": "enabled", "disable": "disabled", "start": "started", "stop": "stopped", "restart": "restarted"}
        steps = self._asdict()
        return [{"name": name, "actions": [done for step, done in past.items() if name in steps[step]]} for name in names]


def steps_to(state: t.Optional[str], enabled: t.Optional[bool], units: Units) -> Steps:
    """What is missing between the units as systemd shows them and ``state`` and ``enabled``; None leaves them alone.

    A unit that waits to be restarted after a failure counts as neither running nor stopped.
    """
    active = {name for name, unit in units.items() if unit.get("ActiveState") == "active"}
    stopped = {name for name, unit in units.items() if unit.get("ActiveState", "inactive") in ("inactive", "failed")}
    boot = {name for name, unit in units.items() if unit.get("UnitFileState") in ("enabled", "enabled-runtime")}
    return Steps(
        enable=sorted(set(units) - boot) if enabled is True else [],
        disable=sorted(boot) if enabled is False else [],
        start=sorted(set(units) - active) if state == "started" else [],
        stop=sorted(set(units) - stopped) if state == "stopped" else [],
        restart=sorted(units) if state == "restarted" else [],
    )


def carry_out(steps: Steps, reload: bool, run: Runner) -> None:
    """Run the commands. ``systemctl stop`` returns when the proxies have drained. Raises ModuleFailed with their journals."""
    if reload:
        _systemctl(["daemon-reload"], [], run)
    for command, names in (("enable", steps.enable), ("start", steps.start), ("stop", steps.stop), ("disable", steps.disable)):
        if names:
            _systemctl([command], names, run)
    if steps.stop:
        # One that was stopped while it waited for its bootstrap exits 1 and would stay "failed" (trap 5).
        run(["systemctl", "reset-failed"] + [systemd.UNIT % name for name in steps.stop])


def helpers_of(names: t.Sequence[str], run: Runner) -> t.List[str]:
    """The units that run beside those of the proxies: what restarts them first, then their covers."""
    units = [unit % name for unit in (systemd.RESTART_UNIT, systemd.COVER_UNIT) for name in names]
    shown = systemd.parse_show(run(["systemctl", "show", "--property=Id,ActiveState", *units])[1])
    return [unit for unit in units if shown.get(unit, {}).get("ActiveState", "inactive") not in ("inactive", "failed")]


def stop_helpers(units: t.Sequence[str], run: Runner) -> t.List[str]:
    """Whatever restarts a proxy would start it again. Covers drain while the proxies do: returns those to be waited for."""
    prefix = systemd.RESTART_UNIT.partition("%")[0]
    covers = [unit for unit in units if not unit.startswith(prefix)]
    for command in (["stop", *[unit for unit in units if unit.startswith(prefix)]], ["stop", "--no-block", *covers]):
        if command[-1].endswith(".service"):
            run(["systemctl", *command])
    return covers


def wait_for_covers(covers: t.Sequence[str], run: Runner) -> None:
    if covers:
        run(["systemctl", "stop", *covers])
        run(["systemctl", "reset-failed", *covers])


def restart(name: str, run: Runner) -> None:
    """Restart one proxy with a full drain."""
    _systemctl(["restart"], [name], run)


def _systemctl(command: t.Sequence[str], names: t.Sequence[str], run: Runner) -> None:
    status, output, error = run(["systemctl", *command, *[systemd.UNIT % name for name in names]])
    if status:
        logs = {name: journal.of_unit(systemd.UNIT % name, run) for name in names}
        message = "systemctl %s failed for %s: %s" % (command[0], ", ".join(names) or "this VM", (error or output).strip())
        raise ModuleFailed(message, {"journals": logs})


def wait_ready(address: str, port: int, timeout: float) -> bool:
    """Whether the proxy answers on ``http://<address>:<admin port>/ready`` within ``timeout`` seconds.

    The control plane opens this listener with the first configuration, so it proves bootstrap, token and configuration.
    """
    end = time.monotonic() + timeout
    while True:
        if _ready(address, port):
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL)


def _ready(address: str, port: int) -> bool:
    try:
        return asking.ask(asking.Way(address, port, silence=_ANSWER_WITHIN, whole=_ANSWER_WITHIN), "/ready", limit=0).status == 200
    except (OSError, http.client.HTTPException):
        return False
