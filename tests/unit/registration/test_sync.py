# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bulk synchronisation against a simulated control plane: few requests, no lost state, every failure reported."""

from __future__ import annotations

import copy
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Capabilities, Response
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import Conflict, Invalid, NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import sync


class ControlPlane:
    """A control plane in memory with the interface of Client: full replacement, computed labels, health written by itself."""

    def __init__(self, version=(2, 14, 3)):
        self.held = {}
        self.journal = []
        self.reject = set()
        self.conflicts = {}
        self.drop = None
        self.before_put = lambda name: None
        self.release = version
        self.lock = threading.Lock()

    def capabilities(self):
        return Capabilities("Kuma", "test", "test", self.release)

    def writes(self):
        return [entry for entry in self.journal if entry[0] in ("PUT", "DELETE")]

    def list(self, path, params=None, page_size=1000):
        self.journal.append(("LIST", path))
        return [self._answer(name) for name in sorted(self.held)]

    def get(self, path):
        name = path.rsplit("/", 1)[1]
        self.journal.append(("GET", name))
        if name not in self.held:
            raise NotFound("Could not retrieve a resource", "Not found", status=404)
        return Response(200, self._answer(name))

    def put(self, path, body):
        name = path.rsplit("/", 1)[1]
        with self.lock:
            self.journal.append(("PUT", name))
            self.before_put(name)
            if self.conflicts.get(name, 0) > 0:
                self.conflicts[name] -= 1
                raise Conflict("Conflict", status=409)
            if name in self.reject:
                parameters = [{"field": "networking.address", "reason": "address can't be empty"}]
                raise Invalid("Could not process a resource", "Resource is not valid", status=400, invalid_parameters=parameters)
            body = copy.deepcopy(body)
            if self.drop:
                body["networking"].pop(self.drop, None)
            self.held[name] = body
        return Response(201, {})

    def delete(self, path):
        name = path.rsplit("/", 1)[1]
        with self.lock:
            self.journal.append(("DELETE", name))
            if self.held.pop(name, None) is None:
                raise NotFound("Could not delete a resource", "Not found", status=404)
        return Response(200, {})

    def _answer(self, name):
        answer = copy.deepcopy(self.held[name])
        answer.setdefault("labels", {}).update({"kuma.io/mesh": "default", "kuma.io/zone": "default"})
        answer.update(creationTime="x", modificationTime="y", kri="z")
        return answer


def desired(name, port=8080, **extra):
    inbound = {"port": port, "servicePort": 18080, "serviceAddress": "127.0.0.1", "tags": {"kuma.io/service": "web"}}
    return {"name": name, "networking": {"address": "10.0.0.1", "inbound": [inbound]}, **extra}


def apply(cp, items, **options):
    dataplanes = sync.Dataplanes(cp, sync.Settings("default", **options))
    return sync.present(dataplanes, items)


def actions(changes):
    return {change.name: change.action for change in changes}


def test_creations_take_one_put_each_and_two_listings():
    cp = ControlPlane()
    changes = apply(cp, [desired(f"web-{number}") for number in range(20)])
    assert set(actions(changes).values()) == {"created"}
    assert sorted(cp.writes()) == sorted(("PUT", f"web-{number}") for number in range(20))
    assert len(cp.journal) == 22
    assert all(held["networking"]["inbound"][0]["state"] == "NotReady" for held in cp.held.values())


def test_a_second_run_is_one_listing():
    cp = ControlPlane()
    items = [desired("web-1", labels={"team": "a"}), desired("web-2")]
    apply(cp, items, owner="ansible")
    cp.journal.clear()
    changes = apply(cp, items, owner="ansible")
    assert set(actions(changes).values()) == {"unchanged"}
    assert cp.journal == [("LIST", "/meshes/default/dataplanes")]


def test_check_mode_writes_nothing_and_says_what_would_happen():
    cp = ControlPlane()
    apply(cp, [desired("web-1"), desired("web-2")])
    cp.journal.clear()
    changes = apply(cp, [desired("web-1"), desired("web-2", port=9000), desired("web-3")], check=True)
    assert actions(changes) == {"web-1": "unchanged", "web-2": "updated", "web-3": "created"}
    assert cp.writes() == []


