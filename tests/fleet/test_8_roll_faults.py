# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rolls in which something breaks: whoever is not done is named, nobody healthy is left out of traffic, and a second run finishes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fleet.rolls import ALL, ANOTHER_VERSION, CALLER, WEB, Rolls
from tests.lab import archive, canary
from tests.lab.ansible import Ansible, Run
from tests.lab.processes import wait_until
from tests.lab.traffic import polling

PAIR = "vm2,vm3"
# Nobody logs in for a while, and nobody who is logged in stays.
CUT_OFF = "systemd-run --quiet sh -c 'sleep 0.2; systemctl stop ssh; pkill -x sshd; sleep 25; systemctl start ssh'"


def hook(rolls: Rolls, command: str, host: str, name: str = "hook.yml") -> str:
    """A task file that runs a command on one host."""
    path = rolls.fleet.ansible.directory / name
    task = {"name": "Break it", "ansible.builtin.shell": command, "when": f"inventory_hostname == '{host}'"}
    path.write_text(yaml.safe_dump([task]))
    return str(path)


def check_finished_by_another_run(rolls: Rolls, hosts: str, **extra: Any) -> None:
    """Another run over the hosts that the first one did not finish."""
    run, _asked = rolls.roll("--limit", hosts, extra=extra)
    assert run.code == 0, run.explain()
    rolls.settle()
    rolls.wait_for_answers()


@contextlib.contextmanager
def rolling(rolls: Rolls, *arguments: str, **options: Any) -> Iterator[dict[str, Run]]:
    """A roll in another thread; its run is there when the block has ended."""
    found: dict[str, Run] = {}
    thread = threading.Thread(target=lambda: found.update(run=rolls.roll(*arguments, **options)[0]))
    thread.start()
    try:
        yield found
    finally:
        thread.join()


@contextlib.contextmanager
def frozen(rolls: Rolls) -> Iterator[None]:
    """The control plane answers nobody."""
    pid = rolls.fleet.stage.control_plane.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.nightly
def test_a_host_that_is_off_before_the_roll_is_named_and_counted(rolls: Rolls) -> None:
    before = rolls.processes()
    away = rolls.fleet.host("vm5")
    away.run(CUT_OFF)
    wait_until(lambda: not away.answers(), 20, "vm5 to be cut off")
    run, _asked = rolls.roll()
    assert run.code != 0, run.explain()
    assert rolls.status()["vm5"] == "unreachable"
    assert "vm5" in run.messages
    wait_until(away.answers, 60, "vm5 to be back", interval=0.5)
    away.wait()
    assert rolls.restarted(before) == []
    rolls.settle()


def test_a_host_that_is_cut_off_in_the_middle_is_finished_by_itself(rolls: Rolls) -> None:
    with polling(rolls.fleet.host(CALLER), rolls.port()) as answers:
        # The hook is still there when its connection goes, however slow the machine is.
        cut = {"kuma_dp_roll_before": hook(rolls, CUT_OFF + "; sleep 20", "vm3"), "kuma_dp_roll_max_failures": 0}
        run, _asked = rolls.roll("--limit", PAIR, extra=cut)
        assert run.code != 0, run.explain()
        statuses = rolls.status()
        assert statuses["vm3"] in ("unreachable", "failed"), statuses
        assert "vm3" in run.messages
        host = rolls.fleet.host("vm3")
        wait_until(host.answers, 60, "vm3 to be back", interval=0.5)
        host.wait()
        rolls.settle()
        check_finished_by_another_run(rolls, "vm3")
    assert answers.failures == []


def test_a_host_that_reboots_under_its_cover_comes_back_without_it(rolls: Rolls) -> None:
    host = rolls.fleet.host("vm2")
    with polling(rolls.fleet.host(CALLER), rolls.port()) as answers:
        with rolling(rolls, "--limit", "vm2") as found:
            rolls.wait_until_one_is("admitted")
            wait_until(lambda: host.run("systemctl is-active kuma-dp-cover@vm2", check=False).strip() == "active", 30, "the cover of vm2")
            host.reboot()
        assert found["run"].code != 0, found["run"].explain()
        # It depends on what the reboot reached first, the connection or the module.
        assert rolls.status()["vm2"] in ("failed", "unreachable")
        assert "vm2" in found["run"].messages
        rolls.settle()
        rolls.wait_for_answers()
    assert answers.failures == []


