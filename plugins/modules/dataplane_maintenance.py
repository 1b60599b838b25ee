#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dataplane_maintenance
short_description: Take proxies out of traffic and back
version_added: 0.1.0
description:
  - Fences Dataplanes, so that nobody calls their proxies any more, and brings them back. One listing of the mesh, one read and one
    write for each Dataplane that differs over at most eight connections, and one more listing that proves the writes.
  - >-
    A fence is C(health) with C(ready) false on every inbound that is in traffic. C(state) is left alone: the control plane's health
    checks would undo a C(NotReady) within seconds and never undo an C(Ignored).
  - Inbounds that are C(NotReady) get no traffic anyway and are not fenced. They come into traffic when their proxy is healthy, and the
    module warns about them.
  - Connections and requests that are under way go on. Wait until they are done before a proxy is stopped.
  - Then waits until callers have seen it. Where the token has the rights of C(mesh-system:admin) and connected proxies call the
    service, this is measured in the clusters of up to three of them; otherwise it waits for O(propagation_delay).
  - Dataplanes without inbounds need no fence, for nobody calls them. A gateway cannot be fenced and fails.
  - >-
    A proxy that is stopped while it is fenced reports itself unhealthy, and the control plane's health checks bring it into traffic when
    it starts again. Such Dataplanes are in RV(lost); fence them once more. A Direct proxy loses its fence with every restart.
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
  - meshfleet.kuma.attributes.in_process
attributes:
  idempotent:
    support: partial
    details:
      - With O(duration), a fence is prolonged when it is repeated after half of that time.
options:
  names:
    description: The Dataplanes. Each has to be registered.
    type: list
    elements: str
  labels:
    description:
      - All Dataplanes that have all of these labels, instead of O(names).
      - Refused for control planes before 2.13, which lose labels.
    type: dict
  mesh:
    description: The mesh of the Dataplanes.
    type: str
    default: default
  state:
    description:
      - Whether the Dataplanes are out of traffic or in it.
      - V(in_traffic) lifts fences alone. An inbound that is C(NotReady) or C(Ignored) stays so.
    type: str
    choices: [fenced, in_traffic]
    required: true
  reason:
    description:
      - Why, for the label C(meshfleet.kuma/maintenance). It is turned into lower case letters, digits, dots and dashes, at most 63.
      - No label is set for control planes before 2.13, which lose labels.
    type: str
    default: maintenance
  duration:
    description:
      - For how long, such as V(2h) or V(90m), for the label C(meshfleet.kuma/maintenance-until) in epoch seconds.
      - Nothing lifts the fence at that time. It is reported in RV(stale) from then on.
      - Without it there is no such label. When the fence exists and more than half of this time is left, its end stays as it is.
    type: str
  force:
    description:
      - Fence also when a service would be left without any instance that is connected and in traffic.
      - Lift also the fence of a proxy that is not connected.
    type: bool
    default: false
  wait:
    description: Whether to wait until callers have seen it. Nothing is waited for in check mode or when no inbound was written.
    type: bool
    default: true
  propagation_delay:
    description:
      - Seconds to wait where it cannot be measured.
      - Callers get it within 3 seconds with the default settings of the control plane, and later in other zones.
    type: float
    default: 3.0
  wait_timeout:
    description: After how many seconds of measuring a fence that callers have not seen fails.
    type: float
    default: 30.0
  poll_interval:
    description: Seconds between two looks at the clusters of the callers.
    type: float
    default: 0.5
author:
  - The meshfleet.kuma maintainers (@meshfleet)
seealso:
  - module: meshfleet.kuma.dataplane_info
  - module: meshfleet.kuma.dataplanes
"""

EXAMPLES = r"""
- name: Take the proxies of a team out of traffic and back
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Take them out for two hours
      meshfleet.kuma.dataplane_maintenance:
        labels: {team: storage}
        state: fenced
        reason: disk swap
        duration: 2h
      register: maintenance

    - name: Bring them back
      meshfleet.kuma.dataplane_maintenance:
        names: "{{ maintenance.results | map(attribute='name') }}"
        state: in_traffic

    - name: Find forgotten ones
      meshfleet.kuma.dataplane_maintenance:
        names: []
        state: fenced
      register: forgotten
      failed_when: forgotten.stale | length > 0
