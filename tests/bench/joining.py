# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A join on real hosts: tasks and seconds, beside a well-known role that installs one daemon."""

from __future__ import annotations

import os

from tests.bench.report import Row
from tests.lab.stage import stage

HOSTS = ["client-1", "web-1", "web-2", "web-3", "web-4"]
# prometheus.prometheus.node_exporter on five such hosts, first run and rerun: tasks on a VM and seconds, recorded once.
NODE_EXPORTER = {"first": (44, 45.6), "rerun": (44, 37.1)}
BUDGET = {"first": (14, 3), "rerun": (8, 6)}


def measure() -> list[Row]:
    web = {"kuma_dp_services": [{"name": "web", "port": 8080, "service_port": 18080, "protocol": "http"}]}
    groups = {
        "client": {"hosts": {"client-1": {}}, "vars": {"kuma_dp_upstreams": ["web"]}},
        "web": {"hosts": {name: {} for name in HOSTS[1:]}, "vars": web},
    }
    rows = []
    with stage(HOSTS) as set_up:
        ansible = set_up.ansible(set_up.inventory(groups))
        for name in ("first", "rerun"):
            run = ansible.playbook(set_up.playbook("join_mesh"))
            if run.code:
                raise SystemExit(run.explain())
            rows.extend(_rows(name, run.seconds, max(len(run.vm_tasks(host)) for host in HOSTS)))
    return rows


def _rows(name: str, seconds: float, tasks: int) -> list[Row]:
    tasks_budget, times = BUDGET[name]
    other_tasks, other_seconds = NODE_EXPORTER[name]
    what = "first join" if name == "first" else "second join"
    return [
        Row(f"{what} of {len(HOSTS)} hosts, tasks on a VM", str(tasks), str(tasks_budget), tasks <= tasks_budget),
        Row(f"  seconds with {os.cpu_count()} processors", f"{seconds:.1f}"),
        Row(f"  node_exporter's role, recorded: {other_tasks} tasks", f"{other_seconds}"),
        Row("  times faster than that record", f"{other_seconds / seconds:.1f}", f"({times}, seconds of one machine)"),
    ]
