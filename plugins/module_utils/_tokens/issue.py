# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Issuing Dataplane tokens for many proxies: which are needed, and getting those with bounded concurrency."""

from __future__ import annotations

import threading
import time
import typing as t
from dataclasses import dataclass, field

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
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims, key_id
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_duration, format_time, parse_duration
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import ledger as token_ledger
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import sign
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.renewal import Before, needs_renewal, number, parse_before

PATH = "/tokens/dataplane"


@dataclass
class Wish:
    """One token: ``body`` is the request for it; ``reason`` why it is needed, None to keep the current one; ``sort`` what it is for.

    ``host`` is where it goes, as the ledger says it.
    """

    name: str
    mesh: str
    body: t.Dict[str, t.Any]
    current: t.Optional[t.Mapping[str, t.Any]]
    reason: t.Optional[str] = None
    sort: t.Optional[Sort] = None
    host: str = ""


class Sort(t.NamedTuple):
    """A sort of tokens: where they are issued, the request for an entry, why a new one is needed, the claims of one that is right, and what
    the control plane makes of a request, for those who sign themselves."""

    path: str
    body: t.Callable[[t.Mapping[str, t.Any]], t.Dict[str, t.Any]]
    renewal: t.Callable[[t.Optional[t.Mapping[str, t.Any]], t.Mapping[str, t.Any], float, Before], t.Optional[str]]
    claims: t.Callable[[Wish], t.Dict[str, t.Any]]
    signed: t.Callable[[t.Mapping[str, t.Any]], t.Dict[str, t.Any]]


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


DATAPLANE = Sort(PATH, _dataplane_body, needs_renewal, lambda wish: {"Name": wish.name, "Mesh": wish.mesh}, sign.dataplane_claims)


@dataclass(frozen=True)
class Issuer:
    """Who makes tokens: the control plane, or a key of the controller for those sorts that ``signers`` has one for, by their path.

    What was made is in ``ledger`` before anybody gets it.
    """

    client: Client
    signers: t.Mapping[str, sign.Signer] = field(default_factory=dict)
    ledger: t.Optional[token_ledger.Ledger] = None
    clock: t.Callable[[], float] = time.time

    def token(self, wish: Wish) -> str:
        """A new token. Raises ApiError."""
        sort = wish.sort or DATAPLANE
        signer = self.signers.get(sort.path)
        if signer is None:
            return self.client.post_text(sort.path, wish.body)
        return signer.token(sort.signed(wish.body), str(wish.body["validFor"]))

    def prepare(self, wishes: t.Iterable[Wish]) -> None:
        """Before anything is written anywhere: whether what is about to be issued can be written down. Raises LedgerFailed."""
        if self.ledger is not None and any(wish.reason for wish in wishes):
            self.ledger.prepare()

    def knows_as_anothers(self, jti: t.Any, name: str) -> bool:
        """Whether the ledger has a token of this ID for somebody else than ``name``. One that cannot be read knows nothing."""
        try:
            known = self.ledger.read() if self.ledger is not None else []
        except token_ledger.LedgerFailed:
            return False
        return any(one.jti == jti and one.name != name for one in known)

    def enter(self, issued: t.Iterable[t.Tuple[Wish, str]]) -> None:
        """Write these tokens into the ledger. Raises LedgerFailed."""
        if self.ledger is None:
            return
        now = self.clock()
        self.ledger.append(
            [token_ledger.entry(decode_claims(token), wish.name, wish.mesh, wish.host, now, key_id(token)) for wish, token in issued]
        )


