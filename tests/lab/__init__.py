# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A laboratory for the collection: real systemd hosts, a control plane, and a journal of what is asked of it."""

from __future__ import annotations

from tests.lab.fleet import Lab, claim, existing
from tests.lab.settings import LabError, Settings

__all__ = ["Lab", "LabError", "Settings", "claim", "existing"]
