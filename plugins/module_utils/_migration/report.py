# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The report about a migration to Kuma 3.0: all findings in order, counted per host, as JSON and as lines of text. Pure functions."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Numbers
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import inventory
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.control_plane import of_gone_type, of_mesh, of_zone, unseen
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.dataplanes import of_dataplane
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.findings import CHANGES, INFO, LOUD, SEVERITIES, SILENT, Finding
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.inventory import of_host
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.mesh import Mesh
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.policies import of_policy

TITLES = {SILENT: "breaks silently", LOUD: "breaks loudly", CHANGES: "changes", INFO: "info"}
FAIL_ON = {"none": (), "silent": (SILENT,), "any": (SILENT, LOUD, CHANGES)}
# How many places, names of more of them, and remedies a sort of finding shows.
_PLACES, _NAMES, _REMEDIES = 5, 10, 20


class World(t.NamedTuple):
    """What a control plane holds of one mesh, as lists of resources. ``unread``: types that may not be read, with the reason."""

    release: Numbers
    mesh: t.Mapping[str, t.Any]
    overviews: t.Sequence[t.Mapping[str, t.Any]]
    mesh_services: t.Sequence[t.Mapping[str, t.Any]] = ()
    identities: t.Sequence[t.Mapping[str, t.Any]] = ()
    policies: t.Sequence[t.Mapping[str, t.Any]] = ()
    gone: t.Sequence[t.Mapping[str, t.Any]] = ()
    zones: t.Sequence[str] = ()
    unread: t.Mapping[str, str] = {}


def examine(world: World, hosts: t.Sequence[t.Mapping[str, t.Any]], strangers: bool = True) -> t.List[Finding]:
    """All findings, the worst first.

    ``hosts``: ``[{host, in_play, variables}]``; those not in the play only help to understand the others. ``strangers``: whether
    Dataplanes that belong to no host are examined as well.
    """
    name = str(world.mesh.get("name"))
    proxies: t.List[t.Dict[str, t.Any]] = []
    offered: t.Set[str] = set()
    for host in hosts:
        for proxy in inventory.read(host["host"], host.get("variables") or {}, "v2")[0]:
            if proxy["mesh"] == name:
                proxies.append(dict(proxy, owner=(host.get("variables") or {}).get("owner"), in_play=host.get("in_play", True)))
                offered.update(service["name"] for service in proxy["services"])
    mesh = Mesh(name, world.overviews, proxies, world.mesh_services)
    findings = [
        *of_mesh(world.mesh, world.identities, world.release),
        *map(of_gone_type, world.gone),
    ]
    for policy in world.policies:
        findings.extend(of_policy(policy, mesh))
    labels = [dataplane.get("labels") or {} for dataplane in mesh.live.values()]
    for zone in sorted({*world.zones, *(str(label["kuma.io/zone"]) for label in labels if label.get("kuma.io/zone"))}):
        findings.extend(of_zone(zone))
    for dataplane in sorted(mesh.live):
        if mesh.proxies[dataplane]["in_play"] if dataplane in mesh.proxies else strangers:
            findings.extend(of_dataplane(mesh, dataplane, world.release))
    for host in hosts:
        if host.get("in_play", True) and str((host.get("variables") or {}).get("mesh") or "default") == name:
            findings.extend(of_host(host["host"], host.get("variables") or {}, mesh, offered, world.release))
    for type_name, reason in sorted(world.unread.items()):
        then = "nobody looked at them"
        findings.append(Finding(INFO, "unread", type_name, name, "", "", "", reason, then, "use a token that may read them"))
    findings.extend(unseen(name))
    return sorted(findings, key=lambda item: (SEVERITIES.index(item.severity), item.code, item.type, item.host, item.name, item.field))


def report(findings: t.Sequence[Finding], control_plane: t.Mapping[str, t.Any], mesh: str) -> t.Dict[str, t.Any]:
    """The report as it is written to a file: ``{control_plane, mesh, target, counts, hosts, findings}``."""
    hosts: t.Dict[str, t.Dict[str, int]] = {}
    for finding in findings:
        if finding.host:
            counts = hosts.setdefault(finding.host, dict.fromkeys(SEVERITIES, 0))
            counts[finding.severity] += 1
    return {
        "control_plane": dict(control_plane),
        "mesh": mesh,
        "target": "3.0",
        "counts": {severity: sum(1 for finding in findings if finding.severity == severity) for severity in SEVERITIES},
        "hosts": dict(sorted(hosts.items())),
        "findings": [finding._asdict() for finding in findings],
    }


def text(findings: t.Sequence[Finding], control_plane: t.Mapping[str, t.Any], mesh: str, dataplanes: int) -> t.List[str]:
    """The report as lines: findings of one sort together, those with the same remedy under it."""
    summary = report(findings, control_plane, mesh)
    version = "%s %s" % (control_plane.get("product", "Kuma"), control_plane.get("version", ""))
    lines = ["Mesh %s on %s with %d Dataplanes. With Kuma 3.0: %s" % (mesh, version, dataplanes, _told(summary["counts"]))]
    sorts: t.Dict[t.Tuple[str, str, str], t.Dict[t.Tuple[str, str], t.List[Finding]]] = {}
    for finding in findings:
        alike = sorts.setdefault((finding.severity, finding.code, finding.type), {})
        alike.setdefault((finding.then, finding.remedy), []).append(finding)
    for (severity, code, _type), groups in sorts.items():
        lines.append("")
        lines.append("[%s] %s (%d)" % (TITLES[severity], code, sum(map(len, groups.values()))))
        for (then, remedy), members in list(groups.items())[:_REMEDIES]:
            lines.extend("  %s: %s" % (_place(finding), finding.found) for finding in members[:_PLACES])
            if len(members) > _PLACES:
                others = sorted({finding.host or finding.name for finding in members[_PLACES:]})
                lines.append(
                    "  and %d more at %s" % (len(members) - _PLACES, ", ".join(others[:_NAMES]) + (", ..." if others[_NAMES:] else ""))
                )
            lines.append("    3.0: %s" % then)
            lines.append("    do: %s" % remedy)
        if len(groups) > _REMEDIES:
            lines.append("  and %d more, each with its remedy in the report as JSON" % sum(map(len, list(groups.values())[_REMEDIES:])))
    if summary["hosts"]:
        lines.append("")
    lines.extend("%s: %s" % (host, _told(counts)) for host, counts in summary["hosts"].items())
    return lines


def _told(counts: t.Mapping[str, int]) -> str:
    return ", ".join("%s %d" % (TITLES[severity], counts[severity]) for severity in SEVERITIES if counts[severity]) or "nothing changes"


def failing(findings: t.Iterable[Finding], fail_on: str) -> t.List[Finding]:
    """The findings that ``fail_on`` (none, silent, any) turns into a failure; info never does."""
    return [finding for finding in findings if finding.severity in FAIL_ON[fail_on]]


def verdict(failing: int, fail_on: str) -> str:
    """Why a task fails that was asked to, with as many findings of that sort."""
    return f"{failing} findings about Kuma 3.0 are of the sort that fail_on ({fail_on}) names. The report says what to do about each."


def _place(finding: Finding) -> str:
    resource = " ".join(part for part in (finding.type, finding.name) if part)
    parts = [finding.host, resource if finding.type != "inventory" else finding.name, finding.field]
    return ", ".join(dict.fromkeys(part for part in parts if part))
