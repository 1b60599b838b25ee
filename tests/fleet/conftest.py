# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts and the control plane are started once for all tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.fleet.fleet import GROUPS, Fleet
from tests.fleet.rolls import Rolls
from tests.lab import archive
from tests.lab.control_plane import ControlPlane
from tests.lab.stage import stage

QUICK = (
    *("test_5_restart", "test_6_zero", "test_7_roll", "test_8_roll_faults", "test_9_canary", "test_9_gateway", "test_9_rotate_ca"),
    *("test_9_tokens", "test_9_transparent"),
)
QUICK_DELAYS = {"report": 1.0, "deregistration": 2.0}
# The mesh's own policies would hide what a test is about: they try again and take sick endpoints out by themselves.
POLICIES = ("meshretries/mesh-retry-all-default", "meshcircuitbreakers/mesh-circuit-breaker-all-default")


def encrypt(control_plane: ControlPlane) -> None:
    """Proxies talk to each other by mTLS, which the stand-in does not know; others may go on in plain text."""
    backend = {"name": "ca-1", "type": "builtin", "mode": "PERMISSIVE"}
    mesh = {**control_plane.call("GET", "/meshes/default"), "mtls": {"enabledBackend": "ca-1", "backends": [backend]}}
    control_plane.call("PUT", "/meshes/default", mesh)
    everybody = {"kind": "Mesh"}
    spec = {"targetRef": everybody, "from": [{"targetRef": everybody, "default": {"action": "Allow"}}]}
    permission = {"type": "MeshTrafficPermission", "mesh": "default", "name": "everybody", "spec": spec}
    control_plane.call("PUT", "/meshes/default/meshtrafficpermissions/everybody", permission)


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """Five hosts, not joined. An error at the end when something of them is left on this machine."""
    with stage(5) as set_up:
        for policy in POLICIES:
            try:
                set_up.control_plane.call("DELETE", f"/meshes/default/{policy}")
            except requests.HTTPError as error:
                if error.response.status_code not in (404, 405):
                    raise
        if archive.kuma_bin():
            encrypt(set_up.control_plane)
        fleet = Fleet(set_up, set_up.ansible(set_up.directory / "inventory.yml"))
        set_up.inventory(GROUPS, **fleet.variables)
        yield fleet
        fleet.ansible.close()


@pytest.fixture(scope="module", autouse=True)
def _delays(request: pytest.FixtureRequest, fleet: Fleet) -> None:
    """Restarts of Indirect proxies wait for health reports and for the Dataplanes of covers to go, and are not about how long that takes.

    The tests of joins, of Direct proxies and of zone proxies have the delays of a real control plane.
    """
    module = request.module.__name__.rpartition(".")[2]
    fleet.stage.control_plane.hurry(**(QUICK_DELAYS if module in QUICK else {}))


@pytest.fixture
def joined(fleet: Fleet) -> Fleet:
    """The same with all five joined, whatever the test before did. Nothing is run when they are."""
    names = fleet.dataplanes()
    if len(names) != 6 or not all(fleet.ready(name) for name in names):
        run, _seen = fleet.join()
        assert run.code == 0, run.explain()
    return fleet


@pytest.fixture(scope="session")
def rolls(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Rolls:
    """The same hosts as one service with four instances and their caller; nothing else of the fleet is joined any more."""
    run, _seen = fleet.leave()
    assert run.code == 0, run.explain()
    found = Rolls(fleet, tmp_path_factory.mktemp("rolls"))
    run, _seen = fleet.join(inventory=found.inventory)
    assert run.code == 0, run.explain()
    found.wait_for_answers()
    return found
