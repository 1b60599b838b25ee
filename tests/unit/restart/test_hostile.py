# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user of the proxies can put in the way of root, which looks at them and restarts them: nothing is learnt by it, and nothing hangs."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import host as vm_host
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import proxy as vm_proxy
from tests.unit.restart.test_files import everything
from tests.unit.restart.test_vm import Admin, Handler, Machine, admin, jwt, lay, machine
from tests.unit.vm.hostile import KINDS, SECRET, no_descriptor_stays_open, no_waiting, put, shadow

# Fixtures are found by their names.
__all__ = ["admin", "machine", "no_descriptor_stays_open", "no_waiting", "shadow"]

BOOTSTRAP = '{"admin": {"address": {"pipe": {"path": "%s"}}}}'


@pytest.fixture
def directory(machine):
    """That of the proxy, which belongs to its user."""
    machine.work.chmod(0o777)
    return machine.work


def put_at(path, kind, shadow):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.unlink()
    put(path, kind, shadow)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["bootstrap.yaml", "kuma-envoy-admin.sock"])
def test_a_look_at_a_proxy_ends_and_says_what_is_missing(machine, directory, shadow, kind, name):
    shadow.write_text(BOOTSTRAP % shadow)
    put_at(directory / name, kind, shadow)
    main = machine.main()
    assert main.problem
    assert (main.live, main.serves, main.pid) == (False, False, 10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["environment", "token", "dataplane", "cover_token"])
def test_what_a_proxy_is_started_with_is_not_taken_from_elsewhere(machine, admin, shadow, kind, name):
    path = pathlib.Path(getattr(machine.paths, name))
    put_at(path, kind, shadow)
    pathlib.Path(machine.paths.token).parent.mkdir(exist_ok=True)
    vm = machine.vm()
    assert vm.look("begin").main.serves
    assert vm.own_request()["drain_time"] == 30
    assert vm.material()
    if kind != "directory" or name != "cover_token":  # nobody but root makes one there
        vm.forget_cover()
    files.remember_start(machine.paths)
    assert files.remember_good(machine.paths, 0.0)
    taken = json.loads(pathlib.Path(machine.paths.own("good.json")).read_text())
    assert str(path) not in [item["path"] for item in taken["files"]]
    # What was kept, beside the tokens and among them.
    for item in (path, shadow):
        if item.is_symlink() or not item.is_dir():
            item.unlink(missing_ok=True)
    kept = [item.read_text() for item in pathlib.Path(machine.paths.token).parent.iterdir() if item.is_file()]
    assert SECRET not in everything(machine) + "".join(kept)


@pytest.mark.parametrize("name", ["environment", "token", "dataplane"])
@pytest.mark.parametrize("kind", ["link", "fifo", "link to nothing"])
def test_what_is_put_back_is_not_written_elsewhere(machine, shadow, kind, name):
    path = pathlib.Path(getattr(machine.paths, name))
    path.parent.mkdir(exist_ok=True)
    path.write_text("good")
    files.remember_start(machine.paths)
    assert files.remember_good(machine.paths, 0.0)
    put_at(path, kind, shadow)
    machine.vm().restore_good()
    assert (path.read_text(), path.is_symlink()) == ("good", False)
    assert shadow.read_text() == SECRET


def test_a_token_of_which_its_owner_made_a_program_is_put_back_as_a_file(machine):
    path = pathlib.Path(machine.paths.token)
    path.parent.mkdir()
    path.write_text(jwt())
    path.chmod(0o4755)
    files.remember_start(machine.paths)
    assert files.remember_good(machine.paths, 0.0)
    path.write_text("changed")
    machine.vm().restore_good()
    assert path.stat().st_mode & 0o7777 == 0o755


def test_the_admin_of_another_service_is_not_asked(machine, directory, tmp_path):
    """Its user may write any path into the file of Envoy, also that of a socket of root's."""
    with Admin(str(tmp_path / "docker.sock"), Handler) as other:
        (directory / "bootstrap.yaml").write_text(BOOTSTRAP % (tmp_path / "docker.sock"))
        assert "belongs to process" not in machine.main().problem
        assert other.posted == ()
        machine.process(4321, 10, f"{machine.root}/opt/2.14.3/bin/envoy")
        (machine.proc / str(os.getpid()) / "exe").unlink()
        assert f"docker.sock belongs to process {os.getpid()}, expected 4321" in machine.main().problem


