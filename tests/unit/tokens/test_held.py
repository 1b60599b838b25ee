# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which tokens proxies hold, which others of theirs may be revoked, and how long a fleet has left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import held
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import DATAPLANE, ZONE, Entry
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.renewal import Before

NOW = 1_800_000_000.0
DAY = 86400


def entry(jti, name="web-1", time=0, end=NOW + 10 * DAY, **more):
    return Entry(jti, more.pop("sort", DATAPLANE), name, more.pop("mesh", "default"), int(end), "vm1", int(time), **more)


def claims(jti, name="web-1", end=NOW + 10 * DAY, **more):
    return {"jti": jti, "Name": name, "Mesh": "default", "exp": end, "iat": NOW - 20 * DAY, **more}


def holder(jti="now", name="web-1", **more):
    settled = {"seen": True, "running": True, "connected": True, "claims": claims(jti, name)}
    return held.Holder(name, "vm1", "default", **{**settled, **more})


@pytest.mark.parametrize(
    ("entries", "before", "expected"),
    [
        ([entry("a"), entry("b"), entry("now")], {}, ["a", "b"]),
        # One that was issued behind it may be on its way.
        ([entry("a"), entry("now"), entry("next")], {}, ["a"]),
        ([entry("now")], {}, []),
        ([], {}, []),
        # Without a ledger it is what the VM held when the play began.
        ([], claims("old"), ["old"]),
        ([entry("a"), entry("old"), entry("now")], claims("old"), ["a", "old"]),
        ([entry("now")], claims("now"), []),
        # That of another proxy, or mesh, or sort.
        ([entry("a", "web-2"), entry("b", mesh="other"), entry("c", sort=ZONE, mesh=""), entry("now")], {}, []),
        # Somebody else issued what the VM holds: older is what was written before it begins.
        ([entry("a", time=NOW - 21 * DAY), entry("b", time=NOW - 1)], {}, ["a"]),
    ],
)
def test_what_was_replaced(entries, before, expected):
    assert held.replaced(holder(before=before), held.Book(entries)) == expected


def test_what_others_may_hold_as_well_is_not_revoked_when_one_of_them_gets_another():
    """Nobody is named by a token of a zone, and the one that was made by hand is on the VMs of all its zone proxies."""
    gate = {"zone": True, "seen": True, "claims": {"jti": "now", "Zone": "z", "Scope": ["ingress"]}}
    by_hand = held.Holder("gate", "vm1", "default", before={"jti": "old", "Zone": "z", "Scope": ["ingress"]}, **gate)
    known = [entry(jti, "gate", sort=ZONE, mesh="") for jti in ("old", "now")]
    assert held.replaced(by_hand, held.Book(known[1:])) == []
    assert held.replaced(by_hand, held.Book(known)) == ["old"]


@given(st.lists(st.sampled_from(["a", "b", "c", "now"]), max_size=8), st.sampled_from(["web-1", "web-2"]))
def test_what_a_vm_holds_is_never_among_what_was_replaced(ids, name):
    found = held.replaced(holder(), held.Book(entry(jti, name) for jti in ids))
    assert "now" not in found
    assert len(found) == len(set(found))
    assert name == "web-1" or found == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (claims("mine"), "mine"),
        # What the user of the service writes there is not taken for granted: another one's, or the list of somebody else's.
        (claims("theirs"), ""),
        (claims("mine", "web-2"), ""),
        (claims("mine", ""), ""),
        (claims("a,b"), ""),
        (claims(" a"), ""),
        (claims(None), ""),
        ({}, ""),
        # A zone token has no name.
        ({"jti": "zone", "Zone": "z1", "Scope": ["ingress"]}, "zone"),
    ],
)
def test_a_vm_can_have_its_own_token_revoked_and_no_other(given, expected):
    assert held.own_id(given, "web-1", held.Book([entry("theirs", "web-2"), entry("mine")])) == expected


