# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of the proxies on a VM: units, versions, tokens without the token, and whether a restart is pending."""

from __future__ import annotations

import base64
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import proxy as vm_proxy
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import systemd
from ansible_collections.meshfleet.kuma.plugins.modules import proxy_info
from tests.examples import examples
from tests.unit import module_runner

START = 1_800_000_000.0
CLAIMS = {"Name": "web-1", "Mesh": "default", "exp": 1_900_000_000}


def jwt(claims=None):
    parts = [{"alg": "RS256", "kid": "1"}, claims or CLAIMS]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"])


class Processes:
    """Running processes as a test wants them: {pid: (started, program, replaced)}; 1000 + pid is the child."""

    def __init__(self, **running):
        self.running = {int(pid[1:]): facts for pid, facts in running.items()}
        self.environments = {}

    def started(self, pid):
        return self.running[pid][0] if pid in self.running else None

    def environment(self, pid):
        return self.environments.get(pid, {})

    def children(self, pid):
        return [1000 + pid] if 1000 + pid in self.running else []

    def program(self, pid):
        return self.running[pid][1:] if pid in self.running else ("", False)


class Vm:
    """A VM in a directory, with one proxy web-1 that runs unless told otherwise."""

    def __init__(self, root):
        self.root = root
        self.config, self.install = root / "kuma", root / "opt"
        for directory in ("env", "tokens", "dataplanes"):
            (self.config / directory).mkdir(parents=True)
        self.unit = {"Id": "kuma-dp@web-1.service", "ActiveState": "active", "UnitFileState": "enabled", "MainPID": "10"}
        self.processes = Processes(p10=(START, f"{self.install}/2.14.3/bin/kuma-dp", False))
        self.commands = []
        self.journal = []

    def write(self, path, content="x", mtime=START - 100):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        os.utime(path, (mtime, mtime))
        return path

    def version(self, version, marker="abc", programs=("kuma-dp", "envoy")):
        for program in programs:
            self.write(self.install / version / "bin" / program).chmod(0o555)
        if marker:
            self.write(self.install / version / vm_proxy.MARKER, marker + "\n")

    def current(self, version):
        (self.install / "current").symlink_to(version)

    def run(self, command):
        self.commands.append(list(command))
        if command[0] == "journalctl":
            return 0, "\n".join(self.journal), ""
        return 0, "\n".join(f"{key}={value}" for key, value in self.unit.items()) + "\n", ""

    def observe(self, *names, diagnose=False):
        observer = vm_proxy.Observer(str(self.config), str(self.install), self.processes, self.run)
        return observer.proxies(names or ["web-1"], diagnose)


@pytest.fixture
def vm(tmp_path):
    machine = Vm(tmp_path)
    machine.version("2.14.3")
    machine.current("2.14.3")
    machine.write(machine.config / "env/web-1.env", 'KUMA_READINESS_PORT="9902"\n')
    machine.write(machine.config / "tokens/web-1", jwt()).chmod(0o600)
    return machine


def test_a_proxy_that_runs_with_its_files_needs_no_restart(vm):
    proxy = vm.observe()["web-1"]
    assert (proxy["restart_pending"], proxy["restart_reasons"], proxy["version"]) == (False, [], "2.14.3")
    assert proxy["unit"]["active"]
    assert proxy["unit"]["enabled"]
    assert proxy["unit"]["started"] == START
    assert proxy["environment"] == {"KUMA_READINESS_PORT": "9902"}


@pytest.mark.parametrize(
    ("path", "what"),
    [("env/web-1.env", "environment"), ("tokens/web-1", "token"), ("control-plane-ca.pem", "CA")],
)
def test_a_file_that_is_newer_than_the_process_makes_a_restart_pending(vm, path, what):
    vm.write(vm.config / path, mtime=START + 1)
    assert vm.observe()["web-1"]["restart_reasons"] == [f"{what} changed after it was started"]


