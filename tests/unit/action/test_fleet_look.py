# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a VM is asked in the one visit that looks at it, and what the plan is told of its trust."""

from __future__ import annotations

import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.action import fleet_look
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import certificates
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import controller
from tests.unit.action.steps import Vm, only, step
from tests.unit.action.vm import DEFAULTS
from tests.unit.sockets import sign

AUTHORITY = sign("authority", ca=True)
SEEN = {"architecture": "amd64", "archives": {}, "default_address": "10.0.0.11", "proxies": {}, "time": 1.0}
PLAIN = {name: value for name, value in DEFAULTS.items() if "{{" not in str(value)}
KNOWN = {
    **PLAIN,
    "kuma_dp_name": "web-1",
    "kuma_dp_version": "2.14.3",
    "kuma_dp_archive_cache": "/nowhere",
    "kuma_dp_control_plane_dp_url": "https://cp.example.com:5678",
    "kuma_dp_control_plane_ca": AUTHORITY.pem,
    "kuma_transparent_proxy_enabled": False,
}


def look(purpose="join", **options):
    result, vm = step(fleet_look, {"purpose": purpose}, {**KNOWN, **options}, vm=Vm({"proxy_info": {"host": dict(SEEN)}}))
    return result, only(vm.calls, "proxy_info"), vm


def test_the_visit_that_looks_asks_where_proxies_will_connect():
    before = time.time()
    result, asked, vm = look()
    assert vm.modules == ["proxy_info"]
    assert (asked["dp_server_url"], asked["dp_server_ca"]) == ("https://cp.example.com:5678", AUTHORITY.pem)
    told = result["options"]["trust"]
    assert (told["url"], told["problem"], told["warn_before"]) == ("https://cp.example.com:5678", "", 60 * 86400.0)
    assert [one["sha256"] for one in told["authorities"]] == [certificates.of_pem(AUTHORITY.pem)[0].sha256]
    assert before <= result["host"]["clock"] <= time.time()


def test_the_ca_may_be_a_file_of_the_controller(tmp_path):
    (tmp_path / "ca.pem").write_text(AUTHORITY.pem)
    _result, asked, _vm = look(kuma_dp_control_plane_ca=str(tmp_path / "ca.pem"))
    assert asked["dp_server_ca"] == AUTHORITY.pem
    with pytest.raises(controller.Missing, match="kuma_dp_control_plane_ca is"):
        look(kuma_dp_control_plane_ca=str(tmp_path / "none.pem"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"kuma_dp_control_plane_ca": ""}, "kuma_dp_control_plane_ca is not set"),
        ({"kuma_dp_control_plane_dp_url": "cp"}, "is 'cp', expected"),
    ],
)
def test_what_cannot_be_asked_for_is_for_the_plan_to_tell(options, problem):
    result, asked, _vm = look(**options)
    assert "dp_server_url" not in asked
    assert problem in result["options"]["trust"]["problem"]


def test_without_tls_nothing_is_verified():
    result, asked, _vm = look(kuma_dp_control_plane_dp_url="http://cp:5678", kuma_dp_control_plane_ca="")
    assert (asked["dp_server_url"], asked["dp_server_ca"]) == ("http://cp:5678", "")
    assert result["options"]["trust"]["problem"] == ""


def test_who_leaves_needs_no_ca():
    result, asked, _vm = look("leave", kuma_dp_control_plane_ca="")
    assert "dp_server_url" not in asked
    assert "options" not in result


def test_when_a_join_begins_to_warn():
    result, _asked, _vm = look(kuma_dp_control_plane_ca_warn_before="36h")
    assert result["options"]["trust"]["warn_before"] == 36 * 3600.0
    with pytest.raises(ValueError, match="kuma_dp_control_plane_ca_warn_before: found 'soon'"):
        look(kuma_dp_control_plane_ca_warn_before="soon")
