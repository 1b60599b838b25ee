# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What of the inventory changes or breaks with Kuma 3.0. Pure functions."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.checks import is_rfc1035
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers, Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import claims
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.inventory import read
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.findings import CHANGES, INFO, LOUD, SILENT, Finding
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.mesh import Mesh

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


def of_host(host: str, variables: t.Mapping[str, t.Any], mesh: Mesh, in_fleet: t.AbstractSet[str], release: Numbers) -> t.Iterator[Finding]:
    """Findings about what the inventory says of one host. ``in_fleet``: the services that hosts of the inventory offer; ``release`` is that
    of the control plane now."""
    proxies, _problems = read(host, variables, "v2")

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
        bound = claims.of_dataplane(mesh.live.get(name, {}), release, variables.get("token_bind") or []).get(claims.TAGS)
        if bound and Release(*release).has_tags:
            then = "the tags of tokens are matched against labels, so the proxy is refused when it connects again, and gets no updates"
            remedy = "set kuma_dp_token_bind: [workload], then run rotate_tokens.yml, before the upgrade"
            yield finding(SILENT, "token-tags", name, "kuma_dp_token_bind", ", ".join(sorted(bound)), then, remedy)
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
