# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a step of a role against a VM that answers what a test says, without a play."""

from __future__ import annotations

import types

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action
from tests.unit import parsed

ROOT = action.ROOT
DEFAULTS = {name: value for path in ROOT.glob("roles/*/defaults/main.yml") for name, value in parsed.file(path).items()}


class Vm:
    """``answers`` are the results of modules by their name, or what is called with their options; ``calls`` what was run, in order."""

    def __init__(self, **answers):
        self.answers, self.calls = answers, []

    def __call__(self, module_name, module_args, task_vars):
        name = module_name.removeprefix("meshfleet.kuma.")
        self.calls.append((name, module_args))
        answer = self.answers[name]
        return {"changed": False, **(answer(module_args) if callable(answer) else answer)}

    @property
    def names(self):
        return [name for name, _options in self.calls]

    def options(self, module):
        """What the module was told the last time."""
        return [options for name, options in self.calls if name == module][-1]


def made(module, vm, variables, check=False, diff=False):
    """The action of a plugin's file, ready for its step, whose host has these variables and else the defaults of the roles."""
    own = module.ActionModule.__new__(module.ActionModule)
    own._task = types.SimpleNamespace(check_mode=check, diff=diff)
    context = types.SimpleNamespace(no_log=False)
    own._connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None), reset=lambda: None, _play_context=context)
    own.removed = []
    own._remove_tmp_path = lambda path: own.removed.append((path, vm.names[-1]))
    own.variables = {"playbook_dir": "/nowhere", "ansible_play_hosts_all": ["cp"], **variables}
    own.host, own.check, own.warnings, own.visits = "cp", check, [], []
    own.role = own.ARGUMENTS["role"]["default"]
    known = {**DEFAULTS, **variables}

    def value(name):
        if name not in known:
            raise action.Unset(name)
        assert "{{" not in str(known[name]), f"say what {name} is: nothing fills templates in here"
        return known[name]

    own.value = value
    own._execute_module = vm
    own.render = lambda template, filled_in, role: f"{role}/{template}"
    own.sent = []
    own.send = lambda archive: own.sent.append(archive) or "/tmp/of-the-vm/archive.tar.gz"
    return own
