# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes what happens in a play to the file LAB_EVENTS, one JSON object a line.

LAB_ABORT_AT=N kills the whole session of ansible-playbook when task number N starts, as a lost controller would.
"""

from __future__ import annotations

import json
import os
import signal
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: lab_events
type: aggregate
short_description: Journal of a play for the tests
description: Writes one JSON object per event to the file that the environment variable LAB_EVENTS names.
requirements: [enable it]
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "lab_events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._file = open(os.environ["LAB_EVENTS"], "a")  # noqa: SIM115
        self._abort_at = int(os.environ.get("LAB_ABORT_AT", "0"))
        self._tasks = 0

    def _write(self, **event):
        self._file.write(json.dumps({"time": time.time(), **event}, default=str) + "\n")
        self._file.flush()

    def _task(self, task):
        self._tasks += 1
        self._write(event="task", number=self._tasks, task=task.get_name(), action=task.resolved_action or task.action)
        if self._tasks == self._abort_at:
            os.killpg(0, signal.SIGKILL)

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._task(task)

    def v2_playbook_on_handler_task_start(self, task):
        self._task(task)

    def _result(self, status, result, ignored=False):
        task, content = result._task, result._result
        delegated = content.get("_ansible_delegated_vars") or {}
        self._write(
            event="result",
            host=result._host.get_name(),
            task=task.get_name(),
            action=task.resolved_action or task.action,
            status=status,
            ignored=ignored,
            changed=bool(content.get("changed")),
            local=bool(task.delegate_to) or bool(delegated),
            msg=content.get("msg") or "",
            warnings=content.get("warnings") or [],
            diff=content.get("diff"),
            requests=content.get("requests"),
            visits=content.get("visits"),
            result={key: value for key, value in content.items() if key in ("results", "action", "plan", "problems", "failure")},
        )

    def v2_runner_on_ok(self, result):
        self._result("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._result("failed", result, ignored=ignore_errors)

    def v2_runner_on_unreachable(self, result):
        self._result("unreachable", result)

    def v2_runner_on_skipped(self, result):
        self._result("skipped", result)

    def v2_playbook_on_stats(self, stats):
        self._write(event="stats", hosts={host: stats.summarize(host) for host in sorted(stats.processed)})
