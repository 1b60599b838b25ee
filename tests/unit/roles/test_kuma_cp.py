# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The templates of role kuma_cp as functions of its variables: sorted, complete, and without a secret where it does not belong."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane import check
from tests.unit.roles.template_renderer import Renderer
from tests.unit.roles.test_kuma_dp import directives

ROLE = pathlib.Path(__file__).parents[3] / "roles/kuma_cp"
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
SPECS = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
POSTGRES = {
    "kuma_cp_store": "postgres",
    "kuma_cp_postgres_host": "db.example.com",
    "kuma_cp_postgres_password": "very-secret",
    "kuma_cp_postgres_tls_mode": "verifyFull",
    "kuma_cp_postgres_ca": CA,
    "kuma_cp_localhost_is_admin": False,
}
renderers = []


@pytest.fixture(scope="module", autouse=True)
def _renderer():
    renderers.append(Renderer())
    yield
    renderers.pop().close()


def render(template, **variables):
    """The text of a template with the defaults of the role, the derived values that it needs, and ``variables``."""
    given = {key: value for key, value in variables.items() if not key.endswith("_missing")}
    values = {
        **DEFAULTS,
        "kuma_cp_version": "2.14.3",
        "kuma_cp_names": ["10.0.0.5"],
        "kuma_cp_localhost_is_admin": True,
        "kuma_cp_archive_cache": "/cache",
        "kuma_cp_archive_source": "/cache/kuma.tar.gz",
        "kuma_cp_unit_path": "/etc/systemd/system/kuma-cp.service",
        "kuma_cp_state_dir": "/var/lib/kuma-cp",
        "kuma_cp_config_path": "/etc/kuma-cp/kuma-cp.yaml",
        "kuma_cp_version_dir": "/opt/kuma/2.14.3",
        "kuma_cp_tls_dir": "/etc/kuma-cp/tls",
        "kuma_cp_tls_given": False,
        "kuma_cp_tls_cert_path": "/etc/kuma-cp/tls/server.pem",
        "kuma_cp_tls_key_path": "/etc/kuma-cp/tls/server-key.pem",
        "kuma_cp_postgres_ca_path": "/etc/kuma-cp/tls/postgres-ca.pem",
        "kuma_cp_pem": {"text": {"postgres_ca": CA}, "missing": {}},
        "kuma_cp_plan": {"checksum": "ab" * 32},
        "kuma_cp_search_dirs": [str(ROLE)],
        "ansible_search_path": [str(ROLE)],
        "role_path": str(ROLE),
        **given,
    }
    return renderers[0](template, values)


def config(**variables):
    return yaml.safe_load(render("kuma-cp.yaml.j2", **variables))


def files(**variables):
    return json.loads(render("files.json.j2", **variables))


def test_by_default_it_serves_one_zone_from_memory_and_reports_nothing():
    found = config()
    assert (found["mode"], found["environment"], found["store"]) == ("zone", "universal", {"type": "memory"})
    assert found["multizone"] == {"zone": {"name": "default"}}
    assert found["reports"] == {"enabled": False}
    assert found["defaults"] == {"skipMeshCreation": False}
    assert found["dpServer"] == {"port": 5678, "hds": {"enabled": True}}
    assert found["apiServer"]["http"] == {"enabled": True, "interface": "127.0.0.1", "port": 5681}
    assert found["general"]["tlsKeyFile"] == "/etc/kuma-cp/tls/server-key.pem"


def test_further_settings_win_and_leave_the_others():
    found = config(
        kuma_cp_config={"apiServer": {"readOnly": True, "http": {"port": 6681}}, "xdsServer": {"dataplaneDeregistrationDelay": "5s"}}
    )
    assert found["apiServer"]["readOnly"] is True
    assert found["apiServer"]["http"] == {"enabled": True, "interface": "127.0.0.1", "port": 6681}
    assert found["xdsServer"] == {"dataplaneDeregistrationDelay": "5s"}


def test_the_configuration_has_the_database_and_not_its_password():
    text = render("kuma-cp.yaml.j2", **POSTGRES)
    assert "very-secret" not in text
    assert yaml.safe_load(text)["store"] == {
        "type": "postgres",
        "postgres": {
            "host": "db.example.com",
            "port": 5432,
            "dbName": "kuma",
            "user": "kuma",
            "tls": {"mode": "verifyFull", "caPath": "/etc/kuma-cp/tls/postgres-ca.pem"},
        },
    }


def test_the_same_variables_give_the_same_text_whatever_their_order():
    one = {"b": {"y": 1, "x": 2}, "a": 1}
    other = {"a": 1, "b": {"x": 2, "y": 1}}
    assert render("kuma-cp.yaml.j2", kuma_cp_config=one) == render("kuma-cp.yaml.j2", kuma_cp_config=other)
    one, other = {"KUMA_B": "1", "KUMA_A": "2"}, {"KUMA_A": "2", "KUMA_B": "1"}
    assert render("kuma-cp.env.j2", kuma_cp_environment=one) == render("kuma-cp.env.j2", kuma_cp_environment=other)


