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


def test_the_state_survives_json():
    state = flying(OPEN, view(), "a")
    admission.arrive(state, "b", member(1, "b"))
    again = admission.State.from_json(json.loads(json.dumps(state.as_json())))
    assert again == state
