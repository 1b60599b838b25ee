# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What the modules that talk to the control plane share: options, client, results and failures."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.parameters import env_fallback

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import REQUESTS_IMPORT_ERROR, ApiError, Client, Invalid
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed, Result


def api_argument_spec() -> t.Dict[str, t.Dict[str, t.Any]]:
    """The options of the doc fragment ``meshfleet.kuma.api``."""
    return {
        "url": {"type": "str", "required": True, "fallback": (env_fallback, ["KUMA_API_URL"])},
        "token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["KUMA_API_TOKEN"])},
        "ca_path": {"type": "path", "fallback": (env_fallback, ["KUMA_CA"])},
        "validate_certs": {"type": "bool", "default": True},
        "timeout": {"type": "float", "default": 30.0},
        "retries": {"type": "int", "default": 4},
    }


def run(
    main: t.Callable[[AnsibleModule, Client], Result],
    argument_spec: t.Dict[str, t.Dict[str, t.Any]],
    names: t.Optional[naming.Rules] = None,
    **module_kwargs: t.Any,
) -> None:
    """Run a module: ``main(module, client)`` returns its result.

    Adds ``requests`` to what it returns, hands warnings on, and turns ApiError and ItemsFailed into a failure of the
    module. ``names`` are the options that become part of a path; when one cannot, nothing is sent. ``module_kwargs`` go to
    AnsibleModule; check mode is supported by default.
    """
    kwargs: t.Dict[str, t.Any] = {"supports_check_mode": True}
    kwargs.update(module_kwargs)
    module = AnsibleModule(argument_spec=dict(api_argument_spec(), **argument_spec), **kwargs)
    if REQUESTS_IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_IMPORT_ERROR)
    client: t.Optional[Client] = None
    try:
        check_names(module.params, names or {})
        client = new_client(module.params)
        result = main(module, client)
    except ItemsFailed as exc:
        _finish(module, client, exc.result, msg=exc.msg)
    except ApiError as exc:
        _finish(module, client, {"failure": exc.as_failure()}, msg=str(exc))
    else:
        _finish(module, client, result)


def check_names(params: t.Mapping[str, t.Any], rules: naming.Rules) -> None:
    """Raise Invalid with every option that cannot be the name that it has to be."""
    found = [{"field": place, "reason": wrong} for place, wrong in naming.faults(params, rules)]
    if found:
        count = "1 option is" if len(found) == 1 else f"{len(found)} options are"
        raise Invalid(
            f"{count} no name", invalid_parameters=found, remedy=f"Nothing was sent. Correct {'it' if len(found) == 1 else 'them'}."
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
    )


def _finish(module: AnsibleModule, client: t.Optional[Client], result: Result, msg: t.Optional[str] = None) -> None:
    result = dict(result)
    result["requests"] = client.requests if client else 0
    for warning in client.warnings if client else []:
        module.warn(warning)
    if client:
        client.close()
    if not module._diff:
        result.pop("diff", None)
    if msg is not None:
        module.fail_json(msg=msg, **result)
    module.exit_json(**result)
