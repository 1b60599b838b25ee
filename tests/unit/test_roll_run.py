# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rolls against a stand-in control plane with connected proxies: locks, fences, covers, gates, outages, and what is left behind."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils import (
    _roll_finish,
    _roll_host,
    _roll_journal,
    _roll_lock,
    _roll_run,
    _roll_start,
    _rollout_settings,
)
from tests.unit.http_server import Answer
from tests.unit.roll_mesh import Mesh, restarted

QUICK = {"soak": 0, "propagation_delay": 0, "gate_timeout": 5, "pause_timeout": 5}


@pytest.fixture
def make_mesh(control_plane):
    with contextlib.ExitStack() as stack:

        def make(**services):
            mesh = Mesh(control_plane, {name.replace("_", "-"): service for name, service in services.items()})
            stack.callback(mesh.close)
            return mesh

        yield make


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(_roll_run, "POLL", 0.05)
    monkeypatch.setattr(_roll_run, "LEAST_AGE", 0.1)
    monkeypatch.setattr(_roll_finish, "COVERS_LEAVE", 0.5)
    monkeypatch.setattr(_roll_host, "RECOVERY", 0.5)
    monkeypatch.setattr(_roll_host, "IN_TRAFFIC", 1.0)


class Rolling:
    """One controller that rolls a mesh."""

    def __init__(self, mesh, directory, **given):
        self.mesh, self.directory = mesh, str(directory)
        self.given = {**QUICK, **given}
        self.warnings = []

    def hosts(self, *names, cover=True, pending=("version",), target="2.14.3", **more):
        proxy = {"possible": cover, "reasons": [] if cover else ["no reuse_port"], "pending": list(pending), "version": "2.14.3", **more}
        return [{"host": name, "reachable": True, "target_version": target, "proxies": [{"name": name, **proxy}]} for name in names]

    def start(self, hosts, kind="restart", check=False, resume=True, pid=None):
        settings = _rollout_settings.read(self.given)
        directory = os.path.join(self.directory, self.mesh.name)
        wish = _roll_start.Wish(self.mesh.name, kind, hosts, settings, directory, resume, check, pid or os.getppid())
        starter = _roll_start.Starter(self.mesh.client(), wish)
        result = starter.start()
        self.warnings = starter.warnings
        self.run = result["run"]
        return result

    def roll(self):
        return _roll_run.open_run(self.directory, self.run, self.mesh.client())

    def host(self, name):
        return _roll_host.Host(self.roll(), name)

    def admit(self, name):
        return self.host(name).admit()

    def complete(self, name, result=None):
        return self.host(name).complete(restarted(name) if result is None else result)

    def finish(self):
        return _roll_finish.Finish(self.roll()).finish()

    def record(self, name):
        return self.roll().journal.record(name)

    def through(self, name):
        """A host on the whole way, all well."""
        answer = self.admit(name)
        assert answer.outcome == "admitted", answer
        self.mesh.restart(name)
        answer = self.complete(name)
        assert answer.outcome == "done", answer


@pytest.fixture
def rolling(make_mesh, tmp_path):
    def make(mesh=None, **given):
        return Rolling(mesh or make_mesh(web_1="web", web_2="web", web_3="web", web_4="web"), tmp_path, **given)

    return make


def test_a_drained_host_is_fenced_and_comes_back_and_the_lock_goes(rolling):
    roll = rolling()
    started = roll.start(roll.hosts("web-1", "web-2", cover=False))
    assert started["order"] == ["web-1", "web-2"]
    assert roll.mesh.secrets() == {f"meshfleet-kuma-rollout-{roll.run.lower()}-1"}
    answer = roll.admit("web-1")
    assert answer.outcome == "admitted"
    assert answer.proxies == [{"name": "web-1", "strategy": "drained", "reasons": ["no reuse_port"]}]
    assert not roll.mesh.serves("web-1")
    assert roll.mesh.get("web-1")["labels"]["meshfleet.kuma/maintenance"] == f"rollout-{roll.run.lower()}"
    roll.mesh.restart("web-1")
    assert roll.complete("web-1").outcome == "done"
    assert roll.mesh.serves("web-1")
    assert "meshfleet.kuma/maintenance" not in roll.mesh.get("web-1")["labels"]
    roll.through("web-2")
    ended = roll.finish()
    assert not ended.get("failed"), ended
    assert ended["counts"]["done"] == 2
    assert roll.mesh.secrets() == set()
    whole = _roll_journal.read_json(ended["journal"])
    assert whole["status"] == "done"
    assert whole["hosts"]["web-1"]["phases"].keys() >= {"wait", "fence", "drain", "restart", "gate"}
    assert whole["services"]["web"][0].items() >= {"total": 4, "serving": 4}.items()
    assert os.path.getsize(ended["report_html"]) > 1000


