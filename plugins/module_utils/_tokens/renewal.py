# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What can be read from a token without its key, and durations as Kuma writes them. Pure functions."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
import typing as t

Claims = t.Dict[str, t.Any]

# Kuma reads Go durations, which have no day (trap 23).
_UNITS: t.Dict[str, float] = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(ms|d|h|m|s)")
# 100 years: a Go duration ends at about 292.
_LONGEST = 100 * 365 * 86400


def decode_claims(jwt: str) -> Claims:
    """The claims of a token, without checking its signature. Raises ValueError (never quoting the token) when it is not a JWT."""
    parts = jwt.strip().split(".")
    if len(parts) != 3:
        raise ValueError(f"not a JWT: found {len(parts)} parts divided by dots, expected 3")
    payload = parts[1]
    try:
        claims = json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, UnicodeError, ValueError, RecursionError):
        # `from None`: the causes hold a part of the token.
        raise ValueError("not a JWT: its second part is not base64url-encoded JSON") from None
    if not isinstance(claims, dict):
        raise ValueError("not a JWT: its claims are not an object")
    return claims


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``720h``, ``30d``, ``1h30m`` or ``500ms``. Raises ValueError when it is not one."""
    value = text.strip()
    total, end = 0.0, 0
    for part in _PART.finditer(value):
        if part.start() != end:
            break
        total += float(part.group(1)) * _UNITS[part.group(2)]
        end = part.end()
    if not value or end != len(value):
        raise ValueError(f"found {text!r}, expected a duration such as 720h, 30d, 1h30m or 45s")
    if total > _LONGEST:
        raise ValueError(f"found {text!r}, expected a duration of at most 100 years")
    return total


def parse_seconds(text: str) -> float:
    """Like :func:`parse_duration`, and a number alone is one of seconds."""
    return float(text) if re.match(r"[0-9]+(\.[0-9]+)?\Z", text.strip()) else parse_duration(text)


def format_duration(seconds: float) -> str:
    """A duration in a form that every Kuma accepts: ``720h``, ``90m``, ``45s``; milliseconds are rounded up to one second at least."""
    whole = max(int(seconds), 1)
    for unit in ("h", "m"):
        size = int(_UNITS[unit])
        if whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def format_time(epoch: float) -> str:
    """A point in time in epoch seconds as ``2026-11-23T19:25:00Z``."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    except (OverflowError, OSError, ValueError):
        return f"epoch second {epoch:.0f}"


def needs_renewal(
    claims: t.Optional[t.Mapping[str, t.Any]], wanted: t.Mapping[str, t.Any], now: float, renew_before: float
) -> t.Optional[str]:
    """Why a new token is needed in place of the one with these claims, or None when it is still good.

    ``wanted`` is ``{name, mesh, workload, tags: {key: [values]}}``, ``now`` is in epoch seconds, ``renew_before`` is how
    many seconds before its end a token is replaced.
    """
    if not claims:
        return "there is no token"
    for claim, key in (("Name", "name"), ("Mesh", "mesh"), ("Workload", "workload")):
        found, expected = str(claims.get(claim) or ""), str(wanted.get(key) or "")
        if found != expected:
            return f"{key} is {found or 'not bound'}, expected {expected or 'not bound'}"
    if _tags(claims.get("Tags")) != _tags(wanted.get("tags")):
        return "tags differ"
    return ending(claims, now, renew_before)


def ending(claims: t.Mapping[str, t.Any], now: float, renew_before: float) -> t.Optional[str]:
    """Why the validity of a token asks for a new one; None while it does not."""
    exp = claims.get("exp")
    if isinstance(exp, bool) or not isinstance(exp, (int, float)):
        return "the token names no end"
    if exp <= now:
        return f"expired at {format_time(exp)}"
    if exp - now <= renew_before:
        return f"expires at {format_time(exp)}"
    begin = claims.get("nbf")
    if isinstance(begin, (int, float)) and begin > now + 3600:
        return f"not valid before {format_time(begin)}"
    return None


def _tags(value: t.Any) -> t.Dict[str, t.List[str]]:
    """Tag claims in one form: sorted lists of strings; an empty map and none at all are the same."""
    if not isinstance(value, dict):
        return {}
    return {
        str(key): sorted(str(entry) for entry in (entries if isinstance(entries, list) else [entries])) for key, entries in value.items()
    }
