# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of rolls share: their fleet, how they start a roll, and what has to hold after every one of them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import Fleet, service
from tests.lab import archive
from tests.lab.ansible import Run
from tests.lab.processes import wait_until
from tests.lab.recorder import Seen
from tests.lab.traffic import ask, outbounds

CALLER = "vm1"
WEB = ["vm2", "vm3", "vm4", "vm5"]
ALL = [CALLER, *WEB]
# The smallest roll that still has a canary and stages.
QUICK = {"kuma_dp_roll_soak": 0, "kuma_dp_roll_gate_timeout": 30, "kuma_dp_wait_timeout": 30, "kuma_dp_roll_force": True}

ANOTHER_VERSION = pytest.mark.skipif(archive.no_other_version() != "", reason=archive.no_other_version() or "there is another version")


def four_instances(groups: dict[str, Any]) -> None:
    """vm1 calls the service web, which the four others offer."""
    groups.clear()
    groups["shop"] = {"hosts": {CALLER: {}}, "vars": {"kuma_dp_services": [service("shop")], "kuma_dp_upstreams": ["web"]}}
    probe = {"interval": "1s", "timeout": "1s"}
    groups["web"] = {"hosts": {name: {} for name in WEB}, "vars": {"kuma_dp_services": [service("web", probe=probe)]}}


class Rolls:
    """A joined fleet of four instances and their caller, and the directory of its journals."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet, self.directory = fleet, directory
        self.inventory = fleet.inventory(four_instances, kuma_dp_roll_dir=str(directory))

    def roll(self, *arguments: str, playbook: str = "rolling_restart", inventory: Path | None = None, **options: Any) -> tuple[Run, Seen]:
        extra = {**QUICK, **options.pop("extra", {})}
        return self.fleet.play(playbook, *arguments, inventory=inventory or self.inventory, extra=extra, **options)

    def journal(self) -> dict[str, Any]:
        """Of the newest run."""
        found: dict[str, Any] = json.loads(
            max(self.directory.glob("**/journal.json"), key=lambda path: path.stat().st_mtime_ns).read_text()
        )
        return found

    def status(self) -> dict[str, str]:
        """What became of each host, by the journal of the newest run."""
        return {name: host["status"] for name, host in self.journal()["hosts"].items()}

    def live(self) -> dict[str, dict[str, Any]]:
        """The records of the run that is under way; nothing before there is one."""
        heads = sorted(self.directory.glob("*/*/head.json"), key=lambda path: path.parent.name)
        if not heads or json.loads(heads[-1].read_text())["status"] != "running":
            return {}
        return {name: record for path in heads[-1].parent.glob("hosts/*.json") for name, record in json.loads(path.read_text()).items()}

    def wait_until_one_is(self, status: str, timeout: float = 120.0) -> str:
        """The first host of the run under way that has this status."""

        def find() -> str:
            return next((name for name, record in self.live().items() if record["status"] == status), "")

        return str(wait_until(find, timeout, f"a host that is {status}", interval=0.1))

    def processes(self, *names: str) -> dict[str, str]:
        """Process id and start of every main proxy; another one after a restart."""
        hosts = names or tuple(ALL)

        def look(name: str) -> str:
            return self.fleet.host(name).run(
                f"systemctl show --property=MainPID,ExecMainStartTimestampMonotonic --value kuma-dp@{name} | xargs"
            )

        with ThreadPoolExecutor(len(hosts)) as pool:
            return dict(zip(hosts, pool.map(look, hosts), strict=True))

    def restarted(self, before: dict[str, str], *names: str) -> list[str]:
        """The hosts (all, or these) whose main proxy is another process than `before`."""
        return [name for name, process in self.processes(*names).items() if process != before[name]]

    def running_version(self, name: str) -> str:
        """The version of the executable that the main proxy of a host runs, by its path."""
        path = self.fleet.host(name).run(f"readlink /proc/$(systemctl show --property=MainPID --value kuma-dp@{name})/exe")
        return path.split("/")[3]

    def port(self) -> int:
        return outbounds(self.fleet.host(CALLER))["WEB"]

    def wait_for_answers(self, *expected: str) -> None:
        """Until exactly these hosts answer the caller, and nobody else is asked: a host that its caller still has shows as a failure."""
        wanted = sorted(expected or WEB)
        port = self.port()

        def answered() -> bool:
            answers = ask(self.fleet.host(CALLER), port, 24)
            return not answers.failures and sorted(answers.by_host) == wanted

        wait_until(answered, 60, f"answers from {', '.join(wanted)}", interval=0.5)

    def settle(self, *hosts: str) -> None:
        """What has to hold after every roll, whatever happened in it: no healthy proxy is fenced, and no cover is left beside one."""
        for name in hosts or ALL:
            self.fleet.wait_ready(name)
            assert self.fleet.host(name).run(f"systemctl is-active kuma-dp@{name}", check=False).strip() == "active"
            units = f"kuma-dp-cover@{name} kuma-dp-restart@{name}"
            wait_until(
                lambda name=name, units=units: (
                    not {"active", "activating"} & set(self.fleet.host(name).run(f"systemctl is-active {units}", check=False).split())
                ),
                60,
                f"the cover of {name} to end",
                interval=0.5,
            )
        wait_until(
            lambda: not [name for name in self.fleet.dataplanes() if name.endswith("-cover")],
            30,
            "Dataplanes of covers to go",
            interval=0.5,
        )
        labelled = [name for name, item in self.fleet.dataplanes().items() if "meshfleet.kuma/maintenance" in (item.get("labels") or {})]
        assert labelled == []