def test_a_changed_unit_or_drop_in_makes_a_restart_pending(vm):
    vm.unit["FragmentPath"] = str(vm.write(vm.root / "unit", mtime=START - 1))
    vm.unit["DropInPaths"] = " ".join([str(vm.write(vm.root / "a.conf")), str(vm.write(vm.root / "b.conf", mtime=START + 1))])
    assert vm.observe()["web-1"]["restart_reasons"] == ["unit changed after it was started"]


def test_the_order_in_which_redirection_starts_makes_no_restart_pending(vm):
    drop_in = vm.root / "etc/systemd/system/kuma-dp@.service.d/transparent-proxy.conf"
    vm.unit["DropInPaths"] = str(vm.write(drop_in, mtime=START + 1))
    assert vm.observe()["web-1"]["restart_reasons"] == []


def test_the_dataplane_file_of_an_indirect_proxy_is_not_read_by_it(vm):
    vm.write(vm.config / "dataplanes/web-1.yaml", mtime=START + 1)
    assert not vm.observe()["web-1"]["restart_pending"]


def test_trap_34_the_file_of_a_proxy_that_registers_itself_is_read_when_it_starts(vm):
    vm.write(vm.config / "dataplanes/web-1.yaml", mtime=START - 1)
    assert vm.observe()["web-1"]["lifecycle"] == "indirect"
    vm.processes.environments[10] = {"KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH": str(vm.config / "dataplanes/web-1.yaml")}
    assert (vm.observe()["web-1"]["lifecycle"], vm.observe()["web-1"]["restart_reasons"]) == ("direct", [])
    vm.write(vm.config / "dataplanes/web-1.yaml", mtime=START + 1)
    assert vm.observe()["web-1"]["restart_reasons"] == ["Dataplane changed after it was started"]
    vm.unit["MainPID"] = "0"
    assert vm.observe()["web-1"]["lifecycle"] is None


def test_another_version_makes_a_restart_pending(vm):
    (vm.install / "current").unlink()
    vm.current("2.14.4")
    assert vm.observe()["web-1"]["restart_reasons"] == ["version 2.14.3 runs, 2.14.4 is installed"]


def test_a_replaced_program_makes_a_restart_pending(vm):
    vm.processes = Processes(p10=(START, f"{vm.install}/2.14.3/bin/kuma-dp", True))
    assert vm.observe()["web-1"]["restart_reasons"] == ["its program was replaced"]


def test_the_version_is_that_of_its_envoy_where_kuma_dp_is_run_by_an_interpreter(vm):
    vm.processes = Processes(p10=(START, "/usr/bin/python3", False), p1010=(START, f"{vm.install}/2.14.3/bin/envoy", False))
    assert vm.observe()["web-1"]["version"] == "2.14.3"


def test_a_stopped_proxy_never_waits_for_a_restart(vm):
    vm.unit.update(ActiveState="failed", MainPID="0")
    vm.write(vm.config / "env/web-1.env", mtime=START + 1)
    proxy = vm.observe()["web-1"]
    assert (proxy["restart_pending"], proxy["unit"]["failed"], proxy["unit"]["started"], proxy["version"]) == (False, True, None, None)


def test_the_token_is_described_and_never_shown(vm):
    vm.journal = [f"refused {jwt()}", "authentication failed"]
    vm.write(
        vm.config / "env/web-1.env", f'MY_PASSWORD="hunter2"\nOTHER="{jwt()}"\nKUMA_DATAPLANE_RUNTIME_TOKEN_PATH=/etc/kuma/tokens/web-1\n'
    )
    proxy = vm.observe(diagnose=True)["web-1"]
    assert (proxy["token"]["claims"], proxy["token"]["kid"]) == (CLAIMS, "1")
    assert proxy["token"]["mode"] == "0600"
    assert proxy["environment"]["KUMA_DATAPLANE_RUNTIME_TOKEN_PATH"] == "/etc/kuma/tokens/web-1"
    text = json.dumps(proxy)
    assert "authentication failed" in text
    for secret in (jwt(), jwt().split(".", 1)[0], jwt().split(".")[2], "hunter2"):
        assert secret not in text


