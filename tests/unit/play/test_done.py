# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is left to do on a VM after a join: restarts that wait for somebody, and proxies that are waited for."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import reasons
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import done as done_module
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import layout
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.done import Done
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import plan
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.settings import Settings
from tests.unit.play.vm import PLACE, TIME, host, proxy, seen, zone_proxy

PATH = PLACE.dataplane("web-1")


def done(*planned, changed=(), replaced=False, started=(), healed=(), **found):
    """After a join; ``found`` are changes of what the VM shows of every proxy."""
    planned = planned or (proxy(),)
    observed = host(proxies={each["name"]: seen(**found) for each in planned})
    return Done(PLACE, observed, planned, changed, replaced, started, healed)


def why(*planned, **facts):
    """The reasons of the first proxy."""
    found = done(*planned, **facts).pending()
    return found[0]["reasons"] if found else []


@pytest.mark.parametrize(
    ("planned", "facts", "expected"),
    [
        ({}, {}, []),
        ({}, {"changed": [PATH]}, ["Dataplane changed after it was started"]),
        ({"differs": True}, {"changed": [PATH]}, ["Dataplane changed after it was started"]),
        ({"differs": True}, {}, ["the control plane holds another Dataplane than its file"]),
        ({"differs": True, "registered": False}, {}, ["the control plane does not hold its Dataplane"]),
        ({}, {"lifecycle": "indirect"}, ["it runs indirect, direct is wanted"]),
        ({"lifecycle": "indirect"}, {}, ["it runs direct, indirect is wanted"]),
        # An Indirect one does not read its file, and what differs is written to the API.
        ({"lifecycle": "indirect", "differs": True}, {"lifecycle": "indirect", "changed": [PATH]}, []),
    ],
)
def test_what_only_a_restart_changes_is_pending(planned, facts, expected):
    assert why(proxy(**{"lifecycle": "direct", **planned}), **{"lifecycle": "direct", **facts}) == expected


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (PLACE.ca, "CA"),
        (PLACE.environment("web-1"), "environment"),
        (PLACE.token("web-1"), "token"),
        (layout.UNIT, "unit"),
    ],
)
def test_every_file_that_a_proxy_reads_when_it_starts_is_pending_when_it_changes_and_told_once(path, what):
    code = {"CA": reasons.CA, "environment": reasons.ENVIRONMENT, "token": reasons.TOKEN, "unit": reasons.FILE_OF_UNIT}[what]
    expected = [f"{what} changed after it was started"]
    assert why(changed=[path]) == expected
    # As the VM saw it before, when the file was changed by an earlier run.
    assert why(restart_codes=[code]) == expected
    assert why(changed=[path], restart_codes=[code]) == expected
    assert why(changed=[path], unit={"active": False}) == []


@pytest.mark.parametrize("path", [PLACE.outbounds, layout.COVER_UNIT, layout.RESTART_UNIT, PLACE.environment("web-2"), PATH])
def test_what_a_proxy_does_not_read_makes_no_restart_pending(path):
    assert why(changed=[path]) == []


def test_a_token_that_proxies_read_again_needs_no_restart():
    changed, token = [PLACE.token("web-1")], {"present": True, "reloaded": True}
    assert why(changed=changed, token=token) == []
    assert why(changed=[*changed, PLACE.ca], token=token) == ["CA changed after it was started"]
    assert why(changed=changed, token={"present": True, "reloaded": False}) == ["token changed after it was started"]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"version": "2.14.2"}, ["version 2.14.2 runs, 2.14.3 is installed"]),
        ({"version": "2.14.2", "replaced": True}, ["version 2.14.2 runs, 2.14.3 is installed"]),
        # What the VM tells is about what was installed before.
        ({"version": "2.14.2", "restart_codes": [reasons.VERSION]}, ["version 2.14.2 runs, 2.14.3 is installed"]),
        ({"version": "2.14.3", "restart_codes": [reasons.VERSION]}, []),
        ({"replaced": True}, ["its program was replaced"]),
        ({"restart_codes": [reasons.PROGRAM]}, ["its program was replaced"]),
        ({"version": None}, []),
    ],
)
def test_a_proxy_that_runs_another_program_is_pending(facts, expected):
    assert why(**facts) == expected


def test_reasons_are_sorted_and_each_proxy_has_its_own():
    found = done(proxy("a"), proxy("b"), changed=[PLACE.token("b"), PLACE.environment("b")]).pending()
    assert found == [{"name": "b", "reasons": ["environment changed after it was started", "token changed after it was started"]}]


