#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/control_plane_hand_over.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_hand_over
short_description: Keep on the controller what proxies and administrators of a control plane need
version_added: 0.2.0
description:
  - Fetches the administrator's token with M(meshfleet.kuma.control_plane_token), and writes it to the controller with the CA. The token is in
    no result.
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
- name: Hand over as the role does
  hosts: kuma_control_plane
  gather_facts: false
  become: true
  tasks:
    - name: Keep the CA and the administrator's token on the controller
      meshfleet.kuma.control_plane_hand_over:
      register: kuma_cp_handed
"""

RETURN = r"""
url:
  description: The API of the control plane.
  returned: success
  type: str
  sample: https://10.0.0.5:5682
dp_url:
  description: Where proxies connect.
  returned: success
  type: str
  sample: https://10.0.0.5:5678
ca:
  description: The CA that proxies have to trust, as PEM text.
  returned: success
  type: str
summary:
  description: Where everything is.
  returned: success
  type: dict
"""
