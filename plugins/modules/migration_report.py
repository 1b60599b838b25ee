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

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration import api as migration_api
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration import report
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run


def main_task(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params = call.params
    result = migration_api.examine(client, params["mesh"], params["hosts"], params["strangers"], params["fail_on"])
    if result["failing"]:
        raise ItemsFailed(report.verdict(result["failing"], params["fail_on"]), result)
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