def test_only_a_roll_restarts_a_proxy_that_moves_or_is_held():
    held = proxy("held", hold="held is fenced and Direct")
    moving, plain = proxy("moving"), proxy("plain", lifecycle="direct")
    found = done(held, moving, plain, lifecycle="direct")
    assert found.moving == ["held", "moving"]
    assert found.restartable() == ["plain"]


def test_who_is_waited_for():
    fenced, late, served, begun = proxy("fenced", fenced=True), proxy("late"), proxy("served"), proxy("begun")
    found = done(fenced, late, served, begun, started=["begun", "fenced"])
    assert found.waited_for({"late", "fenced"}) == ["late", "begun"]


def test_a_roll_knows_of_each_proxy_what_it_needs():
    found = done(proxy(hold="no"), version="2.14.2", cover={"possible": False, "reasons": ["little memory"]})
    (told,) = found.roll(found.pending(), "cover")
    assert told == {
        "name": "web-1",
        "address": "10.0.0.11",
        "strategy": "cover",
        "possible": False,
        "reasons": ["little memory"],
        "refuse": "no",
        "direct": False,
        "pending": ["version 2.14.2 runs, 2.14.3 is installed"],
        "version": "2.14.2",
        "serves": True,
        "claims": {"services": ["web"], "workload": "web"},
    }


def test_a_roll_knows_that_the_name_of_a_zone_proxy_stays_busy():
    (told,) = done(zone_proxy(), lifecycle="direct").roll([], "auto")
    assert (told["direct"], told["zone_proxy"]) == (True, "ingress")
    plans = [
        plan.make("restart", [{"host": "gate", "proxies": [{**told, "pending": ["x"], "direct": direct}]}], Settings(), {})
        for direct in (False, True)
    ]
    assert plans[0].seconds < plans[1].seconds


REVOKED = {"code": "revoked", "said": "authentication failed: token is revoked", "token": True}
DEAD = {"serves": False, "connected": False, "refusal": REVOKED}
STALE = {"serves": True, "connected": False, "refusal": REVOKED}


def unit(seconds=3600.0, active=True):
    """Of a proxy that was started so many seconds ago."""
    return {"active": active, "state": "active" if active else "inactive", "enabled": True, "started": TIME - seconds}


@pytest.mark.parametrize(
    ("planned", "facts", "expected"),
    [
        # Whoever is connected, or may serve, is left alone: with something pending or without.
        ({}, {}, False),
        ({"connected": False}, {}, False),
        ({"connected": False}, STALE, False),
        ({"connected": False}, {**STALE, "changed": [PLACE.token("web-1")]}, False),
        ({"connected": False}, {**DEAD, "serves": None, "changed": [PLACE.token("web-1")]}, False),
        ({}, {**DEAD, "changed": [PLACE.token("web-1")]}, False),
        # With what is new for it, at once; without, when patience has not helped.
        ({"connected": False}, {**DEAD, "changed": [PLACE.token("web-1")], "unit": unit(1)}, True),
        ({"connected": False}, {**DEAD, "restart_codes": ["CA"], "unit": unit(1)}, True),
        ({"connected": False}, {**DEAD, "refusal": None, "unit": unit(1)}, False),
        ({"connected": False}, {**DEAD, "refusal": {**REVOKED, "code": "unregistered"}, "unit": unit(1)}, False),
        ({"connected": False}, {**DEAD, "refusal": {**REVOKED, "code": "busy"}, "unit": unit(1)}, False),
        ({"connected": False}, {**DEAD, "unit": unit(31)}, True),
        # Its process was refused, with what was there when it was started.
        ({"connected": False}, {**DEAD, "unit": unit(1)}, True),
        ({"connected": False}, {**DEAD, "refusal": {**REVOKED, "code": "port"}, "unit": unit(1)}, True),
        ({"connected": False}, {**DEAD, "refusal": None}, True),
        # It does not run, and is started anyway.
        ({"connected": False}, {**DEAD, "unit": unit(active=False)}, False),
        # A Direct one would come back without its fence.
        ({"connected": False, "lifecycle": "direct", "hold": "it is fenced"}, {**DEAD, "lifecycle": "direct"}, False),
        # The control plane deletes the Dataplane of one that was Direct a moment ago.
        ({"connected": False}, {**DEAD, "lifecycle": "direct", "unit": unit(1)}, False),
        ({"connected": False}, {**DEAD, "lifecycle": "direct"}, True),
    ],
)
def test_who_serves_nobody_is_healed_and_nobody_else(planned, facts, expected):
    assert done(proxy(**planned), **facts).to_heal() == (["web-1"] if expected else [])


