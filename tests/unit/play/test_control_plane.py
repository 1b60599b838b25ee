# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of role kuma_cp: all are read, none that is secret is told, and what follows from them."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane import check
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import control_plane, controller
from tests.unit import parsed
from tests.unit.play.control_planes import CA, GIVEN, PASSWORD, POSTGRES, ROLE, options_of, wanted

SPECS = parsed.file(ROLE / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]


def test_every_option_of_the_role_is_read_and_no_other():
    assert {option.variable for option in control_plane.CONTROL_PLANE.values()} == set(SPECS)


def test_texts_of_the_command_line_have_the_types_of_an_inventory():
    found = options_of(http_port="6681", create_default_mesh="no", version=2.14, postgres_password=None, config=None, dp_port="x")
    assert (found["http_port"], found["create_default_mesh"], found["version"], found["postgres_password"]) == (6681, False, "2.14", "")
    # For the check to refuse.
    assert (found["config"], found["dp_port"]) == ({}, "x")


def test_what_the_plan_looks_at_has_every_option_and_no_secret():
    own = options_of(**{**POSTGRES, **GIVEN})
    told = control_plane.told(own, {"tls_ca": "no.pem", "tls_key": "a key without its first line"})
    for secret in (PASSWORD, "PRIVATE KEY", "a key without its first line", "MIIB"):
        assert secret not in str(told)
    assert (told["postgres_password_given"], told["postgres_password_printable"], told["tls_ca_missing"]) == (True, True, "no.pem")
    for option in control_plane.CONTROL_PLANE:
        assert option in told or f"{option}_given" in told, option
    # Nothing that the check reads is missing, and it is content where nothing is wrong.
    assert check.problems("cp", control_plane.told(own, {})) == []
    assert check.problems("cp", control_plane.told(options_of(), {})) == []
    assert len(check.problems("cp", told)) == 2


@pytest.mark.parametrize(
    ("password", "expected"),
    [("", "postgres_password is missing"), ("a\nb", "postgres_password has a line break"), ("a\x07b", "has a line break or a control")],
)
def test_a_password_that_does_not_fit_into_a_line_is_refused_and_not_shown(password, expected):
    (problem,) = check.problems("cp", control_plane.told(options_of(**{**POSTGRES, "postgres_password": password}), {}))
    assert expected in problem
    assert not password or password not in problem


def test_a_value_of_the_environment_is_not_shown_either():
    (problem,) = check.problems("cp", control_plane.told(options_of(environment={"KUMA_A": "geheim", "KUMA_B": "ge\nheim"}), {}))
    assert problem == "cp: kuma_cp_environment has a line break or a control character in KUMA_B, expected one line"


def test_pem_text_and_files_are_told_apart(tmp_path):
    (tmp_path / "ca.pem").write_text(CA)
    (tmp_path / "key.der").write_bytes(b"\x30\x82\xff")
    values = {"tls_cert": CA, "tls_key": str(tmp_path / "key.der"), "tls_ca": "ca.pem", "postgres_ca": "no.pem", "none": ""}
    texts, missing = controller.pem_texts(values, [str(tmp_path)])
    assert texts == {"tls_cert": CA, "tls_ca": CA, "none": ""}
    assert missing == {"tls_key": str(tmp_path / "key.der"), "postgres_ca": "no.pem"}


@pytest.mark.parametrize("missing", GIVEN)
def test_a_certificate_is_given_with_its_key_and_its_ca_or_it_is_the_role_s_own(missing):
    own, other = wanted(), wanted(**GIVEN)
    assert (own.given, own.certificate, own.key) == (False, "/etc/kuma-cp/tls/server.pem", "/etc/kuma-cp/tls/server-key.pem")
    assert (other.given, other.certificate, other.key) == (True, "/etc/kuma-cp/tls/given.pem", "/etc/kuma-cp/tls/given-key.pem")
    assert not wanted(**{**GIVEN, missing: ""}).given


@pytest.mark.parametrize(
    ("names", "host"),
    [(["kuma.example.com", "10.0.0.5"], "kuma.example.com"), (["10.0.0.5"], "10.0.0.5"), (["fd00::5", "kuma"], "[fd00::5]")],
)
def test_it_is_reached_by_its_first_name(names, host):
    found = wanted(names=names, https_port=6682, dp_port="6678")
    assert (found.url, found.dp_url) == (f"https://{host}:6682", f"https://{host}:6678")


def test_a_certificate_of_its_own_is_for_its_names_and_for_the_role_that_asks_over_loopback():
    assert wanted(names=["kuma", "127.0.0.1"]).names == ["kuma", "127.0.0.1", "localhost"]
    assert wanted(tls_valid_days="90").signing() == {
        "directory": "/etc/kuma-cp/tls",
        "names": ["10.0.0.5", "localhost", "127.0.0.1"],
        "subject": "kuma-cp cp",
        "group": "kuma-cp",
        "valid_days": 90,
        "renew_before_days": 60,
    }


def test_the_summary_says_where_everything_is_and_no_secret():
    found = wanted(**POSTGRES).summary(["restarted"])
    assert found == {
        "version": "2.13.10",
        "api": "https://10.0.0.5:6682",
        "proxies": "https://10.0.0.5:6678",
        "store": "postgres",
        "actions": ["restarted"],
        "files": "/home/me/kuma",
    }
    assert wanted(fetch_dir="").summary([])["files"] == "not wanted"
