# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What of a Dataplane changes or breaks with Kuma 3.0. Pure functions.

3.0 takes the identity of a proxy from the label kuma.io/workload, protocols from inbound.protocol and targets from backendRef,
and drops the fields that said so before without a word.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers, Release, parse_release
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane.resource import (
    OWNER_LABEL,
    PROTOCOL_TAG,
    SERVICE_TAG,
    WORKLOAD_LABEL,
    ZONE_TAG,
    outbound_service,
)
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.findings import CHANGES, LOUD, SILENT, Finding
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.mesh import Mesh, inbounds_of, labels_of

Dataplane = t.Mapping[str, t.Any]

_OWN_TAGS = frozenset((SERVICE_TAG, PROTOCOL_TAG, ZONE_TAG))
_JOIN = "run join_mesh.yml against the 3.0 control plane"


def of_dataplane(mesh: Mesh, name: str, release: Numbers) -> t.List[Finding]:
    """Every finding about one Dataplane of ``mesh`` under a control plane of ``release``."""
    return list(_Examination(mesh, name, release).findings())


class _Examination:
    def __init__(self, mesh: Mesh, name: str, release: Numbers) -> None:
        self.mesh, self.name, self.release = mesh, name, Release(*release)
        self.dataplane = mesh.live[name]
        self.networking: t.Mapping[str, t.Any] = self.dataplane.get("networking") or {}
        self.labels = labels_of(self.dataplane)
        self.planned: t.Mapping[str, t.Any] = mesh.proxies.get(name, {})
        self.prefix = str(self.planned.get("field") or "kuma_dp_")

    def findings(self) -> t.Iterator[Finding]:
        yield from self._workload_label()
        yield from self._service_names()
        yield from self._tags()
        yield from self._labels_of_inventory()
        yield from self._protocols()
        yield from self._outbounds()
        yield from self._removed_fields()
        yield from self._ports()
        yield from self._version()

    def _finding(self, severity: str, code: str, field: str, found: str, then: str, remedy: str) -> Finding:
        return Finding(severity, code, "Dataplane", self.mesh.name, self.name, self.mesh.host(self.name), field, found, then, remedy)

    def _workload_label(self) -> t.Iterator[Finding]:
        label = self.labels.get(WORKLOAD_LABEL)
        field = 'labels["%s"]' % WORKLOAD_LABEL
        if label and not checks.is_rfc1035(label):
            remedy = "set %sworkload to lower-case letters, digits and -" % self.prefix
            yield self._finding(LOUD, "workload-name", field, label, "the label is refused, as is a MeshService of that name", remedy)
        if label:
            return
        remedy = (
            "%s once the control plane runs 2.13 or later, below which labels do not survive" if not self.release.labels_survive else "%s"
        )
        called = bool(inbounds_of(self.dataplane))
        yield self._finding(
            SILENT if called else CHANGES,
            "workload-label",
            field,
            "missing",
            "no MeshService is made for this proxy, so nobody can call it"
            if called
            else "the label is the identity of a proxy, for policies, tokens and certificates",
            remedy % "set %sworkload (the default is the name of the first service) and run join_mesh.yml" % self.prefix,
        )

    def _service_names(self) -> t.Iterator[Finding]:
        workload = self.mesh.workloads[self.name]
        for index, inbound in enumerate(inbounds_of(self.dataplane)):
            service = str((inbound.get("tags") or {}).get(SERVICE_TAG) or "")
            field = 'networking.inbound[%d].tags["%s"]' % (index, SERVICE_TAG)
            if service and not checks.is_rfc1035(service):
                yield self._finding(
                    LOUD,
                    "service-name",
                    field,
                    service,
                    "no MeshService can have that name",
                    "choose a name of lower-case letters, digits and - in %sservices, and callers with it" % self.prefix,
                )
            elif service and service != workload:
                yield self._finding(
                    SILENT,
                    "service-of-workload",
                    field,
                    "%s, in the workload %s" % (service, workload or "(none)"),
                    "there is one MeshService for each workload, so %s is port %s of %s"
                    % (service, inbound.get("port"), workload or "none"),
                    "callers set backend_ref: {name: %s, port: %s}, or the service gets a proxy of its own in kuma_dp_proxies"
                    % (workload or "<workload>", inbound.get("port")),
                )

    def _tags(self) -> t.Iterator[Finding]:
        """Tags become labels, of which a Dataplane has one value each."""
        tagged = [
            (inbound.get("port"), {key: str(value) for key, value in (inbound.get("tags") or {}).items() if key not in _OWN_TAGS})
            for inbound in inbounds_of(self.dataplane)
        ]
        moving = []
        for key in sorted({key for _port, tags in tagged for key in tags}):
            values = {tags.get(key) for _port, tags in tagged}
            field = 'networking.inbound[].tags["%s"]' % key
            found = ", ".join("%s on port %s" % (tags.get(key, "none"), port) for port, tags in tagged)
            invalid = [value for value in values if value is not None and not checks.is_label(key, value)]
            if len(values) > 1:
                yield self._finding(
                    SILENT,
                    "tags-disagree",
                    field,
                    found,
                    "a Dataplane has one value for each label, so the difference between its inbounds is lost",
                    "split the proxy in kuma_dp_proxies, or use a label key for each in %slabels" % self.prefix,
                )
            elif invalid:
                then = "tags are dropped, and as a label it is refused"
                yield self._finding(
                    LOUD, "tag-no-label", field, found, then, "choose a value that is a label: at most 63 letters, digits, - _ and ."
                )
            elif self.labels.get(key) not in values:
                moving.append((key, str(values.pop()), self.labels.get(key)))
        if moving:
            found = ", ".join(
                "%s=%s%s" % (key, value, " (but the label is %s)" % label if label is not None else "") for key, value, label in moving
            )
            yield self._finding(
                SILENT,
                "tags",
                "networking.inbound[].tags",
                found,
                "tags are dropped, and policies and the tags of tokens match labels",
                "%s, where the role sends tags as labels, or set them in %slabels now" % (_JOIN, self.prefix),
            )

    def _labels_of_inventory(self) -> t.Iterator[Finding]:
        """Labels that the inventory asks for and the control plane does not have: lost (trap 16), or never sent."""
        wanted = {str(key): str(value) for key, value in (self.planned.get("labels") or {}).items()}
        if self.planned.get("owner"):
            wanted[OWNER_LABEL] = str(self.planned["owner"])
        missing = sorted(key for key, value in wanted.items() if self.labels.get(key) != value)
        if not missing:
            return
        lost = not self.release.labels_survive
        yield self._finding(
            SILENT,
            "labels-missing",
            "labels",
            "without %s" % ", ".join(missing),
            "policies that match these labels do not see this proxy",
            "upgrade the control plane to 2.13 or later, below which labels do not survive, then run join_mesh.yml"
            if lost
            else "run join_mesh.yml",
        )

    def _protocols(self) -> t.Iterator[Finding]:
        for index, inbound in enumerate(inbounds_of(self.dataplane)):
            tag = (inbound.get("tags") or {}).get(PROTOCOL_TAG)
            protocol = inbound.get("protocol")
            if tag in (None, protocol) or (tag == "tcp" and not protocol):
                continue
            yield self._finding(
                SILENT,
                "protocol",
                'networking.inbound[%d].tags["%s"]' % (index, PROTOCOL_TAG),
                "%s, while inbound.protocol is %s" % (tag, protocol or "not set"),
                "the inbound is plain %s: what needs another protocol, such as retries and routes, is gone" % (protocol or "TCP"),
                "%s, where the role sends protocol of %sservices as inbound.protocol" % (_JOIN, self.prefix),
            )

    def _outbounds(self) -> t.Iterator[Finding]:
        for index, outbound in enumerate(self.networking.get("outbound") or []):
            field = "networking.outbound[%d]" % index
            reference = outbound.get("backendRef")
            if reference:
                yield from self._reference(reference, field + ".backendRef")
                continue
            service = outbound_service(outbound) or ""
            more = sorted(key for key in outbound.get("tags") or {} if key != SERVICE_TAG)
            then = "an outbound without backendRef loses its listener, and new ones are refused"
            if more:
                then += "; the choice by %s has no counterpart" % ", ".join(more)
            yield self._finding(
                SILENT,
                "outbound-tags",
                field + ".tags",
                "port %s to %s" % (outbound.get("port"), service or "nothing"),
                then,
                self._target(service) + ("; for the subset a MeshService of its own" if more else ""),
            )

    def _target(self, service: str) -> str:
        """What to write instead of the tag of ``service``."""
        if not service:
            return "set backend_ref with kind, name and port in %supstreams" % self.prefix
        offered = self.mesh.targets.get(service, [])
        if len(offered) == 1:
            workload, port = offered[0]
            exists = "is there already" if port in self.mesh.services.get(workload, []) else "is made from the label of that workload"
            who = _JOIN if workload == service else "set it as backend_ref of %s in %supstreams" % (service, self.prefix)
            return "backendRef {kind: MeshService, name: %s, port: %d}, which %s: %s" % (workload, port, exists, who)
        if offered:
            choice = ", ".join("%s:%d" % target for target in offered)
            return "set backend_ref of %s in %supstreams to one of its ports: %s" % (service, self.prefix, choice)
        ports = self.mesh.services.get(service)
        if ports:
            choice = "port: %d" % ports[0] if len(ports) == 1 else "one of the ports %s" % ", ".join(map(str, ports))
            return "set backend_ref of %s in %supstreams: {kind: MeshService, name: %s} and %s" % (service, self.prefix, service, choice)
        return (
            "no Dataplane of this mesh offers %s and no MeshService has that name: set backend_ref with kind, name and port in %supstreams"
            % (
                service,
                self.prefix,
            )
        )

    def _reference(self, reference: t.Mapping[str, t.Any], field: str) -> t.Iterator[Finding]:
        name = str(reference.get("name") or "")
        if reference.get("kind") != "MeshService" or not name:
            return
        ports = {port for targets in self.mesh.targets.values() for workload, port in targets if workload == name}
        ports.update(self.mesh.services.get(name, []))
        if not ports or int(reference.get("port") or 0) not in ports:
            found = "MeshService %s, port %s" % (name, reference.get("port"))
            then = "the ports of %s are %s" % (name, ", ".join(map(str, sorted(ports)))) if ports else "no workload has that name"
            yield self._finding(
                SILENT, "backend-ref", field, found, then, "correct backend_ref in %supstreams, or let the workload join" % self.prefix
            )

    def _removed_fields(self) -> t.Iterator[Finding]:
        gateway = self.networking.get("gateway") or {}
        if gateway.get("type") == "BUILTIN":
            then = "built-in gateways are gone, and a write with that type is refused"
            yield self._finding(LOUD, "builtin-gateway", "networking.gateway.type", "BUILTIN", then, "run a delegated gateway")
        address = self.networking.get("advertisedAddress")
        if address:
            yield self._finding(
                SILENT,
                "advertised-address",
                "networking.advertisedAddress",
                str(address),
                "it is dropped, and others dial networking.address, %s" % self.networking.get("address"),
                "set kuma_dp_address to an address that all others reach",
            )
        services = (self.networking.get("transparentProxying") or {}).get("reachableServices")
        if services:
            then = "it is dropped, and the proxy gets the configuration of every service"
            field = "networking.transparentProxying.reachableServices"
            yield self._finding(SILENT, "reachable-services", field, ", ".join(map(str, services)), then, "write reachableBackends instead")
        for key, remedy in (("metrics", "a MeshMetric policy"), ("probes", "probe in %sservices" % self.prefix)):
            if self.dataplane.get(key):
                yield self._finding(SILENT, "removed-block", key, "set", "the block is dropped", "use %s" % remedy)

    def _ports(self) -> t.Iterator[Finding]:
        if self.name in self.mesh.odd_ports:
            own, usual = self.mesh.odd_ports[self.name]
            yield self._finding(
                SILENT,
                "workload-ports",
                "networking.inbound[].port",
                "%s, while other proxies of the workload %s have %s"
                % (" and ".join(map(str, own)), self.mesh.workloads[self.name], " and ".join(map(str, usual))),
                "all proxies of a workload must have the same ports: those that conflict are left out, which is only logged",
                "give all of them the same ports in %sservices, or this one a %sworkload of its own" % (self.prefix, self.prefix),
            )

    def _version(self) -> t.Iterator[Finding]:
        subscriptions = (self.mesh.overviews[self.name].get("dataplaneInsight") or {}).get("subscriptions") or []
        version = str((((subscriptions or [{}])[-1].get("version") or {}).get("kumaDp") or {}).get("version") or "")
        if not version or not parse_release(version).has_tags:
            return
        old = not parse_release(version).speaks_delta
        yield self._finding(
            LOUD if old else CHANGES,
            "kuma-dp-version",
            "dataplaneInsight.subscriptions[].version.kumaDp.version",
            version,
            "the control plane speaks only delta xDS, which this version cannot"
            if old
            else "the control plane speaks only delta xDS: a proxy that was started without it gets no updates until it is restarted",
            "set kuma_dp_version and run upgrade.yml",
        )