def test_who_serves_nobody_and_cannot_be_healed_is_told_and_keeps_nobody_from_being_rolled(rolls: Rolls) -> None:
    """Somebody's drop-in sends it to a port where no dp-server is. The inventory cannot put that right, and the others have to go on."""
    dead, directory = rolls.fleet.host("vm5"), "/run/systemd/system/kuma-dp@vm5.service.d"
    before = rolls.processes()
    dead.run(f"mkdir -p {directory}; printf '[Service]\\nEnvironmentFile=/run/other.env\\n' > {directory}/other.conf")
    dead.run(f"echo KUMA_CONTROL_PLANE_URL={rolls.fleet.stage.control_plane.https_url} > /run/other.env; systemctl daemon-reload")
    try:
        dead.run("systemctl restart kuma-dp@vm5")
        rolls.wait_for_answers("vm2", "vm3", "vm4")
        with polling(rolls.fleet.host(CALLER), rolls.port()) as answers:
            run, _asked = rolls.roll(extra={"kuma_dp_wait_timeout": 8})
        assert run.code != 0, run.explain()
        assert answers.failures == []
        assert rolls.status() == {"vm1": "done", "vm2": "done", "vm3": "done", "vm4": "done", "vm5": "refused"}
        assert sorted(rolls.restarted(before)) == ALL
        assert rolls.journal()["abort"] is None
        assert "has a wrong port: no dp-server is there" in run.messages
    finally:
        dead.run(f"rm -rf {directory} /run/other.env; systemctl daemon-reload")
    # With its own settings again, the join in the roll suffices for it.
    check_finished_by_another_run(rolls, "vm5")


@pytest.mark.nightly
def test_an_application_that_does_not_get_healthy_stops_the_roll(rolls: Rolls) -> None:
    before = rolls.processes()
    stop = hook(rolls, "systemctl stop kuma-lab-app", "vm2")
    run, _asked = rolls.roll(
        "--limit", PAIR, extra={"kuma_dp_roll_after": stop, "kuma_dp_roll_min_healthy": 9, "kuma_dp_roll_gate_timeout": 15}
    )
    assert run.code != 0, run.explain()
    assert rolls.status() == {"vm2": "failed", "vm3": "refused"}
    assert rolls.restarted(before) == ["vm2"]
    assert "vm2" in run.messages
    assert "NotReady" in run.messages
    rolls.fleet.host("vm2").run("systemctl start kuma-lab-app")
    rolls.settle()


@pytest.mark.nightly
def test_a_hook_that_fails_keeps_the_host_as_it_is(rolls: Rolls) -> None:
    before = rolls.processes()
    run, _asked = rolls.roll("--limit", PAIR, extra={"kuma_dp_roll_before": hook(rolls, "exit 3", "vm2")})
    assert run.code != 0, run.explain()
    assert rolls.status() == {"vm2": "failed", "vm3": "refused"}
    assert rolls.restarted(before) == []
    rolls.settle()


def test_a_control_plane_that_goes_and_comes_back_pauses_the_roll(rolls: Rolls) -> None:
    before = rolls.processes()
    with polling(rolls.fleet.host(CALLER), rolls.port()) as answers:
        with rolling(rolls, "--limit", PAIR) as found:
            rolls.wait_until_one_is("done")
            with frozen(rolls):
                threading.Event().wait(8)
        assert found["run"].code == 0, found["run"].explain()
        rolls.settle()
    assert answers.failures == []
    assert rolls.restarted(before) == PAIR.split(",")


@pytest.mark.nightly
def test_a_control_plane_that_stays_away_ends_the_roll_cleanly(rolls: Rolls) -> None:
    before = rolls.processes()
    with polling(rolls.fleet.host(CALLER), rolls.port()) as answers:
        with frozen_after_the_first(rolls) as found:
            pass
        run = found["run"]
        assert run.code != 0, run.explain()
        rolls.settle()
    assert answers.failures == []
    assert rolls.restarted(before) == ["vm2"]
    for name in PAIR.split(","):
        assert name in run.output
    check_finished_by_another_run(rolls, PAIR, kuma_dp_roll_force=False)


@contextlib.contextmanager
def frozen_after_the_first(rolls: Rolls) -> Iterator[dict[str, Run]]:
    """A roll of two whose control plane freezes after the first host and stays so until the roll has ended."""
    timeouts = {"kuma_dp_roll_pause_timeout": 5, "kuma_dp_roll_gate_timeout": 10}
    with contextlib.ExitStack() as stack:
        with rolling(rolls, "--limit", PAIR, extra=timeouts) as found:
            rolls.wait_until_one_is("done")
            stack.enter_context(frozen(rolls))
        yield found


