#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/fleet_verdict.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_verdict
short_description: Fail where a proxy did not come into traffic
version_added: 0.2.0
description:
  - Fails a host whose drained restart failed, or whose proxies did not come into traffic. Only such a host is visited, for the reason in its journal, its
    token and its clock, which is told with the variable to change and what to do.
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
- name: Judge a fleet as the role does
  hosts: mesh_fleet
  gather_facts: false
  become: true
  tasks:
    - name: Stop where a proxy is not in traffic
      meshfleet.kuma.fleet_verdict:
        role: kuma_dp
      register: kuma_dp_verdict
"""

RETURN = r"""
msg:
  description: What is wrong, and the last lines that the proxies logged.
  returned: failure
  type: str
visits:
  description: The modules of this collection that it ran on the VM.
  returned: always
  type: list
  elements: str
"""
