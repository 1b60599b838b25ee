# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A control plane that role kuma_cp runs on a host: first with its memory, then with a real Postgres. The tests build on each other."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.fleet.fleet import Fleet, service
from tests.lab import archive, canary, certificates, postgres
from tests.lab.ansible import Ansible, Run
from tests.lab.archive import Archive, kuma_bin

HOST, JOINING = "vm5", "vm4"
RERUN_TASKS = 5
PASSWORD = 'it\'s "$ecret\\" `day`'
NEXT = "2.14.4"


@dataclass
class ControlPlane:
    """The host that runs it, and the files of the controller."""

    fleet: Fleet
    archive: Archive
    directory: Path
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.fleet.host(HOST).address

    @property
    def token(self) -> str:
        return (self.directory / "admin-token").read_text()

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def play(self, *arguments: str, package: Archive | None = None, told: Path | None = None, **variables: Any) -> Run:
        package = package or self.archive
        settings = {
            "kuma_cp_version": package.version,
            "kuma_cp_archive": str(package.path),
            "kuma_cp_archive_checksum": package.sha256,
            "kuma_cp_fetch_dir": str(self.directory),
            **self.variables,
            **variables,
        }
        place = self.fleet.stage.directory
        inventory = self.fleet.stage.lab.inventory({"kuma_control_plane": {"hosts": {HOST: {}}, "vars": settings}}, place / "control.yml")
        environment = {**canary.environment(told), "ANSIBLE_PIPELINING": "False"} if told else {}
        return Ansible(place, inventory).playbook(self.fleet.stage.playbook("control_plane"), *arguments, environment=environment)

    def ask(self, path: str, token: str | None = None, port: int = 5682) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = requests.get(f"https://{self.address}:{port}{path}", headers=headers, verify=str(self.ca), timeout=10)
        answer.raise_for_status()
        return answer.json()

    def snapshot(self) -> list[str]:
        look = "systemctl show -p MainPID,UnitFileState,NRestarts kuma-cp.service"
        return self.fleet.snapshot(HOST)[HOST] + self.fleet.host(HOST).run(look).splitlines()


