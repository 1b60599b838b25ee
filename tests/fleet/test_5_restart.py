# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One proxy restarted on one host, under cover and drained, and everything that can go wrong there. No request may fail."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.fleet.fleet import NAMES, Fleet
from tests.lab.host import Host
from tests.lab.processes import wait_until
from tests.lab.traffic import Answers, ask, outbounds, polling

PAUSE = 0.01
OVER = "/run/kuma-lab-over"

# Kills the restart machine of a proxy once in each of its stages, and tells in which it did.
KILLER = """
import json, os, subprocess, sys, time
name, wanted = sys.argv[1], sys.argv[2].split(",")
killed, end = [], time.time() + 90
print("started", flush=True)
while time.time() < end and len(killed) < len(wanted):
    try:
        stage = json.load(open("/var/lib/kuma-dp/%s/restart.json" % name))["stage"]
    except (OSError, ValueError):
        stage = ""
    if stage in wanted and stage not in killed:
        pid = subprocess.run(["systemctl", "show", "--property=MainPID", "--value", "kuma-dp-restart@" + name], stdout=subprocess.PIPE)
        pid = int(pid.stdout)
        if pid:
            os.kill(pid, 9)
            killed.append(stage)
    time.sleep(0.02)
print(json.dumps(killed))
"""


@pytest.fixture
def joined(fleet: Fleet) -> Fleet:
    """All proxies ready. Dataplanes of covers that have just ended do not matter."""
    names = fleet.dataplanes()
    if any(name not in names or not fleet.ready(name) for name in NAMES):
        run, _seen = fleet.join()
        assert run.code == 0, run.explain()
    return fleet


def cover_of(fleet: Fleet, name: str, **claims: Any) -> dict[str, Any]:
    """What the controller sends: the live Dataplane under the cover's name, and a token for it."""
    dataplane = fleet.dataplanes()[name]
    networking = dataplane["networking"]
    inbounds = [{key: value for key, value in item.items() if key not in ("state", "health")} for item in networking["inbound"]]
    cover = {"type": "Dataplane", "mesh": "default", "name": f"{name}-cover", "networking": {**networking, "inbound": inbounds}}
    claims = {"name": f"{name}-cover", "mesh": "default", "validFor": "1h", **claims}
    return {"dataplane": cover, "token": fleet.stage.control_plane.token("/tokens/dataplane", **claims)}


def restart(fleet: Fleet, host: str, name: str, *arguments: str, cover: Any = None, **options: Any) -> dict[str, Any]:
    """Run the module on one host; its result for this proxy, with `failed` and `msg` of the whole."""
    wish = {"name": name, "strategy": "cover", **{key: options.pop(key) for key in ("strategy", "reasons") if key in options}}
    if cover:
        wish["cover"] = cover
    module = {"proxies": [wish], "drain_time": 8, "poll": 0.2, **options}
    path = fleet.stage.directory / f"restart-{name}.yml"
    task = {"name": "Restart", "meshfleet.kuma.proxy_restart": module, "timeout": 0, "ignore_errors": True}
    path.write_text(yaml.safe_dump([{"name": "Restart", "hosts": host, "gather_facts": False, "tasks": [task]}]))
    run = fleet.ansible.playbook(path, *arguments)
    found = [event for event in run.results if "results" in event["result"]]
    assert found, run.explain()
    assert not cover or cover["token"] not in run.output
    whole = found[0]["result"]
    return {**whole["results"][0], "failed": found[0]["status"] == "failed", "msg": str(found[0]["msg"])}


def state(host: Host, name: str) -> dict[str, Any]:
    text = host.run(f"cat /var/lib/kuma-dp/{name}/restart.json", check=False)
    return json.loads(text) if text else {"stage": "", "outcome": None}


def pid(host: Host, unit: str) -> int:
    return int(host.run(f"systemctl show --property=MainPID --value {unit}"))


def wait_done(host: Host, name: str) -> None:
    """Until the cover is gone too."""
    wait_until(lambda: state(host, name)["stage"] == "done", 40, f"the end of the restart of {name}", interval=0.2)
    assert pid(host, f"kuma-dp-cover@{name}") == 0
    assert pid(host, f"kuma-dp@{name}") > 0


@contextlib.contextmanager
def calling(fleet: Fleet, host: str, service: str) -> Iterator[Answers]:
    """A connection per request to a service for as long as the block runs; none may fail."""
    with polling(fleet.host(host), outbounds(fleet.host(host))[service], pause=PAUSE) as answers:
        yield answers
    assert answers.failures == []
    assert sum(answers.by_host.values()) > 50


