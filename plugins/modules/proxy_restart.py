#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_restart
short_description: Restart the proxies of a VM without a failed request
version_added: 0.1.0
description:
  - Restarts proxies one after the other with the files, the version and the unit that are on the VM now.
  - Under cover, a second proxy serves the same ports while the proxy is drained and restarted, so that no request fails, neither towards
    the VM nor from its applications. When the cover does not get ready, the proxy is not touched.
  - Drained, the proxy stops accepting, finishes what it has, and is restarted. Clients must have been sent elsewhere before.
  - When the proxy does not get ready, it is put back to what it ran with before. When that fails too, the cover goes on serving.
  - The work is done by C(kuma-dp-restart@<name>.service) on the VM, which goes on when the connection to the VM is lost. This module starts
    it, or takes over one that runs already, and returns as soon as the proxy serves again. The cover ends in the background.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
attributes:
  check_mode:
    support: full
    details:
      - Whether a cover is possible is told by M(meshfleet.kuma.proxy_info).
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - It restarts the proxies each time. M(meshfleet.kuma.proxy_info) tells which of them wait for a restart.
options:
  proxies:
    description: The proxies to restart, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the proxy.
        type: str
        required: true
      strategy:
        description:
          - V(cover) restarts under cover or not at all, V(drained) without a cover.
          - V(auto) restarts under cover, and drained where that is impossible.
        type: str
        choices: [auto, cover, drained]
        default: auto
      reasons:
        description: Why the proxy is not restarted under cover, as far as it is known already. Returned with what is found on the VM.
        type: list
        elements: str
        default: []
      cover:
        description:
          - The Dataplane and the token of the cover, which has the name of the proxy with C(-cover) behind it.
          - Both are for one restart. The token is deleted on the VM when the cover is gone. Without them, and without those of a call with
            O(until=prepared) before, there is no cover. In rolls M(meshfleet.kuma.rollout) makes both.
        type: dict
        suboptions:
          dataplane:
            description: The Dataplane. Name and admin port are set on the VM.
            type: dict
            required: true
          token:
            description: Its token.
            type: str
            required: true
      request:
        description:
          - The restart that an earlier call with O(until=stopped) began, or with O(until=free) found under way, as it returned it. It is
            waited for, and no other one is begun.
        type: str
  until:
    description:
      - V(done) returns when it is decided what became of the proxy.
      - V(stopped) returns as soon as the old process is gone, so that something can be done before the new one is ready. The restart goes
        on. For one proxy at a time.
      - V(prepared) restarts nothing, and returns when Dataplane and token of the covers are on the VM. The next call, without
        O(proxies[].cover), uses them, so that no secret is among the arguments of a call that takes long. Nothing is laid down for a proxy whose
        earlier restart is still under way, RV(results[].outcome) being V(busy).
      - V(free) restarts nothing, and returns when earlier restarts have nothing left to do but what decides how they go.
    type: str
    choices: [done, stopped, prepared, free]
    default: done
  gates:
    description:
      - What applications have to answer by HTTP on this VM before their proxies count as restarted. The applications are asked themselves,
        not their proxies. A proxy whose application does not answer as it should has failed, although it serves; it is not put back, and
        the following ones are not begun.
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
  drain_time:
    description: After how long connections that are still open are cut, in seconds or as a duration such as V(1m30s).
    type: str
    default: 30s
  restore:
    description:
      - Whether the proxies are put back to what they ran with before their last restart by this module, version and settings, and
        are restarted with that. A proxy of which that is not known is not touched.
      - A proxy that came back keeps its token, which works; the one of before is deleted on the VM when a restart is over.
    type: bool
    default: false
  ready_timeout:
    description: After how many seconds a cover or a restarted proxy that is not ready counts as failed.
    type: float
    default: 60.0
  poll:
    description: How many seconds to wait between two looks.
    type: float
    default: 0.5
  config_dir:
    description: Directory of the configuration.
    type: path
    default: /etc/kuma
  install_dir:
    description: Directory with one directory for each installed version, and the link C(current).
    type: path
    default: /opt/kuma
  user:
    description: The user that proxies run as.
    type: str
    default: kuma-dp
  group:
    description: The group of that user.
    type: str
    default: kuma-dp
