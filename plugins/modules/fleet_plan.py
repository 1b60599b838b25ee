#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_plan
short_description: Plan the join of a fleet, and find everything that speaks against it
version_added: 0.1.0
description:
  - Reads the control plane and checks what the inventory says about every host. All problems are reported in one message; nothing
    is written, neither to the control plane nor to a VM.
  - Computes the outbound ports of the whole fleet and the Dataplane of every proxy.
  - The role P(meshfleet.kuma.kuma_dp#role) begins with the same, in its step M(meshfleet.kuma.fleet_join).
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
options:
  hosts:
    description: The hosts of the fleet.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: Its name in the inventory.
        type: str
        required: true
      in_play:
        description: Whether this play handles it. The others count for uniqueness and for outbound ports.
        type: bool
        default: true
      dropped_out:
        description: Whether it was in the play and is no longer. What is wrong with its variables is a problem all the same.
        type: bool
        default: false
      variables:
        description: The variables of the role for this host, without their prefix.
        type: dict
        default: {}
      observed:
        description: What M(meshfleet.kuma.proxy_info) returned as RV(meshfleet.kuma.proxy_info#module:host) for it.
        type: dict
  mesh:
    description: The mesh that they join.
    type: str
    default: default
  initial_state:
    description: The state that new inbounds get.
    type: str
    choices: [NotReady, Ready]
    default: NotReady
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Plan the join of a host
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Plan the join of one host
      meshfleet.kuma.fleet_plan:
        hosts:
          - host: web-1
            variables:
              name: web-1
              address: 10.0.0.11
              version: 2.14.3
              archive: /srv/kuma-2.14.3-linux-{arch}.tar.gz
              archive_checksum: {amd64: "{{ kuma_sha256 }}"}
              services: [{name: web, port: 8080, service_port: 18080, protocol: http}]
              upstreams: [backend]
      vars:
        kuma_sha256: 0f4d9b9a5a3b9c5c9f5c1b0c8b0a3f7f6f3d3a6e1f8c7b6a5d4c3b2a19080706
"""

RETURN = r"""
plan:
  description:
    - "For each host in the play C(proxies): a list with C(name), C(mesh), C(address), C(dataplane), C(outbounds), C(ports), C(workload),
      C(claims) (C(services) and C(workload): what it may claim to be),
      C(token), C(registered), C(differs), C(ready), C(not_ready_reasons), C(labels_lost), C(gates), C(fenced), C(privileged_ports),
      C(lifecycle), C(file) and C(template) (what the Dataplane file of a Direct proxy holds), C(arguments) (for its kuma-dp) and C(hold)
      (why it must not be restarted now) of every proxy; C(refused), why the host must not go on although others may; and C(archive), the
      path of its archive on the controller."
  returned: success
  type: dict
dataplanes:
  description: The Dataplanes of all hosts in the play that the play registers, which are those of Indirect proxies.
  returned: success
  type: list
  elements: dict
differing:
  description: The names of those of RV(dataplanes) that the control plane does not hold like that.
  returned: success
  type: list
  elements: str
labels_lost:
  description: The names of those of C(differing) that have none of their labels, which control planes before 2.13 lose.
  returned: success
  type: list
  elements: str
not_ready:
  description: The names of those that are not in traffic although nobody fenced them.
  returned: success
  type: list
  elements: str
fetch:
  description: Archives that are not on the controller yet, with C(url), C(path) and C(checksum).
  returned: success
  type: list
  elements: dict
certificates:
  description:
    - When the control plane's trust ends, as its VMs see it, each with C(what) (V(CA), which is in use, or V(certificate), of the control plane),
      C(subject), and C(not_before) and C(not_after) in seconds since 1970.
  returned: success
  type: list
  elements: dict
control_plane:
  description: What is known of the control plane, such as C(version), C(model) and C(store).
  returned: when the control plane answered
  type: dict
problems:
  description: Everything that speaks against the join, one sentence each.
  returned: unless an option cannot be used
  type: list
  elements: str
failure:
  description: Why it failed, with the keys C(kind), C(status), C(title), C(detail) and C(invalid_parameters).
  returned: when an option cannot be used
  type: dict
requests:
  description: How many HTTP requests were made, retries included.
  returned: always
  type: int
"""

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import fleet
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run


def plan(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params = call.params
    result = fleet.plan(client, params["hosts"], params["mesh"], params["initial_state"], call.warn)
    result.pop("live")
    return result


SPEC = Spec(
    plan,
    {
        "hosts": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "host": {"type": "str", "required": True},
                "in_play": {"type": "bool", "default": True},
                "dropped_out": {"type": "bool", "default": False},
                "variables": {"type": "dict", "default": {}},
                "observed": {"type": "dict"},
            },
        },
        "mesh": {"type": "str", "default": "default"},
        "initial_state": {"type": "str", "choices": ["NotReady", "Ready"], "default": "NotReady"},
    },
    names={"mesh": naming.LOOSE},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
