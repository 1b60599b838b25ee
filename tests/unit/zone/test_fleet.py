# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of zone proxies with what the control plane says and their VMs see."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import trust
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import fleet
from tests.unit.sockets import sign

AUTHORITY = sign("authority", ca=True)
WISH = trust.Wish.of("https://cp.example.com:5678", AUTHORITY.pem, 0.0)


def host(name, number, problem=""):
    """``problem`` is what its resolver says."""
    seen = {"host": "cp.example.com", "port": 5678, "problem": problem, "servers": []} if problem else None
    variables = {
        "name": name, "type": "ingress", "zone": "default", "mesh": "default", "address": f"10.9.0.{number}", "port": 10001, "proxies": [],
        "version": "2.14.3", "archive": "/nowhere.tar.gz", "archive_checksum": {"amd64": "0" * 64}, "trust": dict(WISH._asdict()),
    }  # fmt: skip
    observed = {"architecture": "amd64", "archives": {"2.14.3": "0" * 64}, "proxies": {}, "dp_server": seen}
    return {"host": name, "in_play": True, "variables": variables, "observed": observed}


def plan(control_plane, connect, *hosts):
    client = connect(control_plane.https_url, token=control_plane.token, ca_path=control_plane.ca_file)
    warnings = []
    return fleet.plan(client, list(hosts), "default", warnings.append), warnings


def test_a_vm_that_does_not_trust_the_control_plane_stops_alone(control_plane, connect):
    result, warnings = plan(control_plane, connect, host("gate-1", 1), host("gate-2", 2, "Name or service not known"))
    assert result["plan"]["gate-1"]["refused"] == []
    (reason,) = result["plan"]["gate-2"]["refused"]
    assert "finds no address of cp.example.com" in reason
    assert result["not_ready"] == ["gate-1"]
    assert [text for text in warnings if "without a token" in text]


def test_when_none_does_the_join_is_not_begun(control_plane, connect):
    hosts = [host("gate-1", 1, "Name or service not known"), host("gate-2", 2, "Name or service not known")]
    with pytest.raises(ItemsFailed, match=r"1 problem was found:\n  1\. gate-1, gate-2: kuma_dp_control_plane_dp_url is"):
        plan(control_plane, connect, *hosts)
