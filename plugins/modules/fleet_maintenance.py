#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/fleet_maintenance.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_maintenance
short_description: Take the proxies of the hosts of a play out of traffic and back
version_added: 0.2.0
description:
  - Does what M(meshfleet.kuma.dataplane_maintenance) does, for the Dataplanes of all hosts of the play, which have to be of one mesh of one
    control plane. No host is connected to.
  - It is the task of the playbook C(meshfleet.kuma.maintenance), and reads the options C(kuma_maintenance) and those of
    P(meshfleet.kuma.kuma_dp#role) that name the control plane by itself. It is not meant to be called by hand.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
  - meshfleet.kuma.step
seealso:
  - module: meshfleet.kuma.dataplane_maintenance
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Take the proxies of a fleet out of traffic
  hosts: mesh_fleet
  gather_facts: false
  tasks:
    - name: As the playbook meshfleet.kuma.maintenance does
      meshfleet.kuma.fleet_maintenance:
      run_once: true
"""

RETURN = r"""
msg:
  description: Who is out of traffic or back, who was before, and whose maintenance should be over.
  returned: success
  type: list
  elements: str
visits:
  description: The modules of this collection that it ran on a VM, of which there are none.
  returned: always
  type: list
  elements: str
"""
