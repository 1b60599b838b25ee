# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Interrupted anywhere and run again, a join ends joined; a leave leaves nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.fleet.fleet import NAMES, PROXIES, Fleet
from tests.lab.ansible import Run
from tests.lab.traffic import ask, outbounds

# Joined one at a time here, each by a controller of its own.
REVOCATIONS = "/global-secrets/dataplane-token-revocations-default"
VICTIMS = ["vm2", "vm3", "vm4", "vm5"]


# What is on a host when a visit is at work, by the name of the moment at which the controller is killed.
MOMENTS = {
    "the release is being unpacked": "ls /opt/kuma/*/bin/envoy",
    "the files are written": "test -e /etc/kuma/env/{proxy}.env",
    "the proxies are started": "systemctl is-active kuma-dp@{proxy}",
}


def cut(fleet: Fleet, host: str, moment: int | str) -> Run:
    """Kill a join of one host when task number `moment` starts, or at one of MOMENTS."""
    fleet.strip(host)
    if isinstance(moment, int):
        return fleet.join("--limit", host, abort_at=moment)[0]
    stop, over = threading.Event(), threading.Event()
    condition = f"{MOMENTS[moment].format(proxy=PROXIES[host][0])} >/dev/null 2>&1 && echo yes || true"

    def watch() -> None:
        while not over.is_set() and not stop.is_set():
            if "yes" in fleet.host(host).run(condition):
                stop.set()

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            return fleet.join("--limit", host, stop=stop)[0]
        finally:
            over.set()
            watching.result()


def interrupt_and_repair(fleet: Fleet, host: str, moment: int | str) -> str:
    """Cut a join of one host, then join it. The complaint, or nothing."""
    run = cut(fleet, host, moment)
    if run.code == 0:
        return f"{moment} was not reached"
    again, _seen = fleet.join("--limit", host)
    where = f"after a cut at {moment} ({run.tasks[-1]})"
    if again.code != 0:
        return f"{where} the rerun failed:\n{again.explain()}"
    not_ready = [name for name in PROXIES[host] if not fleet.ready(name)]
    return f"{where} these are not ready: {not_ready}" if not_ready else ""


@pytest.fixture(scope="module")
def whole(fleet: Fleet) -> Run:
    """A first join of one host that nobody interrupts."""
    fleet.join()
    fleet.strip("vm5")
    run, _seen = fleet.join("--limit", "vm5")
    assert run.code == 0, run.explain()
    return run


@pytest.mark.parametrize(
    "chosen",
    [
        # The first task after the one that registers, and the visits of the next.
        pytest.param(lambda tasks: [tasks[0], *MOMENTS], id="visits"),
        pytest.param(lambda tasks: [*tasks, *MOMENTS], id="all", marks=pytest.mark.nightly),
    ],
)
def test_a_join_that_was_cut_is_finished_by_the_next(fleet: Fleet, whole: Run, chosen: Callable[[list[int]], list[int | str]]) -> None:
    """At every task after the first that writes, and while a VM is visited; a cut at a task that is skipped is one at the task after it."""
    first = next(number for number, name in enumerate(whole.tasks, 1) if "register what differs" in name)
    tasks = [number for number in whole.acting if number > first]
    assert len(tasks) > 3
    moments = chosen(tasks)

    def on(host: str) -> list[str]:
        return [interrupt_and_repair(fleet, host, moment) for moment in moments[VICTIMS.index(host) :: len(VICTIMS)]]

    with ThreadPoolExecutor(len(VICTIMS)) as pool:
        complaints = [complaint for found in pool.map(on, VICTIMS) for complaint in found if complaint]
    assert complaints == []


@pytest.mark.nightly
def test_a_join_that_was_cut_while_registering_is_finished_by_the_next(fleet: Fleet) -> None:
    for host in VICTIMS:
        fleet.strip(host)
    stop, writes = threading.Event(), []

    def third_write(method: str, path: str) -> None:
        if method == "PUT":
            writes.append(path)
            if len(writes) == 3:
                stop.set()

    fleet.stage.recorder.on_request = third_write
    try:
        cut, _seen = fleet.join(stop=stop)
    finally:
        fleet.stage.recorder.on_request = None
    assert cut.code != 0
    run, _seen = fleet.join()
    assert run.code == 0, run.explain()
    assert sorted(fleet.dataplanes()) == NAMES
    assert all(fleet.ready(name) for name in NAMES)


