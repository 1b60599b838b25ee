# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the roles meet: hosts that dropped out, and VMs that have more than one role."""

from __future__ import annotations

import json
import pathlib

import pytest
import yaml

from ansible_collections.meshfleet.kuma.plugins.module_utils._fleet import Fleet
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone_plan import Zones
from tests.unit.template_renderer import Renderer

ROLES = pathlib.Path(__file__).parents[2] / "roles"
VARS = yaml.safe_load((ROLES / "kuma_dp/vars/main.yml").read_text())


@pytest.fixture(scope="module")
def renderer():
    started = Renderer()
    yield started
    started.close()


def lost(renderer, role, **known):
    """The entry of a host that was unreachable, as the template of a role makes it. The fleet is this host alone."""
    variables = {
        "ansible_search_path": [str(ROLES / role)],
        "groups": {"mesh_fleet": ["web-1"], "mesh_zone_proxies": ["web-1"]},
        "hostvars": {"web-1": known},
        "ansible_play_hosts_all": ["web-1"],
        "ansible_play_hosts": [],
        "kuma_dp_ip_pattern": VARS["kuma_dp_ip_pattern"],
    }
    (host,) = json.loads(renderer("hosts.json.j2", variables))
    assert (host["in_play"], host["dropped_out"]) == (False, True)
    return host


@pytest.mark.parametrize(
    "known",
    [
        {"kuma_transparent_proxy_enabled": True},
        {
            "kuma_dp_lifecycle": "direct",
            "kuma_dp_proxies": [
                {"name": "a", "dataplane_template": "a.yaml", "dataplane_vars": {"x": "y"}, "services": [{"name": "a", "port": 80}]}
            ],
        },
    ],
    ids=["redirected", "direct"],
)
def test_a_vm_that_is_unreachable_does_not_stop_the_others_by_what_is_sound(renderer, known):
    fleet = Fleet([lost(renderer, "kuma_dp", ansible_host="10.0.0.1", **known)], [], "v2", (2, 14, 3))
    fleet.plan()
    assert fleet.problems == []


def test_a_vm_that_is_unreachable_and_wrong_stops_the_others(renderer):
    fleet = Fleet([lost(renderer, "kuma_dp", ansible_host="10.0.0.1")], [], "v2", (2, 14, 3))
    fleet.plan()
    assert "kuma_dp_services is not set" in fleet.problems[0] or "kuma_dp_services is []" in fleet.problems[0]


@pytest.mark.parametrize(
    ("known", "problems"),
    [
        ({"ansible_host": "gate-1.example.com"}, []),
        ({}, []),
        ({"ansible_host": "10.0.0.1"}, []),
        ({"kuma_zone_proxy_address": "gate-1.example.com"}, ["web-1: kuma_zone_proxy_address is 'gate-1.example.com', expected the IP"]),
    ],
)
def test_a_zone_proxy_that_is_unreachable_need_not_tell_its_address(renderer, known, problems):
    zones = Zones([lost(renderer, "kuma_zone_proxy", kuma_zone_proxy_type="ingress", **known)], [], "v2", "default")
    zones.plan()
    assert [problem[: len(wanted)] for problem, wanted in zip(zones.problems, problems)] == problems
    assert len(zones.problems) == len(problems)
