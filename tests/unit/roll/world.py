# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A controller with forks, a control plane and VMs in simulated time, which is all that the rules of a roll see."""

from __future__ import annotations

import dataclasses
import fractions
import random

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import admission
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import plan as roll_plan
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import view as roll_view

TICK = 0.5
INGRESS = "zone ingress of default"


@dataclasses.dataclass
class Vm:
    """A host of the inventory and what happens to it. ``end``: ok, failed (its proxy serves), dead (it does not), lost (dead, unseen).

    ``begins``: connected; or not connected, and then ``stale`` (it serves with what it has) or ``unserving`` (it serves nobody).
    """

    name: str
    services: list
    cover: bool = True
    seconds: float = 4.0
    end: str = "ok"
    before: float = 0.0
    absent: bool = False
    version: str = "2.14.3"
    begins: str = "connected"


@dataclasses.dataclass
class Faults:
    foreign: dict = dataclasses.field(default_factory=dict)  # service: instances outside of the inventory
    outages: list = dataclasses.field(default_factory=list)  # (from, to)
    flips: list = dataclasses.field(default_factory=list)  # (time, instance, serving)
    death: float | None = None  # of the controller


def percent(text, whole):
    return int(fractions.Fraction(text.rstrip("%")) * whole / 100) if text.endswith("%") else int(text)