"""

RETURN = r"""
results:
  description: One entry per Dataplane, sorted by name. After a refusal nothing was written, and those that would have been are V(skipped).
  returned: when the control plane answered
  type: list
  elements: dict
  contains:
    name:
      description: The name of the Dataplane.
      returned: always
      type: str
    action:
      description: One of V(fenced), V(lifted), V(unchanged), V(failed), V(skipped). In check mode, what would happen.
      returned: always
      type: str
      sample: fenced
    fields:
      description: What differed.
      returned: when it differed
      type: list
      elements: str
      sample: ["networking.inbound[0].health", 'labels["meshfleet.kuma/maintenance"]']
    failure:
      description: Why it failed.
      returned: when it failed
      type: dict
      contains:
        kind: {description: The kind of failure., returned: always, type: str}
        status: {description: The HTTP status., returned: when the control plane answered, type: int}
        title: {description: The control plane's title., returned: always, type: str}
        detail: {description: What is wrong and what to do., returned: always, type: str}
        invalid_parameters:
          description: What is wrong with which field.
          returned: always
          type: list
          elements: dict
propagation:
  description: How it was found out that callers have seen it.
  returned: when inbounds were written and O(wait) is true
  type: dict
  contains:
    measured:
      description: Whether callers showed it for every endpoint. Otherwise O(propagation_delay) was waited for.
      returned: always
      type: bool
    peers:
      description: The Dataplanes whose clusters were watched.
      returned: always
      type: list
      elements: str
      sample: [client-1]
    seconds:
      description: How long it took after the last write.
      returned: always
      type: float
      sample: 1.2
    reason:
      description: Why it was not measured.
      returned: when it was not measured
      type: str
stale:
  description: Dataplanes of the mesh, named in this task or not, whose maintenance should be over.
  returned: when the control plane answered and nothing was refused
  type: list
  elements: dict
  contains:
    name: {description: The name of the Dataplane., returned: always, type: str}
    reason: {description: The reason that was given., returned: always, type: str}
    until: {description: Its end in epoch seconds., returned: always, type: int}
    fenced: {description: Whether it gets no traffic., returned: always, type: bool}
lost:
  description: Dataplanes of the mesh that are in maintenance by their label and get traffic all the same.
  returned: when the control plane answered and nothing was refused
  type: list
  elements: str
failure:
  description: Why it failed, with the keys C(kind), C(status), C(title), C(detail) and C(invalid_parameters).
  returned: when the control plane did not answer, or an option cannot be used
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
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import parse_duration
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run
from ansible_collections.meshfleet.kuma.plugins.module_utils._traffic import maintenance as traffic_maintenance
from ansible_collections.meshfleet.kuma.plugins.module_utils._traffic.propagation import Timing


def settings(call: Call) -> traffic_maintenance.Settings:
    params = call.params
    duration = None
    if params["duration"]:
        try:
            duration = parse_duration(params["duration"])
        except ValueError as error:
            raise ItemsFailed(f"duration: {error}.") from error
    if params["labels"] is not None and not params["labels"]:
        raise ItemsFailed("labels is empty, which would be every Dataplane of the mesh; expected at least one label.")
    return traffic_maintenance.Settings(
        mesh=params["mesh"],
        fence=params["state"] == "fenced",
        reason=params["reason"],
        duration=duration,
        force=params["force"],
        check=call.check_mode,
        wait=params["wait"],
        timing=Timing(params["propagation_delay"], params["wait_timeout"], params["poll_interval"]),
    )


def apply(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params, wanted = call.params, settings(call)
    labels = {str(key): str(value) for key, value in (params["labels"] or {}).items()}
    return traffic_maintenance.carry_out(client, wanted, time.time(), call.warn, names=params["names"] or [], labels=labels)


SPEC = Spec(
    apply,
    {
        "names": {"type": "list", "elements": "str"},
        "labels": {"type": "dict"},
        "mesh": {"type": "str", "default": "default"},
        "state": {"type": "str", "choices": ["fenced", "in_traffic"], "required": True},
        "reason": {"type": "str", "default": "maintenance"},
        "duration": {"type": "str"},
        "force": {"type": "bool", "default": False},
        "wait": {"type": "bool", "default": True},
        "propagation_delay": {"type": "float", "default": 3.0},
        "wait_timeout": {"type": "float", "default": 30.0},
        "poll_interval": {"type": "float", "default": 0.5},
    },
    names={"mesh": naming.LOOSE, "names[]": naming.NAME},
    checks={"mutually_exclusive": [("names", "labels")], "required_one_of": [("names", "labels")]},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
