# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single rules of a roll; whole rolls are in test_rollout_simulation.py."""

from __future__ import annotations

import json

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import admission
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.settings import Settings

NOW = 100.0
OPEN = Settings(canaries=0, stages=(), limit="100%")


def view(total=4, down=(), kind=admission.CALLED, **more):
    return admission.View(at=NOW, services={"web": admission.Service(total, set(down), kind)}, **more)


def member(order, *proxies, drained=True, turn=1, group="g"):
    count = {"web": len(proxies)}
    return admission.Member(order, list(proxies), count, count if drained else {}, group, turn, since=NOW - 1)


def ask(given, seen, state=None, **members):
    state = state or admission.State(size=10)
    for host, one in members.items():
        admission.arrive(state, host, one)
    return {host: verdict.kind for host, verdict in admission.decide(state, given, seen, NOW).items()}


def flying(given, seen, *hosts):
    """A state in which ``hosts`` are in flight."""
    state = admission.State(size=10)
    for index, host in enumerate(hosts):
        admission.arrive(state, host, member(index, host))
        admission.admit(state, given, seen, host, NOW - 1)
    return state


@pytest.mark.parametrize(
    ("total", "down", "proxies", "drained", "expected"),
    [
        (4, [], ["a"], True, "admit"),
        (4, ["x"], ["a"], True, "defer"),
        (4, ["a"], ["a"], True, "admit"),
        (4, ["a", "x"], ["a"], True, "admit"),
        (8, ["x"], ["a"], True, "admit"),
        (8, ["x"], ["a"], False, "admit"),
        (4, ["x"], ["a"], False, "defer"),
        (4, ["a", "x"], ["a"], False, "admit"),
        (1, [], ["a"], False, "admit"),
        (1, [], ["a"], True, "defer"),
        (1, ["a"], ["a"], True, "admit"),
        # Two instances on one host, one of which serves.
        (8, ["a"], ["a", "b"], True, "admit"),
        (8, ["a", "x"], ["a", "b"], True, "defer"),
        (4, [], ["a", "b"], True, "defer"),
    ],
)
def test_what_a_service_can_spare(total, down, proxies, drained, expected):
    assert ask(OPEN, view(total, down), host=member(0, *proxies, drained=drained)) == {"host": expected}


def test_the_second_pass_refuses():
    assert ask(OPEN, view(4, ["x"]), host=member(0, "a", turn=2)) == {"host": "refuse"}


def test_a_view_from_before_its_arrival_puts_nobody_off():
    late = member(0, "a")
    late.since = NOW
    assert ask(OPEN, view(4, ["x"]), host=late) == {"host": "wait"}


def test_an_allowed_singleton_goes_only_when_nothing_else_is_missing():
    given = Settings(canaries=0, stages=(), allow_singleton=True)
    assert ask(given, view(1), host=member(0, "a")) == {"host": "admit"}
    assert ask(given, view(3), host=member(0, "a", "b")) == {"host": "admit"}
    assert ask(given, view(3, ["x"]), host=member(0, "a", "b")) == {"host": "defer"}


def test_hosts_in_flight_are_waited_for_and_the_queue_keeps_its_order():
    seen = view(8)
    assert ask(OPEN, seen, flying(OPEN, seen, "a", "b"), c=member(2, "c")) == {"c": "wait"}
    assert ask(OPEN, seen, flying(OPEN, seen, "a"), d=member(3, "d"), c=member(2, "c")) == {"c": "admit", "d": "wait"}


def test_a_host_waits_for_the_sick_one_before_it():
    assert ask(OPEN, view(4, ["a"]), a=member(0, "a"), b=member(1, "b")) == {"a": "admit", "b": "wait"}
    assert ask(OPEN, view(4, ["a"]), a=member(1, "a"), b=member(0, "b")) == {"a": "admit", "b": "defer"}


@pytest.mark.parametrize("kind", [admission.GATEWAY, admission.ZONE])
def test_gateways_and_zone_proxies_go_one_at_a_time_and_never_the_last(kind):
    seen = view(8, kind=kind)
    assert ask(OPEN, seen, flying(OPEN, seen, "a"), b=member(1, "b", drained=False)) == {"b": "wait"}
    assert ask(OPEN, view(2, ["x"], kind), a=member(0, "a")) == {"a": "defer"}


def test_callers_have_a_limit_and_no_budget():
    seen = view(1, ["x", "y", "z"], admission.CALLER)
    assert ask(OPEN, seen, a=member(0, "a")) == {"a": "admit"}
    assert ask(Settings(canaries=0, stages=(), limit="1"), seen, flying(OPEN, seen, "a"), b=member(1, "b")) == {"b": "wait"}


def test_a_stage_ends_before_the_next_begins():
    given = Settings(canaries=0, stages=("20%",), limit="100%", budget="100%")
    seen = view(10)
    state = flying(given, seen, "a", "b")
    assert ask(given, seen, state, c=member(2, "c", drained=False)) == {"c": "wait"}
    admission.complete(state, given, "a", True, False, NOW - 0.5)
    assert ask(given, seen, state) == {"c": "wait"}
    admission.complete(state, given, "b", True, False, NOW - 0.5)
    assert ask(given, seen, state) == {"c": "admit"}