def test_one_rejected_dataplane_stops_no_other():
    cp = ControlPlane()
    cp.reject = {"bad"}
    changes = apply(cp, [desired("bad"), desired("good")])
    assert actions(changes) == {"bad": "failed", "good": "created"}
    failure = next(change for change in changes if change.name == "bad").failure
    assert failure["status"] == 400
    assert "networking.address: address can't be empty" in sync.describe_failures([change for change in changes if change.failure])


def test_a_field_that_would_be_dropped_stops_everything_before_the_first_write():
    cp = ControlPlane()
    with pytest.raises(sync.Refused, match="servisePort") as refusal:
        apply(cp, [desired("good"), {**desired("bad"), "networking": {"address": "x", "inbound": [{"servisePort": 1}]}}])
    assert actions(refusal.value.changes) == {"bad": "failed", "good": "skipped"}
    assert cp.writes() == []


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([desired("a"), desired("a")], "a a second time"),
        ([{"networking": {}}], "found no name"),
        ([desired("a", mesh="other")], "mesh: found other, expected default"),
        ([desired("a", type="Mesh")], "type: found Mesh, expected Dataplane"),
    ],
)
def test_faulty_items_are_refused(items, message):
    cp = ControlPlane()
    with pytest.raises(sync.Refused, match=message):
        apply(cp, items)
    assert cp.writes() == []


def test_what_the_control_plane_drops_silently_is_found_by_reading_back():
    cp = ControlPlane()
    cp.drop = "inbound"
    (change,) = apply(cp, [desired("web-1")])
    assert change.action == "failed"
    assert change.failure["invalid_parameters"] == [{"field": "networking.inbound", "reason": "not held as sent"}]


def test_a_conflict_is_read_again_and_retried():
    cp = ControlPlane()
    apply(cp, [desired("web-1")])
    cp.conflicts = {"web-1": 3}
    (change,) = apply(cp, [desired("web-1", port=8081)])
    assert change.action == "updated"
    assert cp.held["web-1"]["networking"]["inbound"][0]["port"] == 8081
    cp.conflicts = {"web-1": 99}
    (change,) = apply(cp, [desired("web-1", port=8082)])
    assert (change.action, change.failure["kind"]) == ("failed", "conflict")


def test_a_fence_that_comes_after_the_listing_is_carried_over():
    cp = ControlPlane()
    apply(cp, [desired("web-1")], initial_state="Ready")
    original = cp.list

    def listing(*args, **kwargs):
        answer = original(*args, **kwargs)
        cp.held["web-1"]["networking"]["inbound"][0]["health"] = {}
        return answer

    cp.list = listing
    apply(cp, [desired("web-1", labels={"team": "b"})])
    assert cp.held["web-1"]["networking"]["inbound"][0]["health"] == {}


def test_purge_deletes_only_what_is_its_own():
    cp = ControlPlane()
    apply(cp, [desired("mine-1"), desired("mine-2")], owner="ansible")
    apply(cp, [desired("theirs")], owner="somebody")
    apply(cp, [desired("nobodys")])
    changes = apply(cp, [desired("mine-1")], owner="ansible", purge=True)
    assert actions(changes) == {"mine-1": "unchanged", "mine-2": "deleted"}
    assert sorted(cp.held) == ["mine-1", "nobodys", "theirs"]


@pytest.mark.parametrize(
    ("options", "version", "message"),
    [
        (
            {"owner": "ansible", "purge_limit": 1},
            (2, 14, 3),
            r"would delete 2 Dataplanes .* more than purge_limit \(1\): a, b",
        ),
        ({"owner": "ansible"}, (2, 12, 14), "control planes before 2.13 lose labels"),
        ({}, (2, 14, 3), "purge needs owner"),
    ],
)
def test_a_purge_that_goes_too_far_writes_nothing(options, version, message):
    cp = ControlPlane()
    apply(cp, [desired("a"), desired("b")], owner="ansible")
    cp.release = version
    cp.journal.clear()
    with pytest.raises(sync.Refused, match=message):
        apply(cp, [desired("new")], purge=True, **options)
    assert cp.writes() == []


