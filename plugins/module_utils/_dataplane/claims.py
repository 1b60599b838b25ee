# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a token of a Dataplane is bound to, beside its name and mesh: all that the Dataplane claims to be. Pure functions.

The control plane compares when a proxy opens its stream. Up to 2.14 every value of a tag of the token that the Dataplane has, in any inbound
or in its gateway, has to be one of the token's; 3.0 has no tags and looks at labels instead. So a token of 2.x that is bound to tags is
refused by 3.0.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers, Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import fence, resource

TAGS, WORKLOAD = "tags", "workload"
BINDINGS = (TAGS, WORKLOAD)
# Labels that somebody else changes, and that say nothing about who the proxy is.
_PASSING = resource.COMPUTED_LABELS | {fence.REASON_LABEL, fence.UNTIL_LABEL, resource.OWNER_LABEL}


def of_dataplane(dataplane: t.Mapping[str, t.Any], release: Numbers, bind: t.Container[str] = BINDINGS) -> t.Dict[str, t.Any]:
    """``{tags: {tag: [values]}, workload}`` for a token of ``dataplane`` (as the REST API has it), by a control plane of ``release``.

    ``bind`` says which of the two. A key is left out where there is nothing to bind to.
    """
    known = Release(*release)
    labels = {str(key): str(value) for key, value in (dataplane.get("labels") or {}).items() if value is not None}
    workload = labels.pop(resource.WORKLOAD_LABEL, "")
    tags = _tags(dataplane.get("networking") or {}) if known.has_tags else {key: [labels[key]] for key in sorted(labels)}
    tags = {key: values for key, values in tags.items() if key not in _PASSING}
    found: t.Dict[str, t.Any] = {}
    if TAGS in bind and tags:
        found[TAGS] = tags
    if WORKLOAD in bind and workload and known.workload_tokens:
        found[WORKLOAD] = workload
    return found


def identity(dataplane: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """What its proxy claims to be, ``{services, workload}``: the services of its tags, which 3.0 has none of, and its workload."""
    networking = dataplane.get("networking") or {}
    holders = [networking["gateway"]] if networking.get("gateway") else networking.get("inbound") or []
    services = {str((holder.get("tags") or {}).get(resource.SERVICE_TAG) or "") for holder in holders} - {""}
    return {"services": sorted(services), "workload": str((dataplane.get("labels") or {}).get(resource.WORKLOAD_LABEL) or "")}


def excess(found: t.Mapping[str, t.Any], allowed: t.Optional[t.Mapping[str, t.Any]]) -> t.List[str]:
    """Why a Dataplane with the :func:`identity` ``found`` is not what the inventory allows; None allows nothing.

    Whoever may write Dataplanes, which is everybody by default, could have it claim the service of somebody else.
    """
    if allowed is None:
        return ["nobody says what it may claim to be (claims)"]
    reasons = []
    foreign = sorted({*(found.get("services") or [])} - {*(allowed.get("services") or [])})
    if foreign:
        reasons.append("its Dataplane claims %s %s, which the inventory does not give it" % (resource.SERVICE_TAG, ", ".join(foreign)))
    if found.get("workload") and allowed.get("workload") and found["workload"] != allowed["workload"]:
        reasons.append("its Dataplane has the workload %s, expected %s" % (found["workload"], allowed["workload"]))
    return reasons


def _tags(networking: t.Mapping[str, t.Any]) -> t.Dict[str, t.List[str]]:
    values: t.Dict[str, t.Set[str]] = {}
    for holder in [*(networking.get("inbound") or []), networking.get("gateway") or {}]:
        for key, value in (holder.get("tags") or {}).items():
            values.setdefault(str(key), set()).add(str(value))
    return {key: sorted(own) for key, own in sorted(values.items())}
