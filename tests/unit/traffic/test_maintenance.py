# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance against a simulated control plane with callers: requests, refusals, propagation, races."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Response
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import AccessDenied, Invalid
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import fence
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import sync
from ansible_collections.meshfleet.kuma.plugins.module_utils._traffic import maintenance as traffic_maintenance
from tests.unit.registration.test_sync import ControlPlane, actions

NOW = 1_800_000_000


class Mesh(ControlPlane):
    """Adds overviews and what callers see of the endpoints; ``lag`` is after how many looks a write reaches them."""

    def __init__(self, version=(2, 14, 3)):
        super().__init__(version)
        self.offline = set()
        self.denied = False
        self.unreachable = set()
        self.lag = 2
        self.looks = 0
        self.seen = {}
        self.time = 0.0
        self.slept = []

    def add(self, name, service="web", calls=(), **inbound):
        networking = {"address": f"10.0.0.{len(self.held) + 1}"}
        if service:
            networking["inbound"] = [{"port": 8080, "tags": {"kuma.io/service": service}, **inbound}]
        if calls:
            networking["outbound"] = [{"port": 10001 + index, "tags": {"kuma.io/service": call}} for index, call in enumerate(calls)]
        self.held[name] = {"type": "Dataplane", "mesh": "default", "name": name, "networking": networking}
        self.settle()

    def settle(self):
        """What is written reaches all callers."""
        self.seen = copy.deepcopy(self.held)
        self.looks = 0

    def list(self, path, params=None, page_size=1000):
        items = super().list(path)
        for item in items:
            item["dataplane"] = {"networking": item.pop("networking")}
            insight = {"connectTime": "x", **({"disconnectTime": "y"} if item["name"] in self.offline else {})}
            item["dataplaneInsight"] = {"subscriptions": [insight]}
        return items

    def get(self, path):
        if not path.endswith("/clusters"):
            return super().get(path)
        name = path.split("/")[-2]
        self.journal.append(("CLUSTERS", name))
        if self.denied:
            raise AccessDenied("Access Denied", status=403)
        if name in self.unreachable:
            raise Invalid("Could not execute admin operation", status=400)
        if self.writes():
            self.looks += 1
            if self.looks > self.lag:
                self.settle()
        return Response(200, "".join(self._lines(dataplane) for dataplane in self.seen.values()))

    @staticmethod
    def _lines(dataplane):
        found = fence.endpoints(dataplane, fence.gets_traffic)
        return "".join(f"web::{address}:{port}::cx_active::0\n" for pairs in found.values() for address, port in pairs)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds

    def inbound(self, name):
        return self.held[name]["networking"]["inbound"][0]

    def kinds(self):
        return [kind for kind, _what in self.journal]


@pytest.fixture
def mesh():
    built = Mesh()
    for number in range(1, 5):
        built.add(f"web-{number}")
    built.add("client", service=None, calls=["web"])
    return built


def apply(mesh, names, state="fenced", labels=(), now=NOW, **options):
    settings = traffic_maintenance.Settings("default", state == "fenced", **{"reason": "Disk swap", **options})
    maintenance = traffic_maintenance.Maintenance(mesh, settings, now, mesh.sleep, lambda: mesh.time)
    return maintenance.apply(names, dict(labels))


def test_a_fence_is_a_listing_a_read_and_a_write_each_and_a_listing(mesh):
    mesh.denied = True
    outcome = apply(mesh, ["web-1", "web-2"], wait=False)
    assert actions(outcome.changes) == {"web-1": "fenced", "web-2": "fenced"}
    assert sorted(mesh.kinds()) == ["GET", "GET", "LIST", "LIST", "PUT", "PUT"]
    assert (mesh.kinds()[0], mesh.kinds()[-1]) == ("LIST", "LIST")
    assert mesh.inbound("web-1")["health"] == {"ready": False}
    assert "state" not in mesh.inbound("web-1")
    assert "health" not in mesh.inbound("web-3")


def test_what_is_done_already_is_one_listing(mesh):
    for state in ("fenced", "in_traffic"):
        apply(mesh, ["web-1"], state, duration=7200)
        mesh.journal.clear()
        again = apply(mesh, ["web-1"], state, duration=7200, now=NOW + 60)
        assert (again.touched, actions(again.changes)) == (False, {"web-1": "unchanged"})
        assert mesh.kinds() == ["LIST"]


def test_reason_and_end_come_and_go_as_labels(mesh):
    mesh.held["web-1"]["labels"] = {"team": "a"}
    apply(mesh, ["web-1"], duration=7200)
    assert (
        mesh.held["web-1"]["labels"].items()
        >= {
            "team": "a",
            fence.REASON_LABEL: "disk-swap",
            fence.UNTIL_LABEL: str(NOW + 7200),
        }.items()
    )
    apply(mesh, ["web-1"], "in_traffic")
    assert mesh.held["web-1"]["labels"]["team"] == "a"
    assert not {fence.REASON_LABEL, fence.UNTIL_LABEL} & set(mesh.held["web-1"]["labels"])
    assert fence.gets_traffic(mesh.inbound("web-1"))


