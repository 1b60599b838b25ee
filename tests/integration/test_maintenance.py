# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook maintenance.yml: which proxies it takes, with --limit, and what it refuses."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.unit.module_runner import run

ROOT = pathlib.Path(__file__).parents[2]
PROXIES = {"web-1": ["web-1"], "web-2": ["two-a", "two-b"], "web-3": ["three"]}


@pytest.fixture
def fleet(control_plane, ansible_playbook, tmp_path):
    """Three hosts that cannot be connected to, with their Dataplanes in traffic; ``fleet(*arguments)`` runs the playbook."""
    inbound = {"port": 8080, "servicePort": 18080, "serviceAddress": "127.0.0.1", "tags": {"kuma.io/service": "web"}}
    names = [name for proxies in PROXIES.values() for name in proxies]
    dataplanes = [
        {"name": name, "networking": {"address": f"10.7.0.{index + 1}", "inbound": [inbound]}} for index, name in enumerate(names)
    ]
    run("dataplanes", control_plane.options(dataplanes=dataplanes, initial_state="Ready"))
    inventory = tmp_path / "inventory.json"
    inventory.write_text(
        json.dumps(
            {
                "all": {
                    "hosts": {"stranger": {}},
                    "children": {
                        "mesh_zone_proxies": {"hosts": {"gate-1": {}}},
                        "mesh_fleet": {
                            "hosts": {
                                "web-1": {},
                                "web-2": {"kuma_dp_proxies": [{"name": "two-a"}, {"name": "two-b"}]},
                                "web-3": {"kuma_dp_name": "three"},
                            },
                            "vars": {
                                "ansible_host": "192.0.2.1",
                                "ansible_become": True,
                                "kuma_dp_control_plane_url": control_plane.https_url,
                                "kuma_dp_control_plane_ca": control_plane.ca_file,
                                "kuma_dp_archive_cache": str(tmp_path / "cache"),
                            },
                        },
                    },
                }
            }
        )
    )

    def play(*arguments, **variables):
        command = ["-i", inventory, ROOT / "playbooks/maintenance.yml", "-e", json.dumps(variables)]
        return ansible_playbook(*command, *arguments, environment={"KUMA_API_TOKEN": control_plane.token})

    def fenced():
        found = run("dataplane_info", control_plane.options(names=names))["dataplanes"]
        return {item["name"]: item["dataplane"]["labels"] for item in found if item["fenced"]}

    play.fenced = fenced
    play.certificate = pathlib.Path(control_plane.ca_file).read_text()
    yield play
    run("dataplanes", control_plane.options(dataplanes=dataplanes, state="absent"))


def test_hosts_leave_traffic_and_come_back(fleet):
    # No proxy is connected here, so that there is nobody left to serve in the eyes of the control plane.
    options = {"kuma_maintenance_force": True, "kuma_maintenance_reason": "Disk swap", "kuma_maintenance_duration": "2h"}
    inline = {"kuma_dp_control_plane_ca": fleet.certificate, **options}
    looked = fleet("--limit", "web-2,web-3,stranger", "--check", "--diff", kuma_maintenance="fenced", **inline)
    assert looked.returncode == 0, looked.stdout
    assert "out of traffic (3): three, two-a, two-b" in looked.stdout
    assert fleet.fenced() == {}

    done = fleet("--limit", "web-2,web-3,stranger", kuma_maintenance="fenced", **options)
    assert done.returncode == 0, done.stdout
    found = fleet.fenced()
    assert set(found) == {"two-a", "two-b", "three"}
    assert found["three"]["meshfleet.kuma/maintenance"] == "disk-swap"
    again = fleet("--limit", "web-2,web-3", kuma_maintenance="fenced", **options)
    assert "changed=0" in again.stdout

    back = fleet(kuma_maintenance="in_traffic", kuma_maintenance_force=True)
    assert back.returncode == 0, back.stdout
    assert "unchanged (1): web-1" in back.stdout
    assert fleet.fenced() == {}


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        ([], {}, "kuma_maintenance is not set, expected fenced"),
        ([], {"kuma_maintenance": "drained"}, "kuma_maintenance is drained"),
        (
            ["--limit", "gate-1,stranger"],
            {"kuma_maintenance": "fenced"},
            "No host of this play is in the group mesh_fleet, which has 3 hosts. Put the hosts into this group, name another one with kuma_fleet, or",
        ),
        ([], {"kuma_maintenance": "fenced"}, "would be left of web"),
    ],
)
def test_what_makes_no_sense_is_refused(fleet, arguments, variables, message):
    refused = fleet(*arguments, **variables)
    assert refused.returncode != 0
    assert message in " ".join(refused.stdout.split()) + " ".join(refused.stderr.split())
    assert fleet.fenced() == {}