@pytest.mark.parametrize("content", ["", "no token", "a.b.c", "a.%s.c" % ("x" * 40)])
def test_a_token_file_that_holds_no_token_is_a_problem_that_quotes_nothing(vm, content):
    vm.write(vm.config / "tokens/web-1", content)
    token = vm.observe()["web-1"]["token"]
    assert (token["present"], token["claims"]) == (True, None)
    assert not content or content not in token["problem"]


REAL = """
dynamicResources:
  adsConfig:
    grpcServices:
    - googleGrpc:
        callCredentials:
        - fromPlugin:
            typedConfig:
              secretData:
                filename: {token}
"""
INLINE = "dynamicResources:\n  adsConfig:\n    initialMetadata:\n    - key: authorization\n      value: x\n# {token}\n"


@pytest.mark.parametrize(
    ("bootstrap", "reloaded"),
    [
        (REAL, True),
        ('{{"token": {{"filename": "{token}"}}}}', True),
        (INLINE, False),
        ("filename: {token}-of-another", False),
        (None, False),
    ],
)
def test_trap_29_a_proxy_takes_a_new_token_where_its_control_plane_told_it_where_the_file_is(vm, bootstrap, reloaded):
    token, work_dir = vm.config / "tokens/web-1", vm.root / "run"
    vm.processes.environments[10] = {"KUMA_DATAPLANE_RUNTIME_TOKEN_PATH": str(token), "KUMA_DATAPLANE_RUNTIME_WORK_DIR": str(work_dir)}
    if bootstrap is not None:
        vm.write(work_dir / "bootstrap.yaml", bootstrap.format(token=token))
    vm.write(token, jwt(), mtime=START + 1)
    proxy = vm.observe()["web-1"]
    assert proxy["token"]["reloaded"] is reloaded
    assert proxy["restart_codes"] == ([] if reloaded else ["token"])


@pytest.mark.parametrize("make", ["fifo", "link", "directory"])
def test_what_the_user_of_the_service_puts_there_is_not_followed_and_not_waited_for(vm, make):
    token, work_dir = vm.config / "tokens/web-1", vm.root / "run"
    vm.processes.environments[10] = {"KUMA_DATAPLANE_RUNTIME_TOKEN_PATH": str(token), "KUMA_DATAPLANE_RUNTIME_WORK_DIR": str(work_dir)}
    elsewhere = vm.write(vm.root / "elsewhere", f"filename: {token}")
    work_dir.mkdir()
    bootstrap = work_dir / "bootstrap.yaml"
    {"fifo": lambda: os.mkfifo(bootstrap), "link": lambda: bootstrap.symlink_to(elsewhere), "directory": bootstrap.mkdir}[make]()
    assert vm.observe()["web-1"]["token"]["reloaded"] is False


def test_proxies_that_nobody_asked_for_are_reported_as_well(vm):
    vm.write(vm.config / "env/old.env")
    assert sorted(vm.observe("web-1", "web-2")) == ["old", "web-1", "web-2"]


def test_any_number_of_proxies_takes_one_command(vm):
    vm.observe(*(f"web-{number}" for number in range(50)))
    assert [command[:2] for command in vm.commands] == [["systemctl", "show"]]


def test_a_version_counts_when_everything_was_unpacked(vm):
    vm.version("2.14.4", marker=None)
    vm.version("2.14.5", programs=("kuma-dp",))
    vm.version("2.14.6", marker="def")
    assert vm_proxy.installed(str(vm.install)) == {"2.14.3": "abc", "2.14.6": "def"}


def test_units_are_told_apart():
    text = "Id=kuma-dp@a.service\nActiveState=active\n\nId=kuma-dp@b.service\nActiveState=inactive\nDescription=x=y\n"
    units = vm_proxy.parse_show(text)
    assert units["kuma-dp@a.service"]["ActiveState"] == "active"
    assert units["kuma-dp@b.service"]["Description"] == "x=y"


