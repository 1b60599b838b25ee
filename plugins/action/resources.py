# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of the same name, whose documentation is there, in the controller's own process."""

from __future__ import annotations

from ansible_collections.meshfleet.kuma.plugins.modules import resources
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._in_process.action import InProcess


class ActionModule(InProcess):
    spec = resources.SPEC
