# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is stored, and what the control plane adds to it on the way in and out."""

from __future__ import annotations

import bisect
import copy
import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from . import validation, zones
from .errors import Problem, invalid, not_found
from .kinds import Kind, kinds
from .releases import Release

Key = tuple[str, str]


def timestamp() -> str:
    """Now, as the API writes times (UTC, nanoseconds)."""
    now = time.time_ns()
    return datetime.fromtimestamp(now // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{now % 10**9:09d}Z"


class Resource:
    """One stored resource: `spec` holds what follows the metadata in the JSON document."""

    __slots__ = ("_text", "created", "kind", "labels", "mesh", "modified", "name", "spec")

    def __init__(self, kind: Kind, mesh: str, name: str, spec: dict[str, Any], labels: dict[str, str]) -> None:
        self.kind, self.mesh, self.name, self.spec, self.labels = kind, mesh, name, spec, labels
        self.created = self.modified = timestamp()
        self._text = ""

    @property
    def key(self) -> Key:
        return (self.mesh, self.name)

    def replace(self, spec: dict[str, Any], labels: dict[str, str]) -> None:
        """Every write moves the modification time, also one that changes nothing."""
        self.spec, self.labels, self.modified, self._text = spec, labels, timestamp(), ""

    def head(self, release: Release, type_name: str = "", with_kri: bool = True) -> dict[str, Any]:
        """The metadata of the document."""
        document: dict[str, Any] = {"type": type_name or self.kind.name}
        if self.kind.is_mesh_scoped:
            document["mesh"] = self.mesh
        document.update(name=self.name, creationTime=self.created, modificationTime=self.modified)
        if self.labels:
            document["labels"] = dict(sorted(self.labels.items()))
        if with_kri and release.kri and self.kind.short:
            zone = self.labels.get("kuma.io/zone", "")
            document["kri"] = f"kri_{self.kind.short}_{self.mesh}_{zone}__{self.name}_"
        return document

    def document(self, release: Release) -> dict[str, Any]:
        return {**self.head(release), **self.spec}

    def text(self, release: Release) -> str:
        """The document as JSON, kept until the next write: lists of thousands are cut from these."""
        if not self._text:
            self._text = json.dumps(self.document(release))
        return self._text


class Table:
    """The resources of one kind, ordered by mesh and name."""

    def __init__(self) -> None:
        self.rows: dict[Key, Resource] = {}
        self.order: list[Key] = []

    def add(self, resource: Resource) -> None:
        self.rows[resource.key] = resource
        bisect.insort(self.order, resource.key)

    def remove(self, key: Key) -> None:
        del self.rows[key]
        del self.order[bisect.bisect_left(self.order, key)]

    def within(self, mesh: str | None) -> Iterable[Resource]:
        """All resources, or those of one mesh."""
        if mesh is None:
            return (self.rows[key] for key in self.order)
        start, end = bisect.bisect_left(self.order, (mesh, "")), bisect.bisect_left(self.order, (mesh + "\0", ""))
        return (self.rows[key] for key in self.order[start:end])


class Store:
    """All resources of one control plane, with the rules of its managers."""

    def __init__(self, release: Release, zone: str = "default") -> None:
        self.release, self.zone = release, zone
        self.kinds = kinds(release)
        self.tables = {name: Table() for name in self.kinds}
        self.insights: dict[Key, dict[str, Any]] = {}
        self.version = 0
        self.on_mesh_created: list[Callable[[str], None]] = []

    def get(self, kind: str, mesh: str, name: str) -> Resource | None:
        return self.tables[kind].rows.get((mesh, name))

    def dataplane(self, mesh: str, name: str) -> Resource | None:
        """The resource behind a stream: a Dataplane, or one of a zone proxy."""
        kind = zones.MESHES.get(mesh)
        return self.get(kind, "", name) if kind else self.get("Dataplane", mesh, name)

    def mesh(self, name: str) -> Resource | None:
        return self.get("Mesh", "", name)

    def computed_labels(self, kind: Kind, mesh: str, name: str, spec: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
        """The labels that are stored when `given` are sent."""
        if kind.name == "GlobalSecret" or (kind.name == "Secret" and not self.release.secret_labels):
            return dict(given)
        labels = dict(given)
        v3 = self.release.v3
        if v3:
            labels["kuma.io/display-name"] = name
            labels["kuma.io/origin"] = "zone"
        if kind.is_mesh_scoped:
            labels.setdefault("kuma.io/mesh", mesh)
        if kind.zone_labels:
            labels.setdefault("kuma.io/origin", "zone")
            if labels["kuma.io/origin"] != "global":
                labels.setdefault("kuma.io/zone", self.zone)
                labels.setdefault("kuma.io/env", "universal")
        if kind.name in ("Dataplane", "ZoneIngress", "ZoneEgress"):
            labels.pop("kuma.io/proxy-type", None)
            if not v3:
                gateway = (spec.get("networking") or {}).get("gateway") if kind.name == "Dataplane" else None
                builtin = gateway is not None and gateway.get("type") == "BUILTIN"
                labels["kuma.io/proxy-type"] = {"ZoneIngress": "zoneingress", "ZoneEgress": "zoneegress"}.get(
                    kind.name, "gateway" if builtin else "sidecar"
                )
        if kind.name == "Dataplane" and self.release.inbound_optional:
            present = {listener.get("type") for listener in (spec.get("networking") or {}).get("listeners", [])}
            for listener, label in (("ZoneIngress", "kuma.io/listener-zoneingress"), ("ZoneEgress", "kuma.io/listener-zoneegress")):
                labels.pop(label, None)
                if listener in present:
                    labels[label] = "enabled"
        return labels

    def put(self, kind: Kind, mesh: str, name: str, spec: dict[str, Any], labels: dict[str, str]) -> bool:
        """
        Creates or replaces a resource as the API does; `spec` and `labels` have been validated as sent.

        Returns whether it was created. Raises Problem.
        """
        current = self.get(kind.name, mesh, name)
        created = current is None
        computed = self.computed_labels(kind, mesh, name, spec, labels)
        if current is not None:
            self._check_immutable(current, computed)
        if kind.name == "Dataplane":
            spec = self._dataplane_spec(mesh, spec, created)
        if current is None:
            current = Resource(kind, mesh, name, spec, computed)
            self.tables[kind.name].add(current)
        else:
            current.replace(spec, computed)
        self.version += 1
        if created and kind.name == "Mesh":
            for hook in self.on_mesh_created:
                hook(name)
        return created

    def _check_immutable(self, current: Resource, computed: dict[str, str]) -> None:
        found = []
        for label in self.release.immutable_labels:
            old, new = current.labels.get(label), computed.get(label)
            if old is not None and new is None:
                found.append((f'labels["{label}"]', f'is immutable, cannot be removed (was "{old}")'))
            elif old is not None and old != new:
                found.append((f'labels["{label}"]', f'is immutable, cannot be changed from "{old}" to "{new}"'))
        if found:
            raise invalid("Could not update a resource", found)

    def _dataplane_spec(self, mesh: str, spec: dict[str, Any], created: bool) -> dict[str, Any]:
        """The zone tag, the health preset of probed inbounds, and the mesh's constraints."""
        spec = copy.deepcopy(spec)
        networking = spec["networking"]
        title = "Failed to create a resource" if created else "Failed to update a resource"
        owner = self.mesh(mesh)
        assert owner is not None
        if not self.release.v3:
            exclusive = (owner.spec.get("meshServices") or {}).get("mode") == "Exclusive"
            for inbound in networking.get("inbound", []):
                if not inbound.get("tags") and exclusive and self.release.inbound_optional:
                    continue
                tags = {**inbound.get("tags", {}), "kuma.io/zone": self.zone}
                inbound["tags"] = dict(sorted(tags.items()))
        gateway = networking.get("gateway")
        if gateway is not None:
            gateway["tags"] = dict(sorted({**gateway.get("tags", {}), "kuma.io/zone": self.zone}.items()))
        if created:
            for inbound in networking.get("inbound", []):
                if "serviceProbe" in inbound:
                    inbound["state"] = "NotReady"
                    inbound["health"] = {}
        elif found := validation.dataplane(spec, self.release):
            # Only updates are validated after the zone tag is in: an inbound without tags can be created but never updated.
            raise invalid(title, found)
        self._check_membership(owner, networking, title)
        return spec

    def _check_membership(self, owner: Resource, networking: dict[str, Any], title: str) -> None:
        """A violated constraint of the mesh has no error of its own and comes out as 500."""
        rules = ((owner.spec.get("constraints") or {}).get("dataplaneProxy")) or {}
        proxies = [inbound.get("tags", {}) for inbound in networking.get("inbound", [])]
        if "gateway" in networking:
            proxies = [networking["gateway"].get("tags", {})]

        def matches(rule: dict[str, Any], tags: dict[str, str]) -> bool:
            wanted = rule.get("tags") or {}
            return all(key in tags and value in ("*", tags[key]) for key, value in wanted.items())

        required, restricted = rules.get("requirements") or [], rules.get("restrictions") or []
        for tags in proxies:
            allowed = not required or any(matches(rule, tags) for rule in required)
            if not allowed or any(matches(rule, tags) for rule in restricted):
                raise Problem(500, title, "Internal Server Error")

    def delete(self, kind: Kind, mesh: str, name: str) -> None:
        """Removes a resource and what it owns. Raises Problem when it is missing or still in use."""
        title = "Could not delete a resource"
        if self.get(kind.name, mesh, name) is None:
            raise not_found(title)
        if kind.name == "Mesh":
            if any(True for _item in self.tables["Dataplane"].within(name)):
                raise invalid(title, [("mesh", "unable to delete mesh, there are still some dataplanes attached")])
            for other, table in self.tables.items():
                if self.kinds[other].is_mesh_scoped:
                    for owned in list(table.within(name)):
                        table.remove(owned.key)
        self.tables[kind.name].remove((mesh, name))
        if kind.name in ("Dataplane", *zones.SCOPES):
            self.insights.pop((zones.mesh_of(kind.name) or mesh, name), None)
        self.version += 1

    def set_health(self, mesh: str, name: str, inbounds: list[dict[str, Any]]) -> None:
        """Writes the inbounds of a Dataplane as the health check does; raises Problem like any update."""
        current = self.dataplane(mesh, name)
        if current is None:
            return
        spec = {**current.spec, "networking": {**current.spec["networking"], "inbound": inbounds}}
        labels = current.labels if self.release.health_keeps_labels else {}
        self.put(current.kind, mesh, name, spec, labels)