@pytest.mark.parametrize(
    ("status", "limit", "wait"),
    [
        pytest.param("admitted", "vm2,vm3,vm4", 2, id="restart"),
        # Where the first host is done and the second not begun.
        pytest.param("done", "vm2,vm3,vm4", 0, id="between", marks=pytest.mark.nightly),
        # Nobody is left to restart: the roll waits for the cover to go.
        pytest.param("done", "vm2", 3, id="finish", marks=pytest.mark.nightly),
    ],
)
def test_a_controller_that_is_killed_is_continued_by_the_next_run(rolls: Rolls, status: str, limit: str, wait: float) -> None:
    before = rolls.processes()
    stop = threading.Event()
    with polling(rolls.fleet.host(CALLER), rolls.port()) as answers:
        with rolling(rolls, "--limit", limit, stop=stop) as found:
            rolls.wait_until_one_is(status)
            first = next(name for name, record in rolls.live().items() if record["status"] in ("admitted", "done"))
            threading.Event().wait(wait)
            assert rolls.live(), "the roll has ended before it could be killed"
            stop.set()
        assert found["run"].code != 0
        # A host that is gone from the inventory is not waited for, and nothing of it is left behind.
        run, _asked = rolls.roll("--limit", "vm2,vm3")
        assert run.code == 0, run.explain()
        rolls.settle()
    assert answers.failures == []
    assert set(rolls.restarted(before)) >= {"vm2", "vm3"}
    assert first in limit.split(",")
    assert "continues an earlier run" in run.output


def check_no_token(rolls: Rolls, run: Run, everything: Path, since: float) -> None:
    """Nowhere but in the files of the proxies themselves, once the roll has ended that began at `since`."""
    canary.check_told(run.output, everything, "Wait for admission", rolls.fleet.stage.control_plane.admin_token)
    assert not canary.holds_token(b"".join(path.read_bytes() for path in rolls.directory.rglob("*") if path.is_file()))
    for name in PAIR.split(","):
        assert canary.on_host(rolls.fleet.host(name), since) == [], name


@pytest.mark.nightly
def test_a_second_roll_is_refused_and_the_first_tells_nobody_a_token(rolls: Rolls, tmp_path: Path) -> None:
    told, began = tmp_path / "told", time.time()
    # Without pipelining what a task is told lies in files of the VM while it runs.
    loud = {"environment": {**canary.environment(told), "ANSIBLE_PIPELINING": "False"}}
    with rolling(rolls, *canary.LOUD, "--limit", PAIR, **loud) as found:
        rolls.wait_until_one_is("admitted")
        ansible = Ansible(tmp_path / "other", rolls.inventory)
        extra = {"kuma_dp_roll_force": True, "kuma_dp_roll_dir": str(tmp_path / "rolls")}
        second = ansible.playbook(rolls.fleet.stage.playbook("rolling_restart"), "--limit", "vm4", extra=extra)
        ansible.close()
    assert second.code != 0
    assert "already" in second.messages, second.explain()
    assert found["run"].code == 0, found["run"].explain()
    rolls.settle()
    assert {rolls.journal()["hosts"][name]["strategy"] for name in PAIR.split(",")} == {"cover"}
    check_no_token(rolls, found["run"], told, began)


@pytest.mark.nightly
def test_a_fence_that_somebody_lifts_in_the_middle_does_no_harm(rolls: Rolls) -> None:
    def lifted() -> None:
        name = rolls.wait_until_one_is("admitted")
        wait_until(lambda: not rolls.fleet.ready(name), 30, f"{name} to be fenced", interval=0.05)
        rolls.fleet.set_inbounds(name, health={"ready": True})

    with rolling(rolls, "--limit", PAIR, extra={"kuma_dp_roll_strategy": "drained"}) as found:
        lifted()
    assert found["run"].code == 0, found["run"].explain()
    assert {record["strategy"] for record in rolls.journal()["hosts"].values()} == {"drained"}
    rolls.settle()


@pytest.mark.nightly
def test_an_instance_that_is_lost_counts_against_the_budget(rolls: Rolls) -> None:
    """One of four may be out of traffic, and one is. The sick one itself may be restarted."""
    before = rolls.processes()
    rolls.fleet.host("vm5").run("systemctl stop kuma-lab-app")
    try:
        rolls.fleet.wait_ready("vm5", wanted=False)
        rolls.wait_for_answers(*WEB[:3])
        with polling(rolls.fleet.host(CALLER), rolls.port()) as answers:
            run, _asked = rolls.roll("--limit", ",".join(WEB), extra={"kuma_dp_roll_strategy": "drained", "kuma_dp_roll_canaries": 0})
        assert run.code != 0, run.explain()
        statuses = rolls.status()
        assert {statuses[name] for name in WEB[:3]} == {"refused"}, statuses
        assert set(rolls.restarted(before)) <= {"vm5"}
        assert answers.failures == []
        for name in WEB[:3]:
            assert name in run.messages
    finally:
        rolls.fleet.host("vm5").run("systemctl start kuma-lab-app")
    rolls.settle()


