#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zone_proxy_info
short_description: List zone ingresses and egresses, and wait for them
version_added: 0.1.0
description:
  - Returns the zone proxies that a control plane knows, together with what it knows about their connections. Ingresses that other zones
    have sent are among them.
  - Up to 2.x these are the resources ZoneIngress and ZoneEgress, from 3.0 on the Dataplanes of O(mesh) with listeners.
  - Can wait until zone proxies are connected, or are gone. Each poll is two listings, or one from 3.0 on.
author:
  - The meshfleet.kuma maintainers (@meshfleet)
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
  - meshfleet.kuma.attributes.in_process
options:
  mesh:
    description: The mesh of the Dataplanes. Only of use from 3.0 on.
    type: str
    default: default
  names:
    description: Only these zone proxies. All of them when it is empty.
    type: list
    elements: str
    default: []
  wait:
    description:
      - What to wait for.
      - V(online) is that every one of O(names) is registered, and connected to the control plane. There is nothing more that the control
        plane could tell about it.
      - V(gone) is that none of O(names) is registered.
      - In check mode nothing is waited for.
    type: str
    choices: [none, online, gone]
    default: none
  wait_timeout:
    description: After how many seconds waiting fails. The message names every one that is missing, and why.
    type: float
    default: 120.0
  poll_interval:
    description: Seconds between two polls.
    type: float
    default: 1.0
seealso:
  - module: meshfleet.kuma.zone_proxies
"""

EXAMPLES = r"""
- name: Look at the zone proxies
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: List them
      meshfleet.kuma.zone_proxy_info:
      register: zone_proxies

    - name: Say which are connected
      ansible.builtin.debug:
        msg: "{{ zone_proxies.zone_proxies | selectattr('online') | map(attribute='name') | join(', ') }}"
"""

RETURN = r"""
zone_proxies:
  description: The zone proxies, ordered by name.
  returned: success, and when waiting took too long
  type: list
  elements: dict
  contains:
    name: {description: Its name., returned: always, type: str, sample: gate-1-ingress}
    kinds: {description: "What it is, V(ingress) or V(egress); both are possible from 3.0 on.", returned: always, type: list, elements: str}
    groups: {description: What it offers together with others of its kind and zone., returned: always, type: list, elements: str}
    online: {description: Whether it is connected to the control plane., returned: always, type: bool}
    version: {description: Version of its kuma-dp., returned: always, type: str, sample: 2.14.3}
    reasons: {description: Why it is not connected., returned: always, type: list, elements: str}
    resource: {description: The resource as the control plane has it., returned: always, type: dict}
    insight: {description: What the control plane knows about its connections., returned: always, type: dict}
missing:
  description: Those of O(names) that are not registered.
  returned: success, and when waiting took too long
  type: list
  elements: str
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

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client, ConnectionFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import api, resource


def describe(overview: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    given = overview.get("zoneProxy")
    return {
        "name": overview["name"],
        "kinds": [given["kind"]] if given else resource.listeners(overview["dataplane"]),
        "groups": resource.groups_of(overview),
        "online": status.online(overview),
        "version": status.version(overview),
        "reasons": status.ready(overview)[1],
        "resource": status.dataplane(overview),
        "insight": overview.get("dataplaneInsight") or {},
    }


def main_task(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params = call.params
    names, wait = params["names"], params["wait"]
    overviews, pending = api.wait_for(
        client, params["mesh"], names, "none" if call.check_mode else wait, params["wait_timeout"], params["poll_interval"]
    )
    found = {overview["name"] for overview in overviews}
    result: t.Dict[str, t.Any] = {
        "changed": False,
        "zone_proxies": [describe(overview) for overview in overviews if not names or overview["name"] in names],
        "missing": [name for name in names if name not in found],
    }
    if not pending:
        return result
    reasons = "; ".join(f"{name}: {reason}" for name, reason in pending)
    title = f"{len(pending)} of {len(set(names))} zone proxies are not {wait} after {params['wait_timeout']:g} s"
    result["failure"] = ConnectionFailed(title, reasons, kind="timeout").as_failure()
    raise ItemsFailed(f"{title}: {reasons}", result)


SPEC = Spec(
    main_task,
    {
        "mesh": {"type": "str", "default": "default"},
        "names": {"type": "list", "elements": "str", "default": []},
        "wait": {"type": "str", "choices": list(api.WAITS), "default": "none"},
        "wait_timeout": {"type": "float", "default": 120.0},
        "poll_interval": {"type": "float", "default": 1.0},
    },
    names={"names[]": naming.NAME, "mesh": naming.LOOSE},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
