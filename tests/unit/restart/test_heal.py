# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who serves nobody, and may be restarted whenever somebody likes: told by processes and sockets, and never of one that may serve."""

from __future__ import annotations

import json
import pathlib
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import heal
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.facts import Side
from ansible_collections.meshfleet.kuma.plugins.modules import proxy_service
from tests.unit.restart.test_vm import ENVOY, KUMA_DP, admin, machine
from tests.unit.restart.world import BOUND
from tests.unit.vm.test_gate import service

__all__ = ["admin", "machine", "service"]

RESTART = "kuma-dp-restart@web-1.service"
ADMIN = frozenset({("127.0.0.1", 9901)})
REAL_STOP = heal.stop


def unconfigured(machine):
    """An Envoy that never had a configuration listens nowhere."""
    for descriptor in (machine.proc / str(ENVOY) / "fd").iterdir():
        descriptor.unlink()


@pytest.fixture
def dead(machine, admin):
    admin.ready = 503
    unconfigured(machine)
    return machine


def test_an_envoy_that_never_had_a_configuration_serves_nobody(dead):
    assert dead.main().serves_nobody
    assert heal.due(dead.vm(), [])


def test_a_proxy_without_an_envoy_serves_nobody(machine):
    """It waits for its bootstrap: the control plane cannot be reached, or its CA is another one."""
    unconfigured(machine)
    (machine.proc / str(ENVOY) / "exe").unlink()
    assert machine.main().serves_nobody


def test_an_envoy_below_a_wrapper_may_serve(machine):
    """Somebody's unit starts kuma-dp with a script, so that the main process is no kuma-dp."""
    wrapper, envoy = 900001, machine.proc / str(ENVOY)
    machine.process(wrapper, KUMA_DP, "/bin/sh")
    envoy.joinpath("stat").write_text(envoy.joinpath("stat").read_text().replace(f" {KUMA_DP} ", f" {wrapper} ", 1))
    main = machine.main()
    assert (main.problem, main.owned) == ("its Envoy does not run", {("10.0.0.11", 8080), ("10.0.0.11", 9901)})
    assert not main.serves_nobody


def test_one_that_serves_is_left_alone_whatever_was_thought(machine, admin):
    assert not heal.due(machine.vm(), [])


def test_one_that_lost_the_control_plane_serves(machine, admin):
    """It keeps its configuration, and its Envoy says that it is live."""
    admin.connected = 0
    main = machine.main()
    assert (main.serves, main.serves_nobody, main.connected) == (True, False, False)


@pytest.mark.parametrize(("said", "expected"), [(None, None), (0, False), (1, True)])
def test_envoy_tells_whether_it_is_connected(machine, admin, said, expected):
    admin.connected = said
    assert machine.main().connected is expected


def test_an_admin_interface_that_does_not_answer_proves_nothing(machine):
    main = machine.main()
    assert "its admin interface was not found" in main.problem
    assert not main.serves_nobody


def test_one_whose_listeners_were_stopped_may_have_connections(machine, admin):
    admin.stopped, admin.ready = 2, 503
    unconfigured(machine)
    assert not machine.main().serves_nobody


@pytest.mark.parametrize(
    ("stage", "expected"), [("stranded", True), ("ready", False), ("start", False), ("drain", False), ("begin", False)]
)
def test_a_restart_that_is_under_way_knows_best(dead, stage, expected):
    pathlib.Path(dead.paths.own("restart.json")).write_text(json.dumps({"stage": stage}))
    assert heal.due(dead.vm(), [RESTART]) is expected
    assert heal.due(dead.vm(), [])


def test_a_restart_that_is_about_to_begin_knows_best(dead):
    assert not heal.due(dead.vm(), [RESTART])


def test_its_own_admin_port_is_nothing_that_it_serves(dead):
    """Up to 2.13 the admin is a port of loopback."""
    assert Side(pid=1, owned=ADMIN, admin=ADMIN).serves_nobody
    assert not Side(pid=1, owned=ADMIN | {("127.0.0.1", 10001)}, admin=ADMIN).serves_nobody
    assert not Side(pid=1, owned=ADMIN).serves_nobody


