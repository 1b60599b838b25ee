# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims, durations and the decision whether a token is still good."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_duration, parse_duration, parse_seconds
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import renewal as _tokens

NOW = 1_795_400_000
GOOD = {"Name": "web-1", "Mesh": "default", "Tags": {}, "Workload": "", "exp": NOW + 1000}
WANTED = {"name": "web-1", "mesh": "default"}


def jwt(claims):
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJSUzI1NiJ9.{part}.c2lnbmF0dXJl"


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.lists(st.text()))))
def test_claims_are_decoded_whatever_their_padding(claims):
    assert decode_claims(f" {jwt(claims)}\n") == claims


def refusal(text):
    try:
        return None if isinstance(decode_claims(text), dict) else "no claims"
    except ValueError as exc:
        return exc


@given(st.one_of(st.text(), st.text().map("a.{}.c".format), st.binary().map(lambda part: f"a.{base64.urlsafe_b64encode(part).decode()}.c")))
def test_text_that_is_no_token_is_refused_without_its_causes(text):
    """A cause would hold a part of the text, and a traceback would show it."""
    refused = refusal(text)
    if refused is not None:
        assert str(refused).startswith("not a JWT: ")
        assert refused.__suppress_context__ or refused.__context__ is None


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c.d", "a.!!!.c", "a.eyJ9.c", jwt([1]), "a.\xff.c"])
def test_what_is_no_token(text):
    with pytest.raises(ValueError, match="not a JWT"):
        decode_claims(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("720h", 2592000), ("30d", 2592000), ("1h30m", 5400), ("45s", 45), ("500ms", 0.5), ("1.5h", 5400), (" 2m ", 120), ("0s", 0)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "30", "h", "30 d", "-1h", "1w", "1h 30m", "1h30", "x1h", "99999999999h", "\u0661h"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@given(st.integers(1, 10**9))
def test_a_formatted_duration_is_the_same_one_without_days(seconds):
    text = format_duration(seconds)
    assert parse_duration(text) == seconds
    assert "d" not in text


def test_days_are_sent_as_hours():
    assert format_duration(parse_duration("30d")) == "720h"


def test_a_good_token_is_kept():
    assert _tokens.needs_renewal(GOOD, WANTED, NOW, 999) is None
    assert _tokens.needs_renewal(dict(GOOD, Tags=None, Workload=None), dict(WANTED, tags={}, workload=""), NOW, 0) is None


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
    assert reason in _tokens.needs_renewal(current, {**WANTED, **wanted}, NOW, 100)


@given(st.permutations(["a", "b", "c"]))
def test_the_order_of_tag_values_does_not_matter(values):
    claims = dict(GOOD, Tags={"team": values})
    assert _tokens.needs_renewal(claims, dict(WANTED, tags={"team": ["a", "b", "c"]}), NOW, 0) is None


@given(
    st.one_of(st.none(), st.dictionaries(st.sampled_from(["Name", "Mesh", "Workload", "Tags", "exp", "nbf"]), st.integers() | st.text())),
    st.floats(0, 1e12),
)
def test_strange_claims_are_a_reason_and_no_crash(claims, before):
    reason = _tokens.needs_renewal(claims, WANTED, NOW, before)
    assert reason is None or reason


@pytest.mark.parametrize(("text", "seconds"), [("30", 30.0), ("0.5", 0.5), ("1m30s", 90.0), ("500ms", 0.5)])
def test_a_number_alone_is_one_of_seconds(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1.2.3", "-1", "10 s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="expected a duration"):
        parse_seconds(text)
