# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the gate: lanes side by side, failed tests once more, and a table of steps and times at the end."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.gate.steps import Step, everyday, nightly

ROOT = Path(__file__).resolve().parents[2]
# Of whoever starts the gate: the lanes boot labs of their own, and the contract is that of the stand-in.
NOT_OURS = ("LAB_ID", "URL", "TOKEN_FILE")
CLOSING_LINE = re.compile(r"\d+ (?:passed|failed|skipped|deselected|errors?)[^=]* in [0-9.]+s")
LINES_OF_UNFINISHED = 60


@dataclass
class Result:
    """Of one step. `unstable` are tests that failed and passed when they were run again."""

    step: Step
    seconds: float
    status: int
    log: Path
    failed: list[str] = field(default_factory=list)
    unstable: list[str] = field(default_factory=list)

    @property
    def word(self) -> str:
        if self.status:
            return "FAILED"
        return "UNSTABLE" if self.unstable else "passed"

    @property
    def tests(self) -> str:
        """pytest's closing line, such as `12 passed, 1 skipped in 0.50s`."""
        found = CLOSING_LINE.findall(self.log.read_text(errors="replace"))
        return found[-1] if found else ""


class Gate:
    """What runs and what came of it; lanes are threads. With `keep_going` steps after a failure are run all the same."""

    def __init__(self, directory: Path, keep_going: bool = False) -> None:
        self.directory, self.keep_going = directory, keep_going
        self.results: list[Result] = []
        self.running: dict[str, subprocess.Popen[str]] = {}
        self.later: list[Result] = []
        # After a failure lanes end with the step that they are at, after a signal at once.
        self.stopping = threading.Event()
        self.interrupted = threading.Event()
        self.lock = threading.Lock()

    def say(self, text: str) -> None:
        with self.lock:
            print(text, flush=True)

    def lane(self, steps: Sequence[Step]) -> None:
        """All of them, or until one fails for good here or elsewhere."""
        for step in steps:
            if self.stopping.is_set():
                return
            result = self.execute(step)
            again = step.again(result.failed) if result.status == 1 else None
            if again and step.hosts:
                self.later.append(result)
            elif again:
                self.once_more(result, again)
            if result.status and result not in self.later and not self.keep_going:
                self.stopping.set()

    def once_more(self, result: Result, again: Step) -> None:
        """Run what failed again, alone; passing then is told at the end, and is no failure."""
        self.say(f"\n#### {result.step.name}: {', '.join(result.failed)} failed and will be run again alone")
        if self.execute(again).status == 0:
            result.status, result.unstable = 0, result.failed

    def execute(self, step: Step) -> Result:
        """Run the command; its output is shown at its end, or line by line where that is far away."""
        log, failed = self.directory / f"{step.name}.log", self.directory / f"{step.name}.failed"
        environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        environment |= {"GATE_FAILED": str(failed), "PYTHONUNBUFFERED": "1"}
        began = time.monotonic()
        self.say(f"==== {step.name} begins")
        with log.open("w") as output:
            process = subprocess.Popen(
                step.command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                # A process group of its own, which can be told to end as a whole.
                start_new_session=True,
            )
            self.running[step.name] = process
            if self.interrupted.is_set():
                # The signal came before this process was known.
                _interrupt(process)
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    output.write(line)
                    output.flush()
                    if step.hosts:
                        self.say(f"[{step.name}] {line.rstrip()}")
        status = process.wait()
        del self.running[step.name]
        names = failed.read_text().splitlines() if failed.exists() else []
        result = Result(step, time.monotonic() - began, status, log, list(dict.fromkeys(names)))
        self.results.append(result)
        if step.hosts:
            self.say(f"\n==== {step.name}: {result.word}")
        else:
            self.say(f"\n==== {step.name}: {result.word}\n{log.read_text(errors='replace')}")
        return result

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """After Ctrl-C or a polite kill: the same for all that runs."""
        self.stopping.set()
        self.interrupted.set()
        for name, process in list(self.running.items()):
            tail = "\n".join((self.directory / f"{name}.log").read_text(errors="replace").splitlines()[-LINES_OF_UNFINISHED:])
            print(f"\n==== {name} is stopped by signal {number}; its last lines:\n{tail}", flush=True)
            _interrupt(process)

    def run(self, lanes: Sequence[Sequence[Step]]) -> int:
        threads = [threading.Thread(target=self.lane, args=(steps,)) for steps in lanes]
        with _heeding():
            for thread in threads:
                thread.start()
            for thread in threads:
                # With a limit, so that a signal is looked at while it waits.
                while thread.is_alive():
                    thread.join(1)
            for result in self.later:
                again = result.step.again(result.failed)
                if again and not self.stopping.is_set():
                    self.once_more(result, again)
        judged = [step for lane in lanes for step in lane]
        return 1 if self.stopping.is_set() or any(result.status for result in self.results if result.step in judged) else 0