requirements:
  - Linux with systemd
  - The files that the role C(meshfleet.kuma.kuma_dp) lays down
seealso:
  - module: meshfleet.kuma.proxy_info
  - module: meshfleet.kuma.proxy_service
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Restart the proxies of one VM
  hosts: web-1
  gather_facts: false
  become: true
  tasks:
    - name: Restart it without a cover, finishing what it has
      meshfleet.kuma.proxy_restart:
        proxies:
          - name: web-1
        drain_time: 60
      timeout: 0
"""

RETURN = r"""
results:
  description: What became of each proxy, in the order of O(proxies).
  returned: success, and when a proxy was not restarted
  type: list
  elements: dict
  contains:
    name: {description: The proxy., returned: always, type: str, sample: web-1}
    outcome:
      description:
        - V(restarted), V(failed), V(stopped) with O(until=stopped), or V(untouched) when the proxy is what it was before. After a proxy
          that was not restarted the following ones are not begun.
        - V(busy) with O(until=prepared) and O(until=free) when another restart of the proxy is under way.
      returned: always
      type: str
      sample: restarted
    request: {description: The identifier of this restart., returned: when it was begun, type: str}
    cover_token:
      description: By what the token of its cover can be told from others, C(jti), C(exp) and C(Zone), so that it can be revoked.
      returned: with O(until=prepared) when the outcome is V(busy)
      type: dict
    strategy: {description: V(cover) or V(drained)., returned: when it was decided, type: str, sample: cover}
    reasons: {description: Why it was not restarted under cover., returned: always, type: list, elements: str}
    notes: {description: What the VM cannot do for a restart under cover., returned: always, type: list, elements: str}
    taken_over:
      description: Whether this is a restart that somebody else had begun, such as a controller that is gone.
      returned: always
      type: bool
    served_by: {description: V(main) or V(cover) or V(none) when the module returned., returned: always, type: str, sample: main}
    fell_back: {description: Whether the proxy was put back to what it ran with before., returned: always, type: bool}
    connections_cut: {description: Connections that were still open when their time was over., returned: always, type: int}
    seconds: {description: How long it took., returned: always, type: float, sample: 8.1}
    phases:
      description: The seconds of each phase that there was.
      returned: always
      type: dict
      contains:
        cover: {description: Until the cover was ready., returned: under cover, type: float}
        settle: {description: Until clients knew it., returned: under cover, type: float}
        drain: {description: Until the proxy was idle., returned: when it was drained, type: float}
        stop: {description: Until it was stopped., returned: when it was restarted, type: float}
        start: {description: Until it was started., returned: when it was restarted, type: float}
        ready: {description: Until it served., returned: when it was restarted, type: float}
    started: {description: When the new process started in seconds since 1970., returned: when the proxy was restarted, type: float}
    version:
      description: The versions of the old and of the new process.
      returned: always
      type: dict
      contains:
        before: {description: The old one., returned: when it was known, type: str, sample: 2.13.10}
        after: {description: The new one., returned: when it is known, type: str, sample: 2.14.3}
    problem: {description: What went wrong., returned: when something did, type: str}
    journal: {description: The last lines of the proxy or the cover that failed., returned: always, type: list, elements: str}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.host import run, seconds
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files, order, vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import gate as vm_gate
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner

_BEFORE: t.Dict[str, t.Callable[[vm.Vm, t.Mapping[str, t.Any]], t.Dict[str, t.Any]]] = {
    order.PREPARED: order.lay_cover,
    order.FREE: order.wait_free,
}


