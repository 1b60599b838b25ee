# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a roll takes from the join before it, and what its own tasks make of what went wrong."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import done, options, rolling
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import plan as roll_plan
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import settings as roll_settings
from tests.examples import examples
from tests.unit.play.vm import PLACE, host, proxy, seen, zone_proxy

GATE = {"proxy": "web-1", "service": "web", "port": 18080}


def facts(*roles, names=("a",), version="2.14.3", **state):
    """What a host has after its roles have joined it; every role of its own name."""
    found = {}
    for role in roles:
        rolled = [{"name": f"{name}-{role[5]}"} for name in names]
        found[f"{role}_look"] = {"options": {"version": version}}
        found[f"{role}_deployed"] = {"state": {"roll": rolled, "gates": [], "moving": [], "dataplanes": {}, **state}}
    return found


def inventory(**variables):
    return variables.get


def fleet(mesh=(), zone=(), lost=(), found=None, known=None):
    in_play = {*mesh, *zone} - set(lost)
    return rolling.Fleet(
        list(mesh), list(zone), in_play, lambda name: (found or {}).get(name, {}), lambda name: (known or {}).get(name, inventory())
    )


def test_a_host_of_both_groups_has_the_proxies_of_both_roles():
    found = {
        "a": facts("kuma_dp", names=["a", "b"]),
        "c": facts("kuma_dp", "kuma_zone_proxy", names=["c"]),
        "d": facts("kuma_zone_proxy", names=["d"], version="2.14.4"),
    }
    assert fleet(mesh=["c", "a"], zone=["d", "c"], found=found).hosts() == [
        {"host": "a", "reachable": True, "proxies": [{"name": "a-d"}, {"name": "b-d"}], "target_version": "2.14.3"},
        {"host": "c", "reachable": True, "proxies": [{"name": "c-d"}, {"name": "c-z"}], "target_version": "2.14.3"},
        {"host": "d", "reachable": True, "proxies": [{"name": "d-z"}], "target_version": "2.14.4"},
    ]


@pytest.mark.parametrize(
    ("variables", "mesh", "zone"),
    [
        ({}, ["a"], [("a", "")]),
        ({"kuma_dp_name": "web", "kuma_zone_proxy_type": "ingress"}, ["web"], [("a-ingress", "ingress")]),
        ({"kuma_dp_proxies": [{"name": "x"}, {"name": "y"}], "kuma_zone_proxy_name": "gate"}, ["x", "y"], [("gate", "")]),
        (
            {"kuma_zone_proxy_proxies": [{"name": "in", "type": "ingress"}, {"type": "egress"}]},
            ["a"],
            [("in", "ingress"), ("a-egress", "egress")],
        ),
    ],
)
def test_a_host_that_was_lost_is_unreachable_and_has_the_names_of_the_inventory(variables, mesh, zone):
    known, meshed = {"a": inventory(**variables)}, [{"name": name} for name in mesh]
    zoned = [{"name": name, "zone_proxy": kind} for name, kind in zone]
    both = meshed + [each for each in zoned if each["name"] not in mesh]
    for given_groups, proxies in (({"mesh": ["a"]}, meshed), ({"zone": ["a"]}, zoned), ({"mesh": ["a"], "zone": ["a"]}, both)):
        assert fleet(**given_groups, lost=["a"], known=known).hosts() == [{"host": "a", "reachable": False, "proxies": proxies}]


def late(role="kuma_dp", dead=("a-d",), waited=("a-d",), missing=("a-d",), **verdict):
    """What a host has whose proxies did not come into traffic in its join; ``missing`` are those of all hosts."""
    state = {"dead": list(dead), "wait_for": list(waited)}
    found = {"failed": True, "msg": "a: a-d is not in traffic after 120 s: its token is revoked\nlines", **verdict}
    return {**facts(role, **state), f"{role}_seen": {"late": dict.fromkeys(missing, "never connected")}, f"{role}_verdict": found}


def test_a_host_whose_proxies_served_nobody_and_still_do_not_is_no_reason_to_stop_for_others():
    (found,) = fleet(mesh=["a"], lost=["a"], found={"a": late(missing=["a-d", "b"])}).hosts()
    assert found["proxies"] == [{"name": "a-d", "serves": False}]
    assert (found["reachable"], found["late"]) == (True, "its join failed: a: a-d is not in traffic after 120 s: its token is revoked")
    plan = roll_plan.make("restart", [found], roll_settings.Settings(), {})
    assert plan.refused == {"a": found["late"]}
    assert roll_plan.begin(plan, roll_settings.Settings()).abort == ""


