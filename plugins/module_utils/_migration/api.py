# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""A mesh read from its control plane for the report about Kuma 3.0, and the result of the task that makes it. Writes nothing."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied, Client, NotFound, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration import report
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.control_plane import GONE_TYPES
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources import model

Resources = t.List[t.Dict[str, t.Any]]


class Reader:
    """Reads what may be read; ``unread`` collects types that the token has no right to, with the reason."""

    def __init__(self, client: Client, mesh: str) -> None:
        self.client = client
        self.mesh = mesh
        self.unread: t.Dict[str, str] = {}
        self.listing: t.Any = None
        try:
            self.listing = client.get("/_resources").body
        except (AccessDenied, NotFound) as error:
            self.unread["policies"] = error.title

    def known(self, type_name: str) -> bool:
        return self.listing is not None and model.is_known(type_name, self.listing)

    def policies(self) -> t.List[str]:
        entries = (self.listing or {}).get("resources") or []
        return sorted(str(entry["name"]) for entry in entries if entry.get("policy") and entry.get("name"))

    def list(self, type_name: str) -> Resources:
        kind = model.kind_of(type_name, self.listing)
        try:
            return self.client.list(api_path(*kind.segments(self.mesh)))
        except AccessDenied as error:
            self.unread[type_name] = error.detail or error.title
        except NotFound as error:
            self.unread[type_name] = error.title
        return []

    def list_known(self, *type_names: str) -> Resources:
        return [resource for type_name in type_names if self.known(type_name) for resource in self.list(type_name)]


def read(client: Client, mesh: str) -> report.World:
    """The world as the control plane shows it. Raises ItemsFailed when there is no such mesh, ApiError when there is no answer."""
    release = client.capabilities().release
    try:
        resource = client.get(api_path("meshes", mesh)).body
    except NotFound as error:
        msg = f"mesh is {mesh}, which {client.url} does not have: correct mesh (kuma_dp_mesh in the playbook), or create the Mesh"
        raise ItemsFailed(msg, {"failure": error.as_failure()}) from error
    reader = Reader(client, mesh)
    return report.World(
        release=release,
        mesh=resource,
        overviews=client.list(api_path("meshes", mesh, "dataplanes", "_overview")),
        mesh_services=reader.list_known("MeshService"),
        identities=reader.list_known("MeshIdentity"),
        policies=reader.list_known(*reader.policies()),
        gone=reader.list_known(*GONE_TYPES),
        zones=[str(zone.get("name")) for zone in reader.list_known("Zone")],
        unread=reader.unread,
    )


def examine(client: Client, mesh: str, hosts: t.Sequence[t.Mapping[str, t.Any]], strangers: bool, fail_on: str) -> Result:
    """``{changed, report, text, failing}``, the last of which counts the findings of the sort that ``fail_on`` names.

    ``hosts`` and ``strangers`` are as ``report.examine`` takes them. Raises what ``read`` does.
    """
    world = read(client, mesh)
    findings = report.examine(world, hosts, strangers)
    capabilities = client.capabilities()
    control_plane = {"product": capabilities.product, "version": capabilities.version, "kuma_version": capabilities.kuma_version}
    return {
        "changed": False,
        "report": report.report(findings, control_plane, mesh),
        "text": report.text(findings, control_plane, mesh, len(world.overviews)),
        "failing": len(report.failing(findings, fail_on)),
    }
