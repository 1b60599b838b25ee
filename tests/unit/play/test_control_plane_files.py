# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a control plane: what they were in 0.1.0, sorted, complete, and without a secret where it does not belong."""

from __future__ import annotations

import re

import pytest
import yaml
from ansible.plugins.filter.core import to_nice_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import control_plane, control_plane_files
from tests.examples import examples
from tests.unit.play.control_planes import CA, CHECKSUM, EXTENDED, GIVEN, KEY, LAID_DOWN, PASSWORD, PLAIN, POSTGRES, ROLE, wanted

GROUPS = ("directories", "files", "secrets")


def to_yaml(value):
    return str(to_nice_yaml(value, indent=2, sort_keys=True))


def laid(render=lambda template, variables: "a unit", **variables):
    """The options of proxy_files."""
    return control_plane_files.options(wanted(**variables), CHECKSUM, render, to_yaml)


def config(**variables):
    return yaml.safe_load(control_plane_files.config(wanted(**variables), to_yaml))


@pytest.fixture
def unit(renderer):
    """The text of the unit, as Ansible fills it in."""

    def render(template, variables):
        return renderer(template, {"ansible_search_path": [str(ROLE)], **variables})

    def text(**variables):
        (found,) = [item for item in laid(render, **variables)["files"] if item["path"] == control_plane.UNIT]
        assert (found["owner"], found["group"], found["mode"]) == ("root", "root", "0644")
        return found["content"]

    return text


