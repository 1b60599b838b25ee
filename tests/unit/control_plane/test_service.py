# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kuma-cp as a service: started, restarted and waited for; the administrator's token, fetched and kept."""

from __future__ import annotations

import base64
import itertools
import json
import os
import pathlib
import stat
from unittest import mock

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane import service as control_plane_service
from ansible_collections.meshfleet.kuma.plugins.module_utils._module import host as module_host
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import host as vm_host
from tests.unit import module_runner
from tests.unit.http_server import Answer

ADMIN = "eyJhbGciOiJSUzI1NiJ9.eyJOYW1lIjoiYWRtaW4ifQ.c2lnbmF0dXJl"
UNIT = "/etc/systemd/system/kuma-cp.service"
STARTED = 1_700_000_000.0


class World:
    """A VM with kuma-cp: its systemd, and the API that answers while it runs. Restarts take effect at once."""

    def __init__(self, directory):
        self.opening = str(directory / "run/meshfleet-admin.conf")
        self.version = "2.14.3"
        self.running = "2.14.3"
        self.active, self.enabled = True, True
        self.crashes = 0
        self.localhost_is_admin = False
        self.issued = ADMIN
        self.secret_after = 0
        self.commands = []
        self.opened_at = []

    def run(self, command):
        self.commands.append(list(command))
        verb = command[1]
        if command[0] == "journalctl":
            return 0, f"cannot start with {ADMIN}\n", ""
        if verb == "show":
            state = "active" if self.active else "inactive"
            words = [f"ActiveState={state}", "MainPID=%d" % self.active, "UnitFileState=" + ("enabled" if self.enabled else "disabled")]
            return 0, "\n".join(["Id=kuma-cp.service", *words, f"NRestarts={self.crashes}", f"FragmentPath={UNIT}"]), ""
        if verb == "enable":
            self.enabled = True
        if verb == "restart":
            self.active, self.running = True, self.version
            self.localhost_is_admin = pathlib.Path(self.opening).exists()
            self.opened_at.append(self.localhost_is_admin)
        return 0, "", ""

    @property
    def verbs(self):
        return [command[1] for command in self.commands if command[1] not in ("show",)]

    def answer(self, request):
        token = (request.headers.get("Authorization") or "").partition(" ")[2]
        admin = self.localhost_is_admin or token == self.issued
        if request.path == "/":
            return _json({"version": self.running, "product": "Kuma"})
        if request.path == "/who-am-i":
            return _json({"groups": ["mesh-system:admin"] if admin else ["mesh-system:unauthenticated"]})
        if not admin:
            return _json({"status": 403}, 403)
        if self.secret_after > 0:
            self.secret_after -= 1
            return _json({"status": 404}, 404)
        return _json({"data": base64.b64encode(self.issued.encode()).decode()})


def _json(document, status=200):
    return Answer(status=status, body=json.dumps(document).encode(), headers={"Content-Type": "application/json"})


@pytest.fixture
def world(tmp_path, serve, monkeypatch):
    found = World(tmp_path)
    found.server = serve(found.answer)
    monkeypatch.setattr(control_plane_service, "OPENING", found.opening)
    monkeypatch.setattr(control_plane_service.Service.__init__, "__defaults__", (found.opening,))
    monkeypatch.setattr(module_host, "runner_of", lambda module: found.run)
    monkeypatch.setattr(vm_host.Processes, "started", lambda self, pid: STARTED if pid else None)
    monkeypatch.setattr(control_plane_service, "_POLL", 0.001)
    return found


def module(world, name, check=False, **options):
    args = {"version": world.version, "port": world.server.port, "timeout": 2, **options}
    return module_runner.run(name, args, check=check)


def serve_it(world, **options):
    return module(world, "control_plane_service", **options)


def token(world, tmp_path, **options):
    return module(world, "control_plane_token", **{"localhost_is_admin": False, "path": str(tmp_path / "admin-token"), **options})


def test_one_that_runs_with_its_files_is_left_alone(world, tmp_path):
    (tmp_path / "old").touch()
    os.utime(tmp_path / "old", (STARTED - 1, STARTED - 1))
    result = serve_it(world, files=[str(tmp_path / "old"), str(tmp_path / "missing")])
    assert (result["changed"], result["actions"], world.verbs) == (False, [], [])


@pytest.mark.parametrize("check", [True, False])
def test_a_newer_file_and_another_version_restart_it_with_a_warning(world, tmp_path, check):
    (tmp_path / "kuma-cp.yaml").touch()
    world.running = "2.13.10"
    result = serve_it(world, files=[str(tmp_path / "kuma-cp.yaml")], check=check)
    assert result["actions"] == ["restarted"]
    assert result["reasons"] == [f"{tmp_path}/kuma-cp.yaml changed after it was started", "version 2.13.10 runs, 2.14.3 is installed"]
    assert result["version_before"] == "2.13.10"
    assert "there is one instance" in str(result["warnings"][0])
    assert ("restart" in world.verbs) != check