class World:
    """A mesh, a control plane and a controller with a number of forks; everything but the rules, which are the real ones."""

    def __init__(self, vms, given, forks, faults=None, seed=0):
        self.vms = {vm.name: vm for vm in vms}
        self.given, self.forks, self.faults = given, forks, faults or Faults()
        self.random = random.Random(seed)
        self.now = 1000.0
        self.serving = {vm.name: vm.begins != "unserving" for vm in vms}
        self.offline = {vm.name for vm in vms if vm.begins != "connected"}
        self.dead_at_first = {vm.name for vm in vms if vm.begins == "unserving"}
        self.of = {vm.name: list(vm.services) for vm in vms}
        for service, number in self.faults.foreign.items():
            for index in range(number):
                self.serving[f"foreign-{service}-{index}"] = True
                self.of[f"foreign-{service}-{index}"] = [service]
        self.unseen = set()  # instances that are dead although the control plane says that they serve
        self.pending = set(self.vms)
        self.fenced = set()
        self.outcome = {}
        self.admissions = []
        self.outage_began = None
        self.recovered = 0.0
        self.epochs = 0
        self.flips = sorted(self.faults.flips)

    # -- the control plane

    def instances(self):
        found = {}
        for name, services in self.of.items():
            instance = found[name] = roll_view.Instance()
            instance.services = {service: admission.ZONE if service == INGRESS else admission.CALLED for service in services}
            instance.online = name not in self.offline
            instance.version = "2.14.3"
            # The control plane has the endpoints of one that is not connected as they were.
            if self.serving[name] or name in self.unseen or (name in self.dead_at_first and name in self.offline):
                instance.ready = set(services)
            if instance.online:
                instance.serving = instance.ready
        return found

    def view(self):
        away = any(start <= self.now - 1000 < end for start, end in self.faults.outages)
        if away:
            self.outage_began = self.now if self.outage_began is None else self.outage_began
            return admission.View(at=self.last.at, services=self.last.services, outage=self.outage_began, error="refused")
        if self.outage_began is not None:
            self.outage_began, self.recovered = None, self.now
        self.last = admission.View(at=self.now, services=roll_view.services(self.instances()), recovered=self.recovered)
        return self.last

    # -- the run

    def hosts(self):
        return [
            {
                "host": vm.name,
                "reachable": True,
                "target_version": vm.version,
                "proxies": [
                    {
                        "name": vm.name,
                        "possible": vm.cover,
                        "claims": {"services": [], "workload": ""},
                        "reasons": [] if vm.cover else ["no"],
                        "pending": ["x"] * (vm.name in self.pending),
                        "serves": self.serving[vm.name] if vm.name in self.offline else None,
                    }
                ],
            }
            for vm in self.vms.values()
        ]

    def plan(self, leftovers=()):
        plan = roll_plan.make("restart", self.hosts(), self.given, self.instances(), leftovers=leftovers)
        self.outcome.update(dict.fromkeys(plan.refused, "refused"))
        return plan

    def run(self):
        """Plans and rolls; a controller that dies is started again."""
        self.last = admission.View(at=self.now, services=roll_view.services(self.instances()))
        plan = self.plan()
        done, earlier, leftovers = {}, None, []
        while True:
            self.epochs += 1
            state = roll_plan.begin(plan, self.given, done, earlier, leftovers)
            if self.roll(plan, state):
                return state
            # In flight when the controller died: the VMs finish by themselves, and nobody lifts a fence before the new start.
            leftovers = list(state.flying)
            for host in leftovers:
                self.vm_ends(self.vms[host])
                self.outcome[host] = "done" if host not in self.pending else "failed"
            self.now += 60
            for host in [host for host in self.fenced if host not in self.pending]:
                self.fenced.discard(host)
                self.serving[host] = True
            done = {}
            for host in self.vms:
                if host not in self.pending:
                    group = plan.records[host].get("group", "")
                    done[group] = done.get(group, 0) + 1
            earlier = state
            self.last = admission.View(at=self.now, services=roll_view.services(self.instances()))
            plan = self.plan(leftovers)

    def roll(self, plan, state):
        """False when the controller died."""
        self.plan_now, self.state = plan, state
        queue, turn = list(plan.order), 1
        deferred = []
        while True:
            if not self.work_off(queue, turn, deferred):
                return False
            if turn == 2 or not deferred:
                assert not state.waiting
                assert not state.flying
                return True
            queue, turn, deferred = sorted(deferred, key=lambda host: plan.records[host]["order"]), 2, []

    def work_off(self, queue, turn, deferred):
        """A play over the hosts in ``queue``, as the strategy host_pinned does it."""
        slots = {}
        while queue or slots:
            while queue and len(slots) < self.forks:
                host = queue.pop(0)
                if self.vms[host].absent:
                    self.outcome[host] = "absent"
                    continue
                slots[host] = ("before", self.now + self.vms[host].before)
            if self.faults.death is not None and self.now - 1000 >= self.faults.death:
                self.faults.death = None
                return False
            for host in self.random.sample(sorted(slots), len(slots)):
                self.step(host, turn, slots, deferred)
            self.check()
            self.now += TICK
            while self.flips and self.flips[0][0] <= self.now - 1000:
                _at, name, up = self.flips.pop(0)
                if name not in self.state.flying and name not in self.unseen and name not in self.fenced and name not in self.offline:
                    self.serving[name] = up
            assert self.now < 1000 + self.longest(), (
                f"nobody moves: {slots}, {admission.decide(self.state, self.given, self.view(), self.now)}"
            )
        return True

    def longest(self):
        each = sum(vm.seconds + vm.before + 2 + self.given.soak for vm in self.vms.values())
        return 3 * (each + sum(end - start + 30 for start, end in self.faults.outages) + 100)

    def step(self, host, turn, slots, deferred):
        kind, until = slots[host]
        if kind == "before" and self.now >= until:
            record = self.plan_now.records[host]
            admission.arrive(self.state, host, roll_plan.member(record, turn, self.now))
            slots[host] = ("waiting", 0)
        elif kind == "waiting":
            view = self.view()
            self.state.abort = self.state.abort or admission.overdue(self.given, view, self.now)
            verdict = admission.decide(self.state, self.given, view, self.now)[host]
            if verdict.kind == admission.ADMIT:
                self.admit(host, view)
                slots[host] = ("flying", self.now + self.vms[host].seconds)
            elif verdict.kind != admission.WAIT:
                assert turn == 1 or verdict.kind == admission.REFUSE
                admission.leave(self.state, host)
                self.outcome[host] = {"defer": "deferred", "refuse": "refused"}[verdict.kind]
                del slots[host]
                if verdict.kind == admission.DEFER:
                    deferred.append(host)
        elif kind == "flying" and self.now >= until:
            self.finish(host)
            del slots[host]

    def drained(self, host):
        return self.plan_now.records[host]["strategy"] == "drained"

    def admit(self, host, view):
        self.judge(host, view)
        admission.admit(self.state, self.given, view, host, self.now)
        self.admissions.append(host)
        if self.drained(host) and not self.heals(host):
            self.fenced.add(host)
            self.serving[host] = False

    def heals(self, host):
        return self.plan_now.records[host]["heals"]

    def vm_ends(self, vm):
        if vm.end == "ok":
            self.offline.discard(vm.name)
            self.pending.discard(vm.name)
            self.unseen.discard(vm.name)
            self.serving[vm.name] = vm.name not in self.fenced
        elif vm.end in ("dead", "lost") or (vm.name in self.dead_at_first and vm.name in self.offline):
            self.serving[vm.name] = False
            if vm.end == "lost":
                self.unseen.add(vm.name)
        else:
            self.serving[vm.name] = vm.name not in self.fenced

    def finish(self, host):
        vm = self.vms[host]
        if vm.end != "lost":
            self.fenced.discard(host)
        self.vm_ends(vm)
        self.outcome[host] = "done" if vm.end == "ok" else "failed"
        admission.complete(self.state, self.given, host, vm.end == "ok", vm.end in ("dead", "lost"), self.now)

    # -- what must hold

    def members(self, service):
        return [name for name, services in self.of.items() if service in services]

    def judge(self, host, view):
        """Before ``host`` is admitted."""
        state, given = self.state, self.given
        assert view.outage is None, "admitted while the control plane is away"
        assert not state.abort, "admitted after an abort"
        assert len(state.flying) < given.max_in_flight
        record = self.plan_now.records[host]
        group = record["group"]
        canary = state.proven.get(group, 0) < given.canaries
        flying = state.flying
        others = [member for member in flying.values() if not member.heals]
        if self.heals(host):
            assert not self.serving[host], "a restart that takes something is no healing"
        elif canary:
            assert all(member.canary for member in others), "a canary beside others"
            assert not any(member.group == group for member in others) or given.canaries > 1, "two of one kind at once"
        else:
            assert not any(member.canary for member in others), "beside a canary"
            borders = [max(1, percent(stage, state.size)) for stage in given.stages] + [10**6]
            assert state.admitted < min(border for border in borders if border > state.finished), "before its stage"
        for service in self.vms[host].services:
            instances = self.members(service)
            total = len(instances)
            most = 1 if service == INGRESS else max(1, percent(given.limit, total))
            if self.heals(host):
                continue
            rolled = [other for other in flying if not flying[other].heals]
            assert sum(service in self.vms[other].services for other in rolled) < most, "more hosts in flight than the limit"
            allowed = min(max(1, percent(given.budget, total)), total - 1) if total > 1 else 0
            others = {name for name in instances if not self.serving[name] and name != host}
            if not self.serving[host]:
                continue
            if host in state.missing.get(service, ()):
                # Left in the middle by an earlier run: what only that run may have known of others is nothing to wait for.
                others &= view.services[service].down
            if self.drained(host):
                assert len(others) + 1 <= allowed or (given.allow_singleton and not others), (host, service, others)
            elif others - self.dead_at_first:
                assert len(others - self.dead_at_first) < max(1, allowed), (host, service, others)

    def check(self):
        assert len(self.state.flying) <= self.given.max_in_flight
        assert len(self.state.flying) == self.state.admitted - self.state.finished
        if self.given.canaries:
            rolled = [member for member in self.state.flying.values() if not member.heals]
            assert len(rolled) <= 1 or self.state.succeeded > 0, "more than one before any success"
