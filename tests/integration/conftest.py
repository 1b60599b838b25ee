# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane for tests that run ansible-playbook."""

from __future__ import annotations

import pytest

from tests.unit.conftest import running


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory):
    with running("2.14.3", tmp_path_factory.mktemp("double")) as started:
        yield started