NONSENSE = [
    "[]",
    "null",
    '"text"',
    "[" * 100_000,
    '{"configs": 1}',
    '{"configs": [1]}',
    '{"configs": [{"active_state": []}, {"active_state": {"listener": {"address": [1]}}}]}',
    '{"configs": [{"active_state": {"listener": {"address": {"socket_address": {"port_value": {}}}}}}]}',
    '{"configs": [{"active_state": {"listener": {"address": {"socket_address": {"port_value": 1e999}}}}}]}',
    '{"cluster_statuses": 1}',
    '{"cluster_statuses": [{"name": "a", "host_statuses": [[]]}]}',
    '{"certificates": [{"cert_chain": [{"subject_alt_names": [1]}]}]}',
    "no JSON",
]


@pytest.mark.parametrize("text", NONSENSE)
@pytest.mark.parametrize("path", ["/config_dump?resource=dynamic_listeners", "/clusters?format=json", "/certs"])
def test_an_admin_that_says_what_no_envoy_says_is_a_problem_of_its_proxy_alone(machine, admin, text, path):
    answer = admin.answer
    admin.answer = lambda asked: (200, text) if asked == path else answer(asked)
    main = machine.main()
    assert main.pid == 10
    assert main.problem == "" or "admin interface says what no Envoy says" in main.problem or "did not answer with JSON" in main.problem


@pytest.mark.parametrize("end", ["soon", "nan", "1e999", [1], {}, None, True, float("inf"), float("nan"), 10**400, -(10**400)])
def test_a_token_of_a_cover_that_its_user_made_up_is_a_reason_not_to_use_it(machine, end):
    """It may write into the file, which belongs to it, and the restart has to go on without a cover."""
    lay(machine, exp=end)
    vm = machine.vm()
    assert "the token for a cover" in vm.material() or "there is no token for a cover" in vm.material()
    json.dumps(vm.cover_claims())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["env/web-1.env", "tokens/web-1", "dataplanes/web-1.yaml", "control-plane-ca.pem"])
def test_what_is_told_of_a_vm_ends_and_says_nothing_of_other_files(tmp_path, shadow, kind, name):
    config = tmp_path / "kuma"
    for directory in ("env", "tokens", "dataplanes"):
        (config / directory).mkdir(parents=True)
        (config / directory).chmod(0o777)
    put_at(config / name, kind, shadow)

    def run(command):
        return 0, "Id=kuma-dp@web-1.service\nActiveState=active\nMainPID=%d\n" % os.getpid(), ""

    observer = vm_proxy.Observer(str(config), str(tmp_path / "opt"), vm_host.Processes(), run)
    told = observer.proxies(["web-1"])
    text = json.dumps(told)
    assert SECRET not in text
    assert hashlib.sha256(SECRET.encode()).hexdigest() not in text
    assert told["web-1"]["files"] == {}
    token = told["web-1"]["token"]
    assert (token["present"], token["claims"]) == (False, None)
    assert (token["problem"] is not None) == (name == "tokens/web-1")


@pytest.mark.parametrize("whose", ["a file", "its directory", "the directory of all"])
def test_what_somebody_else_wrote_is_not_put_back_nor_gone_on_with(machine, shadow, whose):
    """The directory of all may have been the home of the user of the proxies before."""
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    good = pathlib.Path(machine.paths.own("good.json"))
    forged = {"path": machine.paths.unit, "mode": 0o644, "uid": 0, "gid": 0, "content": "W1NlcnZpY2VdClVzZXI9cm9vdAo="}
    good.write_text(json.dumps({"files": [forged], "links": []}))
    owned = {"a file": good, "its directory": good.parent, "the directory of all": good.parent.parent}[whose]
    os.chown(owned, 12345, 12345)
    assert files.read_json(str(good)) is None
    machine.vm().restore_good()
    assert not os.path.exists(machine.paths.unit)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_the_directory_of_a_restart_becomes_roots(machine, mode):
    directory = pathlib.Path(machine.paths.state_dir)
    if mode == 0o755:
        os.chown(directory, 12345, 12345)
    directory.chmod(mode)
    (directory / "web-1/cover").chmod(0o700)
    files.make_directories(machine.paths)
    facts = directory.stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o7777) == (0, 0, 0o755)
    assert (directory / "web-1/cover").stat().st_mode & 0o777 == 0o700, "what is root's alone stays as it is"
    files.write_json(machine.paths.own("restart.json"), {"stage": "done"})
    assert machine.vm().load() == {"stage": "done"}


def test_a_machine_is_what_these_tests_think_it_is(machine, admin):
    assert isinstance(machine, Machine)
    assert machine.main().serves
