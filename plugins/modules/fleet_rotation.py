#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/fleet_rotation.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_rotation
short_description: Take a fleet from one CA to another
version_added: 0.2.0
description:
  - The steps of the playbook C(rotate_ca.yml) on the VMs of a fleet. Each decides by what the control plane and the VMs show at this moment, so
    that a rollover goes on wherever it was cut.
  - Nothing is written. Files are laid down by a join, and proxies are restarted by a roll.
  - It reads the options of role P(meshfleet.kuma.kuma_dp#role) by itself, and C(kuma_rotate_ca_new) (the CA of a control plane that role
    P(meshfleet.kuma.kuma_cp#role) does not run, as PEM text or a file on the controller) and C(kuma_rotate_ca_wait) (for how long it waits until
    such a control plane shows its certificate). It is not meant to be called by hand.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
  - meshfleet.kuma.step
options:
  step:
    description:
      - V(begin) finds out whom the VM has to trust first, V(confirm) and V(end) whether all of its proxies run with that, and V(served) whether it
        sees a certificate of the new CA.
      - Once for the fleet, V(ready) fails while one host does not trust the new CA, also one that is not in the play, V(await) waits until the
        control plane shows its certificate, and V(over) says what is left to do.
    type: str
    choices: [begin, confirm, ready, await, served, end, over]
    required: true
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Find out how far a rollover is, as the playbook does
  hosts: mesh_fleet
  gather_facts: false
  become: true
  tasks:
    - name: Look whose certificate the control plane shows
      meshfleet.kuma.fleet_rotation:
        step: begin
      register: kuma_ca_begun
"""

RETURN = r"""
ca:
  description: The authorities that the VM has to trust at this moment, as PEM text.
  returned: with O(step=begin) and O(step=served)
  type: str
new:
  description: The authority that it is to trust alone in the end, as PEM text.
  returned: with O(step=begin)
  type: str
both:
  description: That, and what was trusted before.
  returned: with O(step=begin)
  type: str
api_ca:
  description: The authorities for the API meanwhile. Empty where those of the system are used.
  returned: with O(step=begin)
  type: str
by_role:
  description: Whether role P(meshfleet.kuma.kuma_cp#role) runs the control plane.
  returned: with O(step=begin)
  type: bool
problem:
  description: Why the VM does not trust what it should; empty when it does.
  returned: with O(step=confirm) and O(step=end)
  type: str
msg:
  description: What is left to do, or what is wrong.
  returned: with O(step=over), and failure
  type: raw
visits:
  description: The modules of this collection that it ran on the VM.
  returned: always
  type: list
  elements: str
"""
