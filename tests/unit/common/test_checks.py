# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a value may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks


@given(st.integers())
def test_a_port_is_a_number_or_its_digits(number):
    assert checks.port_of(number) == checks.port_of(str(number)) == (number if 1 <= number <= 65535 else None)
    assert checks.is_port(number) is (1 <= number <= 65535)


@pytest.mark.parametrize("value", ["", " 80", "80 ", "8_0", "0x50", "80.0", 80.0, 80.5, True, None, [80], "\u0668", "9" * 5000])
def test_what_is_no_port(value):
    assert checks.port_of(value) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [("10.0.0.1", True), ("::1", True), ("fe80::1", True), ("10.0.0", False), ("10.0.0.1/24", False), ("web-1", False), ("", False)],
)
def test_addresses(text, found):
    assert checks.is_ip(text) is found


@pytest.mark.parametrize(("text", "found"), [("0.0.0.0", True), ("::", True), ("*", True), ("", True), ("127.0.0.1", False)])
def test_who_listens_everywhere(text, found):
    assert checks.is_wildcard(text) is found


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("team", "a", True),
        ("team", "", True),
        ("example.com/team", "a.b_c-1", True),
        ("team", "-a", False),
        ("team", "a" * 64, False),
        ("a" * 64, "a", False),
        ("/team", "a", False),
        ("Example.com/team", "a", False),
        ("example.com/", "a", False),
    ],
)
def test_labels(key, value, found):
    assert checks.is_label(key, value) is found


@pytest.mark.parametrize(
    ("name", "found"),
    [("a", True), ("a-1", True), ("a" * 63, True), ("a" * 64, False), ("1a", False), ("a-", False), ("A", False), ("", False)],
)
def test_names_that_kuma_3_0_takes(name, found):
    assert checks.is_rfc1035(name) is found


@pytest.mark.parametrize(("text", "found"), [("web", True), ("Web_1.a:b-c", True), ("a/b", False), ("", False), ("a\n", False)])
def test_values_of_tags(text, found):
    assert checks.is_tag_value(text) is found
