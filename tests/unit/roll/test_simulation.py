# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole rolls in virtual time, with whatever can go wrong: no budget is exceeded, nobody waits forever."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import settings as roll_settings
from tests.examples import examples
from tests.unit.roll.world import INGRESS, Faults, Vm, World, percent

SERVICES = ["api", "db", "web", INGRESS]
SHARES = st.sampled_from(["1", "2", "10%", "25%", "40%", "100%"])


@st.composite
def fleets(draw):
    return [
        Vm(
            f"vm-{index:02}",
            draw(st.lists(st.sampled_from(SERVICES), min_size=1, max_size=2, unique=True)),
            cover=draw(st.booleans()),
            seconds=draw(st.sampled_from([0.5, 3.0, 10.0])),
            end=draw(st.sampled_from(["ok", "ok", "ok", "ok", "failed", "dead", "lost"])),
            before=draw(st.sampled_from([0.0, 0.0, 1.0, 7.0])),
            absent=draw(st.sampled_from([False] * 9 + [True])),
            version=draw(st.sampled_from(["2.14.3", "2.14.3", "2.13.10"])),
            begins=draw(st.sampled_from(["connected"] * 4 + ["stale", "unserving"])),
        )
        for index in range(draw(st.integers(1, 14)))
    ]


@st.composite
def faults_of(draw, vms):
    foreign = draw(st.dictionaries(st.sampled_from(SERVICES), st.integers(0, 5)))
    names = [vm.name for vm in vms] + [f"foreign-{service}-{index}" for service, number in foreign.items() for index in range(number)]
    return Faults(
        foreign,
        draw(
            st.lists(
                st.tuples(st.sampled_from([0, 5, 20, 40]), st.sampled_from([3, 30, 400])).map(lambda p: (p[0], p[0] + p[1])), max_size=1
            )
        ),
        draw(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(names), st.booleans()), max_size=5)),
        draw(st.none() | st.sampled_from([0.5, 5.0, 15.0, 40.0])),
    )


ROLLS = st.builds(
    roll_settings.Settings,
    limit=SHARES,
    budget=SHARES,
    canaries=st.integers(0, 2),
    soak=st.sampled_from([0.0, 5.0]),
    stages=st.sampled_from([(), ("5%", "20%"), ("1", "50%")]),
    max_in_flight=st.sampled_from([1, 2, 10]),
    max_failures=st.sampled_from(["0", "1", "20%", "100%"]),
    allow_singleton=st.booleans(),
    pause_timeout=st.sampled_from([20.0, 1000.0]),
)


@settings(max_examples=examples(250))
@given(data=st.data(), vms=fleets(), roll=ROLLS, forks=st.sampled_from([1, 2, 3, 5, 50]), seed=st.integers(0, 3))
def test_whatever_happens_budgets_hold_and_every_roll_ends(data, vms, roll, forks, seed):
    world = World(vms, roll, forks, data.draw(faults_of(vms)), seed)
    state = world.run()
    assert set(world.outcome) == set(world.vms) or world.epochs > 1
    for host, outcome in world.outcome.items():
        assert outcome in ("done", "failed", "refused", "absent"), (host, outcome)
    # Without an abort nobody who could be rolled was left out for anything but a service that is sick, or alone.
    assert len(world.state.failed) <= percent(roll.max_failures, state.size) or state.abort


@settings(max_examples=examples(120))
@given(vms=fleets(), roll=ROLLS, forks=st.sampled_from([1, 2, 50]), seed=st.integers(0, 3))
def test_without_faults_everybody_is_rolled_with_any_number_of_forks(vms, roll, forks, seed):
    roll = dataclasses.replace(roll, allow_singleton=True)
    for vm in vms:
        vm.end, vm.absent = "ok", False
    world = World(vms, roll, forks, seed=seed)
    world.run()
    assert set(world.outcome.values()) == {"done"}, world.outcome
    assert sorted(world.admissions) == sorted(world.vms)


