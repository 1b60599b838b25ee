# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents that recursion, or whoever writes them out, would not survive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import nesting

values = st.recursive(
    st.none() | st.integers() | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4),
)


def children(value):
    return list(value.values() if isinstance(value, dict) else value) if isinstance(value, (dict, list)) else []


def depth(value):
    return 1 + max(map(depth, children(value)), default=0) if isinstance(value, (dict, list)) else 0


def count(value):
    return sum(map(count, children(value))) + isinstance(value, (dict, list))


@given(values, st.integers(1, 8), st.integers(1, 20))
def test_a_document_is_refused_exactly_when_it_is_too_deep_or_too_large(value, deepest, most):
    assert bool(nesting.fault(value, deepest, most)) is (depth(value) > deepest or count(value) > most)


def nested(levels, make=lambda inner: [inner]):
    value = make("x")
    for _each in range(levels - 1):
        value = make(value)
    return value


@pytest.mark.parametrize("make", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: (1, [inner])])
def test_depth_is_no_matter_of_recursion(make):
    assert "deeper than 100 levels" in nesting.fault(nested(200000, make))
    assert nesting.fault(nested(50, make)) == ""


def test_aliases_are_counted_as_often_as_they_stand_for_something():
    laughs = ["lol"] * 9
    for _each in range(9):
        laughs = [laughs] * 9
    assert "larger than 1000000 lists and mappings" in nesting.fault(laughs)
    assert nesting.fault([[1]] * 999_999) == ""
    assert nesting.fault([[1]] * 1_000_000) != ""


def test_a_document_that_is_in_itself_is_too_deep():
    ring = {}
    ring["a"] = [ring]
    assert "deeper" in nesting.fault(ring)
    many = []
    many.extend([many] * 10)
    assert nesting.fault(many) != ""
