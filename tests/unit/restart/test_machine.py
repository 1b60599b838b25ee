# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The restart machine on a simulated VM: somebody serves at every moment, wherever it is killed and whatever does not get ready."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import machine, steps, stop
from tests.examples import examples
from tests.unit.restart.world import NEVER, REQUEST, Hangs, Vm, _World

KILLS = st.frozensets(st.integers(1, 250), max_size=6)
STAGES = ["begin", "clear", "cover", "settle", "drain", "stop", "start", "ready", "fall_back", "stranded", "retire"]


def drained(**changes):
    return Vm(request=dict(REQUEST, strategy="drained", reasons=["no token"]), **changes)


def served_at_the_end(vm):
    return [side for side in ("main", "cover") if getattr(vm, side).serves(vm.time)]


def test_a_restart_under_cover_leaves_no_moment_without_service():
    vm = Vm()
    state = vm.restart()
    assert (state["outcome"], state["strategy"], state["served_by"], state["problem"]) == ("restarted", "cover", "main", None)
    assert (vm.gaps, served_at_the_end(vm), vm.starts) == (0, ["main"], {"main": 1, "cover": 1})
    assert (vm.main.files, state["version"]) == ("target", {"before": "good", "after": "target"})
    assert state["started"] == vm.main.started
    assert set(state["phases"]) == set(steps.PHASES)
    assert min(state["phases"][phase] for phase in ("settle", "ready")) >= steps.SETTLE
    assert "request" not in vm.disk


def test_a_drained_restart_starts_no_cover():
    vm = drained()
    state = vm.restart()
    assert (state["outcome"], state["strategy"], state["reasons"]) == ("restarted", "drained", ["no token"])
    assert (served_at_the_end(vm), vm.starts) == (["main"], {"main": 1, "cover": 0})


@given(KILLS, st.sampled_from([0.3, 3.0, NEVER]))
@settings(max_examples=examples(150))
def test_killed_anywhere_it_goes_on_and_ends_well(kills, idle_after):
    vm = Vm(kills=kills, idle_after=idle_after)
    state = vm.restart()
    assert (state["outcome"], served_at_the_end(vm), vm.gaps) == ("restarted", ["main"], 0)
    assert vm.main.files == "target"
    assert vm.cover.pid == 0
    assert vm.main.pid != vm.first
    assert state["connections_cut"] == (2 if idle_after == NEVER else 0)
    assert "request" not in vm.disk


@given(KILLS, st.sampled_from([1.0, NEVER]), st.sampled_from([1.0, NEVER]), st.sampled_from([1.0, NEVER]), st.booleans(), st.floats(0, 60))
@settings(max_examples=examples(300))
def test_whatever_does_not_get_ready_somebody_serves(kills, cover_takes, target_takes, good_takes, knows_good, away):
    vm = Vm(
        kills=kills,
        cover_takes=cover_takes,
        target_takes=target_takes,
        good_takes=good_takes,
        knows_good=knows_good,
        away_until=1000 + away,
    )
    try:
        state = vm.restart()
    except Hangs:
        # It watches for as long as the proxy does not come back.
        state = vm.load()
        assert state["stage"] == "stranded"
        assert served_at_the_end(vm) == ["cover"]
        assert state["outcome"] == "failed"
        return
    assert served_at_the_end(vm) == ["main"]
    assert vm.cover.pid == 0
    if state["outcome"] == "untouched":
        assert vm.main.pid == vm.first
    elif state["outcome"] == "restarted":
        assert vm.main.files == "target"
        assert not state["fell_back"]
    else:
        assert state["fell_back"] or not knows_good or away


