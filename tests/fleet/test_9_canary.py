# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens and settings of one and of several lines on a real host, through a join, covered restarts that go well and wrong, and a leave.

They are found in the files and processes where they belong and nowhere else: not in what Ansible prints and callbacks get, not in the journal,
in no other file, not in what systemd and /proc show, not in the ledger and in what a roll keeps. The tests build on each other. tests/integration has the same
for what fails on the way, and test_9_control_plane for a control plane.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import Fleet, service
from tests.fleet.test_5_restart import cover_of, restart, wait_done
from tests.lab import archive, canary
from tests.lab.ansible import Run
from tests.lab.processes import wait_until

HOST = "vm2"
CHANGED = {**canary.SETTINGS, "AAA_ONE": "canary-changed"}
TEXTS = [*canary.TEXTS, "canary-changed"]
QUICK = {"kuma_dp_roll_soak": 0, "kuma_dp_roll_gate_timeout": 40, "kuma_dp_wait_timeout": 30, "kuma_dp_drain_time": "4s"}


@dataclass
class Alone:
    """One host of one service, and the directory of its rolls."""

    fleet: Fleet
    directory: Path
    began: float = field(default_factory=time.time)
    variables: dict[str, Any] = field(default_factory=lambda: {"kuma_dp_environment": canary.SETTINGS})

    def play(self, name: str, task: str, expected: int = 0, **extra: Any) -> Run:
        """Run a playbook as loud as it can be, without pipelining, so that arguments of modules are files, and search everything."""

        def change(groups: dict[str, Any]) -> None:
            groups.clear()
            groups["alone"] = {"hosts": {HOST: {}}, "vars": {"kuma_dp_services": [service("alone")]}}

        told, began = self.directory / "told", time.time()
        told.unlink(missing_ok=True)
        inventory = self.fleet.inventory(change, kuma_dp_roll_dir=str(self.directory / "rolls"), **self.variables)
        environment = {**canary.environment(told), "ANSIBLE_PIPELINING": "False"}
        run, _seen = self.fleet.play(name, *canary.LOUD, inventory=inventory, extra={**QUICK, **extra}, environment=environment)
        assert bool(run.code) == bool(expected), run.explain()
        if name != "leave_mesh":
            self.settle()
        canary.check_told(run.output, told, task, self.fleet.stage.control_plane.admin_token, TEXTS)
        assert canary.on_host(self.fleet.host(HOST), began, TEXTS) == []
        ledger = self.fleet.stage.directory / "tokens.jsonl"
        assert HOST.encode() in ledger.read_bytes()
        kept = b"".join(path.read_bytes() for path in [ledger, *(self.directory / "rolls").rglob("*")] if path.is_file())
        assert not canary.holds_token(kept)
        assert canary.held(kept, [self.fleet.stage.control_plane.admin_token, *TEXTS]) == []
        return run

    def settle(self) -> None:
        """Until the restart is over and its cover gone."""
        host, units = self.fleet.host(HOST), f"kuma-dp-cover@{HOST} kuma-dp-restart@{HOST}"
        wait_until(
            lambda: not {"active", "activating"} & set(host.run(f"systemctl is-active {units}", check=False).split()),
            60,
            "the restart to end",
        )

    def files(self) -> list[str]:
        """The files of tokens and settings with their owners and modes."""
        listed = self.fleet.host(HOST).run("find /etc/kuma/tokens /etc/kuma/env -type f -printf '%p %u %m\\n'", check=False)
        return sorted(line.removeprefix("/etc/kuma/") for line in listed.splitlines())

    def tokens(self) -> list[str]:
        return [line.split()[0] for line in self.files() if line.startswith("tokens/")]


@pytest.fixture(scope="module")
def alone(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    fleet.clear(*(host.name for host in fleet.hosts))
    return Alone(fleet, tmp_path_factory.mktemp("alone"))


def test_after_a_join(alone: Alone) -> None:
    alone.play("join_mesh", "Lay everything down")
    host = alone.fleet.host(HOST)
    # They are there to be found.
    assert "canary-second==" in host.run(f"cat /etc/kuma/env/{HOST}.env")
    assert "canary-of-one-line" in host.run(f"tr '\\0' '\\n' < /proc/$(systemctl show --property=MainPID --value kuma-dp@{HOST})/environ")
    found = sorted(canary.on_host(host, alone.began, ["canary-second"], own_files="nowhere"))
    names = [f"env/.{HOST}.started", f"env/{HOST}.env", f"tokens/.{HOST}.started", f"tokens/{HOST}"]
    assert found == [f"/etc/kuma/{name}" for name in names]


def test_after_a_restart_under_cover_with_other_settings(alone: Alone) -> None:
    alone.variables["kuma_dp_environment"] = CHANGED
    run = alone.play("rolling_restart", "Wait for admission")
    assert "under cover" in run.output
    assert "AAA_ONE=(hidden, changed)" in run.output
    # Neither the token of the cover nor that of before is there any more.
    assert [line.split()[0] for line in alone.files()] == [
        f"env/.{HOST}.good",
        f"env/.{HOST}.started",
        f"env/{HOST}.env",
        f"tokens/.{HOST}.started",
        f"tokens/{HOST}",
    ]
    assert {line.split(" ", 1)[1] for line in alone.files() if "/." in line} == {"root 600"}


def test_after_a_restart_that_is_put_back(alone: Alone) -> None:
    """Its cover is fine and its own token is not: the one that it had is where it was kept, and not kept any longer than that."""
    fleet, host, began = alone.fleet, alone.fleet.host(HOST), time.time()
    token = host.run(f"cat /etc/kuma/tokens/{HOST}")
    wrong = fleet.stage.control_plane.token("/tokens/dataplane", name="someone-else", mesh="default", validFor="1h")
    host.run(f"printf %s {wrong} > /etc/kuma/tokens/{HOST}")
    result = restart(fleet, HOST, HOST, cover=cover_of(fleet, HOST), ready_timeout=6)
    wait_done(host, HOST)
    assert (result["outcome"], result["fell_back"], result["served_by"]) == ("failed", True, "main"), result
    assert host.run(f"cat /etc/kuma/tokens/{HOST}") == token
    assert canary.held(json.dumps(result).encode(), TEXTS) == []
    assert canary.on_host(host, began, TEXTS) == []
    assert alone.tokens() == [f"tokens/.{HOST}.started", f"tokens/{HOST}"]


def test_after_an_upgrade_whose_cover_does_not_get_ready(alone: Alone) -> None:
    broken = archive.build("2.14.66", broken=True)
    wanted = {"kuma_dp_version": broken.version, "kuma_dp_archive": str(broken.path), "kuma_dp_archive_checksum": broken.sha256}
    run = alone.play("upgrade", "Wait for admission", expected=2, **wanted, kuma_dp_wait_timeout=8)
    assert "the cover was not ready" in run.output
    assert alone.tokens() == [f"tokens/.{HOST}.started", f"tokens/{HOST}"]


def test_after_a_leave(alone: Alone) -> None:
    alone.play("leave_mesh", "Drain, stop and disable the proxies")
    assert alone.files() == []
    assert canary.on_host(alone.fleet.host(HOST), alone.began, TEXTS, own_files="nowhere") == []
