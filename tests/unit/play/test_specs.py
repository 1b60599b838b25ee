# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Of which type the options of roles are, and what is said about values that are not."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import specs
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.specs import Fault, Option
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.vocabulary import specifications
from tests.unit.play.test_options import DEFAULTS

SPECS = specifications()
WANTED = specs.wanted(SPECS, SPECS, [])


def test_the_types_of_all_options_are_known():
    options = WANTED.options.values()
    assert {option.type for option in options} | {option.elements for option in options} <= {*specs._EXPECTED, "raw"}
    assert WANTED.options["kuma_dp_application_units"].elements == "str"
    assert len(WANTED.options) > 100


def test_every_default_of_a_role_is_of_its_type():
    faults = {name: specs.fault(WANTED.options[name], value) for name, value in DEFAULTS.items() if "{{" not in str(value)}
    assert {name: fault for name, fault in faults.items() if fault} == {}
    assert len(faults) > 80


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("str", ["", "a", 5, 2.14], [True, None, [], {}]),
        ("path", ["/a", "a"], [False, None, []]),
        ("int", [0, -1, "5", " 5 "], ["", "5.0", "five", 5.0, True, None, [1], {}]),
        ("float", [0, 1.5, "1.5", "2"], ["", "nan", "inf", float("inf"), "x", True, None, [], 10**400]),
        ("bool", [True, False, 0, 1, "yes", "No", "true", "off", "1"], ["", "maybe", 2, None, [], {}]),
        ("list", [[], [1], [{}]], ["", "a,b", {}, None, 5]),
        ("dict", [{}, {"a": 1}], ["", "a=b", [], None, 5]),
        ("raw", ["", "a", 5, True, None, [], {}], []),
    ],
)
def test_what_is_of_a_type(kind, good, bad):
    assert [value for value in good if specs.fault(Option("x", kind), value)] == []
    assert [value for value in bad if not specs.fault(Option("x", kind), value)] == []


@pytest.mark.parametrize(
    ("option", "value", "fault"),
    [
        (Option("x", "int"), "many", Fault("x", "'many'", "a whole number")),
        (Option("x", "int"), "y" * 100, Fault("x", repr("y" * 100)[:76] + "...'", "a whole number")),
        (Option("x", "str"), ["PASSWORD"], Fault("x", "a list", "a text")),
        (Option("x", "str"), {"PASSWORD": "geheim"}, Fault("x", "a mapping", "a text")),
        (Option("x", "str"), True, Fault("x", "True", "a text, in quotes")),
        (Option("x", "str"), None, Fault("x", "empty", "a text")),
        (Option("x", "str", choices=("a",)), "b", Fault("x", "'b'", "a")),
        (Option("x", "str", choices=("info", "off")), False, Fault("x", "False", "info or 'off'")),
        (Option("x", "str", choices=("a", "b", "c")), "A", Fault("x", "'A'", "a, b or c")),
        (Option("x", "list", elements="str"), ["a", 5, {"a": 1}], Fault("an item of x", "a mapping", "a text")),
        (Option("x", "list", elements="str"), ["a", "{{ b }}"], None),
        (Option("x", "str", choices=("a", "1")), 1, None),
        (Option("x", "dict", hidden=True), "PASSWORD=geheim", Fault("x", "a text", "a mapping")),
        (Option("x", "dict", hidden=True), 5, Fault("x", "a number", "a mapping")),
        (Option("x", "str", hidden=True), True, Fault("x", "true or false", "a text, in quotes")),
    ],
)
def test_what_is_said_of_a_value(option, value, fault):
    assert specs.fault(option, value) == fault


def test_values_that_may_be_secrets_are_hidden():
    hidden = {name for name, option in WANTED.options.items() if option.hidden}
    assert {"kuma_dp_api_token", "kuma_cp_postgres_password", "kuma_cp_tls_key", "kuma_dp_environment", "kuma_cp_config"} <= hidden
    assert "kuma_dp_name" not in hidden
    named = {"x": {"main": {"x_password": {"type": "str"}, "x_path": {"type": "str"}}}}
    assert [option.hidden for option in specs.wanted(named, ["x"], []).options.values()] == [True, False]


def test_an_empty_value_is_one_where_it_is_taken_for_nothing():
    empty = {name for name, option in WANTED.options.items() if specs.fault(option, None) is None and option.type != "raw"}
    assert {
        "kuma_dp_services",
        "kuma_dp_upstreams",
        "kuma_dp_labels",
        "kuma_dp_owner",
        "kuma_dp_environment",
        "kuma_zone_proxy_zone",
    } <= empty
    assert {"kuma_cp_tls_key", "kuma_cp_config", "kuma_transparent_proxy_ssh_ports"} <= empty
    assert empty.isdisjoint({"kuma_dp_lifecycle", "kuma_dp_wait_timeout", "kuma_dp_api_validate_certs", "kuma_cp_zone"})


def test_an_item_is_a_list_where_actions_make_one_of_it():
    single = {name for name, option in WANTED.options.items() if option.single}
    assert {"kuma_transparent_proxy_ssh_ports", "kuma_dp_roll_stages"} <= single
    assert all(WANTED.options[name].type == "list" for name in single)
    assert "kuma_dp_application_units" not in single
    assert specs.fault(WANTED.options["kuma_transparent_proxy_ssh_ports"], 2222) is None
    assert specs.fault(WANTED.options["kuma_transparent_proxy_ssh_ports"], {"port": 2222}) is not None


def test_what_has_to_be_set_depends_on_the_entry_point():
    def required(*entries):
        return [option.name for option in specs.wanted(SPECS, ["kuma_dp"], entries).required]

    assert required() == required(("kuma_dp", "")) == []
    assert required(("kuma_dp", "main")) == ["kuma_dp_control_plane_url", "kuma_dp_version"]
    assert required(("kuma_dp", "leave")) == ["kuma_dp_control_plane_url"]
    assert required(("kuma_dp", "main"), ("kuma_zone_proxy", "main")) == ["kuma_dp_control_plane_url", "kuma_dp_version"], "each once"


def test_what_is_expected_of_a_missing_option_is_the_first_sentence_about_it():
    (url, version) = specs.wanted(SPECS, ["kuma_dp"], [("kuma_dp", "main")]).required
    assert url.meaning == "the API of the control plane, such as https://kuma.example.com:5682"
    assert version.meaning == "the release that runs, without v, such as 2.14.3"
