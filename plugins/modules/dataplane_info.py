#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dataplane_info
short_description: List Dataplanes with their status, and wait for them
version_added: 0.1.0
description:
  - Returns the Dataplanes of a mesh together with what the control plane knows about their proxies, and the status that
    kumactl and the GUI compute from it.
  - Can wait until proxies are connected, until they get traffic, or until Dataplanes are gone. Each poll is one listing
    (one request for 1,000 Dataplanes), however many Dataplanes are waited for.
author:
  - The meshfleet.kuma maintainers (@meshfleet)
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
  - meshfleet.kuma.attributes.in_process
options:
  mesh:
    description: The mesh of the Dataplanes.
    type: str
    default: default
  names:
    description: Only these Dataplanes. All of the mesh when it is empty.
    type: list
    elements: str
    default: []
  labels:
    description: Only Dataplanes that have all of these labels.
    type: dict
    default: {}
  wait:
    description:
      - What to wait for.
      - V(online) is that the proxies are connected to the control plane.
      - V(ready) is that they also get traffic on every inbound. A proxy without inbounds is ready when it is connected.
      - V(gone) is that no such Dataplane is registered.
      - With V(online) and V(ready) every one of O(names) has to be registered too.
      - In check mode nothing is waited for.
    type: str
    choices: [none, online, ready, gone]
    default: none
  wait_timeout:
    description: After how many seconds waiting fails. The message names every Dataplane that is missing, and why.
    type: float
    default: 120.0
  poll_interval:
    description: Seconds between two polls.
    type: float
    default: 1.0
seealso:
  - module: meshfleet.kuma.dataplanes
  - module: meshfleet.kuma.control_plane_info
"""

EXAMPLES = r"""
- name: Show which proxies of the mesh are not serving
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
  tasks:
    - name: Read the status of all proxies
      meshfleet.kuma.dataplane_info:
        mesh: default
      register: mesh_status

    - name: Name those that are not serving
      ansible.builtin.debug:
        msg: "{{ item.name }} is {{ item.status }}: {{ item.reasons | join(', ') }}"
      loop: "{{ mesh_status.dataplanes | rejectattr('ready') }}"
      loop_control:
        label: "{{ item.name }}"

    - name: Wait until nothing is registered for a team
      meshfleet.kuma.dataplane_info:
        labels:
          team: retired
        wait: gone
        wait_timeout: 30
"""

RETURN = r"""
dataplanes:
  description: The Dataplanes, sorted by name.
  returned: success, and when waiting took too long
  type: list
  elements: dict
  contains:
    name:
      description: Name of the Dataplane.
      returned: always
      type: str
      sample: web-1
    mesh:
      description: Its mesh.
      returned: always
      type: str
      sample: default
    status:
      description:
        - V(Online), V(Offline) or V(Partially degraded), as kumactl shows it.
        - A proxy that is connected but gets no traffic is V(Offline) too, and so is a proxy without inbounds.
      returned: always
      type: str
      sample: Online
    online:
      description: Whether the proxy is connected to the control plane.
      returned: always
      type: bool
    ready:
      description: Whether the proxy is connected and gets traffic on every inbound.
      returned: always
      type: bool
    fenced:
      description: Whether some inbound is kept out of traffic by its C(health) alone, as done for maintenance.
      returned: always
      type: bool
    reasons:
      description: Why the proxy is not ready.
      returned: always
      type: list
      elements: str
      sample: ["never connected"]
    dataplane:
      description: The Dataplane resource. Can be given to M(meshfleet.kuma.dataplanes).
      returned: always
      type: dict
    insight:
      description: What the control plane knows about the proxy, such as its subscriptions and certificate. Empty when it never connected.
      returned: always
      type: dict
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
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import waiting


def describe(overview: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    is_ready, reasons = status.ready(overview)
    return {
        "name": overview["name"],
        "mesh": overview["mesh"],
        "status": status.status(overview),
        "online": status.online(overview),
        "ready": is_ready,
        "fenced": status.fenced(overview),
        "reasons": reasons,
        "dataplane": status.dataplane(overview),
        "insight": overview.get("dataplaneInsight") or {},
    }


def main_task(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params = call.params
    mesh, names, wait = params["mesh"], params["names"], params["wait"]
    overviews, pending = waiting.wait_for(
        client,
        mesh,
        names,
        {str(key): str(value) for key, value in params["labels"].items()},
        "none" if call.check_mode else wait,
        params["wait_timeout"],
        params["poll_interval"],
    )
    found = {overview["name"] for overview in overviews}
    result = {
        "changed": False,
        "dataplanes": [describe(overview) for overview in overviews],
        "missing": [name for name in names if name not in found],
    }
    if not pending:
        return result
    count = len(set(names) | found)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in pending)
    title = f"{len(pending)} of {count} Dataplanes of mesh {mesh} are not {wait} after {params['wait_timeout']:g} s"
    result["failure"] = ConnectionFailed(title, reasons, kind="timeout").as_failure()
    raise ItemsFailed(f"{title}: {reasons}", result)


SPEC = Spec(
    main_task,
    {
        "mesh": {"type": "str", "default": "default"},
        "names": {"type": "list", "elements": "str", "default": []},
        "labels": {"type": "dict", "default": {}},
        "wait": {"type": "str", "choices": list(waiting.WAITS), "default": "none"},
        "wait_timeout": {"type": "float", "default": 120.0},
        "poll_interval": {"type": "float", "default": 1.0},
    },
    names={"mesh": naming.LOOSE, "names[]": naming.NAME},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
