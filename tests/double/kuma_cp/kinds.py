# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resource types and how each appears under /_resources and in the API's paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .releases import Release


@dataclass(frozen=True)
class Kind:
    """One resource type. `flags` are the policy flags as /_resources shows them, empty for other types."""

    name: str
    path: str
    short: str = ""
    scope: str = "Mesh"
    singular: str = ""
    plural: str = ""
    read_only: bool = False
    federated: bool = False
    zone_labels: bool = True
    spec_wrapped: bool = True
    aliases: tuple[str, ...] = ()
    admin_only: bool = False
    flags: dict[str, bool] = field(default_factory=dict)
    hidden: bool = False

    @property
    def is_mesh_scoped(self) -> bool:
        return self.scope == "Mesh"

    def described(self, release: Release) -> dict[str, Any]:
        """The entry under /_resources."""
        entry: dict[str, Any] = {
            "includeInFederation": self.federated,
            "name": self.name,
            "path": self.path,
            "pluralDisplayName": self.plural,
            "readOnly": self.read_only,
            "scope": self.scope,
            "singularDisplayName": self.singular,
        }
        if release.order >= (2, 13, 0):
            entry["shortName"] = self.short
        if self.flags:
            flags = {key: value for key, value in self.flags.items() if key != "hasRulesTargetRef" or release.order >= (2, 14, 0)}
            if release.v3:
                flags["hasFromTargetRef"] = False
                flags["isFromAsRules"] = False
            entry["policy"] = flags
        return entry


def _policy(name: str, path: str, short: str, singular: str, rules: bool = True, to: bool = True) -> Kind:
    flags = {"hasFromTargetRef": rules, "hasToTargetRef": to, "isFromAsRules": rules, "isTargetRef": True}
    if rules:
        flags["hasRulesTargetRef"] = True
    plural = singular[:-1] + "ies" if singular.endswith("y") else singular + "s"
    return Kind(name, path, short, singular=singular, plural=plural, federated=True, flags=flags)


_ALL = (
    Kind("Dataplane", "dataplanes", "dp", singular="Dataplane", plural="Dataplanes", spec_wrapped=False),
    Kind(
        "DataplaneInsight",
        "dataplane-insights",
        singular="Dataplane Insight",
        plural="Dataplane Insights",
        read_only=True,
        spec_wrapped=False,
    ),
    Kind(
        "Mesh",
        "meshes",
        "m",
        "Global",
        singular="Mesh",
        plural="Meshes",
        federated=True,
        zone_labels=False,
        spec_wrapped=False,
    ),
    Kind(
        "MeshExternalService",
        "meshexternalservices",
        "extsvc",
        singular="Mesh External Service",
        plural="Mesh External Services",
        federated=True,
    ),
    Kind("MeshIdentity", "meshidentities", "mid", singular="Mesh Identity", plural="Mesh Identities", federated=True),
    Kind("MeshService", "meshservices", "msvc", singular="Mesh Service", plural="Mesh Services"),
    Kind(
        "MeshMultiZoneService",
        "meshmultizoneservices",
        "mzsvc",
        singular="Mesh Multi Zone Service",
        plural="Mesh Multi Zone Services",
        federated=True,
    ),
    Kind("MeshTrust", "meshtrusts", "mtrust", singular="Mesh Trust", plural="Mesh Trusts", federated=True),
    Kind(
        "HostnameGenerator",
        "hostnamegenerators",
        "hg",
        "Global",
        singular="Hostname Generator",
        plural="Hostname Generators",
        federated=True,
    ),
    _policy("MeshAccessLog", "meshaccesslogs", "mal", "Mesh Access Log"),
    _policy("MeshCircuitBreaker", "meshcircuitbreakers", "mcb", "Mesh Circuit Breaker"),
    _policy("MeshFaultInjection", "meshfaultinjections", "mfi", "Mesh Fault Injection"),
    _policy("MeshHealthCheck", "meshhealthchecks", "mhc", "Mesh Health Check", rules=False),
    _policy("MeshHTTPRoute", "meshhttproutes", "mhttpr", "Mesh HTTP Route", rules=False),
    _policy("MeshLoadBalancingStrategy", "meshloadbalancingstrategies", "mlbs", "Mesh Load Balancing Strategy", rules=False),
    _policy("MeshMetric", "meshmetrics", "mm", "Mesh Metric", rules=False, to=False),
    _policy("MeshPassthrough", "meshpassthroughs", "mp", "Mesh Passthrough", rules=False, to=False),
    _policy("MeshProxyPatch", "meshproxypatches", "mpp", "Mesh Proxy Patch", rules=False, to=False),
    _policy("MeshRateLimit", "meshratelimits", "mrl", "Mesh Rate Limit"),
    _policy("MeshRetry", "meshretries", "mr", "Mesh Retry", rules=False),
    _policy("MeshTCPRoute", "meshtcproutes", "mtcpr", "Mesh TCP Route", rules=False),
    _policy("MeshTimeout", "meshtimeouts", "mt", "Mesh Timeout"),
    _policy("MeshTLS", "meshtlses", "mtls", "Mesh TLS"),
    _policy("MeshTrace", "meshtraces", "mtr", "Mesh Trace", rules=False, to=False),
    _policy("MeshTrafficPermission", "meshtrafficpermissions", "mtp", "Mesh Traffic Permission", to=False),
    Kind("Secret", "secrets", singular="Secret", plural="Secrets", federated=True, admin_only=True, spec_wrapped=False),
    Kind(
        "GlobalSecret",
        "global-secrets",
        "",
        "Global",
        singular="Global Secret",
        plural="Global Secrets",
        federated=True,
        admin_only=True,
        spec_wrapped=False,
        zone_labels=False,
        aliases=("globalsecrets",),
    ),
    Kind("Workload", "workloads", "wl", singular="Workload", plural="Workloads"),
    Kind("Zone", "zones", "z", "Global", singular="Zone", plural="Zones", spec_wrapped=False, zone_labels=False),
    Kind("ZoneEgress", "zoneegresses", "ze", "Global", singular="Zone Egress", plural="Zone Egresses", spec_wrapped=False),
    Kind(
        "ZoneIngress",
        "zoneingresses",
        "zi",
        "Global",
        singular="Zone Ingress",
        plural="Zone Ingresses",
        spec_wrapped=False,
        aliases=("zone-ingresses",),
    ),
)


def kinds(release: Release) -> dict[str, Kind]:
    """The types of a release, by name."""
    gone = set()
    if not release.workload:
        gone.add("Workload")
    if not release.zone_proxies:
        gone |= {"ZoneIngress", "ZoneEgress"}
    return {kind.name: kind for kind in _ALL if kind.name not in gone}
