#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zone_proxies
short_description: Remove zone ingresses and egresses, and never the last of a zone
version_added: 0.1.0
description:
  - Deletes the resources of zone proxies that are stopped, or whose VM is dead. The control plane deletes that of a proxy which closes its
    connection by itself, ten seconds later; that of a dead one stays for 72 hours, and other zones go on calling it.
  - >-
    Refuses to take away the last zone proxy of a kind and zone that is connected, unless O(allow_last). In check mode it says whether it would, so
    that nothing has to be stopped before that is known.
author:
  - The meshfleet.kuma maintainers (@meshfleet)
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
  - meshfleet.kuma.attributes.in_process
options:
  names:
    description: The names of the zone proxies.
    type: list
    elements: str
    required: true
  mesh:
    description: The mesh of the Dataplanes. Only of use from 3.0 on.
    type: str
    default: default
  state:
    description: V(absent) deletes them.
    type: str
    choices: [absent]
    default: absent
  allow_last:
    description: Whether the last one of a kind and zone that is connected may go. Nothing is forwarded from or to other zones then.
    type: bool
    default: false
seealso:
  - module: meshfleet.kuma.zone_proxy_info
"""

EXAMPLES = r"""
- name: Forget a zone proxy whose VM is dead
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Delete its resource
      meshfleet.kuma.zone_proxies:
        names: [gate-1-ingress]
        state: absent
"""

RETURN = r"""
deleted:
  description: The names of those that were registered. In check mode they would be deleted.
  returned: success
  type: list
  elements: str
last:
  description: A sentence for each kind and zone that is left without any.
  returned: success, and when that is why nothing was deleted
  type: list
  elements: str
requests:
  description: How many HTTP requests were made.
  returned: always
  type: int
failure:
  description: What went wrong.
  returned: when the control plane did not answer, or an option cannot be used
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

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import api, resource


def main_task(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params = call.params
    names = set(params["names"])
    overviews = api.overviews(client, params["mesh"])
    last = resource.last_ones(overviews, names)
    if last and not params["allow_last"]:
        raise ItemsFailed(
            f"Nothing was deleted. {'; '.join(last)}. Join another one first, or allow it with allow_last (role: kuma_zone_proxy_leave_last).",
            {"changed": False, "last": last},
        )
    found = [overview for overview in overviews if overview["name"] in names]
    before = "".join(f"{overview['name']}\n" for overview in found)
    deleted = [str(overview["name"]) for overview in found] if call.check_mode else api.delete(client, params["mesh"], found)
    return {"changed": bool(deleted), "deleted": deleted, "last": last, "diff": {"before": before, "after": ""}}


SPEC = Spec(
    main_task,
    {
        "names": {"type": "list", "elements": "str", "required": True},
        "mesh": {"type": "str", "default": "default"},
        "state": {"type": "str", "choices": ["absent"], "default": "absent"},
        "allow_last": {"type": "bool", "default": False},
    },
    names={"names[]": naming.NAME, "mesh": naming.LOOSE},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
