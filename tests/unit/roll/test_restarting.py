# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the proxies of a host are restarted: the material of a cover comes to the VM in a short call of its own, and who moves is registered."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import handover
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import restarting
from tests.examples import examples
from tests.unit.http_server import problem

SECRET = "the token of a cover"
GATE = {"proxy": "a", "service": "web", "port": 18080}
UNREACHABLE = {"changed": False, "unreachable": True, "msg": "no route to host"}


class Vm:
    """Answers as proxy_restart does, and notes what it is asked for.

    ``busy`` is how often a restart of a proxy is still under way, ``undecided`` when it has no outcome then; ``fails`` are calls
    (until, name) that fail and ``lost`` those that do not reach it, ``decided`` the names of those whose restart is over when it is asked
    whether they have stopped.
    """

    def __init__(self, busy=0, undecided=False, fails=(), lost=(), decided=(), refuses=()):
        self.busy, self.undecided, self.fails, self.lost, self.decided, self.refuses = busy, undecided, fails, lost, decided, refuses
        self.calls, self.asked, self.noted = [], [], []

    def __call__(self, options):
        (proxy,) = options["proxies"]
        until, name = options.get("until", "done"), proxy["name"]
        call = ("waited" if "request" in proxy else until, name)
        self.calls.append(call)
        self.asked.append(options)
        assert (SECRET in str(options)) == (until == "prepared"), "a secret is among the arguments of a call that takes long"
        if call in self.lost:
            return UNREACHABLE
        if call in self.fails:
            return {"failed": True, "msg": "no", "results": [{"name": name, "outcome": "failed", "notes": []}], "changed": True}
        outcome = "restarted"
        if until == "prepared":
            outcome, self.busy = ("busy", self.busy - 1) if self.busy else ("untouched", 0)
        elif until == "free":
            outcome = "busy" if self.undecided else "untouched"
        elif until == "stopped" and name not in self.decided:
            outcome = "stopped"
        notes = ["under way"] if (until, outcome) == ("free", "busy") else []
        told = {"cover_token": {"jti": f"of-another-{name}"}} if (until, outcome) == ("prepared", "busy") else {}
        entry = {"name": name, "outcome": outcome, "request": f"r-{name}", "notes": notes, **told}
        return {"changed": until != "free", "results": [entry]}

    def cover(self, name, longest):
        if name in self.refuses:
            raise AccessDenied("may not issue", method="POST", url="/tokens/dataplane", status=403)
        self.calls.append(("token", name, longest))
        return {"dataplane": {}, "token": SECRET}

    def covers(self):
        return restarting.Covers(self.cover, lambda name, claims: self.noted.append((name, claims["jti"])))

    def forget(self):
        self.calls.append(("removed",))

    def hand_over(self, name):
        self.calls.append(("registered", name))
        return "the control plane says no" if ("registered", name) in self.fails else ""


def wish(name):
    return {"name": name, "strategy": "drained" if name.endswith("-drained") else "cover", "reasons": []}


def restarted(*names, moving=(), **vm):
    """The result, and what was done."""
    host = Vm(**vm)
    options = {"drain_time": "30s", "ready_timeout": 60.0, "gates": [GATE]}
    whole = restarting.Restart(restarting.Vm(host, host.forget), host.covers(), options, moving, host.hand_over)
    result = whole.restart([wish(name) for name in names])
    assert {name for name, _jti in host.noted} == ({names[0]} if vm.get("busy") else set())
    assert all(asked["gates"] == [GATE] for asked in host.asked), "the applications are not asked"
    return result, host.calls


def laid(name):
    return [("token", name, 5 * 90 + 180), ("prepared", name), ("removed",)]


def outcomes(result):
    return {entry["name"]: entry["outcome"] for entry in result["results"]}


