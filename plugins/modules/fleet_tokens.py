# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_tokens
short_description: Revoke the tokens of a fleet, and rotate the key that signs them
version_added: 0.2.0
description:
  - With O(step=look) it looks at the tokens on a VM, of which it tells the claims and never more. The other steps are for all hosts at once.
  - O(step=settle) is the end of a rotation. It revokes what proxies had before the tokens that they are connected with, says how long the fleet
    has left, and fails when that is too short.
  - O(step=prepare) says whether tokens may be revoked, and O(step=revoke) does that.
  - O(step=add_key) adds a key beside the one that Dataplane tokens are signed with. O(step=remove_key) removes the old ones, unless a proxy of the
    mesh may still use one.
  - Its steps are tasks of the playbooks C(meshfleet.kuma.rotate_tokens), C(meshfleet.kuma.revoke_tokens) and
    C(meshfleet.kuma.rotate_signing_key), and read the options of these and of P(meshfleet.kuma.kuma_dp#role) by themselves.
    It is not meant to be called by hand.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
  - meshfleet.kuma.step
options:
  step:
    description: Which part.
    type: str
    choices: [prepare, look, settle, revoke, add_key, remove_key]
    required: true
  purpose:
    description: What the hosts of the play were found for, by which their groups are known.
    type: str
    choices: [join, revoke, signing_key]
    default: join
seealso:
  - module: meshfleet.kuma.dataplane_tokens
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Revoke tokens of a fleet
  hosts: mesh_fleet
  gather_facts: false
  become: true
  tasks:
    - name: As the playbook meshfleet.kuma.revoke_tokens does
      meshfleet.kuma.fleet_tokens:
        step: revoke
        purpose: revoke
      run_once: true
"""

RETURN = r"""
host:
  description: What M(meshfleet.kuma.proxy_info) found.
  returned: with O(step=look)
  type: dict
revoked:
  description: The IDs (C(jti)) of tokens that were revoked.
  returned: with O(step=settle) and O(step=revoke)
  type: list
  elements: str
msg:
  description: What was done, and how long the fleet has left.
  returned: with the steps that are for all hosts, but for O(step=prepare)
  type: raw
visits:
  description: The modules of this collection that it ran on the VM.
  returned: always
  type: list
  elements: str
"""
