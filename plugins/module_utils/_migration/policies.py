# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What of a policy changes or breaks with Kuma 3.0. Pure functions."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.findings import LOUD, SILENT, Finding
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.mesh import Mesh

Resource = t.Mapping[str, t.Any]

# Recorded: what a policy of 3.0 may apply to.
_TOP_KINDS = ("Mesh", "Dataplane")


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
