# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What can be read from a token without its key."""

from __future__ import annotations

import base64
import binascii
import json
import math
import typing as t

Claims = t.Dict[str, t.Any]
# More than any number of a token has. What is no float, or takes Python hours to read, is no time of anybody's.
_DIGITS = 100


def decode_claims(jwt: str) -> Claims:
    """The claims of a token, without checking its signature. Raises ValueError (never quoting the token) when it is not a JWT."""
    return _object(jwt, 1, "second", "claims")


def key_id(jwt: str) -> str:
    """The ID of the key that signed a token, as its header says; empty when it names none. Raises ValueError (never quoting the token)."""
    kid = _object(jwt, 0, "first", "header").get("kid")
    return kid if isinstance(kid, str) else ""


def _object(jwt: str, index: int, which: str, what: str) -> Claims:
    parts = jwt.strip().split(".")
    if len(parts) != 3:
        raise ValueError(f"not a JWT: found {len(parts)} parts divided by dots, expected 3")
    part = parts[index]
    try:
        text = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        found = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except (binascii.Error, UnicodeError, ValueError, RecursionError):
        # `from None`: the causes hold a part of the token.
        raise ValueError(f"not a JWT: its {which} part is not base64url-encoded JSON") from None
    if not isinstance(found, dict):
        raise ValueError(f"not a JWT: its {what} {'are' if what == 'claims' else 'is'} not an object")
    return found


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError("too many digits")
    return int(digits)


def _finite(digits: str) -> float:
    found = float(digits)
    if not math.isfinite(found):
        raise ValueError("not finite")
    return found
