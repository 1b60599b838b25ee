#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/fleet_summary.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_summary
short_description: Say what became of every host of a play
version_added: 0.2.0
description:
  - Names every host once, hosts of one reason together.
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
- name: Sum up as the role does
  hosts: mesh_fleet
  gather_facts: false
  become: true
  tasks:
    - name: Summary
      meshfleet.kuma.fleet_summary:
        role: kuma_dp
      run_once: true
"""

RETURN = r"""
msg:
  description: The lines.
  returned: success
  type: list
  elements: str
visits:
  description: The modules of this collection that it ran on the VM.
  returned: always
  type: list
  elements: str
"""