def test_without_systemd_every_proxy_is_inactive(vm):
    vm.processes = Processes()
    vm.run = lambda command: (127, "", "no systemctl")
    assert vm.observe()["web-1"]["unit"]["state"] == "inactive"
    assert vm_proxy.systemd_version(vm.run) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A=1", {"A": "1"}),
        ('A="1 2"', {"A": "1 2"}),
        (r'A="a\"b\\c\$d"', {"A": r'a"b\c$d'}),
        ('A="one\nB=two\n\nQUJD=="\n  C = 3 ', {"A": "one\nB=two\n\nQUJD==", "C": "3"}),
        ("A='one\nB=\\\"'\nC=3", {"A": 'one\nB=\\"', "C": "3"}),
        ('A="never closed\nB=two', {"A": '"never closed\nB=two'}),
        ("; A=1\nB=", {"B": ""}),
        ("# A=1", {}),
        ("no assignment", {}),
        ("A='x y'", {"A": "x y"}),
        ('A="open', {"A": '"open'}),
    ],
)
def test_environment_files_are_read(line, expected):
    assert vm_proxy.parse_environment(line + "\n") == expected


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), st.text(st.characters(codec="utf-8"), max_size=20)))
@settings(max_examples=examples(200))
def test_what_is_written_is_read(values):
    assert systemd.parse_environment("# about\n" + systemd.render_environment(values)) == values


def test_of_settings_the_names_are_told_and_no_digest(tmp_path):
    (tmp_path / "env").mkdir()
    settings_ = {"KUMA_DATAPLANE_NAME": "web-1", "KUMA_ONE": "canary", "KUMA_CONTROL_PLANE_URL": "https://me:canary@example.com"}
    (tmp_path / "env/web-1.env").write_text(systemd.render_environment({**settings_, "SEVERAL": "canary\nB=canary"}))
    found = module_runner.run("proxy_info", {"config_dir": str(tmp_path)})["host"]["proxies"]["web-1"]
    hidden = {"KUMA_ONE": "(hidden)", "SEVERAL": "(hidden)", "KUMA_CONTROL_PLANE_URL": "https://(hidden)@example.com"}
    assert found["environment"] == {"KUMA_DATAPLANE_NAME": "web-1", **hidden}
    assert "canary" not in json.dumps(found)
    assert "sha256" not in found["files"][f"{tmp_path}/env/web-1.env"]


def test_the_module_describes_this_machine(tmp_path):
    """The result of the real module matches its RETURN, and a check run is the same."""
    options = {"names": ["web-1"], "config_dir": str(tmp_path / "etc"), "install_dir": str(tmp_path / "opt"), "diagnose": True}
    facts = module_runner.run("proxy_info", options)
    assert not facts["changed"]
    assert facts["host"]["architecture"] in ("amd64", "arm64")
    assert os.access(facts["host"]["python_executable"], os.X_OK)
    proxy = facts["host"]["proxies"]["web-1"]
    assert proxy["token"]["present"] is False
    assert (proxy["cover"]["possible"], proxy["cover_active"], proxy["restart"]) == (False, False, None)
    assert proxy["cover"]["reasons"] == ["the proxy does not serve: its unit is inactive"]
    checked = module_runner.run("proxy_info", options, check=True)
    assert checked["host"]["proxies"] == facts["host"]["proxies"]
    assert list(tmp_path.iterdir()) == []


def test_the_module_sees_a_control_plane_that_runs_from_the_same_directory(tmp_path, monkeypatch):
    unit = tmp_path / "kuma-cp.service"
    monkeypatch.setattr(proxy_info, "CONTROL_PLANE", str(unit))
    options = {"config_dir": str(tmp_path / "etc"), "install_dir": "/opt/kuma"}
    assert module_runner.run("proxy_info", options)["host"]["control_plane"] is False
    unit.write_text("ExecStart=/opt/kuma/2.14.3/bin/kuma-cp run\n")
    assert module_runner.run("proxy_info", options)["host"]["control_plane"] is True
    assert module_runner.run("proxy_info", {**options, "install_dir": "/opt/kum"})["host"]["control_plane"] is False
