# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the action of a module in this process, as a task would, and checks what it returns against RETURN of the module."""

from __future__ import annotations

import importlib
import sys
import types

from ansible.parsing.dataloader import DataLoader

from tests.unit import return_docs

COLLECTION = "ansible_collections.meshfleet.kuma.plugins.action"


class Templar:
    """Fills in nothing but what every task has: the tests give no other templates."""

    def template(self, value):
        return sys.executable if value == "{{ ansible_playbook_python }}" else value


def task(name, options, **fields):
    """A task as its action sees it, once all templates are filled in."""
    known = {"async_val": 0, "check_mode": False, "diff": False, "delegate_to": None, "environment": None, "_role": None}
    found = types.SimpleNamespace(action=f"meshfleet.kuma.{name}", args=options, **{**known, **fields})
    found.get_search_path = list
    return found


def connection(transport="local", become_user=None):
    become = types.SimpleNamespace(get_option=lambda option: become_user) if become_user else None
    shell = types.SimpleNamespace(tmpdir=None, env_prefix=lambda **values: "")
    return types.SimpleNamespace(transport=transport, become=become, _shell=shell, has_native_async=False)


def action(name, options, reached=None, loader=None, cls=None, **fields):
    """The action of a task. ``reached`` is how it gets to its host; modules that it starts there are in ``started``."""
    cls = cls or importlib.import_module(f"{COLLECTION}.{name}").ActionModule
    made = cls(task(name, options, **fields), reached or connection(), None, loader or DataLoader(), Templar())
    made._display = types.SimpleNamespace(verbosity=0)
    made.started = []

    def execute_module(task_vars=None, wrap_async=False):
        made.started.append((made._task.args, bool(wrap_async)))
        return {"changed": False, "ran": "elsewhere"}

    made._execute_module = execute_module
    made._remove_tmp_path = lambda path: None
    return made


def run(name, options, check=False, diff=False, verbosity=4, **fields):
    """The result of a module that runs in the controller; ``failed`` is True in it when it failed."""
    made = action(name, options, check_mode=check, diff=diff, **fields)
    made._display.verbosity = verbosity
    result = made.run(task_vars={})
    assert made.started == []
    return_docs.validate(result, name)
    return result
