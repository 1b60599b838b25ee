# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One inventory on four releases: what the role plans and registers on each, that a rerun writes nothing, and what an upgrade repairs.

The step of the role that runs once for the fleet is run as it is; what it would have seen on VMs is in the inventory.
"""

from __future__ import annotations

import copy
import itertools
import json
import pathlib

import pytest

from tests.unit.module_runner import run

VERSIONS = ["2.12.14", "2.13.10", "2.14.3", "3.0-dev"]
CHECKSUM = "0f4d9b9a5a3b9c5c9f5c1b0c8b0a3f7f6f3d3a6e1f8c7b6a5d4c3b2a19080706"
PLAY = """\
- name: Plan and register
  hosts: mesh_fleet
  gather_facts: false
  vars:
    run: first
  tasks: &tasks
    - name: Plan and register
      meshfleet.kuma.fleet_join:
        role: kuma_dp
      register: kuma_dp_plan
      run_once: true
    - name: Keep what was planned
      ansible.builtin.raw: printf %s {{ kuma_dp_plan | to_json | quote }} > {{ results }}/{{ run }}.json
      delegate_to: localhost
      run_once: true
      changed_when: false

- name: Plan and register again
  hosts: mesh_fleet
  gather_facts: false
  vars:
    run: again
  tasks: *tasks
