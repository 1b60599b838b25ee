#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/inventory_check.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_check
short_description: Find misspelt and missing variables, wrong values and impossible names before anything is asked or written
version_added: 0.2.0
description:
  - Looks at the variables of the hosts of a play, and fails with everything that is wrong with them. No host and no control plane is asked.
    The playbooks of this collection begin with it, and so do the roles C(kuma_dp), C(kuma_zone_proxy) and C(kuma_cp).
  - A variable at distance one of an option of a role or playbook of this collection (a letter too many, too few, another one, or two
    neighbours swapped) is refused with the option that it resembles, whatever it begins with.
  - A variable that begins with C(kuma_dp_), C(kuma_zone_proxy_), C(kuma_cp_) or C(kuma_transparent_proxy_) and is no option is refused when it
    is an option but for two letters, but for the order or number of its words, but for its separators, or nearly the same text, last word
    included. Otherwise there is a warning, also for an option with more words after it.
  - What the roles and playbooks themselves register and set as facts is left alone, also when an inventory sets it. Other names that they give
    to values of their own are left alone where the play sets them, and judged like any other where the inventory or C(-e) does.
  - Names of proxies and meshes have to be such that they can be part of a path.
  - Options of the roles have to be of their type and among their choices. What comes from the command line may be the text of a number, or of
    true or false; a list or a mapping has to be one. What services, upstreams and proxies consist of is checked by the tasks that use them.
  - Options that a role demands have to be set. An empty one is not.
  - A value whose template cannot be filled in is left for the tasks that use it. Values of options that may be secrets are not shown.
  - All variables of the hosts are looked at, and those of the play, such as those of a role or of C(import_playbook). Run it once for all
    hosts, with C(run_once).
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
options:
  proxies:
    description:
      - The hosts whose proxies have the names C(kuma_dp_name) or C(kuma_dp_proxies), in the mesh C(kuma_dp_mesh).
      - The options of the roles C(kuma_dp) and C(kuma_transparent_proxy) are checked.
    type: list
    elements: str
    default: []
  zone_proxies:
    description:
      - The hosts whose zone proxies have the names C(kuma_zone_proxy_name) or C(kuma_zone_proxy_proxies).
      - The options of the roles C(kuma_zone_proxy) and C(kuma_dp) are checked.
    type: list
    elements: str
    default: []
  control_planes:
    description: The hosts with control planes. The options of the role C(kuma_cp) are checked.
    type: list
    elements: str
    default: []
  purpose:
    description:
      - What the hosts are looked at for, which decides what has to be set.
      - Without it nothing has to be, as with V(maintenance), V(migration), V(revoke) and V(signing_key), which say themselves what they miss.
    type: str
    choices: [join, leave, maintenance, migration, revoke, signing_key, control_plane]
  requests:
    description: Whether the Python that runs Ansible has to have the library requests, which tasks with a control plane need.
    type: bool
    default: true
notes:
  - The hosts that are looked at are those of O(proxies), O(zone_proxies) and O(control_planes). When these are empty, all hosts of the play are,
    for the names of variables alone.
seealso:
  - module: meshfleet.kuma.fleet_plan
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Look at an inventory
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Find misspelt variables, wrong values and impossible names
      meshfleet.kuma.inventory_check:
        proxies: "{{ ansible_play_hosts_all }}"
      run_once: true
"""

RETURN = r"""
msg:
  description: Everything that is wrong, a sentence each.
  returned: failure
  type: str
  sample: |-
    Nothing was asked and nothing was written. 1 problem was found:
      1. web-1, web-2: kuma_dp_upstream is set and is no option, expected kuma_dp_upstreams. Correct the name
"""
