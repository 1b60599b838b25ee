# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims of tokens."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims, key_id


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


@pytest.mark.parametrize(("header", "kid"), [({"kid": "2"}, "2"), ({"kid": 2}, ""), ({}, "")])
def test_the_header_names_the_key(header, kid):
    part = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    assert key_id(f"{part}.e30.c2ln\n") == kid


@pytest.mark.parametrize("text", ["", "a.b", "%.e30.x", "W10.e30.x"])
def test_a_header_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r"^not a JWT: "):
        key_id(text)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "9" * 101, "9" * 1_000_000])
def test_numbers_that_nobody_can_reckon_with_are_refused(number):
    part = base64.urlsafe_b64encode(f'{{"exp": {number}}}'.encode()).decode().rstrip("=")
    assert refusal(f"a.{part}.c").args[0].startswith("not a JWT: ")