def directives(text):
    """The directives of a unit: ``{name: [values]}``."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value.strip())
    return found


@pytest.mark.parametrize(("variables", "directories", "files", "secrets"), LAID_DOWN, ids=["plain", "postgres", "extended"])
def test_what_is_laid_down_is_what_an_earlier_release_laid_down(variables, directories, files, secrets):
    found = laid(**variables)
    assert [tuple(item[key] for key in ("path", "owner", "group", "mode")) for item in found["directories"]] == directories
    for group, expected in (("files", files), ("secrets", secrets)):
        told = [tuple(item[key] for key in ("path", "owner", "group", "mode", "content")) for item in found[group]]
        assert [item for item in told if item[0] != control_plane.UNIT] == expected


def test_by_default_it_serves_one_zone_from_memory_and_reports_nothing():
    found = config()
    assert (found["mode"], found["environment"], found["store"]) == ("zone", "universal", {"type": "memory"})
    assert found["reports"] == {"enabled": False}
    assert found["apiServer"]["http"] == {"enabled": True, "interface": "127.0.0.1", "port": 5681}


def test_further_settings_win_and_leave_the_others():
    found = config(config={"apiServer": {"readOnly": True, "http": {"port": 6681}}, "dpServer": {"hds": None}, "reports": "none"})
    assert found["apiServer"]["readOnly"] is True
    assert found["apiServer"]["http"] == {"enabled": True, "interface": "127.0.0.1", "port": 6681}
    assert found["dpServer"] == {"port": 5678, "hds": None}
    assert found["reports"] == "none"


TREES = st.recursive(
    st.integers(0, 3), lambda inner: st.one_of(st.dictionaries(st.sampled_from("abc"), inner), st.lists(inner, max_size=2)), max_leaves=12
)
MAPPINGS = st.dictionaries(st.sampled_from("abc"), TREES)


@given(MAPPINGS, MAPPINGS)
def test_what_is_merged_has_all_of_the_second_and_what_it_does_not_say_of_the_first(base, over):
    found = control_plane_files.merged(base, over)
    assert list(found) == list(dict.fromkeys([*base, *over]))
    for key, value in found.items():
        if key not in over:
            assert value == base[key]
        elif isinstance(over[key], dict) and isinstance(base.get(key), dict):
            assert value == control_plane_files.merged(base[key], over[key])
        else:
            assert value == over[key]


def test_the_same_variables_give_the_same_text_whatever_their_order():
    one, other = {"b": {"y": 1, "x": 2}, "a": 1}, {"a": 1, "b": {"x": 2, "y": 1}}
    assert laid(config=one) == laid(config=other)
    assert laid(environment={"KUMA_B": "1", "KUMA_A": "2"}) == laid(environment={"KUMA_A": "2", "KUMA_B": "1"})


def test_no_secret_is_in_a_file_that_is_none():
    found = laid(**{**POSTGRES, **GIVEN})
    shown = str([found["directories"], found["files"]])
    for secret in (PASSWORD, "$ecret", KEY, "PRIVATE KEY"):
        assert secret not in shown
    modes = {item["path"]: (item["mode"], item["owner"]) for item in found["secrets"]}
    assert modes == {
        "/srv/kuma-cp/kuma-cp.env": ("0640", "root"),
        "/srv/kuma-cp/secrets.env": ("0600", "root"),
        "/srv/kuma-cp/tls/given-key.pem": ("0640", "root"),
    }


def test_no_value_of_a_user_s_variables_may_be_shown():
    (found,) = [item for item in laid(environment={"KUMA_A": "canary"})["secrets"] if item["path"] == "/etc/kuma-cp/kuma-cp.env"]
    assert found["content"].endswith('KUMA_A="canary"\n')
    assert found["shown"] == []


@settings(max_examples=examples(100))
@given(st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=30))
def test_every_printable_password_gets_to_kuma_cp_as_it_is(password):
    _environment, secret = laid(store="postgres", postgres_password=password)["secrets"]
    # Within double quotes systemd takes a backslash off these four alone.
    (value,) = re.fullmatch(r'KUMA_STORE_POSTGRES_PASSWORD="(.*)"\n', secret["content"]).groups()
    assert re.sub(r'\\(["\\`$])', r"\1", value) == password
    assert re.search(r'(?<!\\)(\\\\)*"', value) is None


@pytest.mark.parametrize("variables", [PLAIN, POSTGRES, EXTENDED, {**POSTGRES, **GIVEN}])
def test_kuma_cp_reads_no_file_whose_change_would_not_restart_it(variables):
    """A password, too. The unit is looked at by itself, and another release is told by the version that answers."""
    laid_down = {item["path"] for group in ("files", "secrets") for item in laid(**variables)[group]}
    own = wanted(**variables)
    assert laid_down - {control_plane.UNIT, own.marker} <= set(own.inputs)
    assert {own.certificate, own.key} <= set(own.inputs)


def test_the_ca_of_postgres_is_laid_down_where_it_is_needed():
    def path_of(**variables):
        return [item["path"] for item in laid(**variables)["files"] if item["content"] == CA]

    assert path_of(store="postgres", postgres_ca=CA) == ["/etc/kuma-cp/tls/postgres-ca.pem"]
    assert config(store="postgres", postgres_ca=CA)["store"]["postgres"]["tls"]["caPath"] == "/etc/kuma-cp/tls/postgres-ca.pem"
    assert "caPath" not in config(store="postgres")["store"]["postgres"]["tls"]
    # It may be left from another time.
    assert path_of(postgres_ca=CA) == []


def test_trap_46_the_unit_has_a_home_and_comes_back_whatever_happens(unit):
    text = unit()
    found = directives(text)
    assert found["Environment"] == ["HOME=/var/lib/kuma-cp"]
    assert found["StateDirectory"] == ["kuma-cp"]
    assert found["Restart"] == ["always"]
    assert "StartLimitIntervalSec=0" in text.partition("[Service]")[0]
    assert found["ExecStart"] == ["/opt/kuma/2.14.3/bin/kuma-cp run --config-file=/etc/kuma-cp/kuma-cp.yaml --log-level=info"]
    assert found["SystemCallErrorNumber"] == ["EPERM"]
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == [""]
    assert "ExecStartPre" not in found
    assert "{{" not in text


def test_with_postgres_the_schema_is_migrated_by_the_same_release_before_it_starts(unit):
    found = directives(unit(**POSTGRES))
    assert found["ExecStartPre"] == ["/srv/kuma/2.13.10/bin/kuma-cp migrate up --config-file=/srv/kuma-cp/kuma-cp.yaml"]
    assert found["ExecStart"] == ["/srv/kuma/2.13.10/bin/kuma-cp run --config-file=/srv/kuma-cp/kuma-cp.yaml --log-level=debug"]
    assert found["EnvironmentFile"] == ["/srv/kuma-cp/kuma-cp.env", "/srv/kuma-cp/secrets.env"]
    assert found["TimeoutStartSec"] == ["15min"]
    assert (found["User"], found["Group"]) == (["mesh"], ["mesh-cp"])
