# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests of the stand-ins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.fleet import ControlPlanes, Fleet


@pytest.fixture(scope="session")
def control_planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlanes]:
    with ExitStack() as stack:
        yield ControlPlanes(tmp_path_factory.mktemp("control-planes"), stack)


@pytest.fixture
def fleet(request: pytest.FixtureRequest, control_planes: ControlPlanes, tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(getattr(request, "param", "2.14.3"), control_planes, tmp_path, stack)