def test_a_cover_gets_the_dataplane_as_it_is_now_and_a_token_bound_to_it(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    dataplane = roll.mesh.get("web-1")
    dataplane["labels"]["team"] = "a"
    dataplane["networking"]["outbound"] = [{"port": 10001, "tags": {"kuma.io/service": "db"}}]
    roll.mesh.admin.put(roll.mesh.path("web-1"), dataplane)
    (proxy,) = roll.admit("web-1").proxies
    cover = proxy["cover"]["dataplane"]
    assert (cover["name"], cover["labels"]) == ("web-1-cover", {"team": "a"})
    assert cover["networking"]["outbound"] == dataplane["networking"]["outbound"]
    assert not {"kri", "creationTime"} & set(cover)
    (inbound,) = cover["networking"]["inbound"]
    assert not {"state", "health"} & set(inbound)
    assert "kuma.io/zone" not in inbound["tags"]
    # The control plane takes both: the cover connects, and counts as its host.
    roll.mesh.connect("web-1-cover", dataplane=cover, token=proxy["cover"]["token"])
    assert roll.mesh.serves("web-1")
    roll.mesh.restart("web-1")
    assert roll.complete("web-1").outcome == "done"
    ended = roll.finish()
    assert ended["covers_running"] == ["web-1-cover"]
    assert not ended.get("failed")
    assert proxy["cover"]["token"] not in json.dumps(roll.record("web-1"))


def test_what_an_operator_fenced_stays_fenced_and_its_cover_is_ignored(rolling):
    roll = rolling()
    roll.mesh.write("web-1", health={"ready": False})
    roll.mesh.write("web-2", health={"ready": False})
    roll.start([*roll.hosts("web-1"), *roll.hosts("web-2", cover=False)])
    (proxy,) = roll.admit("web-1").proxies
    assert proxy["cover"]["dataplane"]["networking"]["inbound"][0]["state"] == "Ignored"
    roll.mesh.restart("web-1")
    assert roll.complete("web-1").outcome == "done"
    roll.through("web-2")
    assert not roll.mesh.serves("web-1")
    assert not roll.mesh.serves("web-2")
    assert not roll.finish().get("failed")


def test_a_second_roller_is_refused_and_names_the_first(rolling, tmp_path):
    first = rolling()
    first.start(first.hosts("web-1"), pid=os.getpid())
    same = Rolling(first.mesh, first.directory)
    with pytest.raises(_roll_start.Refused, match=r"rolls mesh .* already \(run "):
        same.start(same.hosts("web-2"))
    # From another machine only the control plane knows.
    other = Rolling(first.mesh, tmp_path / "other")
    with pytest.raises(_roll_lock.Taken, match=f"already \\(run {first.run}\\): its lock ends at 20"):
        other.start(other.hosts("web-2"))
    assert len(first.mesh.secrets()) == 1
    checked = other.start(other.hosts("web-2"), check=True)
    assert checked["order"] == ["web-2"]


def test_an_expired_lock_is_removed(rolling):
    roll = rolling()
    data = base64.b64encode(json.dumps({"owner": "me", "run": "old", "expires": int(time.time()) - 1}).encode()).decode()
    name = "meshfleet-kuma-rollout-old-1"
    roll.mesh.admin.put(f"/meshes/{roll.mesh.name}/secrets/{name}", {"type": "Secret", "mesh": roll.mesh.name, "name": name, "data": data})
    roll.start(roll.hosts("web-1"))
    assert roll.mesh.secrets() == {f"meshfleet-kuma-rollout-{roll.run.lower()}-1"}


def test_without_the_rights_to_lock_the_roll_goes_on_with_a_warning(rolling):
    roll = rolling()
    roll.mesh.way.refuse = {("PUT", "/secrets/"): Answer(403, json.dumps({"title": "Access Denied"}).encode(), "application/json")}
    roll.start(roll.hosts("web-1"))
    assert "No lock in the control plane" in roll.warnings[0]
    roll.through("web-1")
    assert not roll.finish().get("failed")


def test_check_mode_writes_nothing(rolling):
    roll = rolling()
    planned = roll.start(roll.hosts("web-1", "web-2"), check=True)
    assert (planned["run"], planned["journal"], planned["order"]) == ("", "", ["web-1", "web-2"])
    assert not os.listdir(roll.directory)
    assert not [method for method, _target in roll.mesh.way.seen if method != "GET"]


def test_a_fence_that_races_with_a_write_of_the_control_plane_is_read_again(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1", cover=False))
    left = [2]

    def before(request):
        if request.method == "PUT" and "/dataplanes/" in request.target and left[0]:
            left[0] -= 1
            roll.mesh.way.refuse = {("PUT", "/dataplanes/"): Answer(409, b'{"title": "Conflict"}', "application/json")}
        else:
            roll.mesh.way.refuse = {}

    roll.mesh.way.before = before
    assert roll.admit("web-1").outcome == "admitted"
    assert left == [0]
    assert not roll.mesh.serves("web-1")


def test_a_fence_that_somebody_lifts_is_put_back_before_the_host_is_handed_out(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1", cover=False))
    lifted = []

    def before(request):
        # The read after the fence.
        if request.method == "GET" and request.target.endswith("/dataplanes/web-1") and not roll.mesh.serves("web-1") and not lifted:
            lifted.append(True)
            roll.mesh.write("web-1", health={"ready": True})

    roll.mesh.way.before = before
    assert roll.admit("web-1").outcome == "admitted"
    assert lifted
    assert not roll.mesh.serves("web-1")
    assert "somebody else lifted the fence of web-1, and it was put back" in roll.record("web-1")["notes"]


def test_a_fence_that_is_lifted_again_and_again_leaves_the_host_untouched(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1", "web-2", cover=False))

    def before(request):
        if request.method == "GET" and request.target.endswith("/dataplanes/web-1") and not roll.mesh.serves("web-1"):
            roll.mesh.write("web-1", health={"ready": True})

    roll.mesh.way.before = before
    answer = roll.admit("web-1")
    assert answer.outcome == "refused"
    assert "back into traffic again and again" in answer.reason
    assert roll.admit("web-2").outcome == "refused"


@pytest.mark.parametrize(
    ("result", "status", "reason"),
    [
        ({"failed": True, "msg": "the new version does not start", "results": []}, "failed", "the new version does not start"),
        ({"unreachable": True, "msg": "Connection refused"}, "unreachable", "could not be reached: Connection refused"),
        ({}, "failed", "no task on the VM said how it went"),
        ({"skipped": True}, "failed", "was skipped"),
        (restarted("web-1", outcome="untouched", problem="not begun"), "failed", "web-1 was not restarted (not begun)"),
    ],
)
def test_a_failure_aborts_and_a_healthy_proxy_comes_back(rolling, result, status, reason):
    roll = rolling(gate_timeout=1)
    roll.start(roll.hosts("web-1", "web-2", cover=False))
    roll.admit("web-1")
    answer = roll.complete("web-1", result)
    assert answer.outcome == status
    assert reason in answer.reason
    if status == "unreachable":
        # The restart may still be under way there, so that it stays out until the end.
        assert not roll.mesh.serves("web-1")
    else:
        assert roll.mesh.serves("web-1")
    refused = roll.admit("web-2")
    assert refused.outcome == "refused"
    assert "the roll was stopped: 1 failed (web-1), max_failures is 0" in refused.reason
    ended = roll.finish()
    assert ended["failed"]
    assert ended["status"] == "aborted"
    assert f"web-1 ({status})" in ended["msg"]
    assert "web-2 (refused)" in ended["msg"]
    assert roll.mesh.serves("web-1")
    assert ended["left_fenced"] == []


def test_a_proxy_that_does_not_come_back_stays_fenced_and_is_named(rolling):
    roll = rolling(gate_timeout=0.5)
    roll.start(roll.hosts("web-1", cover=False))
    roll.admit("web-1")
    roll.mesh.disconnect("web-1")
    answer = roll.complete("web-1")
    assert answer.outcome == "failed"
    assert "web-1: it is not connected to the control plane" in answer.reason
    assert not roll.mesh.serves("web-1")
    ended = roll.finish()
    assert ended["left_fenced"] == ["web-1"]
    assert "left out of traffic, because not healthy: web-1" in ended["msg"]


@pytest.mark.parametrize(
    ("version", "reason"),
    [(None, "it has not connected anew"), ("2.13.10", "the control plane sees kuma-dp 2.13.10, expected 2.14.3")],
)
def test_the_gate_wants_a_new_connection_of_the_right_version(rolling, version, reason):
    roll = rolling(gate_timeout=0.5)
    roll.start(roll.hosts("web-1"))
    roll.admit("web-1")
    if version:
        roll.mesh.restart("web-1", version)
    answer = roll.complete("web-1")
    assert answer.outcome == "failed"
    assert reason in answer.reason


def test_the_gate_waits_for_every_inbound_and_for_min_healthy(rolling):
    roll = rolling(min_healthy=0.6)
    roll.start(roll.hosts("web-1"))
    roll.admit("web-1")
    roll.mesh.restart("web-1")
    roll.mesh.write("web-1", state="NotReady", health={"ready": False})
    answers = []
    began = time.monotonic()
    thread = threading.Thread(target=lambda: answers.append(roll.complete("web-1")))
    thread.start()
    time.sleep(0.3)
    roll.mesh.proxies["web-1"].send({"health": {"ready": True, "probes": {}}})
    thread.join()
    assert answers[0].outcome == "done"
    assert time.monotonic() - began > 0.6


def test_a_control_plane_that_is_away_pauses_the_roll(rolling, monkeypatch):
    monkeypatch.setattr("ansible_collections.meshfleet.kuma.plugins.module_utils._rollout.SETTLE", 0.2)
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
    roll = rolling(pause_timeout=0.5)
    roll.start(roll.hosts("web-1", "web-2"))
    roll.admit("web-1")
    roll.mesh.way.down = True
    assert "has not answered" in roll.complete("web-1").reason
    answer = roll.admit("web-2")
    assert answer.outcome == "refused"
    roll.mesh.way.down = False
    assert roll.finish()["failed"]


def test_a_lost_right_stops_the_roll_at_once(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    roll.mesh.way.refuse = {("GET", "/_overview"): Answer(401, b'{"title": "Unauthenticated"}', "application/json")}
    answer = roll.admit("web-1")
    assert answer.outcome == "refused"
    assert "the control plane refuses to answer" in answer.reason


def test_hosts_that_wait_ask_the_control_plane_together(rolling, make_mesh):
    mesh = make_mesh(**{f"web_{number}": "web" for number in range(1, 9)})
    roll = rolling(mesh, canaries=0, limit="1", stages=[])
    names = [f"web-{number}" for number in range(1, 9)]
    roll.start(roll.hosts(*names))
    began, before = time.monotonic(), mesh.way.count("GET", "_overview")
    outcomes = {}

    def one(name):
        outcomes[name] = roll.admit(name).outcome
        mesh.restart(name)
        outcomes[name] = roll.complete(name).outcome

    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(outcomes.values()) == {"done"}
    asked = mesh.way.count("GET", "_overview") - before
    assert asked <= (time.monotonic() - began) / _roll_run.LEAST_AGE + 2
    order = sorted(names, key=lambda name: roll.record(name)["admitted"])
    assert order == names, "not in the order of the queue"


def test_a_worker_that_died_holds_up_nobody(rolling):
    roll = rolling(canaries=0)
    roll.start(roll.hosts("web-1", "web-2"))
    with roll.roll().state() as (_head, state):
        from ansible_collections.meshfleet.kuma.plugins.module_utils import _rollout, _rollout_plan

        _rollout.arrive(state, "web-1", _rollout_plan.member(roll.record("web-1"), 1, 0.0))
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
    journal = _roll_journal.find(roll.directory, roll.run)
    assert _roll_finish.abort(journal, "lunch")
    assert not _roll_finish.abort(journal, "again")
    assert roll.admit("web-2").reason == "the roll was stopped: lunch"
    roll.mesh.restart("web-1")
    assert roll.complete("web-1").outcome == "done"
    assert _roll_finish.status(journal)["counts"] == {"done": 1, "refused": 1}
    assert roll.finish()["status"] == "aborted"


def test_another_process_may_not_use_the_run(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1"), pid=os.getpid())
    with pytest.raises(_roll_run.Stopped, match="belongs to another process"):
        roll.admit("web-1")


def test_a_worker_of_a_dead_controller_stops(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    alive = roll.roll()
    alive.parent = lambda: 1
    with pytest.raises(_roll_run.Stopped, match="is gone"):
        _roll_host.Host(alive, "web-1").admit()
    assert roll.mesh.serves("web-1")


def test_a_ghost_of_a_cover_is_deleted(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    (proxy,) = roll.admit("web-1").proxies
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
    journal = _roll_journal.find(roll.directory, run)
    with journal.locked():
        head = journal.head()
        head["process"] = dict(_roll_journal.identity(os.getpid()), pid=dead_pid())
        journal.save_head(head)
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
    journal = _roll_journal.find(roll.directory, roll.run)
    with journal.locked():
        head = journal.head()
        head["process"] = dict(_roll_journal.identity(os.getpid()), pid=dead_pid())
        journal.save_head(head)
    hosts = [*roll.hosts("web-1", cover=False, pending=()), *roll.hosts("web-2", "web-3", "web-4", cover=False)]
    again = roll.start(hosts)
    assert again["order"] == ["web-2", "web-3", "web-4"]
    assert not roll.mesh.serves("web-2")
    for name in again["order"]:
        roll.through(name)
    assert all(roll.mesh.serves(name) for name in ("web-1", "web-2", "web-3", "web-4"))
    assert not roll.finish().get("failed")


def test_a_run_that_is_not_continued_is_closed(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1", "web-2", cover=False))
    old = _roll_journal.find(roll.directory, roll.run)
    roll.admit("web-1")
    with old.locked():
        head = old.head()
        head["process"] = dict(_roll_journal.identity(os.getpid()), pid=dead_pid())
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