def test_each_token_is_made_and_laid_down_when_its_restart_begins():
    result, calls = restarted("a", "b-drained", "c")
    assert calls == [*laid("a"), ("done", "a"), ("done", "b-drained"), *laid("c"), ("done", "c")]
    assert [entry["name"] for entry in result["results"]] == ["a", "b-drained", "c"]
    assert result["changed"]
    assert not result.get("failed")
    assert SECRET not in str(result)


def test_a_restart_that_retires_its_cover_is_waited_for_and_the_token_is_a_new_one():
    _result, calls = restarted("a", busy=1)
    assert calls == [*laid("a"), ("free", "a"), *laid("a"), ("done", "a")]


@pytest.mark.parametrize(("moving", "then"), [([], ["waited"]), (["a"], ["waited", "registered", "waited"])])
def test_a_restart_that_is_under_way_is_taken_over_by_its_name(moving, then):
    """It may be decided, and the token of its cover gone, before the call that waits for it."""
    result, calls = restarted("a", busy=9, undecided=True, moving=moving)
    assert calls == [*laid("a"), ("free", "a"), *((kind, "a") for kind in then)]
    assert (result["results"][0]["notes"], result["results"][0]["taken_over"]) == (["under way"], True)
    assert not result.get("failed")


def test_a_restart_that_is_decided_and_does_not_end_is_an_error():
    result, calls = restarted("a", busy=9)
    assert calls == [*laid("a"), ("free", "a")] * 3
    assert "a was not touched: the unit of an earlier restart of it does not end" in result["msg"]


@pytest.mark.parametrize("until", ["prepared", "done"])
def test_after_a_failure_the_following_proxies_get_no_token(until):
    result, calls = restarted("a", "b", fails=[(until, "a")])
    assert (result["failed"], result["msg"], result["changed"]) == (True, "no", True)
    assert not any("b" in call for call in calls)


def test_without_a_token_the_proxy_is_not_touched_and_what_was_restarted_is_told():
    result, calls = restarted("a", "b", refuses=["b"])
    assert result["failed"]
    assert result["msg"].startswith("b was not touched: ")
    assert result["failure"]["status"] == 403
    assert (outcomes(result), result["changed"]) == ({"a": "restarted"}, True)
    assert calls[-1] == ("done", "a")


def test_what_is_known_of_a_host_that_gets_unreachable_in_the_middle_is_told():
    result, calls = restarted("a", "b", "c", lost=[("done", "b")])
    assert (result["unreachable"], result["msg"], result["changed"]) == (True, "no route to host", True)
    assert outcomes(result) == {"a": "restarted"}
    assert not any("c" in call for call in calls)
    result, calls = restarted("a", lost=[("prepared", "a")])
    assert (result["unreachable"], result["results"]) == (True, [])
    assert ("removed",) not in calls, "there is nobody to remove anything"


def test_who_moves_is_registered_between_its_stop_and_its_start_and_the_others_are_not():
    result, calls = restarted("a", "b-drained", moving=["b-drained"])
    assert calls == [*laid("a"), ("done", "a"), ("stopped", "b-drained"), ("registered", "b-drained"), ("waited", "b-drained")]
    assert outcomes(result) == {"a": "restarted", "b-drained": "restarted"}
    _result, calls = restarted("a", "b", moving=["a"])
    assert calls == [*laid("a"), ("stopped", "a"), ("registered", "a"), ("waited", "a"), *laid("b"), ("done", "b")]


def test_the_restart_that_was_begun_is_waited_for():
    vm = Vm()
    restarting.Restart(restarting.Vm(vm, vm.forget), vm.covers(), {}, ["a"], vm.hand_over).restart([wish("a")])
    assert vm.asked[-1]["proxies"] == [{"name": "a", "request": "r-a"}]
    assert "until" not in vm.asked[-1]


@pytest.mark.parametrize("vm", [{"fails": [("stopped", "a")]}, {"lost": [("stopped", "a")]}, {"decided": ["a"]}])
def test_one_that_did_not_stop_or_is_decided_is_not_registered_again(vm):
    _result, calls = restarted("a", moving=["a"], **vm)
    assert not any(call[0] in ("registered", "waited") for call in calls)