@given(KILLS, st.sampled_from(STAGES), st.sampled_from(["cover_dies_in", "main_dies_in"]), st.booleans())
@settings(max_examples=examples(300))
def test_a_side_that_dies_leaves_the_proxy_running_in_the_end(kills, stage, side, covered):
    vm = (Vm if covered else drained)(kills=kills, **{side: stage})
    state = vm.restart()
    # Its unit starts it again when it died in the end.
    vm._pass(2)
    assert served_at_the_end(vm) == ["main"]
    assert vm.cover.pid == 0
    assert state["outcome"] in ("restarted", "failed", "untouched")
    # Nothing is down for longer than it takes to start a proxy.
    assert vm.gaps < 12


BUSY = st.frozensets(st.tuples(st.integers(1, 40), st.sampled_from(["main", "cover"])), max_size=12)


@given(KILLS, BUSY, st.booleans())
@settings(max_examples=examples(300))
def test_an_admin_interface_that_is_too_busy_to_answer_costs_nothing(kills, busy, dies):
    vm = Vm(kills=kills, busy=busy, main_dies_in="retire" if dies else None)
    state = vm.restart()
    assert served_at_the_end(vm) == ["main"]
    # One that says nothing at any of the first looks does not serve as far as anybody can tell: it is restarted at once.
    assert vm.gaps == 0 or all((look, "main") in busy for look in (1, 2, 3, 4))
    assert state["outcome"] == "restarted" or any((look, "main") in busy for look in (1, 2, 3))


def test_a_cover_that_is_not_ready_leaves_the_proxy_alone():
    vm = Vm(cover_takes=NEVER)
    state = vm.restart()
    assert (state["outcome"], state["served_by"], state["journal"]) == ("untouched", "main", ["the journal of the cover"])
    assert "has no configuration yet" in state["problem"]
    assert (vm.main.pid, vm.starts["main"], vm.cover.pid, vm.gaps) == (vm.first, 0, 0, 0)


def test_a_new_version_that_is_not_ready_makes_way_for_the_old_one():
    vm = Vm(target_takes=NEVER)
    state = vm.restart()
    assert (state["outcome"], state["fell_back"], state["served_by"]) == ("failed", True, "main")
    assert (vm.main.files, vm.files, vm.gaps) == ("good", "good", 0)
    assert state["journal"] == ["the journal of the main"]


def test_a_drained_restart_falls_back_as_well():
    vm = drained(target_takes=NEVER)
    state = vm.restart()
    assert (state["outcome"], state["fell_back"], vm.main.files, served_at_the_end(vm)) == ("failed", True, "good", ["main"])


def test_when_nothing_gets_ready_the_cover_serves_until_the_control_plane_is_back():
    # The cover got ready before the control plane went away.
    vm = Vm(target_takes=100.0, good_takes=100.0)
    state = vm.restart()
    assert (state["outcome"], state["served_by"], served_at_the_end(vm), vm.gaps) == ("failed", "main", ["main"], 0)
    assert any("stranded" in line and "failed" in line for line in vm.log_lines)


def test_the_cover_stays_when_the_proxy_dies_before_it_is_retired():
    vm = Vm(main_dies_in="retire", target_takes=5.0)
    state = vm.restart()
    assert (state["outcome"], served_at_the_end(vm), vm.gaps) == ("restarted", ["main"], 0)
    assert vm.starts["main"] == 1


def test_while_the_cover_serves_alone_the_proxy_is_started_whenever_it_does_not_run():
    vm = Vm(target_takes=NEVER, good_takes=NEVER)
    look = vm.look

    def repaired(stage):
        if stage == "stranded" and vm.good_takes == NEVER:
            vm.good_takes = 1.0
            vm.main = type(vm.main)("failed")
        return look(stage)

    vm.look = repaired
    state = vm.restart()
    assert (state["outcome"], state["served_by"], served_at_the_end(vm), vm.gaps) == ("failed", "main", ["main"], 0)


def test_a_cover_lost_while_the_proxy_drains_makes_it_restart_at_once():
    vm = Vm(cover_dies_in="drain", idle_after=NEVER)
    # The second look of the stage: the proxy accepts nothing any more.
    looks = []
    faults = vm._faults
    vm._faults = lambda stage: (looks.append(stage), faults(stage if looks.count("drain") > 1 else "-"))
    state = vm.restart()
    assert (state["outcome"], state["served_by"], state["cover_lost"], state["connections_cut"]) == ("failed", "main", True, 2)
    assert "lost while the proxy was drained" in state["problem"]
    assert vm.gaps < 2
    assert state["phases"]["drain"] < 2