@pytest.mark.nightly
def test_an_instance_that_loses_power_in_the_middle_counts_although_the_control_plane_still_sees_it(rolls: Rolls) -> None:
    before = rolls.processes()
    # Long enough for the third to be asked again.
    waits = {"kuma_dp_roll_strategy": "drained", "kuma_dp_roll_soak": 20}
    with contextlib.ExitStack() as power:
        with rolling(rolls, "--limit", PAIR, extra=waits) as found:
            rolls.wait_until_one_is("admitted")
            power.enter_context(rolls.fleet.host("vm4").unplugged())
        assert rolls.fleet.ready("vm4"), "the control plane has heard of it after all, and the test shows nothing"
        run = found["run"]
        assert run.code != 0, run.explain()
        assert rolls.status() == {"vm2": "done", "vm3": "refused"}
        assert rolls.restarted(before, "vm2", "vm3") == ["vm2"]
        assert "vm4 answered before and not any more" in run.messages, run.explain()
    rolls.settle()
    check_finished_by_another_run(rolls, "vm3,vm4")


@ANOTHER_VERSION
def test_an_upgrade_whose_gate_fails_is_put_back(rolls: Rolls) -> None:
    """The new version runs, but the host does not serve with it: it goes back to what it ran with, and the roll ends."""
    newer = archive.newer()
    wanted = {
        "kuma_dp_roll_force": False,
        "kuma_dp_version": newer.version,
        "kuma_dp_archive": str(newer.path),
        "kuma_dp_archive_checksum": newer.sha256,
        "kuma_dp_roll_after": hook(rolls, "systemctl stop kuma-lab-app", "vm2"),
        "kuma_dp_roll_min_healthy": 9,
        "kuma_dp_roll_gate_timeout": 15,
    }
    with polling(rolls.fleet.host(CALLER), rolls.port()):
        run, _asked = rolls.roll("--limit", PAIR, playbook="upgrade", extra=wanted)
    assert run.code != 0, run.explain()
    assert rolls.status() == {"vm2": "failed", "vm3": "refused"}
    assert "NotReady" in run.messages
    assert "vm2 was put back to what it ran with before" in run.output
    rolls.fleet.host("vm2").run("systemctl start kuma-lab-app")
    assert rolls.running_version("vm2") != newer.version
    rolls.settle()
    check_finished_by_another_run(rolls, PAIR, kuma_dp_roll_force=False)


@pytest.mark.nightly
def test_what_an_operator_fenced_stays_fenced_and_ghosts_of_covers_go(rolls: Rolls) -> None:
    before = rolls.processes()
    dataplanes = rolls.fleet.dataplanes()
    ghost = {**dataplanes["vm3"], "name": "vm3-cover"}
    for key in ("creationTime", "modificationTime", "kri", "labels"):
        ghost.pop(key, None)
    rolls.fleet.stage.control_plane.call("PUT", "/meshes/default/dataplanes/vm3-cover", ghost)
    rolls.fleet.set_inbounds("vm2", health={"ready": False})
    try:
        rolls.wait_for_answers(*WEB[1:])
        with polling(rolls.fleet.host(CALLER), rolls.port()) as answers:
            run, _asked = rolls.roll("--limit", PAIR, extra={"kuma_dp_roll_budget": "50%"})
        assert run.code == 0, run.explain()
        assert rolls.restarted(before) == PAIR.split(",")
        assert answers.failures == []
        assert "vm2" not in answers.by_host
        assert not rolls.fleet.ready("vm2")
        wait_until(lambda: "vm3-cover" not in rolls.fleet.dataplanes(), 30, "the ghost to go", interval=0.5)
    finally:
        rolls.fleet.set_inbounds("vm2", health={"ready": True})
    rolls.settle()


@pytest.mark.nightly
def test_a_drained_restart_of_the_only_instance_wants_a_word(rolls: Rolls) -> None:
    before = rolls.processes()
    drained = {"kuma_dp_roll_strategy": "drained"}
    run, _asked = rolls.roll("--limit", CALLER, extra=drained)
    assert run.code != 0, run.explain()
    assert "allow_singleton" in run.messages
    assert rolls.restarted(before) == []
    run, _asked = rolls.roll("--limit", CALLER, extra={**drained, "kuma_dp_roll_allow_singleton": True})
    assert run.code == 0, run.explain()
    assert rolls.restarted(before) == [CALLER]
    rolls.settle()


def test_in_the_end_all_are_in_traffic(rolls: Rolls) -> None:
    assert [name for name in ALL if not rolls.fleet.ready(name)] == []
    rolls.wait_for_answers()
