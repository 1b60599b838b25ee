# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action of the playbook maintenance: whom it fences with which settings, and what it says when some fail."""

from __future__ import annotations

import json

import pytest

from ansible_collections.meshfleet.kuma.plugins.action import fleet_maintenance
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import maintaining
from tests.unit.action.host import action
from tests.unit.module_runner import run

NAMES = ["action-web-1", "action-two-a", "action-two-b"]
FLEET = {
    "web-1": {"kuma_dp_name": "action-web-1"},
    "web-2": {"kuma_dp_proxies": [{"name": "action-two-a"}, {"name": "action-two-b"}]},
    "web-3": {"kuma_dp_name": "action-nobody"},
}


@pytest.fixture
def registered(control_plane):
    """The Dataplanes of web-1 and web-2 in traffic; ``registered()`` says which are fenced."""
    inbound = {"port": 8080, "servicePort": 18080, "serviceAddress": "127.0.0.1", "tags": {"kuma.io/service": "action-web"}}
    items = [
        {"name": name, "networking": {"address": f"10.8.9.{number}", "inbound": [inbound]}} for number, name in enumerate(NAMES, start=1)
    ]
    run("dataplanes", control_plane.options(dataplanes=items, initial_state="Ready"))

    def fenced():
        return {item["name"] for item in run("dataplane_info", control_plane.options(names=NAMES))["dataplanes"] if item["fenced"]}

    yield fenced
    run("dataplanes", control_plane.options(dataplanes=items, state="absent"))


@pytest.fixture
def maintain(control_plane, monkeypatch):
    """``maintain(hosts, state, ...)`` makes the action for these hosts; without a wait, for nobody is connected."""
    wish = maintaining.wish
    monkeypatch.setattr(maintaining, "wish", lambda told: wish(told)._replace(wait=False))

    def make(hosts, state, **variables):
        known = {"kuma_maintenance": state, "kuma_maintenance_force": True, "in_play": hosts}
        return action(fleet_maintenance, control_plane, FLEET, **{**known, **variables})

    return make


def test_the_proxies_of_the_hosts_in_the_play_leave_traffic_and_come_back(registered, maintain, control_plane):
    looked = maintain(["web-2"], "fenced", check=True).step()
    assert (looked["changed"], looked["msg"]) == (True, ["out of traffic (2): action-two-a, action-two-b", "unchanged (0): -"])
    assert [entry["after_header"] for entry in looked["diff"]] == ["Dataplane default/action-two-a", "Dataplane default/action-two-b"]
    assert registered() == set()
    done = maintain(["web-2"], "fenced").step()
    assert registered() == {"action-two-a", "action-two-b"}
    assert control_plane.token not in json.dumps(done)
    assert maintain(["web-2"], "fenced").step()["changed"] is False
    back = maintain(["web-1", "web-2"], "in_traffic").step()
    assert back["msg"] == ["back in traffic (2): action-two-a, action-two-b", "unchanged (1): action-web-1"]
    assert registered() == set()


def test_where_some_fail_the_others_are_told_of_as_well(registered, maintain):
    done = maintain(["web-1", "web-3"], "fenced").step()
    assert (done["failed"], done["changed"]) == (True, True)
    first, *lines = done["msg"].split("\n")
    assert first.startswith("1 failed. Dataplane action-nobody: it is not registered in mesh default")
    assert lines == ["out of traffic (1): action-web-1", "unchanged (0): -"]
    assert registered() == {"action-web-1"}
    maintain(["web-1"], "in_traffic").step()


def test_a_refusal_says_that_nothing_was_written(registered, maintain):
    done = maintain(["web-1"], "fenced", kuma_maintenance_force=False).step()
    assert (done["failed"], done["changed"]) == (True, False)
    assert done["msg"].startswith("Nothing was written. No instance in traffic and connected would be left of action-web (action-web-1).")
    assert registered() == set()


@pytest.mark.parametrize(
    ("hosts", "variables", "message"),
    [
        (["web-1"], {"kuma_maintenance": "drained"}, "kuma_maintenance is drained, expected fenced"),
        (["web-1"], {"kuma_maintenance": "{{ nobody }}"}, "web-1: kuma_maintenance cannot be filled in: {{ nobody }} is undefined"),
        (["web-1", "web-2"], {"kuma_dp_mesh": "{{ nobody }}"}, "web-1: kuma_dp_mesh cannot be filled in: {{ nobody }} is undefined"),
        (["web-1"], {"kuma_dp_control_plane_url": ""}, "The hosts have kuma_dp_mesh default and kuma_dp_control_plane_url not set"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(maintain, hosts, variables, message):
    made = maintain(hosts, "fenced", **variables)
    made.client = None  # nobody asks for one
    with pytest.raises(ItemsFailed) as refused:
        made.step()
    assert refused.value.msg.startswith(message)


def test_a_name_that_is_none_is_refused(maintain):
    for given, message in (
        ({"kuma_dp_name": "../x"}, "web-1: kuma_dp_name is '../x', expected a lower-case DNS name"),
        ({"kuma_dp_proxies": [{"name": "a"}, {"name": ".."}]}, "web-1: a name in kuma_dp_proxies is '..', expected a lower-case DNS name"),
        ({"kuma_dp_mesh": ".."}, "web-1: kuma_dp_mesh is '..', expected a name"),
    ):
        made = maintain(["web-1"], "fenced", **given)
        made.client = None
        with pytest.raises(ItemsFailed) as refused:
            made.step()
        assert refused.value.msg.startswith(message)
