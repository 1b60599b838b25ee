# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What of a Mesh and of a control plane changes or breaks with Kuma 3.0, and what nobody can see. Pure functions."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.checks import is_rfc1035
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers, Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.findings import CHANGES, INFO, LOUD, SILENT, Finding

Resource = t.Mapping[str, t.Any]

# Settings of a Mesh that are gone, with what takes their place.
_MESH_SETTINGS = {
    "constraints": ("no membership is checked any more, so every Dataplane may join", "who may join is decided by who gets tokens"),
    "logging": ("access logs stop", "write a MeshAccessLog policy before the upgrade"),
    "metrics": ("metrics stop", "write a MeshMetric policy before the upgrade"),
    "networking": ("what outbound.passthrough said no longer counts", "write a MeshPassthrough policy before the upgrade"),
    "routing": (
        "zone egress, locality and the access to external services no longer go by it",
        "write MeshLoadBalancingStrategy and MeshTrafficPermission policies before the upgrade",
    ),
    "tracing": ("traces stop", "write a MeshTrace policy before the upgrade"),
}
# Resource types that are gone.
_GONE = {
    "ZoneIngress": "networking.listeners of a Dataplane, as role kuma_zone_proxy does on 3.0, with a dataplane token instead of a zone token",
    "ZoneEgress": "networking.listeners of a Dataplane, as role kuma_zone_proxy does on 3.0, with a dataplane token instead of a zone token",
    "MeshGateway": "a delegated gateway, because built-in gateways are gone",
    "MeshGatewayRoute": "a delegated gateway, because built-in gateways are gone",
    "ExternalService": "a MeshExternalService",
}
GONE_TYPES = tuple(sorted(_GONE))
_UNSEEN = (
    ("signing-keys", "signing keys with HS256", "they are refused", "replace old signing keys and the tokens signed with them"),
    (
        "token-claims",
        "what dataplane tokens claim",
        "the claim tags is matched against labels",
        "see token-tags for those of the role; issue others anew",
    ),
    ("zone-tokens", "zone tokens of proxies", "zone proxies need dataplane tokens", "issue dataplane tokens for zone proxies"),
    (
        "program-options",
        "flags of kuma-dp and kuma-cp that the role did not set",
        "--config-dir, --proxy-type, CoreDNS and the plugin adminClientCerts are gone",
        "look at your own units and at the configuration of the control plane",
    ),
)


def of_mesh(resource: Resource, identities: t.Sequence[Resource], release: Numbers) -> t.Iterator[Finding]:
    """Findings about a Mesh of a control plane of ``release``; ``identities`` are the MeshIdentities in it."""
    name = str(resource.get("name"))

    def finding(severity: str, code: str, field: str, found: str, then: str, remedy: str) -> Finding:
        return Finding(severity, code, "Mesh", name, name, "", field, found, then, remedy)

    if not is_rfc1035(name):
        yield finding(
            LOUD,
            "mesh-name",
            "name",
            name,
            "the Mesh can no longer be written, and a Mesh cannot be renamed",
            "move the fleet to a mesh whose name has only lower-case letters, digits and -: kuma_dp_mesh",
        )
    mtls = resource.get("mtls") or {}
    if mtls.get("backends") or mtls.get("enabledBackend"):
        enabled = mtls.get("enabledBackend")
        yield finding(
            SILENT if enabled and not identities else CHANGES,
            "mesh-mtls",
            "mtls",
            "backend %s" % enabled if enabled else "no backend enabled",
            "the setting is dropped, and mutual TLS comes from MeshIdentity and MeshTrust alone"
            + ("" if identities or not enabled else ": traffic is no longer encrypted"),
            "check that MeshIdentity %s covers every proxy" % ", ".join(sorted(str(item.get("name")) for item in identities))
            if identities
            else "write MeshIdentity and MeshTrust (meshfleet.kuma.resources) before the upgrade",
        )
    mode = (resource.get("meshServices") or {}).get("mode")
    if mode != "Exclusive" and Release(*release).has_tags:
        yield finding(
            CHANGES,
            "mesh-services",
            "meshServices.mode",
            str(mode or "not set"),
            "there are only MeshServices, one for each workload; the setting is gone",
            "set Exclusive on 2.x first, once every Dataplane has the label kuma.io/workload, to see what breaks while you can go back",
        )
    for key, (then, remedy) in sorted(_MESH_SETTINGS.items()):
        if resource.get(key):
            yield finding(SILENT, "mesh-setting", key, ", ".join(sorted(resource[key])), "the setting is dropped: %s" % then, remedy)


def of_gone_type(resource: Resource) -> Finding:
    """The finding about a resource of one of GONE_TYPES."""
    type_name = str(resource.get("type"))
    then = "the type is gone: the resource is not served, and its proxy is refused" if "Zone" in type_name else "the type is gone"
    mesh, name = str(resource.get("mesh") or ""), str(resource.get("name"))
    return Finding(LOUD, "type-gone", type_name, mesh, name, "", "type", type_name, then, "use %s" % _GONE[type_name])


def of_zone(name: str) -> t.Iterator[Finding]:
    if not is_rfc1035(name):
        then = "the name of a zone has to be one of RFC 1035"
        remedy = "choose a name of lower-case letters, digits and - (KUMA_MULTIZONE_ZONE_NAME)"
        yield Finding(LOUD, "zone-name", "Zone", "", name, "", "name", name, then, remedy)


def unseen(mesh: str) -> t.List[Finding]:
    """What the API does not show and therefore nobody checked."""
    return [
        Finding(INFO, code, "not visible", mesh, "", "", "", found, then, remedy + "; the API does not show this")
        for code, found, then, remedy in _UNSEEN
    ]
