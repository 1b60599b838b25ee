# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The frame of the actions of modules that talk to the control plane alone.

Where a task is for this machine, the module runs in the worker of the controller: no code is packed, no process is started, and no
option is copied more than once. Anywhere else it runs as any other module does.
"""

from __future__ import annotations

import os
import pwd
import sys
import typing as t

from ansible import constants
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator, ValidationResult
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase
from ansible.plugins.action.normal import ActionModule as Normal

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import REQUESTS_IMPORT_ERROR, Invalid
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import forms, redact
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Outcome, Spec, carry_out, check_size
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.quiet import NOT_SHOWN, misplaced
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._in_process.plain import environment, plain

Json = t.Dict[str, t.Any]

# The -v of -vvv.
SHOWS_OPTIONS = 3


class InProcess(Normal):
    """An action with the name of the module that ``spec`` is."""

    spec: t.ClassVar[Spec]

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[Json] = None) -> Json:
        self.variables: Json = task_vars or {}
        options = self._located(self._task.args)
        if self._is_here():
            ActionBase.run(self, tmp, task_vars)
            return self._here(options)
        if options.get("src") and self.spec.hand_over:
            try:
                options = self.spec.hand_over(options)
            except ItemsFailed as failed:
                return dict(failed.result, failed=True, msg=failed.msg, requests=0)
        return self._elsewhere(options, tmp, task_vars)

    def _located(self, options: Json) -> Json:
        """``options`` with the path of ``src``, which is looked for where Ansible's own actions look for files."""
        src = options.get("src") if self.spec.hand_over else None
        if not src:
            return options
        try:
            return dict(options, src=self._find_needle("files", str(src)))  # type: ignore[no-untyped-call]
        except AnsibleError:
            return options  # the module says that it is not there, unless something else is wrong with the options

    def _is_here(self) -> bool:
        """Whether the module would run on this machine, as this user and with this Python, and does not go on in the background."""
        return bool(
            self._connection.transport == "local"
            and not self._task.async_val
            and REQUESTS_IMPORT_ERROR is None
            and self._is_same_user()
            and self._is_same_python()
        )

    def _is_same_user(self) -> bool:
        if not self._connection.become:
            return True
        try:
            become_user = self.get_become_option("become_user")  # type: ignore[no-untyped-call]
            return bool(become_user == pwd.getpwuid(os.geteuid()).pw_name)
        except KeyError:
            return False

    def _is_same_python(self) -> bool:
        """One that somebody chose for the host is used, for it may have other libraries. One that Ansible would look for is not needed."""
        variables = self.variables
        if self._task.delegate_to:
            variables = variables.get("ansible_delegated_vars", {}).get(self._task.delegate_to, {})
        chosen = constants.config.get_config_value("INTERPRETER_PYTHON", variables=variables)
        python = str(self._templar.template(chosen) or "auto")
        return python == sys.executable or python.startswith("auto")

    def _here(self, options: Json) -> Json:
        """What the module returns for ``options``."""
        try:
            check_size(options)
        except Invalid as error:
            return {"failed": True, "msg": str(error), "failure": error.as_failure(), "requests": 0}
        values: Json = {}
        self._compute_environment_string(values)  # type: ignore[no-untyped-call]
        with environment(values):
            found = ArgumentSpecValidator(self.spec.argument_spec(), **self.spec.checks).validate(plain(options))
            call = Call(found.validated_parameters, bool(self._task.check_mode), bool(self._task.diff))
            call.hide(found._no_log_values)
            if found.error_messages:
                call.hide(misplaced(call.params, self.spec.argument_spec()))
            outcome = Outcome({}, redact(self._wrong(found))) if found.error_messages else carry_out(self.spec, call)
        return self._answer(found, call, outcome)

    def _answer(self, found: ValidationResult, call: Call, outcome: Outcome) -> Json:
        """``outcome`` as AnsibleModule would hand it on."""
        result = dict(outcome.result)
        if outcome.msg is not None:
            result.update(failed=True, msg=outcome.msg)
        if self._shows_options():
            # Among options that are refused may be a secret under a wrong name.
            shown = dict.fromkeys(call.params, NOT_SHOWN) if found.error_messages else dict(call.params)
            result["invocation"] = {"module_args": shown}
        call.warnings.extend(f"Both option {both['option']} and its alias {both['alias']} are set." for both in found._warnings)
        if call.warnings:
            result["warnings"] = call.warnings
        if found._deprecations:
            result["deprecations"] = found._deprecations
        return censored(result, call.secrets)

    def _shows_options(self) -> bool:
        """Whether the result has what the module was given. From ansible-core 2.21 on a setting says so; before, it was shown from -vvv on."""
        try:
            return bool(constants.config.get_config_value("INJECT_INVOCATION", variables=self.variables))
        except AnsibleError:
            return bool(self._display.verbosity >= SHOWS_OPTIONS)

    def _wrong(self, found: ValidationResult) -> str:
        msg = str(found.errors.msg)
        if isinstance(found.errors[0], UnsupportedError):
            return f"Unsupported parameters for ({self._task.action}) module: {msg}"
        return msg

    def _elsewhere(self, options: Json, tmp: t.Optional[str], task_vars: t.Optional[Json]) -> Json:
        given = self._task.args
        self._task.args = options
        try:
            result: Json = super().run(tmp, task_vars)  # type: ignore[no-untyped-call]
        finally:
            self._task.args = given
        return result


def censored(result: Json, secrets: t.AbstractSet[str]) -> Json:
    """``result`` without any of ``secrets``. ansible-core 2.18 would take ``True`` for one of them where a secret is called like it."""
    kept = {key: value for key, value in result.items() if value is None or isinstance(value, bool)}
    return dict(remove_values(result, {form for secret in secrets for form in forms(secret)}), **kept)