def test_absent_is_done_once():
    cp = ControlPlane()
    apply(cp, [desired("a"), desired("b")])
    dataplanes = sync.Dataplanes(cp, sync.Settings("default"))
    assert actions(sync.absent(dataplanes, ["a", "zz"])) == {"a": "deleted", "zz": "unchanged"}
    cp.journal.clear()
    assert actions(sync.absent(dataplanes, ["a", "zz"])) == {"a": "unchanged", "zz": "unchanged"}
    assert cp.writes() == []


def test_the_diff_shows_what_changes_and_nothing_else():
    cp = ControlPlane()
    apply(cp, [desired("a"), desired("b")])
    dataplanes = sync.Dataplanes(cp, sync.Settings("default", check=True))
    (entry,) = sync.diff(sync.present(dataplanes, [desired("a"), desired("b", port=9)]), dataplanes)
    assert entry["before_header"] == "Dataplane default/b"
    assert entry["before"]["networking"]["inbound"][0]["port"] == 8080
    assert entry["after"]["networking"]["inbound"][0]["port"] == 9


NAMES = st.sampled_from(["a", "b", "c", "d"])


class Sharing(RuleBasedStateMachine):
    """Our applications, health checks and other people, in any order, on one mesh."""

    def __init__(self):
        super().__init__()
        self.cp = ControlPlane()
        self.health = {}
        self.foreign = {}

    @rule(
        names=st.sets(NAMES, min_size=1),
        port=st.integers(1, 9),
        team=st.sampled_from(["x", "y"]),
        conflicts=st.integers(0, 2),
    )
    def apply(self, names, port, team, conflicts):
        self.cp.conflicts = dict.fromkeys(names, conflicts)
        known = set(self.cp.held)
        items = [desired(name, labels={"team": team}) for name in sorted(names)]
        for item in items:
            item["networking"]["inbound"][0]["servicePort"] = port
        changes = apply(self.cp, items)
        assert not [change for change in changes if change.action == "failed"]
        for name in names - known:
            self.health[name] = ("NotReady", {"ready": False})
        for name in names:
            assert self.cp.held[name]["labels"]["team"] == team
            assert self.cp.held[name]["networking"]["inbound"][0]["servicePort"] == port
        self.cp.journal.clear()
        assert set(actions(apply(self.cp, items)).values()) == {"unchanged"}
        assert self.cp.writes() == []

    @rule(
        name=NAMES,
        state=st.sampled_from(["Ready", "NotReady", "Ignored"]),
        health=st.sampled_from([None, {}, {"ready": True}]),
    )
    def somebody_writes_health(self, name, state, health):
        if name in self.cp.held:
            inbound = self.cp.held[name]["networking"]["inbound"][0]
            inbound.pop("health", None)
            inbound["state"] = state
            if health is not None:
                inbound["health"] = health
            self.health[name] = (state, health)

    @rule(name=NAMES, value=st.sampled_from(["1", "2"]))
    def somebody_sets_a_label(self, name, value):
        if name in self.cp.held:
            self.cp.held[name].setdefault("labels", {})["foreign"] = value
            self.foreign[name] = value

    @rule(name=NAMES)
    def somebody_deletes(self, name):
        self.cp.held.pop(name, None)
        self.foreign.pop(name, None)
        self.health.pop(name, None)

    @invariant()
    def nobodys_state_health_or_label_is_lost(self):
        for name, held in self.cp.held.items():
            inbound = held["networking"]["inbound"][0]
            assert (inbound.get("state"), inbound.get("health")) == self.health[name]
            assert held.get("labels", {}).get("foreign") == self.foreign.get(name)


Sharing.TestCase.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
TestSharing = Sharing.TestCase


def test_the_owner_label_is_not_sent_where_labels_do_not_survive():
    cp = ControlPlane((2, 12, 14))
    apply(cp, [desired("a", labels={"team": "x"})], owner="ansible")
    assert "labels" not in cp.held["a"]
    assert resource.OWNER_LABEL not in str(cp.held)
