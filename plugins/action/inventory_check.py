# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.inventory_check, whose documentation is in plugins/modules/inventory_check.py.

It runs inside the worker process of the controller: a module would have to be told all variables of all hosts.
"""

from __future__ import annotations

import re
import sys
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import REQUESTS_IMPORT_ERROR
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.findings import Findings, NotYet, Value
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.vocabulary import vocabulary

Result = t.Dict[str, t.Any]
Variables = t.Mapping[str, t.Any]

ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "proxies": {"type": "list", "elements": "str", "default": []},
    "zone_proxies": {"type": "list", "elements": "str", "default": []},
    "requests": {"type": "bool", "default": True},
}
NAMES = ("kuma_dp_mesh", "kuma_dp_name", "kuma_dp_proxies", "kuma_zone_proxy_name", "kuma_zone_proxy_proxies")
# Other types, such as what is encrypted, are not looked into.
PLAIN = (str, bool, int, float, list, dict, type(None))

_ALIAS = re.compile(r"\{\{ *(\w+) *\}\}")


class ActionModule(ActionBase):
    """Reads the variables of all hosts, and nothing else."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[Result] = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        _validation, params = ActionBase.validate_argument_spec(self, ARGUMENTS)
        variables = task_vars or {}
        findings = Findings(vocabulary())
        self._look(findings, variables, params)
        problems = [_missing(REQUESTS_IMPORT_ERROR)] if params["requests"] and REQUESTS_IMPORT_ERROR is not None else []
        problems += findings.problems()
        warnings = findings.warnings()
        result.update(changed=False, problems=problems)
        if warnings:
            result["warnings"] = warnings
        if problems:
            result.update(failed=True, msg=_message(problems))
        return result

    def _look(self, findings: Findings, variables: Result, params: Result) -> None:
        hostvars = variables["hostvars"]
        mesh, zone = set(params["proxies"]), set(params["zone_proxies"])
        wanted = dict.fromkeys([*params["proxies"], *params["zone_proxies"]])
        in_play = variables["ansible_play_hosts_all"]
        # In the order of the inventory, which filters do not keep. Nobody may be in a fleet because the variable that names its group
        # is misspelt.
        hosts = list(dict.fromkeys([*(host for host in in_play if host in wanted), *wanted])) or in_play
        # One for all hosts: to make one costs more than to fill a name in.
        self._filler = self._templar.copy_with_new_env(available_variables=variables)
        first = variables["inventory_hostname"]
        inventory = hostvars.raw_get(first)
        findings.play(sorted(variables.keys() - inventory.keys()))
        # What a play sets holds for all hosts, before the inventory. Where there are roles it may be a default of theirs, and holds after it.
        given = {name: variables[name] for name in NAMES if name in variables and variables[name] != inventory.get(name)}
        weak = self._task._role is not None or bool(variables.get("ansible_role_names"))
        if weak:
            given = {name: value for name, value in given.items() if not _is_template(value)}
        for host in hosts:
            known = inventory if host == first else hostvars.raw_get(host)
            if not hasattr(known, "keys"):
                continue  # it is not in the inventory
            findings.variables(host, known)
            if host == first:
                value = self._values(variables, variables)
            else:
                value = self._values({**given, **known} if weak else {**known, **given}, dict(known, hostvars=hostvars))
            if host in mesh:
                findings.proxies(host, "kuma_dp", value)
            if host in zone:
                findings.proxies(host, "kuma_zone_proxy", value)
            if host in mesh or host in zone:
                findings.mesh(host, value)

    def _values(self, variables: Variables, context: Result) -> Value:
        def value(name: str, default: t.Any) -> t.Any:
            if name not in variables:
                return default
            found = variables[name]
            # Most names that are templates are {{ inventory_hostname }}, and the engine takes two milliseconds for each.
            alias = _ALIAS.fullmatch(found) if isinstance(found, str) else None
            if alias and isinstance(context.get(alias[1]), str):
                found = context[alias[1]]
            if _is_template(found):
                self._filler.available_variables = context
                try:
                    found = self._filler.template(found)
                # Filters and tests of others raise what they like, and ansible-core 2.18 lets that through.
                except Exception as error:
                    raise NotYet(str(error)) from error
            if _is_template(found) or not isinstance(found, PLAIN):
                raise NotYet(name)
            return found

        return value


def _is_template(value: t.Any) -> bool:
    """Whether a name, or one of the names of several proxies, has to be filled in."""
    if isinstance(value, list):
        return any(_is_template(item.get("name") if isinstance(item, dict) else item) for item in value)
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _missing(trace: str) -> str:
    return (
        f"The Python that runs Ansible, {sys.executable}, cannot import requests, which talks to the control plane "
        f"({trace.strip().splitlines()[-1]}). Install it: {sys.executable} -m pip install requests"
    )


def _message(problems: t.Sequence[str]) -> str:
    lines = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(problems, 1))
    return f"Nothing was asked and nothing was written. {len(problems)} problem{' was' if len(problems) == 1 else 's were'} found:\n{lines}"