@pytest.mark.parametrize(
    "found",
    [
        # It served before the join.
        late(dead=()),
        late(dead=["a-d"], waited=["a-d", "a-e"], missing=["a-d", "a-e"]),
        # The join failed earlier, or because of something else.
        facts("kuma_dp"),
        {},
        late(missing=()),
        # One of the zone proxies was late, so that the other role has not begun, or the other way round.
        late("kuma_zone_proxy", dead=["a-z"], waited=["a-z"], missing=["a-z"]),
        {**late(), **late("kuma_zone_proxy", dead=(), waited=["a-z"], missing=["a-z"])},
    ],
)
def test_a_host_that_the_join_lost_for_another_reason_counts_as_failed(found):
    groups = {"mesh": ["a"], "zone": ["a"] if "kuma_zone_proxy_verdict" in found else []}
    (lost,) = fleet(**groups, lost=["a"], found={"a": found}).hosts()
    assert lost["reachable"] is False


def turned_down(*roles, serves=False, reason="the clock of the VM is about 3 days behind"):
    """What a host has that a plan has refused: its VM was looked at, and nothing was done there."""
    found = {}
    for role in roles:
        name = {"kuma_dp": "a", "kuma_zone_proxy": "a-ingress"}[role]
        found[f"{role}_look"] = {"host": {"proxies": {name: {"serves": serves}}}}
        found[f"{role}_plan"] = {"plan": {"a": {"refused": [reason], "proxies": [{"name": name}]}, "b": {"refused": []}}}
        found[f"{role}_deployed"] = {"failed": True, "msg": reason}
    return found


@pytest.mark.parametrize("serves", [True, False])
def test_a_host_that_the_plan_has_refused_is_no_reason_to_stop_for_others(serves):
    """Such as one whose Dataplane has a foreign owner: that stops its host, and not the fleet."""
    (found,) = fleet(mesh=["a"], lost=["a"], found={"a": turned_down("kuma_dp", serves=serves)}).hosts()
    assert found == {
        "host": "a",
        "reachable": True,
        "proxies": [{"name": "a", "serves": serves}],
        "late": "its join was refused: the clock of the VM is about 3 days behind",
    }
    roll_settings.check_hosts([found])
    plan = roll_plan.make("restart", [found], roll_settings.Settings(), {})
    assert plan.refused == {"a": found["late"]}
    state = roll_plan.begin(plan, roll_settings.Settings())
    assert (state.abort, state.failed, state.dead) == ("", [], [] if serves else ["a"])


def test_a_host_of_both_groups_that_was_refused_once_is_told_with_all_of_its_proxies():
    known = {"a": inventory(kuma_zone_proxy_type="ingress")}
    for roles in (["kuma_dp"], ["kuma_zone_proxy"], ["kuma_dp", "kuma_zone_proxy"]):
        (found,) = fleet(mesh=["a"], zone=["a"], lost=["a"], known=known, found={"a": turned_down(*roles)}).hosts()
        assert [proxy["name"] for proxy in found["proxies"]] == ["a", "a-ingress"]
        assert found["late"] == "its join was refused: the clock of the VM is about 3 days behind"


def test_a_host_that_a_plan_knows_and_has_not_refused_counts_as_failed():
    told = {**turned_down("kuma_dp"), "kuma_dp_plan": {"plan": {"a": {"refused": [], "proxies": [{"name": "a"}]}}}}
    (found,) = fleet(mesh=["a"], lost=["a"], found={"a": told}).hosts()
    assert found["reachable"] is False


def test_a_host_that_nobody_joined_is_not_taken_for_one_without_proxies():
    for found in ({}, facts("kuma_zone_proxy"), {"kuma_dp_deployed": {"failed": True}}):
        with pytest.raises(rolling.NotJoined, match=r"^a has not joined in this play run"):
            fleet(mesh=["a"], zone=["a"], found={"a": found}).hosts()


HOSTS = st.sets(st.sampled_from("abcdef"))


@settings(max_examples=examples(100), deadline=None)
@given(HOSTS, HOSTS, HOSTS)
def test_every_host_that_joined_is_told_once_and_only_those_that_are_there_as_reachable(mesh, zone, lost):
    roles = {name: [role for role, members in (("kuma_dp", mesh), ("kuma_zone_proxy", zone)) if name in members] for name in "abcdef"}
    found = {name: facts(*roles[name], names=[name]) for name in "abcdef"}
    hosts = fleet(mesh=mesh, zone=zone, lost=lost, found=found).hosts()
    assert [each["host"] for each in hosts] == sorted(mesh | zone)
    assert {each["host"] for each in hosts if each["reachable"]} == (mesh | zone) - lost
    for each in hosts:
        assert len(each["proxies"]) == (len(roles[each["host"]]) if each["reachable"] else 1)
        assert ("target_version" in each) == each["reachable"]
    roll_settings.check_hosts(hosts)


