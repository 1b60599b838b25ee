#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zone_proxy_plan
short_description: Plan the join of zone ingresses and egresses, and find everything that speaks against it
version_added: 0.1.0
description:
  - Checks what the inventory says about the zone proxies of all hosts, the archives, and the control plane, and reports all problems at once.
    Nothing is written, neither to the control plane nor to a VM.
  - Makes the resource of every zone proxy, which its kuma-dp registers.
  - The role P(meshfleet.kuma.kuma_zone_proxy#role) begins with the same, in its step M(meshfleet.kuma.fleet_join).
author:
  - The meshfleet.kuma maintainers (@meshfleet)
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
options:
  hosts:
    description: The hosts with zone proxies.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: Its name in the inventory.
        type: str
        required: true
      in_play:
        description: Whether this play handles it. The others count for the uniqueness of names.
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
    description: The mesh that their Dataplanes join. Only of use from 3.0 on.
    type: str
    default: default
"""

EXAMPLES = r"""
- name: Plan the join of a zone ingress
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Plan it
      meshfleet.kuma.zone_proxy_plan:
        hosts:
          - host: gate-1
            variables:
              name: gate-1-ingress
              type: ingress
              address: 10.0.0.21
              version: 2.14.3
              archive: /srv/kuma-2.14.3-linux-{arch}.tar.gz
              archive_checksum: {amd64: "{{ kuma_sha256 }}"}
      vars:
        kuma_sha256: 0f4d9b9a5a3b9c5c9f5c1b0c8b0a3f7f6f3d3a6e1f8c7b6a5d4c3b2a19080706
"""

RETURN = r"""
plan:
  description:
    - "For each host in the play C(proxies): a list with C(name), C(mesh), C(address), C(zone_proxy), C(proxy_type), C(dataplane) (the resource),
      C(outbounds), C(ports), C(token), C(registered), C(ready), C(not_ready_reasons), C(privileged_ports) and what role
      P(meshfleet.kuma.kuma_dp#role) wants to know of a proxy that registers itself; C(refused), why the host must not go on although
      others may; and C(archive), the path of its archive on the controller."
  returned: success
  type: dict
not_ready:
  description: The names of those that are not connected.
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
  description: What is known of the control plane, such as C(version), C(model) and C(zone).
  returned: when the control plane answered
  type: dict
problems:
  description: Everything that speaks against the join, one sentence each.
  type: list
  elements: str
  returned: unless an option cannot be used
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
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import fleet


def plan(call: Call, client: Client) -> t.Dict[str, t.Any]:
    return fleet.plan(client, call.params["hosts"], call.params["mesh"], call.warn)


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
    },
    names={"mesh": naming.LOOSE},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
