# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""When a token of a proxy has to be replaced, as far as it can be told from its claims. Pure functions."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_time


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
