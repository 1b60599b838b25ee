#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/fleet_look.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_look
short_description: Look at a VM, and read what the inventory says about it
version_added: 0.2.0
description:
  - Visits the VM once, with M(meshfleet.kuma.proxy_info).
  - It is a step of the roles P(meshfleet.kuma.kuma_dp#role) and P(meshfleet.kuma.kuma_zone_proxy#role), whose options it reads by itself.
    It is not meant to be called by hand.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
  - meshfleet.kuma.step
options:
  purpose:
    description: What it is for.
    type: str
    choices: [join, leave]
    default: join
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Look at a fleet as the role does
  hosts: mesh_fleet
  gather_facts: false
  become: true
  tasks:
    - name: Look at the VM
      meshfleet.kuma.fleet_look:
        role: kuma_dp
      register: kuma_dp_look
"""

RETURN = r"""
host:
  description: What is on the VM, as M(meshfleet.kuma.proxy_info) returns it, and for a join C(clock), the time of the controller at that moment.
  returned: always
  type: dict
names:
  description: The proxies that the role handles there.
  returned: always
  type: list
  elements: str
options:
  description: The options that the plan takes into account, without the prefixes of their variables.
  returned: with O(purpose=join)
  type: dict
visits:
  description: The modules of this collection that it ran on the VM.
  returned: always
  type: list
  elements: str
"""
