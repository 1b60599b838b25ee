# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a proxy gets no configuration, by what real ones logged: kuma-dp and Envoy of Kuma 2.14.3, with a control plane that refused them."""

from __future__ import annotations

import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import refusals
from tests.unit.vm.test_proxy import jwt

RECORDED = json.loads(pathlib.Path(__file__).with_name("refusals-2.14.3.json").read_text(encoding="utf-8"))
ADS = "[2026-11-30 10:00:00.000][7][warning][config] [x.h:189] StreamAggregatedResources gRPC config stream to ads_cluster "
HDS = "[2026-11-30 10:00:00.000][7][warning][upstream] [x.cc:349] StreamHealthCheck gRPC config stream "
START = "2026-11-30T10:00:00.000Z\tINFO\tkuma-dp.run\tstarting Data Plane\t{}"
CONFIGURED = "[2026-11-30 10:00:00.000][7][info][upstream] [x.cc:109] lds: add/update listener 'inbound:10.0.0.1:8080'"
ENDED = ADS + "closed: 13, upstream_reset_after_response_started{connection_termination}"
REVOKED = ADS + "closed: 2, authentication failed: token is revoked{via_upstream}"
AWAY = HDS + "closed: 14, upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"


def code(*lines):
    found = refusals.found(lines)
    return found and found.code


@pytest.mark.parametrize("case", RECORDED)
def test_what_real_ones_logged_is_understood(case):
    recorded = RECORDED[case]
    found = refusals.found([START, *recorded["lines"]])
    assert found is not None
    assert found.code == recorded["code"]
    assert len(found.said) <= refusals.SAID
    # Who asks which it is gets no second line, and nothing about databases in memory.
    assert not set(found.said) & {"\n", "\t"}
    assert "in-memory" not in found.said


def test_every_code_but_two_was_recorded():
    codes = {value for name, value in vars(refusals).items() if name[0] != "_" and name.isupper() and isinstance(value, str)}
    assert codes - {recorded["code"] for recorded in RECORDED.values()} == {refusals.BUSY, refusals.OTHER}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Before 2.14, and with a database that is not in memory.
        ("authentication failed: could not parse token: token has invalid claims: token is not valid yet", refusals.EARLY),
        ("authentication failed: could not parse token: token has invalid claims: token is expired", refusals.EXPIRED),
        (
            'authentication failed: there is no signing key with KID 2. GlobalSecret of name "zone-token-signing-key-2" is not found',
            refusals.KEY,
        ),
        ("authentication failed: zone from requestor: east is different than in token: west", refusals.FOREIGN),
        (
            "authentication failed: token cannot be used to authenticate zone entity (egress is out of token's scope: [ingress])",
            refusals.CLAIMS,
        ),
        ('authentication failed: dataplane workload "a" is not allowed with this token. Allowed workload in token is "b"', refusals.CLAIMS),
        ("there is already an active stream from this node, try again later", refusals.BUSY),
        ("authentication failed: could not check if the token is revoked: connection pool is closed", refusals.OTHER),
        (
            "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:_certificate_has_expired:TLS_error_end",
            refusals.DATES,
        ),
        ("TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify_SAN_list:TLS_error_end", refusals.HOST),
        ("TLS_error:|268435703:SSL_routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end", refusals.PORT),
        ("unexpected status code: 503", refusals.OTHER),
    ],
)
def test_what_was_not_recorded_is_understood_by_what_the_source_says(text, expected):
    assert refusals.classified(text).code == expected
    assert code(f"{ADS}closed: 2, {text}{{via_upstream}}") == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], None),
        (["nothing to see"], None),
        ([REVOKED], refusals.REVOKED),
        ([ADS + "closed since 38s ago: 2, authentication failed: token is revoked{via_upstream}"], refusals.REVOKED),
        # What it was before stands in the same line.
        (
            [HDS + "closed: 2, authentication failed: token is revoked{via_upstream} (previously 14, upstream connect error since 5s ago)"],
            refusals.REVOKED,
        ),
        (
            [AWAY, HDS + "closed: 14, upstream connect error (previously 2, authentication failed: token is revoked since 5s ago)"],
            refusals.UNREACHABLE,
        ),
        # It was accepted since, began anew, or got a configuration.
        ([REVOKED, ENDED], None),
        ([REVOKED, START], None),
        ([REVOKED, CONFIGURED], None),
        ([ENDED, REVOKED], refusals.REVOKED),
        # A control plane that goes away then does not make the token a good one.
        ([REVOKED, AWAY], refusals.REVOKED),
        ([AWAY, REVOKED], refusals.REVOKED),
        ([REVOKED, ENDED, AWAY], refusals.UNREACHABLE),
        ([REVOKED, HDS + "closed: 2, authentication failed: token is expired{via_upstream}"], refusals.EXPIRED),
        # Whoever is told to stop says so at last.
        ([REVOKED, "Error: Failed to fetch Envoy bootstrap config. context canceled"], refusals.REVOKED),
    ],
)
def test_the_last_line_that_tells_decides(lines, expected):
    assert code(*lines) == expected


def test_nothing_that_a_terminal_would_obey_is_told():
    assert (
        refusals.classified("authentication failed: \x1b[2Jtoken\x07 is\x00 revoked").said == "authentication failed: [2Jtoken is revoked"
    )


def test_no_token_is_told():
    assert jwt() not in refusals.classified(f"authentication failed: {jwt()} is no token").said


@given(
    st.lists(
        st.text(max_size=200)
        | st.sampled_from([REVOKED, AWAY, ENDED, START, ADS + "closed: 2, ", 'could not fetch bootstrap configuration {"err": ']),
        max_size=12,
    )
)
def test_no_journal_is_too_strange(lines):
    found = refusals.found(lines)
    assert found is None or (found.code and len(found.said) <= refusals.SAID)


@given(st.lists(st.sampled_from([REVOKED, AWAY, ENDED, START, CONFIGURED, "noise"]), max_size=12))
def test_only_what_was_said_since_it_was_accepted_counts(lines):
    last = max((index for index, line in enumerate(lines) if line in (ENDED, START, CONFIGURED)), default=-1)
    since = lines[last + 1 :]
    assert code(*lines) == (refusals.REVOKED if REVOKED in since else refusals.UNREACHABLE if AWAY in since else None)
