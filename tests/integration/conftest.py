# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane for tests that run ansible-playbook."""

from __future__ import annotations

import contextlib

import pytest

from tests.integration.playbooks import Playbooks
from tests.unit.conftest import running


@pytest.fixture(scope="session")
def ansible_playbook(tmp_path_factory):
    """``ansible_playbook(*arguments)`` runs the command and returns what a completed process is."""
    with contextlib.closing(Playbooks(tmp_path_factory.mktemp("playbooks"))) as started:
        yield started.run


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory):
    with running("2.14.3", tmp_path_factory.mktemp("double")) as started:
        yield started


@pytest.fixture(scope="session")
def control_plane_of(tmp_path_factory, control_plane):
    """``control_plane_of(version)``: one of each version, shared by all tests."""
    with contextlib.ExitStack() as stack:
        started = {control_plane.version: control_plane}

        def get(version):
            if version not in started:
                started[version] = stack.enter_context(running(version, tmp_path_factory.mktemp("double")))
            return started[version]

        yield get
