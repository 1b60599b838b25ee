# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restarts that a join says are pending, and who does them."""

from __future__ import annotations

import json

import pytest

from tests.unit.roles import test_kuma_dp as templates
from tests.unit.roles.template_renderer import Renderer
from tests.unit.roles.test_kuma_dp import PATH, proxy, render


@pytest.fixture(scope="module", autouse=True)
def _renderer():
    templates.renderers.append(Renderer())
    yield
    templates.renderers.pop().close()


def pending(running="direct", changed=(), **planned):
    own = proxy(**{"lifecycle": "direct", "differs": False, "registered": True, **planned})
    seen = {"unit": {"active": True}, "restart_reasons": [], "version": "2.14.3", "lifecycle": running}
    text = render(
        "pending.json.j2",
        kuma_dp_proxy_names=["web-1"],
        kuma_dp_planned=[own],
        kuma_dp_look={"host": {"proxies": {"web-1": seen}}},
        kuma_dp_written={"changed_paths": list(changed)},
        kuma_dp_plan={"control_plane": {}},
        kuma_dp_install=False,
    )
    found = json.loads(text)
    return found[0]["reasons"] if found else []


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        ({}, []),
        ({"changed": [PATH]}, ["Dataplane changed after it was started"]),
        ({"changed": [PATH], "differs": True}, ["Dataplane changed after it was started"]),
        ({"differs": True}, ["the control plane holds another Dataplane than its file"]),
        ({"differs": True, "registered": False}, ["the control plane does not hold its Dataplane"]),
        ({"running": "indirect"}, ["it runs indirect, direct is wanted"]),
        ({"lifecycle": "indirect"}, ["it runs direct, indirect is wanted"]),
        # An Indirect one does not read its file, and what differs is written to the API.
        ({"running": "indirect", "lifecycle": "indirect", "changed": [PATH], "differs": True}, []),
    ],
)
def test_what_only_a_restart_changes_is_pending(facts, reasons):
    assert pending(**facts) == reasons


def test_only_a_roll_restarts_a_proxy_that_moves_or_is_held():
    state = {"pending": [{"name": name, "reasons": ["x"]} for name in ("a", "b")], "ready": {}, "gates": [], "restartable": ["b"]}
    hosts = {"vm1": {"kuma_dp_state": state}, "vm2": {"kuma_dp_state": {**state, "restartable": []}}}
    found = json.loads(render("restarts.json.j2", ansible_play_hosts=["vm2", "vm1"], hostvars=hosts))
    assert found == [{"host": "vm1", "names": ["b"], "ready": {}, "gates": []}]
