# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of all tests."""

from __future__ import annotations

import hypothesis

# A busy machine is slow now and then, which says nothing about the code.
hypothesis.settings.register_profile("gate", deadline=None, print_blob=True)
hypothesis.settings.load_profile("gate")
