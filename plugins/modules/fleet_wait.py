#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/fleet_wait.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_wait
short_description: Wait until the proxies of a fleet are in traffic
version_added: 0.2.0
description:
  - Waits once for all hosts. Who does not come in time is told, and is no failure of this step.
  - It is a step of the roles P(meshfleet.kuma.kuma_dp#role) and P(meshfleet.kuma.kuma_zone_proxy#role), whose options it reads by itself.
    It is not meant to be called by hand.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
  - meshfleet.kuma.step
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Wait for a fleet as the role does
  hosts: mesh_fleet
  gather_facts: false
  become: true
  tasks:
    - name: Wait until all are in traffic
      meshfleet.kuma.fleet_wait:
        role: kuma_dp
      register: kuma_dp_seen
      run_once: true
"""

RETURN = r"""
late:
  description: For each proxy that did not come, why.
  returned: success
  type: dict
visits:
  description: The modules of this collection that it ran on the VM.
  returned: always
  type: list
  elements: str
"""
