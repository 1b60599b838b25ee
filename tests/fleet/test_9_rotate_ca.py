# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Another CA for a control plane that role kuma_cp runs, under a fleet that is called all the time: no request fails, wherever it is cut."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import Fleet, service
from tests.fleet.rolls import QUICK
from tests.fleet.test_9_control_plane import PASSWORD
from tests.lab import archive, postgres
from tests.lab.ansible import Ansible, Run
from tests.lab.load import Load, keepalive, load, new
from tests.lab.processes import wait_until
from tests.lab.traffic import ask, outbounds

HOST = "vm5"
CALLER, WEB = "vm1", ["vm2", "vm3"]
FLEET = [CALLER, *WEB]
CA = "/etc/kuma/control-plane-ca.pem"
# Every one of them is a moment at which the controller may die; what comes twice, for both CAs and for the new one alone, is cut in each.
FIRST, LAST = "first", "last"
CUTS = [
    ("Look whose certificate the control plane shows", LAST),
    ("Lay everything down and start what is not running", FIRST),
    ("Wait for admission", FIRST),
    ("Look at what it was started with", FIRST),
    ("Sign with the next CA", LAST),
    ("Lay everything down, and run it with its current files", LAST),
    ("Wait for the certificate of the new CA", LAST),
    ("See it from every VM", LAST),
    ("Lay everything down and start what is not running", LAST),
    ("Wait for admission", LAST),
    ("Look at what it was started with", LAST),
    ("Forget it where the control plane is, and on the controller", LAST),
]


@dataclass
class Rotation:
    """The control plane on its host, its fleet, and the directory to which it hands over."""

    fleet: Fleet
    directory: Path
    inventory: Path
    ansible: Ansible
    extra: dict[str, Any] = field(default_factory=dict)

    def play(self, book: str, *arguments: str, abort_at: int = 0, **extra: Any) -> Run:
        given = {**QUICK, "kuma_dp_roll_force": False, **extra}
        return self.ansible.playbook(self.fleet.stage.playbook(book), *arguments, extra=given, abort_at=abort_at, timeout=1200)

    @property
    def ca(self) -> str:
        return (self.directory / "ca.pem").read_text()

    def shown(self) -> str:
        """What the dp-server shows, in PEM form."""
        return ssl.get_server_certificate((self.fleet.host(HOST).address, 5678))

    def trusts(self, ca: str) -> bool:
        """Whether somebody who trusts this CA alone takes what the dp-server shows."""
        file = self.directory.parent / f"{hashlib.sha256(ca.encode()).hexdigest()[:8]}.pem"
        file.write_text(ca)
        try:
            ssl.get_server_certificate((self.fleet.host(HOST).address, 5678), ca_certs=str(file))
        except ssl.SSLCertVerificationError:
            return False
        return True

    def started(self) -> dict[str, str]:
        """Process and start of every proxy."""
        look = "systemctl show --property=MainPID,ExecMainStartTimestampMonotonic --value kuma-dp@{} | xargs"
        return {name: self.fleet.host(name).run(look.format(name)) for name in FLEET}

    def laid(self) -> set[str]:
        return {self.fleet.host(name).run(f"cat {CA}") for name in FLEET}

    def port(self) -> int:
        return outbounds(self.fleet.host(CALLER))["WEB"]

    def wait_for_answers(self) -> None:
        def answered() -> bool:
            answers = ask(self.fleet.host(CALLER), self.port(), 24)
            return not answers.failures and sorted(answers.by_host) == WEB

        wait_until(answered, 60, f"answers from {', '.join(WEB)}", interval=0.5)

    def busy(self) -> Any:
        return load(self.fleet.host(CALLER), new(self.port(), rate=300.0), keepalive(self.port()))


