# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of this machine, told apart from later ones that got the same number."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Children are reaped when they are ended. Until then they are kept here: they may outlive whoever started them.
_children: dict[int, subprocess.Popen[Any]] = {}


@dataclass(frozen=True)
class Process:
    """A process id together with the start time the kernel keeps for it (clock ticks since boot)."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        return cls(pid, start_time(pid) or 0)

    @property
    def alive(self) -> bool:
        return self.started != 0 and start_time(self.pid) == self.started

    def end(self, patience: float = 10.0) -> None:
        """Ask it to end, then kill it. Does nothing when the number belongs to another process by now."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.alive:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: not self.alive, patience, f"process {self.pid} to end")
        if self.pid in _children:
            _children.pop(self.pid).wait(patience)

    def as_json(self) -> dict[str, int]:
        return {"pid": self.pid, "started": self.started}


def spawn(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a process in a session of its own, so that Ctrl-C does not reach it; options are those of Popen."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    _children[child.pid] = child
    return child


def start_time(pid: int) -> int | None:
    """None for no process and for one that has ended but was not waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def command_lines() -> Iterator[tuple[int, list[str]]]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(words):
            yield int(path.parent.name), words


def with_environment(variable: str) -> Iterator[int]:
    """Process ids that were started with this NAME=value, or with one that starts so."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if any(entry.startswith(variable.encode()) for entry in path.read_bytes().split(b"\0")):
                yield int(path.parent.name)


def wait_until(condition: Callable[[], Any], timeout: float, what: str, interval: float = 0.05) -> Any:
    """Poll until the condition is true and return its value. Raises TimeoutError naming what was waited for."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:.0f} s for {what}")
        time.sleep(interval)
