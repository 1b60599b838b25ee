#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_report
short_description: Say what of a fleet changes or breaks with Kuma 3.0
version_added: 0.1.0
description:
  - Reads a mesh from its control plane and compares it with what the inventory says. Returns what Kuma 3.0 does differently, for every
    Dataplane, for the mesh, its policies and zone proxies, each with the remedy.
  - Much of it breaks without an error, because 3.0 drops fields that it does not know any more.
  - The playbook C(meshfleet.kuma.migration_report) calls it for a fleet.
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
  - meshfleet.kuma.attributes.in_process
options:
  mesh:
    description: The mesh.
    type: str
    default: default
  hosts:
    description: The hosts of the fleet. Without them only what the control plane holds is examined.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Its name in the inventory.
        type: str
        required: true
      in_play:
        description: Whether it is reported. The others help to understand the rest.
        type: bool
        default: true
      variables:
        description: The variables of the role P(meshfleet.kuma.kuma_dp#role) for this host, without their prefix.
        type: dict
        default: {}
  strangers:
    description: Whether Dataplanes of the mesh that belong to none of O(hosts) are reported.
    type: bool
    default: true
  fail_on:
    description:
      - What makes the module fail, with the whole report in its result. V(silent) is for what breaks without an error, V(any) for
        everything that breaks or changes.
    type: str
    choices: [none, silent, any]
    default: none
seealso:
  - module: meshfleet.kuma.fleet_plan
  - module: meshfleet.kuma.resources
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: See what breaks with Kuma 3.0
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Examine the mesh
      meshfleet.kuma.migration_report:
        mesh: default
      register: migration

    - name: Show the report
      ansible.builtin.debug:
        msg: "{{ migration.text }}"
"""

RETURN = r"""
report:
  description: The report.
  returned: when the control plane answered
  type: dict
  contains:
    control_plane: {description: "C(product), C(version) and C(kuma_version) of the control plane.", returned: always, type: dict}
    mesh: {description: The mesh., returned: always, type: str}
    target: {description: The version that is compared with., returned: always, type: str, sample: "3.0"}
    counts: {description: "How many findings there are of C(silent), C(loud), C(changes) and C(info).", returned: always, type: dict}
    hosts: {description: The same for every host that has findings., returned: always, type: dict}
    findings:
      description: The findings, the worst first.
      returned: always
      type: list
      elements: dict
      contains:
        severity:
          description:
            - V(silent) for what breaks without an error, V(loud) for what is refused, V(changes) for what works differently and V(info).
          returned: always
          type: str
        code: {description: A word for findings of this sort., returned: always, type: str, sample: outbound-tags}
        type: {description: "Type of the resource, or V(inventory).", returned: always, type: str}
        mesh: {description: The mesh., returned: always, type: str}
        name: {description: Name of the resource., returned: always, type: str}
        host: {description: "The host that it belongs to, empty for none.", returned: always, type: str}
        field: {description: Path of the field., returned: always, type: str}
        found: {description: What is there., returned: always, type: str}
        then: {description: What 3.0 does., returned: always, type: str}
        remedy: {description: What to do., returned: always, type: str}
text:
  description: The same for people, as lines.
  returned: when the control plane answered
  type: list
  elements: str
failing:
  description: How many findings O(fail_on) counts.
  returned: when the control plane answered
  type: int
failure:
  description: Why it failed, with the keys C(kind), C(status), C(title), C(detail) and C(invalid_parameters).
  returned: when the control plane did not answer, or an option cannot be used
  type: dict
requests:
  description: How many HTTP requests were made, retries included.
  returned: always
  type: int
"""

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied, Client, NotFound, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration import report
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.control_plane import GONE_TYPES
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run
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


def main_task(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params = call.params
    world = read(client, params["mesh"])
    findings = report.examine(world, params["hosts"], params["strangers"])
    capabilities = client.capabilities()
    control_plane = {"product": capabilities.product, "version": capabilities.version, "kuma_version": capabilities.kuma_version}
    failing = report.failing(findings, params["fail_on"])
    result: t.Dict[str, t.Any] = {
        "changed": False,
        "report": report.report(findings, control_plane, params["mesh"]),
        "text": report.text(findings, control_plane, params["mesh"], len(world.overviews)),
        "failing": len(failing),
    }
    if failing:
        msg = (
            f"{len(failing)} findings about Kuma 3.0 are of the sort that fail_on ({params['fail_on']}) names. "
            "The report says what to do about each."
        )
        raise ItemsFailed(msg, result)
    return result


HOST = {
    "host": {"type": "str", "required": True},
    "in_play": {"type": "bool", "default": True},
    "variables": {"type": "dict", "default": {}},
}
SPEC = Spec(
    main_task,
    {
        "mesh": {"type": "str", "default": "default"},
        "hosts": {"type": "list", "elements": "dict", "default": [], "options": HOST},
        "strangers": {"type": "bool", "default": True},
        "fail_on": {"type": "str", "choices": ["none", "silent", "any"], "default": "none"},
    },
    names={"mesh": naming.LOOSE},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
