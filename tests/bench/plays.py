# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a whole ansible-playbook takes, from its start to its end."""

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Task = dict[str, Any]


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and those of processors; the second ones do not mind a busy machine as much."""

    seconds: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s (CPU {self.cpu:.2f} s)"


def least(costs: Sequence[Cost]) -> Cost:
    """What it takes when nothing comes between."""
    return Cost(min(cost.seconds for cost in costs), min(cost.cpu for cost in costs))


class Plays:
    """Runs tasks on ``hosts`` that are this machine, with files in ``directory``."""

    def __init__(self, directory: Path, variables: dict[str, Any], hosts: int = 1) -> None:
        self.directory = directory
        self.inventory = directory / "inventory.json"
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        named = {f"bench-{number}": {"number": number} for number in range(hosts)}
        self.inventory.write_text(json.dumps({"all": {"hosts": named, "vars": {**local, **variables}}}))

    def run(self, *tasks: Task) -> Cost:
        book = self.directory / "play.json"
        book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        command = ["ansible-playbook", "--forks", "8", "-i", str(self.inventory), str(book)]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        return Cost(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
