# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of role kuma_cp: each bad value is found, named, and told what was expected."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane import check

GOOD = {
    "names": ["kuma.example.com", "10.0.0.5", "fd00::5", "*.example.com"],
    "zone": "default",
    "http_address": "127.0.0.1",
    "http_port": 5681,
    "https_address": "0.0.0.0",
    "https_port": 5682,
    "dp_port": 5678,
    "install_dir": "/opt/kuma",
    "config_dir": "/etc/kuma-cp",
    "user": "kuma-cp",
    "group": "kuma-cp",
    "store": "memory",
    "postgres_host": "127.0.0.1",
    "postgres_port": 5432,
    "postgres_db": "kuma",
    "postgres_user": "kuma",
    "postgres_password_given": False,
    "postgres_password_printable": True,
    "postgres_tls_mode": "disable",
    "postgres_ca_given": False,
    "postgres_ca_missing": "",
    "tls_cert_given": False,
    "tls_key_given": False,
    "tls_ca_given": False,
    "tls_valid_days": 825,
    "tls_renew_before_days": 60,
    "localhost_is_admin": True,
    "log_level": "info",
    "config": {},
    "environment": {},
    "wait_timeout": 120,
}
POSTGRES = {**GOOD, "store": "postgres", "localhost_is_admin": False, "postgres_password_given": True}
PEM = {"tls_cert_given": True, "tls_key_given": True, "tls_ca_given": True}


@pytest.mark.parametrize(
    "variables", [GOOD, POSTGRES, {**GOOD, **PEM}, {**POSTGRES, "postgres_tls_mode": "verifyFull", "postgres_ca_given": True}]
)
def test_good_variables_have_no_problems(variables):
    assert check.problems("kuma-1", variables) == []