def restart(module: AnsibleModule, runner: Runner) -> Result:
    params = dict(module.params, drain_time=seconds("drain_time", module.params["drain_time"]))
    wishes = params["proxies"]
    twice = sorted({wish["name"] for wish in wishes if [other["name"] for other in wishes].count(wish["name"]) > 1})
    if twice:
        raise ModuleFailed("proxies: %s is given twice, expected each proxy once" % ", ".join(twice))
    if params["until"] == order.STOPPED and len(wishes) != 1:
        raise ModuleFailed("until: stopped is for one proxy at a time, found %d in proxies" % len(wishes))
    if params["until"] == order.PREPARED and not all(wish["cover"] for wish in wishes):
        raise ModuleFailed("until: prepared is for proxies with a cover, found one without in proxies")
    if module.check_mode:
        return {"changed": bool(wishes), "results": [order.untouched(wish, None) for wish in wishes]}
    if params["until"] in _BEFORE:
        return _before(params, runner)
    results: t.List[t.Dict[str, t.Any]] = []
    for wish in wishes:
        if results and results[-1]["outcome"] != "restarted":
            results.append(order.untouched(wish, "not begun"))
            continue
        result = order.restart(_vm(wish, params, runner), wish, params, order.identifier())
        results.append(_gated(result, params["gates"]))
    bad = [result for result in results if result["outcome"] not in ("restarted", order.STOPPED) and result["problem"] != "not begun"]
    if bad:
        message = "%s %s: %s" % (bad[0]["name"], "was not restarted" if bad[0]["outcome"] == "untouched" else "failed", bad[0]["problem"])
        raise ModuleFailed(message, {"changed": any(result["outcome"] != "untouched" for result in results), "results": results})
    return {"changed": bool(results), "results": results}


def _vm(wish: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any], runner: Runner) -> vm.Vm:
    return vm.Vm(files.Paths(wish["name"], params["config_dir"], params["install_dir"]), params["user"], runner)


def _before(params: t.Mapping[str, t.Any], runner: Runner) -> Result:
    """What is done before a restart, in a call of its own."""
    results = [_BEFORE[params["until"]](_vm(wish, params, runner), wish) for wish in params["proxies"]]
    bad = [result for result in results if result["problem"]]
    if bad:
        raise ModuleFailed("%s was not restarted: %s" % (bad[0]["name"], bad[0]["problem"]), {"changed": False, "results": results})
    laid = params["until"] == order.PREPARED and any(result["outcome"] == "untouched" for result in results)
    return {"changed": laid, "results": results}


def _gated(result: t.Dict[str, t.Any], gates: t.Sequence[vm_gate.Gate]) -> t.Dict[str, t.Any]:
    """The result of a proxy that was restarted, once its applications answer or do not."""
    if result["outcome"] != "restarted":
        return result
    closed = vm_gate.closed([gate for gate in gates if gate["proxy"] == result["name"]])
    return dict(result, outcome="failed", problem="; ".join(closed)) if closed else result


def main() -> None:
    cover = {"dataplane": {"type": "dict", "required": True}, "token": {"type": "str", "required": True, "no_log": True}}
    proxy = {
        "name": {"type": "str", "required": True},
        "strategy": {"type": "str", "choices": ["auto", "cover", "drained"], "default": "auto"},
        "reasons": {"type": "list", "elements": "str", "default": []},
        "cover": {"type": "dict", "options": cover},
        "request": {"type": "str"},
    }
    run(
        restart,
        {
            "proxies": {"type": "list", "elements": "dict", "required": True, "options": proxy},
            "until": {"type": "str", "choices": ["done", "stopped", "prepared", "free"], "default": "done"},
            "drain_time": {"type": "str", "default": "30s"},
            "restore": {"type": "bool", "default": False},
            "gates": vm_gate.OPTIONS,
            "ready_timeout": {"type": "float", "default": 60.0},
            "poll": {"type": "float", "default": 0.5},
            "config_dir": {"type": "path", "default": "/etc/kuma"},
            "install_dir": {"type": "path", "default": "/opt/kuma"},
            "user": {"type": "str", "default": "kuma-dp"},
            "group": {"type": "str", "default": "kuma-dp"},
        },
        names={
            "proxies[].name": naming.PROXY,
            "proxies[].request": naming.RUN,
            "gates[].proxy": naming.PROXY,
            "config_dir": naming.PATH,
            "install_dir": naming.PATH,
            "user": naming.ACCOUNT,
            "group": naming.ACCOUNT,
        },
    )


if __name__ == "__main__":
    main()
