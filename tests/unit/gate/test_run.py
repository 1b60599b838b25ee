# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate's own decisions: what runs beside what, what is run again, and what it says at the end."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gate import run, steps
from tests.gate.steps import PYTEST, Step

# Fails where the file named by its parameter does not exist yet, and makes it.
ONCE = """
import pathlib
import pytest

@pytest.mark.parametrize("name", {names})
def test_once(name):
    flag = pathlib.Path(__file__).parent / name
    seen = flag.exists()
    flag.touch()
    assert seen or name == "never fails"
    assert name != "always fails"
"""


def shell(name: str, command: str) -> Step:
    return Step(name, ("sh", "-c", command))


def failing(directory: Path, *names: str, hosts: bool = False) -> Step:
    """A step of pytest whose tests fail as their names say."""
    path = directory / "test_sample.py"
    path.write_text(ONCE.format(names=list(names)))
    command = (sys.executable, *PYTEST[1:], "-m", "not nightly", str(path))
    return Step("sample", command, "not nightly", hosts)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory within the tree: pytest has no names that it could find again for tests elsewhere."""
    # Half of the time of each pytest there would be the import of what no test there needs.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    with tempfile.TemporaryDirectory(dir=run.ROOT / ".build") as directory:
        yield Path(directory)


@pytest.fixture
def gate(tmp_path: Path) -> run.Gate:
    (tmp_path / "logs").mkdir()
    return run.Gate(tmp_path / "logs")


def told(gate: run.Gate, lanes: list[list[Step]]) -> str:
    return run.table(gate.results, [step for lane in lanes for step in lane], 1, 2) + run.warning(gate.results)


def test_a_lane_ends_with_its_first_failure_and_the_other_with_the_step_that_it_is_at(gate: run.Gate, tmp_path: Path) -> None:
    begun, flag = tmp_path / "begun", tmp_path / "known"
    fails = f"while ! test -e {begun}; do sleep 0.05; done; exit 3"
    waits = f"touch {begun}; while ! test -e {flag}; do sleep 0.05; done"
    lanes = [[shell("one", fails), shell("two", "true")], [shell("three", waits), shell("four", "true")]]

    def tell() -> None:
        if gate.stopping.wait(60):
            flag.touch()

    threading.Thread(target=tell).start()
    assert gate.run(lanes) == 1
    lines = told(gate, lanes).splitlines()
    words = {line.split()[0]: line.split()[1] for line in lines[2:6]}
    assert words == {"one": "FAILED", "two": "not", "three": "passed", "four": "not"}
    assert lines[-1] == "tests: 0 passed, 0 failed; steps: 1 passed, 1 failed"


def test_the_night_goes_on_after_a_failure(gate: run.Gate, inside: Path) -> None:
    gate.keep_going = True
    lanes = [[shell("one", "exit 3"), failing(inside, "fails once", hosts=True)], [shell("three", "true")]]
    assert gate.run(lanes) == 1
    lines = told(gate, lanes).splitlines()
    assert {line.split()[0]: line.split()[1] for line in lines[2:6]} == {
        "one": "FAILED",
        "sample": "UNSTABLE",
        "three": "passed",
        "sample-again": "passed",
    }


@pytest.mark.parametrize("hosts", [False, True])
def test_a_test_that_passes_when_run_again_is_told_loudly_and_is_no_failure(gate: run.Gate, inside: Path, hosts: bool) -> None:
    lanes = [[failing(inside, "fails once", "never fails", hosts=hosts), shell("after", "true")]]
    assert gate.run(lanes) == 0
    text = told(gate, lanes)
    assert "sample           UNSTABLE" in text
    assert "tests: 2 passed, 0 failed; steps: 2 passed, 0 failed" in text
    assert "UNSTABLE: failed, and passed when run again alone" in text
    assert "::test_once[fails once]" in text
    names = [result.step.name for result in gate.results]
    assert names == (["sample", "after", "sample-again"] if hosts else ["sample", "sample-again", "after"])
    # Files whose tests build on each other are run whole.
    assert ("1 passed" if not hosts else "2 passed") in gate.results[names.index("sample-again")].tests


def test_a_test_that_fails_again_is_a_failure(gate: run.Gate, inside: Path) -> None:
    lanes = [[failing(inside, "always fails", "never fails"), shell("after", "true")]]
    assert gate.run(lanes) == 1
    text = told(gate, lanes)
    assert "UNSTABLE" not in text
    assert "tests: 1 passed, 1 failed; steps: 0 passed, 1 failed" in text
    assert "after            not run" in text


def test_many_failures_are_no_accident(gate: run.Gate, inside: Path) -> None:
    names = [f"fails once {number}" for number in range(steps.MOST_RUN_AGAIN + 1)]
    lanes = [[failing(inside, *names)]]
    assert gate.run(lanes) == 1
    assert [result.step.name for result in gate.results] == ["sample"]


def test_a_command_without_tests_is_never_run_again(gate: run.Gate) -> None:
    assert gate.run([[shell("broken", "exit 1")]]) == 1
    assert [result.step.name for result in gate.results] == ["broken"]


def test_a_signal_stops_all_lanes_and_shows_what_they_were_at(gate: run.Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flag = tmp_path / "begun"
    step = shell("long", f"echo the last line; trap 'exit 1' INT; touch {flag}; while :; do sleep 0.05; done")

    def stop() -> None:
        while not flag.exists():
            time.sleep(0.05)
        gate.stop(signal.SIGTERM, None)

    thread = threading.Thread(target=stop)
    thread.start()
    assert gate.run([[step, shell("next", "true")]]) == 1
    thread.join()
    assert [result.step.name for result in gate.results] == ["long"]
    assert "long is stopped by signal 15" in capsys.readouterr().out


def test_a_signal_stops_also_what_has_just_begun(gate: run.Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come when a process has been started and is not known yet."""
    real = subprocess.Popen

    def begin(*arguments: Any, **options: Any) -> subprocess.Popen[str]:
        process: subprocess.Popen[str] = real(*arguments, **options)
        gate.stop(signal.SIGTERM, None)
        return process

    monkeypatch.setattr(subprocess, "Popen", begin)
    assert gate.run([[shell("long", "while :; do sleep 0.05; done"), shell("next", "true")]]) == 1
    assert [(result.step.name, result.status) for result in gate.results] == [("long", -signal.SIGINT)]