def test_no_label_is_written_or_trusted_where_labels_are_lost():
    mesh = Mesh((2, 12, 14))
    mesh.add("web-1")
    mesh.add("web-2")
    apply(mesh, ["web-1"], duration=7200)
    assert fence.REASON_LABEL not in str(mesh.held)
    with pytest.raises(sync.Refused, match="Give names instead"):
        apply(mesh, [], labels={"team": "a"})


def test_a_selector_takes_all_that_have_the_labels(mesh):
    for name in ("web-1", "web-3"):
        mesh.held[name]["labels"] = {"team": "a", "x": "y"}
    outcome = apply(mesh, [], labels={"team": "a"})
    assert actions(outcome.changes) == {"web-1": "fenced", "web-3": "fenced"}
    assert apply(mesh, [], labels={"team": "nobody"}).changes == []


def test_check_mode_says_the_same_and_writes_nothing(mesh):
    planned = apply(mesh, ["web-1", "client"], check=True)
    assert actions(planned.changes) == {"client": "unchanged", "web-1": "fenced"}
    assert planned.touched
    assert mesh.kinds() == ["LIST"]


def test_the_last_instances_are_not_fenced_without_force(mesh):
    mesh.offline = {"web-4"}
    with pytest.raises(sync.Refused, match=r"would be left of web \(web-1, web-2, web-3\)") as refused:
        apply(mesh, ["web-1", "web-2", "web-3"])
    assert set(actions(refused.value.changes).values()) == {"skipped"}
    assert mesh.writes() == []
    assert set(actions(apply(mesh, ["web-1", "web-2", "web-3"], force=True).changes).values()) == {"fenced"}


def test_a_dead_proxy_is_not_brought_back_without_force(mesh):
    apply(mesh, ["web-1"])
    mesh.offline = {"web-1"}
    (change,) = apply(mesh, ["web-1"], "in_traffic").changes
    assert "not connected" in change.failure["detail"]
    assert not fence.gets_traffic(mesh.inbound("web-1"))
    assert actions(apply(mesh, ["web-1"], "in_traffic", force=True).changes) == {"web-1": "lifted"}


def test_gateways_and_strangers_fail_and_stop_nobody(mesh):
    mesh.held["edge"] = {"name": "edge", "networking": {"address": "10.0.1.1", "gateway": {"tags": {"kuma.io/service": "edge"}}}}
    outcome = apply(mesh, ["web-1", "edge", "nobody"])
    assert actions(outcome.changes) == {"edge": "failed", "nobody": "failed", "web-1": "fenced"}
    said = sync.describe_failures(outcome.changes)
    assert "take it out of the load balancer" in said
    assert "not registered in mesh default" in said
    assert actions(apply(mesh, ["edge"], "in_traffic").changes) == {"edge": "unchanged"}


@pytest.mark.parametrize("state", ["NotReady", "Ignored"])
def test_what_is_out_of_traffic_by_its_state_is_left_alone(mesh, state):
    mesh.inbound("web-1").update(state=state, health={})
    fenced = apply(mesh, ["web-1"])
    settings = traffic_maintenance.Settings("default", True)
    told = traffic_maintenance.warnings({"stale": [], "lost": []}, fenced, settings)
    assert len(told) == (state == "NotReady")
    apply(mesh, ["web-1"], "in_traffic")
    assert mesh.inbound("web-1") == {"port": 8080, "tags": {"kuma.io/service": "web"}, "state": state, "health": {}}


def test_a_fence_is_seen_gone_at_a_caller(mesh):
    outcome = apply(mesh, ["web-1", "web-2"])
    assert outcome.propagation.measured
    assert outcome.propagation.peers == ["client"]
    # Before the write, and then until the third look; the only caller is watched, so that nothing else is waited for.
    assert [what for kind, what in mesh.journal if kind == "CLUSTERS"] == ["client"] * 4
    assert mesh.slept == [0.5, 0.5]
    mesh.journal.clear()
    lifted = apply(mesh, ["web-1", "web-2"], "in_traffic")
    assert lifted.propagation.measured
    assert fence.gets_traffic(mesh.seen["web-1"]["networking"]["inbound"][0])


def test_callers_that_are_not_watched_get_one_more_turn(mesh):
    for number in range(5):
        mesh.add(f"other-{number}", service=None, calls=["web"])
    outcome = apply(mesh, ["web-1"])
    assert outcome.propagation.peers == ["client", "other-0", "other-1"]
    assert mesh.slept[-1] == 1.0


