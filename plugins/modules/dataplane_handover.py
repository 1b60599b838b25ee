#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dataplane_handover
short_description: Keep a Dataplane registered while its proxy turns from Direct to Indirect
version_added: 0.1.0
description:
  - A control plane deletes the Dataplane of a Direct proxy ten seconds after the proxy has left, and lets no other proxy of that name in
    before. This module waits for that, and registers the Dataplane again at that moment, with the C(state), C(health) and foreign labels
    that it had.
  - It is to be called when the Direct proxy has stopped, which M(meshfleet.kuma.proxy_restart) with O(meshfleet.kuma.proxy_restart#module:until=stopped)
    waits for. In rolls M(meshfleet.kuma.rollout) does the same.
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.in_process
attributes:
  check_mode:
    support: full
    details:
      - Nothing is waited for.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - A proxy that is connected keeps its Dataplane. That is known after O(wait_timeout).
options:
  dataplane:
    description: The Dataplane, as M(meshfleet.kuma.dataplanes) takes it.
    type: dict
    required: true
  mesh:
    description: The mesh it belongs to.
    type: str
    default: default
  initial_state:
    description: The state of an inbound that the control plane did not have.
    type: str
    choices: [NotReady, Ready]
    default: NotReady
  wait_timeout:
    description:
      - After how many seconds a Dataplane that is neither deleted nor connected again is a failure. Longer than the control plane's
        C(KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY).
    type: float
    default: 60.0
author:
  - The meshfleet.kuma maintainers (@meshfleet)
seealso:
  - module: meshfleet.kuma.proxy_restart
"""

EXAMPLES = r"""
- name: Register the Dataplane of a proxy again that is not Direct any more
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Delete it, as the control plane does when a Direct proxy has left
      meshfleet.kuma.dataplane:
        name: web-1
        state: absent

    - name: Wait until it is deleted and register it
      meshfleet.kuma.dataplane_handover:
        dataplane:
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
action:
  description: V(created), or V(kept) when it need not be written. In check mode V(kept).
  returned: success
  type: str
  sample: created
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 9.9
failure:
  description: Why it failed, with the keys C(kind), C(status), C(title), C(detail) and C(invalid_parameters).
  returned: when the control plane refused or did not answer, or an option cannot be used
  type: dict
requests:
  description: How many HTTP requests were made, retries included.
  returned: always
  type: int
"""

import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import handover, sync


def hand_over(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params, began = call.params, time.monotonic()
    dataplanes = sync.Dataplanes(client, sync.Settings(mesh=params["mesh"], initial_state=params["initial_state"]))
    try:
        desired = dataplanes.prepare([params["dataplane"]])[0]
        action = handover.KEPT if call.check_mode else handover.hand_over(dataplanes, desired, params["wait_timeout"])
    except sync.Refused as refused:
        raise ItemsFailed(refused.msg) from refused
    except handover.StillThere as error:
        raise ItemsFailed(str(error)) from error
    return {"changed": action == handover.CREATED, "action": action, "seconds": round(time.monotonic() - began, 2)}


SPEC = Spec(
    hand_over,
    {
        "dataplane": {"type": "dict", "required": True},
        "mesh": {"type": "str", "default": "default"},
        "initial_state": {"type": "str", "choices": ["NotReady", "Ready"], "default": "NotReady"},
        "wait_timeout": {"type": "float", "default": 60.0},
    },
    names={"mesh": naming.LOOSE, "dataplane.name": naming.NAME, "dataplane.mesh": naming.LOOSE},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