def test_all_tokens_of_a_proxy_are_those_of_the_ledger_of_its_covers_and_on_its_vm():
    entries = held.Book([entry("a"), entry("cover", "web-1-cover"), entry("x", "web-2"), entry("z", sort=ZONE, mesh="")])
    assert held.all_of(holder("vm", before=claims("old")), entries) == ["a", "cover", "vm", "old"]
    assert held.all_of(holder(claims={}), entries) == ["a", "cover"]
    assert held.all_of(holder(claims={}, name="nobody"), held.Book([])) == []
    gate = held.Holder("gate", "vm9", "default", zone=True, claims={"jti": "g", "Scope": ["ingress"]})
    assert held.all_of(gate, held.Book([entry("e", "gate", sort=ZONE, mesh=""), entry("d", "gate")])) == ["e", "g"]
    assert (gate.list, holder().list) == ("zone-token-revocations", "dataplane-token-revocations-default")


def test_who_is_settled():
    assert holder().settled
    assert not any(holder(**{what: False}).settled for what in ("seen", "running", "connected"))
    assert not holder(claims={}).settled


def test_ends_are_known_from_the_ledger_alone():
    assert held.ends(held.Book([entry("a", end=5), entry("b", end=0)])) == {"a": 5.0, "b": 0.0}


def left(*holders, entries=(), before="2d"):
    return held.left(holders, held.Book(entries), Before(2 * DAY) if before == "2d" else before, NOW)


def test_one_line_says_how_long_the_fleet_has_left():
    found = left(holder(), holder(name="web-2", claims=claims("x", end=NOW + 3.9 * DAY)))
    assert found == ("The fleet has 3 days left: the token of web-2 (vm1) ends first, at 2027-01-19T05:36:00Z.", [])
    assert left(holder(claims=claims("x", end=NOW + 1.5 * DAY))).line.startswith("The fleet has 1 day left: ")
    assert left(holder(claims=claims("x", end=NOW - DAY))).line.startswith("The fleet has 0 days left: ")


@pytest.mark.parametrize(
    ("given", "entries", "problem"),
    [
        (holder(claims=claims("x", end=NOW + DAY)), [], "too soon: web-1 (vm1) at 2027-01-16T"),
        (holder(claims=claims("x", end=NOW - 1)), [], "too soon: web-1 (vm1) at"),
        (holder(claims={}), [entry("a")], "nothing is known of the tokens of web-1 (vm1)"),
        # Of a VM that was not reached the ledger knows something.
        (holder(seen=False, claims={}), [entry("a", end=NOW + DAY)], "too soon: web-1 (vm1) at"),
        (holder(seen=False, claims={}), [entry("a", end=NOW + DAY), entry("b", end=NOW + 9 * DAY)], ""),
        (holder(seen=False, claims={}), [], "nothing is known of the tokens of web-1 (vm1)"),
        (holder(seen=False, claims={}), [entry("a", end=0)], "nothing is known of the tokens of web-1 (vm1)"),
    ],
)
def test_what_is_not_enough(given, entries, problem):
    found = left(given, entries=entries).problems
    assert found[0].startswith(problem) if problem else found == [], found


def test_what_was_not_due_when_the_play_began_is_none_of_its_faults():
    slow = holder(claims=claims("x", end=NOW + 2 * DAY - 60))
    assert held.left([slow], held.Book([]), Before(2 * DAY), NOW).problems != []
    assert held.left([slow], held.Book([]), Before(2 * DAY), NOW, NOW - 3600).problems == []
    ended = holder(claims=claims("x", end=NOW - 1))
    assert held.left([ended], held.Book([]), Before(), NOW, NOW - 3600).problems != []


def test_a_share_of_the_lifetime_counts_also_for_what_the_ledger_knows():
    young, old = entry("a", time=NOW - DAY, end=NOW + 9 * DAY), entry("a", time=NOW - 9 * DAY, end=NOW + DAY)
    unseen = holder(seen=False, claims={})
    assert left(unseen, entries=[young], before=Before(share=0.5)).problems == []
    assert left(unseen, entries=[old], before=Before(share=0.5)).problems != []


def test_a_fleet_of_nobody_is_no_fleet_with_time():
    assert left() == ("Nobody knows how long the fleet has left.", ["there is no proxy"])
