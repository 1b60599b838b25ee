# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What the cover of a proxy needs from the control plane: its Dataplane, its token, and whether there can be one at all."""

from __future__ import annotations

import copy
import math
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied, ApiError, Client, NotFound, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers, Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_duration
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import claims, fence
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane.resource import COMPUTED_LABELS, SERVICE_TAG, ZONE_TAG
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.plan import Abilities

# How much longer than the longest restart its token is valid: clocks differ, and the control plane may be slow to take the cover.
MARGIN = 900.0
_ANSWER_ONLY = ("creationTime", "modificationTime", "kri", "status")


def dataplane(live: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """The Dataplane of the cover of ``live``: the same but for its name.

    A cover starts in traffic, for nobody presets the health of a Direct proxy. So what is fenced or Ignored on the main proxy is Ignored.
    """
    result = copy.deepcopy({key: value for key, value in live.items() if key not in _ANSWER_ONLY})
    result["name"] = naming.cover_name(str(live["name"]))
    labels = {
        key: value
        for key, value in (result.pop("labels", None) or {}).items()
        if key not in COMPUTED_LABELS and key not in (fence.REASON_LABEL, fence.UNTIL_LABEL)
    }
    if labels:
        result["labels"] = labels
    networking = result.get("networking") or {}
    for inbound in networking.get("inbound") or []:
        held_back = fence.is_fenced(inbound) or inbound.get("state") == "Ignored"
        inbound.pop("health", None)
        inbound.pop("state", None)
        if held_back:
            inbound["state"] = "Ignored"
            # A probed inbound is made NotReady when it is created, whatever it says, and Ready as soon as its probe succeeds.
            inbound.pop("serviceProbe", None)
    for holder in [*(networking.get("inbound") or []), networking.get("gateway") or {}]:
        (holder.get("tags") or {}).pop(ZONE_TAG, None)  # the control plane injects it
    return result


def valid_for(longest: float) -> str:
    """How long the token of a cover is valid, as a duration: ``longest`` seconds for the restart, and a margin."""
    return format_duration(math.ceil(longest + MARGIN))


def token_request(cover: t.Mapping[str, t.Any], allowed: t.Mapping[str, t.Any], release: Numbers, validity: str) -> t.Dict[str, t.Any]:
    """The request for the token of ``cover``, bound to its name and to what is ``allowed``, and valid for the duration ``validity``.

    A token that is bound to what its Dataplane has not is refused, so that it is bound to services only where there are tags.
    """
    body: t.Dict[str, t.Any] = {"name": str(cover["name"]), "mesh": str(cover["mesh"]), "validFor": validity}
    found = claims.identity(cover)
    if found["workload"] and allowed.get("workload") and Release(*release).workload_tokens:
        body[claims.WORKLOAD] = str(allowed["workload"])
    if found["services"] and Release(*release).has_tags:
        body[claims.TAGS] = {SERVICE_TAG: sorted(allowed.get("services") or [])}
    return body


def material(
    issuer: issue.Issuer, mesh: str, name: str, allowed: t.Optional[t.Mapping[str, t.Any]], validity: str, host: str
) -> t.Dict[str, t.Any]:
    """``{dataplane, token}`` for the cover of ``name`` on ``host``, from its Dataplane as it is now, which may claim what is ``allowed``.

    ``validity`` is the token's. Raises ApiError.
    """
    client = issuer.client
    live = client.get(api_path("meshes", mesh, "dataplanes", name)).body
    cover = dataplane(live)
    reasons = claims.excess(claims.identity(cover), allowed)
    if reasons:
        raise ApiError(
            f"no token for the cover of {name}",
            "; ".join(reasons),
            kind="invalid",
            remedy="Find out who changed it, and put it right with the playbook join_mesh.",
        )
    body = token_request(cover, allowed or {}, client.capabilities().release, validity)
    wish = issue.Wish(body["name"], body["mesh"], body, None, "a cover", host=host)
    results, tokens = issue.issue(issuer, [wish], connections=1)
    if wish.name not in tokens:
        raise ApiError(
            f"no token for the cover of {name}",
            str(results[0]["reason"]),
            kind=str(results[0]["failure"]["kind"]),
            status=results[0]["failure"]["status"],
        )
    return {"dataplane": cover, "token": tokens[wish.name]}


def abilities(client: Client, mesh: str, offline: bool = False) -> Abilities:
    """Whether tokens can be had for covers, which they can where the controller signs them ``offline``, and which proxies are named by policies.

    Raises ApiError.
    """
    return Abilities("" if offline else _refused(client), named(client, mesh))


def _refused(client: Client) -> str:
    """Why this user may not issue tokens; empty where he may."""
    who = client.get("/who-am-i").body or {}
    config = client.control_plane()
    users = set(config.get("dp_token_users") or [naming.ADMIN])
    groups = set(config.get("dp_token_groups") or [naming.ADMIN])
    if who.get("name") in users or groups & set(who.get("groups") or []):
        return ""
    return f"{who.get('name')} may not issue the token of a cover, {', '.join(sorted(users | groups))} may"


def named(client: Client, mesh: str) -> t.Dict[str, str]:
    """``{Dataplane: policy}`` of the policies that choose a Dataplane by its name, which would not apply to its cover."""
    found: t.Dict[str, str] = {}
    resources = (client.get("/_resources").body or {}).get("resources") or []
    for resource in resources:
        if not resource.get("policy") or resource.get("scope") != "Mesh":
            continue
        try:
            policies = client.list(api_path("meshes", mesh, str(resource["path"])))
        except (AccessDenied, NotFound):
            continue
        for policy in policies:
            name = _target((policy.get("spec") or {}).get("targetRef") or {})
            if name:
                found.setdefault(name, f"{policy.get('type')} {policy.get('name')}")
    return found


def _target(reference: t.Mapping[str, t.Any]) -> str:
    if reference.get("kind") != "Dataplane":
        return ""
    return str(reference.get("name") or (reference.get("labels") or {}).get("kuma.io/display-name") or "")
