# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What the modules that talk to the control plane share: options, client, results and failures.

A module is a :class:`Spec`. It runs in a process of its own by :func:`run`, and in the controller's by an action of its name.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible.module_utils.basic import missing_required_lib
from ansible.module_utils.common.parameters import env_fallback

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import (
    REQUESTS,
    REQUESTS_IMPORT_ERROR,
    ApiError,
    Client,
    Invalid,
)
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.transport import is_file_name
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming, nesting
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.quiet import NOT_SHOWN, SHORTEST_HIDDEN, Module

# Of the options of the doc fragment those that become part of a path.
API_NAMES: naming.Rules = {"ca_path": naming.PLACE}


def api_argument_spec() -> t.Dict[str, t.Dict[str, t.Any]]:
    """The options of the doc fragment ``meshfleet.kuma.api``."""
    return {
        "url": {"type": "str", "required": True, "fallback": (env_fallback, ["KUMA_API_URL"])},
        "token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["KUMA_API_TOKEN"])},
        "ca_path": {"type": "path", "fallback": (env_fallback, ["KUMA_CA"])},
        "client_cert": {"type": "path", "fallback": (env_fallback, ["KUMA_CLIENT_CERT"])},
        # The path of a secret is not secret.
        "client_key": {"type": "path", "no_log": False, "fallback": (env_fallback, ["KUMA_CLIENT_KEY"])},
        "validate_certs": {"type": "bool", "default": True},
        "timeout": {"type": "float", "default": 30.0},
        "retries": {"type": "int", "default": 4},
    }


class Call:
    """One call of a module: its options and mode, and what it gathers on the way, warnings and values that nobody may see."""

    def __init__(self, params: t.Mapping[str, t.Any], check_mode: bool = False, diff: bool = False) -> None:
        self.params = params
        self.check_mode = check_mode
        self.diff = diff
        self.warnings: t.List[str] = []
        self.secrets: t.Set[str] = set()

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def hide(self, values: t.Iterable[str]) -> None:
        """``values`` are shown nowhere, neither in the result nor in a message."""
        self.secrets.update(values)


@dataclass(frozen=True)
class Spec:
    """What a module is, whichever process runs it.

    ``main(call, client)`` returns its result, or raises ItemsFailed or ApiError. ``options`` are its own, beside those of the API;
    ``checks`` is what else AnsibleModule takes about them, such as ``required_if``. ``names`` are the options that become part of a
    URL or path, and ``secrets(options)`` are texts in these that may not be shown, beside those that ``no_log`` says.
    ``hand_over(options)`` replaces what names files of the controller by what is in them, for a run on another machine; it raises
    ItemsFailed.
    """

    main: t.Callable[[Call, Client], Result]
    options: t.Dict[str, t.Dict[str, t.Any]]
    names: naming.Rules = field(default_factory=dict)
    secrets: t.Callable[[t.Mapping[str, t.Any]], t.Iterable[str]] = lambda _options: ()
    checks: t.Dict[str, t.Any] = field(default_factory=dict)
    hand_over: t.Optional[t.Callable[[t.Dict[str, t.Any]], t.Dict[str, t.Any]]] = None

    def argument_spec(self) -> t.Dict[str, t.Dict[str, t.Any]]:
        return dict(api_argument_spec(), **self.options)


class Outcome(t.NamedTuple):
    """The result of a call; ``msg`` says why it failed."""

    result: Result
    msg: t.Optional[str] = None


def run(spec: Spec) -> None:
    """Run a module in a process of its own, as Ansible starts it."""
    module = Module(spec.argument_spec(), **spec.checks)
    if REQUESTS_IMPORT_ERROR is not None:
        module.fail_json(msg=missing_requests(), exception=REQUESTS_IMPORT_ERROR)
    call = Call(module.params, module.check_mode, module._diff)
    outcome = carry_out(spec, call)
    module.no_log_values.update(call.secrets)
    for warning in call.warnings:
        module.warn(warning)
    if outcome.msg is not None:
        # What cannot be looked into may hold a secret anywhere.
        deep = {"invocation": {"module_args": dict.fromkeys(call.params, NOT_SHOWN)}} if any(_oversized(call.params)) else {}
        module.fail_json(msg=outcome.msg, **deep, **outcome.result)
    module.exit_json(**outcome.result)