@settings(max_examples=examples(120))
@given(vms=fleets(), roll=ROLLS, forks=st.sampled_from([1, 2, 50]), seed=st.integers(0, 3))
def test_who_serves_nobody_and_cannot_be_healed_keeps_nobody_from_being_covered(vms, roll, forks, seed):
    roll = dataclasses.replace(roll, max_failures="0")
    for vm in vms:
        vm.absent, vm.cover, vm.end = False, True, "dead" if vm.begins == "unserving" else "ok"
    world = World(vms, roll, forks, seed=seed)
    state = world.run()
    assert world.outcome == {vm.name: "failed" if vm.end == "dead" else "done" for vm in vms}
    assert (state.abort, state.failed) == ("", [])


def test_who_serves_nobody_counts_for_a_drained_restart_as_already_out():
    vms = [Vm(f"vm-{index}", ["web"], cover=False, begins="unserving" if index == 3 else "connected") for index in range(4)]
    vms[3].end = "dead"
    world = World(vms, roll_settings.Settings(budget="1"), forks=4)
    state = world.run()
    assert world.admissions == ["vm-3"]
    assert state.abort == ""
    assert sorted(world.outcome.items()) == [("vm-0", "refused"), ("vm-1", "refused"), ("vm-2", "refused"), ("vm-3", "failed")]
    # With a budget for two, the others follow one after the other.
    world = World(vms, roll_settings.Settings(budget="2"), forks=4)
    world.run()
    assert sorted(world.outcome.items()) == [("vm-0", "done"), ("vm-1", "done"), ("vm-2", "done"), ("vm-3", "failed")]


def test_a_fleet_that_lost_the_control_plane_is_rolled_like_any_other():
    """Its certificate was replaced: everybody serves with what there is, and nobody is connected."""
    for cover in (True, False):
        vms = [Vm(f"vm-{index}", ["web"], cover=cover, begins="stale") for index in range(8)]
        world = World(vms, roll_settings.Settings(), forks=8)
        world.run()
        assert set(world.outcome.values()) == {"done"}
        assert len(world.admissions) == 8


def test_a_failure_stops_the_roll_and_later_hosts_are_refused():
    vms = [Vm(f"vm-{index}", ["web"], end="failed" if index == 0 else "ok") for index in range(8)]
    world = World(vms, roll_settings.Settings(), forks=4)
    state = world.run()
    assert world.admissions == ["vm-0"]
    assert state.abort == "1 failed (vm-0), max_failures is 0"
    assert list(world.outcome.values()).count("refused") == 7


def test_a_dead_controller_is_continued_where_it_was():
    vms = [Vm(f"vm-{index}", ["web"], cover=False) for index in range(8)]
    world = World(vms, roll_settings.Settings(soak=0.0), forks=4, faults=Faults(death=12.0))
    world.run()
    assert world.epochs == 2
    assert world.pending == set()
    assert sorted(world.admissions) == sorted(world.vms), "a host was restarted twice"
    assert all(world.serving.values())


def test_an_instance_that_was_lost_counts_while_it_is_restarted_again():
    """The control plane may still see it serve, and a restart under cover takes nothing from who serves."""
    vms = [Vm(f"vm-{index}", ["web"], cover=index == 0, seconds=0.5, end="lost" if index == 0 else "ok") for index in range(6)]
    given = roll_settings.Settings(limit="2", budget="1", canaries=0, soak=0.0, stages=(), max_in_flight=2, max_failures="1")
    World(vms, given, forks=2, faults=Faults(death=5.0)).run()


def test_what_an_earlier_run_left_in_the_middle_and_serves_waits_while_others_are_down():
    vms = [
        Vm(f"vm-{index}", ["api"], cover=index == 3, seconds=10.0 if index == 3 else 0.5, end="failed" if index == 3 else "ok")
        for index in range(4)
    ]
    given = roll_settings.Settings(limit="1", budget="1", canaries=0, soak=0.0, stages=(), max_in_flight=1, max_failures="1")
    world = World(vms, given, forks=1, faults=Faults(flips=[(6, "vm-0", False)], death=15.0))
    world.run()
    assert world.epochs == 2
    assert world.admissions.count("vm-3") == 1
    assert world.outcome["vm-3"] == "refused"


def test_a_long_outage_stops_the_roll():
    vms = [Vm(f"vm-{index}", ["web"]) for index in range(4)]
    world = World(vms, roll_settings.Settings(pause_timeout=30.0), forks=4, faults=Faults(outages=[(2, 200)]))
    state = world.run()
    assert "has not answered for 30 s" in state.abort
    assert world.outcome["vm-0"] == "done"
