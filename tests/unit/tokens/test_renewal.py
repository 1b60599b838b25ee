# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision whether a token is still good."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import held, issue, renewal
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.renewal import Before

NOW = 1_795_400_000
GOOD = {"Name": "web-1", "Mesh": "default", "Tags": {}, "Workload": "", "exp": NOW + 1000}
WANTED = {"name": "web-1", "mesh": "default"}


def test_a_good_token_is_kept():
    assert renewal.needs_renewal(GOOD, WANTED, NOW, Before(999)) is None
    assert renewal.needs_renewal(dict(GOOD, Tags=None, Workload=None), dict(WANTED, tags={}, workload=""), NOW, Before()) is None


@pytest.mark.parametrize(
    ("claims", "wanted", "reason"),
    [
        (None, {}, "there is no token"),
        ({"Name": "web-2"}, {}, "name is web-2, expected web-1"),
        ({"Name": ""}, {}, "name is not bound, expected web-1"),
        ({"Mesh": "other"}, {}, "mesh is other, expected default"),
        ({}, {"workload": "web"}, "workload is not bound, expected web"),
        ({"Workload": "web"}, {}, "workload is web, expected not bound"),
        ({"Tags": {"team": ["a"]}}, {}, "tags differ"),
        ({}, {"tags": {"team": ["a"]}}, "tags differ"),
        ({"exp": NOW}, {}, "expired at 2026-11-23T"),
        ({"exp": NOW + 100}, {}, "expires at 2026-11-23T"),
        ({"exp": None}, {}, "names no end"),
        ({"exp": True}, {}, "names no end"),
        ({"exp": NOW + 10**7, "nbf": NOW + 7200}, {}, "not valid before"),
    ],
)
def test_why_a_token_is_replaced(claims, wanted, reason):
    current = None if claims is None else {**GOOD, **claims}
    assert reason in renewal.needs_renewal(current, {**WANTED, **wanted}, NOW, Before(100))


@given(st.permutations(["a", "b", "c"]))
def test_the_order_of_tag_values_does_not_matter(values):
    claims = dict(GOOD, Tags={"team": values})
    assert renewal.needs_renewal(claims, dict(WANTED, tags={"team": ["a", "b", "c"]}), NOW, Before()) is None


@given(
    st.one_of(st.none(), st.dictionaries(st.sampled_from(["Name", "Mesh", "Workload", "Tags", "exp", "nbf"]), st.integers() | st.text())),
    st.floats(0, 1e12),
)
def test_strange_claims_are_a_reason_and_no_crash(claims, before):
    reason = renewal.needs_renewal(claims, WANTED, NOW, Before(before))
    assert reason is None or reason


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("168h", Before(168 * 3600.0)),
        (" 7d ", Before(168 * 3600.0)),
        ("25%", Before(share=0.25)),
        ("12.5 %", Before(share=0.125)),
        ("all", Before(always=True)),
    ],
)
def test_what_is_due_is_said_as_a_time_or_as_a_share(text, before):
    assert renewal.parse_before(text) == before


@pytest.mark.parametrize("text", ["", "%", "-5%", "1000%", "a quarter", "5", "ALL"])
def test_anything_else_is_refused_with_both_forms(text):
    with pytest.raises(ValueError, match=r"expected a duration such as .*, or a share of the lifetime such as 25%"):
        renewal.parse_before(text)


@pytest.mark.parametrize(
    ("left", "iat", "before", "due"),
    [
        (100, NOW - 300, Before(share=0.25), True),
        (101, NOW - 300, Before(share=0.25), False),
        # Without a beginning nobody knows how long it was to live.
        (10**6, None, Before(share=0.25), True),
        (10**6, None, Before(100), False),
        (10**6, NOW, Before(always=True), True),
        (10**6, NOW, Before(), False),
    ],
)
def test_when_a_token_is_due(left, iat, before, due):
    assert bool(renewal.ending({"exp": NOW + left, "iat": iat}, NOW, before)) is due


@given(st.integers(1, 10**7), st.floats(0, 1), st.integers(0, 10**7))
def test_a_token_is_due_from_some_moment_on_and_stays_so(lifetime, share, at):
    claims, before = {"iat": NOW, "exp": NOW + lifetime}, Before(share=share)
    if renewal.ending(claims, NOW + at, before):
        assert renewal.ending(claims, NOW + at + 1, before)
    assert bool(renewal.ending(claims, NOW, before)) is (share >= 1)


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.floats(0, 2))
def test_what_would_be_replaced_in_every_run_is_what_is_due_at_once(validity, seconds, share):
    before = Before(seconds, share)
    claims = {"iat": NOW, "exp": NOW + validity}
    assert before.of_new(validity) is (validity <= seconds or share >= 1)
    if before.of_new(validity):
        assert renewal.ending(claims, NOW, before)


LIMITLESS = st.sampled_from([10**400, -(10**400), float("inf"), float("-inf"), float("nan"), 1e300, 10**12])


@given(LIMITLESS)
def test_a_time_without_limits_is_none(value):
    """JSON and Python's reader of it know such numbers, and whoever may write on a VM can put them into the token there."""
    assert renewal.number(value) is None


@given(st.sampled_from(["exp", "iat", "nbf"]), LIMITLESS, st.sampled_from([Before(100), Before(share=0.3)]))
def test_a_token_with_such_times_does_not_stop_what_is_done_for_all_others(claim, value, before):
    claims = {**GOOD, "iat": NOW - 100, "jti": "x", claim: value}
    reason = renewal.needs_renewal(claims, WANTED, NOW, before)
    assert reason or claim != "exp"
    holder = held.Holder("web-1", "vm1", "default", seen=True, claims=claims, before=claims)
    assert held.left([holder], held.Book([]), before, NOW).line
    assert held.replaced(holder, held.Book([])) == []
    wish = issue.Wish("web-1", "default", {"validFor": "1h"}, claims, reason)
    assert bool(issue.diff_lines([wish])["before"]) == bool(reason)