def test_a_cover_lost_before_the_drain_leaves_the_proxy_alone():
    vm = Vm(cover_dies_in="settle")
    state = vm.restart()
    assert (state["outcome"], vm.main.pid, vm.gaps) == ("untouched", vm.first, 0)


def test_connections_that_stay_open_are_cut_at_the_bound_and_counted():
    state = Vm(idle_after=NEVER).restart()
    assert (state["outcome"], state["connections_cut"], state["cover_connections_cut"]) == ("restarted", 2, 2)
    assert REQUEST["drain_time"] <= state["phases"]["drain"] < REQUEST["drain_time"] + 2


def test_a_proxy_that_does_not_run_is_started():
    vm = Vm()
    vm.stop("main")
    state = vm.restart()
    assert (state["outcome"], state["strategy"], served_at_the_end(vm), vm.starts["cover"]) == ("restarted", "drained", ["main"], 0)
    assert "did not serve" in state["reasons"][0]


def test_a_drained_proxy_is_restarted_and_never_trusted():
    vm = Vm()
    vm.tell("main", "/drain_listeners")
    state = vm.restart()
    assert (state["outcome"], served_at_the_end(vm), vm.main.pid != vm.first) == ("restarted", ["main"], True)


def test_a_cover_that_was_left_behind_is_retired_before_another_one():
    vm = Vm()
    vm.start("cover")
    vm._pass(5)
    state = vm.restart()
    assert (state["outcome"], vm.starts["cover"], vm.gaps) == ("restarted", 2, 0)
    # The control plane keeps its name busy.
    assert state["phases"]["cover"] >= steps.NAME_BUSY - 1


def test_a_cover_that_serves_alone_is_kept_while_the_proxy_is_restarted():
    vm = Vm()
    vm.start("cover")
    vm._pass(5)
    vm.stop("main")
    state = vm.restart()
    assert (state["outcome"], vm.starts, vm.gaps) == ("restarted", {"main": 1, "cover": 1}, 0)


def test_trap_34_the_same_cover_is_not_started_again_within_15_seconds():
    vm = Vm()
    first = vm.restart()
    vm.disk["request"] = '{"id": "r2", "strategy": "auto", "reasons": [], "drain_time": 8.0, "ready_timeout": 20.0, "poll": 0.5}'
    vm.token = True
    second = vm.restart()
    assert (second["request"]["id"], second["outcome"]) == ("r2", "restarted")
    assert second["cover_started"] - first["cover_ended"] >= steps.NAME_BUSY


def test_without_a_request_an_operators_start_restarts_the_proxy():
    vm = Vm(request=None)
    assert (vm.restart()["request"]["id"], vm.starts["main"]) == ("by-hand", 1)


def test_without_a_token_for_a_cover_an_operators_start_drains():
    vm = Vm(request=None)
    vm.token = False
    state = vm.restart()
    assert (state["outcome"], state["strategy"], vm.starts) == ("restarted", "drained", {"main": 1, "cover": 0})


def test_killed_after_its_last_step_it_restarts_nothing_again():
    vm = Vm()
    ended = vm.restart()
    assert vm.token is False
    vm.was_killed = True
    assert machine.Machine(_World(vm)).run() == json.loads(json.dumps(ended))
    assert vm.starts == {"main": 1, "cover": 1}


@pytest.mark.parametrize("stage", STAGES)
def test_a_state_of_an_earlier_boot_is_void(stage):
    vm = Vm(request=None)
    state = {**steps.begin(REQUEST, "boot-0", 5.0, 4.0), "stage": stage}
    assert machine.outcome_of(state, vm.boot) == {"stage": "done", "outcome": "restarted", "problem": machine.BY_REBOOT}
    vm.disk["state"] = json.dumps(state)
    after = vm.restart()
    assert (after["boot"], after["outcome"], after["phases"]["cover"] < 5) == ("boot-1", "restarted", True)


