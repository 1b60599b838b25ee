# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook migration_report.yml: which hosts it reports, what it writes, when it fails and what it refuses."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.unit.module_runner import run

ROOT = pathlib.Path(__file__).parents[2]
MESH = "migrating"


def dataplane(name, address, *services, outbound=None, labels=None):
    inbounds = [
        {
            "port": port,
            "servicePort": port + 10000,
            "serviceAddress": "127.0.0.1",
            "tags": {"kuma.io/service": service, "kuma.io/protocol": "http"},
        }
        for service, port in services
    ]
    networking = {"address": address, "inbound": inbounds, **({"outbound": outbound} if outbound else {})}
    return {"name": name, "labels": labels or {}, "networking": networking}


@pytest.fixture(scope="module")
def fleet(control_plane, ansible_playbook, tmp_path_factory):
    """Hosts that cannot be connected to, with Dataplanes as they are before the migration; ``fleet(*arguments)`` runs the playbook."""
    work = tmp_path_factory.mktemp("fleet")
    mtls = {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}
    run("resource", control_plane.options(definition={"type": "Mesh", "name": MESH, "mtls": mtls}))
    dataplanes = [
        dataplane("web-1", "10.9.9.1", ("web", 8080), labels={"kuma.io/workload": "web", "team": "a"}),
        dataplane("two-a", "10.9.9.2", ("api", 8081), outbound=[{"port": 10001, "tags": {"kuma.io/service": "web"}}]),
        dataplane("two-b", "10.9.9.2", ("db", 8082), labels={"kuma.io/workload": "db"}),
        dataplane("unknown", "10.9.9.3", ("other", 8083)),
    ]
    run("dataplanes", control_plane.options(mesh=MESH, dataplanes=dataplanes))
    two = [
        {"name": "two-a", "services": [{"name": "api", "port": 8081}], "upstreams": ["web"]},
        {"name": "two-b", "services": [{"name": "db", "port": 8082}]},
    ]
    web = [{"name": "web", "port": 8080, "protocol": "http"}]
    inventory = work / "inventory.json"
    inventory.write_text(
        json.dumps(
            {
                "all": {
                    "hosts": {"stranger": {}},
                    "children": {
                        "mesh_fleet": {
                            "hosts": {
                                "web-1": {"kuma_dp_services": web, "kuma_dp_labels": {"team": "a", "tier": "front"}},
                                "vm-2": {"kuma_dp_proxies": two},
                                "edge-4": {"kuma_dp_gateway": {"name": "edge"}, "kuma_dp_upstreams": ["web"]},
                                "new-3": {"kuma_dp_services": [{"name": "Neu_3", "port": 80}]},
                            },
                            "vars": {
                                "ansible_host": "192.0.2.1",
                                "ansible_become": True,
                                "kuma_dp_mesh": MESH,
                                "kuma_dp_control_plane_url": control_plane.https_url,
                                "kuma_dp_control_plane_ca": control_plane.ca_file,
                                "kuma_dp_archive_cache": str(work / "cache"),
                            },
                        }
                    },
                }
            }
        )
    )

    def play(*arguments, **variables):
        command = ["-i", inventory, ROOT / "playbooks/migration_report.yml", "-e", json.dumps(variables)]
        done = ansible_playbook(*command, *arguments, environment={"KUMA_API_TOKEN": control_plane.token})
        assert control_plane.token not in done.stdout + done.stderr
        return done

    play.certificate = pathlib.Path(control_plane.ca_file).read_text()
    yield play
    run("dataplanes", control_plane.options(mesh=MESH, dataplanes=[{"name": item["name"]} for item in dataplanes], state="absent"))


def found(report, **fields):
    return [item["code"] for item in report["findings"] if item["severity"] != "info" and all(item[key] == fields[key] for key in fields)]


