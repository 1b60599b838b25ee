# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action of the playbook migration_report: whose report it is, where it is written, and when the play fails."""

from __future__ import annotations

import json

import pytest

from ansible_collections.meshfleet.kuma.plugins.action import fleet_migration
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.controller import Missing
from tests.unit.action.host import action
from tests.unit.module_runner import run

MESH = "action-migration"
FLEET = {
    "web-1": {"kuma_dp_services": [{"name": "web", "port": 8080}], "kuma_dp_mesh": MESH},
    "job-1": {"kuma_dp_upstreams": ["web"], "kuma_dp_mesh": MESH},
}


@pytest.fixture(scope="module")
def examined(control_plane):
    """``examined(hosts, ...)`` runs the step of these hosts. In their mesh is a Dataplane of nobody."""
    run("resource", control_plane.options(definition={"type": "Mesh", "name": MESH}))
    inbound = {"port": 8083, "servicePort": 18083, "serviceAddress": "127.0.0.1", "tags": {"kuma.io/service": "other"}}
    stranger = {"name": "action-stranger", "networking": {"address": "10.8.8.1", "inbound": [inbound]}}
    run("dataplanes", control_plane.options(mesh=MESH, dataplanes=[stranger]))

    def make(hosts, step="examine", check=False, **variables):
        return action(fleet_migration, control_plane, FLEET, step=step, check=check, in_play=hosts, **variables).step()

    yield make
    run("dataplanes", control_plane.options(mesh=MESH, dataplanes=[stranger], state="absent"))


def findings(path):
    return {
        (item["code"], item["host"], item["name"]) for item in json.loads(path.read_text())["findings"] if item["type"] != "not visible"
    }


def test_the_report_is_written_when_it_differs_and_not_in_check_mode(examined, tmp_path):
    path = tmp_path / "report.json"
    looked = examined(["web-1"], check=True, kuma_migration_report_path=str(path))
    assert looked["changed"] is True
    assert not path.exists()
    done = examined(["web-1"], kuma_migration_report_path=str(path))
    assert (done["changed"], done["failing"], done["diff"]["before"]) == (True, 0, "")
    assert done["msg"][0].startswith(f"Mesh {MESH} on Kuma 2.14.3 with 1 Dataplanes.")
    assert path.read_text() == json.dumps(json.loads(path.read_text()), indent=4, sort_keys=True) + "\n"
    assert examined(["web-1"], kuma_migration_report_path=str(path))["changed"] is False
    assert examined(["web-1"])["changed"] is False


def test_with_a_limit_hosts_outside_offer_services_and_strangers_are_left_out(examined, tmp_path):
    path = tmp_path / "report.json"
    examined(["web-1", "job-1"], kuma_migration_report_path=str(path))
    whole = findings(path)
    assert {("not-registered", "web-1", "web-1"), ("not-registered", "job-1", "job-1")} <= whole
    assert ("workload-label", "", "action-stranger") in whole
    examined(["job-1"], ansible_limit="job-1", kuma_migration_report_path=str(path))
    part = findings(path)
    assert {host for _code, host, _name in part} == {"", "job-1"}
    assert not any(name == "action-stranger" for _code, _host, name in part)
    assert not any(code == "upstream-port" for code, _host, _name in part), "web-1 offers the service"


def test_a_play_fails_as_it_was_asked_to_in_a_step_of_its_own(examined):
    done = examined(["web-1"], kuma_migration_fail_on="silent")
    assert done["failing"] > 0
    assert "failed" not in done
    for fail_on, failing in (("silent", 2), ("any", 3)):
        with pytest.raises(ItemsFailed, match=rf"^{failing} findings about Kuma 3.0 are of the sort that fail_on \({fail_on}\) names\."):
            examined(["web-1"], "judge", kuma_migration_fail_on=fail_on, kuma_migration_examined={"failing": failing})
    assert examined(["web-1"], "judge", kuma_migration_examined={"failing": 0}) == {"changed": False}


@pytest.mark.parametrize(
    ("variables", "failure", "message"),
    [
        (
            {"kuma_migration_fail_on": "loud"},
            ItemsFailed,
            "kuma_migration_fail_on is loud, expected none, silent .what breaks without an error. or any",
        ),
        (
            {"kuma_migration_report_path": "/nowhere/report.json"},
            Missing,
            "kuma_migration_report_path is /nowhere/report.json, expected a file",
        ),
        ({"kuma_dp_mesh": "nowhere"}, ItemsFailed, "mesh is nowhere, which"),
        ({"kuma_dp_api_ca": "/nowhere/ca.pem"}, Missing, "kuma_dp_api_ca is /nowhere/ca.pem, expected PEM text, or a file"),
    ],
)
def test_what_makes_no_sense_is_refused(examined, variables, failure, message):
    with pytest.raises(failure, match=message):
        examined(["web-1"], **variables)