"""
WEB = {"name": "web", "port": 8080, "service_port": 18080, "protocol": "http", "tags": {"version": "1"}}
WEB["probe"] = {"interval": "5s", "timeout": "1s"}
ADMIN = {"name": "admin", "port": 8081, "service_port": 18081, "protocol": "http"}
SHOP = {"name": "shop", "port": 8082, "service_port": 18082, "protocol": "http"}
HOSTS = {
    "caller": {"services": [SHOP], "upstreams": ["web", "admin"], "labels": {"team": "a"}},
    "web-1": {"services": [WEB, ADMIN], "upstreams": []},
    "web-2": {"services": [WEB, ADMIN], "upstreams": ["web"]},
    "edge": {"gateway": {"name": "edge"}, "upstreams": ["web", {"service": "admin", "port": 15015}]},
}
# The modules everyday on each release, the play around them on one.
WAYS = [(version, "modules") for version in VERSIONS]
WAYS += [pytest.param(version, "play", marks=[] if version == "2.14.3" else pytest.mark.nightly) for version in VERSIONS]
PORTS = {}  # local ports by service, the same on every release
names = itertools.count(1)


class Fleet:
    """Hosts that nobody connects to, on one control plane and in a mesh of their own."""

    def __init__(self, control_plane, directory, mode=None):
        self.control_plane, self.directory = control_plane, directory
        self.mesh = f"generations-{next(names)}"
        definition = {"type": "Mesh", "name": self.mesh, **({"meshServices": {"mode": mode}} if mode else {})}
        run("resource", control_plane.options(definition=definition))
        self.hosts = copy.deepcopy(HOSTS)

    def described(self, **variables):
        """``{host: variables of the role}``."""
        hosts = {}
        for number, (name, given) in enumerate(self.hosts.items(), 1):
            common = {"name": name, "mesh": self.mesh, "address": f"10.8.0.{number}", "version": "9.9.9", "install": False}
            common.update(archive="/nowhere", archive_checksum=CHECKSUM, archive_cache=str(self.directory), outbound_range="10001-19999")
            hosts[name] = {**common, **given, **variables}
        return hosts

    def play(self, ansible_playbook):
        """What was planned and registered in the first and in the second of two plays."""
        seen = {"architecture": "amd64", "archives": {"9.9.9": CHECKSUM}, "proxies": {}, "listening": []}
        hosts = {name: {"kuma_dp_look": {"options": item, "host": seen}} for name, item in self.described().items()}
        settings = {
            "kuma_dp_mesh": self.mesh,
            "kuma_dp_control_plane_url": self.control_plane.https_url,
            "kuma_dp_control_plane_ca": self.control_plane.ca_file,
            "kuma_dp_version": "9.9.9",
            "results": str(self.directory),
        }
        (self.directory / "inventory.json").write_text(json.dumps({"mesh_fleet": {"hosts": hosts, "vars": settings}}))
        (self.directory / "play.yml").write_text(PLAY)
        environment = {"KUMA_API_TOKEN": self.control_plane.token}
        done = ansible_playbook("-i", self.directory / "inventory.json", self.directory / "play.yml", environment=environment)
        assert self.control_plane.token not in done.stdout + done.stderr
        assert done.returncode == 0, done.stdout + done.stderr
        runs = [json.loads((self.directory / f"{name}.json").read_text()) for name in ("first", "again")]
        return [
            {"plan": {**run, "differing": [item["name"] for item in run["results"]]}, "registered": {**run, "skipped": not run["results"]}}
            for run in runs
        ]

    def plan(self, **variables):
        hosts = [{"host": name, "variables": item} for name, item in self.described(**variables).items()]
        return run("fleet_plan", self.control_plane.options(mesh=self.mesh, hosts=hosts))

    def register(self, check=False):
        """Plan and result of a run of the two modules, without a play around them."""
        planned = self.plan()
        assert not planned.get("failed"), planned["msg"]
        registered = run("dataplanes", self.control_plane.options(mesh=self.mesh, dataplanes=planned["dataplanes"]), check=check)
        assert not registered.get("failed"), registered["msg"]
        return planned, registered

    def register_twice(self):
        """As ``play``, by the modules alone."""
        (first, registered), (again, unchanged) = self.register(), self.register()
        assert unchanged["changed"] is False
        # The play does not even start the module then.
        return {"plan": first, "registered": registered}, {"plan": again, "registered": {"skipped": True}}

    def refused(self, **variables):
        """The problems of a plan that must have some, with nothing written."""
        planned = self.plan(**variables)
        assert planned["failed"]
        assert planned["msg"].startswith("The join was not begun, nothing was written.")
        assert self.live() == {}
        return planned

    def live(self):
        found = run("dataplane_info", self.control_plane.options(mesh=self.mesh))["dataplanes"]
        return {item["name"]: item["dataplane"] for item in found}


def outbounds(dataplane):
    return {item["port"]: item.get("backendRef") or item["tags"] for item in dataplane["networking"]["outbound"]}


def by_service(planned):
    return {item["service"]: item["port"] for host in planned["plan"].values() for item in host["proxies"][0]["outbounds"]}


@pytest.mark.parametrize(("version", "way"), WAYS)
def test_one_inventory_is_registered_in_the_form_of_the_release_and_a_rerun_writes_nothing(
    control_plane_of, ansible_playbook, tmp_path, version, way
):
    fleet = Fleet(control_plane_of(version), tmp_path)
    first, again = fleet.play(ansible_playbook) if way == "play" else fleet.register_twice()
    assert [item["action"] for item in first["registered"]["results"]] == ["created"] * 4
    assert (again["plan"]["differing"], again["plan"]["labels_lost"]) == ([], [])
    assert again["registered"].get("skipped") is True
    live = fleet.live()
    found = by_service(first["plan"])
    assert found == PORTS.setdefault("same", found), "a service has another port on another release"
    web, admin = PORTS["same"]["web"], PORTS["same"]["admin"]
    assert (admin, set(PORTS["same"])) == (15015, {"web", "admin"})
    (inbound, other) = live["web-1"]["networking"]["inbound"]
    assert inbound["serviceProbe"] == {"interval": "5s", "timeout": "1s", "tcp": {}}
    if version == "3.0-dev":
        assert ("tags" in inbound, inbound["protocol"], inbound["name"]) == (False, "http", "web")
        assert live["web-1"]["labels"]["version"] == "1"
        wanted = {web: {"kind": "MeshService", "name": "web", "port": 8080}, admin: {"kind": "MeshService", "name": "web", "port": 8081}}
    else:
        assert {key: inbound["tags"][key] for key in ("kuma.io/service", "kuma.io/protocol", "version")} == {
            "kuma.io/service": "web",
            "kuma.io/protocol": "http",
            "version": "1",
        }
        assert other["tags"]["kuma.io/service"] == "admin"
        wanted = {web: {"kuma.io/service": "web"}, admin: {"kuma.io/service": "admin"}}
    assert outbounds(live["edge"]) == outbounds(live["caller"]) == wanted
    assert live["edge"]["networking"]["gateway"]["tags"]["kuma.io/service"] == "edge"
    kept = {key: value for key, value in live["caller"].get("labels", {}).items() if key in ("team", "kuma.io/workload")}
    assert kept == ({} if version == "2.12.14" else {"team": "a", "kuma.io/workload": "shop"})


@pytest.mark.parametrize("version", ["2.13.10", "2.14.3"])
def test_in_an_exclusive_mesh_outbounds_refer_to_mesh_services_with_the_same_ports(control_plane_of, tmp_path, version):
    fleet = Fleet(control_plane_of(version), tmp_path)
    before = by_service(fleet.register()[0])
    definition = {"type": "Mesh", "name": fleet.mesh, "meshServices": {"mode": "Exclusive"}}
    run("resource", fleet.control_plane.options(definition=definition))
    planned, _registered = fleet.register()
    assert by_service(planned) == before
    assert planned["differing"] == ["caller", "edge", "web-2"]
    live = fleet.live()
    assert outbounds(live["caller"]) == {
        before["web"]: {"kind": "MeshService", "name": "web", "port": 8080},
        before["admin"]: {"kind": "MeshService", "name": "admin", "port": 8081},
    }
    planned, registered = fleet.register()
    assert (planned["differing"], registered["changed"]) == ([], False)
    assert fleet.live() == live


@pytest.mark.parametrize(
    ("version", "mode", "api", "message"),
    [
        ("2.12.14", None, "v3", "kuma_dp_api is v3, but this control plane (2.12) drops inbound.protocol without a word"),
        ("2.14.3", "Exclusive", "v3", "kuma_dp_api is v3, but with this control plane (2.14) nobody would be called"),
        ("3.0-dev", None, "v2", "kuma_dp_api is v2, but this control plane (3.0) drops tags and outbounds by kuma.io/service"),
    ],
)
def test_another_generation_is_refused_before_anything_is_written(control_plane_of, tmp_path, version, mode, api, message):
    (problem,) = Fleet(control_plane_of(version), tmp_path, mode).refused(api=api)["problems"]
    assert message in problem


def test_trap_19_what_3_0_would_drop_is_an_error_before_the_write_for_all_hosts_together(control_plane_of, tmp_path):
    fleet = Fleet(control_plane_of("3.0-dev"), tmp_path)
    fleet.hosts["caller"]["upstreams"] = [{"service": "web", "tags": {"version": "1"}}]
    fleet.hosts["web-1"]["services"][1]["tags"] = {"version": "2"}
    fleet.hosts["web-2"]["services"] = [{**WEB, "port": 9999}]
    text = fleet.refused()["msg"]
    assert "caller: kuma_dp_upstreams: the tags of web choose nothing in 3.0" in text
    assert "web-1: kuma_dp_services: the tag version has the values 1 and 2" in text
    assert "web-2: kuma_dp_services: web is one MeshService, and web-2 has the ports 9999 web http in it" in text


def test_trap_16_labels_that_were_lost_below_2_13_are_written_in_one_pass_after_the_upgrade(control_plane_of, tmp_path):
    old, new = Fleet(control_plane_of("2.12.14"), tmp_path), Fleet(control_plane_of("2.14.3"), tmp_path)
    old.register()
    # What the upgraded control plane finds in its store: no labels, one proxy fenced, one not ready, the others healthy.
    states = {"web-1": {"health": {"ready": False}}, "web-2": {"state": "NotReady", "health": {"ready": False}}}
    held = []
    for name, dataplane in old.live().items():
        networking = dataplane["networking"]
        for inbound in networking.get("inbound", []):
            inbound.pop("state", None)
            inbound["health"] = {"ready": True}
            inbound.update(states.get(name, {}))
        held.append({"type": "Dataplane", "mesh": new.mesh, "name": name, "networking": networking})
    run("dataplanes", new.control_plane.options(mesh=new.mesh, dataplanes=held, initial_state="Ready"))
    for dataplane in held:  # a probed inbound is made NotReady when it is created
        run("resource", new.control_plane.options(definition=dataplane))
    before = new.live()
    assert not {"team", "kuma.io/workload"} & set(before["caller"]["labels"])

    assert new.register(check=True)[0]["labels_lost"] == sorted(HOSTS)
    assert new.live() == before
    planned, registered = new.register()
    assert planned["labels_lost"] == sorted(HOSTS)
    wrote = {item["name"]: (item["action"], item["fields"]) for item in registered["results"]}
    assert wrote["web-1"] == ("updated", ['labels["kuma.io/workload"]'])
    assert wrote["caller"] == ("updated", ['labels["kuma.io/workload"]', 'labels["team"]'])
    # Two listings, the index, and one read and one write for each Dataplane.
    assert registered["requests"] == 2 + 1 + 2 * len(HOSTS)
    after = new.live()
    for name, dataplane in after.items():
        assert dataplane["networking"] == before[name]["networking"], "state or health was not kept"
        assert dataplane["labels"]["kuma.io/workload"] in ("web", "shop", "edge")
    planned, registered = new.register()
    assert (planned["differing"], planned["labels_lost"], registered["changed"]) == ([], [], False)
    assert new.live() == after


def test_trap_16_a_control_plane_that_loses_labels_gets_none_and_the_play_says_so(control_plane_of, tmp_path):
    planned = Fleet(control_plane_of("2.12.14"), tmp_path).plan()
    assert not any("labels" in dataplane for dataplane in planned["dataplanes"])
    (warning,) = [text for text in map(json.dumps, planned["warnings"]) if "labels" in text]
    assert "(Kuma 2.12.14) loses the labels of users at the next change of readiness, so none are written" in warning
    assert "of caller have no effect. Upgrade it to 2.13 or later and join again" in warning


def test_the_whole_join_reads_kuma_dp_api(control_plane_of, ansible_playbook, tmp_path):
    """The role itself, which looks at this machine and is only checked."""
    control_plane = control_plane_of("3.0-dev")
    variables = {
        "ansible_connection": "local",
        "ansible_become": False,
        "kuma_dp_config_dir": str(tmp_path / "etc"),
        "kuma_dp_install_dir": str(tmp_path / "opt"),
        "kuma_dp_control_plane_url": control_plane.https_url,
        "kuma_dp_control_plane_ca": control_plane.ca_file,
        "kuma_dp_archive_cache": str(tmp_path),
        "kuma_dp_version": "2.14.3",
        "kuma_dp_archive": "/nowhere/kuma.tar.gz",
        "kuma_dp_archive_checksum": CHECKSUM,
        "kuma_dp_address": "10.8.1.1",
        "kuma_dp_api": "v2",
        "kuma_dp_gateway": {"name": "edge", "oops": 1},
        "kuma_dp_upstreams": ["web"],
        "kuma_dp_services": [],
    }
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"mesh_fleet": {"hosts": {"edge": variables}}}))
    playbook = pathlib.Path(__file__).parents[2] / "playbooks/join_mesh.yml"
    done = ansible_playbook("-i", inventory, playbook, "--check", environment={"KUMA_API_TOKEN": control_plane.token})
    text = " ".join(done.stdout.split())
    assert "kuma_dp_api is v2, but this control plane (3.0) drops tags" in text
    assert "edge: kuma_dp_gateway.oops is 1, expected only the keys name, tags" in text
