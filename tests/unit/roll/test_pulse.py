# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances that died without a word: who is asked, who counts as lost, and that nobody is restarted meanwhile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import pulse as roll_pulse
from tests.unit.http_server import Answer

NAMES = ["web-1", "web-2", "web-3", "web-4"]
ANSWERS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([roll_pulse.ALIVE, roll_pulse.SILENT, roll_pulse.UNKNOWN]))
KNOWN = {"web": {name: name for name in NAMES}}


def after(*rounds):
    pulse = roll_pulse.nothing()
    for now, answers in enumerate(rounds, start=1):
        pulse = roll_pulse.update(pulse, answers, float(now))
    return pulse


@given(st.lists(ANSWERS, max_size=8))
def test_only_who_answered_before_can_be_lost(rounds):
    alive = {name for answers in rounds for name, answer in answers.items() if answer == roll_pulse.ALIVE}
    lost = roll_pulse.lost(after(*rounds), KNOWN["web"])
    assert lost <= alive
    for name in lost:
        last = [answers[name] for answers in rounds if answers.get(name, roll_pulse.UNKNOWN) != roll_pulse.UNKNOWN][-1]
        assert last == roll_pulse.SILENT


@given(st.lists(ANSWERS, max_size=8), st.sets(st.sampled_from(NAMES)), st.floats(0, 100))
def test_whoever_holds_up_a_restart_is_asked_or_is_being_restarted(rounds, flying, now):
    pulse = after(*rounds)
    unheard = roll_pulse.unheard(pulse, KNOWN, ["web"], flying, now)
    assert set(unheard) <= set(roll_pulse.due(pulse, KNOWN, flying, now)), "the roll would wait for an answer that nobody asks for"
    assert not set(unheard) & flying


def test_who_cannot_be_asked_holds_up_nobody():
    denied = after(dict.fromkeys(NAMES, roll_pulse.DENIED))
    assert roll_pulse.unheard(denied, KNOWN, ["web"], set(), 1000.0) == []
    assert roll_pulse.due(denied, KNOWN, set(), 1000.0) == {}
    mute = after(dict.fromkeys(NAMES, roll_pulse.SILENT))
    assert roll_pulse.unheard(mute, KNOWN, ["web"], set(), 1000.0) == []
    assert roll_pulse.lost(mute, KNOWN["web"]) == set()


def test_a_roll_does_not_wait_for_ever_for_one_of_whom_nothing_is_learnt():
    unknown = dict.fromkeys(NAMES, roll_pulse.UNKNOWN)
    alive = dict.fromkeys(NAMES, roll_pulse.ALIVE)
    assert roll_pulse.unheard(after(*[unknown] * (roll_pulse.PATIENCE - 1)), KNOWN, ["web"], set(), 1000.0) == NAMES
    assert roll_pulse.unheard(after(alive, *[unknown] * roll_pulse.PATIENCE), KNOWN, ["web"], set(), 1000.0) == []
    assert roll_pulse.unheard(after(unknown, unknown, alive, unknown), KNOWN, ["web"], set(), 1000.0) == NAMES


def test_an_instance_is_asked_where_it_is_connected():
    def overview(name, online=True):
        inbound = {"port": 8080, "tags": {"kuma.io/service": "web"}}
        subscription = {"connectTime": "then", **({} if online else {"disconnectTime": "now"})}
        return {"name": name, "dataplane": {"networking": {"inbound": [inbound]}}, "dataplaneInsight": {"subscriptions": [subscription]}}

    found = roll_pulse.siblings(
        [
            overview("web-1"),
            overview("web-1-cover"),
            overview("web-2", online=False),
            overview("web-2-cover"),
            overview("web-3", online=False),
        ],
        {"web"},
    )
    assert found == {"web": {"web-1": "web-1", "web-2": "web-2-cover"}}
    many = [overview(f"web-{number}") for number in range(roll_pulse.MOST + 1)]
    assert roll_pulse.siblings(many, {"web"}) == {}


@pytest.mark.parametrize("cover", [False, True])
def test_an_instance_without_power_counts_although_the_control_plane_says_it_is_connected(rolling, monkeypatch, cover):
    monkeypatch.setattr(roll_pulse, "AGAIN", 0.1)
    monkeypatch.setattr(roll_pulse, "AGE", 0.5)
    roll = rolling()
    roll.start(roll.hosts("web-1", "web-2", cover=cover))
    roll.through("web-1")
    roll.mesh.disconnect("web-4", goodbye=False)
    assert roll.mesh.serves("web-4")
    answer = roll.admit("web-2")
    assert answer.outcome == "deferred"
    assert "1 of 4 instances of web do not serve (web-4), 1 may" in answer.reason
    assert "web-4 answered before and not any more" in answer.reason
    roll.mesh.connect("web-4")
    again = rolling(roll.mesh)
    again.start(again.hosts("web-2", cover=cover))
    again.through("web-2")


def test_a_token_that_may_not_ask_rolls_as_before(rolling):
    roll = rolling()
    roll.mesh.way.refuse = {("GET", "/clusters"): Answer(403, b'{"title": "Access Denied"}', "application/json")}
    roll.start(roll.hosts("web-1", "web-2", cover=False))
    roll.through("web-1")
    roll.through("web-2")
    assert "failed" not in roll.finish()