@pytest.mark.parametrize(("active", "enabled"), list(itertools.product([True, False], repeat=2)))
def test_what_is_missing_is_done_and_then_nothing_is(world, active, enabled):
    world.active, world.enabled = active, enabled
    result = serve_it(world)
    assert result["actions"] == ([] if enabled else ["enabled"]) + ([] if active else ["started"])
    assert (world.active, world.enabled) == (True, True)
    assert serve_it(world)["changed"] is False


def test_check_mode_counts_files_that_would_change(world):
    assert serve_it(world, files_changed=True, check=True)["reasons"] == ["its files would change"]
    assert serve_it(world, files_changed=True)["actions"] == []
    assert world.verbs == []


def test_the_wrong_version_is_waited_for_and_then_told_with_the_journal(world):
    world.run = lambda command, run=world.run: run([item for item in command if item != "restart"])
    world.running = "2.13.10"
    result = serve_it(world, timeout=0.05)
    assert result["failed"]
    assert "version 2.13.10 answers" in result["msg"]
    assert "expected version 2.14.3" in result["msg"]
    assert ADMIN not in str(result)


def test_one_that_keeps_ending_is_not_waited_for(world):
    world.version = "2.14.4"

    def crashing(command, run=world.run):
        world.crashes += command[1] == "show"
        return run([item for item in command if item != "restart"])

    world.run = crashing
    result = serve_it(world, timeout=600)
    assert result["failed"]
    assert "does not keep running" in result["msg"]
    assert world.crashes < 10, "looked at for as long as it was waited for"


def test_one_that_was_left_open_is_closed(world):
    pathlib.Path(world.opening).parent.mkdir()
    pathlib.Path(world.opening).touch()
    world.localhost_is_admin = True
    result = serve_it(world)
    assert result["reasons"] == ["the API was left open to everybody on this VM"]
    assert not pathlib.Path(world.opening).exists()
    assert world.opened_at == [False]


def test_trap_44_the_token_is_polled_for_until_it_is_there(world, tmp_path):
    world.localhost_is_admin, world.secret_after = True, 3
    result = token(world, tmp_path, localhost_is_admin=True)
    assert (result["token"], result["changed"], world.verbs) == (ADMIN, False, [])
    assert not (tmp_path / "admin-token").exists()


def test_trap_43_the_request_over_loopback_names_loopback(world, tmp_path):
    world.localhost_is_admin = True
    token(world, tmp_path, localhost_is_admin=True, address="0.0.0.0")
    assert {request.headers["Host"] for request in world.server.requests} == {f"127.0.0.1:{world.server.port}"}
    assert not any("Authorization" in request.headers for request in world.server.requests)


def test_it_is_opened_once_and_closed_again_and_the_token_is_kept(world, tmp_path):
    result = token(world, tmp_path)
    assert (result["token"], result["changed"], result["fetched"]) == (ADMIN, True, True)
    assert world.opened_at == [True, False]
    kept = tmp_path / "admin-token"
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == (ADMIN, 0o600)
    again = token(world, tmp_path)
    assert (again["token"], again["changed"], world.opened_at) == (ADMIN, False, [True, False])


def test_a_kept_token_that_is_no_longer_good_is_fetched_anew(world, tmp_path):
    (tmp_path / "admin-token").write_text("old")
    checked = token(world, tmp_path, check=True)
    assert (checked["changed"], checked["token"], world.verbs) == (True, "", [])
    assert token(world, tmp_path)["token"] == ADMIN
    assert (tmp_path / "admin-token").read_text() == ADMIN


def test_it_is_closed_again_when_the_token_does_not_come(world, tmp_path):
    world.secret_after = 10**6
    result = token(world, tmp_path, timeout=0.05)
    assert result["failed"]
    assert "admin-user-token is not there" in result["msg"]
    assert not pathlib.Path(world.opening).exists()
    assert world.opened_at == [True, False]
    assert not (tmp_path / "admin-token").exists()


def test_a_refusal_is_not_waited_for(world, tmp_path):
    result = token(world, tmp_path, localhost_is_admin=True, timeout=600)
    assert result["failed"]
    assert "is refused" in result["msg"]


def test_in_check_mode_before_the_first_start_there_is_no_token(world, tmp_path):
    world.server.close()
    result = token(world, tmp_path, localhost_is_admin=True, check=True)
    assert (result["token"], result["changed"]) == ("", False)


@pytest.mark.parametrize("address", ["", "localhost", "127.0.0.1\nUser=root", "127.0.0.1/x", "..", "%i"])
def test_what_a_unit_names_is_an_address(address):
    with pytest.raises(ModuleFailed, match=r"^address is .*, expected an IP address of loopback"):
        control_plane_service.Api(address, 5681)


def test_what_opens_the_api_listens_on_loopback_alone(world):
    with mock.patch.object(control_plane_service.Service, "restart"):
        service = control_plane_service.Service(control_plane_service.Api("0.0.0.0", 1), world.run, lambda pid: None)
        service.open()
    lines = pathlib.Path(world.opening).read_text().splitlines()
    assert "Environment=KUMA_API_SERVER_HTTP_INTERFACE=127.0.0.1" in lines
    assert "Environment=KUMA_API_SERVER_HTTPS_INTERFACE=127.0.0.1" in lines
