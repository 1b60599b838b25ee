# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many examples Hypothesis tries: few everyday, as typical faults show within some, and many with HYPOTHESIS_PROFILE=nightly."""

from __future__ import annotations

import os

import hypothesis

DEFAULT = 100
SCALES = {"everyday": 0.25, "nightly": 5.0}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or "everyday"


def examples(number: int) -> int:
    """The share of ``number`` that the profile wants."""
    if PROFILE not in SCALES:
        raise ValueError(f"HYPOTHESIS_PROFILE is {PROFILE}, expected {' or '.join(SCALES)}")
    return max(1, round(number * SCALES[PROFILE]))


def load_profile() -> None:
    # A busy machine is slow now and then, which says nothing about the code.
    hypothesis.settings.register_profile(PROFILE, max_examples=examples(DEFAULT), deadline=None, print_blob=True)
    hypothesis.settings.load_profile(PROFILE)
