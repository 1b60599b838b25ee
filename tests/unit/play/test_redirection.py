# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is redirected to the proxy of a VM, and what is not although it comes in there."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import inventory
from ansible_collections.meshfleet.kuma.plugins.modules import transparent_proxy
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import options, redirection
from tests.unit import parsed

ROLE = pathlib.Path(__file__).parents[3] / "roles/kuma_transparent_proxy"
PREFIX = "kuma_transparent_proxy_"
DEFAULTS = parsed.file(ROLE / "defaults/main.yml")
SPECS = parsed.file(ROLE / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
TABLES = {**options.TRANSPARENT, **options.TRANSPARENT_APPLY, **options.TRANSPARENT_ENABLED}


def redirected(gateways=({},), zone_proxies=(), **variables):
    """The options of a VM whose inventory has these variables, without their prefix."""
    known = {**DEFAULTS, "kuma_dp_dns_enabled": False, "kuma_dp_version": "2.14.3"}
    known.update({PREFIX + name: value for name, value in variables.items()})
    return redirection.options(options.read(options.TRANSPARENT, known.__getitem__), gateways, zone_proxies)


@pytest.mark.parametrize(
    ("variables", "gateways", "inbound"),
    [
        ({}, [{}], True),
        ({"redirect_inbound": False}, [{}], False),
        ({"redirect_inbound": "no"}, [{}], False),
        ({}, [{"name": "edge"}], False),
        ({}, [{}, {"name": "edge"}], False),
        ({}, [{}, {}, None], True),
    ],
)
def test_what_clients_send_to_a_gateway_is_not_redirected(variables, gateways, inbound):
    found = redirected(gateways, **variables)
    assert found["redirect_inbound"] is inbound
    assert (resource.transparent_proxying(found)["redirectPortInbound"] != 0) is inbound


@pytest.mark.parametrize(
    ("zone_proxies", "ports"),
    [
        ([], ["9100"]),
        ([{"type": "", "port": 0}], ["9100"]),
        ([{"type": "ingress", "port": 0}], ["9100", str(inventory.DEFAULT_PORTS["ingress"])]),
        ([{"type": "egress"}], ["9100", str(inventory.DEFAULT_PORTS["egress"])]),
        ([{"type": "egress", "port": 7000}], ["9100", "7000"]),
        ([{"type": "ingress", "port": 7000}, {"type": "egress"}, {"name": "a"}], ["9100", "10002", "7000"]),
    ],
)
def test_what_other_zones_send_to_a_zone_proxy_is_not_redirected(zone_proxies, ports):
    assert redirected(zone_proxies=zone_proxies, exclude_inbound_ports=[9100])["exclude_inbound_ports"] == ports


def test_a_port_without_brackets_is_one_port_and_not_its_digits():
    assert redirected(exclude_inbound_ports=9100, ssh_ports="2222", exclude_outbound_ports=None)["exclude_inbound_ports"] == ["9100"]
    assert redirected(ssh_ports="2222")["ssh_ports"] == ["2222"]
    assert redirected(exclude_outbound_ports=None)["exclude_outbound_ports"] == []


def test_options_and_their_defaults_are_the_same_everywhere():
    assert {name: option["default"] for name, option in SPECS.items()} == DEFAULTS
    rows = re.findall(r"^\| `(kuma_\w+)` \| `(.*?)` \|", (ROLE / "README.md").read_text(), re.MULTILINE)
    assert {name: yaml.safe_load(default) for name, default in rows} == DEFAULTS
    own = {option.variable: option.elsewhere for option in TABLES.values() if option.variable.startswith(PREFIX)}
    assert own == DEFAULTS


def test_every_option_arrives_at_the_module_with_the_same_default():
    documented = yaml.safe_load(transparent_proxy.DOCUMENTATION)["options"]
    assert set(TABLES) - set(documented) == {"enabled"}
    for key, option in TABLES.items():
        if option.variable == PREFIX + key and key != "enabled":
            assert documented[key]["default"] == option.elsewhere, key


@pytest.mark.parametrize(
    ("reachable", "told"), [(True, "no answer. Name every port"), (False, "no answer. It cannot be reached yet. Name every")]
)
def test_a_vm_that_has_undone_its_rules_says_what_to_do(reachable, told):
    text = redirection.undone("web-1", "no answer", reachable)
    assert text.startswith("web-1: the VM has undone the rules of the transparent proxy by itself: no answer. ")
    assert told in text
    assert text.endswith("(journalctl -u kuma-transparent-proxy-rollback).")
