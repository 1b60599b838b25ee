# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The search for tokens finds them: a test that finds nothing is worth as much as this."""

from __future__ import annotations

import base64
import json

import jwt
import pytest

from tests.lab import canary

TOKEN = jwt.encode({"Name": "web-1-cover", "exp": 1_800_000_000}, "secret" * 8, algorithm="HS256").encode()


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc", b'{"content": "'])
@pytest.mark.parametrize("wrap", [lambda text: text, base64.b64encode, lambda text: json.dumps({"a": text.decode()}).encode()])
def test_a_token_is_found_where_it_is_and_in_base64_wherever_it_begins(before, wrap):
    assert canary.holds_token(b"noise " + wrap(before + TOKEN + b'"}') + b" noise")


@pytest.mark.parametrize("data", [b"", b"eyJ", TOKEN[:20], base64.b64encode(TOKEN[:40]), b"A" * 500, b"eyJhbGciOiJIUzI1NiJ9 alone"])
def test_nothing_else_is_taken_for_one(data):
    assert not canary.holds_token(data)
