# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rolls in which something goes: outages, dead workers and controllers, and what is left behind."""

from __future__ import annotations

import os
import threading
import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import finish, gate, host
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import journal as roll_journal
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import run as roll_run
from tests.unit.http_server import Answer
from tests.unit.roll.mesh import restarted


def test_a_control_plane_that_is_away_pauses_the_roll(rolling, monkeypatch):
    monkeypatch.setattr("ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.admission.SETTLE", 0.2)
    roll = rolling()
    roll.start(roll.hosts("web-1", "web-2"))
    roll.through("web-1")
    roll.mesh.way.down = True
    answers = []
    thread = threading.Thread(target=lambda: answers.append(roll.admit("web-2")))
    thread.start()
    time.sleep(0.5)
    assert answers == []
    roll.mesh.way.down = False
    thread.join()
    assert answers[0].outcome == "admitted"


def test_a_control_plane_that_stays_away_stops_the_roll(rolling):
    roll = rolling(pause_timeout=0.3)
    roll.start(roll.hosts("web-1", "web-2"))
    roll.admit("web-1")
    roll.mesh.way.down = True
    assert "has not answered" in roll.complete("web-1").reason
    answer = roll.admit("web-2")
    assert answer.outcome == "refused"
    roll.mesh.way.down = False
    assert roll.finish()["failed"]


def test_a_lock_that_could_not_be_given_back_keeps_nobody_of_this_controller_away(rolling):
    roll = rolling(pause_timeout=0.3)
    roll.start(roll.hosts("web-1"))
    roll.admit("web-1")
    roll.mesh.way.down = True
    roll.complete("web-1")
    assert any("could not be asked in the end" in note for note in roll.finish()["notes"])
    roll.mesh.way.down = False
    again = rolling(roll.mesh)
    again.start(again.hosts("web-1"))
    again.through("web-1")
    assert "failed" not in again.finish()