SIDES = st.builds(
    Side,
    pid=st.sampled_from([0, 7]),
    live=st.booleans(),
    stopped=st.booleans(),
    bound=st.sampled_from([frozenset(), BOUND]),
    owned=st.sampled_from([frozenset(), ADMIN, BOUND, BOUND | ADMIN]),
    admin=st.sampled_from([frozenset(), ADMIN]),
    problem=st.sampled_from(["", "the admin did not answer"]),
)


@given(SIDES)
def test_nobody_who_serves_or_accepts_counts_as_one_that_serves_nobody(side):
    if side.serves_nobody:
        assert not side.serves
        assert not side.owned - side.admin
        assert side.pid


def test_it_is_stopped_without_its_drain_time(dead):
    assert heal.stop(dead.vm(), [])
    verbs = [command[1] if command[0] == "systemctl" else command[0] for command in dead.commands]
    assert verbs == ["show", "show", "kill", "journalctl", "stop", "reset-failed"]


def test_one_that_came_back_while_others_were_stopped_is_left_alone(machine, admin):
    """It takes its new token when it connects, without a restart."""
    assert not heal.stop(machine.vm(), [])
    assert [command[1] for command in machine.commands] == ["show"]


class Vms:
    """What the module asks of the VM, for each of its proxies; ``stopped`` were. Who comes ``back`` does so when the first is stopped."""

    def __init__(self, monkeypatch, back=(), **due):
        self.stopped, self.wrong, self.back = [], due, back
        monkeypatch.setattr(proxy_service.restart_vm, "Vm", lambda paths, _user, _run: mock.Mock(stop=self.stop, paths=paths))
        monkeypatch.setattr(proxy_service.heal, "due", lambda vm, _helpers: self.wrong[vm.paths.name.replace("-", "_")])
        monkeypatch.setattr(proxy_service.heal, "stop", self.heal)

    def heal(self, vm, helpers):
        self.name = vm.paths.name
        return REAL_STOP(vm, helpers)

    def stop(self, _side):
        self.stopped.append(self.name.replace("-", "_"))
        self.wrong.update(dict.fromkeys(self.back, False))


@pytest.fixture
def runs(service, monkeypatch):
    def prepare(**due):
        vms = Vms(monkeypatch, **due)
        # It runs already.
        service(state="started")
        return vms

    return prepare


def test_who_serves_nobody_is_restarted_although_it_runs(service, runs):
    vms = runs(web_1=True)
    result = service(state="started", heal=["web-1"])
    assert (result["changed"], result["results"]) == (True, [{"name": "web-1", "actions": ["healed"]}])
    assert vms.stopped == ["web_1"]
    assert service(state="started")["changed"] is False


def test_who_serves_by_now_is_not(service, runs):
    vms = runs(web_1=False)
    result = service(state="started", heal=["web-1"])
    assert (result["changed"], result["results"]) == (False, [{"name": "web-1", "actions": []}])
    assert vms.stopped == []


def test_who_comes_back_while_another_one_is_stopped_is_not(service, runs):
    """Stopping one takes seconds, in which a new token has reached the others."""
    vms = runs(back=["web_2"], web_1=True, web_2=True)
    service.units["web-2"] = dict(service.units["web-1"])
    result = service(names=["web-1", "web-2"], state="started", heal=["web-1", "web-2"])
    assert result["results"] == [{"name": "web-1", "actions": ["healed"]}, {"name": "web-2", "actions": []}]
    assert vms.stopped == ["web_1"]


def test_a_check_says_so_and_stops_nobody(service, runs):
    vms = runs(web_1=True)
    assert service(state="started", heal=["web-1"], check=True)["results"] == [{"name": "web-1", "actions": ["healed"]}]
    assert vms.stopped == []


def test_one_that_does_not_run_is_started(service, monkeypatch):
    vms = Vms(monkeypatch)
    assert service(state="started", heal=["web-1"])["results"] == [{"name": "web-1", "actions": ["started"]}]
    assert vms.stopped == []


@pytest.mark.parametrize("options", [{"state": "stopped"}, {"state": "restarted"}, {}])
def test_nobody_is_healed_with_another_state(service, runs, options):
    runs()
    assert "healed" not in str(service(heal=["web-1"], **options))
