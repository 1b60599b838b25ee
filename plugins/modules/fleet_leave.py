#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/fleet_leave.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_leave
short_description: Take the proxies of a fleet out of traffic, or delete what the control plane knows of them
version_added: 0.2.0
description:
  - Once for all hosts. Before the proxies stop, their callers stop choosing them; after it their Dataplanes are deleted
    and their tokens revoked, unless C(kuma_dp_leave_revoke) says otherwise.
  - Of zone proxies the last ones of a zone are refused, unless C(kuma_zone_proxy_leave_last) allows it.
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
    choices: [withdraw, delete]
    required: true
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Take a fleet out of traffic as the role does
  hosts: mesh_fleet
  gather_facts: false
  become: true
  tasks:
    - name: Take the proxies out of traffic
      meshfleet.kuma.fleet_leave:
        role: kuma_dp
        step: withdraw
      register: kuma_dp_withdrawn
      run_once: true
"""

RETURN = r"""
deleted:
  description: The names of what was deleted.
  returned: with O(step=delete)
  type: list
  elements: str
revoked:
  description: The IDs (C(jti)) of tokens that were revoked.
  returned: with O(step=delete), when tokens are revoked
  type: list
  elements: str
visits:
  description: The modules of this collection that it ran on the VM.
  returned: always
  type: list
  elements: str
"""
