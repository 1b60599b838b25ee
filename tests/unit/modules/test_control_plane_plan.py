# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module control_plane_plan: variables, archive and certificate, every problem in one message."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane import check
from tests.lab import certificates
from tests.unit import module_runner
from tests.unit.control_plane.test_check import GOOD, PEM
from tests.unit.join.test_archive import elf, make

FILES = {"kuma-2.14.3/bin/kuma-cp": elf(62), "kuma-2.14.3/bin/kuma-dp": elf(62)}


def plan(path, checksum, observed=None, **options):
    variables = {**GOOD, "version": "2.14.3", "archive": path, "archive_checksum": checksum, **options.pop("variables", {})}
    args = {"host": "kuma-1", "variables": variables, "observed": {"architecture": "amd64", "archives": {}, **(observed or {})}}
    return module_runner.run("control_plane_plan", {**args, **options})


def test_a_good_archive_has_to_be_installed_once(tmp_path):
    path, checksum = make(tmp_path / "kuma.tar.gz", FILES)
    found = plan(path, {"amd64": f"sha256:{checksum}"})
    assert (found["install"], found["archive"], found["checksum"], found["fetch"]) == (True, path, checksum, [])
    assert plan(path, checksum, {"archives": {"2.14.3": checksum}})["install"] is False
    assert plan(path, checksum, {"archives": {"2.14.3": "0" * 64}})["install"] is True


def test_what_is_missing_has_the_default_of_the_role():
    role = yaml.safe_load((pathlib.Path(__file__).parents[3] / "roles/kuma_cp/defaults/main.yml").read_text())
    computed = {"names", "localhost_is_admin"}
    for name, value in check.completed({}).items():
        if name.endswith("_given"):
            assert (role["kuma_cp_" + name[: -len("_given")]] == "") is not value, name
        elif name not in computed and "printable" not in name:
            assert role["kuma_cp_" + name] == value, name
    assert check.completed({"store": "postgres"})["localhost_is_admin"] is False
    assert check.problems("kuma-1", check.completed({"names": ["kuma"]})) == []
    assert check.completed(GOOD) == GOOD


def test_an_archive_without_kuma_cp_is_refused(tmp_path):
    path, checksum = make(tmp_path / "kuma.tar.gz", {"kuma-2.14.3/bin/kuma-dp": elf(62)})
    (problem,) = plan(path, checksum)["problems"]
    assert problem.startswith(f"kuma-1: kuma_cp_archive {path} has no <folder>/bin/kuma-cp")


def test_everything_comes_in_one_message(tmp_path):
    path, checksum = make(tmp_path / "kuma.tar.gz", FILES)
    found = plan(path, "0" * 64, variables={"store": "etcd", "zone": "?"})
    assert found["failed"]
    assert [problem.split()[1] for problem in found["problems"]] == ["kuma_cp_zone", "kuma_cp_store", "kuma_cp_archive"]
    assert found["msg"].startswith("Nothing was written. 3 problems were found:\n  1. kuma-1: kuma_cp_zone")
    assert checksum in found["msg"]


@pytest.mark.parametrize(
    ("version", "checksum", "expected"), [("v2.14.3", "0" * 64, "kuma_cp_version"), ("2.14.3", {}, "kuma_cp_archive_checksum")]
)
def test_problems_name_the_variables_of_this_role(version, checksum, expected):
    assert expected in plan("nowhere", checksum, variables={"version": version})["msg"]


def test_an_archive_at_a_url_is_fetched_first():
    url = "https://example.com/kuma-2.14.3-linux-amd64.tar.gz"
    found = plan(url, "0" * 64, variables={"archive_cache": "/no/cache"})
    assert found["fetch"] == [{"url": url, "path": "/no/cache/kuma-2.14.3-linux-amd64.tar.gz", "checksum": "sha256:" + "0" * 64}]
    assert plan(url, "0" * 64, {"archives": {"2.14.3": "0" * 64}}, variables={"archive_cache": "/no/cache"})["fetch"] == []


def test_a_given_certificate_is_shown_to_a_client(tmp_path):
    path, checksum = make(tmp_path / "kuma.tar.gz", FILES)
    certificate, key = (item.read_text() for item in certificates.self_signed(tmp_path, "kuma", "10.0.0.5"))
    _other, wrong = (item.read_text() for item in certificates.self_signed(tmp_path, "other", "10.0.0.5"))
    given = {"tls_cert": certificate, "tls_key": key, "tls_ca": certificate}
    assert not plan(path, checksum, variables={**PEM, "names": ["10.0.0.5"]}, **given).get("failed")
    (problem,) = plan(path, checksum, variables={**PEM, "names": ["10.0.0.5", "kuma"]}, **given)["problems"]
    assert problem.startswith("kuma-1: kuma_cp_tls_cert: it is not for kuma (it is for 10.0.0.5)")
    found = plan(path, checksum, variables={**PEM, "names": ["10.0.0.5"]}, **{**given, "tls_key": wrong})
    assert found["problems"] == ["kuma-1: kuma_cp_tls_cert: the key is not that of the certificate"]
    assert wrong not in str(found)


def test_what_is_unwise_is_a_warning(tmp_path):
    path, checksum = make(tmp_path / "kuma.tar.gz", FILES)
    assert "kuma_cp_store is memory" in str(plan(path, checksum)["warnings"])
