#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_info
short_description: Ask a control plane for its version, mode and rights
version_added: 0.1.0
description:
  - Returns product and version of a control plane, what this collection may do with it, and as whom it sees the token.
  - Never changes anything, so it is a good first task of a playbook. A control plane lets anonymous clients do much, so only
    RV(who) shows whether the token is good.
author:
  - The meshfleet.kuma maintainers (@meshfleet)
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
  - meshfleet.kuma.attributes.in_process
options:
  mesh:
    description: Also say whether this mesh exists.
    type: str
seealso:
  - module: meshfleet.kuma.dataplane_info
  - module: meshfleet.kuma.resource_info
"""

EXAMPLES = r"""
- name: Stop early when the control plane cannot be used
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Ask the control plane
      meshfleet.kuma.control_plane_info:
        url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
        mesh: default
      register: control_plane

    - name: Check rights and mesh
      ansible.builtin.assert:
        that:
          - control_plane.mesh_exists
          - control_plane.release is version('2.12', '>=')
        fail_msg: "{{ control_plane.product }} {{ control_plane.version }}, asked as {{ control_plane.who.name }}, cannot be used"
"""

RETURN = r"""
product:
  description: V(Kuma) or V(Kong Mesh).
  returned: success
  type: str
  sample: Kuma
version:
  description: Version as the control plane says it.
  returned: success
  type: str
  sample: 2.14.3
kuma_version:
  description: Version of Kuma; for Kong Mesh the one that it is based on.
  returned: success
  type: str
  sample: 2.14.3
release:
  description: The numbers of RV(kuma_version) alone. Builds without numbers count as 3.0.0.
  returned: success
  type: str
  sample: 2.14.3
model:
  description: V(v2) when services are tags of inbounds, V(v3) when they come from the label C(kuma.io/workload).
  returned: success
  type: str
  sample: v2
mode:
  description: V(zone) or V(global). Dataplanes are written at the control plane of a zone.
  returned: when the token may read the configuration
  type: str
  sample: zone
store:
  description: Where resources are kept. With V(memory) everything is lost when the control plane restarts, signing keys too.
  returned: when the token may read the configuration
  type: str
  sample: postgres
hds_enabled:
  description: Whether the control plane learns from proxies if their services are healthy.
  returned: when the token may read the configuration
  type: bool
envoy_admin_unix_socket:
  description: Whether the admin interface of Envoy is a Unix socket instead of a port.
  returned: when the token may read the configuration, and the version knows it
  type: bool
reloadable_tokens:
  description: Whether proxies read their token file again when it changes.
  returned: when the token may read the configuration
  type: bool
inbound_tags_disabled:
  description: Whether the control plane takes workloads for services although it is a 2.x, which is an experimental setting.
  returned: when the token may read the configuration, and the version knows it
  type: bool
zone:
  description: The name of the zone of the control plane.
  returned: when the token may read the configuration
  type: str
  sample: default
zone_token_users:
  description: Users who may issue tokens for zone proxies.
  returned: when the token may read the configuration
  type: list
  elements: str
  sample: ["mesh-system:admin"]
zone_token_groups:
  description: Groups whose members may issue tokens for zone proxies.
  returned: when the token may read the configuration
  type: list
  elements: str
  sample: ["mesh-system:admin"]
dp_token_users:
  description: Users who may issue tokens for Dataplane proxies.
  returned: when the token may read the configuration
  type: list
  elements: str
  sample: ["mesh-system:admin"]
dp_token_groups:
  description: Groups whose members may issue tokens for Dataplane proxies.
  returned: when the token may read the configuration
  type: list
  elements: str
  sample: ["mesh-system:admin"]
capabilities:
  description: What this collection may do with this version.
  returned: success
  type: dict
  contains:
    labels_survive:
      description: Whether labels of users survive changes of readiness. V(false) below 2.13.
      returned: always
      type: bool
    inbound_tags:
      description: Whether inbounds and outbounds have tags.
      returned: always
      type: bool
    workload_tokens:
      description: Whether tokens can be bound to a workload.
      returned: always
      type: bool
who:
  description: As whom the control plane sees this client.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the user.
      returned: always
      type: str
      sample: mesh-system:admin
    groups:
      description: Groups of the user.
      returned: always
      type: list
      elements: str
      sample: ["mesh-system:admin", "mesh-system:authenticated"]
    admin:
      description: Whether the user is an administrator. Others may have been given single rights all the same.
      returned: always
      type: bool
mesh_exists:
  description: Whether O(mesh) exists.
  returned: when O(mesh) is set
  type: bool
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

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client, NotFound, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run


def who(client: Client) -> t.Dict[str, t.Any]:
    body = client.get("/who-am-i").body
    body = body if isinstance(body, dict) else {}
    name, groups = str(body.get("name") or ""), [str(group) for group in body.get("groups") or []]
    return {"name": name, "groups": groups, "admin": name == naming.ADMIN or naming.ADMIN in groups}


def main_task(call: Call, client: Client) -> t.Dict[str, t.Any]:
    capabilities = client.capabilities()
    result: t.Dict[str, t.Any] = {
        "changed": False,
        "product": capabilities.product,
        "version": capabilities.version,
        "kuma_version": capabilities.kuma_version,
        "release": ".".join(str(number) for number in capabilities.release),
        "model": capabilities.model,
        "capabilities": {
            "labels_survive": capabilities.labels_survive,
            "inbound_tags": capabilities.model == "v2",
            "workload_tokens": capabilities.workload_tokens,
        },
        "who": who(client),
    }
    result.update(client.control_plane())
    mesh = call.params["mesh"]
    if mesh:
        try:
            client.get(api_path("meshes", mesh))
            result["mesh_exists"] = True
        except NotFound:
            result["mesh_exists"] = False
    return result


SPEC = Spec(main_task, {"mesh": {"type": "str"}}, names={"mesh": naming.LOOSE})


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
