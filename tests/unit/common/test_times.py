# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations, as users and as the API write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import (
    format_duration,
    format_time,
    go_seconds,
    parse_duration,
    parse_seconds,
)


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


@pytest.mark.parametrize(("text", "seconds"), [("30", 30.0), ("0.5", 0.5), ("1m30s", 90.0), ("500ms", 0.5)])
def test_a_number_alone_is_one_of_seconds(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1.2.3", "-1", "10 s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="expected a duration"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5.0), ("1m30s", 90.0), ("1.5h", 5400.0), ("250ms", 0.25), ("20us", 2e-5), ("20µs", 2e-5), ("7ns", 7e-9), ("0s", 0.0)],
)
def test_durations_of_the_api(text, seconds):
    assert go_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "5", "1d", ".5s", " 5s", "5s ", "5 s", "soon", None, 5, True, {"seconds": 5}])
def test_what_is_no_duration_of_the_api_stays_as_it_is(value):
    assert go_seconds(value) is value


def test_times_beyond_the_calendar_are_told_as_numbers():
    assert format_time(1_795_400_000) == "2026-11-23T02:13:20Z"
    assert format_time(1e20) == "epoch second 100000000000000000000"
