#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_service
short_description: Start, stop and restart the proxies of a VM
version_added: 0.1.0
description:
  - Brings the systemd units C(kuma-dp@<name>.service) of a VM to a state, all of them in one task.
  - Stopping drains. The task takes as long as the proxies need, at most C(TimeoutStopSec) of the unit. Proxies drain at the same time.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
attributes:
  check_mode:
    support: full
    details:
      - A unit that does not exist yet is accepted in check mode.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - Not with O(state=restarted).
options:
  names:
    description: The proxies.
    type: list
    elements: str
    required: true
  state:
    description:
      - Whether they run. V(restarted) restarts one after the other, each with a full drain.
      - Without it, running proxies keep running and stopped ones stay stopped.
    type: str
    choices: [started, stopped, restarted]
  enabled:
    description: Whether they start when the VM boots. Left alone when it is not given.
    type: bool
  daemon_reload:
    description: Whether systemd reads the unit files again first. It always does for a unit that changed since.
    type: bool
    default: false
  heal:
    version_added: 0.2.0
    description:
      - Of O(names), those that are known to serve nobody, such as one that the control plane refuses. With O(state=started) they are restarted although
        they run, so that they take what lies there now. Nothing is drained.
      - A proxy that serves somebody by then, or that is being restarted by C(kuma-dp-restart@<name>.service), is left alone.
    type: list
    elements: str
    default: []
  drain_time:
    description:
      - With O(state=stopped), stop each proxy as soon as its last connection is closed, and after this long at the latest, in seconds or as a
        duration such as V(1m30s). Take the proxies out of traffic first.
      - Without it, every proxy goes on for the whole drain time that it was started with.
    type: str
  ready:
    description:
      - For proxies that are restarted, the C(address:port) whose C(/ready) tells that they have their configuration. A restart that
        does not get there fails, and the following proxies are left alone.
    type: dict
    default: {}
  ready_timeout:
    description: After how many seconds a restarted proxy counts as failed.
    type: float
    default: 60.0
  settle:
    description: How many seconds to wait after that, in which the control plane lets the proxy back into traffic.
    type: float
    default: 10.0
  gates:
    description:
      - What applications have to answer by HTTP on this VM before their proxies count as started or restarted. The applications are asked
        themselves, not their proxies. Nothing is asked in check mode, and nothing with O(state=stopped).
    type: list
    elements: dict
    default: []
    suboptions:
      proxy: {description: The proxy before the application., type: str, required: true}
      service: {description: The service that it is., type: str, required: true}
      address: {description: Its address., type: str, default: 127.0.0.1}
      port: {description: Its port., type: int, required: true}
      path: {description: What is asked for., type: str, default: /}
      status: {description: The status codes of an application that works., type: list, elements: int, default: [200]}
      timeout: {description: After how many seconds without such an answer it has failed., type: float, default: 60.0}
      interval: {description: How many seconds to wait between two requests., type: float, default: 1.0}
requirements:
  - Linux with systemd
seealso:
  - module: meshfleet.kuma.proxy_info
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Stop two proxies of a VM for maintenance
  hosts: web-1
  gather_facts: false
  become: true
  tasks:
    - name: Drain and stop them
      meshfleet.kuma.proxy_service:
        names: [web-1-shop, web-1-admin]
        state: stopped
        drain_time: 1m
      timeout: 0
"""

RETURN = r"""
results:
  description: What was done to each proxy.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The proxy.
      returned: always
      type: str
      sample: web-1
    actions:
      description: Some of V(enabled), V(disabled), V(started), V(stopped), V(restarted), V(healed).
      returned: always
      type: list
      elements: str
      sample: [enabled, started]
    connections_cut:
      description: How many connections were still open when the proxy was stopped.
      returned: when O(drain_time) is set and the proxy was stopped
      type: int
      sample: 0
journals:
  description: The last lines that the proxies logged, without tokens.
  returned: when systemd could not do it
  type: dict
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.host import run, seconds
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files, heal, stop
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import vm as restart_vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import gate as vm_gate
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import journal, proxy, service, systemd
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner


