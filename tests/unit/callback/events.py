# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A play that is told to the callback event by event, and what stands in for Ansible in it."""

from __future__ import annotations

import itertools
import types

from ansible_collections.meshfleet.kuma.plugins.callback.fleet import CallbackModule

OPTIONS = {
    "display_skipped_hosts": True,
    "display_ok_hosts": True,
    "display_failed_stderr": False,
    "show_custom_stats": False,
    "show_per_host_start": False,
    "check_mode_markers": False,
    "show_task_path_on_failure": False,
    "result_format": "json",
    "pretty_results": None,
}
NUMBERS = itertools.count()


class Screen:
    """Ansible's display, as far as it is asked here."""

    def __init__(self, verbosity):
        self.verbosity, self.columns = verbosity, 79
        self.lines, self.errors = [], []

    def display(self, msg, color=None, stderr=False, screen_only=False, log_only=False):
        if not log_only:
            (self.errors if stderr else self.lines).extend(str(msg).split("\n"))

    def banner(self, msg, color=None, cows=True):
        self.display(f"\n{msg}")


class Task:
    def __init__(self, name="a task", action="ansible.builtin.command", **others):
        self.name, self.action, self._uuid = name, action, f"uuid-{next(NUMBERS)}"
        self.loop = self.delegate_to = self.no_log = self.run_once = self.check_mode = self.ignore_unreachable = None
        self.args = {}
        vars(self).update(others)

    def get_name(self):
        return self.name

    def get_path(self):
        return "site.yml:7"


def host(name):
    return types.SimpleNamespace(get_name=lambda: name)


def old_result(name, task, **content):
    return types.SimpleNamespace(_host=host(name), _task=task, _result=content)


def new_result(name, task, **content):
    return types.SimpleNamespace(
        host=host(name), task=task, result=content, warnings=content.get("warnings", []), deprecations=[], exception=None
    )


class Play:
    """A play that is told to the callback event by event."""

    def __init__(self, make, verbosity=0, strategy="linear", **options):
        self.make = make
        self.callback = CallbackModule()
        self.callback._display = self.screen = Screen(verbosity)
        self.callback._plugin_options = {**OPTIONS, **options}
        # How it is printed is the default's matter, and differs between releases.
        self.callback._handle_warnings = self.warn
        self.strategy = strategy
        self.start()

    def warn(self, content):
        for warning in content.pop("warnings", []):
            self.screen.errors.append(f"[WARNING]: {warning}")

    def start(self):
        play = types.SimpleNamespace(get_name=lambda: "Join", check_mode=False, strategy=self.strategy)
        self.callback.v2_playbook_on_play_start(play)

    def begin(self, task):
        self.callback.v2_playbook_on_task_start(task, is_conditional=False)
        return task

    def tell(self, event, name, task, ignore_errors=None, **content):
        arguments = {} if ignore_errors is None else {"ignore_errors": ignore_errors}
        getattr(self.callback, f"v2_runner_{event}")(self.make(name, task, **content), **arguments)

    def over(self, **hosts):
        nothing = dict.fromkeys(("ok", "changed", "unreachable", "failures", "skipped", "rescued", "ignored"), 0)
        stats = types.SimpleNamespace(processed=hosts, custom={}, summarize=lambda name: {**nothing, **hosts[name]})
        self.callback.v2_playbook_on_stats(stats)

    def said(self):
        """What was printed since the last time."""
        self.callback._flush()
        lines, self.screen.lines = "\n".join(self.screen.lines), []
        return lines.strip("\n")
