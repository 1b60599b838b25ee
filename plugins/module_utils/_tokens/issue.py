# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Issuing Dataplane tokens for many proxies: which are needed, and getting those with bounded concurrency."""

from __future__ import annotations

import threading
import typing as t
from dataclasses import dataclass

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import (
    AccessDenied,
    ApiError,
    AuthenticationFailed,
    Client,
    ConnectionFailed,
    Invalid,
    ProtocolFailed,
)
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.concurrently import CONNECTIONS, concurrently
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_duration, format_time, parse_duration
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.renewal import needs_renewal

PATH = "/tokens/dataplane"


@dataclass
class Wish:
    """One token: ``body`` is the request for it; ``reason`` why it is needed, None to keep the current one; ``sort`` what it is for."""

    name: str
    mesh: str
    body: t.Dict[str, t.Any]
    current: t.Optional[t.Mapping[str, t.Any]]
    reason: t.Optional[str] = None
    sort: t.Optional[Sort] = None


class Sort(t.NamedTuple):
    """A sort of tokens: where they are issued, the request for an entry, why a new one is needed, and the claims of one that is right."""

    path: str
    body: t.Callable[[t.Mapping[str, t.Any]], t.Dict[str, t.Any]]
    renewal: t.Callable[[t.Optional[t.Mapping[str, t.Any]], t.Mapping[str, t.Any], float, float], t.Optional[str]]
    claims: t.Callable[[Wish], t.Dict[str, t.Any]]


