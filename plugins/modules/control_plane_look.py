#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/control_plane_look.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_look
short_description: Look at the VM of a control plane, and check what it is to be
version_added: 0.2.0
description:
  - Visits the VM once, with M(meshfleet.kuma.proxy_info). Fetches the release archive to the controller when it is not there.
  - Fails with everything that is wrong with the options, the archive and a certificate that was given, before anything is written to the VM.
  - It is a step of the role P(meshfleet.kuma.kuma_cp#role), whose options it reads by itself. It is not meant to be called by hand.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Look at a control plane as the role does
  hosts: kuma_control_plane
  gather_facts: false
  become: true
  tasks:
    - name: Check everything before anything is written
      meshfleet.kuma.control_plane_look:
      register: kuma_cp_look
"""

RETURN = r"""
install:
  description: Whether the archive has to be unpacked on the VM.
  returned: success
  type: bool
archive:
  description: The file of the archive on the controller.
  returned: success
  type: str
  sample: /home/me/.cache/meshfleet.kuma/kuma-2.14.3-linux-amd64.tar.gz
checksum:
  description: The SHA-256 that is pinned for the architecture of the VM.
  returned: success
  type: str
https_address:
  description: The address on which the API listens for HTTPS.
  returned: success
  type: str
account:
  description: Whether the user and the group are there.
  returned: success
  type: bool
"""
