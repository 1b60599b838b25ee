#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/fleet_remove.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_remove
short_description: Stop the proxies of a VM, or take away what is theirs
version_added: 0.2.0
description:
  - Visits the VM for what is there alone. A VM that cannot be reached is left as it is, when the role allows that.
  - It is a step of the roles P(meshfleet.kuma.kuma_dp#role) and P(meshfleet.kuma.kuma_zone_proxy#role), whose options it reads by itself.
    It is not meant to be called by hand.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
  - meshfleet.kuma.step
options:
  step:
    description: Which part of the leave.
    type: str
    choices: [stop, remove]
    required: true
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Stop the proxies of a fleet as the role does
  hosts: mesh_fleet
  gather_facts: false
  become: true
  tasks:
    - name: Drain, stop and disable the proxies
      meshfleet.kuma.fleet_remove:
        role: kuma_dp
        step: stop
      register: kuma_dp_stopped
"""

RETURN = r"""
state:
  description: What became of the VM.
  returned: with O(step=remove)
  type: dict
results:
  description: What was done to each proxy, as M(meshfleet.kuma.proxy_service) returns it.
  returned: with O(step=stop)
  type: list
  elements: dict
visits:
  description: The modules of this collection that it ran on the VM.
  returned: always
  type: list
  elements: str
"""
