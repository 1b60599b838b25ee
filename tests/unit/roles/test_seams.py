# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the roles meet: VMs that have more than one role."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import inventory
from tests.unit import parsed

ROLES = pathlib.Path(__file__).parents[3] / "roles"


def redirection(renderer, option, **variables):
    """The options of a redirected VM as the plan gets them, and one of them as the module does."""
    role = ROLES / "kuma_transparent_proxy"
    known = {
        **parsed.file(role / "defaults/main.yml"),
        "kuma_dp_gateway": {},
        "kuma_dp_proxies": [],
        "kuma_dp_dns_enabled": False,
        "kuma_dp_version": "2.14.3",
        **variables,
    }
    derived = parsed.file(role / "vars/main.yml")
    told = parsed.file(role / "tasks/main.yml")[0]["meshfleet.kuma.transparent_proxy"][option]
    return renderer.evaluate("{{ kuma_transparent_proxy_options }}", known, derived), renderer.evaluate(told, known, derived)


@pytest.mark.parametrize(
    ("variables", "redirected"),
    [
        ({}, True),
        ({"kuma_transparent_proxy_redirect_inbound": False}, False),
        ({"kuma_dp_gateway": {"name": "edge"}}, False),
        ({"kuma_dp_proxies": [{"name": "edge", "gateway": {"name": "edge"}}]}, False),
        ({"kuma_dp_proxies": [{"name": "a", "gateway": {}}, {"name": "b"}]}, True),
    ],
)
def test_what_clients_send_to_a_gateway_is_not_redirected(renderer, variables, redirected):
    options, told = redirection(renderer, "redirect_inbound", **variables)
    assert (options["redirect_inbound"], told) == (redirected, redirected)
    port = resource.transparent_proxying(options)["redirectPortInbound"]
    assert (port != 0) is redirected


@pytest.mark.parametrize(
    ("variables", "ports"),
    [
        ({}, ["9100"]),
        ({"kuma_zone_proxy_type": "ingress"}, ["9100", str(inventory.DEFAULT_PORTS["ingress"])]),
        ({"kuma_zone_proxy_type": "egress"}, ["9100", str(inventory.DEFAULT_PORTS["egress"])]),
        ({"kuma_zone_proxy_type": "egress", "kuma_zone_proxy_port": 7000}, ["9100", "7000"]),
        ({"kuma_zone_proxy_proxies": [{"type": "ingress", "port": 7000}, {"type": "egress"}, {"name": "a"}]}, ["9100", "10002", "7000"]),
    ],
)
def test_what_other_zones_send_to_a_zone_proxy_is_not_redirected(renderer, variables, ports):
    given = {"kuma_transparent_proxy_exclude_inbound_ports": [9100], **variables}
    options, told = redirection(renderer, "exclude_inbound_ports", **given)
    assert (options["exclude_inbound_ports"], told) == (ports, ports)