def test_the_plan_is_not_told_the_values_of_the_environment():
    text = render("variables.json.j2", kuma_cp_environment={"KUMA_A": "geheim", "KUMA_B": "ge\nheim", "KUMA_C": 1})
    assert "geheim" not in text
    (problem,) = check.problems("cp", json.loads(text))
    assert problem == "cp: kuma_cp_environment has a line break or a control character in KUMA_B, expected one line"


@settings(max_examples=30)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=30))
def test_every_printable_password_gets_to_kuma_cp_as_it_is(password):
    (secret,) = [
        item for item in files(**{**POSTGRES, "kuma_cp_postgres_password": password})["secrets"] if item["path"].endswith("secrets.env")
    ]
    # Within double quotes systemd takes a backslash off these four alone.
    (value,) = re.fullmatch(r'KUMA_STORE_POSTGRES_PASSWORD="(.*)"\n', secret["content"]).groups()
    assert re.sub(r'\\(["\\`$])', r"\1", value) == password
    assert re.search(r'(?<!\\)(\\\\)*"', value) is None
    assert (secret["mode"], secret["owner"]) == ("0600", "root")


def test_trap_46_the_unit_has_a_home_and_comes_back_whatever_happens():
    text = render("kuma-cp.service.j2")
    found = directives(text)
    assert found["Environment"] == ["HOME=/var/lib/kuma-cp"]
    assert found["StateDirectory"] == ["kuma-cp"]
    assert found["Restart"] == ["always"]
    assert "StartLimitIntervalSec=0" in text.partition("[Service]")[0]
    assert found["ExecStart"] == ["/opt/kuma/2.14.3/bin/kuma-cp run --config-file=/etc/kuma-cp/kuma-cp.yaml --log-level=info"]
    assert found["SystemCallErrorNumber"] == ["EPERM"]
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == [""]
    assert "ExecStartPre" not in found


def test_with_postgres_the_schema_is_migrated_by_the_same_release_before_it_starts():
    found = directives(render("kuma-cp.service.j2", **POSTGRES))
    assert found["ExecStartPre"] == ["/opt/kuma/2.14.3/bin/kuma-cp migrate up --config-file=/etc/kuma-cp/kuma-cp.yaml"]
    assert found["EnvironmentFile"] == ["/etc/kuma-cp/kuma-cp.env", "/etc/kuma-cp/secrets.env"]
    assert found["TimeoutStartSec"] == ["15min"]


def test_a_given_certificate_is_laid_down_with_its_key_for_the_group_alone():
    pem = {"text": {"tls_cert": "CERT", "tls_key": "KEY", "tls_ca": "CA", "postgres_ca": ""}, "missing": {}}
    laid = files(kuma_cp_tls_given=True, kuma_cp_pem=pem, kuma_cp_tls_key_path="/etc/kuma-cp/tls/given-key.pem")
    (key,) = laid["secrets"]
    assert (key["path"], key["content"], key["mode"], key["group"]) == ("/etc/kuma-cp/tls/given-key.pem", "KEY\n", "0640", "kuma-cp")
    assert not any("KEY" in item["content"] for item in laid["files"])


def test_what_the_plan_looks_at_has_every_option_and_no_secret():
    secrets = {"kuma_cp_postgres_password": "very-secret", "kuma_cp_tls_key": "-----BEGIN PRIVATE KEY-----"}
    pem = {"text": {}, "missing": {"tls_ca": "no.pem"}}
    text = render("variables.json.j2", **{**POSTGRES, **secrets, "kuma_cp_pem": pem})
    variables = json.loads(text)
    assert "very-secret" not in text
    assert "PRIVATE" not in text
    assert variables["postgres_password_given"]
    assert variables["tls_ca_missing"] == "no.pem"
    unseen = {"create_default_mesh", "hds_enabled", "reports_enabled", "fetch_dir"}
    for option in {name[len("kuma_cp_") :] for name in SPECS} - unseen:
        assert option in variables or f"{option}_given" in variables, option
    # Nothing that the check reads is missing.
    assert check.problems("kuma-1", variables)


def test_pem_text_and_files_are_told_apart(tmp_path):
    (tmp_path / "ca.pem").write_text(CA + "\n")
    options = {"tls_cert": CA, "tls_key": "", "tls_ca": str(tmp_path / "ca.pem"), "postgres_ca": "no.pem"}
    found = json.loads(render("pem.json.j2", kuma_cp_pem_options=options))
    assert found == {"text": {"tls_cert": CA, "tls_key": "", "tls_ca": CA}, "missing": {"postgres_ca": "no.pem"}}
