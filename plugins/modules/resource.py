#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: resource
short_description: Manage any Kuma resource but Dataplanes
version_added: 0.1.0
description:
  - Creates, replaces or deletes one resource of the control plane, such as a Mesh, a policy or a secret.
  - The resource is read first and only written when it differs. Kuma replaces a resource as a whole, so a field that is not in
    O(definition) is removed. Labels are the exception, they are kept when O(definition) has none at all.
  - The comparison leaves out what only the control plane writes, which are times, C(kri), C(status) and labels beginning with
    C(kuma.io/), and it knows durations by their length. When the control plane fills in a default that the module does not
    know, a warning says so and what to do.
  - After a write the resource is read back. The task fails and names the fields that the control plane did not keep, which it
    does with names it does not know.
author:
  - The meshfleet.kuma maintainers (@meshfleet)
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
  - meshfleet.kuma.attributes.in_process
options:
  definition:
    description:
      - The resource as Kuma documents it, with C(type), C(name), for most of them C(mesh), and its other fields.
      - C(type), C(name) and C(mesh) may be given as options instead.
      - Not for C(data) of secrets, which belongs into O(data).
    type: dict
    default: {}
  type:
    description: Type of the resource, such as V(Mesh), V(MeshTimeout) or V(Secret).
    type: str
  name:
    description: Name of the resource.
    type: str
  mesh:
    description: Mesh of the resource. V(default) when it is given nowhere, and ignored for types that do not belong to a mesh.
    type: str
  data:
    description:
      - Value of a Secret or GlobalSecret, in Base64.
      - It is kept out of logs, results and diffs.
    type: str
  state:
    description: Whether the resource is to exist.
    type: str
    choices: [present, absent]
    default: present
notes:
  - Dataplanes have modules of their own, M(meshfleet.kuma.dataplane) and M(meshfleet.kuma.dataplanes), because the control plane
    writes to them too.
seealso:
  - module: meshfleet.kuma.resource_info
  - module: meshfleet.kuma.dataplanes
"""

EXAMPLES = r"""
- name: Manage a mesh, a policy and a secret
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Create a mesh with mutual TLS
      meshfleet.kuma.resource:
        definition:
          type: Mesh
          name: shop
          mtls:
            enabledBackend: ca-1
            backends:
              - name: ca-1
                type: builtin

    - name: Set timeouts
      meshfleet.kuma.resource:
        definition:
          type: MeshTimeout
          mesh: shop
          name: slow
          spec:
            targetRef:
              kind: Mesh
            to:
              - targetRef:
                  kind: Mesh
                default:
                  connectionTimeout: 2s

    - name: Keep a password
      meshfleet.kuma.resource:
        type: Secret
        mesh: shop
        name: database-password
        data: "{{ database_password | default('example') | b64encode }}"

    - name: Remove the policy
      meshfleet.kuma.resource:
        type: MeshTimeout
        mesh: shop
        name: slow
        state: absent
"""

RETURN = r"""
action:
  description: V(created), V(updated), V(unchanged) or V(deleted); in check mode what would be done.
  returned: success
  type: str
  sample: created
resource:
  description: The resource as it is now, or as it would be in check mode. Empty when it is absent. Secret values are replaced by their size.
  returned: success
  type: dict
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

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client, Invalid
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources import apply, model


def build(params: t.Mapping[str, t.Any]) -> model.Resource:
    """The definition with what the options add to it. Raises Invalid, naming every problem."""
    definition = dict(params["definition"])
    problems = []
    for key in ("type", "name", "mesh"):
        option, given = params[key], definition.get(key)
        if option is not None and given is not None and str(given) != option:
            problems.append({"field": key, "reason": f"is {option}, but definition.{key} is {given}"})
        elif option is not None:
            definition[key] = option
        elif key != "mesh" and not given:
            problems.append({"field": key, "reason": "is missing: set it here or in definition"})
    kind = definition.get("type")
    if "data" in definition and kind in model.SECRETS:
        problems.append({"field": "definition.data", "reason": "would be logged: use the option data"})
    if params["data"] is not None:
        if kind not in model.SECRETS:
            problems.append({"field": "data", "reason": f"is only for Secret and GlobalSecret, not for {kind}"})
        definition["data"] = params["data"]
    elif kind in model.SECRETS and params["state"] == "present" and "data" not in definition:
        problems.append({"field": "data", "reason": "is missing"})
    if kind == "Dataplane" and params["state"] == "present":
        problems.append({"field": "type", "reason": "Dataplanes have a module of their own, meshfleet.kuma.dataplane"})
    if problems:
        raise Invalid("the resource cannot be used as given", invalid_parameters=problems, remedy="Nothing was written.")
    return definition


def hide(call: Call, resource: t.Mapping[str, t.Any]) -> None:
    call.hide(model.hidden(resource))


def secrets(params: t.Mapping[str, t.Any]) -> t.List[str]:
    """Those of the definition, which is among the arguments."""
    return model.hidden(dict(params["definition"], type=params["definition"].get("type") or params["type"]))


def main_task(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params = call.params
    definition = build(params)
    kind = apply.find_kind(client, definition["type"])
    if kind.in_mesh:
        definition.setdefault("mesh", "default")
    else:
        definition.pop("mesh", None)
    if params["state"] == "present":
        outcome = apply.present(client, kind, definition, call.check_mode)
    else:
        outcome = apply.absent(client, kind, definition.get("mesh"), definition["name"], call.check_mode)
    for resource in (outcome.before, outcome.after):
        hide(call, resource or {})
    for warning in outcome.warnings:
        call.warn(warning)
    before, after = outcome.before or {}, outcome.after or {}
    return {
        "changed": outcome.action != "unchanged",
        "action": outcome.action,
        "resource": model.masked(after),
        "diff": {
            "before_header": f"{kind.type} {definition['name']}",
            "after_header": f"{kind.type} {definition['name']}",
            "before": model.masked(model.comparable(before, definition)),
            "after": model.masked(model.comparable(after, definition), model.comparable(before, definition)),
        },
    }


SPEC = Spec(
    main_task,
    {
        "definition": {"type": "dict", "default": {}},
        "type": {"type": "str"},
        "name": {"type": "str"},
        "mesh": {"type": "str"},
        "data": {"type": "str", "no_log": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    },
    names={
        "type": naming.TYPE,
        "name": naming.LOOSE,
        "mesh": naming.LOOSE,
        "definition.type": naming.TYPE,
        "definition.name": naming.LOOSE,
        "definition.mesh": naming.LOOSE,
    },
    secrets=secrets,
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