@contextlib.contextmanager
def in_background(host: Host, source: str, *arguments: str) -> Iterator[list[str]]:
    """A program on the host while the block runs; its output is there when the block ends."""
    output: list[str] = []
    thread = threading.Thread(target=lambda: output.append(host.script(source, *arguments)))
    thread.start()
    try:
        yield output
    finally:
        host.run(f"touch {OVER}")
        thread.join()
        host.run(f"rm {OVER}")


def test_a_single_instance_is_restarted_under_cover_without_a_failed_request(joined: Fleet) -> None:
    fleet, host = joined, joined.host("vm4")
    before = pid(host, "kuma-dp@vm4-orders")
    # Towards its only instance, and from that host to the mesh through the same proxy.
    with calling(fleet, "vm1", "ORDERS"), calling(fleet, "vm4", "CACHE"):
        checked = restart(fleet, "vm4", "vm4-orders", "--check", cover=cover_of(fleet, "vm4-orders"))
        assert (checked["outcome"], pid(host, "kuma-dp@vm4-orders")) == ("untouched", before)
        result = restart(fleet, "vm4", "vm4-orders", cover=cover_of(fleet, "vm4-orders"))
        assert "vm4-orders-cover" in fleet.dataplanes()
        wait_done(host, "vm4-orders")
    assert (result["outcome"], result["strategy"], result["served_by"], result["problem"]) == ("restarted", "cover", "main", None), result
    assert result["connections_cut"] == 0
    assert set(result["phases"]) == {"cover", "settle", "drain", "stop", "start", "ready"}
    assert pid(host, "kuma-dp@vm4-orders") not in (0, before)
    assert host.run("systemctl is-enabled kuma-dp-cover@vm4-orders", check=False).strip() == "static"
    wait_until(lambda: "vm4-orders-cover" not in fleet.dataplanes(), 30, "the end of the cover's Dataplane", interval=0.5)
    assert fleet.ready("vm4-orders")


def test_killed_in_every_phase_it_goes_on(joined: Fleet) -> None:
    fleet, host = joined, joined.host("vm4")
    before = pid(host, "kuma-dp@vm4-cache")
    stages = ["cover", "settle", "drain", "stop", "start", "ready", "retire"]
    with calling(fleet, "vm1", "CACHE"), in_background(host, KILLER, "vm4-cache", ",".join(stages)) as output:
        result = restart(fleet, "vm4", "vm4-cache", cover=cover_of(fleet, "vm4-cache"))
        wait_done(host, "vm4-cache")
    killed = json.loads(output[0].splitlines()[-1])
    # The short ones may be over before they are seen.
    assert {"cover", "settle", "drain", "ready", "retire"} <= set(killed), killed
    assert (result["outcome"], result["served_by"]) == ("restarted", "main"), result
    assert pid(host, "kuma-dp@vm4-cache") != before


@pytest.mark.nightly
def test_a_cover_with_a_bad_token_leaves_the_proxy_alone(joined: Fleet) -> None:
    fleet, host = joined, joined.host("vm2")
    before = pid(host, "kuma-dp@vm2")
    bad = cover_of(fleet, "vm2", tags={"kuma.io/service": ["another"]})
    with calling(fleet, "vm1", "WEB"):
        result = restart(fleet, "vm2", "vm2", cover=bad, ready_timeout=5)
        wait_done(host, "vm2")
    assert (result["outcome"], result["served_by"], result["failed"]) == ("untouched", "main", True), result
    assert "the cover was not ready after 5 s" in result["msg"]
    assert any("authentication failed" in line for line in result["journal"]), result
    assert pid(host, "kuma-dp@vm2") == before
    assert "vm2-cover" not in fleet.dataplanes()
    fleet.wait_ready("vm2")


@pytest.mark.nightly
def test_a_proxy_that_does_not_get_ready_is_put_back(joined: Fleet) -> None:
    """The cover is fine and the proxy's own new token is not."""
    fleet, host = joined, joined.host("vm3")
    token = host.run("cat /etc/kuma/tokens/vm3")
    wrong = fleet.stage.control_plane.token("/tokens/dataplane", name="someone-else", mesh="default", validFor="1h")
    host.run(f"printf %s {wrong} > /etc/kuma/tokens/vm3")
    with calling(fleet, "vm1", "WEB"):
        result = restart(fleet, "vm3", "vm3", cover=cover_of(fleet, "vm3"), ready_timeout=6)
        wait_done(host, "vm3")
    assert (result["outcome"], result["fell_back"], result["served_by"]) == ("failed", True, "main"), result
    assert host.run("cat /etc/kuma/tokens/vm3; stat -c ' %a %U' /etc/kuma/tokens/vm3").split() == [token, "600", "kuma-dp"]
    fleet.wait_ready("vm3")