def check_over(rotation: Rotation, before: str, seen: Load) -> None:
    """The fleet trusts a CA alone that is another one than `before`, the control plane shows its certificate, and nobody noticed."""
    print(seen)
    assert seen.failures == [], f"{seen}"
    for profile, result in seen.results.items():
        assert result.sent, profile
    assert rotation.ca != before
    assert rotation.ca.count("BEGIN CERTIFICATE") == 1
    assert rotation.laid() == {rotation.ca}
    assert rotation.trusts(rotation.ca)
    assert not rotation.trusts(before)
    files = rotation.fleet.host(HOST).run("ls /etc/kuma-cp/tls").split()
    assert sorted(files) == ["ca-key.pem", "ca.pem", "postgres-ca.pem", "server-key.pem", "server.pem"]


def forget_control_plane(fleet: Fleet) -> None:
    """Ours, and what another test left on the same host."""
    fleet.host(HOST).run(
        "systemctl disable --now kuma-cp; rm -rf /etc/kuma-cp /var/lib/kuma-cp /etc/systemd/system/kuma-cp.service", check=False
    )


@pytest.fixture(scope="module")
def rotation(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotation]:
    fleet.clear(*(host.name for host in fleet.hosts))
    forget_control_plane(fleet)
    place = tmp_path_factory.mktemp("rotation")
    directory, package = place / "kuma", archive.build(with_control_plane=True)
    database = postgres.start(fleet.stage.lab, PASSWORD, "rotation")
    address = fleet.host(HOST).address
    settings = {
        "kuma_cp_version": package.version,
        "kuma_cp_archive": str(package.path),
        "kuma_cp_archive_checksum": package.sha256,
        "kuma_cp_fetch_dir": str(directory),
        "kuma_cp_store": "postgres",
        "kuma_cp_postgres_host": database.host,
        "kuma_cp_postgres_port": database.port,
        "kuma_cp_postgres_user": database.user,
        "kuma_cp_postgres_password": database.password,
        "kuma_cp_postgres_db": database.name,
        "kuma_cp_postgres_tls_mode": "verifyFull",
        "kuma_cp_postgres_ca": str(database.ca_file),
    }
    common = {
        "kuma_dp_control_plane_url": f"https://{address}:5682",
        "kuma_dp_control_plane_ca": str(directory / "ca.pem"),
        "kuma_dp_api_token": "{{ lookup('ansible.builtin.file', '" + str(directory / "admin-token") + "') }}",
        "kuma_dp_version": package.version,
        "kuma_dp_archive": str(package.path),
        "kuma_dp_archive_checksum": package.sha256,
        "kuma_dp_drain_time": "8s",
        "kuma_dp_roll_dir": str(place / "rolls"),
    }
    probe = {"interval": "1s", "timeout": "1s"}
    groups = {
        "kuma_control_plane": {"hosts": {HOST: {}}, "vars": settings},
        "mesh_fleet": {
            "vars": common,
            "children": {
                "shop": {"hosts": {CALLER: {}}, "vars": {"kuma_dp_services": [service("shop")], "kuma_dp_upstreams": ["web"]}},
                "web": {"hosts": {name: {} for name in WEB}, "vars": {"kuma_dp_services": [service("web", probe=probe)]}},
            },
        },
    }
    inventory = fleet.stage.lab.inventory(groups, place / "rotation.yml")
    made = Rotation(fleet, directory, inventory, Ansible(place / "user", inventory))
    for book in ("control_plane", "join_mesh"):
        run = made.play(book)
        assert run.code == 0, run.explain()
    made.wait_for_answers()
    yield made
    made.ansible.close()
    forget_control_plane(fleet)
    fleet.clear(*FLEET, HOST)


@pytest.fixture(scope="module")
def first(rotation: Rotation) -> tuple[Run, str, Load, dict[str, str]]:
    """The whole way, with the CA of before, what callers saw, and the processes of before."""
    before, processes = rotation.ca, rotation.started()
    with rotation.busy() as seen:
        # The CA was made just now.
        run = rotation.play("rotate_ca", kuma_rotate_ca_again=True)
    return run, before, seen, processes


def test_a_rollover_of_the_ca_loses_no_request(rotation: Rotation, first: tuple[Run, str, Load, dict[str, str]]) -> None:
    run, before, seen, processes = first
    assert run.code == 0, run.explain()
    check_over(rotation, before, seen)
    assert [name for name, process in rotation.started().items() if process == processes[name]] == []
    assert "PRIVATE KEY" not in run.output


