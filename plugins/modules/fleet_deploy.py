#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/fleet_deploy.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_deploy
short_description: Bring a VM to what was planned for it
version_added: 0.2.0
description:
  - >-
    Compares what the plan asks for with what the look found, and visits the VM for what differs alone: the release, the files, the units. A VM that
    is as it should be is not visited.
  - A proxy that is not connected and serves nobody is restarted in the same visit as the others are started.
  - A host that the control plane refused fails here.
  - It is a step of the roles P(meshfleet.kuma.kuma_dp#role) and P(meshfleet.kuma.kuma_zone_proxy#role), whose options it reads by itself.
    It is not meant to be called by hand.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
  - meshfleet.kuma.step
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Bring VMs to the plan as the role does
  hosts: mesh_fleet
  gather_facts: false
  become: true
  tasks:
    - name: Lay everything down and start what is not running
      meshfleet.kuma.fleet_deploy:
        role: kuma_dp
      register: kuma_dp_deployed
"""

RETURN = r"""
written:
  description: The paths that were changed, or would be.
  returned: success
  type: list
  elements: str
state:
  description: What became of the VM, for the steps after this one.
  returned: success
  type: dict
visits:
  description: The modules of this collection that it ran on the VM.
  returned: always
  type: list
  elements: str
"""