def test_a_cover_that_was_asked_for_and_is_impossible_touches_nothing():
    vm = Vm(request=dict(REQUEST, strategy="cover"))
    look = vm.look
    vm.look = lambda stage: look(stage)._replace(material="there is no token for a cover on this VM")
    state = vm.restart()
    assert (state["outcome"], vm.main.pid, vm.starts) == ("untouched", vm.first, {"main": 0, "cover": 0})
    assert "no token" in state["problem"]


@given(KILLS, st.sampled_from([0.3, NEVER]))
@settings(max_examples=examples(100))
def test_put_back_the_proxy_runs_with_what_it_ran_with_before(kills, idle_after):
    vm = Vm(kills=kills, idle_after=idle_after, request=dict(REQUEST, restore=True))
    vm.files, vm.good, vm.main.files = "target", "earlier", "target"
    state = vm.restart()
    assert (state["outcome"], served_at_the_end(vm), vm.gaps) == ("restarted", ["main"], 0)
    assert (vm.main.files, vm.files) == ("earlier", "earlier")


@pytest.mark.parametrize(("idle_after", "cut"), [(0.3, 0), (NEVER, 2)])
def test_a_proxy_that_leaves_is_drained_and_not_started_again(idle_after, cut):
    vm = drained(idle_after=idle_after)
    assert stop.stop(_Leaving(vm)) == cut
    assert (vm.main.pid, vm.starts, served_at_the_end(vm)) == (0, {"main": 0, "cover": 0}, [])


def test_a_proxy_that_does_not_serve_is_stopped_all_the_same():
    vm = drained()
    vm.main.ready_at = NEVER
    stop.stop(_Leaving(vm))
    assert (vm.main.pid, vm.starts) == (0, {"main": 0, "cover": 0})


def test_a_proxy_that_leaves_and_is_not_stopped_is_told_of():
    vm = drained(refuses=frozenset(["main"]))
    with pytest.raises(
        stop.NotStopped, match=rf"does not stop: its unit is active, with process {vm.first}, .* it is drained and accepts no"
    ):
        stop.stop(_Leaving(vm))
    assert (vm.main.pid, vm.starts) == (vm.first, {"main": 0, "cover": 0})
    # Once systemd does as it is told, another run ends what this one began.
    vm.refuses = frozenset()
    assert stop.stop(_Leaving(vm)) == 0
    assert vm.main.pid == 0


@pytest.mark.parametrize("strategy", ["auto", "drained"])
def test_a_restart_of_what_is_not_stopped_is_told_of_and_ends_once_it_is(strategy):
    vm = Vm(request=dict(REQUEST, strategy=strategy), refuses=frozenset(["main"]), refuses_until=1300.0)
    seen = []
    save = vm.save
    vm.save = lambda state: (seen.append(dict(state)), save(state))
    state = vm.restart()
    told = next(one for one in seen if one["outcome"])
    assert (told["outcome"], told["served_by"]) == ("failed", "cover" if strategy == "auto" else "none")
    assert f"does not stop: its unit is active, with process {vm.first}" in told["problem"]
    assert told["seconds"] < steps.longest(REQUEST["drain_time"], REQUEST["ready_timeout"])
    assert (state["outcome"], state["served_by"], served_at_the_end(vm)) == ("failed", "main", ["main"])
    assert vm.gaps == 0 or strategy == "drained"


class _Leaving:
    """The simulated VM without a file, as _restart_stop.Leaving has none."""

    said = ""

    def __init__(self, vm):
        self._vm = vm

    def request(self):
        return dict(REQUEST, strategy="drained")

    def load(self):
        return None

    def save(self, state):
        return

    def __getattr__(self, name):
        return getattr(self._vm, name)
