# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Status and readiness of Dataplanes, and waiting for them with one listing per poll."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import ConnectionFailed, NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status as dataplane_status
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import waiting

ONLINE = [{"id": "1", "connectTime": "2026-11-23T10:00:00Z"}]
ENDED = [{"id": "1", "connectTime": "2026-11-23T10:00:00Z", "disconnectTime": "2026-11-23T11:00:00Z"}]


def overview(*inbounds, subscriptions=None, name="web-1", **networking):
    return {
        "type": "DataplaneOverview",
        "mesh": "default",
        "name": name,
        "dataplane": {"networking": {"address": "10.0.0.1", "inbound": list(inbounds), **networking}},
        "dataplaneInsight": {"subscriptions": ONLINE if subscriptions is None else subscriptions},
    }


READY = {"port": 8080, "health": {"ready": True}}
PLAIN = {"port": 8080}
FENCED = {"port": 8080, "health": {}}
NOT_READY = {"port": 8081, "name": "admin", "state": "NotReady", "health": {}}
IGNORED = {"port": 8080, "state": "Ignored"}


@pytest.mark.parametrize(
    ("item", "status", "ready", "fenced", "reasons"),
    [
        (overview(READY), "Online", True, False, []),
        (overview(PLAIN, READY), "Online", True, False, []),
        (overview(FENCED), "Offline", False, True, ["inbound 8080 is fenced (health.ready is false)"]),
        (overview(NOT_READY), "Offline", False, False, ["inbound admin has state NotReady"]),
        (overview(READY, NOT_READY), "Partially degraded", False, False, ["inbound admin has state NotReady"]),
        (overview(READY, FENCED), "Partially degraded", False, True, ["inbound 8080 is fenced (health.ready is false)"]),
        (overview(IGNORED), "Online", False, False, ["inbound 8080 has state Ignored"]),
        (overview(READY, subscriptions=ENDED), "Offline", False, False, ["not connected since 2026-11-23T11:00:00Z"]),
        (overview(READY, subscriptions=[*ENDED, *ONLINE]), "Online", True, False, []),
        (overview(READY, subscriptions=[]), "Offline", False, False, ["never connected"]),
        (overview(), "Offline", True, False, []),
        (overview(subscriptions=[]), "Offline", False, False, ["never connected"]),
        (overview(gateway={"type": "DELEGATED"}), "Online", True, False, []),
        (overview(gateway={}, subscriptions=ENDED), "Offline", False, False, ["not connected since 2026-11-23T11:00:00Z"]),
        ({"name": "x", "mesh": "default"}, "Offline", False, False, ["never connected"]),
    ],
)
def test_status_and_readiness(item, status, ready, fenced, reasons):
    assert dataplane_status.status(item) == status
    assert dataplane_status.ready(item) == (ready, reasons)
    assert dataplane_status.fenced(item) is fenced


def test_rejected_configurations_are_named_with_the_reasons():
    subscription = [{"connectTime": "x", "status": {"total": {"responsesSent": "9", "responsesRejected": "3"}}}]
    assert dataplane_status.ready(overview(NOT_READY, subscriptions=subscription))[1][-1] == "Envoy rejected 3 configurations"
    assert dataplane_status.ready(overview(READY, subscriptions=subscription)) == (True, [])


class Client:
    """Overviews as they are at each poll, an exception among them is raised; time passes only by sleeping."""

    def __init__(self, *polls):
        self.polls = list(polls)
        self.params = []
        self.now = 0.0

    def list(self, path, params=None):
        assert path == "/meshes/default/dataplanes/_overview"
        self.params.append(params)
        found = self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
        if isinstance(found, Exception):
            raise found
        return found

    def wait(self, names=(), wait="ready", labels=(), timeout=10.0):
        def sleep(seconds):
            self.now += seconds

        return waiting.wait_for(self, "default", list(names), dict(labels), wait, timeout, 1.0, sleep, lambda: self.now)


def test_each_poll_is_one_listing_however_many_are_waited_for():
    ready = [overview(READY, name=f"web-{number}") for number in range(50)]
    client = Client([], [overview(NOT_READY, name=item["name"]) for item in ready], ready)
    found, pending = client.wait([item["name"] for item in ready])
    assert (len(found), pending, len(client.params), client.now) == (50, [], 3, 2.0)


def test_those_that_are_missing_at_the_end_are_named_with_the_reason():
    client = Client([overview(READY), overview(READY, name="web-2", subscriptions=[]), overview(READY, name="other", subscriptions=[])])
    _found, pending = client.wait(["web-3", "web-2", "web-1"])
    assert pending == [("web-2", "never connected"), ("web-3", "not registered")]
    assert client.now == 10.0


@pytest.mark.parametrize(
    ("wait", "item", "pending"),
    [
        ("none", overview(NOT_READY, subscriptions=[]), []),
        ("online", overview(FENCED), []),
        ("online", overview(READY, subscriptions=ENDED), [("web-1", "not connected since 2026-11-23T11:00:00Z")]),
        ("ready", overview(FENCED), [("web-1", "inbound 8080 is fenced (health.ready is false)")]),
        ("ready", overview(READY), []),
        ("gone", overview(READY, subscriptions=[]), [("web-1", "still registered")]),
    ],
)
def test_what_is_waited_for(wait, item, pending):
    assert Client([item]).wait(["web-1"], wait, timeout=0)[1] == pending


def test_waiting_until_nothing_is_left():
    client = Client([overview(READY)], [])
    assert client.wait(["web-1"], "gone") == ([], [])
    assert len(client.params) == 2


def test_names_and_labels_are_filtered_again():
    items = [dict(overview(READY, name=name), labels={"team": team}) for name, team in (("web-1", "a"), ("web-10", "a"), ("web-2", "b"))]
    client = Client(items)
    assert [item["name"] for item in client.wait(["web-1"], labels={"team": "a"})[0]] == ["web-1"]
    assert client.params == [{"name": "web-1", "filter[labels.team]": "a"}]


def test_a_control_plane_that_restarts_is_waited_for():
    client = Client([], ConnectionFailed("gone"), ConnectionFailed("gone"), [overview(READY)])
    assert client.wait(["web-1"])[1] == []
    with pytest.raises(ConnectionFailed, match="gone"):
        Client([], ConnectionFailed("gone")).wait(["web-1"])
    with pytest.raises(ConnectionFailed, match="down"):
        Client(ConnectionFailed("down"), [overview(READY)]).wait(["web-1"])
    with pytest.raises(NotFound):
        Client([], NotFound("no mesh")).wait(["web-1"])
