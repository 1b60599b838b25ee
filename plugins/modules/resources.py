#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: resources
short_description: Manage meshes and policies as files
version_added: 0.1.0
description:
  - Brings a control plane to what a directory of YAML and JSON documents says, in one call. Each type is listed once, and only
    what differs is written.
  - Resources are compared as in M(meshfleet.kuma.resource), and every write is read back; a field that the control plane did
    not keep is a failure.
  - Meshes and global secrets are written first, then secrets, identities, services, routes and at last policies. Within one of
    these levels up to eight resources are written at a time. Deletions come last and go the other way round.
  - Everything that can be known beforehand is checked for all documents before the first write, such as unknown types, missing
    names and meshes, resources that are given twice and files that cannot be parsed.
  - A resource that the control plane refuses does not stop the others. Nothing is deleted then.
author:
  - The meshfleet.kuma maintainers (@meshfleet)
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
  - meshfleet.kuma.attributes.in_process
options:
  path:
    description:
      - A directory or a file on the host that this module runs on, which is the controller unless the task runs elsewhere.
      - In a directory all files with the endings C(.yml), C(.yaml) and C(.json) count, also those in directories below, unless a
        name begins with a dot.
      - A file may hold several documents, and a document may be a list of resources.
    type: path
  resources:
    description:
      - More resources, each as in O(path).
      - Not for secrets, which belong into O(secrets) or into files.
    type: list
    elements: dict
  secrets:
    description: Secrets whose values are not in files. The values are kept out of logs, results and diffs.
    type: list
    elements: dict
    suboptions:
      type:
        description: The type.
        type: str
        choices: [Secret, GlobalSecret]
        default: Secret
      mesh:
        description: The mesh of a Secret, when it is not that of O(mesh).
        type: str
      name:
        description: The name.
        type: str
        required: true
      data:
        description: The value, in Base64. Needed unless O(state=absent).
        type: str
      labels:
        description: Labels of the secret.
        type: dict
  mesh:
    description: Mesh of the resources that name none. Without it a resource that belongs to a mesh has to name it.
    type: str
  state:
    description: Whether the resources are to exist. With V(absent) only type, mesh and name matter.
    type: str
    choices: [present, absent]
    default: present
  owner:
    description:
      - Value of the label C(meshfleet.kuma/owner) that every resource of this call gets. Without it no such label is set.
      - A resource with that label and another value is somebody else's, and the call is refused.
      - Not set on control planes before 2.13.
    type: str
  prune:
    description:
      - Delete the resources of all types and all meshes that carry the label of O(owner) and are not in this call.
      - Proxies are never deleted, neither Dataplanes nor zone proxies. A Mesh is not deleted while it holds what somebody else put there.
      - Refused for control planes before 2.13, where labels do not survive.
    type: bool
    default: false
  prune_limit:
    description: More deletions than this are refused, before anything is written.
    type: int
    default: 10
requirements:
  - PyYAML, for O(path)
notes:
  - Dataplanes are refused. M(meshfleet.kuma.dataplanes) manages them, because the control plane writes to them too.
seealso:
  - module: meshfleet.kuma.resource
  - module: meshfleet.kuma.dataplanes
"""

EXAMPLES = r"""
- name: Manage a mesh by files
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Write down a mesh and a policy
      ansible.builtin.copy:
        dest: "{{ playbook_dir }}/catalogue.yml"
        mode: "0644"
        content: |
          type: Mesh
          name: catalogue
          ---
          type: MeshTimeout
          mesh: catalogue
          name: slow
          spec:
            targetRef:
              kind: Mesh
            to:
              - targetRef:
                  kind: Mesh
                default:
                  connectionTimeout: 2s
      check_mode: false

    - name: Apply the file, and delete what was in it and is no longer
      meshfleet.kuma.resources:
        path: "{{ playbook_dir }}/catalogue.yml"
        owner: catalogue
        prune: true

    - name: Apply a secret that comes from somewhere else
      meshfleet.kuma.resources:
        mesh: default
        secrets:
          - name: database-password
            data: "{{ database_password | default('example') | b64encode }}"

    - name: Remove everything that the file names
      meshfleet.kuma.resources:
        path: "{{ playbook_dir }}/catalogue.yml"
        state: absent
