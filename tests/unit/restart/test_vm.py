# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The VM as a restart sees it: a procfs made of files, a systemd that is told what to say, and an admin interface on a real socket."""

from __future__ import annotations

import base64
import http.server
import json
import os
import pathlib
import pwd
import socketserver
import threading
import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import facts as restart_facts
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import vm as restart_vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import parse_environment
from tests.unit.vm.test_envoy import listener
from tests.unit.vm.test_host import HEADER, row

USER = pwd.getpwuid(os.geteuid()).pw_name
KUMA_DP = 10
ENVOY = os.getpid()  # whoever listens on the admin's socket


class Admin(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    ready = 200
    stopped = 0
    connected: int | None = None
    posted: tuple = ()

    def answer(self, path):
        if path == "/ready":
            return self.ready, "LIVE\n"
        if path.startswith("/stats"):
            stream = "" if self.connected is None else f"control_plane.connected_state: {self.connected}\n"
            return 200, f"{stream}listener_manager.listener_stopped: {self.stopped}\nhttp.web.downstream_rq_active: 3\n"
        cluster = {"name": "web", "host_statuses": [{"address": {"socket_address": {"address": "10.0.0.12", "port_value": 8080}}}]}
        answers = {
            "/config_dump?resource=dynamic_listeners": {"configs": [listener(), listener("kuma:envoy:admin", port=9901)]},
            "/clusters?format=json": {"cluster_statuses": [cluster]},
            "/certs": {"certificates": [{"cert_chain": [{"subject_alt_names": [{"uri": "spiffe://default/web"}]}]}]},
        }
        return 200, json.dumps(answers[path])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, text = self.server.answer(self.path)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self):
        self.server.posted += (self.path,)
        self.send_response(200)
        self.end_headers()

    def address_string(self):
        return "-"

    def log_message(self, *arguments):
        pass


