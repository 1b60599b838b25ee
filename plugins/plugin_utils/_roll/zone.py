# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The zone proxies in a roll: what is listed for them beside the mesh, and what the cover of one gets.

Two zone proxies with different names may share an address and a port, and other zones take them for one: a zone proxy can be covered
like any other.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import ApiError, Client, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue, zone
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import api, resource
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import cover as roll_cover

Json = t.Dict[str, t.Any]
_ANSWER_ONLY = ("creationTime", "modificationTime", "kri", "labels", "zone", "availableServices")


def kinds(hosts: t.Iterable[t.Mapping[str, t.Any]]) -> t.List[str]:
    """The kinds of zone proxy among the hosts of a roll; nothing is listed for a fleet without any."""
    found = {str(proxy.get("zone_proxy") or "") for host in hosts for proxy in host.get("proxies") or []}
    return sorted(found & set(resource.KINDS))


def overviews(client: Client, mesh: str, wanted: t.Sequence[str]) -> t.List[Json]:
    """The Dataplanes of ``mesh``, and the zone proxies of these kinds in the same form. Raises ApiError."""
    found: t.List[Json] = client.list(api_path("meshes", mesh, "dataplanes", "_overview"))
    # From 3.0 on they are among the Dataplanes already.
    if wanted and client.capabilities().model != "v3":
        found.extend(api.overviews(client, mesh, wanted))
    return found


def material(issuer: issue.Issuer, mesh: str, name: str, part: t.Mapping[str, t.Any], validity: str, host: str) -> Json:
    """``{dataplane, token}`` for the cover of a proxy on ``host``, from the ``part`` of it in the plan: its claims, and which zone proxy it is.

    ``validity`` is the token's, as a duration. Raises ApiError.
    """
    client = issuer.client
    kind = str(part.get("zone_proxy") or "")
    if not kind or client.capabilities().model == "v3":
        return roll_cover.material(issuer, mesh, name, part.get("claims"), validity, host)
    live = client.get(api_path(resource.PATHS[kind], name)).body
    cover = {key: value for key, value in live.items() if key not in _ANSWER_ONLY}
    cover["name"] = naming.cover_name(name)
    body = dict(zone.body({"zone": api.zone_name(client), "scope": [kind]}), validFor=validity)
    wish = issue.Wish(str(cover["name"]), "", body, None, "a cover", zone.ZONE, host)
    results, tokens = issue.issue(issuer, [wish], connections=1)
    if wish.name not in tokens:
        failure = results[0]["failure"]
        raise ApiError(f"no token for the cover of {name}", str(results[0]["reason"]), kind=str(failure["kind"]), status=failure["status"])
    return {"dataplane": cover, "token": tokens[wish.name]}