@pytest.mark.nightly
def test_a_cover_that_is_killed_while_the_proxy_drains(joined: Fleet) -> None:
    """The only case in which requests may fail: nobody is left to serve until the proxy is started again, at once."""
    fleet, host = joined, joined.host("vm5")
    source = """
import json, subprocess, time, urllib.request
end = time.time() + 60
print("started", flush=True)
while time.time() < end:
    try:
        state = json.load(open("/var/lib/kuma-dp/vm5/restart.json"))
    except (OSError, ValueError):
        state = {}
    if state.get("stage") == "drain" and state.get("told"):
        subprocess.run(["systemctl", "kill", "--signal=KILL", "kuma-dp-cover@vm5"])
        break
    time.sleep(0.02)
"""
    with in_background(host, source), in_background(fleet.host("vm1"), SLOW, str(host.address)):
        result = restart(fleet, "vm5", "vm5", cover=cover_of(fleet, "vm5"), drain_time=60)
        wait_done(host, "vm5")
    assert (result["outcome"], result["served_by"]) == ("failed", "main"), result
    assert "the cover was lost while the proxy was drained" in result["problem"]
    assert result["phases"]["drain"] < 10
    fleet.wait_ready("vm5")


# Slow requests, one after the other, to one host: something is always open there.
SLOW = """
import http.client, os, sys, time
end = time.time() + 60
while time.time() < end and not os.path.exists("/run/kuma-lab-over"):
    try:
        connection = http.client.HTTPConnection(sys.argv[1], 8080, timeout=30)
        connection.request("GET", "/slow?t=3")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        time.sleep(0.1)
"""


def test_a_drained_restart_of_a_fenced_proxy_loses_nothing(joined: Fleet) -> None:
    fleet, host = joined, joined.host("vm2")
    before = pid(host, "kuma-dp@vm2")
    with calling(fleet, "vm1", "WEB") as answers:
        fleet.set_inbounds("vm2", health={"ready": False})
        wait_until(lambda: not fleet.ready("vm2"), 20, "the fence")
        try:
            _wait_unused(fleet, "vm2")
            result = restart(fleet, "vm2", "vm2", strategy="drained", reasons=["asked for"])
        finally:
            fleet.set_inbounds("vm2", health={"ready": True})
        fleet.wait_ready("vm2")
    assert sorted(answers.by_host) == ["vm2", "vm3", "vm5"]
    assert (result["outcome"], result["strategy"], result["connections_cut"]) == ("restarted", "drained", 0), result
    assert "cover" not in result["phases"]
    assert pid(host, "kuma-dp@vm2") != before


def _wait_unused(fleet: Fleet, name: str) -> None:
    client = fleet.host("vm1")
    port = outbounds(client)["WEB"]
    wait_until(lambda: name not in ask(client, port, 20).by_host, 30, f"no answers from {name}", interval=0.3)


@pytest.mark.nightly
def test_without_the_control_plane_the_cover_serves_until_it_is_back(joined: Fleet) -> None:
    """It goes away when the proxy is stopped already: neither the new nor the old one gets ready."""
    fleet, host = joined, joined.host("vm4")
    control_plane = fleet.stage.control_plane.process.pid
    cover = cover_of(fleet, "vm4-orders")
    frozen = threading.Event()

    def freeze() -> None:
        wait_until(lambda: state(host, "vm4-orders")["stage"] in ("drain", "stop", "start"), 60, "the drain", interval=0.02)
        os.kill(control_plane, signal.SIGSTOP)
        frozen.set()

    thread = threading.Thread(target=freeze)
    thread.start()
    try:
        with calling(fleet, "vm1", "ORDERS"):
            result = restart(fleet, "vm4", "vm4-orders", cover=cover, ready_timeout=6)
            assert frozen.is_set()
            assert (result["outcome"], result["served_by"], result["fell_back"]) == ("failed", "cover", True), result
            assert state(host, "vm4-orders")["stage"] == "stranded"
            os.kill(control_plane, signal.SIGCONT)
            wait_done(host, "vm4-orders")
    finally:
        os.kill(control_plane, signal.SIGCONT)
        thread.join()
    assert pid(host, "kuma-dp@vm4-orders") > 0
    fleet.wait_ready("vm4-orders")