@given(
    active=st.booleans(),
    connected=st.booleans(),
    serves=st.sampled_from([True, False, None]),
    hold=st.sampled_from(["", "no"]),
    seconds=st.sampled_from([0.0, 29.0, 31.0, 1e6]),
    changed=st.booleans(),
    direct=st.booleans(),
    refusal=st.sampled_from([None, REVOKED]),
)
def test_a_restart_by_a_join_takes_nothing_from_anybody(active, connected, serves, hold, seconds, changed, direct, refusal):
    facts = {"serves": serves, "unit": unit(seconds, active), "refusal": refusal, "lifecycle": "direct" if direct else "indirect"}
    found = done(proxy(connected=connected, hold=hold), changed=[PLACE.ca] if changed else [], **facts)
    if found.to_heal():
        assert (active, connected, serves, hold) == (True, False, False, "")
    elif active and not connected and serves is False and not hold:
        assert seconds <= done_module.GRACE
        assert direct or not (changed or refusal)
    # Each is either restarted, waited for, or told as pending.
    healed = found.to_heal()
    after = dataclasses.replace(found, started=healed, healed=healed)
    pending = after.pending()
    if not connected:
        assert [item["name"] for item in pending] + after.waited_for({"web-1"}, pending) + after.healed != []


@pytest.mark.parametrize(
    ("connected", "facts", "expected"),
    [
        (False, DEAD, ["web-1"]),
        # It is killed whenever it starts, or was stopped.
        (False, {**DEAD, "unit": unit(active=False)}, ["web-1"]),
        (True, DEAD, []),
        (False, STALE, []),
        (False, {**DEAD, "serves": None}, []),
    ],
)
def test_who_was_dead_before_the_join_is_known(connected, facts, expected):
    assert done(proxy(connected=connected), **facts).dead() == expected


def test_what_was_healed_is_neither_pending_nor_moving_and_is_waited_for():
    found = done(proxy(connected=False), changed=[PLACE.ca], started=["web-1"], healed=["web-1"], **{**DEAD, "lifecycle": "direct"})
    assert (found.pending(), found.moving) == ([], [])
    assert found.waited_for([]) == ["web-1"]
    (told,) = found.roll([], "auto")
    assert told["serves"] is None


def test_one_that_serves_without_the_control_plane_is_left_to_a_roll_and_not_waited_for():
    found = done(proxy(connected=False), changed=[PLACE.token("web-1")], **STALE)
    found = dataclasses.replace(found, lost={"web-1": "its token is revoked"})
    pending = found.pending()
    assert pending[0]["reasons"] == [
        "it is not connected and serves with what it has (its token is revoked)",
        "token changed after it was started",
    ]
    assert found.waited_for({"web-1"}, pending) == []
    assert found.roll(pending, "auto")[0]["serves"] is True


def test_one_that_lost_the_control_plane_and_has_nothing_pending_is_waited_for():
    """It may come back by itself, as when the control plane was restarted; with a token that proxies read again as well."""
    found = done(proxy(connected=False), **STALE)
    assert (found.pending(), found.waited_for({"web-1"}, [])) == ([], ["web-1"])
    reads_it = {**STALE, "token": {"reloaded": True}}
    found = done(proxy(connected=False), changed=[PLACE.token("web-1")], **reads_it)
    assert (found.pending(), found.waited_for({"web-1"}, found.pending())) == ([], ["web-1"])
    # Neither its Envoy nor its journal says that it has lost the control plane.
    found = done(proxy(connected=False), changed=[PLACE.ca], **{**STALE, "refusal": None, "connected": None})
    assert found.waited_for({"web-1"}, found.pending()) == ["web-1"]


def test_one_whose_journal_does_not_say_why_it_lost_the_control_plane_is_left_to_a_roll_as_well():
    """Access logs have pushed it out. To wait for it would fail each join, and with it each roll."""
    found = done(proxy(connected=False), changed=[PLACE.ca], **{**STALE, "refusal": None})
    pending = found.pending()
    assert pending[0]["reasons"] == [
        "CA changed after it was started",
        "it is not connected and serves with what it has (its journal does not say why)",
    ]
    assert found.waited_for({"web-1"}, pending) == []


def test_others_are_proxies_that_nobody_asked_for():
    observed = host(proxies={name: seen() for name in ("web-1", "gate", "old")})
    assert Done(PLACE, observed, [proxy()], (), False, ()).others(["gate"]) == ["old"]


def test_where_services_are_called_and_where_readiness_is_asked():
    found = done(proxy("a", gates=[{"proxy": "a"}]), proxy("b", outbounds=[{"service": "x", "address": "127.0.0.1", "port": 1}]))
    assert found.outbounds() == {"backend": "127.0.0.1:19524", "x": "127.0.0.1:1"}
    assert found.ready() == {"a": "10.0.0.11:9901", "b": "10.0.0.11:9901"}
    assert found.gates() == [{"proxy": "a"}]
