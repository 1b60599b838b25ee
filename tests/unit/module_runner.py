# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module in this process, as Ansible would: arguments in, result out, and the result is checked against its RETURN."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from unittest import mock

from ansible.module_utils import basic
from ansible.module_utils.common import warnings as common_warnings

from tests.unit import return_docs

try:
    from ansible.module_utils.testing import patch_module_args
except ImportError:  # ansible-core 2.18

    def patch_module_args(args):
        return mock.patch.object(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode())


COLLECTION = "ansible_collections.meshfleet.kuma.plugins.modules"


def _as_on_a_target():
    """Tests of filters import the controller's code, after which warnings no longer go into results (core 2.19 and later)."""
    internal = sys.modules.get("ansible.module_utils._internal")
    if not hasattr(internal, "is_controller"):
        return contextlib.nullcontext()
    return mock.patch.object(internal, "is_controller", False)


def run(module, args, check=False, diff=False, log=None):
    """The result of a module of this collection; ``failed`` is True in it when it failed.

    ``log``, a list, gets what the module writes to the system log. AssertionError when RETURN does not describe the result.
    """
    told = {"module_name": f"meshfleet.kuma.{module}", "check_mode": check, "diff": diff, "verbosity": 4}
    given = {**args, **{f"_ansible_{name}": value for name, value in told.items()}}
    for kept in (common_warnings._global_warnings, common_warnings._global_deprecations):
        kept.clear()  # they last as long as the process, which is one module's otherwise
    messages = log if log is not None else []
    printed = io.StringIO()
    main = importlib.import_module(f"{COLLECTION}.{module}").main
    with (
        patch_module_args(given),
        _as_on_a_target(),
        mock.patch.object(basic.AnsibleModule, "log", lambda self, msg, log_args=None: messages.append(f"{msg} {log_args}")),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        main()
    lines = [line for line in printed.getvalue().splitlines() if line.strip()]
    assert len(lines) == 1, f"{module} printed {len(lines)} lines, expected its result alone"
    result = json.loads(lines[0])
    return_docs.validate(result, module)
    return result
