# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users of one machine get labs of their own, and never one whose addresses or ports somebody else has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from tests.lab import __main__ as command
from tests.lab import cgroups, choice, fleet, machine, settings, stage
from tests.lab.fleet import Lab
from tests.lab.occupied import Listener, Machine, Used
from tests.lab.processes import Process
from tests.lab.settings import LabError, Settings

ROOT = Path(__file__).parents[2]
LABS = [Settings(number) for number in range(10)]
# A starter in a process of its own: says which lab it got, keeps its lock until it is told to be the owner, and lives until it is ended.
STARTER = """
import json, os, sys
from pathlib import Path
from tests.lab import choice, fleet, settings
from tests.lab.processes import Process
settings.STATE_ROOT = Path(sys.argv[1])
labs = [settings.Settings(number) for number in settings.LABS]
def objections(lab):
    holder = fleet.Lab(lab).holder()
    return [holder] if holder else []
sys.stdin.readline()
with choice.first_free(labs, objections) as lab:
    print(lab.lab_id, flush=True)
    sys.stdin.readline()
    lab.state.mkdir(exist_ok=True)
    owner = Process.of(os.getpid()).as_json()
    (lab.state / "lab.json").write_text(json.dumps({"owner": owner, "hosts": []}))
print("set up", flush=True)
sys.stdin.readline()
"""
Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The labs of this machine are none of our business, whichever are running: nothing here may look at them or clear them away."""
    path = tmp_path / "labs"
    monkeypatch.setattr(settings, "STATE_ROOT", path)
    monkeypatch.delenv("LAB_ID", raising=False)
    monkeypatch.delenv("KUMA_BIN", raising=False)
    monkeypatch.setattr(fleet, "_require", lambda: None)
    monkeypatch.setattr(cgroups, "processes", lambda group: [])
    monkeypatch.setattr(machine, "look", Machine)
    return path


@pytest.fixture(autouse=True)
def cleared(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[int]:
    """Numbers of the labs that were cleared away."""
    found: list[int] = []
    monkeypatch.setattr(Lab, "clear", lambda lab: found.append(lab.settings.lab_id))
    monkeypatch.setattr(Lab, "leftovers", lambda lab: [])
    return found


@pytest.fixture(scope="module")
def somebody() -> Iterator[Process]:
    """A process that runs and is not this one."""
    process = subprocess.Popen(["sleep", "infinity"])
    yield Process.of(process.pid)
    process.kill()
    process.wait()


@pytest.fixture
def start(root: Path) -> Iterator[Start]:
    started = []

    def starter() -> subprocess.Popen[str]:
        line = [sys.executable, "-c", STARTER, str(root)]
        process = subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield starter
    for process in started:
        process.kill()
        process.communicate()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def record(number: int, owner: Process | None, hosts: int = 0) -> None:
    state = Settings(number).state
    state.mkdir(parents=True, exist_ok=True)
    named = [{"index": index, "name": f"vm{index}"} for index in range(1, hosts + 1)]
    (state / "lab.json").write_text(json.dumps({"owner": owner.as_json() if owner else None, "hosts": named}))


def used(network: str) -> Used:
    return Used(IPv4Network(network), "somebody")


def claimed() -> int:
    with fleet.claim() as lab:
        return lab.settings.lab_id


def test_the_first_free_lab_is_taken(cleared: list[int], somebody: Process) -> None:
    record(0, somebody)
    record(1, Process(os.getpid(), 1))
    assert claimed() == 1
    # What the dead owner left is cleared away; nothing of the living one is.
    assert cleared == [1]


def test_a_lab_that_stays_is_passed_over_while_its_hosts_run(monkeypatch: pytest.MonkeyPatch, cleared: list[int]) -> None:
    record(0, None, hosts=2)
    assert claimed() == 0
    cleared.clear()
    monkeypatch.setattr(cgroups, "processes", lambda group: [1] if group.name == "meshfleet-kuma0-vm2" else [])
    assert claimed() == 1
    assert cleared == [1]


def test_a_lab_whose_addresses_or_ports_are_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = [Listener(IPv6Address("::"), 5778, 1)]
    monkeypatch.setattr(machine, "look", lambda: Machine([used("10.77.0.0/24")], sockets))
    assert claimed() == 2


def test_what_is_left_of_a_lab_is_cleared_before_this_machine_is_looked_at(monkeypatch: pytest.MonkeyPatch, cleared: list[int]) -> None:
    monkeypatch.setattr(machine, "look", lambda: Machine([] if cleared else [used("10.77.0.0/16")]))
    assert claimed() == 0


def test_a_lab_that_cannot_be_cleared_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def clear(lab: Lab) -> None:
        if lab.settings.lab_id == 0:
            raise TimeoutError("waited 10 s for umount /somewhere")

    monkeypatch.setattr(Lab, "clear", clear)
    assert claimed() == 1


def test_the_error_says_why_each_lab_is_taken(monkeypatch: pytest.MonkeyPatch, somebody: Process) -> None:
    record(3, somebody)
    monkeypatch.setattr(machine, "look", lambda: Machine([used("10.0.0.0/8")]))
    with choice.locked(LABS[4]), pytest.raises(LabError) as caught:
        claimed()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("none of the 10 labs is free")
    assert [line.split(":")[0].strip() for line in lines[1:]] == [str(number) for number in range(10)]
    assert lines[1] == "  0: somebody, where the lab wants 10.77.0.0/16"
    assert lines[4] == f"  3: it belongs to the running process {somebody.pid}"
    assert lines[5] == "  4: another process is just setting it up or taking it down"


def test_lab_id_means_that_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_ID", "7")
    assert claimed() == 7


@pytest.mark.parametrize("text", ["10", "-1", "x", "²", "07"])
def test_lab_id_is_one_of_ten_numbers(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LAB_ID", text)
    with pytest.raises(LabError, match="must be a number from 0 to 9"):
        claimed()


def test_an_empty_lab_id_is_none(monkeypatch: pytest.MonkeyPatch, somebody: Process) -> None:
    monkeypatch.setenv("LAB_ID", "")
    record(0, somebody)
    assert claimed() == 1


@pytest.mark.parametrize("owned", [True, False])
def test_lab_id_of_a_lab_in_use_is_an_error(monkeypatch: pytest.MonkeyPatch, cleared: list[int], owned: bool, somebody: Process) -> None:
    record(2, somebody if owned else None, hosts=1)
    monkeypatch.setattr(cgroups, "processes", lambda group: [1])
    monkeypatch.setenv("LAB_ID", "2")
    with pytest.raises(LabError) as caught:
        claimed()
    assert str(caught.value).startswith("lab 2 is taken: it ")
    assert ("belongs to the running process" if owned else "LAB_ID=2 make lab-down") in str(caught.value)
    assert "set LAB_ID to another number" in str(caught.value)
    assert cleared == []


def test_lab_id_of_a_lab_whose_addresses_are_taken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = [Listener(IPv6Address("::"), 5681, 0)]
    monkeypatch.setattr(machine, "look", lambda: Machine([used("10.77.0.0/24")], sockets))
    monkeypatch.setenv("LAB_ID", "0")
    with pytest.raises(LabError) as caught:
        claimed()
    assert "somebody, where the lab wants 10.77.0.0/16" in str(caught.value)
    assert "listens on [::]:5681, which the lab wants for the API over HTTP" in str(caught.value)


def test_two_processes_that_choose_at_once_get_different_labs(start: Start) -> None:
    both = [start(), start()]
    for process in both:
        tell(process)
    assert sorted(hear(process) for process in both) == ["0", "1"]


def test_a_lab_that_is_set_up_belongs_to_its_process_until_that_ends(start: Start) -> None:
    first, second, third = start(), start(), start()
    tell(first)
    assert hear(first) == "0"
    tell(first)
    assert hear(first) == "set up"
    tell(second)
    assert hear(second) == "1"
    first.kill()
    first.wait()
    tell(third)
    assert hear(third) == "0"


def test_a_stage_that_gets_no_lab_leaves_that_of_others_alone(
    monkeypatch: pytest.MonkeyPatch, cleared: list[int], somebody: Process
) -> None:
    monkeypatch.setattr(stage.archive, "build", lambda: None)
    monkeypatch.setenv("LAB_ID", "0")
    record(0, somebody)
    with pytest.raises(LabError, match="belongs to the running process"), stage.stage(1):
        pytest.fail("somebody else's lab")
    assert cleared == []


def test_a_stage_whose_lab_another_got_after_a_failure_leaves_it_alone(
    monkeypatch: pytest.MonkeyPatch, cleared: list[int], somebody: Process
) -> None:
    def up(lab: Lab, names: Any, owned: bool = False) -> None:
        cleared.clear()
        record(lab.settings.lab_id, somebody)
        raise LabError("a host does not boot")

    monkeypatch.setattr(stage.archive, "build", lambda: None)
    monkeypatch.setattr(Lab, "up", up)
    with pytest.raises(LabError, match="does not boot"), stage.stage(1):
        pytest.fail("somebody else's lab")
    assert cleared == []


def test_a_stage_does_not_hide_what_it_leaves_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.archive, "build", lambda: None)
    monkeypatch.setattr(Lab, "up", lambda lab, names, owned: None)
    monkeypatch.setattr(Lab, "leftovers", lambda lab: ["mount /somewhere"])

    def start(lab: Lab) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage.control_plane, "start", start)
    with pytest.raises(LabError, match="left behind: mount /somewhere"), stage.stage(1):
        pytest.fail("no stage was set")


@pytest.mark.parametrize("owner", ["this", "other", "stays", "nobody"])
def test_only_what_is_not_somebody_elses_is_released(
    monkeypatch: pytest.MonkeyPatch, cleared: list[int], owner: str, somebody: Process
) -> None:
    lab = Lab(LABS[0])
    if owner != "nobody":
        record(0, {"this": Process.of(os.getpid()), "other": somebody, "stays": None}[owner], hosts=1)
    monkeypatch.setattr(cgroups, "processes", lambda group: [1])
    monkeypatch.setattr(Lab, "leftovers", lambda lab: ["mount /somewhere"])
    left = lab.release()
    assert left == (["mount /somewhere"] if owner in ("this", "nobody") else [])
    assert cleared == ([0] if owner in ("this", "nobody") else [])


def run(monkeypatch: pytest.MonkeyPatch, word: str, *numbers: int) -> int:
    monkeypatch.setattr(sys, "argv", ["lab", word])
    monkeypatch.setattr(command, "existing", lambda: [Lab(Settings(number)) for number in numbers])
    return command.main()


@pytest.mark.parametrize(("word", "code"), [("down", 0), ("leftovers", 0), ("status", 1)])
def test_without_any_lab_there_is_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str, code: int
) -> None:
    assert run(monkeypatch, word) == code
    assert capsys.readouterr().out == "there is no lab on this machine\n"


def test_the_only_lab_is_meant(monkeypatch: pytest.MonkeyPatch, cleared: list[int]) -> None:
    assert run(monkeypatch, "down", 4) == 0
    assert cleared == [4]


@pytest.mark.parametrize("word", ["down", "leftovers", "status"])
def test_with_several_labs_one_has_to_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cleared: list[int], word: str, somebody: Process
) -> None:
    record(5, somebody)
    assert run(monkeypatch, word, 4, 5) == 1
    said = capsys.readouterr().err
    assert "set LAB_ID to the one that is meant" in said
    assert "\n  4: it is left of a process that has ended\n" in said
    assert f"\n  5: it belongs to the running process {somebody.pid}\n" in said
    assert cleared == []
    if word == "down":
        monkeypatch.setenv("LAB_ID", "4")
        assert run(monkeypatch, word, 4, 5) == 0
        assert cleared == [4]


def test_the_lab_of_a_running_process_is_only_taken_down_by_its_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cleared: list[int], somebody: Process
) -> None:
    record(0, somebody)
    assert run(monkeypatch, "down", 0) == 1
    assert f"belongs to the running process {somebody.pid}; set LAB_ID" in capsys.readouterr().err
    assert cleared == []
    monkeypatch.setenv("LAB_ID", "0")
    assert run(monkeypatch, "down", 0) == 0
    assert cleared == [0]


@pytest.mark.parametrize("others", [(), (0,)])
def test_up_says_how_to_take_it_down_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], others: tuple[int, ...], somebody: Process
) -> None:
    def up(lab: Lab, names: Any, owned: bool = False) -> None:
        lab.hosts = [fleet.Host(lab.settings, 1, "vm1")]

    monkeypatch.setattr(Lab, "up", up)
    for number in others:
        record(number, somebody)
    monkeypatch.setattr(sys, "argv", ["lab", "up", "1"])
    monkeypatch.setattr(command, "existing", lambda: [Lab(Settings(number)) for number in (*others, len(others))])
    assert command.main() == 0
    said = capsys.readouterr().out
    assert f"its hosts reach this machine at 10.{77 + len(others)}.0.1\n" in said
    assert said.endswith("take down: LAB_ID=1 make lab-down\n" if others else "take down: make lab-down\n")
