# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is hidden in texts of others."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import (
    HIDDEN,
    forms,
    is_secret_name,
    redact,
    redact_document,
    shown_url,
    without,
)
from tests.unit.common.test_jwt import jwt
from tests.unit.vm.hostile import no_waiting

# Fixtures are found by their names.
__all__ = ["no_waiting"]


def test_redaction_hides_tokens_keys_and_secrets_and_nothing_else():
    key = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"
    text = f"A_TOKEN=abcdef\nTOKEN_PATH=/etc/token\nDB_PASSWORD = geheim\n{key}\nbearer {jwt({'Name': 'web-1'})} end\nplain"
    shown = redact(text)
    for secret in ("abcdef", "geheim", "abc\n", "eyJ"):
        assert secret not in shown
    assert "TOKEN_PATH=/etc/token" in shown
    assert shown.endswith("end\nplain")


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("KUMA_API_TOKEN", True),
        ("db_password", True),
        ("AWS_ACCESS_KEY", True),
        ("PRIVATEKEY", True),
        ("kuma_dp_token_signing_key", True),
        ("kuma_dp_token_signing_key_file", False),
        # Where a secret is may be told.
        ("KUMA_DATAPLANE_RUNTIME_TOKEN_PATH", False),
        ("KUMA_DATAPLANE_NAME", False),
    ],
)
def test_names_of_secrets(name, secret):
    assert is_secret_name(name) is secret


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@mirror.example.com/kuma.tar.gz", "https://(hidden)@mirror.example.com/kuma.tar.gz"),
        ("see http://token@[::1]:80/x, and https://a.example.com/@b", "see http://(hidden)@[::1]:80/x, and https://a.example.com/@b"),
        ("https://u:p@ss@mirror.example.com/a@b", "https://(hidden)@mirror.example.com/a@b"),
        ("kuma-dp@web-1.service, me@example.com", "kuma-dp@web-1.service, me@example.com"),
    ],
)
def test_the_user_of_a_url_is_hidden(text, shown):
    assert redact(text) == shown


@given(
    st.sampled_from(["https://", "http:/", "//", ""]), st.text("geheim:/?#@", min_size=6), st.sampled_from(["cp:5678", "cp:x/y", "[::1"])
)
def test_of_what_is_before_the_host_of_a_url_nothing_is_shown(scheme, user, place):
    assume(not (scheme == "http:/" and user.startswith("/")))
    assert shown_url(scheme + user + "@" + place) == scheme * (scheme == "https://") + "(hidden)@" + place
    assert shown_url("https://" + place + "?" + user.replace("@", "")) == f"https://{place}?..."


@pytest.mark.parametrize("value", ["one", "|\n    line one\n\n    line two", "'line one\n\n    line two'", '"a\\nline two"'])
def test_values_of_yaml_are_hidden_with_all_their_lines(value):
    shown = redact_document(f"a: 1\nstore:\n  password: {value}\n  user: kuma\n- adminToken: true\n  token:\n    path: /x\n")
    assert shown == "a: 1\nstore:\n  password: (hidden)\n  user: kuma\n- adminToken: true\n  token:\n    path: /x\n"


def test_a_message_that_begins_with_the_name_of_an_option_is_no_yaml():
    assert redact("token: not a JWT") == "token: not a JWT"


@given(st.text("AB\n\"'\\\té", min_size=6), st.sampled_from([str, repr, json.dumps]), st.text("xyz "))
def test_a_value_is_found_as_it_is_and_as_others_write_it(secret, write, around):
    left = without(around + write(secret) + around, [secret])
    assert not [form for form in forms(secret) if form in left.replace(HIDDEN, "")]


def as_they_were_found(text):
    """The same with one expression each, which take hours for some texts."""
    text = re.sub(r"eyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*){1,2}", HIDDEN, text)
    return re.sub(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#@\"']*@", rf"\1{HIDDEN}@", text)


@given(st.lists(st.sampled_from(["eyJ", "eyJabcde", "a", ".", "..", "-", "xyz12", " ", "ü"])).map("".join))
def test_every_token_is_found_wherever_it_begins(text):
    assert redact(text) == as_they_were_found(text)


@given(st.lists(st.sampled_from(["http", "://", "a", "@", ":", "/", " ", "+", "."])).map(" ".join))
def test_every_user_of_a_url_is_found(text):
    text = text.replace(" :// ", "://").replace(" @ ", "@")
    shown = redact(text)
    assert as_they_were_found(shown) == shown


@pytest.mark.parametrize("function", [redact, redact_document])
@pytest.mark.parametrize(
    "part",
    [
        "A",
        " ",
        "eyJ",
        "eyJaaaaaa.",
        "a.+-",
        "a://",
        "a:",
        "-----BEGIN ",
        "-----BEGIN A PRIVATE KEY-----",
        "-----END ",
        "export ",
        "A=\t ",
        "- ",
        "A\n",
    ],
)
def test_no_line_of_a_journal_is_looked_through_for_ever(function, part):
    """Whoever a unit runs as logs what it likes, and root shows it. Looked at once for each place of it, this takes minutes."""
    text = part * (100_000 // len(part))
    assert function(text) is not None
