# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Joins of real hosts: visits, seconds, what a host costs the controller, and the lines that are printed."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

from tests.bench.report import Row
from tests.lab.ansible import Ansible, Run
from tests.lab.stage import Stage, stage

# What a fleet of these sizes costs the controller says what it costs for any number of hosts.
SIZES = (5, 10, 20)
LARGE = (1_000, 10_000)
# prometheus.prometheus.node_exporter on five such hosts, first run and rerun: tasks on a VM and seconds, recorded once.
NODE_EXPORTER = {"first": (44, 45.6), "rerun": (44, 37.1)}
BUDGET = {"first": (4, 3), "rerun": (1, 6)}
WHAT = {"first": "first join", "rerun": "second join"}
CALLBACK = {"ANSIBLE_STDOUT_CALLBACK": "meshfleet.kuma.fleet"}
MOST_LINES = 40


@dataclass(frozen=True)
class Measured:
    """One run over ``hosts`` hosts; ``cpu`` are seconds of all processes of the controller, those of ssh among them."""

    hosts: int
    run: Run
    visits: int
    cpu: float

    @property
    def lines(self) -> int:
        return len(self.run.output.splitlines())


def measure() -> list[Row]:
    found: dict[str, list[Measured]] = {name: [] for name in WHAT}
    for size in SIZES:
        names = ["client-1", *(f"web-{number}" for number in range(1, size))]
        web = {"kuma_dp_services": [{"name": "web", "port": 8080, "service_port": 18080, "protocol": "http"}]}
        groups = {
            "client": {"hosts": {names[0]: {}}, "vars": {"kuma_dp_upstreams": ["web"]}},
            "web": {"hosts": {name: {} for name in names[1:]}, "vars": web},
        }
        with stage(names) as set_up:
            ansible = set_up.ansible(set_up.inventory(groups))
            for name, runs in found.items():
                runs.append(_measured(ansible, set_up, names))
                if runs[-1].run.code:
                    raise SystemExit(f"{WHAT[name]}: {runs[-1].run.explain()}")
    return [row for name, runs in found.items() for row in [*_beside_others(name, runs[0]), *_per_host(name, runs)]] + _printed(
        found["rerun"]
    )


def _measured(ansible: Ansible, set_up: Stage, names: list[str]) -> Measured:
    before = _cpu()
    run = ansible.playbook(set_up.playbook("join_mesh"), environment=CALLBACK)
    return Measured(len(names), run, max(len(run.vm_tasks(name)) for name in names), _cpu() - before)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _beside_others(name: str, found: Measured) -> list[Row]:
    budget, times = BUDGET[name]
    other_tasks, other_seconds = NODE_EXPORTER[name]
    return [
        Row(f"{WHAT[name]} of {found.hosts} hosts, visits to a VM", str(found.visits), str(budget), found.visits <= budget),
        Row(f"  seconds with {os.cpu_count()} processors", f"{found.run.seconds:.1f}"),
        Row(f"  node_exporter's role, recorded: {other_tasks} tasks", f"{other_seconds}"),
        Row("  times faster than that record", f"{other_seconds / found.run.seconds:.1f}", f"({times}, seconds of one machine)"),
    ]


def _per_host(name: str, runs: list[Measured]) -> list[Row]:
    """What one host more costs, and from that what many do."""
    first, last = runs[0], runs[-1]
    each = (last.cpu - first.cpu) / (last.hosts - first.hosts)
    start = first.cpu - each * first.hosts
    rows = [Row(f"{WHAT[name]}, processor seconds of the controller for {run.hosts} hosts", f"{run.cpu:.1f}") for run in runs]
    rows.append(Row("  for one host more", f"{each:.2f}"))
    rows += [Row(f"  so for {hosts:,} hosts, minutes", f"{(start + each * hosts) / 60:.0f}") for hosts in LARGE]
    return rows


def _printed(runs: list[Measured]) -> list[Row]:
    lines = sorted({run.lines for run in runs})
    found = ", ".join(map(str, lines))
    alike = len(lines) == 1 and lines[0] < MOST_LINES
    return [
        Row(
            f"lines that a second join prints, with {runs[0].hosts} to {runs[-1].hosts} hosts",
            found,
            f"one number below {MOST_LINES}",
            alike,
        )
    ]
