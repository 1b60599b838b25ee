#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/control_plane_rotation.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_rotation
short_description: Take a control plane from its CA to another one
version_added: 0.2.0
description:
  - The steps of the playbook C(rotate_ca.yml) on the VM of a control plane, by M(meshfleet.kuma.control_plane_certificate), whose keys never leave
    it. The file C(ca.pem) in C(kuma_cp_fetch_dir) of the controller always holds what a fleet has to trust at this moment.
  - With a certificate that was given (C(kuma_cp_tls_cert)) nothing is made; the role lays down what is given then.
  - It is for control planes of role P(meshfleet.kuma.kuma_cp#role), whose options it reads by itself, with Postgres. It is not meant to be
    called by hand. C(kuma_rotate_ca_again) rolls over a CA that is younger than a day.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
options:
  step:
    description:
      - V(prepare) makes the next CA. V(switch) signs with it, which is refused while one host of the fleet does not trust it. V(finish) forgets the
        former one, which is refused while one host still trusts it.
    type: str
    choices: [prepare, switch, finish]
    required: true
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Begin a rollover, as the playbook does
  hosts: kuma_control_plane
  gather_facts: false
  become: true
  tasks:
    - name: Make the next CA
      meshfleet.kuma.control_plane_rotation:
        step: prepare
      register: kuma_ca_prepared
"""

RETURN = r"""
new:
  description: The CA that signs in the end, as PEM text.
  returned: success
  type: str
trusted:
  description: What a fleet has to trust at this moment, as PEM text.
  returned: success
  type: str
stage:
  description: V(prepared), V(switched), or empty while no rollover is under way.
  returned: success
  type: str
reasons:
  description: What was done.
  returned: success
  type: list
  elements: str
visits:
  description: The modules of this collection that it ran on the VM.
  returned: always
  type: list
  elements: str
"""
