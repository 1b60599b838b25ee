# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What of a Mesh, its policies, its zones and of the inventory changes or breaks with Kuma 3.0. Pure functions."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.checks import is_rfc1035
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers, Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import inventory
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.dataplanes import CHANGES, INFO, LOUD, SILENT, Finding, Mesh

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
# Recorded: what a policy of 3.0 may apply to.
_TOP_KINDS = ("Mesh", "Dataplane")
_GONE_ENVIRONMENT = {
    "KUMA_DATAPLANE_RUNTIME_CONFIG_DIR": "KUMA_DATAPLANE_RUNTIME_WORK_DIR, which the role sets",
    "KUMA_DATAPLANE_RUNTIME_SOCKET_DIR": "KUMA_DATAPLANE_RUNTIME_WORK_DIR, which the role sets",
    "KUMA_DATAPLANE_RUNTIME_ENVOY_XDS_TRANSPORT_PROTOCOL_VARIANT": "nothing: delta xDS is the only one",
    "KUMA_DATAPLANE_PROXY_TYPE": "listeners of a Dataplane",
    "KUMA_DNS_CORE_DNS_PORT": "KUMA_DNS_PROXY_PORT",
    "KUMA_DNS_CORE_DNS_BINARY_PATH": "nothing: CoreDNS is gone",
    "KUMA_DNS_ENVOY_DNS_PORT": "KUMA_DNS_PROXY_PORT",
    "KUMA_READINESS_UNIX_SOCKET_DISABLED": "nothing: readiness is on a port",
}
_UNSEEN = (
    ("signing-keys", "signing keys with HS256", "they are refused", "replace old signing keys and the tokens signed with them"),
    (
        "token-claims",
        "what dataplane tokens claim",
        "the claim tags is matched against labels",
        "tokens of the role claim name and workload; issue others anew",
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


def of_policy(policy: Resource, mesh: Mesh) -> t.Iterator[Finding]:
    """Findings about one policy."""
    type_name, name = str(policy.get("type")), str(policy.get("name"))
    spec = policy.get("spec") or {}

    def finding(severity: str, code: str, field: str, found: str, then: str, remedy: str) -> Finding:
        return Finding(severity, code, type_name, mesh.name, name, "", field, found, then, remedy)

    kind = (spec.get("targetRef") or {}).get("kind")
    if kind and kind not in _TOP_KINDS:
        yield finding(
            LOUD,
            "policy-target",
            "spec.targetRef.kind",
            str(kind),
            "only %s are allowed" % " and ".join(_TOP_KINDS),
            "write {kind: Dataplane, labels: {...}} with labels of the proxies",
        )
    if spec.get("from"):
        yield finding(SILENT, "policy-from", "spec.from", "set", "policies have no from any more", "write spec.rules instead")
    # The kind of the policy's own target is said above.
    for field, reference in _references(spec, "spec"):
        if reference.get("tags") and field != "spec.targetRef":
            found = ", ".join("%s=%s" % item for item in sorted(reference["tags"].items()))
            yield finding(SILENT, "policy-tags", field + ".tags", found, "tags of inbounds are gone, so nothing matches", "match labels")
        target = str(reference.get("name") or "")
        if reference.get("kind") == "MeshService" and target and not _exists(mesh, target):
            yield finding(
                SILENT,
                "policy-service",
                field + ".name",
                target,
                "a MeshService is named after a workload, and none has this name",
                "name the MeshService as it is called then",
            )


def _exists(mesh: Mesh, name: str) -> bool:
    return name in mesh.services or any(workload == name for targets in mesh.targets.values() for workload, _port in targets)


def _references(value: t.Any, field: str) -> t.Iterator[t.Tuple[str, Resource]]:
    """Every targetRef and backendRef in a policy, with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            place = "%s.%s" % (field, key)
            if key in ("targetRef", "backendRef") and isinstance(item, dict):
                yield place, item
            else:
                yield from _references(item, place)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _references(item, "%s[%d]" % (field, index))


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


def of_host(host: str, variables: t.Mapping[str, t.Any], mesh: Mesh, in_fleet: t.AbstractSet[str]) -> t.Iterator[Finding]:
    """Findings about what the inventory says of one host. ``in_fleet``: the services that hosts of the inventory offer."""
    proxies, _problems = inventory.read(host, variables, "v2")

    def finding(severity: str, code: str, name: str, field: str, found: str, then: str, remedy: str) -> Finding:
        return Finding(severity, code, "inventory", mesh.name, name, host, field, found, then, remedy)

    for key in sorted(set(variables.get("environment") or {}) & set(_GONE_ENVIRONMENT)):
        field = "kuma_dp_environment.%s" % key
        yield finding(CHANGES, "environment", "", field, "set", "kuma-dp ignores it", "use %s" % _GONE_ENVIRONMENT[key])
    for proxy in proxies:
        name, prefix = proxy["name"], proxy["field"]
        if name not in mesh.live:
            then = "nothing is known of its Dataplane: only its variables were checked"
            yield finding(INFO, "not-registered", name, prefix + "name", name, then, "run join_mesh.yml")
            yield from _service_faults(proxy, finding)
        for index, upstream in enumerate(proxy["upstreams"]):
            reference = upstream.get("backend_ref") or {}
            kind = reference.get("kind", "MeshService")
            if upstream["service"] not in in_fleet and "port" not in reference and kind != "MeshExternalService":
                yield finding(
                    LOUD,
                    "upstream-port",
                    name,
                    "%supstreams[%d]" % (prefix, index),
                    upstream["service"],
                    "join_mesh.yml refuses it on 3.0: no host offers the service, so its port is not known",
                    "add backend_ref: {port: <port>}, with name and kind where they differ",
                )


def _service_faults(proxy: t.Mapping[str, t.Any], finding: t.Callable[..., Finding]) -> t.Iterator[Finding]:
    tags: t.Dict[str, t.Set[str]] = {}
    for index, service in enumerate(proxy["services"]):
        if not is_rfc1035(service["name"]):
            field = "%sservices[%d].name" % (proxy["field"], index)
            then = "join_mesh.yml refuses it on 3.0: no MeshService can have that name"
            yield finding(LOUD, "service-name", proxy["name"], field, service["name"], then, "choose lower-case letters, digits and -")
        for key, value in (service.get("tags") or {}).items():
            tags.setdefault(str(key), set()).add(str(value))
    for key, values in sorted(tags.items()):
        if len(values) > 1:
            then = "a Dataplane has one value for each label: the others are lost"
            field = "%sservices[].tags.%s" % (proxy["field"], key)
            remedy = "split the proxy in kuma_dp_proxies, or use a key for each"
            yield finding(SILENT, "tags-disagree", proxy["name"], field, ", ".join(sorted(values)), then, remedy)


def unseen(mesh: str) -> t.List[Finding]:
    """What the API does not show and therefore nobody checked."""
    return [
        Finding(INFO, code, "not visible", mesh, "", "", "", found, then, remedy + "; the API does not show this")
        for code, found, then, remedy in _UNSEEN
    ]