@pytest.mark.parametrize("why", ["denied", "unreachable", "nobody calls", "unseen"])
def test_what_cannot_be_measured_is_waited_for(mesh, why):
    mesh.denied = why == "denied"
    mesh.unreachable = {"client"} if why == "unreachable" else set()
    if why == "nobody calls":
        mesh.offline = {"client"}
    if why == "unseen":
        mesh.seen = {}
    outcome = apply(mesh, ["web-1"])
    assert actions(outcome.changes) == {"web-1": "fenced"}
    assert (outcome.propagation.measured, outcome.propagation.peers) == (False, [])
    expected = {"denied": "mesh-system:admin", "unreachable": "client could not be asked", "nobody calls": "no connected proxy"}
    assert expected.get(why, "no caller showed the endpoints") in outcome.propagation.reason
    assert mesh.slept == [3.0]
    assert mesh.kinds().count("CLUSTERS") == (0 if why == "nobody calls" else 1)


def test_a_caller_that_is_lost_while_it_is_watched_proves_nothing(mesh):
    mesh.before_put = lambda name: mesh.unreachable.add("client")
    outcome = apply(mesh, ["web-1"])
    assert not outcome.propagation.measured
    assert mesh.slept == [3.0]


def test_a_fence_that_callers_never_see_fails(mesh):
    mesh.lag = 10**6
    (change,) = apply(mesh, ["web-1"]).changes
    assert change.failure["kind"] == "timeout"
    assert "client still call 10.0.0.1:8080 after 30 s" in change.failure["detail"]


def test_a_label_alone_is_not_waited_for(mesh):
    apply(mesh, ["web-1"])
    mesh.slept.clear()
    outcome = apply(mesh, ["web-1"], reason="other")
    assert actions(outcome.changes) == {"web-1": "fenced"}
    assert outcome.propagation is None
    assert mesh.slept == []


def test_a_write_that_fails_is_not_waited_for_at_the_callers(mesh):
    mesh.reject = {"web-1"}
    outcome = apply(mesh, ["web-1", "web-2"])
    assert actions(outcome.changes) == {"web-1": "failed", "web-2": "fenced"}
    assert outcome.propagation.measured


def test_a_conflict_is_read_again(mesh):
    mesh.conflicts = {"web-1": 2}
    assert actions(apply(mesh, ["web-1"], wait=False).changes) == {"web-1": "fenced"}
    assert mesh.kinds().count("GET") == 3


def test_a_write_of_somebody_else_in_between_is_kept(mesh):
    original = mesh.list

    def listing(*args, **kwargs):
        answer = original(*args, **kwargs)
        mesh.held["web-1"]["networking"]["outbound"] = [{"port": 1, "tags": {"kuma.io/service": "new"}}]
        return answer

    mesh.list = listing
    apply(mesh, ["web-1"])
    assert mesh.held["web-1"]["networking"]["outbound"] == [{"port": 1, "tags": {"kuma.io/service": "new"}}]


def test_a_fence_that_is_lifted_at_once_by_somebody_else_fails(mesh):
    original = mesh.put

    def put(path, body):
        answer = original(path, body)
        mesh.inbound("web-1")["health"] = {"ready": True}
        return answer

    mesh.put = put
    (change,) = apply(mesh, ["web-1"], wait=False).changes
    assert (change.action, change.failure["kind"]) == ("failed", "dropped")


def test_forgotten_and_lost_fences_are_reported(mesh):
    apply(mesh, ["web-1", "web-2"], duration=60)
    mesh.inbound("web-2")["health"] = {"ready": True}
    before = traffic_maintenance.report(mesh.list("x"), NOW + 59)
    assert before == {"stale": [], "lost": ["web-2"]}
    outcome = apply(mesh, ["web-3"], now=NOW + 60)
    found = traffic_maintenance.report(outcome.overviews, NOW + 60)
    end = NOW + 60
    assert found == {
        "stale": [
            {"name": "web-1", "reason": "disk-swap", "until": end, "fenced": True},
            {"name": "web-2", "reason": "disk-swap", "until": end, "fenced": False},
        ],
        "lost": [],
    }
    (told,) = traffic_maintenance.warnings(found, outcome, traffic_maintenance.Settings("default", True))
    assert "web-1 (disk-swap, until 2027-01-15T" in told


def test_the_diff_shows_health_and_labels(mesh):
    outcome = apply(mesh, ["web-1", "web-2"], check=True)
    first, _second = traffic_maintenance.diff(outcome.changes, "default")
    assert first["before_header"] == "Dataplane default/web-1"
    assert first["before"]["inbounds"]["8080"] == {"state": "Ready", "health": {"ready": True}}
    assert first["after"] == {
        "inbounds": {"8080": {"state": "Ready", "health": {"ready": False}}},
        "labels": {fence.REASON_LABEL: "disk-swap"},
    }
