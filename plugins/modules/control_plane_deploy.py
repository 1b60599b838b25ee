#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/control_plane_deploy.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_deploy
short_description: Lay down a control plane on its VM, and run it
version_added: 0.2.0
description:
  - Unpacks the release, writes all files, signs a certificate unless one was given, and starts or restarts kuma-cp where it runs with
    something old, with M(meshfleet.kuma.proxy_release), M(meshfleet.kuma.proxy_files), M(meshfleet.kuma.control_plane_certificate) and
    M(meshfleet.kuma.control_plane_service).
  - It is a step of the role P(meshfleet.kuma.kuma_cp#role), whose options it reads by itself. It is not meant to be called by hand.
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
- name: Run a control plane as the role does
  hosts: kuma_control_plane
  gather_facts: false
  become: true
  tasks:
    - name: Lay everything down, and run it with its current files
      meshfleet.kuma.control_plane_deploy:
      register: kuma_cp_deployed
"""

RETURN = r"""
actions:
  description: What was done to the service, some of V(enabled), V(started), V(restarted).
  returned: success
  type: list
  elements: str
  sample: [restarted]
reasons:
  description: Why it was restarted.
  returned: success
  type: list
  elements: str
  sample: [version 2.13.10 runs, 2.14.3 is installed]
ca:
  description: The CA that proxies have to trust, as PEM text. Empty in check mode while there is none.
  returned: success
  type: str
journal:
  description: The last lines that kuma-cp logged, without tokens.
  returned: when it does not run
  type: list
  elements: str
"""
