# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.inventory_check, whose documentation is in plugins/modules/inventory_check.py.

It runs inside the worker process of the controller: a module would have to be told all variables of all hosts.
"""

from __future__ import annotations

import sys
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import REQUESTS, REQUESTS_IMPORT_ERROR
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import inspection
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.findings import Findings
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.values import Values
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.vocabulary import specifications, vocabulary

Result = t.Dict[str, t.Any]

HOSTS: t.Dict[str, t.Any] = {"type": "list", "elements": "str", "default": []}
ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    **dict.fromkeys(inspection.KINDS, HOSTS),
    "purpose": {"type": "str", "choices": list(inspection.PURPOSES)},
    "requests": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):
    """Reads the variables of all hosts, and nothing else."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[Result] = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        _validation, params = ActionBase.validate_argument_spec(self, ARGUMENTS)
        findings = Findings(vocabulary())
        self._look(findings, task_vars or {}, params)
        problems = [_missing(REQUESTS_IMPORT_ERROR)] if params["requests"] and REQUESTS_IMPORT_ERROR is not None else []
        problems += findings.problems()
        warnings = findings.warnings()
        result["changed"] = False
        if warnings:
            result["warnings"] = warnings
        if problems:
            result.update(failed=True, msg=_message(problems))
        return result

    def _look(self, findings: Findings, variables: Result, params: Result) -> None:
        # One for all hosts: to make one costs more than to fill a name in.
        filler = self._templar.copy_with_new_env(available_variables=variables)
        in_role = self._task._role is not None or bool(variables.get("ansible_role_names"))
        values = Values(variables, filler, in_role)
        hosts = {kind: params[kind] for kind in inspection.KINDS}
        inspection.Inspection(findings, values, specifications(), hosts, params["purpose"]).look(variables["ansible_play_hosts_all"])


def _missing(trace: str) -> str:
    return (
        f"The Python that runs Ansible, {sys.executable}, cannot import requests {REQUESTS} or later, which talks to the control plane "
        f"({trace.strip().splitlines()[-1]}). Install it: {sys.executable} -m pip install 'requests>={REQUESTS}'"
    )


def _message(problems: t.Sequence[str]) -> str:
    lines = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(problems, 1))
    return f"Nothing was asked and nothing was written. {len(problems)} problem{' was' if len(problems) == 1 else 's were'} found:\n{lines}"
