# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps of the roles that are handed what is no name: no VM is visited, nothing is asked, and nothing is written on the controller."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.action import (
    fleet_join,
    fleet_leave,
    fleet_look,
    fleet_remove,
    fleet_wait,
    transparent_deploy,
)
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from tests.unit import hostile
from tests.unit.action.steps import step

SOUND = {
    "inventory_hostname": "web-1",
    "kuma_dp_name": "web-1",
    "kuma_dp_version": "2.14.3",
    "kuma_dp_archive": "kuma.tar.gz",
    "kuma_dp_archive_cache": "/nowhere/cache",
    "kuma_dp_control_plane_url": "http://127.0.0.1:9",
    "kuma_dp_api_token": "",
    "kuma_dp_api_ca": "",
    **{f"kuma_dp_token_{option}": "" for option in ("ledger", "signing_key", "signing_key_file", "signing_kid")},
    "kuma_zone_proxy_name": "gate-1",
    "kuma_zone_proxy_type": "ingress",
    "kuma_transparent_proxy_enabled": True,
}
SEEN = {"names": ["web-1"], "host": {"proxies": {}, "transparent_proxy": False, "control_plane": False, "user_comment": ""}, "options": {}}
LATER = {"kuma_dp_look": SEEN, "kuma_dp_stopped": {}, "kuma_dp_deployed": {"state": {"wait_for": ["web-1"]}}}
# A host that cannot be reached leaves by what the inventory says.
LOST = {"kuma_dp_look": {"unreachable": True}, "kuma_zone_proxy_look": {"unreachable": True}}
# Of each step the options that become part of a path or URL in it, and with what it is called.
STEPS = [
    (fleet_look, {"purpose": "join"}, "kuma_dp", {}, ["kuma_dp_name", "kuma_dp_mesh", "kuma_dp_version", "kuma_dp_config_dir", "kuma_dp_install_dir"]),
    (fleet_look, {"purpose": "leave"}, "kuma_dp", {}, ["kuma_dp_name", "kuma_dp_mesh", "kuma_dp_config_dir", "kuma_dp_install_dir", "kuma_dp_user"]),
    (fleet_look, {"purpose": "leave"}, "kuma_zone_proxy", {}, ["kuma_zone_proxy_name", "kuma_zone_proxy_zone", "kuma_dp_mesh", "kuma_dp_group"]),
    (fleet_join, {"step": "plan"}, "kuma_dp", {}, ["kuma_dp_mesh", "kuma_dp_archive_cache"]),
    (fleet_leave, {"step": "withdraw"}, "kuma_dp", LATER, ["kuma_dp_mesh", "kuma_dp_archive_cache"]),
    (fleet_leave, {"step": "delete"}, "kuma_dp", LATER, ["kuma_dp_mesh"]),
    (fleet_leave, {"step": "delete"}, "kuma_dp", LOST, ["kuma_dp_name"]),
    (fleet_leave, {"step": "delete"}, "kuma_zone_proxy", LOST, ["kuma_zone_proxy_name", "kuma_dp_mesh"]),
    (fleet_remove, {"step": "stop"}, "kuma_dp", LOST, ["kuma_dp_name"]),
    (fleet_remove, {"step": "remove"}, "kuma_dp", LATER, ["kuma_dp_config_dir", "kuma_dp_install_dir", "kuma_dp_version", "kuma_dp_user"]),
    (fleet_wait, {}, "kuma_dp", LATER, ["kuma_dp_mesh"]),
    (transparent_deploy, {}, "kuma_dp", LATER, ["kuma_dp_install_dir", "kuma_dp_user"]),
]  # fmt: skip
RULES = {
    **dict.fromkeys(("kuma_dp_name", "kuma_zone_proxy_name"), naming.PROXY),
    **dict.fromkeys(("kuma_dp_config_dir", "kuma_dp_install_dir"), naming.PATH),
    **dict.fromkeys(("kuma_dp_user", "kuma_dp_group"), naming.ACCOUNT),
    **dict.fromkeys(("kuma_dp_mesh", "kuma_zone_proxy_zone"), naming.LOOSE),
    "kuma_dp_version": naming.VERSION,
    "kuma_dp_archive_cache": naming.PLACE,
}
CASES = [(module, params, role, facts, variable) for module, params, role, facts, variables in STEPS for variable in variables]
IDS = [f"{module.__name__.rpartition('.')[2]}-{role}-{variable}" for module, _params, role, _facts, variable in CASES]


def assert_refused(case, value):
    module, params, role, facts, variable = case
    variables = {**SOUND, **facts, variable: value}
    vm = []
    with hostile.untouched():
        try:
            result, _vm = step(module, params, variables, role=role, vm=lambda **call: vm.append(call))
            message = result.get("msg", "")
        except ValueError as refused:
            # What the frame of the steps makes a failure of.
            message = f"web-1: {refused}"
    assert vm == []
    assert f"web-1: {variable} is {naming.shown(value)}, expected {naming.expected(RULES[variable])}" in message


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_step_with_what_is_no_name_does_nothing(case):
    for value in hostile.fixed(RULES[case[-1]]):
        if value:
            assert_refused(case, value)


@given(st.data())
def test_nor_with_whatever_else_is_none(data):
    case = data.draw(st.sampled_from(CASES))
    assert_refused(case, data.draw(hostile.values(RULES[case[-1]]).filter(bool)))
