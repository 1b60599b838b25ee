# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # A step of a role that runs inside the controller.
    DOCUMENTATION = r"""
options:
  role:
    description: The role whose step it is, and whose proxies.
    type: str
    choices: [kuma_dp, kuma_zone_proxy]
    default: kuma_dp
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
"""
