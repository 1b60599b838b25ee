# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Revoking tokens: their IDs (``jti``) in a GlobalSecret, which the control plane looks into when a proxy opens its stream.

The list is everybody's. Nobody can write it on condition that it has not changed, so what is written is read back, and written again when
somebody else's write has undone it. Whoever had read the list before that write may write it a moment later: so it is read once more then.
A mesh Secret of the same name is accepted by the API, and by nobody looked into.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.capabilities import CONFIGURATION
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import ApiError, Client, Conflict, NotFound, api_path

ORIGIN = "kuma.io/origin"
# Of the list for tokens of zone proxies.
ZONE = "zone-token-revocations"
ATTEMPTS = 8
# Seconds in which somebody who has read the list has written it: a few leaves at once are plays of their own.
MOMENT = 1.0
# How long an ID stays in the list after the end of its token: clocks differ.
KEPT = 3600.0
# Commas divide the list, so an ID with one would revoke others.
_ID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.:]{0,127}\Z")
_COLLECTION = "global-secrets"

Ends = t.Mapping[str, float]


def secret_of(mesh: str) -> str:
    """The name of the list for Dataplane tokens of a mesh."""
    return f"dataplane-token-revocations-{mesh}"


def is_id(value: t.Any) -> bool:
    """Whether ``value`` can be the ID of one token."""
    return isinstance(value, str) and bool(_ID.match(value))


def parse(text: str) -> t.List[str]:
    """The IDs of a list, as the control plane reads it: divided by commas, with one line break at the end if need be."""
    text = text[:-1] if text.endswith("\n") else text
    return text.split(",") if text else []


def merge(held: t.Sequence[str], wanted: t.Iterable[str], ends: Ends, now: float) -> t.List[str]:
    """``held``, in its order, with each of ``wanted`` that it lacks behind it, and each once.

    Left out is what has ended for certain: the ``ends`` of tokens are known (epoch seconds, by ID; 0 is not) of our own alone, so the IDs that
    others put there stay. Raises ValueError for an ID that is none.
    """
    found = dict.fromkeys(held)
    for jti in wanted:
        if not is_id(jti):
            raise ValueError(f"{jti!r} is no ID of a token")
        found.setdefault(jti)
    return [jti for jti in found if not 0 < ends.get(jti, 0) < now - KEPT]


class Revoked(t.NamedTuple):
    """``added`` are the IDs that are new in the list, ``pruned`` those of ended tokens that left it."""

    added: t.List[str]
    pruned: t.List[str]


def revoke(
    client: Client,
    secret: str,
    wanted: t.Sequence[str],
    ends: Ends,
    now: float,
    check: bool = False,
    sleep: t.Callable[[float], None] = time.sleep,
) -> Revoked:
    """Have the tokens with the IDs ``wanted`` in the list ``secret`` (:func:`secret_of` or ``ZONE``); with ``check`` nothing is written.

    Nothing is asked for when there are none. Raises ApiError, AccessDenied for whoever may not read secrets.
    """
    live = [jti for jti in dict.fromkeys(wanted) if not 0 < ends.get(jti, 0) < now]
    if not live:
        return Revoked([], [])
    added: t.Set[str] = set()
    pruned: t.Set[str] = set()
    wrote = False
    for _attempt in range(ATTEMPTS):
        held, labels = _read(client, secret)
        missing = _missing(held, live)
        if wrote and not missing:
            sleep(MOMENT)
            held, labels = _read(client, secret)
            missing = _missing(held, live)
        if not missing:
            break
        merged = merge(held, live, ends, now)
        added.update(missing)
        pruned.update(set(held) - set(merged))
        if check:
            break
        _check_origin(client, secret, labels)
        _write(client, secret, merged, labels)
        wrote = True
    else:
        raise ApiError(
            f"GlobalSecret {secret} was written {ATTEMPTS} times, and each time somebody else wrote it without what was added",
            kind="conflict",
            remedy="Find out who writes it, and run this again.",
        )
    return Revoked([jti for jti in live if jti in added], sorted(pruned))


def _missing(held: t.Sequence[str], live: t.Sequence[str]) -> t.List[str]:
    known = set(held)
    return [jti for jti in live if jti not in known]


def allowed(client: Client, secret: str) -> None:
    """Raise AccessDenied, or another ApiError, where the list cannot be read, which takes the rights that writing it takes, or be kept."""
    _check_origin(client, secret, _read(client, secret)[1])


def _check_origin(client: Client, secret: str, labels: t.Mapping[str, str]) -> None:
    """A zone gets the lists of its global control plane, again and again: what is written to one of these here is lost, and nobody is told."""
    if labels.get(ORIGIN) == "global" and client.control_plane(CONFIGURATION).get("mode") == "zone":
        raise ApiError(
            f"GlobalSecret {secret} comes from the global control plane, which writes it over what is written here",
            kind="conflict",
            remedy="Revoke at the global control plane, and here without: kuma_rotate_revoke and kuma_dp_leave_revoke are false then. Or delete it there.",
        )


def _read(client: Client, secret: str) -> t.Tuple[t.List[str], t.Dict[str, str]]:
    try:
        body = client.get(api_path(_COLLECTION, secret)).body
    except NotFound:
        return [], {}
    body = body if isinstance(body, dict) else {}
    labels = body.get("labels") or {}
    try:
        text = base64.b64decode(str(body.get("data") or ""), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise ApiError(
            f"GlobalSecret {secret} holds no list of IDs",
            "its data is not the base64 of a text",
            kind="protocol",
            remedy="Look at it with kumactl; nothing was written.",
        ) from None
    return parse(text), labels


def _write(client: Client, secret: str, ids: t.Sequence[str], labels: t.Mapping[str, str]) -> None:
    data = base64.b64encode(",".join(ids).encode()).decode()
    body: t.Dict[str, t.Any] = {"type": "GlobalSecret", "name": secret, "data": data}
    own = {key: value for key, value in labels.items() if not key.startswith("kuma.io/")}
    if own:
        body["labels"] = own
    try:
        client.put(api_path(_COLLECTION, secret), body)
    except Conflict:
        # What was read back decides.
        return
