# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Errors of the control plane API: what went wrong, where, and what to do about it."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_time

Parameters = t.List[t.Dict[str, str]]

RENEW = (
    "Issue a new one with `kumactl generate user-token`, or read the GlobalSecret admin-user-token on the control plane, "
    "and set it as token or KUMA_API_TOKEN."
)


class ApiError(Exception):
    """A request that did not succeed.

    ``kind`` is one of connection, tls, timeout, authentication, authorization, not_found, invalid, conflict, unavailable,
    server, protocol. ``status`` is None when there was no answer. ``invalid_parameters`` are ``{field, reason}``.
    No attribute and no text holds the token.
    """

    kind = "server"

    def __init__(
        self,
        title: str,
        detail: str = "",
        *,
        method: str = "",
        url: str = "",
        status: t.Optional[int] = None,
        invalid_parameters: t.Optional[Parameters] = None,
        remedy: str = "",
        kind: t.Optional[str] = None,
    ) -> None:
        self.title = title
        self.detail = detail
        self.method = method
        self.url = url
        self.status = status
        self.invalid_parameters: Parameters = list(invalid_parameters or [])
        self.remedy = remedy
        if kind is not None:
            self.kind = kind
        super().__init__(self._message())

    def _message(self) -> str:
        parts = []
        if self.method or self.url:
            parts.append(f"{self.method} {self.url}".strip())
        what = self.title if self.status is None else f"{self.status} {self.title}".strip()
        if self.detail and self.detail != self.title:
            what = f"{what}: {self.detail}"
        parts.append(what)
        text = ": ".join(parts)
        if self.invalid_parameters:
            text += " (" + "; ".join(f"{p['field']}: {p['reason']}" for p in self.invalid_parameters) + ")"
        if not text.endswith((".", "!", "?")):
            text += "."
        return f"{text} {self.remedy}".strip()

    def as_failure(self) -> t.Dict[str, t.Any]:
        """The error as modules return it: ``{kind, status, title, detail, invalid_parameters}``."""
        return {
            "kind": self.kind,
            "status": self.status,
            "title": self.title,
            "detail": self.detail,
            "invalid_parameters": [dict(parameter) for parameter in self.invalid_parameters],
        }


class ConnectionFailed(ApiError):
    """No answer: kind is connection, tls or timeout."""

    kind = "connection"


class ProtocolFailed(ApiError):
    """An answer that no control plane gives: a redirect, a web page, JSON that cannot be read."""

    kind = "protocol"


class AuthenticationFailed(ApiError):
    kind = "authentication"


class AccessDenied(ApiError):
    kind = "authorization"


class NotFound(ApiError):
    kind = "not_found"


class Invalid(ApiError):
    kind = "invalid"


class Conflict(ApiError):
    kind = "conflict"


class Unavailable(ApiError):
    kind = "unavailable"


class ServerError(ApiError):
    kind = "server"


_CLASSES: t.Dict[int, t.Type[ApiError]] = {
    400: Invalid,
    401: AuthenticationFailed,
    403: AccessDenied,
    404: NotFound,
    405: Invalid,
    409: Conflict,
    422: Invalid,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def from_answer(
    method: str, url: str, status: int, body: t.Any, reason: str, token: t.Optional[str], now: t.Optional[float] = None
) -> ApiError:
    """The error for an answer with a status of 400 or more.

    ``body`` is the parsed problem document, or the text of the answer, or None; ``reason`` is the phrase of the status
    line; ``token`` is only looked at for its end.
    """
    problem = body if isinstance(body, dict) else {}
    text = body.strip() if isinstance(body, str) else ""
    title = str(problem.get("title") or "") or _first_line(text) or reason or "error"
    detail = str(problem.get("detail") or problem.get("details") or "")
    parameters = _parameters(problem)
    error = _CLASSES.get(status, ServerError if status >= 500 else ProtocolFailed)
    return error(
        title,
        detail,
        method=method,
        url=url,
        status=status,
        invalid_parameters=parameters,
        remedy=_remedy(method, url, status, title, text, token, time.time() if now is None else now),
    )


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    # "404: Page Not Found": the number is in the message already.
    if line[:3].isdigit() and line[3:5] == ": ":
        line = line[5:]
    return line[:200]


def _parameters(problem: t.Mapping[str, t.Any]) -> Parameters:
    """Both spellings of the list: ``causes`` with ``message`` is the older one."""
    found = problem.get("invalid_parameters") or problem.get("causes") or []
    if not isinstance(found, list):
        return []
    return [
        {"field": str(entry.get("field") or ""), "reason": str(entry.get("reason") or entry.get("message") or "")}
        for entry in found
        if isinstance(entry, dict)
    ]


def _remedy(method: str, url: str, status: int, title: str, text: str, token: t.Optional[str], now: float) -> str:
    if status == 401:
        return _token_remedy(token, now)
    if status == 403:
        if token is None:
            return "No token was sent: set token or KUMA_API_TOKEN to a user token with this right."
        return "Use the token of a user with this right: a member of the group mesh-system:admin has all of them."
    if status == 404:
        return _not_found_remedy(method, title, text)
    if status == 405:
        return (
            "This control plane takes no such write: it is a Global control plane or it is read-only. "
            "Set url to the control plane of the zone."
        )
    if status == 409:
        return "Another client wrote at the same moment: run it again."
    if status in (429, 502, 503, 504):
        return "The control plane, or a proxy before it, is overloaded or restarting: run it again later."
    if status == 400 and "HTTP request to an HTTPS server" in text:
        return "The port speaks HTTPS: set url to https://."
    if status == 500 and method == "PUT" and "/dataplanes/" in url:
        return (
            "A control plane answers so when the constraints.dataplaneProxy of the Mesh exclude the Dataplane: "
            "compare its tags with them, then look into the log of the control plane."
        )
    if status >= 500:
        return "Look into the log of the control plane."
    return ""


def _token_remedy(token: t.Optional[str], now: float) -> str:
    if token is None:
        return "No token was sent: set token or KUMA_API_TOKEN."
    try:
        claims = decode_claims(token)
    except ValueError:
        return f"The token is not a JWT. {RENEW}"
    exp = claims.get("exp")
    who = f" of {claims['Name']}" if isinstance(claims.get("Name"), str) and claims["Name"] else ""
    if isinstance(exp, (int, float)) and exp <= now:
        return f"The token{who} expired at {format_time(exp)}. {RENEW}"
    return (
        f"The token{who} was revoked, or it is of another control plane, or its signing key is gone "
        f"(a control plane with the memory store loses its keys when it restarts). {RENEW}"
    )


def _not_found_remedy(method: str, title: str, text: str) -> str:
    if text.startswith("404"):
        return (
            "This path is not part of the API of this control plane: check url, which has a path only where something before the control "
            "plane wants one, and the version."
        )
    if title == "Signing Key not found":
        return "The mesh does not exist, or its signing key is not made yet: create the mesh first, with the resource module."
    if method == "PUT" or title == "Failed to retrieve Mesh":
        # A PUT creates what is missing, so only the mesh can be (trap 18).
        return "The mesh does not exist: create it first, with the resource module, or correct mesh."
    return ""
