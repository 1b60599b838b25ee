# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an application has to answer before its host counts as done: asked of the application itself, by the modules on the VM."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._module import host as module_host
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import gate as vm_gate
from tests.unit import module_runner
from tests.unit.http_server import CUT, Answer
from tests.unit.join.test_plan import host, plan
from tests.unit.modules.test_proxy_restart import run as restart
from tests.unit.modules.test_proxy_restart import systemd, wish
from tests.unit.vm.test_service import Systemd

__all__ = ["systemd"]


def gate(port, **more):
    return {"proxy": "web-1", "service": "web", "port": port, "path": "/healthz", "timeout": 0.1, "interval": 0.01, **more}


def plain(**more):
    return {"address": "127.0.0.1", "status": [200], **gate(18080), **more}


def test_a_gate_of_the_inventory_asks_the_application_not_the_proxy():
    services = [
        {"name": "web", "port": 8080, "service_port": 18080, "gate": {"path": "/healthz"}},
        {
            "name": "admin",
            "port": 8081,
            "service_port": 18081,
            "service_address": "10.0.0.1",
            "gate": {"path": "/?a=b", "status": [200, "204"], "timeout": "2m", "interval": "500ms"},
        },
        {"name": "other", "port": 8082, "service_port": 18082},
    ]  # fmt: skip
    plans, problems = plan([host(1, services=services)])
    assert problems == []
    assert plans["web-1"]["proxies"][0]["gates"] == [
        {"proxy": "web-1", "service": "web", "address": "127.0.0.1", "port": 18080, "path": "/healthz", "status": [200], "timeout": 60.0, "interval": 1.0},
        {"proxy": "web-1", "service": "admin", "address": "10.0.0.1", "port": 18081, "path": "/?a=b", "status": [200, 204], "timeout": 120.0, "interval": 0.5},
    ]  # fmt: skip
    assert plan([host(1)])[0]["web-1"]["proxies"][0]["gates"] == []


@given(
    st.lists(st.tuples(st.integers(0, 599), st.floats(0, 3)), min_size=1, max_size=30),
    st.floats(0.1, 10),
    st.floats(0.1, 3),
)
def test_a_gate_opens_with_the_first_good_answer_in_time_and_never_later(answers, timeout, interval):
    """Each answer is a status and how long it took."""
    left, now, slept = list(answers), [0.0], []

    def asking(item):
        status, took = left.pop(0) if len(left) > 1 else left[0]
        now[0] += took
        return status, ""

    def sleep(seconds):
        slept.append(seconds)
        now[0] += max(seconds, 0.01)

    problems = vm_gate.closed([plain(timeout=timeout, interval=interval)], asking, lambda: now[0], sleep)
    assert all(0 <= seconds <= interval for seconds in slept)
    asked = len(answers) - len(left) + (1 if len(left) == 1 else 0)
    if problems:
        assert now[0] >= timeout
        assert all(status != 200 for status, _took in answers[: asked - 1])
        assert "the application behind web answers http://127.0.0.1:18080/healthz with" in problems[0]
    else:
        assert 200 in [status for status, _took in answers]
    assert now[0] <= timeout + interval + 3.1


def test_an_application_that_comes_up_in_time_opens_its_gate(serve):
    server = serve(Answer(503), Answer(500), Answer(200))
    assert vm_gate.closed([plain(port=server.port, timeout=30)]) == []
    assert [request.path for request in server.requests] == ["/healthz"] * 3


@pytest.mark.parametrize("answer", [Answer(503), CUT])
def test_one_that_does_not_is_named_with_what_it_answers(serve, answer):
    server = serve(answer)
    (problem,) = vm_gate.closed([plain(port=server.port)])
    assert problem.startswith(f"the application behind web answers http://127.0.0.1:{server.port}/healthz with ")
    assert problem.endswith(" after 0.1 s, expected status 200")


def test_nobody_listening_is_a_closed_gate():
    (problem,) = vm_gate.closed([plain(port=1, address="::1")])
    assert "http://[::1]:1/healthz with [Errno" in problem


def test_a_restart_fails_with_its_application_and_the_next_proxy_is_not_begun(systemd, serve):
    server = serve(Answer(503))
    result = restart(wish(), wish("web-2"), gates=[gate(server.port), gate(server.port, proxy="web-2")])
    assert result["failed"]
    assert "web-1 failed: the application behind web answers" in result["msg"]
    assert [(item["outcome"], item["served_by"]) for item in result["results"]] == [("failed", "main"), ("untouched", "main")]
    served = restart(wish(), gates=[gate(serve(Answer(204)).port, status=[200, 204], timeout=30)])
    assert [item["outcome"] for item in served["results"]] == ["restarted"]


def test_no_application_is_asked_when_the_restart_failed_or_in_check_mode(systemd, serve):
    server = serve(Answer(503))
    assert restart(wish(), gates=[gate(server.port)], check=True)["results"][0]["outcome"] == "untouched"
    systemd.loaded = False
    assert restart(wish(), gates=[gate(server.port)])["results"][0]["outcome"] == "untouched"
    assert server.requests == []


@pytest.fixture
def service(monkeypatch):
    fake = Systemd({"web-1": {"ActiveState": "inactive", "UnitFileState": "enabled"}})

    def shown(command):
        status, output, error = fake.run(command)
        if command[1] == "show":
            output = "\n\n".join(
                f"Id=kuma-dp@{name}.service\n" + "\n".join(f"{k}={v}" for k, v in unit.items()) for name, unit in fake.units.items()
            )
        return status, output, error

    monkeypatch.setattr(module_host, "runner_of", lambda module: shown)

    def call(check=False, **options):
        return module_runner.run("proxy_service", {"names": ["web-1"], **options}, check=check)

    call.units = fake.units
    return call


def test_a_start_waits_for_the_application_also_when_the_proxy_runs_already(service, serve):
    server = serve(Answer(503), Answer(200), Answer(500))
    assert service(state="started", gates=[gate(server.port, timeout=30)])["results"] == [{"name": "web-1", "actions": ["started"]}]
    assert len(server.requests) == 2
    again = service(state="started", gates=[gate(server.port)])
    assert again["failed"]
    assert again["msg"].endswith("with 500 after 0.1 s, expected status 200")


def test_a_drained_restart_waits_for_the_application_and_a_stop_and_a_check_do_not(service, serve):
    server = serve(Answer(500))
    assert service(state="restarted", gates=[gate(server.port)])["failed"]
    seen = len(server.requests)
    for options in ({"state": "stopped"}, {"state": "started", "check": True}):
        assert not service(gates=[gate(server.port)], **options).get("failed")
    assert len(server.requests) == seen
