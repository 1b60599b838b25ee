# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs one step of a role without Ansible: a host with variables, and a VM that answers modules."""

from __future__ import annotations

import types

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed


class HostVars(dict):
    """What Ansible calls hostvars, as far as steps use it."""

    def raw_get(self, host):
        return self[host]


class Vm:
    """Answers as the modules do, with ``{module: answer}``; a module that has none changes something. ``calls`` is what ran, with its options.

    ``removed`` are the modules after which the arguments of all of them were taken off the VM.
    """

    def __init__(self, answers=None):
        self.answers, self.calls, self.removed = answers or {}, [], []

    def __call__(self, module_name, module_args, task_vars):
        name = module_name.rpartition(".")[2]
        self.calls.append((name, dict(module_args)))
        return {"changed": True, **self.answers.get(name, {})}

    @property
    def modules(self):
        return [name for name, _options in self.calls]


def step(module, params, variables=None, *, role="kuma_dp", host="web-1", play=("web-1",), hosts=None, check=False, vm=None):
    """``(result, vm)`` of an action; ``hosts`` are the variables of all hosts. A failure is ``{failed, msg}``."""
    action = module.ActionModule.__new__(module.ActionModule)
    vm = vm or Vm()
    known = {host: dict(variables or {}), **(hosts or {})}
    action.variables = {
        **known[host], "inventory_hostname": host, "ansible_play_hosts": list(play), "ansible_play_hosts_all": list(known),
        "hostvars": HostVars(known), "groups": {},
    }  # fmt: skip
    action.host, action.role, action.params, action.check = host, role, {"role": role, **params}, check
    action.warnings, action.visits = [], []
    action._templar = types.SimpleNamespace(template=lambda value: value)
    action._execute_module = vm
    action._connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir="/tmp/of-the-vm"))
    action._remove_tmp_path = lambda path: vm.removed.append(vm.modules[-1])
    action.render = lambda template, _variables: template
    try:
        return action.step(), vm
    except ItemsFailed as failed:
        return {"failed": True, "msg": failed.msg}, vm


def only(calls, name):
    """The options of the only call of a module."""
    found = [options for called, options in calls if called == name]
    if len(found) != 1:
        pytest.fail(f"{name} was called {len(found)} times")
    return found[0]