@pytest.fixture(scope="module")
def control_plane(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> ControlPlane:
    for name in (HOST, JOINING):
        fleet.strip(name)
    return ControlPlane(fleet, archive.build(with_control_plane=True), tmp_path_factory.mktemp("control-plane") / "kuma")


@pytest.fixture(scope="module")
def database(control_plane: ControlPlane) -> postgres.Database:
    """What the control plane keeps what it knows in from now on."""
    found = postgres.start(control_plane.fleet.stage.lab, PASSWORD)
    control_plane.variables = {
        "kuma_cp_store": "postgres",
        "kuma_cp_postgres_host": found.host,
        "kuma_cp_postgres_port": found.port,
        "kuma_cp_postgres_user": found.user,
        "kuma_cp_postgres_password": found.password,
        "kuma_cp_postgres_db": found.name,
        "kuma_cp_postgres_tls_mode": "verifyFull",
        "kuma_cp_postgres_ca": str(found.ca_file),
    }
    return found


def test_everything_that_is_wrong_comes_in_one_message(control_plane: ControlPlane) -> None:
    before = control_plane.snapshot()
    run = control_plane.play(kuma_cp_names=["https://kuma"], kuma_cp_dp_port=5682, kuma_cp_store="etcd", kuma_cp_archive="nowhere.tar.gz")
    assert run.code != 0
    assert "4 problems were found" in run.messages
    for expected in (
        "kuma_cp_names has 'https://kuma'",
        "kuma_cp_dp_port is 5682",
        "kuma_cp_store is 'etcd'",
        "kuma_cp_archive is nowhere.tar.gz",
    ):
        assert f"{HOST}: {expected}" in run.messages
    assert control_plane.snapshot() == before


def test_check_of_an_empty_host_says_what_it_would_do(control_plane: ControlPlane) -> None:
    before = control_plane.snapshot()
    run = control_plane.play("--check", "--diff")
    assert run.code == 0, run.explain()
    assert control_plane.snapshot() == before
    assert not control_plane.directory.exists()
    for expected in ("/etc/kuma-cp/kuma-cp.yaml", "skipMeshCreation: false", "kuma-cp.service", control_plane.address):
        assert expected in run.output, expected


@pytest.fixture(scope="module")
def first(control_plane: ControlPlane) -> Run:
    """As talkative as it can be."""
    run = control_plane.play("-vvvv", "--diff")
    assert run.code == 0, run.explain()
    return run


def test_trap_44_the_administrator_token_is_waited_for_and_fetched(control_plane: ControlPlane, first: Run) -> None:
    assert "mesh-system:admin" in control_plane.ask("/who-am-i", control_plane.token)["groups"]
    assert stat.S_IMODE((control_plane.directory / "admin-token").stat().st_mode) == 0o600
    for part in (control_plane.token, control_plane.token.rpartition(".")[2]):
        assert part not in first.output
    assert "kuma_cp_store is memory" in "\n".join(first.warnings)


def test_trap_46_its_certificate_is_its_own_and_no_key_leaves_the_host(control_plane: ControlPlane, first: Run) -> None:
    listed = control_plane.fleet.host(HOST).run("stat -c '%n %a %U:%G' /etc/kuma-cp/tls/*; systemctl show -p Environment kuma-cp")
    assert "/etc/kuma-cp/tls/ca-key.pem 600 root:root" in listed
    assert "/etc/kuma-cp/tls/server-key.pem 640 root:kuma-cp" in listed
    assert "HOME=/var/lib/kuma-cp" in listed
    assert "PRIVATE KEY" not in first.output
    assert sorted(path.name for path in control_plane.directory.iterdir()) == ["admin-token", "ca.pem"]


def test_plain_http_is_not_offered_to_others(control_plane: ControlPlane, first: Run) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{control_plane.address}:5681/", timeout=5)


@pytest.mark.parametrize("arguments", [[], ["--check", "--diff"]], ids=["rerun", "check"])
def test_a_second_run_changes_nothing(control_plane: ControlPlane, first: Run, arguments: list[str]) -> None:
    before = control_plane.snapshot()
    run = control_plane.play(*arguments)
    assert run.code == 0, run.explain()
    assert run.changed == {}
    assert control_plane.snapshot() == before
    assert 0 < len(run.vm_tasks(HOST)) <= RERUN_TASKS, run.vm_tasks(HOST)


@pytest.fixture
def join(control_plane: ControlPlane) -> Iterator[Callable[[], Run]]:
    """Joins the other host with nothing but what the role handed over."""
    stage, package = control_plane.fleet.stage, control_plane.archive
    group = {
        "hosts": {JOINING: {}},
        "vars": {
            "kuma_dp_control_plane_url": f"https://{control_plane.address}:5682",
            "kuma_dp_control_plane_ca": str(control_plane.ca),
            "kuma_dp_api_token": "{{ lookup('ansible.builtin.file', '" + str(control_plane.directory / "admin-token") + "') }}",
            "kuma_dp_version": package.version,
            "kuma_dp_archive": str(package.path),
            "kuma_dp_archive_checksum": package.sha256,
            "kuma_dp_drain_time": "2s",
            "kuma_dp_services": [service("web")],
        },
    }

    def run() -> Run:
        inventory = stage.lab.inventory({"mesh_fleet": group}, stage.directory / "joining.yml")
        return Ansible(stage.directory, inventory).playbook(stage.playbook("join_mesh"))

    yield run
    stage.lab[JOINING].run(f"systemctl kill --signal=KILL kuma-dp@{JOINING}; systemctl disable --now kuma-dp@{JOINING}", check=False)


def test_another_host_joins_with_what_was_handed_over(control_plane: ControlPlane, first: Run, join: Callable[[], Run]) -> None:
    run = join()
    assert run.code == 0, run.explain()
    inbound = control_plane.ask(f"/meshes/default/dataplanes/{JOINING}", control_plane.token)["networking"]["inbound"][0]
    assert inbound.get("state", "Ready") == "Ready"
    assert inbound["health"] == {"ready": True}


@pytest.mark.nightly
def test_a_wrong_password_of_postgres_is_told_with_the_journal(
    control_plane: ControlPlane, first: Run, database: postgres.Database
) -> None:
    run = control_plane.play(kuma_cp_postgres_password="not it")
    assert run.code != 0
    assert "password authentication failed" in run.messages
    assert "not it" not in run.output


@pytest.fixture(scope="module")
def kept(control_plane: ControlPlane, first: Run, database: postgres.Database) -> Run:
    """The same control plane, which keeps what it knows in Postgres from now on."""
    run = control_plane.play("-vvvv", "--diff")
    assert run.code == 0, run.explain()
    return run


def test_with_postgres_the_schema_is_migrated_before_the_start(control_plane: ControlPlane, kept: Run, database: postgres.Database) -> None:
    assert int(database.query("SELECT version FROM schema_migrations")) > 0
    assert PASSWORD not in kept.output
    assert database.password[5:12] not in kept.output
    host = control_plane.fleet.host(HOST)
    assert host.run("stat -c '%a %U' /etc/kuma-cp/secrets.env /etc/kuma-cp/admin-token").splitlines() == ["600 root"] * 2
    assert "$ecret" not in host.run(
        "systemctl cat kuma-cp; systemctl show kuma-cp; cat /etc/kuma-cp/kuma-cp.*; journalctl --no-pager -u kuma-cp"
    )


def test_trap_43_localhost_is_nobody_once_the_token_is_fetched(control_plane: ControlPlane, kept: Run) -> None:
    code = control_plane.fleet.host(HOST).run(
        "python3 -c \"import urllib.request as r; print(r.urlopen('http://127.0.0.1:5681/who-am-i').read().decode())\""
    )
    assert "mesh-system:admin" not in code
    assert "mesh-system:admin" in control_plane.ask("/who-am-i", control_plane.token)["groups"]
    # What opened it meanwhile is gone.
    assert "meshfleet-admin" not in control_plane.fleet.host(HOST).run("systemctl cat kuma-cp")


def test_trap_45_with_postgres_a_restart_loses_nothing(control_plane: ControlPlane, kept: Run) -> None:
    control_plane.fleet.host(HOST).run("systemctl restart kuma-cp")
    run = control_plane.play()
    assert run.code == 0, run.explain()
    assert run.changed == {}
    assert "mesh-system:admin" in control_plane.ask("/who-am-i", control_plane.token)["groups"]


def test_a_run_that_was_killed_leaves_nothing_open(control_plane: ControlPlane, kept: Run) -> None:
    directory = "/run/systemd/system/kuma-cp.service.d"
    setting = "[Service]\\nEnvironment=KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN=true\\n"
    host = control_plane.fleet.host(HOST)
    host.run(
        f"mkdir -p {directory}; printf '{setting}' > {directory}/meshfleet-admin.conf; systemctl daemon-reload; systemctl restart kuma-cp"
    )
    run = control_plane.play()
    assert run.code == 0, run.explain()
    assert "left open" in "\n".join(run.warnings)
    assert "meshfleet-admin" not in host.run("systemctl cat kuma-cp")
    assert "mesh-system:admin" not in host.run(
        "python3 -c \"import urllib.request as r; print(r.urlopen('http://127.0.0.1:5681/who-am-i').read())\""
    )


@pytest.mark.skipif(kuma_bin() is not None, reason="there is one real version")
def test_an_upgrade_with_another_name_keeps_token_and_ca(control_plane: ControlPlane, kept: Run) -> None:
    token, ca = control_plane.token, control_plane.ca.read_bytes()
    names = [control_plane.address, "kuma.example.com"]
    run = control_plane.play(package=archive.build(NEXT, with_control_plane=True), kuma_cp_names=names)
    assert run.code == 0, run.explain()
    assert control_plane.ask("/")["version"] == NEXT
    assert (control_plane.token, control_plane.ca.read_bytes()) == (token, ca)
    assert "there is one instance" in "\n".join(run.warnings)
    session = requests.Session()
    assert session.get(f"https://{control_plane.address}:5682/who-am-i", verify=str(control_plane.ca), timeout=10).status_code == 200


def test_a_key_that_is_given_a_password_and_settings_are_in_their_files_alone(
    control_plane: ControlPlane, kept: Run, tmp_path: Path
) -> None:
    certificate, key = certificates.self_signed(tmp_path, "given", control_plane.address)
    lines = [line for line in key.read_text().splitlines() if not line.startswith("-")]
    given = {"kuma_cp_tls_cert": str(certificate), "kuma_cp_tls_key": key.read_text(), "kuma_cp_tls_ca": str(certificate)}
    package = archive.build(NEXT, with_control_plane=True) if kuma_bin() is None else None
    told, began = tmp_path / "told", time.time()
    run = control_plane.play(*canary.LOUD, package=package, told=told, kuma_cp_environment=canary.ONE_LINE, **given)
    assert run.code == 0, run.explain()
    texts = [*lines, "$ecret", *canary.ONE_LINE.values()]
    canary.check_told(run.output, told, "Lay everything down", control_plane.token, texts)
    assert "AAA_ONE=(hidden)" in run.output
    host = control_plane.fleet.host(HOST)
    own = r"/etc/kuma-cp/(kuma-cp\.env|secrets\.env|admin-token|tls/given-key\.pem)|/var/lib/kuma-cp/.*"
    assert canary.on_host(host, began, texts, own_files=own, own_processes=r"/kuma-cp\.service") == []
    assert set(canary.on_host(host, began, texts, own_files="nowhere", own_processes=r"/kuma-cp\.service")) >= {
        "/etc/kuma-cp/kuma-cp.env",
        "/etc/kuma-cp/tls/given-key.pem",
    }
