# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs ansible-playbook as a user would, and tells what happened on which host."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.processes import with_environment
from tests.lab.settings import repository

# Actions that run no module on the VM: they cost the controller a few milliseconds and the VM nothing.
ACTIONS_ONLY = {
    "add_host", "assert", "debug", "fail", "group_by", "import_playbook", "import_role", "import_tasks", "include_role", "include_tasks",
    "include_vars", "inventory_check", "meta", "pause", "set_fact", "set_stats", "validate_argument_spec",
}  # fmt: skip


@dataclass
class Run:
    """One ansible-playbook run: exit code, what a user would have seen, and the journal of the lab's callback."""

    code: int
    output: str
    seconds: float
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def results(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == "result"]

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that started, in order; number k of LAB_ABORT_AT is the k-th of them."""
        return [event["task"] for event in self.events if event["event"] == "task"]

    @property
    def acting(self) -> list[int]:
        """Numbers of the tasks that were not skipped on every host."""
        found, number = [], 0
        for event in self.events:
            if event["event"] == "task":
                number = event["number"]
            elif event["event"] == "result" and event["status"] != "skipped" and number not in found:
                found.append(number)
        return found

    @property
    def stats(self) -> dict[str, dict[str, int]]:
        found = [event["hosts"] for event in self.events if event["event"] == "stats"]
        return found[-1] if found else {}

    @property
    def changed(self) -> dict[str, int]:
        """Changed tasks by host, without the hosts that have none."""
        return {host: counts["changed"] for host, counts in self.stats.items() if counts["changed"]}

    @property
    def messages(self) -> str:
        """The messages of what failed."""
        return "\n".join(
            str(event["msg"]) for event in self.results if event["status"] in ("failed", "unreachable") and not event["ignored"]
        )

    @property
    def warnings(self) -> list[str]:
        return [str(warning) for event in self.results for warning in event["warnings"]]

    def vm_tasks(self, host: str) -> list[str]:
        """Modules that ran on a VM, by the tasks that ran them. An action tells which ones it ran itself."""
        found: list[str] = []
        for event in self.results:
            if event["host"] != host or event["local"] or event["status"] == "skipped":
                continue
            if event["visits"] is not None:
                found += [f"{event['task']}: {module}" for module in event["visits"]]
            elif event["action"].rpartition(".")[2] not in ACTIONS_ONLY:
                found.append(event["task"])
        return found

    def explain(self) -> str:
        """For the message of a failed assertion."""
        return f"exit code {self.code}\n{self.output[-6000:]}"


@dataclass
class Ansible:
    """ansible-playbook in a directory of its own, with the settings a careful user would have."""

    directory: Path
    inventory: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "cp").mkdir(exist_ok=True)
        (self.directory / "ansible.cfg").write_text(
            "[defaults]\nforks = 20\nhost_key_checking = true\nresult_format = yaml\n"
            f"callback_plugins = {repository() / 'tests/lab/callback_plugins'}\ncallbacks_enabled = lab_events, lab_everything\n"
            f"[ssh_connection]\npipelining = true\ncontrol_path_dir = {self.directory / 'cp'}\n"
        )

    def playbook(
        self,
        playbook: Path | str,
        *arguments: str,
        extra: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        abort_at: int = 0,
        timeout: float = 600.0,
        stop: Any = None,
    ) -> Run:
        """Run a playbook. `abort_at`: kill it when that task starts. `stop`: a threading.Event that kills it when set."""
        events = Path(tempfile.mkstemp(dir=self.directory, suffix=".events")[1])
        collections = os.environ.get("ANSIBLE_COLLECTIONS_PATH") or str(repository() / ".build/collections")
        variables = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": collections,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "tmp"),
            "LAB_EVENTS": str(events),
            "LAB_ABORT_AT": str(abort_at),
            **self.environment,
            **(environment or {}),
        }
        command = ["ansible-playbook", "-i", str(self.inventory), str(playbook), *arguments]
        if extra:
            command += ["--extra-vars", json.dumps(extra)]
        started = time.monotonic()
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=variables,
                start_new_session=True,
            )
            try:
                code = self._wait(process, timeout, stop)
            finally:
                if process.poll() != 0:
                    _end_session(process, events)
            output.seek(0)
            text = output.read()
        journal = [json.loads(line) for line in events.read_text().splitlines()]
        events.unlink()
        return Run(code, text, time.monotonic() - started, journal)

    @staticmethod
    def _wait(process: subprocess.Popen[bytes], timeout: float, stop: Any) -> int:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if stop is not None and stop.is_set():
                return -signal.SIGKILL
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.05 if stop is not None else timeout)
        raise TimeoutError(f"ansible-playbook took longer than {timeout:.0f} s")

    def close(self) -> None:
        """End the SSH connections that are kept open for the next run."""
        for path in (self.directory / "cp").iterdir():
            subprocess.run(["ssh", "-O", "exit", "-o", f"ControlPath={path}", "host"], capture_output=True, check=False)


def _end_session(process: subprocess.Popen[bytes], events: Path) -> None:
    """Kill what a run that did not end well has left: its workers are sessions of their own and would go on."""
    process.kill()
    process.wait()
    for pid in with_environment(f"LAB_EVENTS={events}"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