def test_one_that_cannot_be_registered_has_failed_and_the_following_ones_are_not_begun():
    result, calls = restarted("a", "b", moving=["a"], fails=[("registered", "a")])
    assert (result["failed"], result["msg"], outcomes(result)) == (True, "the control plane says no", {"a": "stopped"})
    assert calls[-1] == ("registered", "a")


def test_a_host_that_is_lost_after_the_stop_has_had_its_proxy_registered():
    result, _calls = restarted("a", moving=["a"], lost=[("waited", "a")])
    assert (result["unreachable"], result["changed"], outcomes(result)) == (True, True, {"a": "stopped"})


NAMES = [f"{letter}{way}" for letter in "abc" for way in ("", "-drained")]
VISITS = [(kind, name) for kind in ("prepared", "done", "stopped", "waited") for name in NAMES]
VISIT = st.sampled_from(VISITS)
CALL = st.sampled_from([*VISITS, *(("registered", name) for name in NAMES)])


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.sampled_from(NAMES), unique=True), st.sets(st.sampled_from(NAMES)), st.sets(CALL, max_size=2), st.sets(VISIT, max_size=1)
)
def test_whatever_goes_wrong_no_proxy_is_begun_after_it_and_nothing_that_was_done_is_left_out(names, moving, fails, lost):
    result, calls = restarted(*names, moving=moving, fails=fails, lost=lost)
    wrong = [index for index, call in enumerate(calls) if call in fails or call in lost]
    bad = bool(result.get("failed") or result.get("unreachable"))
    assert bad == bool(wrong)
    assert wrong in ([], [len(calls) - 1]) or calls[-1] == ("removed",)
    begun = list(dict.fromkeys(call[1] for call in calls if call[0] != "removed"))
    assert begun == names[: len(begun)]
    if not bad:
        assert begun == names
    done = [name for name in begun if ("done", name) in calls or ("waited", name) in calls]
    assert [name for name in done[:-1] if outcomes(result)[name] != "restarted"] == []
    for name in begun:
        registered = ("registered", name) in calls
        assert registered == (name in moving and ("stopped", name) in calls and ("stopped", name) not in {*fails, *lost})


def overview(name):
    return {"name": name, "dataplane": {"networking": {"address": "10.0.0.1"}}, "dataplaneInsight": {"subscriptions": []}}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(handover, "INTERVAL", 0.01)
    monkeypatch.setattr(restarting, "HANDOVER", 0.05)


def dataplane(mesh, name):
    return {key: value for key, value in mesh.get(name).items() if key not in ("creationTime", "modificationTime", "kri", "labels")}


def test_a_dataplane_that_the_control_plane_has_deleted_is_registered_again(quick, make_mesh):
    mesh = make_mesh(web_1="web")
    before = dataplane(mesh, "web-1")
    mesh.disconnect("web-1")
    mesh.admin.delete(mesh.path("web-1"))
    assert restarting.hand_over(mesh.client(), mesh.name, "NotReady", before) == ""
    assert mesh.get("web-1")["networking"]["inbound"][0]["state"] == "NotReady"


def test_what_speaks_against_it_is_told(quick, make_mesh):
    mesh = make_mesh(web_1="web")
    before = dataplane(mesh, "web-1")
    mesh.disconnect("web-1")
    told = restarting.hand_over(mesh.client(), mesh.name, "NotReady", before)
    assert told.startswith("web-1 was stopped, and could not be registered again: Dataplane web-1 is still registered")
    assert "expected" in restarting.hand_over(mesh.client(), mesh.name, "NotReady", {**before, "type": "Gateway"})
    mesh.way.refuse[("GET", "/dataplanes")] = problem(403, "Access Denied", "no")
    assert "web-1 was stopped, and could not be registered again: " in restarting.hand_over(mesh.client(), mesh.name, "NotReady", before)