def bring(module: AnsibleModule, runner: Runner) -> Result:
    params = module.params
    names: t.List[str] = params["names"]
    units = proxy.units_of(names, runner)
    steps = service.steps_to(params["state"], params["enabled"], units)
    helpers = service.helpers_of(names, runner) if params["state"] == "stopped" else []
    drain_time = seconds("drain_time", params["drain_time"]) if params["drain_time"] is not None else None
    cut: t.Dict[str, int] = {}
    if drain_time is not None:
        _check_stoppable(steps.stop, runner)
    if not module.check_mode:
        covers = service.stop_helpers(helpers, runner)
        for name in steps.stop if drain_time is not None else []:
            cut[name] = _drain(name, drain_time, runner)
        stale = any(unit.get("NeedDaemonReload") == "yes" for unit in units.values())
        healed = _healed(names, params, steps.start, runner, heal.stop)
        service.carry_out(steps._replace(start=sorted([*steps.start, *healed])), params["daemon_reload"] or stale, runner)
        for name in steps.restart:
            _restart(name, params, runner)
        service.wait_for_covers(covers, runner)
        if params["state"] == "started":
            _ask(names, params)
    else:
        healed = _healed(names, params, steps.start, runner, heal.due)
    results = [dict(result, connections_cut=cut[result["name"]]) if result["name"] in cut else result for result in steps.actions(names)]
    results = [dict(result, actions=[*result["actions"], "healed"]) if result["name"] in healed else result for result in results]
    return {"changed": any(steps) or bool(helpers) or bool(healed), "results": results}


def _healed(
    names: t.Sequence[str],
    params: t.Mapping[str, t.Any],
    starting: t.Container[str],
    runner: Runner,
    heal_one: t.Callable[[restart_vm.Vm, t.Container[str]], bool],
) -> t.List[str]:
    """Those that run and serve nobody, as ``heal_one`` finds them or stops them, one after the other."""
    asked = [name for name in names if name in params["heal"] and name not in starting and params["state"] == "started"]
    helpers = service.helpers_of(asked, runner) if asked else []
    return [name for name in asked if heal_one(restart_vm.Vm(files.Paths(name), "kuma-dp", runner), helpers)]


def _drain(name: str, drain_time: t.Optional[float], runner: Runner) -> int:
    vm = stop.Leaving(files.Paths(name), "kuma-dp", runner)
    vm.drain_time = drain_time or 0.0
    unit = systemd.UNIT % name
    try:
        return stop.stop(vm)
    except stop.NotStopped as exc:
        message = (
            "%s: %s. What else there is of it on this VM is still there, and nothing was removed. Look at systemctl status %s, stop it there, and run "
            "this again, which goes on from there" % (unit, exc, unit)
        )
        raise ModuleFailed(message, {"journals": {name: journal.of_unit(unit, runner)}}) from exc


def _check_stoppable(names: t.Sequence[str], runner: Runner) -> None:
    """ModuleFailed before the first one is drained, when one of them would be drained in vain."""
    refusing = stop.refusing(names, runner)
    if refusing:
        raise ModuleFailed(
            "%s: found RefuseManualStop=yes, expected a unit that can be stopped: remove it from the drop-ins of the unit (systemctl cat shows them). "
            "No proxy was drained or stopped" % ", ".join(refusing)
        )


def _ask(names: t.Sequence[str], params: t.Mapping[str, t.Any]) -> None:
    problems = vm_gate.closed([gate for gate in params["gates"] if gate["proxy"] in names])
    if problems:
        raise ModuleFailed("; ".join(problems))


def _restart(name: str, params: t.Mapping[str, t.Any], runner: Runner) -> None:
    service.restart(name, runner)
    address, _colon, port = str(params["ready"].get(name) or "").rpartition(":")
    if not address:
        _ask([name], params)
        return
    if not service.wait_ready(address.strip("[]"), int(port), params["ready_timeout"]):
        message = "%s was restarted, but has no configuration after %g s: http://%s:%s/ready does not answer" % (
            name,
            params["ready_timeout"],
            address,
            port,
        )
        raise ModuleFailed(message, {"journals": {name: journal.of_unit(systemd.UNIT % name, runner)}})
    _ask([name], params)
    time.sleep(params["settle"])


def main() -> None:
    run(
        bring,
        {
            "names": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "stopped", "restarted"]},
            "enabled": {"type": "bool"},
            "daemon_reload": {"type": "bool", "default": False},
            "heal": {"type": "list", "elements": "str", "default": []},
            "drain_time": {"type": "str"},
            "ready": {"type": "dict", "default": {}},
            "ready_timeout": {"type": "float", "default": 60.0},
            "settle": {"type": "float", "default": 10.0},
            "gates": vm_gate.OPTIONS,
        },
        names={"names[]": naming.PROXY, "heal[]": naming.PROXY, "gates[].proxy": naming.PROXY},
    )


if __name__ == "__main__":
    main()