"""

RETURN = r"""
results:
  description: One entry for each resource, those to prune included.
  returned: when nothing spoke against the call
  type: list
  elements: dict
  contains:
    type:
      description: The type.
      returned: always
      type: str
    mesh:
      description: The mesh.
      returned: when it belongs to one
      type: str
    name:
      description: The name.
      returned: always
      type: str
    action:
      description:
        - V(created), V(updated), V(unchanged), V(deleted), V(failed) or V(skipped); in check mode what would be done.
      returned: always
      type: str
      sample: created
    source:
      description: The file and the line where it begins, or the option.
      returned: unless it is to be pruned
      type: str
      sample: mesh.yml, line 12
    fields:
      description: The fields that differed.
      returned: when it was there and differed
      type: list
      elements: str
    reason:
      description: Why it failed or was skipped.
      returned: when it did
      type: str
    failure:
      description: What went wrong.
      returned: when it failed
      type: dict
      contains:
        kind: {description: The kind of failure., returned: always, type: str}
        status: {description: The HTTP status., returned: when the control plane answered, type: int}
        title: {description: The control plane's title., returned: always, type: str}
        detail: {description: The control plane's detail., returned: always, type: str}
        invalid_parameters:
          description: What is wrong with which field.
          returned: always
          type: list
          elements: dict
problems:
  description: Everything that speaks against the call, one sentence each. Nothing was written.
  returned: when it was refused
  type: list
  elements: str
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

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed, refusal
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources import documents as resource_documents
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources import model, plan, resource_set

Documents = t.List[resource_documents.Document]


def collect(call: Call) -> t.Tuple[Documents, t.List[str]]:
    """Every document of the options, and what is wrong with them."""
    params = call.params
    documents: Documents = []
    problems: t.List[str] = []
    if params["path"]:
        if resource_documents.YAML_IMPORT_ERROR is not None:
            raise ItemsFailed(missing_required_lib("PyYAML"), {"exception": resource_documents.YAML_IMPORT_ERROR})
        documents, problems = resource_documents.read(params["path"])
    given, faults = resource_documents.given(params["resources"] or [], "resources")
    problems.extend(faults)
    for document in given:
        if str(document.body.get("type")) in model.SECRETS and "data" in document.body:
            problems.append(f"{document.source}: data would be logged: use the option secrets, or a file")
        else:
            documents.append(document)
    secrets = [{key: value for key, value in secret.items() if value is not None} for secret in params["secrets"] or []]
    found, faults = resource_documents.given(secrets, "secrets")
    return documents + found, problems + faults


def hide(call: Call, resources: t.Iterable[t.Optional[t.Mapping[str, t.Any]]]) -> None:
    for resource in resources:
        call.hide(model.hidden(resource or {}))


def secrets(params: t.Mapping[str, t.Any]) -> t.List[str]:
    """Those of ``resources``, which are among the arguments."""
    return [value for resource in params["resources"] or [] for value in model.hidden(resource)]


def apply(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params = call.params
    documents, problems = collect(call)
    hide(call, (document.body for document in documents))
    misnamed = plan.misnamed(documents)
    if misnamed:
        raise refusal([*problems, *misnamed])
    settings = resource_set.Settings(
        mesh=params["mesh"],
        owner=params["owner"],
        absent=params["state"] == "absent",
        prune=params["prune"],
        prune_limit=params["prune_limit"],
        check=call.check_mode,
    )
    resources = resource_set.ResourceSet(client, settings)
    try:
        planned = resources.plan(documents, problems)
    except resource_set.Refused as refused:
        raise refusal(refused.problems) from refused
    items = resources.execute(planned)
    for warning in resources.warnings:
        call.warn(warning)
    hide(call, (resource for item in items if item.action != "unchanged" for resource in (item.before, item.after)))
    result: t.Dict[str, t.Any] = {"changed": resource_set.changed(items), "results": [item.result() for item in items]}
    if call.diff:
        result["diff"] = resource_set.diff(items)
    if any(item.action in ("failed", "skipped") for item in items):
        raise ItemsFailed(resource_set.describe_failures(items), result)
    return result


SECRET = {
    "type": {"type": "str", "choices": ["Secret", "GlobalSecret"], "default": "Secret"},
    "mesh": {"type": "str"},
    "name": {"type": "str", "required": True},
    "data": {"type": "str", "no_log": True},
    "labels": {"type": "dict"},
}
SPEC = Spec(
    apply,
    {
        "path": {"type": "path"},
        "resources": {"type": "list", "elements": "dict"},
        "secrets": {"type": "list", "elements": "dict", "options": SECRET, "no_log": False},
        "mesh": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "owner": {"type": "str"},
        "prune": {"type": "bool", "default": False},
        "prune_limit": {"type": "int", "default": 10},
    },
    names={"mesh": naming.LOOSE, "path": naming.PLACE},
    secrets=secrets,
    checks={"required_one_of": [("path", "resources", "secrets")]},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
