#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/rollout.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Restart the proxies of a fleet one after the other, without taking too much from any service
version_added: 0.1.0
description:
  - Admission for the hosts of a rolling restart. Every host asks whether it may be restarted now, and waits until it may. What is
    decided follows from what the control plane says at that moment, not from batches that were fixed before.
  - A run begins with O(state=start) and ends with O(state=finish), each once. Between these every host goes through O(state=admit),
    O(state=restart) and O(state=complete), in a play with the strategy P(ansible.builtin.host_pinned#strategy).
    The playbooks of this collection do all of this.
  - A task with neither O(hosts) nor O(run) is one of the role C(kuma_roll), which these playbooks use. It reads the address of the control
    plane, O(run_dir) and the rules from the variables of the role P(meshfleet.kuma.kuma_dp#role), the hosts from what a join in the same play
    run found out, and the run, the restart and what became of it from what earlier tasks of the role registered. What such a task does say
    counts. A task with O(hosts) or O(run) says all that it means, as it is documented here.
  - A limit on the hosts of one service that are in flight holds always. Where proxies are drained and not covered, the instances that do
    not serve, for whatever reason and inside of the inventory or not, stay within a budget. A service that is at its budget already
    has its hosts put off, except those that do not serve themselves.
  - Canaries go first, one of each kind of hosts (services and target version), the very first alone; then a soak; then stages that widen.
    Failures count over the whole run, hosts that cannot be reached among them. With more than O(settings.max_failures) nobody else is
    admitted, and the hosts in flight are completed.
  - A host that waits holds a fork, so it only waits for hosts in flight, for time, or for the control plane. What could be
    admitted only after something else is put off to a second pass of the play, RV(outcome) being V(deferred), and refused there.
  - What is fenced for a drain comes back into traffic when the control plane sees the proxy connected anew, in the right version, with
    no rejected configuration and every inbound ready. What somebody else fenced is never lifted.
  - The run is kept in a directory on the controller. When the controller dies, the next O(state=start) for the same mesh continues the
    run; what is done is decided by what each host has pending. In the control plane a Secret of the mesh keeps a second controller away.
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
attributes:
  check_mode:
    support: full
    details:
      - O(state=start) returns the plan, and writes nothing. There is no run then, and the other states do nothing.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: Hosts with nothing pending are not rolled. When no host is left, no run is begun and nothing is written.
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
options:
  state:
    description: What to do.
    type: str
    required: true
    choices:
      start: Plan the run, lock the mesh, and lift what a dead controller left fenced.
      admit: Wait until this host may be restarted. Fences it where it is drained.
      restart: >-
        Restart the proxies by M(meshfleet.kuma.proxy_restart) on the VM, under cover or drained as it was planned. Dataplanes and tokens of
        covers are made for this task alone, and are in no result.
      problem: Return as RV(msg) which task failed and why, in the C(rescue) of a block around the restart. A hook that failed is one of the host.
      complete: Judge the restart, bring the host back into traffic, and note it. Never fails.
      put_back: >-
        Restart those proxies of O(result) that run with something new with what they ran with before, where the host failed in a run of the kind
        V(upgrade). Never fails.
      finish: Lift and remove what is left, write the report, unlock. Fails when any host is not done, and names each.
      status: Say how a run stands.
      abort: Admit nobody else. Hosts in flight are completed.
  mesh:
    description: The mesh, for O(state=start).
    type: str
    default: default
  kind:
    description:
      - What is done to the hosts. With V(leave) they are fenced and drained, need nothing pending, and stay out of traffic.
    type: str
    default: restart
    choices: [restart, upgrade, leave]
  hosts:
    description:
      - The hosts, for O(state=start). Each has C(host), C(reachable), C(target_version) (the version of kuma-dp it is to run), C(proxies) and C(late) (why
        a host that can be reached is no part of the roll; it is told as refused, and no failure of the roll).
      - Each of the proxies has C(name), C(strategy) (V(auto), V(cover) or V(drained)), C(possible) and C(reasons) (whether its VM says that it can be
        restarted under cover, and why not), C(pending) (why it is to be restarted), C(refuse) (why it must not be restarted now), C(direct) (whether
        it runs Direct, which takes longer), C(version), C(claims), and C(serves), what M(meshfleet.kuma.proxy_info) says of it.
      - A proxy that is not connected and whose C(serves) is false is restarted whenever there is room, without a fence, a canary or a budget, as nothing is
        taken from anybody; its failure does not stop the roll. One that is not connected and whose C(serves) is true counts as one that serves.
      - C(claims) are the C(services) and the C(workload) that the inventory lets it claim, as M(meshfleet.kuma.fleet_plan) returns them. The token of
        its cover is bound to these. Without them, or when its Dataplane claims another service, it is restarted without cover.
    type: list
    elements: dict
  settings:
    description: The rules, for O(state=start).
    type: dict
    default: {}
    suboptions:
      limit:
        description: How many hosts of one service may be in flight, as a count or a share of its instances, at least one.
        type: str
        default: 25%
      budget:
        description:
          - How many instances of one service may not serve, as a count or a share that is rounded down. It is at least one for two instances
            and more, and never all of them.
        type: str
        default: 25%
      max_in_flight:
        description: How many hosts may be in flight altogether.
        type: int
        default: 10
      canaries:
        description: How many hosts of each kind have to succeed before the others of that kind follow.
        type: int
        default: 1
      soak:
        description: Seconds between the last canary and the rest.
        type: float
        default: 10.0
      stages:
        description: How many hosts, as counts or shares of all, have to be finished before more are admitted.
        type: list
        elements: str
        default: [5%, 20%]
      max_failures:
        description: How many hosts may fail, as a count or a share of all.
        type: str
        default: "0"
      allow_singleton:
        description: Whether the only instance of a service may be restarted without cover.
        type: bool
        default: false
      hooked:
        description:
          - Whether tasks of the user run before each restart, which take a gateway out of its load balancer. Without them a gateway is
            restarted without cover only with O(settings.allow_singleton).
        type: bool
        default: false
      force:
        description: Whether hosts with nothing pending are rolled, too.
        type: bool
        default: false
      strategy:
        description:
          - V(auto) restarts under cover what can be, and drains the rest. V(cover) refuses hosts that cannot be restarted under cover.
          - A proxy with a C(strategy) other than V(auto) has its own way.
        type: str
        default: auto
        choices: [auto, cover, drained]
      pause_timeout:
        description: For how many seconds the control plane may be away before the run is stopped.
        type: float
        default: 300.0
      gate_timeout:
        description: After how many seconds a restarted host that is not what it should be has failed.
        type: float
        default: 120.0
      min_healthy:
        description: For how many seconds without a break a restarted host has to be healthy.
        type: float
        default: 0.0
      host_timeout:
        description:
          - After how many seconds in flight a host without O(state=complete) has failed. The lock in the control plane is held for as long.
        type: float
        default: 3600.0
      propagation_delay:
        description: Seconds to wait after a fence where its effect on callers cannot be measured.
        type: float
        default: 3.0
      propagation_timeout:
        description: After how many seconds of measuring a fence that callers have not seen fails.
        type: float
        default: 30.0
  resume:
    description:
      - What O(state=start) does with a run whose controller died. V(auto) continues it, unless it was stopped. V(never) closes it and begins
        another one. Either way its fences on healthy proxies are lifted.
    type: str
    default: auto
    choices: [auto, never]
  run:
    description: The run, as O(state=start) returned it. For all other states, and required for O(state=status) and O(state=abort).
    type: str
  run_dir:
    description:
      - Where the runs are kept on the controller, one directory for each mesh in it. The same for all tasks of a run.
      - The default is C(meshfleet.kuma/rolls) in E(XDG_CACHE_HOME) or C(~/.cache).
    type: path
  host:
    description:
      - The host, for O(state=admit), O(state=restart), O(state=complete) and O(state=put_back). The host of the task when it is not set.
    type: str
  names:
    description: The proxies of the host, for O(state=restart). All of them when it is empty.
    type: list
    elements: str
    default: []
  request:
    description: The restart of the one proxy of O(names) that is waited for, as an earlier O(state=restart) returned it.
    type: str
  restart:
    description:
      - The options of M(meshfleet.kuma.proxy_restart), for O(state=restart) and O(state=put_back), but for those that say which proxies are
        meant and how.
      - The token of a cover is valid for the longest restart that C(drain_time) and C(ready_timeout) allow, and a quarter of an hour. It is
        revoked when the cover is gone.
    type: dict
    default: {}
  result:
    description:
      - What the task registered that restarted the host, for O(state=complete) and O(state=put_back), be it a success, a failure or unreachable.
    type: dict
  reason:
    description: Why, for O(state=abort).
    type: str
    default: asked for
  ledger:
    description:
      - File on the controller into which a line is written for the token of each cover before its VM gets it, as by
        M(meshfleet.kuma.dataplane_tokens).
      - Tasks of the role take the option C(kuma_dp_token_ledger).
    type: path
    version_added: 0.2.0
author:
  - The meshfleet.kuma maintainers (@meshfleet)
notes:
  - Set C(timeout) to 0 on tasks with O(state=admit), O(state=restart), O(state=complete) and O(state=put_back), which may wait for long.
seealso:
  - module: meshfleet.kuma.proxy_restart
  - module: meshfleet.kuma.dataplane_maintenance
"""

EXAMPLES = r"""
- name: Roll two hosts
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Plan
      meshfleet.kuma.rollout:
        state: start
        hosts:
          - host: web-1
            reachable: true
            target_version: 2.14.3
            proxies: [{name: web-1, possible: true, pending: [], claims: {services: [web], workload: web}}]
        settings:
          budget: 25%
          max_failures: 1
      register: roll

    # In a play over the hosts roll.order with the strategy host_pinned: state=admit, state=restart, state=complete.

    - name: See who was not rolled
      ansible.builtin.debug:
        msg: "{{ roll.nothing_to_do }}"

    - name: End the run
      meshfleet.kuma.rollout:
        state: finish
        run: "{{ roll.run }}"
"""

RETURN = r"""
run:
  description: The name of the run. Empty in check mode, and when there is nothing to roll. O(state=finish) does nothing then.
  returned: with O(state=start), O(state=finish) and O(state=status)
  type: str
  sample: 20261125T171314Z-ab12
journal:
  description: The path of the journal. Empty when the run is.
  returned: with O(state=start) and O(state=finish)
  type: str
order:
  description: The hosts to roll, canaries first.
  returned: with O(state=start)
  type: list
  elements: str
nothing_to_do:
  description: The hosts for which nothing is to be done, with the reason.
  returned: with O(state=start) and O(state=finish)
  type: dict
refused:
  description: The hosts that are not rolled, with the reason.
  returned: with O(state=start) and O(state=finish)
  type: dict
plan:
  description: "The plan for people: order, stages, ways, services at risk."
  returned: with O(state=start)
  type: list
  elements: str
expected_seconds:
  description: How long the roll takes when requests are short and nothing goes wrong.
  returned: with O(state=start)
  type: float
resumed:
  description: Whether this continues a run whose controller died.
  returned: with O(state=start)
  type: bool
admitted:
  description: Whether the host is to be restarted now.
  returned: with O(state=admit)
  type: bool
outcome:
  description:
    - V(admitted), V(refused), V(deferred) (ask again in a second pass) or V(done) (nothing is left to do) with O(state=admit).
    - V(done), V(failed), V(unreachable), or why it was not admitted, with O(state=complete).
  returned: with O(state=admit) and O(state=complete)
  type: str
reason:
  description: Why.
  returned: with O(state=admit) and O(state=complete)
  type: str
proxies:
  description: The proxies of the host, as O(state=restart) is going to restart them.
  returned: with O(state=admit)
  type: list
  elements: dict
  contains:
    name: {description: The name of its Dataplane., returned: always, type: str}
    strategy: {description: V(cover) or V(drained)., returned: always, type: str}
    reasons: {description: Why it is not covered., returned: always, type: list, elements: str}
tasks: {description: "V(hooked) where tasks of the user run before or after the restart, else V(restart).", returned: with O(state=admit), type: str}
before: {description: The file with the tasks before it. Empty where there is none., returned: with O(state=admit), type: str}
after: {description: The file with the tasks after it. Empty where there is none., returned: with O(state=admit), type: str}
msg:
  description: What went wrong, or whether the host runs again with what it ran with before.
  returned: with O(state=problem), and with O(state=put_back) when there was something to put back
  type: str
results:
  description: What became of each proxy, as M(meshfleet.kuma.proxy_restart) returns it.
  returned: with O(state=restart)
  type: list
  elements: dict
status:
  description: V(running), V(done), V(failed) or V(aborted).
  returned: with O(state=finish) and O(state=status)
  type: str
counts:
  description: How many hosts ended how.
  returned: with O(state=finish) and O(state=status)
  type: dict
done:
  description: The hosts that are done.
  returned: with O(state=finish)
  type: list
  elements: str
failed_hosts:
  description: The hosts that failed, with the reason.
  returned: with O(state=finish)
  type: dict
unreachable_hosts:
  description: The hosts that could not be reached, with the reason.
  returned: with O(state=finish)
  type: dict
deferred:
  description: The hosts that were put off and did not come back, with the reason.
  returned: with O(state=finish)
  type: dict
left_fenced:
  description: The proxies that are out of traffic because they are not healthy.
  returned: with O(state=finish)
  type: list
  elements: str
covers_deleted:
  description: The Dataplanes of covers that were deleted, because nothing was connected to them.
  returned: with O(state=finish)
  type: list
  elements: str
covers_running: {description: The covers that are still connected., returned: with O(state=finish), type: list, elements: str}
notes: {description: What else happened., returned: with O(state=finish), type: list, elements: str}
report: {description: The path of the report as JSON., returned: with O(state=finish), type: str}
report_html: {description: The path of the report as a page., returned: with O(state=finish), type: str}
abort:
  description: Why nobody is admitted any more.
  returned: with O(state=status), when the run was stopped
  type: str
in_flight:
  description: The hosts in flight.
  returned: with O(state=status)
  type: list
  elements: str
alive:
  description: Whether the controller of the run still runs.
  returned: with O(state=status), unless it runs on another machine
  type: bool
failure:
  description: Why it failed, with the keys C(kind), C(status), C(title), C(detail) and C(invalid_parameters).
  returned: when the control plane did not answer
  type: dict
requests:
  description: How many HTTP requests were made, retries included.
  returned: with O(state=start) and O(state=finish)
  type: int
"""
