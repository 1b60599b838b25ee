# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rolls against a stand-in control plane with connected proxies: locks, fences, covers and gates."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import threading
import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import steps
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import cover as roll_cover
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import journal, lock, start
from tests.unit.http_server import Answer
from tests.unit.roll.controller import Rolling
from tests.unit.roll.mesh import restarted


def test_trap_6_a_drained_host_is_fenced_and_comes_back_and_the_lock_goes(rolling):
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
    whole = journal.read_json(ended["journal"])
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
    (proxy,) = roll.covered("web-1")
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


def test_the_token_of_a_cover_is_made_for_the_restart_and_lives_no_longer_than_it_may_take(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    assert roll.admit("web-1").outcome == "admitted"
    assert roll.mesh.way.count("POST", "/tokens/") == 0, "nobody needs it yet"
    with pytest.raises(ValueError, match="web-2 is no part of run"):
        roll.host("web-1").wishes(["web-2"])
    assert [wish["name"] for wish in roll.host("web-1").wishes(["web-1"])] == ["web-1"]
    claims = decode_claims(roll.host("web-1").cover("web-1", 600.5)["token"])
    assert roll_cover.valid_for(600.5) == "1501s"
    assert time.time() < claims["exp"] <= time.time() + 1501
    kept = [path.read_text() for path in pathlib.Path(roll.directory).rglob("*") if path.is_file()]
    assert not any("eyJ" in text for text in kept)
    assert steps.longest(30.0, 120.0) == 5 * (30 + 120) + steps.SLACK


def test_who_serves_nobody_is_restarted_first_without_a_fence_and_comes_back(rolling):
    """Its VM says that it has no configuration, and the control plane that it is not connected."""
    roll = rolling()
    roll.mesh.disconnect("web-3")
    started = roll.start([*roll.hosts("web-1", "web-2"), *roll.hosts("web-3", cover=False, serves=False)])
    assert started["order"] == ["web-3", "web-1", "web-2"]
    before = roll.mesh.way.count("PUT", "/dataplanes/")
    assert roll.admit("web-3").proxies == [{"name": "web-3", "strategy": "drained", "reasons": ["it serves nobody"]}]
    assert roll.mesh.serves("web-3"), "nobody takes it out of traffic"
    # The canary goes beside it.
    assert roll.admit("web-1").outcome == "admitted"
    roll.mesh.connect("web-3")
    assert roll.complete("web-3").outcome == "done"
    assert roll.mesh.way.count("PUT", "/dataplanes/") == before
    roll.mesh.restart("web-1")
    assert roll.complete("web-1").outcome == "done"
    roll.through("web-2")
    assert roll.finish()["status"] == "done"


def test_who_cannot_be_healed_is_told_and_keeps_nobody_from_being_covered(rolling):
    roll = rolling()
    roll.mesh.disconnect("web-3")
    roll.start([*roll.hosts("web-1", "web-2"), *roll.hosts("web-3", cover=False, serves=False)])
    assert roll.admit("web-3").outcome == "admitted"
    assert roll.complete("web-3", {"failed": True, "msg": "it has no configuration yet"}).outcome == "failed"
    roll.through("web-1")
    roll.through("web-2")
    ended = roll.finish()
    assert (ended["failed"], ended["counts"]["done"], list(ended["failed_hosts"])) == (True, 2, ["web-3"])


def test_a_fleet_that_is_not_connected_and_serves_is_rolled_one_by_one(rolling):
    """The certificate of the control plane was replaced, and the inventory has the new CA."""
    roll = rolling(canaries=0)
    for name in roll.mesh.services:
        roll.mesh.disconnect(name)
    roll.start(roll.hosts(*roll.mesh.services, serves=True))
    for name in roll.mesh.services:
        assert roll.admit(name).outcome == "admitted"
        roll.mesh.connect(name)
        assert roll.complete(name).outcome == "done"
    assert roll.finish()["counts"]["done"] == 4


def test_without_a_token_for_a_cover_the_host_is_not_touched_and_stays_in_traffic(rolling):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    assert roll.admit("web-1").outcome == "admitted"
    roll.mesh.admin.delete(roll.mesh.path("web-1"))
    with pytest.raises(NotFound):
        roll.host("web-1").cover("web-1", 600.0)
    ended = roll.complete("web-1", {"failed": True, "msg": "it was not touched: no token"})
    assert (ended.outcome, ended.reason.partition(";")[0]) == ("failed", "it was not touched: no token")


def test_what_an_operator_fenced_stays_fenced_and_its_cover_is_ignored(rolling):
    roll = rolling()
    roll.mesh.write("web-1", health={"ready": False}, serviceProbe={"interval": "10s", "timeout": "2s", "tcp": {}})
    roll.mesh.write("web-2", health={"ready": False})
    roll.start([*roll.hosts("web-1"), *roll.hosts("web-2", cover=False)])
    (proxy,) = roll.covered("web-1")
    (inbound,) = proxy["cover"]["dataplane"]["networking"]["inbound"]
    assert inbound["state"] == "Ignored"
    assert "serviceProbe" not in inbound, "the control plane would make it NotReady, and Ready when the probe succeeds"
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
    with pytest.raises(start.Refused, match=r"rolls mesh .* already \(run "):
        same.start(same.hosts("web-2"))
    # From another machine only the control plane knows.
    other = Rolling(first.mesh, tmp_path / "other")
    with pytest.raises(lock.Taken, match=f"already \\(run {first.run}\\): its lock ends at 20"):
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
    roll = rolling(gate_timeout=0.4)
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
    roll = rolling(gate_timeout=0.3)
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
    roll = rolling(gate_timeout=0.3)
    roll.start(roll.hosts("web-1"))
    roll.admit("web-1")
    if version:
        roll.mesh.restart("web-1", version)
    answer = roll.complete("web-1")
    assert answer.outcome == "failed"
    assert reason in answer.reason


def test_the_gate_waits_for_every_inbound_and_for_min_healthy(rolling):
    roll = rolling(min_healthy=0.3)
    roll.start(roll.hosts("web-1"))
    roll.admit("web-1")
    roll.mesh.restart("web-1")
    roll.mesh.write("web-1", state="NotReady", health={"ready": False})
    answers = []
    thread = threading.Thread(target=lambda: answers.append(roll.complete("web-1")))
    thread.start()
    time.sleep(0.2)
    assert answers == []
    roll.mesh.proxies["web-1"].send({"health": {"ready": True, "probes": {}}})
    thread.join()
    assert answers[0].outcome == "done"
    assert roll.record("web-1")["phases"]["gate"] >= 0.3
