#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/fleet_join.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_join
short_description: Plan the join of a fleet, register its Dataplanes and have its tokens issued
version_added: 0.2.0
description:
  - Checks what the inventory says about all hosts and what the control plane says. When anything speaks against the join, it fails with all of it,
    and nothing is written.
  - Fetches archives that are not on the controller, registers the Dataplanes that differ, and has the tokens issued that are missing or about to
    expire.
  - A Dataplane that changes together with the token on its VM waits until the token is on the VM. O(step=register) writes it then.
  - Tokens are in no result. Each waits for its host in a private file of the controller that goes with the run.
  - It is a step of the roles P(meshfleet.kuma.kuma_dp#role) and P(meshfleet.kuma.kuma_zone_proxy#role), whose options it reads by itself.
    It is not meant to be called by hand.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
  - meshfleet.kuma.step
options:
  step:
    description: Which part of the join, V(register) after the VMs have what is new.
    type: str
    choices: [plan, register]
    default: plan
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Plan and register a fleet as the role does
  hosts: mesh_fleet
  gather_facts: false
  become: true
  tasks:
    - name: Look at the VM
      meshfleet.kuma.fleet_look:
        role: kuma_dp
      register: kuma_dp_look

    - name: Plan the fleet, register what differs and issue the tokens that are needed
      meshfleet.kuma.fleet_join:
        role: kuma_dp
      register: kuma_dp_plan
      run_once: true
"""

RETURN = r"""
plan:
  description:
    - For each host the plan of its proxies as M(meshfleet.kuma.fleet_plan) returns it, C(refused) with reasons why the host does not go on,
      C(registered) with the Dataplanes that were written, and C(held) with those that O(step=register) will write.
  returned: with O(step=plan)
  type: dict
results:
  description: What was done to each Dataplane that differed, as M(meshfleet.kuma.dataplanes) returns it.
  returned: success
  type: list
  elements: dict
labels_lost:
  description: Dataplanes whose labels the control plane had lost.
  returned: with O(step=plan)
  type: list
  elements: str
not_ready:
  description: Proxies that are not in traffic although nobody fenced them.
  returned: with O(step=plan)
  type: list
  elements: str
certificates:
  description:
    - When the control plane's trust ends, as its VMs see it, each with C(what) (V(CA), which is in use, or V(certificate), of the control plane),
      C(subject), and C(not_before) and C(not_after) in seconds since 1970.
  returned: success
  type: list
  elements: dict
control_plane:
  description: What is known of the control plane.
  returned: with O(step=plan)
  type: dict
refused:
  description: For each host whose Dataplanes were not registered the reasons.
  returned: with O(step=register)
  type: dict
begun:
  description: When it was decided which tokens are due, in seconds since 1970.
  returned: with O(step=plan)
  type: float
requests:
  description: How many HTTP requests were made, retries included.
  returned: success
  type: int
visits:
  description: The modules of this collection that it ran on the VM.
  returned: always
  type: list
  elements: str
"""
