# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said of a proxy that is not connected: which of the reasons it is, with the variable to change and the remedy."""

from __future__ import annotations

import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import refusals
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import causes

NOW = 1_796_032_864.0  # 2026-11-30T10:01:04Z
CLAIMS = {"Name": "web-1", "Mesh": "default", "exp": NOW + 3600, "nbf": NOW - 5}
RECORDED = json.loads((pathlib.Path(__file__).parents[1] / "vm/refusals-2.14.3.json").read_text(encoding="utf-8"))
UNIT = {"state": "active", "restarts": 0}


def situation(code=None, said="Kuma's words", claims=None, planned=None, vm_time=NOW, **seen):
    refusal = {"code": code, "said": said, "token": code in refusals.TOKEN} if code else None
    token = {"claims": {**CLAIMS, **(claims or {})}, "problem": None}
    found = {"refusal": refusal, "token": token, "unit": UNIT, "serves": False, **seen}
    return causes.Situation(found, {"name": "web-1", "mesh": "default", **(planned or {})}, "https://cp:5678", vm_time, NOW)


def told(*arguments, **facts):
    return causes.of(situation(*arguments, **facts))


@pytest.mark.parametrize(
    ("code", "facts", "what", "remedy"),
    [
        (refusals.EXPIRED, {"claims": {"exp": NOW - 1}}, "its token expired at 2026-11-30T10:01:03Z", causes.AGAIN),
        (refusals.EXPIRED, {"claims": {"exp": "soon"}}, "its token is expired", causes.AGAIN),
        (refusals.EXPIRED, {"claims": {"exp": 10**400}}, "its token is expired", causes.AGAIN),
        (
            refusals.EXPIRED, {}, "the control plane takes its token for expired, which ends at 2026-11-30T11:01:04Z: clocks differ",
            causes.CLOCKS,
        ),
        (refusals.REVOKED, {}, "its token is revoked", causes.AGAIN),
        (refusals.FOREIGN, {"claims": {"Name": "web-2"}}, "its token is one of web-2, expected web-1", causes.AGAIN),
        (
            refusals.FOREIGN, {"claims": {"Zone": "east"}, "planned": {"zone_proxy": "ingress"}},
            "its token is one of zone east (Kuma's words)", causes.AGAIN,
        ),
        (refusals.MESH, {"claims": {"Mesh": "shop"}}, "its token is one of mesh shop, expected default (kuma_dp_mesh)", causes.AGAIN),
        # Another mesh has another key, of the same name.
        (refusals.SIGNATURE, {"claims": {"Mesh": "shop"}}, "its token is one of mesh shop, expected default (kuma_dp_mesh)", causes.AGAIN),
        (refusals.KEY, {"claims": {"Mesh": "shop"}}, "its token is one of mesh shop, expected default (kuma_dp_mesh)", causes.AGAIN),
        (
            refusals.SIGNATURE, {},
            "its token was signed with a key that the control plane does not have, as after its signing key was replaced (Kuma's words)",
            causes.AGAIN,
        ),
        (
            refusals.EARLY, {"claims": {"nbf": NOW + 60}},
            "the control plane takes its token for one of the future, which is valid from 2026-11-30T10:02:04Z: clocks differ", causes.CLOCKS,
        ),
        (
            refusals.CLAIMS, {}, "its token does not allow what it is by kuma_dp_services or kuma_dp_workload: Kuma's words", causes.AGAIN,
        ),
        (refusals.BROKEN, {"token": {"claims": None, "problem": "not a JWT"}}, "its token is none: not a JWT", causes.AGAIN),
        (refusals.BROKEN, {"token": {"claims": None, "problem": None}}, "its token is none: Kuma's words", causes.AGAIN),
        (
            refusals.AUTHORITY, {}, "kuma_dp_control_plane_ca is not the CA of the control plane at https://cp:5678 (Kuma's words)",
            "Set kuma_dp_control_plane_ca to the CA that signed its certificate, and join again.",
        ),
        (
            refusals.PORT, {}, "kuma_dp_control_plane_dp_url, https://cp:5678, has a wrong port: no dp-server is there (Kuma's words)",
            "Set it to the dp-server, which has port 5678 unless the control plane was told another one, and join again.",
        ),
    ],
)  # fmt: skip
def test_which_of_them_it_is_and_what_to_do(code, facts, what, remedy):
    assert told(code, **facts) == (what, remedy)


def test_a_proxy_that_logged_no_reason_has_none():
    assert told() is None


def test_every_code_has_words_of_its_own():
    codes = {value for name, value in vars(refusals).items() if name[0] != "_" and name.isupper() and isinstance(value, str)}
    words = {code: told(code) for code in codes}
    assert all(cause.what and cause.remedy.endswith((".", "?")) for cause in words.values())
    # A signature and a key that is missing come to the same.
    assert len({cause.what for cause in words.values()}) == len(codes) - 1


@pytest.mark.parametrize("case", RECORDED)
def test_what_a_real_one_logged_names_its_variable_or_its_token(case):
    code = RECORDED[case]["code"]
    found = refusals.found(RECORDED[case]["lines"])
    cause = told(code, said=found.said)
    if code in refusals.TOKEN:
        assert "its token" in cause.what
    elif code in (refusals.AUTHORITY, refusals.DATES):
        assert "kuma_dp_control_plane_ca" in cause.what or "certificate" in cause.what
    elif code in (refusals.HOST, refusals.PORT, refusals.UNREACHABLE):
        assert "kuma_dp_control_plane_dp_url, https://cp:5678" in cause.what


@pytest.mark.parametrize(
    ("vm_time", "expected"),
    [
        (NOW, ""),
        (NOW - 30, ""),
        (NOW - 7200, "The clock of the VM is 2h behind that of the controller. "),
        (NOW + 90, "The clock of the VM is 90s ahead of that of the controller. "),
    ],
)
def test_a_clock_that_is_wrong_is_told_whatever_the_reason(vm_time, expected):
    assert told(refusals.DATES, vm_time=vm_time).remedy == expected + "Renew the certificate or set the clock of the VM, and join again."


def test_a_token_that_the_clock_of_the_vm_alone_takes_for_good_is_expired():
    """Its end has passed for everybody else."""
    cause = told(refusals.EXPIRED, claims={"exp": NOW - 60}, vm_time=NOW - 3600)
    assert cause.what == "its token expired at 2026-11-30T10:00:04Z"
    assert "1h behind" in cause.remedy


def test_one_line_says_who_is_late_and_why():
    late = causes.late("vm1", situation(refusals.REVOKED), 120, "never connected")
    assert late == f"vm1: web-1 is not in traffic after 120 s: its token is revoked (never connected). {causes.AGAIN} Its unit is active."
    serving = causes.late("vm1", situation(refusals.REVOKED, serves=True), 120, "not connected since x")
    assert "It still serves with the configuration that it has." in serving
    zone = causes.late("vm1", situation(planned={"zone_proxy": "ingress"}, unit={"state": "failed", "restarts": 2}), 5, "never connected")
    assert zone == "vm1: web-1 is not connected after 5 s: never connected. Its unit is failed, restarted 2 times."


@given(
    st.sampled_from([*refusals.TOKEN, refusals.AUTHORITY, refusals.OTHER, "unheard of"]),
    st.dictionaries(
        st.sampled_from(["Name", "Mesh", "Zone", "exp", "nbf"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(),
    ),
    st.floats(0, 4e9),
)
def test_no_claims_and_no_clock_are_too_strange(code, claims, vm_time):
    cause = told(code, claims=claims, vm_time=vm_time)
    assert cause.what
    assert cause.remedy
