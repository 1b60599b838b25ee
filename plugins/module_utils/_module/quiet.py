# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What AnsibleModule tells the system log and its caller of the options of a module: nothing that may be a secret."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import forms, redact

Options = t.Mapping[str, t.Any]
NOT_SHOWN = "(not shown)"
SHORTEST_HIDDEN = 8  # characters


class Module(AnsibleModule):
    """AnsibleModule for all modules of this collection.

    It logs options as ``str(value)`` and hides values that are declared with ``no_log`` in that, where one of several lines is another
    text than its value. Its own argument ``no_log`` does not help: the one of the task overrides it. So the log has the names of options.
    """

    _valid = False

    def __init__(self, argument_spec: t.Dict[str, t.Any], **checks: t.Any) -> None:
        super().__init__(argument_spec=argument_spec, supports_check_mode=True, **checks)  # type: ignore[no-untyped-call]
        self._valid = True

    def log(self, msg: str, log_args: t.Optional[Options] = None) -> None:
        if log_args is not None:
            msg = "Invoked with %s, whose values are not logged" % (", ".join(sorted(log_args)) or "no options")
        super().log(redact(msg))  # type: ignore[no-untyped-call]

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        self._hide_forms()
        super().exit_json(**result)

    def fail_json(self, msg: str, **result: t.Any) -> t.NoReturn:
        if not self._valid:
            # Options that are not as they should be, a secret under a wrong name among them.
            given = getattr(self, "params", {})
            result["invocation"] = {"module_args": dict.fromkeys(given, NOT_SHOWN)}
            self.no_log_values.update(misplaced(given, self.argument_spec))
            msg = redact(msg)
        self._hide_forms()
        super().fail_json(msg, **result)

    def _hide_forms(self) -> None:
        self.no_log_values.update([form for value in self.no_log_values for form in forms(value)])


def misplaced(params: Options, spec: Options) -> t.Set[str]:
    """Texts in options that hold a secret somewhere, wherever these stand: what is of a wrong shape is no secret yet to Ansible."""
    return {
        text for name, option in spec.items() if _is_secret(option) for text in _texts(params.get(name)) if len(text) >= SHORTEST_HIDDEN
    }


def _is_secret(option: Options) -> bool:
    return bool(option.get("no_log")) or any(_is_secret(inner) for inner in (option.get("options") or {}).values())


def _texts(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, t.Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