class Machine:
    """A VM in a directory with a running proxy web-1 and no cover."""

    def __init__(self, root):
        self.root = root
        self.proc = root / "proc"
        self.paths = files.Paths("web-1", str(root / "etc"), str(root / "opt"), str(root / "lib"), str(root / "unit"))
        self.work = root / "run/web-1"
        for directory in ("etc/env", "lib/web-1/cover", "run/web-1", "opt", "proc/net", "proc/sys/kernel/random"):
            (root / directory).mkdir(parents=True)
        (self.proc / "sys/kernel/random/boot_id").write_text("boot\n")
        (self.proc / "meminfo").write_text("MemAvailable: 1048576 kB\n")
        self.environment = {"KUMA_DATAPLANE_RUNTIME_WORK_DIR": str(self.work), "KUMA_DNS_ENABLED": "false"}
        self.process(1, 0, "/sbin/init")
        self.process(KUMA_DP, 1, "/usr/bin/python3")
        self.process(ENVOY, KUMA_DP, f"{root}/opt/2.14.3/bin/envoy", ("10.0.0.11", 8080, 77), ("10.0.0.11", 9901, 78))
        self.units = {"kuma-dp@web-1.service": ("active", KUMA_DP)}
        self.commands = []
        self.journal = "draining Envoy connections\n"

    def process(self, pid, parent, program, *sockets):
        directory = self.proc / str(pid)
        (directory / "fd").mkdir(parents=True)
        (directory / "stat").write_text(f"{pid} (a (b) S {parent} {' '.join(['0'] * 17)} 500 0 0")
        (directory / "status").write_text(f"Name:\ta b\nUid:\t{os.getuid()}\t{os.geteuid()}\t0\t0\nVmRSS:\t 2048 kB\n")
        (directory / "environ").write_text("\0".join(f"{key}={value}" for key, value in self.environment.items()) + "\0")
        (directory / "exe").symlink_to(program)
        rows = HEADER
        for number, (address, port, inode) in enumerate(sockets):
            rows += row(address, port, inode=inode)
            (directory / f"fd/{number}").symlink_to(f"socket:[{inode}]")
        if sockets:
            (self.proc / "net/tcp").write_text(rows)

    def run(self, command):
        self.commands.append(list(command))
        if command[0] == "journalctl":
            return 0, self.journal, ""
        if command[1] == "show":
            shown = {unit: self.units.get(unit, ("inactive", 0)) for unit in command if unit.endswith(".service")}
            return 0, "\n\n".join(f"Id={unit}\nActiveState={state}\nMainPID={pid}" for unit, (state, pid) in shown.items()), ""
        return 0, "", ""

    def vm(self):
        return restart_vm.Vm(self.paths, USER, self.run, str(self.proc))

    def main(self, stage="begin"):
        return self.vm().look(stage).main


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def admin(machine):
    with Admin(str(machine.work / "kuma-envoy-admin.sock"), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_proxy_is_seen_as_its_own_process_and_the_kernel_tell(machine, admin):
    facts = machine.vm().look("begin")
    main = facts.main
    assert (main.state, main.pid, main.live, main.stopped, main.problem) == ("active", KUMA_DP, True, False, "")
    # What it listens on for itself is not what a cover has to have.
    assert main.bound == {("10.0.0.11", 8080)}
    assert main.owned == {("10.0.0.11", 8080), ("10.0.0.11", 9901)}
    assert main.endpoints == {"web": {"10.0.0.12:8080"}}
    assert main.certificates.identities == {"spiffe://default/web"}
    assert (main.work.requests, main.resident, main.version, main.same_user, main.dns) == (3, 4 << 20, "2.14.3", True, False)
    assert main.serves
    assert (facts.cover.gone, facts.memory_available, facts.good) == (True, 1 << 30, False)
    assert restart_facts.why_no_cover(facts, material=False) == []


def test_trap_52_a_drained_proxy_does_not_serve_although_it_says_that_it_is_live(machine, admin):
    admin.stopped = 2
    assert machine.main().live
    assert not machine.main().serves


def test_a_missing_socket_is_noticed_whatever_the_configuration_says(machine, admin):
    (machine.proc / str(ENVOY) / "fd/0").unlink()
    assert restart_facts.lacks(machine.main()) == ["it does not listen on 10.0.0.11:8080"]


def test_trap_27_a_proxy_without_configuration_is_not_live(machine, admin):
    admin.ready = 503
    assert (machine.main().live, machine.main().work.requests) == (False, 3)


def test_without_an_envoy_or_its_admin_the_reason_is_given(machine):
    assert "its admin interface was not found" in machine.main().problem
    (machine.proc / str(ENVOY) / "exe").unlink()
    assert machine.main().problem == "its Envoy does not run"
    machine.units = {}
    assert machine.main() == restart_facts.Side()


def test_the_admin_port_has_to_belong_to_this_very_envoy(machine):
    (machine.work / "bootstrap.yaml").write_text('{"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}}}')
    assert "127.0.0.1:9901 is not its own" in machine.main().problem


def test_the_embedded_dns_is_enabled_unless_it_is_switched_off(machine, admin):
    (machine.proc / str(KUMA_DP) / "environ").write_text(f"KUMA_DATAPLANE_RUNTIME_WORK_DIR={machine.work}\0")
    assert machine.main().dns


def test_in_a_hurry_nobody_asks_for_endpoints(machine, admin):
    assert machine.main("drain").endpoints == {}
    assert machine.main("drain").bound == {("10.0.0.11", 8080)}


def jwt(**claims):
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "RS256"}, claims)]
    return ".".join([*encoded, "c2ln"])


def lay(machine, dataplane=None, **claims):
    cover = pathlib.Path(machine.paths.own("cover"))
    (cover / "dataplane.yaml").write_text(json.dumps(dataplane or {"mesh": "default", "networking": {"address": "10.0.0.11"}}))
    pathlib.Path(machine.paths.cover_token).parent.mkdir(exist_ok=True)
    pathlib.Path(machine.paths.cover_token).write_text(jwt(**{"Name": "web-1-cover", "exp": time.time() + 3600, **claims}))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, ""),
        ({"Name": ""}, ""),
        ({"exp": 1_700_000_000}, "the token for a cover expired at 2023-11-14"),
        ({"Name": "web-2"}, "the token for a cover is one of web-2, expected web-1-cover"),
        (
            {"dataplane": {"networking": {"outbound": [{"port": 1}], "transparentProxying": {"redirectPortInbound": 15006}}}},
            "cannot have outbounds and a transparent proxy at once",
        ),
    ],
)
def test_what_the_cover_needs_is_checked_before_it_starts(machine, given, reason):
    lay(machine, **given)
    assert reason in machine.vm().material()
    assert bool(reason) == bool(machine.vm().material())


