# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What the modules on the VM share: how they begin, run commands, answer and fail."""

from __future__ import annotations

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import redact
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import parse_seconds
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.quiet import Module
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner


def seconds(option: str, duration: str) -> float:
    """What an option such as ``drain_time`` says, ``45s`` or a number of seconds. ModuleFailed names the option."""
    try:
        return parse_seconds(duration)
    except ValueError as exc:
        raise ModuleFailed("%s: %s" % (option, exc)) from None


def without_contents(value: t.Any) -> t.Any:
    """The options of a module as its result may show them: contents of files are told by their size alone."""
    if isinstance(value, t.Mapping):
        return {
            key: "(%d characters)" % len(item) if key == "content" and isinstance(item, str) else without_contents(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [without_contents(item) for item in value]
    return value


def runner_of(module: AnsibleModule) -> Runner:
    environment = {
        "LC_ALL": "C.UTF-8",
        "SYSTEMD_COLORS": "0",
        # What adds users is there, and su leaves it out.
        "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
    }

    def run(command: t.Sequence[str]) -> t.Tuple[int, str, str]:
        try:
            status, output, error = module.run_command(list(command), check_rc=False, handle_exceptions=False, environ_update=environment)
        except OSError as exc:
            return 127, "", str(exc)
        return int(status), str(output), str(error)

    return run


def run(
    main: t.Callable[[AnsibleModule, Runner], Result],
    argument_spec: t.Dict[str, t.Dict[str, t.Any]],
    names: t.Optional[naming.Rules] = None,
) -> None:
    """Run a module: ``main(module, runner)`` returns its result, or raises ModuleFailed.

    ``names`` are the options that become part of a path or of the name of a unit; when one cannot, nothing is done.
    """
    module = Module(argument_spec)
    invocation = {"module_args": without_contents(module.params)}
    try:
        problems = ["%s %s" % found for found in naming.faults(module.params, names or {})]
        if problems:
            raise ModuleFailed("Nothing was done: %s" % "; ".join(problems))
        result = main(module, runner_of(module))
    except ModuleFailed as exc:
        module.fail_json(msg=redact(exc.msg), invocation=invocation, **exc.result)
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(invocation=invocation, **result)