def _dataplane_body(entry: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    body: t.Dict[str, t.Any] = {"name": str(entry["name"]), "mesh": str(entry["mesh"])}
    tags = {
        str(key): [str(value) for value in (values if isinstance(values, list) else [values])]
        for key, values in (entry.get("tags") or {}).items()
    }
    if tags:
        body["tags"] = tags
    if entry.get("workload"):
        body["workload"] = str(entry["workload"])
    return body


DATAPLANE = Sort(PATH, _dataplane_body, needs_renewal, lambda wish: {"Name": wish.name, "Mesh": wish.mesh})


def plan(
    entries: t.Sequence[t.Mapping[str, t.Any]],
    valid_for: str,
    renew_before: str,
    now: float,
    workload_tokens: t.Callable[[], bool],
    sort: Sort = DATAPLANE,
) -> t.List[Wish]:
    """What is to be done for each of ``entries`` (``{name, mesh, workload, tags, valid_for, current, refused}``; the last one is why the control
    plane refuses the current token, which its claims do not tell).

    ``workload_tokens()`` says whether the control plane binds tokens to workloads; it is only asked when that matters.
    Raises Invalid with everything that is wrong with the entries.
    """
    problems: t.List[t.Dict[str, str]] = []

    def seconds(text: str, field: str) -> float:
        try:
            return parse_duration(text)
        except ValueError as exc:
            problems.append({"field": field, "reason": str(exc)})
            return 0.0

    before = seconds(renew_before, "renew_before")
    default = seconds(valid_for, "valid_for")
    wishes: t.List[Wish] = []
    seen: t.Dict[str, int] = {}
    for index, entry in enumerate(entries):
        name, place = str(entry["name"]), f"tokens[{index}]"
        if name in seen:
            problems.append({"field": f"{place}.name", "reason": f"{name} is also the name of tokens[{seen[name]}]"})
        seen.setdefault(name, index)
        own = entry.get("valid_for")
        validity = seconds(own, f"{place}.valid_for") if own else default
        if validity <= before and not problems:
            problems.append(
                {
                    "field": f"{place}.valid_for" if own else "valid_for",
                    "reason": f"{own or valid_for} is not longer than renew_before ({renew_before}): "
                    "the token would be replaced in every run",
                }
            )
        body = dict(sort.body(entry), validFor=format_duration(validity))
        wish = Wish(name, str(body.get("mesh") or ""), body, entry.get("current") or None, sort=sort)
        wish.reason = sort.renewal(wish.current, body, now, before)
        wishes.append(wish)
    if problems:
        raise Invalid(
            f"{len(problems)} of the options cannot be used", invalid_parameters=problems, remedy="Correct them; nothing was issued."
        )
    # A control plane without such tokens ignores the workload: asking again would give the same token.
    doubtful = [wish for wish in wishes if wish.reason and wish.body.get("workload") and wish.current]
    if any(not (wish.current or {}).get("Workload") for wish in doubtful) and not workload_tokens():
        for wish in doubtful:
            plain = {key: value for key, value in wish.body.items() if key != "workload"}
            wish.reason = needs_renewal(wish.current, plain, now, before)
    for wish, entry in zip(wishes, entries):
        wish.reason = wish.reason or str(entry.get("refused") or "") or None
    return wishes


def issue(
    client: Client, wishes: t.Sequence[Wish], connections: int = CONNECTIONS
) -> t.Tuple[t.List[t.Dict[str, t.Any]], t.Dict[str, str]]:
    """Get the tokens that are needed. Returns ``(results, tokens)``: one ``{name, mesh, action, reason, expires?, failure?}``
    for every wish, in their order, and the new tokens by name.

    One that fails does not stop the others. When the control plane refuses the client itself, or is gone, the requests
    not yet sent are not sent any more.
    """
    stop = threading.Event()
    hopeless: t.List[ApiError] = []

    def one(wish: Wish) -> t.Tuple[t.Dict[str, t.Any], t.Optional[str]]:
        result: t.Dict[str, t.Any] = {"name": wish.name, "mesh": wish.mesh, "action": "kept", "reason": wish.reason or "still good"}
        if wish.reason is None:
            expires = (wish.current or {}).get("exp")
            return dict(result, expires=int(expires or 0)), None
        try:
            if stop.is_set():
                raise hopeless[0]
            token = client.post_text((wish.sort or DATAPLANE).path, wish.body)
            claims = _checked(token, wish)
        except ApiError as exc:
            if isinstance(exc, (AccessDenied, AuthenticationFailed, ConnectionFailed)) and not stop.is_set():
                hopeless.append(exc)
                stop.set()
            return dict(result, action="failed", reason=str(exc), failure=exc.as_failure()), None
        return dict(result, action="issued", expires=int(claims.get("exp") or 0)), token

    done = concurrently(one, wishes, connections)
    return [result for result, _token in done], {result["name"]: token for result, token in done if token is not None}


def carry_out(client: Client, wishes: t.Sequence[Wish], check: bool) -> t.Dict[str, t.Any]:
    """The result of a module that issues tokens. Raises ItemsFailed when some could not be issued."""
    result: t.Dict[str, t.Any] = {"changed": any(wish.reason for wish in wishes), "diff": diff_lines(wishes), "tokens": {}}
    if check:
        return dict(result, results=describe_plan(wishes))
    results, tokens = issue(client, wishes)
    failed = [entry for entry in results if entry["action"] == "failed"]
    if not failed:
        return dict(result, results=results, tokens=tokens)
    # The message of a refused client is the same for all of them.
    reasons: t.Dict[str, t.List[str]] = {}
    for entry in failed:
        reasons.setdefault(entry["reason"], []).append(entry["name"])
    text = " ".join(f"{some(names, 5)}: {reason}" for reason, names in reasons.items())
    raise ItemsFailed(
        f"{len(failed)} of {len(results)} tokens could not be issued. {text}",
        # Without the tokens: a failure is shown in full.
        {"changed": bool(tokens), "results": results, "failure": failed[0]["failure"]},
    )


def _checked(token: str, wish: Wish) -> t.Dict[str, t.Any]:
    """The claims of an issued token. Raises ProtocolFailed when it is not one for this proxy."""
    sort = wish.sort or DATAPLANE
    try:
        claims = decode_claims(token)
    except ValueError as exc:
        raise ProtocolFailed("the answer is not a token", str(exc), method="POST", url=sort.path) from None
    if any(claims.get(key) != value for key, value in sort.claims(wish).items()):
        raise ProtocolFailed("the answer is the token of another proxy", method="POST", url=sort.path)
    return claims


def describe_plan(wishes: t.Sequence[Wish]) -> t.List[t.Dict[str, t.Any]]:
    """The results of :func:`issue`, were it called now and went well."""
    return [
        {
            "name": wish.name,
            "mesh": wish.mesh,
            "action": "issued" if wish.reason else "kept",
            "reason": wish.reason or "still good",
        }
        for wish in wishes
    ]


def diff_lines(wishes: t.Sequence[Wish]) -> t.Dict[str, str]:
    """Before and after, as the ends of tokens; never the tokens."""
    before, after = [], []
    for wish in wishes:
        if wish.reason:
            end = (wish.current or {}).get("exp")
            known = isinstance(end, (int, float)) and not isinstance(end, bool)
            before.append(f"{wish.name}: token until {format_time(t.cast(float, end))}\n" if known else f"{wish.name}: no token\n")
            after.append(f"{wish.name}: new token for {wish.body['validFor']} ({wish.reason})\n")
    return {"before": "".join(before), "after": "".join(after)}
