#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/transparent_deploy.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: transparent_deploy
short_description: Lead the connections of a VM through its proxy, and confirm that it can still be reached
version_added: 0.2.0
description:
  - Has M(meshfleet.kuma.transparent_proxy) apply the rules where they differ, and confirms them in a new connection. When none is possible, waits until the
    VM has undone the rules by itself, and fails.
  - A VM whose connections are not to be redirected is not visited.
  - It is a step of the role P(meshfleet.kuma.kuma_transparent_proxy#role), whose options it reads by itself, and needs what
    M(meshfleet.kuma.fleet_look) found out before. It is not meant to be called by hand.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Redirect connections as the role does
  hosts: mesh_fleet
  gather_facts: false
  become: true
  tasks:
    - name: Apply the rules where they differ, and confirm them in a new connection
      meshfleet.kuma.transparent_deploy:
      register: kuma_transparent_proxy_applied
"""

RETURN = r"""
ordered:
  description: Whether rules were applied.
  returned: always
  type: bool
reasons:
  description: Why they were, or would be.
  returned: when connections are redirected
  type: list
  elements: str
  sample: ["nat: gone: ipv4: -A PREROUTING -p tcp -j KUMA_MESH_INBOUND"]
arguments:
  description: What kumactl is told.
  returned: when connections are redirected
  type: list
  elements: str
  sample: [--kuma-dp-user, kuma-dp]
"""
