# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""When a token of a proxy has to be replaced, as far as it can be told from its claims. Pure functions."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_time, parse_duration

_SHARE = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*%\Z")
_ALL = "all"
# Epoch seconds that no token names: far beyond what a date can be.
_NEVER = 10**12


class Before(t.NamedTuple):
    """How long before its end a token is replaced: ``seconds``, a ``share`` of its lifetime, or however long it is valid."""

    seconds: float = 0.0
    share: float = 0.0
    always: bool = False

    def reached(self, claims: t.Mapping[str, t.Any], left: float) -> bool:
        """Whether a token with these claims is due that is valid for ``left`` seconds more. Of one without a beginning no share is known."""
        if self.always or left <= self.seconds:
            return True
        begin = number(claims.get("iat"))
        return self.share > 0 and (begin is None or left <= self.share * (float(claims["exp"]) - begin))

    def of_new(self, validity: float) -> bool:
        """Whether a token is due in the moment in which it is issued for ``validity`` seconds."""
        return not self.always and (validity <= self.seconds or self.share >= 1)


class Both(t.NamedTuple):
    """A token is due when both take it for that."""

    one: Before
    other: Before

    def reached(self, claims: t.Mapping[str, t.Any], left: float) -> bool:
        return self.one.reached(claims, left) and self.other.reached(claims, left)


def parse_before(text: str) -> Before:
    """``168h`` and ``7d`` are a time, ``25%`` is a share of the lifetime, ``all`` is every token. Raises ValueError."""
    if text.strip() == _ALL:
        return Before(always=True)
    match = _SHARE.match(text.strip())
    if match:
        return Before(share=float(match.group(1)) / 100)
    try:
        return Before(parse_duration(text))
    except ValueError as error:
        raise ValueError(f"{error}, or a share of the lifetime such as 25%") from None


def needs_renewal(claims: t.Optional[t.Mapping[str, t.Any]], wanted: t.Mapping[str, t.Any], now: float, before: Before) -> t.Optional[str]:
    """Why a new token is needed in place of the one with these claims, or None when it is still good.

    ``wanted`` is ``{name, mesh, workload, tags: {key: [values]}}``, ``now`` is in epoch seconds.
    """
    if not claims:
        return "there is no token"
    for claim, key in (("Name", "name"), ("Mesh", "mesh"), ("Workload", "workload")):
        found, expected = str(claims.get(claim) or ""), str(wanted.get(key) or "")
        if found != expected:
            return f"{key} is {found or 'not bound'}, expected {expected or 'not bound'}"
    if _tags(claims.get("Tags")) != _tags(wanted.get("tags")):
        return "tags differ"
    return ending(claims, now, before)


def ending(claims: t.Mapping[str, t.Any], now: float, before: Before) -> t.Optional[str]:
    """Why the validity of a token asks for a new one; None while it does not."""
    exp = number(claims.get("exp"))
    if exp is None:
        return "the token names no end"
    if exp <= now:
        return f"expired at {format_time(exp)}"
    if before.always:
        return "all tokens are renewed"
    if before.reached(claims, exp - now):
        return f"expires at {format_time(exp)}"
    begin = number(claims.get("nbf"))
    if begin is not None and begin > now + 3600:
        return f"not valid before {format_time(begin)}"
    return None


def number(value: t.Any) -> t.Optional[float]:
    """A time of a claim; None for what is none.

    Whoever may write on a VM says what is in the token there: JSON knows no limits, and Python's neither that of a float nor NaN.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _NEVER:
        return None
    return float(value)


def _tags(value: t.Any) -> t.Dict[str, t.List[str]]:
    """Tag claims in one form: sorted lists of strings; an empty map and none at all are the same."""
    if not isinstance(value, dict):
        return {}
    return {
        str(key): sorted(str(entry) for entry in (entries if isinstance(entries, list) else [entries])) for key, entries in value.items()
    }