def test_what_was_lost_counts_although_the_control_plane_does_not_know_until_it_succeeds():
    given, seen = Settings(canaries=0, stages=(), max_failures="5"), view(4)
    state = flying(given, seen, "a")
    admission.complete(state, given, "a", False, True, NOW - 0.5)
    assert ask(given, seen, state, b=member(1, "b")) == {"b": "defer"}
    state = admission.State(size=10, missing={"web": ["a"]})
    assert ask(given, seen, state, a=member(0, "a"), b=member(1, "b")) == {"a": "admit", "b": "wait"}
    admission.admit(state, given, seen, "a", NOW - 1)
    admission.complete(state, given, "a", True, False, NOW - 0.5)
    assert ask(given, seen, state) == {"b": "admit"}


def test_nobody_is_admitted_by_an_old_view_or_during_an_outage():
    old = admission.View(at=NOW - 60)
    assert ask(OPEN, old, host=member(0, "a")) == {"host": "wait"}
    away = view(outage=NOW - 5, error="refused")
    assert ask(OPEN, away, host=member(0, "a")) == {"host": "wait"}
    assert ask(OPEN, view(recovered=NOW - 5), host=member(0, "a")) == {"host": "wait"}
    assert admission.overdue(OPEN, away, NOW) == ""
    assert "has not answered for 300 s" in admission.overdue(OPEN, view(outage=NOW - 300), NOW)


def test_hosts_nobody_reports_about_are_found():
    state = flying(OPEN, view(), "a")
    assert admission.stuck(state, OPEN, NOW + 3598) == []
    assert admission.stuck(state, OPEN, NOW + 3600) == ["a"]


def healer(order, *proxies):
    one = member(order, *proxies)
    one.heals, one.loses = True, {}
    return one


def test_who_heals_waits_for_no_budget_no_canary_no_stage_and_no_soak():
    given = Settings(stages=("1",), soak=1000.0)
    state = admission.State(size=10, missing={"web": ["x", "y"]}, soaked=NOW)
    flying_canary = flying(given, view(8), "c")
    for where in (state, flying_canary):
        assert ask(given, view(4, ["a", "x"]), where, a=healer(1, "a"))["a"] == "admit"


def test_who_heals_waits_for_room_and_for_the_control_plane():
    given = Settings(max_in_flight=1)
    assert ask(given, view(8), flying(given, view(8), "c"), a=healer(1, "a"))["a"] == "wait"
    assert ask(given, view(outage=NOW - 5, error="refused"), a=healer(0, "a")) == {"a": "wait"}
    assert ask(given, view(), admission.State(size=3, abort="asked for"), a=healer(0, "a")) == {"a": "refuse"}


def test_who_heals_is_no_canary_proves_nothing_and_fails_nothing():
    given, seen = Settings(limit="100%"), view(4, ["a"])
    state = admission.State(size=4)
    admission.arrive(state, "a", healer(0, "a"))
    assert not admission.admit(state, given, seen, "a", NOW - 1).canary
    # The canary goes meanwhile, as if it were alone; drained it waits, as one is out already.
    state.dead = ["a"]
    assert ask(given, seen, state, b=member(1, "b", drained=False)) == {"b": "admit"}
    assert ask(given, seen, state, b=member(1, "b")) == {"b": "wait"}
    admission.leave(state, "b")
    admission.complete(state, given, "a", False, True, NOW - 0.5)
    assert (state.failed, state.abort, state.missing) == ([], "", {"web": ["a"]})
    admission.arrive(state, "a", healer(0, "a"))
    admission.admit(state, given, seen, "a", NOW - 1)
    admission.complete(state, given, "a", True, False, NOW - 0.5)
    assert (state.proven, state.succeeded, state.finished, state.missing) == ({}, 0, 2, {"web": []})


@pytest.mark.parametrize(
    ("total", "down", "drained", "expected"),
    [
        # Under cover one that was dead before keeps nobody waiting; one that fails now does.
        (4, ["x"], False, "admit"),
        (2, ["x"], False, "admit"),
        (4, ["x", "y"], False, "defer"),
        # Drained, it is already out.
        (4, ["x"], True, "defer"),
        (8, ["x"], True, "admit"),
        (8, ["x", "y"], True, "defer"),
    ],
)
def test_one_that_is_dead_counts_as_already_out_and_keeps_nobody_from_being_covered(total, down, drained, expected):
    state = admission.State(size=4, dead=["x"])
    assert ask(OPEN, view(total, down), state, a=member(0, "a", drained=drained)) == {"a": expected}


def test_who_lost_the_control_plane_and_serves_by_its_vm_counts_as_serving():
    names = ["a", "b", "c", "d"]
    seen = view(4, names)
    seen.services["web"].offline = set(names)
    state = admission.State(size=4, serving=names)
    assert ask(OPEN, seen, state, a=member(0, "a")) == {"a": "admit"}
    assert admission.admit(state, OPEN, seen, "a", NOW - 1).lost == {"web": 1}
    assert ask(OPEN, seen, state, b=member(1, "b")) == {"b": "wait"}
    # As far as it is known: the VM of d did not say so, and c is out of traffic for another reason.
    seen.services["web"].offline = {"a", "b", "d"}
    state = admission.State(size=4, serving=["a", "b", "c"])
    assert ask(OPEN, seen, state, a=member(0, "a")) == {"a": "defer"}


def test_the_state_survives_json():
    state = flying(OPEN, view(), "a")
    state.dead, state.serving = ["x"], ["y"]
    admission.arrive(state, "c", healer(2, "c"))
    admission.arrive(state, "b", member(1, "b"))
    again = admission.State.from_json(json.loads(json.dumps(state.as_json())))
    assert again == state
