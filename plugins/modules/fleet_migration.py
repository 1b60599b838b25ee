#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done by plugins/action/fleet_migration.py, inside the controller; this file holds the documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_migration
short_description: Say what of the fleet of a play changes or breaks with Kuma 3.0
version_added: 0.2.0
description:
  - Does what M(meshfleet.kuma.migration_report) does, for all hosts of the play, which have to be of one mesh of one control plane, and
    writes the report to the file on the controller that C(kuma_migration_report_path) names. No host is connected to.
  - It is the task of the playbook C(meshfleet.kuma.migration_report), and reads the options C(kuma_migration_fail_on) and those of
    P(meshfleet.kuma.kuma_dp#role) by itself. It is not meant to be called by hand.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
  - meshfleet.kuma.step
options:
  step:
    description: To examine and write the report, or to fail afterwards as C(kuma_migration_fail_on) asks for.
    type: str
    choices: [examine, judge]
    required: true
seealso:
  - module: meshfleet.kuma.migration_report
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: See what breaks with Kuma 3.0
  hosts: mesh_fleet
  gather_facts: false
  tasks:
    - name: As the playbook meshfleet.kuma.migration_report does
      meshfleet.kuma.fleet_migration:
        step: examine
      run_once: true
"""

RETURN = r"""
msg:
  description: The report as lines.
  returned: success
  type: list
  elements: str
failing:
  description: How many findings are of the sort that C(kuma_migration_fail_on) names.
  returned: when the control plane was asked
  type: int
visits:
  description: The modules of this collection that it ran on a VM, of which there are none.
  returned: always
  type: list
  elements: str
"""