def test_the_whole_fleet_as_text_and_json(fleet, tmp_path):
    path = tmp_path / "report.json"
    done = fleet(kuma_migration_report_path=str(path))
    assert done.returncode == 0, done.stdout
    assert "[breaks silently] protocol (4)" in done.stdout
    report = json.loads(path.read_text())
    assert (report["mesh"], report["control_plane"]["version"], report["target"]) == (MESH, "2.14.3", "3.0")
    assert set(report["hosts"]) == {"web-1", "vm-2", "new-3", "edge-4"}
    assert found(report, host="edge-4") == []
    assert found(report, host="web-1") == ["labels-missing", "protocol", "token-tags"]
    assert found(report, host="vm-2") == ["outbound-tags", "protocol", "protocol", "token-tags", "token-tags", "workload-label"]
    assert found(report, host="new-3") == ["service-name"]
    assert found(report, name="unknown") == ["protocol", "workload-label"]
    assert found(report, type="Mesh") == ["mesh-mtls", "mesh-services"]
    (outbound,) = [item for item in report["findings"] if item["code"] == "outbound-tags"]
    assert "backendRef {kind: MeshService, name: web, port: 8080}" in outbound["remedy"]
    again = fleet(kuma_migration_report_path=str(path))
    assert "changed=0" in again.stdout


def test_a_part_of_the_fleet(fleet, tmp_path):
    path = tmp_path / "report.json"
    done = fleet("--limit", "vm-2,stranger", kuma_migration_report_path=str(path))
    assert done.returncode == 0, done.stdout
    report = json.loads(path.read_text())
    assert set(report["hosts"]) == {"vm-2"}
    assert found(report, name="unknown") == []
    # The upstream web is offered by a host outside of the limit.
    assert "upstream-port" not in found(report)


def test_nothing_is_written_in_check_mode(fleet, tmp_path):
    path = tmp_path / "report.json"
    assert fleet("--check", kuma_migration_report_path=str(path), kuma_dp_control_plane_ca=fleet.certificate).returncode == 0
    assert not path.exists()


@pytest.fixture(scope="module")
def failing(fleet, tmp_path_factory):
    """``(a run that fails on request, its report)``, as verbose as a run gets and with a value that is nobody's business."""
    path = tmp_path_factory.mktemp("failing") / "report.json"
    secret = {"KUMA_DATAPLANE_RUNTIME_CONFIG_DIR": "geheim-7f3a"}
    return fleet("-vvv", kuma_migration_report_path=str(path), kuma_migration_fail_on="silent", kuma_dp_environment=secret), path


def test_it_fails_on_request_after_the_report_is_written(failing):
    done, path = failing
    assert done.returncode != 0
    assert "findings about Kuma 3.0 are of the sort that fail_on (silent) names" in " ".join((done.stdout + done.stderr).split())
    assert json.loads(path.read_text())["counts"]["silent"] > 0
    assert "[breaks silently] protocol (4)" in done.stdout


def test_values_of_the_environment_are_not_told_by_a_verbose_run(failing):
    done, path = failing
    assert "kuma_dp_environment.KUMA_DATAPLANE_RUNTIME_CONFIG_DIR" in done.stdout
    assert "geheim-7f3a" not in done.stdout + done.stderr + path.read_text()


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["--limit", "stranger"], {}, "No host of this play is in the group mesh_fleet, which has 4"),
        ([], {"kuma_fleet": "nobody"}, "No host of this play is in the group nobody, which has 0"),
        ([], {"kuma_migration_fail_on": "loud"}, "kuma_migration_fail_on is loud, expected none, silent"),
        ([], {"kuma_dp_control_plane_url": ""}, "kuma_dp_control_plane_url not set, expected one of each"),
        ([], {"kuma_dp_mesh": "nowhere"}, "mesh is nowhere, which"),
    ],
)
def test_what_makes_no_sense_is_refused(fleet, arguments, variables, message):
    refused = fleet(*arguments, **variables)
    assert refused.returncode != 0
    assert message in " ".join((refused.stdout + refused.stderr).split())
