# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision whether a token is still good."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import renewal
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