def test_a_lost_right_stops_the_roll_at_once(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    roll.mesh.way.refuse = {("GET", "/_overview"): Answer(401, b'{"title": "Unauthenticated"}', "application/json")}
    answer = roll.admit("web-1")
    assert answer.outcome == "refused"
    assert "the control plane refuses to answer" in answer.reason


def test_hosts_that_wait_ask_the_control_plane_together(rolling, make_mesh):
    names = [f"web-{number}" for number in range(1, 6)]
    mesh = make_mesh(**dict.fromkeys(names, "web"))
    roll = rolling(mesh, canaries=0, limit="1", stages=[])
    roll.start(roll.hosts(*names))
    assert roll.admit("web-1").outcome == "admitted"
    began, before = time.monotonic(), mesh.way.count("GET", "_overview")
    outcomes = {}

    def one(name):
        outcomes[name] = roll.admit(name).outcome
        mesh.restart(name)
        outcomes[name] = roll.complete(name).outcome

    threads = [threading.Thread(target=one, args=(name,)) for name in names[1:]]
    for thread in threads:
        thread.start()
    # All of them wait behind the first.
    waiting = 0
    while waiting < len(threads):
        time.sleep(0.02)
        with roll.roll().state() as (_head, state):
            waiting = len(state.waiting)
    mesh.restart("web-1")
    assert roll.complete("web-1").outcome == "done"
    for thread in threads:
        thread.join()
    assert set(outcomes.values()) == {"done"}
    asked = mesh.way.count("GET", "_overview") - before
    assert asked <= (time.monotonic() - began) / roll_run.LEAST_AGE + 2
    order = sorted(names, key=lambda name: roll.record(name)["admitted"])
    assert order == names, "not in the order of the queue"


def test_a_worker_that_died_holds_up_nobody(rolling):
    roll = rolling(canaries=0)
    roll.start(roll.hosts("web-1", "web-2"))
    with roll.roll().state() as (_head, state):
        from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import admission, plan

        admission.arrive(state, "web-1", plan.member(roll.record("web-1"), 1, 0.0))
    assert roll.admit("web-2").outcome == "admitted"


def test_a_sick_service_puts_its_hosts_off_and_refuses_them_in_the_second_pass(rolling):
    roll = rolling()
    roll.mesh.disconnect("web-4")
    roll.start(roll.hosts("web-1", "web-2"))
    answer = roll.admit("web-1")
    assert answer.outcome == "deferred"
    assert "1 of 4 instances of web do not serve (web-4), 1 may" in answer.reason
    again = roll.admit("web-1")
    assert again.outcome == "refused"
    assert roll.admit("web-2").outcome == "deferred"
    roll.mesh.connect("web-4")
    roll.through("web-2")
    assert "web-1 (refused): 1 of 4 instances" in roll.finish()["msg"]


def test_an_abort_by_hand_refuses_whoever_waits(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1", "web-2"))
    roll.admit("web-1")
    journal = roll_journal.find(roll.directory, roll.run)
    assert finish.abort(journal, "lunch")
    assert not finish.abort(journal, "again")
    assert roll.admit("web-2").reason == "the roll was stopped: lunch"
    roll.mesh.restart("web-1")
    assert roll.complete("web-1").outcome == "done"
    assert finish.status(journal)["counts"] == {"done": 1, "refused": 1}
    assert roll.finish()["status"] == "aborted"


def test_another_process_may_not_use_the_run(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1"), pid=os.getpid())
    with pytest.raises(roll_run.Stopped, match="belongs to another process"):
        roll.admit("web-1")


def test_a_worker_of_a_dead_controller_stops(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    alive = roll.roll()
    alive.parent = lambda: 0
    with pytest.raises(roll_run.Stopped, match="is gone"):
        host.Host(alive, "web-1").admit()
    assert roll.mesh.serves("web-1")


def test_a_ghost_of_a_cover_is_deleted(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    (proxy,) = roll.covered("web-1")
    roll.mesh.admin.put(roll.mesh.path("web-1-cover"), proxy["cover"]["dataplane"])
    roll.mesh.register("web-9-cover", "web")
    roll.mesh.restart("web-1")
    roll.complete("web-1")
    ended = roll.finish()
    assert ended["covers_deleted"] == ["web-1-cover"]
    assert "web-9-cover" in roll.mesh.names()


def test_hosts_that_leave_are_fenced_and_never_lifted(rolling):
    roll = rolling()
    started = roll.start(roll.hosts("web-1", pending=()), kind="leave")
    assert started["order"] == ["web-1"]
    assert roll.admit("web-1").proxies[0]["strategy"] == "drained"
    roll.mesh.disconnect("web-1")
    roll.mesh.admin.delete(roll.mesh.path("web-1"))
    assert roll.complete("web-1", {"changed": True}).outcome == "done"
    assert not roll.finish().get("failed")
    assert "web-1" not in roll.mesh.names()


def test_a_policy_that_names_a_proxy_rules_its_cover_out(rolling):
    roll = rolling()
    spec = {
        "targetRef": {"kind": "Dataplane", "name": "web-1"},
        "to": [{"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "3s"}}],
    }
    body = {"type": "MeshTimeout", "mesh": roll.mesh.name, "name": "slow", "spec": spec}
    roll.mesh.admin.put(f"/meshes/{roll.mesh.name}/meshtimeouts/slow", body)
    planned = roll.start(roll.hosts("web-1", "web-2"), check=True)
    assert any(
        line.startswith("drained (MeshTimeout slow applies to it by its name") and line.endswith(": web-1") for line in planned["plan"]
    )


def dead_pid():
    """The number of a process that has ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_a_dead_controller_is_continued_with_its_leftovers_first(rolling):
    roll = rolling(canaries=0)
    roll.start(roll.hosts("web-1", "web-2", "web-3", "web-4", cover=False))
    run = roll.run
    roll.through("web-1")
    roll.admit("web-2")
    dies(roll)
    # web-2 was restarted by its VM all the same, web-3 was not; the first play finds that out.
    roll.mesh.restart("web-2")
    hosts = [*roll.hosts("web-1", "web-2", cover=False, pending=()), *roll.hosts("web-3", "web-4", cover=False)]
    again = roll.start(hosts)
    assert (again["run"], again["resumed"]) == (run, True)
    assert again["order"] == ["web-3", "web-4"]
    assert roll.mesh.serves("web-2"), "a healthy proxy was left fenced"
    assert roll.mesh.secrets() == {f"meshfleet-kuma-rollout-{run.lower()}-2"}
    for name in again["order"]:
        roll.through(name)
    ended = roll.finish()
    assert not ended.get("failed"), ended
    assert ended["counts"]["done"] == 4


def test_a_leftover_that_is_not_done_goes_first_and_stays_out_until_then(rolling):
    roll = rolling(canaries=0)
    roll.start(roll.hosts("web-1", "web-2", "web-3", "web-4", cover=False))
    roll.through("web-1")
    roll.admit("web-2")
    dies(roll)
    hosts = [*roll.hosts("web-1", cover=False, pending=()), *roll.hosts("web-2", "web-3", "web-4", cover=False)]
    again = roll.start(hosts)
    assert again["order"] == ["web-2", "web-3", "web-4"]
    assert not roll.mesh.serves("web-2")
    for name in again["order"]:
        roll.through(name)
    assert all(roll.mesh.serves(name) for name in ("web-1", "web-2", "web-3", "web-4"))
    assert not roll.finish().get("failed")


def dies(roll):
    """The controller of a roll."""
    journal = roll_journal.find(roll.directory, roll.run)
    with journal.locked():
        head = journal.head()
        head["process"] = dict(roll_journal.identity(os.getpid()), pid=dead_pid())
        journal.save_head(head)


@pytest.mark.parametrize("times", [1, 2])
def test_a_restart_that_is_taken_over_may_have_connected_anew_before_it_was_admitted(rolling, times):
    """It goes on without its controller, and is not over when the next one looks at the VM."""
    roll = rolling(canaries=0, force=True, gate_timeout=0.3)
    roll.start(roll.hosts("web-1"))
    roll.admit("web-1")
    for turn in range(times):
        dies(roll)
        assert roll.start(roll.hosts("web-1"))["order"] == ["web-1"]
        if not turn:
            roll.mesh.restart("web-1")
        assert roll.admit("web-1").outcome == "admitted"
    result = restarted("web-1")
    assert roll.host("web-1")._gate(roll.record("web-1"), gate.read(result, ["web-1"], "restart"))[0].endswith("since it was admitted")
    result["results"][0]["taken_over"] = True
    assert roll.complete("web-1", result).outcome == "done"


def test_a_restart_that_is_taken_over_has_to_connect_anew_all_the_same(rolling):
    roll = rolling(canaries=0, force=True, gate_timeout=0.3)
    roll.start(roll.hosts("web-1"))
    roll.admit("web-1")
    dies(roll)
    roll.start(roll.hosts("web-1"))
    roll.admit("web-1")
    result = restarted("web-1")
    result["results"][0]["taken_over"] = True
    answer = roll.complete("web-1", result)
    assert (answer.outcome, answer.reason) == ("failed", "web-1: it has not connected anew since it was admitted")


def test_a_run_that_is_not_continued_is_closed(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1", "web-2", cover=False))
    old = roll_journal.find(roll.directory, roll.run)
    roll.admit("web-1")
    with old.locked():
        head = old.head()
        head["process"] = dict(roll_journal.identity(os.getpid()), pid=dead_pid())
        old.save_head(head)
    again = roll.start(roll.hosts("web-2"), resume=False)
    assert (again["resumed"], old.head()["status"]) == (False, "aborted")
    assert roll.run != old.run
    assert roll.mesh.secrets() == {f"meshfleet-kuma-rollout-{roll.run.lower()}-1"}
    assert roll.mesh.serves("web-1"), "a healthy proxy that nobody rolls was left fenced"


def test_a_fence_of_a_roll_whose_journal_is_lost_is_lifted(rolling):
    roll = rolling()
    for name, mark in (("web-1", "rollout-gone"), ("web-2", "disk-swap")):
        dataplane = roll.mesh.get(name)
        dataplane["labels"]["meshfleet.kuma/maintenance"] = mark
        dataplane["networking"]["inbound"][0]["health"] = {"ready": False}
        roll.mesh.admin.put(roll.mesh.path(name), dataplane)
    roll.start(roll.hosts("web-1", "web-2", pending=()))
    assert roll.mesh.serves("web-1")
    assert not roll.mesh.serves("web-2")
    assert not roll.finish().get("failed")


def test_nothing_to_roll_begins_no_run(rolling):
    roll = rolling()
    started = roll.start(roll.hosts("web-1", "web-2", pending=()))
    assert (started["run"], started["changed"], list(started["nothing_to_do"])) == ("", False, ["web-1", "web-2"])
    assert not [method for method, _target in roll.mesh.way.seen if method != "GET"]
    assert roll.mesh.way.count("GET", "/_resources") == 0, "no policy decides whether there is anything to do"


def test_hosts_that_are_gone_from_the_inventory_are_not_waited_for(rolling):
    roll = rolling(canaries=0)
    roll.start(roll.hosts("web-1", "web-2", "web-3"))
    roll.admit("web-1")
    roll.complete("web-1", {"failed": True, "msg": "not what this is about"})
    journal = roll_journal.find(roll.directory, roll.run)
    with journal.locked():
        journal.save_record("web-2", dict(journal.record("web-2"), status="admitted"))
        head = journal.head()
        head["process"] = dict(roll_journal.identity(os.getpid()), pid=dead_pid())
        head["abort"], head["state"]["abort"], head["state"]["failed"] = None, "", []
        journal.save_head(head)
    assert roll.start(roll.hosts("web-1"))["resumed"]
    roll.through("web-1")
    result = roll.finish()
    assert result["done"] == ["web-1"]
    assert (roll.record("web-3")["status"], "no part of the roll any more" in roll.record("web-3")["reason"]) == ("skipped", True)
    # One that may be half restarted is for somebody to look at.
    assert list(result["failed_hosts"]) == ["web-2"]
    assert "web-2" in result["msg"]
    assert "web-3" not in result["msg"]
