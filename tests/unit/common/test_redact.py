# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is hidden in texts of others."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import is_secret_name, redact
from tests.unit.common.test_jwt import jwt


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
