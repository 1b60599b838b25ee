# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # Each module states its own support for these.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what would change, without changing it.
  diff_mode:
    description: Returns what changed, or would change in C(check_mode), when in diff mode.
  idempotent:
    description: Changes nothing when it is run again with the same options and nobody else changed anything between.
"""

    # Modules that only read.
    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what would change, without changing it.
    support: full
    details:
      - This module changes nothing.
  diff_mode:
    description: Returns what changed, or would change in C(check_mode), when in diff mode.
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    description: Changes nothing when it is run again with the same options and nobody else changed anything between.
    support: full
    details:
      - This module changes nothing.
"""

    # Modules that change what differs, and only that.
    WRITES = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what would change, without changing it.
    support: full
  diff_mode:
    description: Returns what changed, or would change in C(check_mode), when in diff mode.
    support: full
  idempotent:
    description: Changes nothing when it is run again with the same options and nobody else changed anything between.
    support: full
"""

    # Modules that talk to the control plane alone; the frame of their actions is plugin_utils/_in_process/action.py.
    IN_PROCESS = r"""
options: {}
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
    details:
      - Where the task is for the controller itself, as its user, it runs inside the process of Ansible, which saves the start of another one
        and most of the time that long lists of options take. It runs as any other module does with another connection than
        P(ansible.builtin.local#connection), another user by C(become), C(async), a Python that C(ansible_python_interpreter) names and that
        is not the one of Ansible, and where that one has no requests.
      - In the process of Ansible nothing is written to the log of the system. Before ansible-core 2.21 C(invocation) is in the result from
        C(-vvv) on.
"""