def missing_requests() -> str:
    """What is said where requests is not there, or is too old."""
    found = (REQUESTS_IMPORT_ERROR or "").strip().rpartition("\n")[2]
    return f"{missing_required_lib(f'requests {REQUESTS} or later')} ({found})"


def carry_out(spec: Spec, call: Call) -> Outcome:
    """A call whose options are valid, in whichever process.

    Adds ``requests`` to the result and what the client warns of to the warnings, and makes an outcome of ApiError and ItemsFailed.
    When an option cannot be the name that it has to be, nothing is sent.
    """
    client: t.Optional[Client] = None
    try:
        check_size(call.params)
        # First of all: whatever is refused is shown with the options that it came with.
        call.hide([*_misplaced(call.params), *spec.secrets(call.params)])
        check_names(call.params, {**API_NAMES, **spec.names})
        client = new_client(call.params)
        outcome = Outcome(spec.main(call, client))
    except ItemsFailed as exc:
        outcome = Outcome(exc.result, exc.msg)
    except ApiError as exc:
        outcome = Outcome({"failure": exc.as_failure()}, str(exc))
    finally:
        if client:
            client.close()
    result = dict(outcome.result, requests=client.requests if client else 0)
    if client:
        call.warnings.extend(client.warnings)
    if not call.diff:
        result.pop("diff", None)
    return Outcome(result, outcome.msg)


def _misplaced(params: t.Mapping[str, t.Any]) -> t.List[str]:
    """Options of the API that hold a secret where there is to be an address or the name of a file."""
    given = [params[name] or "" for name in ("ca_path", "client_cert", "client_key")]
    # No key is shorter, and of a message that is searched for a dot nothing is left.
    texts = [text for text in given if len(text) >= SHORTEST_HIDDEN and not is_file_name(text)]
    return [*texts, params["url"]] if "@" in params["url"] else texts


def check_size(params: t.Mapping[str, t.Any]) -> None:
    """Raise Invalid for the options that are too deep or too large to look into."""
    found = [{"field": name, "reason": fault} for name, fault in _oversized(params)]
    if found:
        raise Invalid("options that cannot be looked into", invalid_parameters=found, remedy="Nothing was sent.")


def _oversized(params: t.Mapping[str, t.Any]) -> t.Iterator[t.Tuple[str, str]]:
    return ((name, fault) for name, value in params.items() for fault in [nesting.fault(value)] if fault)


def check_names(params: t.Mapping[str, t.Any], rules: naming.Rules) -> None:
    """Raise Invalid with every option that cannot be the name or path that it has to be."""
    found = [{"field": place, "reason": wrong} for place, wrong in naming.faults(params, rules)]
    if found:
        count = "1 option is" if len(found) == 1 else f"{len(found)} options are"
        raise Invalid(
            f"{count} refused", invalid_parameters=found, remedy=f"Nothing was sent. Correct {'it' if len(found) == 1 else 'them'}."
        )


def new_client(params: t.Mapping[str, t.Any]) -> Client:
    """A client from the options of :func:`api_argument_spec`. Raises ApiError when an option cannot be used."""
    for name in ("timeout", "retries"):
        if params[name] < 0 or (name == "timeout" and params[name] == 0):
            raise ApiError(f"{name} is {params[name]:g}, expected a positive number", kind="invalid", remedy=f"Correct {name}.")
    return Client(
        params["url"],
        token=params["token"],
        ca_path=params["ca_path"],
        validate_certs=params["validate_certs"],
        connect_timeout=min(5.0, params["timeout"]),
        timeout=params["timeout"],
        retries=params["retries"],
        client_cert=params["client_cert"],
        client_key=params["client_key"],
    )
