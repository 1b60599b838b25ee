#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: resource_info
short_description: Read Kuma resources of any type
version_added: 0.1.0
description:
  - Returns one resource of the control plane by its name, or all resources of a type.
  - Values of secrets are never returned, only their size.
author:
  - The meshfleet.kuma maintainers (@meshfleet)
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
  - meshfleet.kuma.attributes.in_process
options:
  type:
    description: Type of the resources, such as V(Mesh), V(MeshTimeout) or V(Secret).
    type: str
    required: true
  name:
    description: Only the resource with this name. It is no error when there is none.
    type: str
  mesh:
    description: Mesh of the resources. Ignored for types that do not belong to a mesh.
    type: str
    default: default
  all_meshes:
    description: Return the resources of all meshes instead of those of O(mesh).
    type: bool
    default: false
  labels:
    description: Only resources that have all of these labels.
    type: dict
    default: {}
seealso:
  - module: meshfleet.kuma.resource
  - module: meshfleet.kuma.dataplane_info
"""

EXAMPLES = r"""
- name: Look at meshes and policies
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
  tasks:
    - name: Read all meshes
      meshfleet.kuma.resource_info:
        type: Mesh
      register: meshes

    - name: Name those without mutual TLS
      ansible.builtin.debug:
        msg: "{{ meshes.resources | rejectattr('mtls', 'defined') | map(attribute='name') }}"

    - name: Read one policy
      meshfleet.kuma.resource_info:
        type: MeshTimeout
        name: mesh-timeout-all-default
      register: timeouts

    - name: Say whether it is there
      ansible.builtin.debug:
        msg: "{{ 'present' if timeouts.total else 'absent' }}"
"""

RETURN = r"""
resources:
  description: The resources, sorted by mesh and name. Secret values are replaced by their size.
  returned: success
  type: list
  elements: dict
total:
  description: How many they are.
  returned: success
  type: int
  sample: 1
requests:
  description: How many HTTP requests were made.
  returned: always
  type: int
failure:
  description: What went wrong.
  returned: failure
  type: dict
  contains:
    kind:
      description:
        - V(connection), V(tls), V(timeout), V(authentication), V(authorization), V(not_found), V(invalid), V(conflict),
          V(unavailable), V(server) or V(protocol).
      returned: always
      type: str
    status:
      description: Status of the answer.
      returned: when the control plane answered
      type: int
    title:
      description: What went wrong, in a few words.
      returned: always
      type: str
    detail:
      description: More about it, as the control plane says it.
      returned: always
      type: str
    invalid_parameters:
      description: Fields that were refused, each with the reason.
      returned: always
      type: list
      elements: dict
      contains:
        field:
          description: Path of the field.
          returned: always
          type: str
        reason:
          description: What is wrong with it.
          returned: always
          type: str
"""

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources import apply, model


def main_task(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params = call.params
    labels = {str(key): str(value) for key, value in params["labels"].items()}
    kind = apply.find_kind(client, params["type"])
    mesh = None if params["all_meshes"] else params["mesh"]
    if params["name"] and mesh:
        found = apply.read(client, api_path(*kind.segments(mesh, params["name"])), wanted=False)
        resources = [found] if found is not None else []
    else:
        filters = {f"filter[labels.{key}]": value for key, value in labels.items()}
        resources = client.list(api_path(*kind.segments(mesh)), filters)
    kept = [
        resource
        for resource in resources
        if (not params["name"] or resource.get("name") == params["name"]) and status.has_labels(resource, labels)
    ]
    kept.sort(key=lambda resource: (str(resource.get("mesh") or ""), str(resource.get("name"))))
    return {"changed": False, "resources": [model.masked(resource) for resource in kept], "total": len(kept)}


SPEC = Spec(
    main_task,
    {
        "type": {"type": "str", "required": True},
        "name": {"type": "str"},
        "mesh": {"type": "str", "default": "default"},
        "all_meshes": {"type": "bool", "default": False},
        "labels": {"type": "dict", "default": {}},
    },
    names={"type": naming.TYPE, "name": naming.LOOSE, "mesh": naming.LOOSE},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
