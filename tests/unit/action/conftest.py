# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests of actions."""

from __future__ import annotations

from tests.unit.roll.controller import _short_waits, make_mesh

__all__ = ["_short_waits", "make_mesh"]
