# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in kuma-dp with the real Envoy against the stand-in control plane."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.contract.fleet import ControlPlanes, Fleet, every_version, listening, log_of, new_address, status
from tests.contract.processes import LIMIT, application, until

STOPPED = [
    "kuma-dp.run stopping all Kuma DP components",
    "kuma-dp.run.envoy stopping Envoy",
    "kuma-dp.run.envoy Envoy terminated successfully",
    "kuma-dp.run stopping Kuma DP",
]


def said(process: subprocess.Popen[bytes]) -> list[str]:
    """What kuma-dp logged since it started Envoy: logger, text and fields."""
    lines = [line.split("\t") for line in log_of(process).splitlines() if "\tINFO\t" in line]
    first = next(number for number, line in enumerate(lines) if line[3] == "starting Envoy")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line[0]) for line in lines)
    return [" ".join(line[2:]) for line in lines[first + 1 :]]


@pytest.fixture(scope="module")
def refusing(control_planes: ControlPlanes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One for all that start a kuma-dp that does not run."""
    with ExitStack() as stack:
        fleet = Fleet("2.14.3", control_planes, tmp_path_factory.mktemp("refusing"), stack)
        fleet.register(fleet.dataplane("web-1", new_address()))
        yield fleet


@pytest.mark.parametrize(
    ("length", "inside"), [(90, {"kuma-al.sock", "kuma-en.sock", "kuma-mh.sock"}), (93, {"kuma.sock"}), (97, {".sock"}), (98, set())]
)
def test_trap_59_paths_of_sockets_are_cut(fleet: Fleet, length: int, inside: set[str]) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        directory = Path(base, "x" * (length - len(base) - 1))
        fleet.join(fleet.dataplane("web-1", new_address()), KUMA_DATAPLANE_RUNTIME_WORK_DIR=str(directory))
        assert {path.name for path in directory.iterdir() if not path.is_file()} == inside
        # Where nobody but root may write on a VM, so that it never runs there.
        assert [path.name for path in Path(base).iterdir() if path != directory] == ([] if inside else [f"{directory.name}.sock"])
        assert all(path.is_socket() or path.name == "kuma-al.sock" for path in directory.iterdir() if not path.is_file())


@every_version
def test_traffic_follows_registration_and_fence(fleet: Fleet) -> None:
    with application("hello from web") as port:
        web = fleet.dataplane("web-1", new_address(), port, service="web")
        web.setdefault("labels", {})["team"] = "a"
        client = fleet.dataplane("client", new_address(), upstream="web")
        fleet.register(web)
        fleet.register(client)
        # No proxy has configuration yet, so its readiness listener does not exist.
        assert status(*listening(web), "/ready") == 0
        fleet.start("web-1")
        fleet.start("client")
        outbound = client["networking"]["outbound"][0]["port"]
        until("the client reaches web", lambda: status("127.0.0.1", outbound) == 200)
        assert requests.get(f"http://127.0.0.1:{outbound}/", timeout=LIMIT).text == "hello from web"
        assert fleet.api.inbound("web-1")["health"] == {"ready": True}
        until("the readiness listener answers", lambda: status(*listening(web), "/ready") == 200)
        assert status(*listening(web), "/stats") == 404

        kept = fleet.api.get(fleet.api.dataplane("web-1"))["labels"].get("team")
        assert kept == (None if fleet.version == "2.12.14" else "a")

        subscription = fleet.api.subscriptions("web-1")[-1]
        assert subscription["version"]["kumaDp"]["version"] == ("3.0.0" if fleet.version == "3.0-dev" else fleet.version)
        assert subscription["version"]["envoy"]["version"] == "1.38.3"
        assert int(subscription["status"]["total"]["responsesAcknowledged"]) >= 2
        assert "responsesRejected" not in subscription["status"]["total"]

        clusters = fleet.api.get(f"{fleet.api.dataplane('client')}/clusters")
        assert f"::{web['networking']['address']}:8080::" in clusters

        fleet.api.change_inbound("web-1", health={"ready": False})
        # Without a ready endpoint an outbound by tag is plain TCP, which has no words for it.
        refused = 503 if fleet.version == "3.0-dev" else 0
        until("the fence takes the endpoint away", lambda: status("127.0.0.1", outbound) == refused)
        assert status(web["networking"]["address"], 8080) == 200, "a fenced proxy still serves whoever asks it directly"
        fleet.api.change_inbound("web-1", health=None)
        until("the endpoint is back", lambda: status("127.0.0.1", outbound) == 200)

        fleet.api.delete(fleet.api.dataplane("web-1"))
        until("deleting takes the endpoint away", lambda: status("127.0.0.1", outbound) != 200)
        assert status(web["networking"]["address"], 8080) == 200, "a deleted proxy keeps its last configuration"


def test_trap_7_the_health_check_undoes_not_ready_and_leaves_a_fence(fleet: Fleet) -> None:
    web, other = fleet.dataplane("web-1", new_address()), fleet.dataplane("web-2", new_address())
    fleet.join(web)
    fleet.join(other)
    fleet.api.change_inbound("web-2", health={"ready": False})
    fleet.api.change_inbound("web-1", state="NotReady", health={})
    until("the health check writes Ready", lambda: fleet.api.inbound("web-1").get("health") == {"ready": True})
    # Both proxies have reported at least once since the fence was written.
    fleet.api.change_inbound("web-1", state="NotReady", health={})
    until("the health check writes Ready again", lambda: fleet.api.inbound("web-1").get("health") == {"ready": True})
    fenced = fleet.api.inbound("web-2")
    assert fenced["health"] == {}
    assert "state" not in fenced


def test_probe_follows_the_application(fleet: Fleet) -> None:
    with application("up") as port:
        fleet.join(fleet.dataplane("web-1", new_address(), port, serviceProbe={"interval": "1s", "timeout": "1s", "tcp": {}}))
    until("the probe turns the inbound NotReady", lambda: fleet.api.inbound("web-1").get("state") == "NotReady")


def test_trap_26_a_wrong_token_stays_up_without_configuration(fleet: Fleet) -> None:
    web = fleet.dataplane("web-1", new_address())
    fleet.register(web)
    process = fleet.start("web-1", token=fleet.api.token("someone-else"))
    wanted = "authentication failed: proxy name from requestor: web-1 is different than in token: someone-else"
    until("the log says why", lambda: wanted in log_of(process))
    assert process.poll() is None
    assert status(*listening(web), "/ready") == 0
    assert not fleet.api.is_online("web-1")


def test_term_drains_and_exits_with_0(fleet: Fleet) -> None:
    web = fleet.dataplane("web-1", new_address(), (port := fleet.stack.enter_context(application("hello"))))
    assert port
    process = fleet.join(web, KUMA_DATAPLANE_DRAIN_TIME="4s")
    process.send_signal(signal.SIGTERM)
    until("the health check writes NotReady", lambda: fleet.api.inbound("web-1").get("state") == "NotReady")
    assert process.poll() is None
    assert status(web["networking"]["address"], 8080) == 200
    assert fleet.api.is_online("web-1")
    assert process.wait(timeout=LIMIT) == 0
    assert said(process) == [
        'runtime received signal, stopping instance gracefully {"signal": "terminated"}',
        "kuma-dp.run Kuma DP caught an exit signal",
        "kuma-dp.run draining Envoy connections",
        'kuma-dp.run waiting for connections to be drained {"waitTime": "4s"}',
        *STOPPED,
    ]
    assert not fleet.api.is_online("web-1")


def test_second_signal_cuts_the_drain(fleet: Fleet) -> None:
    process = fleet.join(fleet.dataplane("web-1", new_address()), KUMA_DATAPLANE_DRAIN_TIME="600s")
    process.send_signal(signal.SIGTERM)
    until("the drain begins", lambda: "waiting for connections to be drained" in log_of(process))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=LIMIT) == 0


def test_usr2_drains_listeners_and_term_then_stops_at_once(fleet: Fleet) -> None:
    process = fleet.join(fleet.dataplane("web-1", new_address()), KUMA_DATAPLANE_DRAIN_TIME="600s")
    fleet.api.change_inbound("web-1", health={"ready": False})
    process.send_signal(signal.SIGUSR2)
    until("the listeners drain", lambda: "draining Envoy connections" in log_of(process))
    process.send_signal(signal.SIGUSR2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=LIMIT) == 0
    assert said(process) == [
        "kuma-dp.run draining Envoy connections",
        'runtime received signal, stopping instance gracefully {"signal": "terminated"}',
        "kuma-dp.run Kuma DP caught an exit signal",
        "kuma-dp.run already drained, exit immediately",
        *STOPPED,
    ]
    inbound = fleet.api.inbound("web-1")
    assert inbound["health"] == {}
    assert "state" not in inbound, "nobody reported a health change"


# The main thread waits and is not woken by a signal, as when it comes just before the wait; another thread takes the signal.
DEAF = """
import queue, signal, sys
from tests.double.kuma_dp.signals import listen
events = queue.SimpleQueue()
numbers = (signal.SIGUSR2, signal.SIGTERM)
listen(numbers, events.put)
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print("listening", flush=True)
print(sorted([events.get().name, events.get().name]))
"""


def test_no_signal_is_lost_that_comes_just_before_a_wait() -> None:
    process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    process.send_signal(signal.SIGUSR2)
    process.send_signal(signal.SIGTERM)
    try:
        assert process.communicate(timeout=LIMIT)[0] == "['SIGTERM', 'SIGUSR2']\n"
    finally:
        process.kill()
        process.wait()


def test_traps_4_9_a_killed_proxy_looks_online_takes_its_envoy_along_and_can_come_back(fleet: Fleet) -> None:
    web = fleet.dataplane("web-1", new_address())
    process = fleet.join(web)
    address = (web["networking"]["address"], 8080)
    until("Envoy listens", lambda: status(*address) == 503)
    process.kill()
    process.wait()
    until("Envoy is gone", lambda: status(*address) == 0)
    assert fleet.api.is_online("web-1")
    for _start in range(2):
        again = fleet.start("web-1")
        before = len(fleet.api.subscriptions("web-1"))
        until("Envoy listens again", lambda: status(*address) == 503)
        again.kill()
        again.wait()
        assert before <= 2
    assert len(fleet.api.subscriptions("web-1")) == 2
    assert "disconnectTime" in fleet.api.subscriptions("web-1")[0]


def test_envoy_death_ends_kuma_dp(fleet: Fleet) -> None:
    process = fleet.join(fleet.dataplane("web-1", new_address()))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    assert process.wait(timeout=LIMIT) in (0, 1)
    until("the stream is closed", lambda: not fleet.api.is_online("web-1"))


def test_second_stream_of_a_name_is_refused(fleet: Fleet) -> None:
    fleet.join(fleet.dataplane("web-1", new_address()))
    second = fleet.start("web-1")
    until("the second is refused", lambda: "there is already an active stream from this node, try again later" in log_of(second))


def test_trap_34_a_direct_proxy_brings_its_dataplane_and_takes_it_away(fleet: Fleet) -> None:
    document = fleet.dataplane("cover", new_address())
    for key in ("state", "health"):
        del document["networking"]["inbound"][0][key]
    file = fleet.directory / "dataplane.yaml"
    file.write_text(json.dumps(document))
    direct = {"KUMA_DATAPLANE_MESH": "", "KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH": str(file)}
    process = fleet.start("", token=fleet.api.token("cover"), **direct)
    until("it is online", lambda: "name" in fleet.api.get(fleet.api.dataplane("cover")) and fleet.api.is_online("cover"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=LIMIT) == 0
    assert "networking" in fleet.api.get(fleet.api.dataplane("cover")), "it stays for the deregistration delay"
    until("it is deregistered", lambda: fleet.api.get(fleet.api.dataplane("cover")).get("status") == 404)


def test_unregistered_proxy_waits(fleet: Fleet) -> None:
    web = fleet.dataplane("web-1", new_address())
    process = fleet.start("web-1")
    until("it asks in vain", lambda: "Dataplane entity is not yet found" in log_of(process))
    fleet.register(web)
    until("it connects", lambda: fleet.api.is_online("web-1"))


def test_trap_5_term_while_waiting_for_registration_exits_with_1(fleet: Fleet) -> None:
    process = fleet.start("web-1")
    until("it asks in vain", lambda: "Dataplane entity is not yet found" in log_of(process))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=LIMIT) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"KUMA_DATAPLANE_RUNTIME_RESOURCE": "type: Dataplane"}, "--name and --mesh cannot be specified"),
        ({"KUMA_DATAPLANE_DRAIN_TIME": "0s"}, ".DrainTime must be positive"),
        ({"KUMA_READINESS_PORT": "0"}, ".ReadinessPort has to be in (0, 65535] range"),
        ({"KUMA_DATAPLANE_RUNTIME_TOKEN_PATH": "/nowhere"}, "could not read file /nowhere"),
        ({"KUMA_DATAPLANE_RUNTIME_TOKEN_PATH": "/dev/null"}, "is empty"),
        ({"KUMA_DNS_ENABLED": "true"}, "could not find executable for coredns"),
        ({"KUMA_DATAPLANE_RUNTIME_BINARY_PATH": "no-envoy"}, "could not find executable for envoy"),
        ({"KUMA_DATAPLANE_RUNTIME_TOKEN_PATH": "", "KUMA_DATAPLANE_RUNTIME_TOKEN": ""}, "Dataplane Token is required"),
    ],
)
def test_what_cannot_work_exits_with_1(refusing: Fleet, settings: dict[str, str], message: str) -> None:
    process = refusing.start("web-1", **settings)
    assert process.wait(timeout=LIMIT) == 1
    assert message in log_of(process)


def test_trap_24_flags_lose_against_the_environment_and_unknown_ones_are_fatal(refusing: Fleet) -> None:
    def run(*flags: str, **environment: str) -> str:
        answer = subprocess.run(
            [refusing.program, "run", *flags], env={"PATH": "/usr/bin:/bin", **environment}, stderr=subprocess.PIPE, check=False
        )
        assert answer.returncode == 1
        return answer.stderr.decode()

    assert "unknown flag: --bogus" in run("--bogus")
    assert "DrainTime must be positive" in run("--name=a", "--mesh=b", "--drain-time=5s", KUMA_DATAPLANE_DRAIN_TIME="0s")
    version = subprocess.run([refusing.program, "version"], stdout=subprocess.PIPE, check=True).stdout
    assert version == b"Kuma: 2.14.3\n"


def test_trap_32_certificate_and_bootstrap_refusals(fleet: Fleet) -> None:
    url, ca = fleet.ready["dp_url"] + "/bootstrap", fleet.ready["ca_file"]
    body = {"mesh": fleet.mesh, "name": "web-1", "dataplaneToken": "x"}
    fleet.register(fleet.dataplane("web-1", new_address()))
    assert requests.post(url, json=body, verify=ca, timeout=LIMIT).status_code == 200, "the token is not looked at here"
    foreign = requests.post(url, json=body, verify=ca, timeout=LIMIT, headers={"Host": "cp.example.com:5678"})
    assert foreign.status_code == 400
    assert "following SANs" in foreign.text
    leaf = Path(ca).with_name("server.pem").read_text()
    assert requests.post(url, json={**body, "caCert": leaf}, verify=ca, timeout=LIMIT).status_code == 400
    missing = requests.post(url, json={**body, "name": "nobody"}, verify=ca, timeout=LIMIT)
    assert (missing.status_code, missing.text) == (404, "")
    invalid = requests.post(
        url, json={**body, "dataplaneResource": f"type: Dataplane\nmesh: {fleet.mesh}\nname: a"}, verify=ca, timeout=LIMIT
    )
    assert invalid.status_code == 422
    assert "networking: must be defined" in invalid.text


@pytest.mark.parametrize("fleet", ["2.12.14"], indirect=True)
def test_listeners_are_not_shared_before_2_13_7(fleet: Fleet) -> None:
    web = fleet.dataplane("web-1", new_address())
    cover = {**fleet.dataplane("web-1-cover", web["networking"]["address"]), "name": "web-1-cover"}
    fleet.join(web)
    fleet.register(cover)
    fleet.start("web-1-cover")

    def rejected() -> bool:
        found = fleet.api.subscriptions("web-1-cover")
        return bool(found) and int(found[-1]["status"]["total"].get("responsesRejected", "0")) > 0

    until("the cover's listener is rejected", rejected)


def test_listeners_are_shared_since_2_13_7(fleet: Fleet) -> None:
    with application("hello") as port:
        web = fleet.dataplane("web-1", new_address(), port)
        cover = fleet.dataplane("web-1-cover", web["networking"]["address"], port, service="web-1")
        process = fleet.join(web)
        fleet.join(cover)
        process.kill()
        process.wait()
        # The kernel hands some connections to the dying Envoy until its sockets are closed.
        until("the cover serves the same port", lambda: status(web["networking"]["address"], 8080) == 200)