def test_it_is_over_when_it_is_over(rotation: Rotation, first: tuple[Run, str, Load, dict[str, str]]) -> None:
    ca, processes, snapshot = rotation.ca, rotation.started(), rotation.fleet.snapshot(*FLEET, HOST)
    run = rotation.play("rotate_ca")
    assert run.code == 0, run.explain()
    assert run.changed == {}
    assert (rotation.ca, rotation.started()) == (ca, processes)
    assert rotation.fleet.snapshot(*FLEET, HOST) == snapshot


@pytest.mark.nightly
def test_a_host_that_is_away_keeps_the_control_plane_from_changing(
    rotation: Rotation, first: tuple[Run, str, Load, dict[str, str]]
) -> None:
    before, shown = rotation.ca, rotation.shown()
    with rotation.busy() as seen:
        run = rotation.play("rotate_ca", "--limit", f"{CALLER},{WEB[0]},{HOST}", kuma_rotate_ca_again=True)
        assert run.code != 0, run.explain()
        message = " ".join(run.messages.split())
        assert "The control plane keeps its certificate: 1 host does not trust the new CA yet" in message
        assert f"{WEB[1]}: it is not in this play" in message
        assert rotation.shown() == shown
        assert rotation.ca.count("BEGIN CERTIFICATE") == 2, "whoever joins meanwhile trusts both"
        run = rotation.play("rotate_ca")
    assert run.code == 0, run.explain()
    check_over(rotation, before, seen)


@pytest.mark.nightly
@pytest.mark.parametrize(("cut", "which"), CUTS)
def test_a_rollover_whose_controller_dies_is_continued(
    rotation: Rotation, first: tuple[Run, str, Load, dict[str, str]], cut: str, which: str
) -> None:
    before = rotation.ca
    names = [task.rpartition(" : ")[2] for task in first[0].tasks]
    number = names.index(cut) + 1 if which == FIRST else len(names) - names[::-1].index(cut)
    with rotation.busy() as seen:
        killed = rotation.play("rotate_ca", abort_at=number, kuma_rotate_ca_again=True)
        assert killed.code != 0, killed.explain()
        run = rotation.play("rotate_ca")
    assert run.code == 0, run.explain()
    check_over(rotation, before, seen)
    rotation.wait_for_answers()


@pytest.mark.nightly
def test_after_a_ca_was_replaced_in_one_go_a_join_restarts_who_serves_nobody_and_a_roll_the_others(
    rotation: Rotation, first: tuple[Run, str, Load, dict[str, str]]
) -> None:
    """Nobody could connect with what was there. Those that were running serve with the configuration that they have."""
    before, dead, stale = rotation.ca, WEB[0], [CALLER, WEB[1]]
    rotation.fleet.host(HOST).run("rm /etc/kuma-cp/tls/ca.pem")
    run = rotation.play("control_plane")
    assert run.code == 0, run.explain()
    assert rotation.ca != before
    host, unit = rotation.fleet.host(dead), f"kuma-dp@{dead}"
    host.run(f"systemctl restart {unit}")
    invocation = host.run(f"systemctl show --property=InvocationID --value {unit}").strip()
    journal = f"journalctl --output=cat _SYSTEMD_INVOCATION_ID={invocation}"
    wait_until(lambda: "x509: " in host.run(journal), 60, f"{dead} to say whom it does not trust", interval=0.5)
    processes = rotation.started()

    run = rotation.play("join_mesh")
    assert run.code == 0, run.explain()
    assert f"{dead}, {dead}: the CA that it was started with is not the CA" in run.output
    assert f"RESTART PENDING ({len(stale)})" in run.output
    assert "serves with what it has (the CA that it was started with is not the CA of the control plane" in " ".join(run.output.split())
    assert [name for name, process in rotation.started().items() if process == processes[name]] == stale
    rotation.wait_for_answers()
    with rotation.busy() as seen:
        run = rotation.play("rolling_restart")
    assert run.code == 0, run.explain()
    check_over(rotation, before, seen)
    assert [name for name, process in rotation.started().items() if process == processes[name]] == []
    rotation.wait_for_answers()