def test_a_release_that_was_unpacked_in_part_is_unpacked_again(fleet: Fleet) -> None:
    assert cut(fleet, "vm5", "the release is being unpacked").code != 0
    found = fleet.host("vm5").run("ls /opt/kuma/*/bin/envoy").strip()
    fleet.host("vm5").run(f"truncate --size=1000000 {found}; rm -f $(dirname {found})/kuma-dp")
    run, _seen = fleet.join("--limit", "vm5")
    assert run.code == 0, run.explain()
    assert fleet.ready("vm5")


@pytest.fixture(scope="module")
def left(fleet: Fleet) -> Run:
    """A leave of one host."""
    fleet.join()
    run, seen = fleet.leave("--limit", "vm5")
    assert run.code == 0, run.explain()
    assert [write.split(" -> ")[0] for write in seen.writes] == [
        "PUT /meshes/default/dataplanes/vm5",
        "DELETE /meshes/default/dataplanes/vm5",
        f"PUT {REVOCATIONS}",
    ]
    return run


def test_a_host_leaves_and_the_others_stay(fleet: Fleet, left: Run) -> None:
    assert sorted(left.changed) == ["vm5"]
    assert sorted(fleet.dataplanes()) == [name for name in NAMES if name != "vm5"]
    answers = ask(fleet.host("vm1"), outbounds(fleet.host("vm1"))["WEB"], 20)
    assert sorted(answers.by_host) == ["vm2", "vm3"]
    assert answers.failures == []


def test_nothing_of_the_mesh_is_left_on_a_host_that_left(fleet: Fleet, left: Run) -> None:
    host = fleet.host("vm5")
    assert host.run("pgrep -l 'envoy|kuma-dp'", check=False) == ""
    assert host.run("find /etc/kuma -mindepth 1; ls -d /etc/systemd/system/kuma-dp* /etc/systemd/system/*/kuma-dp@*", check=False) == ""
    assert host.run("systemctl list-units --all --plain --no-legend 'kuma-dp@*'") == ""


def test_leaving_again_changes_nothing(fleet: Fleet, left: Run) -> None:
    before = fleet.snapshot()
    run, seen = fleet.leave("--limit", "vm5")
    assert run.code == 0, run.explain()
    assert run.changed == {}
    assert seen.writes == []
    assert fleet.snapshot() == before


def test_check_of_a_leave_changes_nothing(fleet: Fleet, left: Run) -> None:
    before = fleet.snapshot()
    run, seen = fleet.leave("--check", "--diff")
    assert run.code == 0, run.explain()
    assert seen.writes == []
    assert fleet.snapshot() == before
    assert sorted(run.changed) == ["vm1", "vm2", "vm3", "vm4"]


def test_a_dead_host_keeps_its_files_and_loses_its_dataplane_only_when_that_is_allowed(fleet: Fleet, left: Run) -> None:
    def dead(groups: dict[str, Any]) -> None:
        # Nobody listens there.
        groups["web"]["hosts"]["vm3"] = {"ansible_port": 1}

    inventory = fleet.inventory(dead)
    run, seen = fleet.leave("--limit", "vm3", inventory=inventory)
    assert run.code != 0
    assert seen.writes == []
    run, seen = fleet.leave("--limit", "vm3", inventory=inventory, extra={"kuma_dp_leave_unreachable": True})
    assert run.code == 0, run.explain()
    # By the ledger, for nobody has looked at the VM.
    assert [write.split(" -> ")[0] for write in seen.writes[-2:]] == ["DELETE /meshes/default/dataplanes/vm3", f"PUT {REVOCATIONS}"]
    assert "unreachable, Dataplane deleted, files still there (1): vm3" in run.output
    assert fleet.host("vm3").run("systemctl is-active kuma-dp@vm3", check=False).strip() == "active"


def test_all_leave(fleet: Fleet, left: Run) -> None:
    run, _seen = fleet.leave()
    assert run.code == 0, run.explain()
    assert fleet.dataplanes() == {}
    for host in fleet.hosts:
        assert host.run("pgrep -l 'envoy|kuma-dp'", check=False) == ""
