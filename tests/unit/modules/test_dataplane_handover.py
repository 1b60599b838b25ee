# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Dataplane that its control plane deletes is registered again, as it was."""

from __future__ import annotations

import copy
import threading

import pytest
import requests

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import ConnectionFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import handover, sync, waiting
from tests.unit.module_runner import run

WEB = {
    "type": "Dataplane",
    "mesh": "default",
    "name": "handed-1",
    "networking": {
        "address": "10.7.0.1",
        "inbound": [{"port": 8080, "servicePort": 18080, "serviceAddress": "127.0.0.1", "tags": {"kuma.io/service": "handed"}}],
    },
}


def overview(number=1, online=False, **inbound):
    dataplane = copy.deepcopy(WEB)
    dataplane["networking"]["inbound"][0].update(inbound)
    subscriptions = [{"id": str(index), "connectTime": "x", "disconnectTime": "y"} for index in range(number)]
    if online:
        del subscriptions[-1]["disconnectTime"]
    return {
        "name": "handed-1",
        "mesh": "default",
        "creationTime": "t1",
        "labels": {"team": "shop"},
        "dataplane": {"networking": dataplane["networking"]},
        "dataplaneInsight": {"subscriptions": subscriptions},
    }


class Held:
    """Stands for sync.Dataplanes: each look finds the next of ``answers``, the last one for good."""

    def __init__(self, monkeypatch, *answers):
        self.answers, self.written, self.slept = list(answers), [], 0.0
        self.client, self.labels, self.settings = self, True, sync.Settings("default")
        monkeypatch.setattr(waiting, "select", lambda client, mesh, names, labels: self.look())

    def look(self):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [] if answer is None else [answer]

    def rewrite(self, name, make):
        body = make(None)
        self.written.append(body)
        return body is not None

    def hand_over(self, timeout=30.0):
        return handover.hand_over(self, WEB, timeout, self.sleep, lambda: self.slept)

    def sleep(self, seconds):
        self.slept += seconds


def test_it_is_written_when_it_is_gone_with_the_state_that_it_had(monkeypatch):
    held = Held(monkeypatch, overview(), overview(state="Ready", health={"ready": False}), None)
    assert held.hand_over() == "created"
    (body,) = held.written
    assert body["networking"]["inbound"][0]["health"] == {"ready": False}, "a fence stays"
    assert body["labels"] == {"team": "shop"}


def test_one_that_is_gone_already_starts_like_a_new_one(monkeypatch):
    held = Held(monkeypatch, None)
    assert held.hand_over() == "created"
    assert held.written[0]["networking"]["inbound"][0]["state"] == "NotReady"


@pytest.mark.parametrize("later", [overview(2, online=True), {**overview(), "creationTime": "t2"}])
def test_one_that_need_not_be_written_is_left_alone(monkeypatch, later):
    held = Held(monkeypatch, overview(), overview(), later)
    assert held.hand_over() == "kept"
    assert held.written == []


def test_a_stream_that_has_not_ended_yet_is_no_new_one(monkeypatch):
    held = Held(monkeypatch, overview(online=True), overview(online=True), overview(), None)
    assert held.hand_over() == "created"


def test_a_control_plane_that_is_away_for_a_moment_is_waited_for(monkeypatch):
    away = ConnectionFailed("away", "restarting", kind="connection")
    held = Held(monkeypatch, overview(), away, away, None)
    assert held.hand_over() == "created"


def test_one_that_is_never_deleted_is_a_failure_unless_its_proxy_is_connected(monkeypatch):
    with pytest.raises(handover.StillThere, match="Dataplane handed-1 is still registered 30 s after"):
        Held(monkeypatch, overview()).hand_over()
    assert Held(monkeypatch, overview(online=True)).hand_over() == "kept"
    with pytest.raises(ConnectionFailed):
        Held(monkeypatch, overview(), ConnectionFailed("away", "gone", kind="connection")).hand_over()


def test_the_module_waits_for_the_deletion(control_plane):
    api = control_plane.options()
    run("dataplanes", {**api, "dataplanes": [WEB], "initial_state": "Ready"})
    assert run("dataplane_handover", {**api, "dataplane": WEB}, check=True)["action"] == "kept"

    url, token = f"{control_plane.url}/meshes/default/dataplanes/handed-1", f"Bearer {control_plane.token}"
    thread = threading.Timer(0.5, lambda: requests.delete(url, headers={"Authorization": token}, timeout=10))
    thread.start()
    result = run("dataplane_handover", {**api, "dataplane": WEB, "wait_timeout": 30})
    thread.join()
    assert (result["changed"], result["action"]) == (True, "created")
    (found,) = run("dataplane_info", {**api, "names": ["handed-1"]})["dataplanes"]
    assert "state" not in found["dataplane"]["networking"]["inbound"][0], "it is in traffic as it was"
    run("dataplanes", {**api, "dataplanes": [WEB], "state": "absent"})


def test_what_the_module_cannot_do_is_said(control_plane):
    api = control_plane.options()
    bad = {**WEB, "networking": {**WEB["networking"], "adress": "x"}}
    assert "adress" in run("dataplane_handover", {**api, "dataplane": bad})["msg"]
    run("dataplanes", {**api, "dataplanes": [WEB]})
    assert "is still registered 0.5 s after" in run("dataplane_handover", {**api, "dataplane": WEB, "wait_timeout": 0.5})["msg"]
    run("dataplanes", {**api, "dataplanes": [WEB], "state": "absent"})