@contextlib.contextmanager
def _heeding() -> Iterator[None]:
    """Let what is started be told by SIGINT to end: `nohup` and a shell's `&` ignore it, and whoever is started below them would, too."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    # Not for each process as it is started: between its start and that, the signal would be lost.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt(process: subprocess.Popen[str]) -> None:
    """SIGINT for all that a step runs, for that is what pytest tidies up on."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)


def table(results: Sequence[Result], steps: Sequence[Step], prepared: float, total: float) -> str:
    """Steps, what came of them, seconds, and how many tests; then the sums. Steps that did not begin are in it too."""
    rows = [f"{'step':16} {'result':9} {'seconds':>7}  tests", f"{'setup':16} {'passed':9} {prepared:7.0f}"]
    found = {result.step.name: result for result in results}
    again = [result.step for result in results if result.step not in steps]
    for step in [*steps, *again]:
        result = found.get(step.name)
        rows.append(f"{step.name:16} {result.word:9} {result.seconds:7.0f}  {result.tests}" if result else f"{step.name:16} not run")
    rows.append(f"{'total':16} {'':9} {total:7.0f}")
    judged = [result for result in results if result.step in steps]
    unstable = sum(len(result.unstable) for result in judged)
    passed = sum(not result.status for result in judged)
    rows.append(
        f"tests: {count(judged, 'passed') + unstable} passed, {count(judged, 'failed') + count(judged, 'errors?') - unstable} failed;"
        f" steps: {passed} passed, {len(judged) - passed} failed"
    )
    return "\n".join(rows)


def count(results: Sequence[Result], word: str) -> int:
    """How many tests have this word in pytest's closing lines."""
    return sum(int(number) for result in results for number in re.findall(rf"(\d+) {word}\b", result.tests))


def warning(results: Sequence[Result]) -> str:
    """What nobody may overlook: tests that passed only when they were run again."""
    lines = [f"#   {name}" for result in results for name in result.unstable]
    if not lines:
        return ""
    frame = "#" * 100
    return "\n".join([frame, "# UNSTABLE: failed, and passed when run again alone. Find out why:", *lines, frame])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("everyday", "nightly"))
    parser.add_argument("--prepared", type=float, default=0.0, help="seconds that the setup took")
    arguments = parser.parse_args()
    began = time.monotonic() - arguments.prepared
    lanes = nightly() if arguments.kind == "nightly" else everyday()
    if arguments.kind == "nightly":
        os.environ["HYPOTHESIS_PROFILE"] = "nightly"
    with tempfile.TemporaryDirectory(prefix="meshfleet-gate-") as directory:
        # The night is there to find all that is wrong.
        gate = Gate(Path(directory), keep_going=arguments.kind == "nightly")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, gate.stop)
        status = gate.run(lanes)
        print()
        print(table(gate.results, [step for lane in lanes for step in lane], arguments.prepared, time.monotonic() - began))
        if told := warning(gate.results):
            print(told)
    return status


if __name__ == "__main__":
    sys.exit(main())