def plan(
    entries: t.Sequence[t.Mapping[str, t.Any]],
    valid_for: str,
    renew_before: str,
    now: float,
    workload_tokens: t.Callable[[], bool],
    sort: Sort = DATAPLANE,
    kid: str = "",
) -> t.List[Wish]:
    """What is to be done for each of ``entries`` (``{name, mesh, workload, tags, valid_for, current, current_kid, host, refused}``; the last one is why
    the control plane refuses the current token, which its claims do not tell).

    ``renew_before`` is as ``renewal.parse_before`` takes it. With ``kid`` tokens of another key are replaced.
    ``workload_tokens()`` says whether the control plane binds tokens to workloads; it is only asked when that matters.
    Raises Invalid with everything that is wrong with the entries.
    """
    problems: t.List[t.Dict[str, str]] = []
    before = _read(parse_before, renew_before, "renew_before", Before(), problems)
    default = _read(parse_duration, valid_for, "valid_for", 0.0, problems)
    wishes: t.List[Wish] = []
    seen: t.Dict[str, int] = {}
    for index, entry in enumerate(entries):
        name, place = str(entry["name"]), f"tokens[{index}]"
        if name in seen:
            problems.append({"field": f"{place}.name", "reason": f"{name} is also the name of tokens[{seen[name]}]"})
        seen.setdefault(name, index)
        own = entry.get("valid_for")
        validity = _read(parse_duration, own, f"{place}.valid_for", 0.0, problems) if own else default
        if before.of_new(validity) and not problems:
            problems.append(
                {
                    "field": f"{place}.valid_for" if own else "valid_for",
                    "reason": f"{own or valid_for} is not longer than renew_before ({renew_before}): "
                    "the token would be replaced in every run",
                }
            )
        body = dict(sort.body(entry), validFor=format_duration(validity))
        host = str(entry.get("host") or "")
        wish = Wish(name, str(body.get("mesh") or ""), body, entry.get("current") or None, sort=sort, host=host)
        wish.reason = sort.renewal(wish.current, body, now, before)
        wishes.append(wish)
    if problems:
        raise Invalid(
            f"{len(problems)} of the options cannot be used", invalid_parameters=problems, remedy="Correct them; nothing was issued."
        )
    _without_workloads(wishes, workload_tokens, now, before)
    for wish, entry in zip(wishes, entries):
        held = str(entry.get("current_kid") or "")
        if wish.reason is None and kid and held != kid:
            wish.reason = f"it is signed with key {held or 'of an unknown ID'}, expected {kid}"
        wish.reason = wish.reason or str(entry.get("refused") or "") or None
    return wishes


T = t.TypeVar("T")


def _read(parse: t.Callable[[str], T], text: str, place: str, none: T, problems: t.List[t.Dict[str, str]]) -> T:
    try:
        return parse(text)
    except ValueError as exc:
        problems.append({"field": place, "reason": str(exc)})
        return none


def _without_workloads(wishes: t.Sequence[Wish], workload_tokens: t.Callable[[], bool], now: float, before: Before) -> None:
    """A control plane without such tokens ignores the workload: asking again would give the same token."""
    doubtful = [wish for wish in wishes if wish.reason and wish.body.get("workload") and wish.current]
    if any(not (wish.current or {}).get("Workload") for wish in doubtful) and not workload_tokens():
        for wish in doubtful:
            plain = {key: value for key, value in wish.body.items() if key != "workload"}
            wish.reason = needs_renewal(wish.current, plain, now, before)


def issue(
    issuer: Issuer, wishes: t.Sequence[Wish], connections: int = CONNECTIONS
) -> t.Tuple[t.List[t.Dict[str, t.Any]], t.Dict[str, str]]:
    """Get the tokens that are needed. Returns ``(results, tokens)``: one ``{name, mesh, action, reason, expires?, failure?}``
    for every wish, in their order, and the new tokens by name.

    One that fails does not stop the others. When the control plane refuses the client itself, or is gone, the requests
    not yet sent are not sent any more. Tokens that could not be written into the ledger are handed to nobody.
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
            token = issuer.token(wish)
            claims = _checked(token, wish)
        except ApiError as exc:
            if isinstance(exc, (AccessDenied, AuthenticationFailed, ConnectionFailed)) and not stop.is_set():
                hopeless.append(exc)
                stop.set()
            return _failed(result, str(exc), exc), None
        return dict(result, action="issued", expires=int(claims.get("exp") or 0)), token

    done = concurrently(one, wishes, connections)
    try:
        issuer.enter((wish, token) for wish, (_result, token) in zip(wishes, done) if token is not None)
    except token_ledger.LedgerFailed as exc:
        error = ApiError(str(exc), kind="ledger")
        done = [(_failed(result, str(exc), error), None) if token is not None else (result, None) for result, token in done]
    return [result for result, _token in done], {result["name"]: token for result, token in done if token is not None}


def _failed(result: t.Dict[str, t.Any], reason: str, error: ApiError) -> t.Dict[str, t.Any]:
    told = {key: value for key, value in result.items() if key != "expires"}
    return dict(told, action="failed", reason=reason, failure=error.as_failure())


def carry_out(issuer: Issuer, wishes: t.Sequence[Wish], check: bool) -> t.Dict[str, t.Any]:
    """The result of a module that issues tokens. Raises ItemsFailed when some could not be issued."""
    result: t.Dict[str, t.Any] = {"changed": any(wish.reason for wish in wishes), "diff": diff_lines(wishes), "tokens": {}}
    if check:
        return dict(result, results=describe_plan(wishes))
    results, tokens = issue(issuer, wishes)
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
            end = number((wish.current or {}).get("exp"))
            before.append(f"{wish.name}: no token\n" if end is None else f"{wish.name}: token until {format_time(end)}\n")
            after.append(f"{wish.name}: new token for {wish.body['validFor']} ({wish.reason})\n")
    return {"before": "".join(before), "after": "".join(after)}