BAD = [
    (GOOD, {"names": []}, "names is []"),
    (GOOD, {"names": "kuma"}, "names is 'kuma'"),
    (GOOD, {"names": ["https://kuma"]}, "names has 'https://kuma', expected"),
    (GOOD, {"names": ["kuma:5678"]}, "names has 'kuma:5678'"),
    (GOOD, {"names": ["Kuma"]}, "names has 'Kuma'"),
    (GOOD, {"names": ["1.2.3"]}, "names has '1.2.3'"),
    (GOOD, {"names": [5]}, "names has 5"),
    (GOOD, {"names": ["*.a.b", "c"]}, "names begins with '*.a.b'"),
    (GOOD, {"names": ["a", "a"]}, "each name once"),
    (GOOD, {"zone": "Zone 1"}, "zone is 'Zone 1'"),
    (GOOD, {"http_port": 0}, "http_port is 0"),
    (GOOD, {"https_port": 65536}, "https_port is 65536"),
    (GOOD, {"dp_port": True}, "dp_port is True"),
    (GOOD, {"https_port": 443}, "https_port is 443, expected one from 1024 on"),
    (GOOD, {"https_port": 5681}, "https_port is 5681, which is already the port of kuma_cp_http_port"),
    (GOOD, {"dp_port": 5680}, "already the port of diagnostics.serverPort"),
    (
        GOOD,
        {"config": {"diagnostics": {"serverPort": 5678}}},
        "dp_port is 5678, which is already the port of diagnostics.serverPort in kuma_cp_config",
    ),
    (GOOD, {"http_address": "10.0.0.5"}, "http_address is '10.0.0.5'"),
    (GOOD, {"https_address": "kuma"}, "https_address is 'kuma'"),
    (GOOD, {"install_dir": "opt"}, "install_dir is 'opt'"),
    (GOOD, {"install_dir": "/opt"}, "install_dir is '/opt'"),
    (GOOD, {"config_dir": "/etc/kuma cp"}, "config_dir is '/etc/kuma cp'"),
    (GOOD, {"config_dir": "/etc/../root"}, "config_dir is"),
    (GOOD, {"user": "root"}, "user is 'root'"),
    (GOOD, {"group": "0"}, "group is '0'"),
    (GOOD, {"group": "kuma cp"}, "group is 'kuma cp', expected the name of a user or group"),
    (GOOD, {"user": "-r"}, "user is '-r'"),
    (GOOD, {"store": "etcd"}, "store is 'etcd', expected memory or postgres"),
    (GOOD, {"localhost_is_admin": False}, "localhost_is_admin is false with kuma_cp_store memory"),
    (POSTGRES, {"postgres_host": ""}, "postgres_host is ''"),
    (POSTGRES, {"postgres_db": "a b"}, "postgres_db is 'a b'"),
    (POSTGRES, {"postgres_user": ""}, "postgres_user is ''"),
    (POSTGRES, {"postgres_port": "x"}, "postgres_port is 'x'"),
    (
        POSTGRES,
        {"postgres_tls_mode": "require"},
        "postgres_tls_mode is 'require', expected disable or verifyNone or verifyCa or verifyFull",
    ),
    (POSTGRES, {"postgres_tls_mode": "verifyCa"}, "postgres_ca is missing"),
    (POSTGRES, {"postgres_password_given": False}, "postgres_password is missing"),
    (POSTGRES, {"postgres_password_printable": False}, "postgres_password has a line break"),
    (POSTGRES, {"postgres_ca_missing": "no.pem"}, "postgres_ca is 'no.pem', expected PEM text, or a file"),
    (GOOD, {"tls_cert_given": True}, "missing: kuma_cp_tls_key and kuma_cp_tls_ca"),
    (GOOD, {**PEM, "tls_key_missing": "no.pem"}, "tls_key is 'no.pem'"),
    (GOOD, {"tls_valid_days": 3651}, "tls_valid_days is 3651"),
    (GOOD, {"tls_renew_before_days": 825}, "tls_renew_before_days is 825"),
    (GOOD, {"log_level": "warn"}, "log_level is 'warn'"),
    (GOOD, {"wait_timeout": 0}, "wait_timeout is 0"),
    (GOOD, {"config": {"mode": "global"}}, "config has mode"),
    (GOOD, {"config": {"multizone": {"zone": {"globalAddress": "grpcs://x"}}}}, "config has multizone.zone.globalAddress"),
    (GOOD, {"config": {"store": {"postgres": {"password": "x"}}}}, "expected kuma_cp_postgres_password"),
    (GOOD, {"environment": {"a-b": 1}}, "environment has 'a-b'"),
    (GOOD, {"environment": {"KUMA_STORE_TYPE": "memory"}}, "expected kuma_cp_store"),
    (GOOD, {"environment": {"KUMA_X": "a\nb"}}, "environment has a line break or a control character in KUMA_X"),
]


@pytest.mark.parametrize(("good", "change", "expected"), BAD, ids=[item[2][:40] for item in BAD])
def test_a_bad_value_is_one_problem_with_host_and_variable(good, change, expected):
    (problem,) = check.problems("kuma-1", {**good, **change})
    assert problem.startswith("kuma-1: kuma_cp_")
    assert expected in problem


def test_a_port_that_is_moved_away_is_free():
    moved = {"config": {"diagnostics": {"serverPort": 6680}}, "dp_port": 5680}
    assert check.problems("kuma-1", {**GOOD, **moved}) == []


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), st.one_of(st.none(), st.text(), st.integers(), st.booleans()), max_size=4))
def test_no_value_makes_it_fail(changes):
    # Options of a type that Ansible checks before are left alone.
    changes = {key: value for key, value in changes.items() if key not in ("config", "environment")}
    for problem in check.problems("kuma-1", {**GOOD, **changes}):
        assert problem.startswith("kuma-1: kuma_cp_")


def test_what_is_unwise_is_told():
    assert "forgets signing keys" in check.warnings("kuma-1", GOOD)[0]
    assert "use verifyFull" in check.warnings("kuma-1", {**POSTGRES, "postgres_host": "db"})[0]
    assert check.warnings("kuma-1", POSTGRES) == []
    assert "plain text" in check.warnings("kuma-1", {**POSTGRES, "http_address": "0.0.0.0"})[0]


@given(st.text(string.ascii_letters + string.digits + ".-_*:/ ", max_size=30))
def test_a_name_never_breaks_out_of_the_list_of_openssl(text):
    if check.is_name(text):
        assert "," not in text
        assert "/" not in text
        assert " " not in text