def test_what_a_join_says_of_a_proxy_is_what_a_roll_takes():
    """From the VM to the plan of the roll, without anything in between."""
    planned, ingress = proxy(gates=[GATE]), zone_proxy()
    observed = host(proxies={"web-1": seen(lifecycle="direct"), "gate": seen(lifecycle="direct")})
    joined = done.Done(PLACE, observed, [planned], (), False, ())
    zoned = dataclasses.replace(joined, planned=[ingress])
    found = {}
    for role, outcome in (("kuma_dp", joined), ("kuma_zone_proxy", zoned)):
        found[f"{role}_look"] = {"options": {"version": "2.14.3"}}
        state = {"roll": outcome.roll(outcome.pending(), "auto"), "gates": outcome.gates(), "moving": outcome.moving}
        found[f"{role}_deployed"] = {"state": {**state, "dataplanes": dict.fromkeys(outcome.moving, planned["dataplane"])}}
    (told,) = fleet(mesh=["vm"], zone=["vm"], found={"vm": found}).hosts()
    assert [(each["name"], bool(each["pending"]), each.get("zone_proxy")) for each in told["proxies"]] == [
        ("web-1", True, None),
        ("gate", False, "ingress"),
    ]
    assert rolling.moving(found) == {"web-1": planned["dataplane"]}
    assert rolling.gates(found) == [GATE]


def defaults(**changes):
    return {**{key: option.elsewhere for key, option in options.ROLL.items()}, **changes}


def test_without_a_word_the_rules_are_those_that_rollout_has_of_its_own():
    assert roll_settings.read(rolling.settings(defaults())) == roll_settings.Settings()


def test_every_option_of_a_roll_is_a_rule_or_used_otherwise():
    assert options.ROLL.keys() - rolling.settings(defaults()).keys() == {"kind", "before", "after", "resume", "directory"}
    assert rolling.settings(defaults(before="hook.yml"))["hooked"] is True


@pytest.mark.parametrize(("forks", "size", "few"), [(10, 50, False), (9, 50, True), (5, 5, False), (4, 5, True), (0, 0, False)])
def test_few_forks_are_told_where_they_hold_somebody_up(forks, size, few):
    assert bool(rolling.few_forks(forks, 10, size, "kuma_dp_roll_max_in_flight")) is few


@pytest.mark.parametrize(
    ("admission", "away"),
    [
        ({"admitted": True, "outcome": "admitted"}, False),
        ({"admitted": False, "outcome": "deferred"}, True),
        ({"failed": True}, True),
        (None, True),
    ],
)
def test_only_who_was_admitted_is_restarted(admission, away):
    assert (rolling.turned_away({rolling.ADMISSION: admission} if admission else {}) is not None) is away


@pytest.mark.parametrize(
    ("task", "result", "told"),
    [
        ({"name": "Smoke test"}, {"msg": "500"}, "Smoke test: 500"),
        ({"name": "", "action": "ansible.builtin.command"}, {"rc": 1}, "ansible.builtin.command: failed"),
        (None, {}, "a task: failed"),
        ({"name": "Pay", "no_log": True}, {"msg": "geheim"}, "Pay: failed, and why is hidden by no_log"),
        ({"name": "Pay"}, {"msg": "geheim", "_ansible_no_log": True}, "Pay: failed, and why is hidden by no_log"),
        ({"name": "Get"}, {"msg": "https://a:geheim@b: 500"}, "Get: https://(hidden)@b: 500"),
    ],
)
def test_what_went_wrong_is_told_with_its_task(task, result, told):
    assert rolling.problem({"ansible_failed_task": task, "ansible_failed_result": result}) == told


RESULT = {"changed": True, "results": [{"name": "a", "outcome": "restarted"}]}


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ({rolling.RESTARTED: RESULT}, RESULT),
        ({}, {}),
        ({rolling.PROBLEM: {"msg": "Hook: no"}}, {"failed": True, "msg": "Hook: no", "results": []}),
        (
            {rolling.RESTARTED: RESULT, rolling.PROBLEM: {"msg": "Hook: no"}},
            {"failed": True, "msg": "Hook: no", "results": RESULT["results"]},
        ),
    ],
)
def test_a_hook_that_failed_is_a_failure_of_the_host(found, outcome):
    assert rolling.outcome(found) == outcome


OUTCOMES = st.sampled_from(["restarted", "failed", "untouched", "stopped"])


@given(st.lists(st.tuples(OUTCOMES, st.booleans())))
def test_only_what_runs_with_something_new_is_put_back(entries):
    results = [{"name": str(index), "outcome": outcome, "fell_back": back} for index, (outcome, back) in enumerate(entries)]
    assert rolling.renewed({"results": results}) == [str(index) for index, entry in enumerate(entries) if entry == ("restarted", False)]


def test_nothing_is_put_back_where_nothing_is_known():
    assert rolling.renewed({}) == []
    assert rolling.renewed({"results": None}) == []
    assert rolling.renewed({"results": [{"name": "a", "outcome": "restarted"}]}) == ["a"]


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"changed": True, "results": []}, "a was put back to what it ran with before"),
        ({"failed": True, "msg": "no"}, "a runs with what failed, for it could not be put back to what it ran with before: no"),
        ({"unreachable": True, "msg": "away"}, "a runs with what failed, for it could not be put back to what it ran with before: away"),
    ],
)
def test_whether_it_was_put_back_is_said(result, told):
    assert rolling.put_back("a", result) == told