def test_a_step_heeds_the_signal_where_whoever_began_the_gate_ignores_it(gate: run.Gate) -> None:
    """`nohup make test &` does; the step would go on for as long as it likes."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        gate.run([[shell("asks", "kill -INT $$; echo goes on")]])
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert [result.status for result in gate.results] == [-signal.SIGINT]


def test_every_test_is_in_one_step_of_every_day_or_of_the_night() -> None:
    """Every file of the fleet is run once, and by the night whatever its markers are."""
    files = sorted(path.stem for path in (run.ROOT / "tests/fleet").glob("test_*.py"))
    assert files == sorted(name for names in steps.FLEETS.values() for name in names)
    everyday, nightly = (
        {step.name: step for lane in lanes for step in lane if step.selection} for lanes in (steps.everyday(), steps.nightly())
    )
    assert everyday.keys() == nightly.keys() == {"unit", "contract", "integration", "browser", *steps.FLEETS}
    for name, step in everyday.items():
        others = [part for part in step.command if part != steps.EVERYDAY]
        assert [part for part in nightly[name].command if part != steps.EVERYTHING] == others
        assert (step.selection, nightly[name].selection) == (steps.EVERYDAY, steps.EVERYTHING)
        assert others[-1].startswith("tests/fleet/" if name in steps.FLEETS else f"tests/{name}")


def test_the_night_has_the_oldest_core_as_well() -> None:
    assert {step.name for lane in steps.nightly() for step in lane} - {step.name for lane in steps.everyday() for step in lane} == {
        "sanity-oldest"
    }


def test_the_runner_ends_with_one_when_a_step_fails(tmp_path: Path) -> None:
    code = (
        "import sys; from tests.gate import run, steps; run.everyday = lambda: [[steps.Step('broken', ('false',))]];"
        " sys.argv = ['run', 'everyday', '--prepared', '7']; sys.exit(run.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "setup            passed          7" in done.stdout
    assert "broken           FAILED" in done.stdout
