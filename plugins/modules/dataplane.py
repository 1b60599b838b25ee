#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dataplane
short_description: Manage one Dataplane
version_added: 0.1.0
description:
  - Creates, updates or deletes one Dataplane of a mesh, and reads it back after a write.
  - C(state) and C(health) of its inbounds and foreign labels are treated as M(meshfleet.kuma.dataplanes) does. For more than a few
    Dataplanes use that module; it needs one task and one listing for all of them.
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
  - meshfleet.kuma.attributes.in_process
options:
  name:
    description: The name of the Dataplane.
    type: str
    required: true
  mesh:
    description: The mesh it belongs to.
    type: str
    default: default
  state:
    description: Whether the Dataplane exists.
    type: str
    choices: [present, absent]
    default: present
  networking:
    description: What Kuma's HTTP API calls C(networking). Required with O(state=present).
    type: dict
  labels:
    description: Labels. One with the value null is removed; labels that are not named here are left alone.
    type: dict
    default: {}
  initial_state:
    description: The state of an inbound that the control plane does not have yet.
    type: str
    choices: [NotReady, Ready]
    default: NotReady
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Register a Dataplane and remove it
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Register a Dataplane
      meshfleet.kuma.dataplane:
        name: web-1
        networking:
          address: 10.0.0.11
          inbound:
            - port: 8080
              servicePort: 18080
              serviceAddress: 127.0.0.1
              tags: {kuma.io/service: web, kuma.io/protocol: http}

    - name: Remove it
      meshfleet.kuma.dataplane:
        name: web-1
        state: absent
"""

RETURN = r"""
name:
  description: The name of the Dataplane.
  returned: when the control plane answered
  type: str
action:
  description: One of V(created), V(updated), V(unchanged), V(deleted), V(failed). In check mode, what would happen.
  returned: when the control plane answered
  type: str
  sample: created
fields:
  description: The fields that differed.
  returned: when an existing Dataplane differs
  type: list
  elements: str
failure:
  description: Why it failed, with the keys C(kind), C(status), C(title), C(detail) and C(invalid_parameters).
  returned: when it failed
  type: dict
requests:
  description: How many HTTP requests were made, retries included.
  returned: always
  type: int
"""

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import sync


def apply(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params = call.params
    settings = sync.Settings(mesh=params["mesh"], initial_state=params["initial_state"], check=call.check_mode)
    dataplanes = sync.Dataplanes(client, settings)
    try:
        if params["state"] == "absent":
            change = sync.absent_one(dataplanes, params["name"])
        else:
            desired = {"name": params["name"], "networking": params["networking"]}
            if params["labels"]:
                desired["labels"] = params["labels"]
            change = sync.present_one(dataplanes, desired)
    except sync.Refused as refused:
        raise ItemsFailed(refused.msg, {"changed": False, **refused.changes[0].result()}) from refused
    result: t.Dict[str, t.Any] = {"changed": sync.changed([change]), **change.result()}
    if call.diff:
        result["diff"] = sync.diff([change], dataplanes)
    if change.action == sync.FAILED:
        raise ItemsFailed(sync.describe_failures([change]), result)
    return result


SPEC = Spec(
    apply,
    {
        "name": {"type": "str", "required": True},
        "mesh": {"type": "str", "default": "default"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "networking": {"type": "dict"},
        "labels": {"type": "dict", "default": {}},
        "initial_state": {"type": "str", "choices": ["NotReady", "Ready"], "default": "NotReady"},
    },
    names={"name": naming.NAME, "mesh": naming.LOOSE},
    checks={"required_if": [("state", "present", ["networking"])]},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
