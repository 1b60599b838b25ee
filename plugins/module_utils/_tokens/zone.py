# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Tokens of zone proxies, which are bound to a zone and to what a proxy may be there, and to no name. Pure functions."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue, sign
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.renewal import Before, ending

PATH = "/tokens/zone"


def body(entry: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """The request for ``{zone, scope}``."""
    return {"zone": str(entry["zone"]), "scope": sorted({str(item) for item in entry["scope"]})}


def needs_renewal(claims: t.Optional[t.Mapping[str, t.Any]], wanted: t.Mapping[str, t.Any], now: float, before: Before) -> t.Optional[str]:
    """Why a new token is needed in place of the one with these claims, or None when it is still good.

    ``wanted`` is ``{zone, scope}``. A token that is allowed more than is wanted, or that no zone binds, is replaced.
    """
    if not claims:
        return "there is no token"
    found = str(claims.get("Zone") or "")
    if found != wanted["zone"]:
        return f"zone is {found or 'not bound'}, expected {wanted['zone']}"
    given = claims.get("Scope")
    scope = sorted(str(item) for item in given) if isinstance(given, list) else []
    if scope != wanted["scope"]:
        return f"scope is {', '.join(scope) or 'none'}, expected {', '.join(wanted['scope'])}"
    return ending(claims, now, before)


def _claims(wish: issue.Wish) -> t.Dict[str, t.Any]:
    return {"Zone": wish.body["zone"], "Scope": wish.body["scope"]}


ZONE = issue.Sort(PATH, body, needs_renewal, _claims, sign.zone_claims)