def test_without_material_there_is_no_cover(machine):
    assert machine.vm().material() == "there is no Dataplane for a cover on this VM"
    lay(machine)
    os.unlink(machine.paths.cover_token)
    assert "there is no token for a cover on this VM" in machine.vm().material()


def test_the_cover_differs_in_what_two_proxies_cannot_share(machine, monkeypatch):
    monkeypatch.setattr(os, "fchown", lambda *arguments: None)
    monkeypatch.setattr(restart_vm, "MIGRATE", str(machine.root / "migrate"))
    (machine.proc / "net/tcp").write_text(HEADER + row("0.0.0.0", 9989))
    lay(machine)
    assert machine.vm().prepare_cover() == [restart_vm.NO_MIGRATION]
    (machine.root / "migrate").write_text("0\n")
    assert machine.vm().prepare_cover() == []
    assert (machine.root / "migrate").read_text() == "1\n"
    with open(machine.paths.own("cover", "dataplane.yaml")) as handle:
        dataplane = json.load(handle)
    assert (dataplane["name"], dataplane["type"], dataplane["networking"]["admin"]) == ("web-1-cover", "Dataplane", {"port": 9987})
    with open(machine.paths.own("cover", "env")) as handle:
        environment = parse_environment(handle.read())
    assert environment == {
        "KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH": machine.paths.own("cover", "dataplane.yaml"),
        "KUMA_DATAPLANE_RUNTIME_TOKEN_PATH": machine.paths.cover_token,
        "KUMA_DATAPLANE_RUNTIME_WORK_DIR": "/run/kuma-dp/web-1+",
        "KUMA_DNS_ENABLED": "false",
        "KUMA_READINESS_PORT": "9988",
    }


def test_trap_53_a_proxy_is_told_that_it_is_drained_before_it_is_stopped(machine):
    machine.vm().stop("main")
    verbs = [command[1] if command[0] == "systemctl" else command[0] for command in machine.commands]
    assert verbs == ["show", "kill", "journalctl", "stop", "reset-failed"]
    assert {"--kill-who=main", "--signal=SIGUSR2"} <= set(machine.commands[1])


def test_a_proxy_that_waits_for_its_bootstrap_has_nothing_to_drain(machine):
    (machine.proc / str(ENVOY) / "exe").unlink()
    machine.vm().stop("main")
    assert [command[1] for command in machine.commands] == ["show", "stop", "reset-failed"]


def test_a_proxy_that_never_says_that_it_drains_is_stopped_all_the_same(machine, monkeypatch):
    monkeypatch.setattr(restart_vm, "SAID_WITHIN", 0.1)
    machine.journal = ""
    machine.vm().stop("main")
    assert machine.commands[-2][1] == "stop"


def test_the_drain_is_posted_to_the_side_that_was_looked_at(machine, admin):
    vm = machine.vm()
    vm.tell("main", "/drain_listeners")
    assert admin.posted == ()
    vm.look("drain")
    vm.tell("main", "/drain_listeners")
    assert admin.posted == ("/drain_listeners",)


def test_an_operators_own_start_drains_as_long_as_kuma_dp_would(machine):
    assert machine.vm().own_request()["drain_time"] == 30
    with open(machine.paths.environment, "w") as handle:
        handle.write('KUMA_DATAPLANE_DRAIN_TIME="1m30s"\n')
    assert machine.vm().own_request()["drain_time"] == 90


def test_each_boot_is_told_apart_also_in_a_container(machine):
    first = machine.vm().boot
    (machine.proc / "1/stat").write_text(f"1 (init) S 0 {' '.join(['0'] * 17)} 999 0 0")
    assert machine.vm().boot != first
    (machine.proc / "1/stat").write_text(f"1 (init) S 0 {' '.join(['0'] * 17)} 500 0 0")
    assert machine.vm().boot == first
    (machine.proc / "sys/kernel/random/boot_id").write_text("another\n")
    assert machine.vm().boot != first


@pytest.mark.parametrize(("shown", "again"), [("0", False), ("", False), ("2", True)])
def test_systemd_tells_whether_it_started_the_machine_again(machine, shown, again):
    vm = machine.vm()
    vm.run = lambda command: (0, shown + "\n", "") if "--property=NRestarts" in command else (1, "", "")
    assert vm.again() is again
