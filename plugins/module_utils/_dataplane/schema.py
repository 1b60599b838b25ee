# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The fields of a Dataplane that a control plane keeps, by version.

A control plane drops what it does not know with a 200 (trap 19), so a field that is not in this tree is an error before
the write. Pure functions.
"""

from __future__ import annotations

import functools
import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers, Release

Problem = t.Dict[str, str]

ANY = None  # a leaf, or a map with keys of the user's choice

_BACKEND_REF: t.Dict[str, t.Any] = {"kind": ANY, "name": ANY, "port": ANY, "labels": ANY}


@functools.lru_cache(maxsize=None)
def known_fields(release: Numbers) -> t.Dict[str, t.Any]:
    """The tree of fields that a control plane of ``release`` keeps, the same one for everybody who asks. A list of objects has the tree of one."""
    inbound: t.Dict[str, t.Any] = {
        "port": ANY,
        "servicePort": ANY,
        "serviceAddress": ANY,
        "address": ANY,
        "name": ANY,
        "state": ANY,
        "health": {"ready": ANY},
        "serviceProbe": {
            "interval": ANY,
            "timeout": ANY,
            "unhealthyThreshold": ANY,
            "healthyThreshold": ANY,
            "tcp": {},
        },
    }
    outbound: t.Dict[str, t.Any] = {"address": ANY, "port": ANY, "backendRef": dict(_BACKEND_REF)}
    transparent: t.Dict[str, t.Any] = {
        "redirectPortInbound": ANY,
        "redirectPortOutbound": ANY,
        "directAccessServices": ANY,
        "ipFamilyMode": ANY,
        "reachableBackends": {"refs": {**_BACKEND_REF, "namespace": ANY}},
    }
    networking: t.Dict[str, t.Any] = {
        "address": ANY,
        "inbound": inbound,
        "outbound": outbound,
        "gateway": {"tags": ANY, "type": ANY},
        "transparentProxying": transparent,
        "admin": {"port": ANY},
    }
    root: t.Dict[str, t.Any] = {
        "type": ANY,
        "mesh": ANY,
        "name": ANY,
        "labels": ANY,
        "creationTime": ANY,
        "modificationTime": ANY,
        "kri": ANY,
        "networking": networking,
    }
    if Release(*release).has_protocols:
        inbound["protocol"] = ANY
        networking["listeners"] = {"type": ANY, "address": ANY, "port": ANY, "name": ANY, "state": ANY}
    if Release(*release).has_tags:
        inbound["tags"] = ANY
        outbound["tags"] = ANY
        networking["advertisedAddress"] = ANY
        transparent["reachableServices"] = ANY
        root["metrics"] = ANY
        root["probes"] = ANY
    return root


def camel_case(key: str) -> str:
    """``service_port`` to ``servicePort``; Kuma reads both spellings and answers with the second."""
    return re.sub(r"_([a-z0-9])", lambda match: match.group(1).upper(), key)


def canonical(value: t.Any, tree: t.Optional[t.Mapping[str, t.Any]]) -> t.Any:
    """A copy of ``value`` with the field names as Kuma answers them. Maps of the user's (tags, labels) stay as they are."""
    if isinstance(value, dict):
        if tree is ANY:
            return dict(value)
        result = {}
        for key, item in value.items():
            name = camel_case(key) if key not in tree and camel_case(key) in tree else key
            result[name] = canonical(item, tree.get(name))
        return result
    if isinstance(value, (list, tuple)):
        return [canonical(item, tree) for item in value]
    return value


def dropped_fields(dataplane: t.Mapping[str, t.Any], release: Numbers) -> t.List[Problem]:
    """Every field of ``dataplane`` that a control plane of ``release`` would drop without a word."""
    problems: t.List[Problem] = []
    _walk(dataplane, known_fields(release), "", release, problems)
    return problems


def misread_probes(dataplane: t.Mapping[str, t.Any]) -> t.List[Problem]:
    """Service probes without interval or timeout, for which control planes then take something else."""
    problems = []
    networking = dataplane.get("networking")
    inbounds = networking.get("inbound") if isinstance(networking, dict) else None
    for index, inbound in enumerate(inbounds if isinstance(inbounds, (list, tuple)) else []):
        probe = (inbound.get("serviceProbe") or inbound.get("service_probe")) if isinstance(inbound, dict) else None
        for key in ("interval", "timeout"):
            if isinstance(probe, dict) and not probe.get(key):
                field = "networking.inbound[%d].serviceProbe.%s" % (index, key)
                problems.append({"field": field, "found": "nothing", "expected": "a duration: a probe needs interval and timeout"})
    return problems


def _walk(value: t.Any, tree: t.Optional[t.Mapping[str, t.Any]], path: str, release: Numbers, problems: t.List[Problem]) -> None:
    if tree is ANY:
        return
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _walk(item, tree, "%s[%d]" % (path, index), release, problems)
    elif isinstance(value, dict):
        for key, item in value.items():
            field = "%s.%s" % (path, key) if path else str(key)
            if key in tree:
                _walk(item, tree[key], field, release, problems)
            else:
                problems.append(
                    {
                        "field": field,
                        "found": "a field that Kuma %d.%d does not know and would drop" % release[:2],
                        "expected": _advice(str(key), tree, release),
                    }
                )


_REMOVED = {
    "tags": "labels of the Dataplane, inbound.protocol and outbound.backendRef instead of tags",
    "advertisedAddress": "no advertisedAddress: it was removed in 3.0",
    "reachableServices": "reachableBackends",
    "metrics": "a MeshMetric policy",
    "probes": "no probes: they were removed in 3.0",
}


def _advice(key: str, tree: t.Mapping[str, t.Any], release: Numbers) -> str:
    if not Release(*release).has_tags and key in _REMOVED:
        return _REMOVED[key]
    if key == "protocol":
        return "the tag kuma.io/protocol: inbound.protocol exists from 2.14 on"
    if key == "listeners":
        return "a ZoneIngress or ZoneEgress resource: listeners exist from 2.14 on"
    return "one of " + ", ".join(sorted(tree)) if tree else "no field here"
