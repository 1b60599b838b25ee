# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of roles and playbooks that become part of a URL, of a path or of a unit: none is forgotten, and what is none is told with its variable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.action import fleet_maintenance
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import fitting, fleet
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.findings import THE_PLAY
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.variables import PLAYBOOK_OPTIONS
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.vocabulary import specifications
from tests.unit import hostile
from tests.unit.play.test_inspection import SOUND, problems
from tests.unit.play.test_values import Filler, HostVars

SPECS = specifications()
# The names of proxies, and where several of them are.
NAMES = {"kuma_dp_name": "kuma_dp", "kuma_zone_proxy_name": "kuma_zone_proxy"}
PROXIES = {"kuma_dp_proxies": "kuma_dp", "kuma_zone_proxy_proxies": "kuma_zone_proxy"}
# Options of which nothing becomes a URL, a path or a unit, and why.
FREE = {
    **dict.fromkeys(("kuma_dp_control_plane_url", "kuma_dp_control_plane_dp_url"), "an address"),
    **dict.fromkeys(
        ("kuma_dp_archive", "kuma_cp_archive"), "an address or a file of the user's; what is fetched: tests/unit/join/test_archive.py"
    ),
    **dict.fromkeys(("kuma_dp_archive_checksum", "kuma_cp_archive_checksum"), "hexadecimal digits"),
    **dict.fromkeys(("kuma_dp_control_plane_ca", "kuma_dp_api_ca", "kuma_rotate_ca_new"), "PEM text, or a file of the user's that is read"),
    **dict.fromkeys(("kuma_dp_api_client_cert", "kuma_dp_api_client_key"), "PEM text, or a file of the user's that is read"),
    **dict.fromkeys(("kuma_cp_tls_cert", "kuma_cp_tls_key", "kuma_cp_tls_ca", "kuma_cp_postgres_ca"), "PEM text, or a file that is read"),
    **dict.fromkeys(("kuma_dp_api_token", "kuma_cp_postgres_password"), "a secret"),
    **dict.fromkeys(("kuma_dp_token_valid_for", "kuma_dp_token_renew_before", "kuma_dp_drain_time"), "a duration"),
    **dict.fromkeys(
        ("kuma_rotate_before", "kuma_rotate_least", "kuma_rotate_ca_wait", "kuma_dp_control_plane_ca_warn_before"),
        "a duration: tests/unit/play/test_rotating.py",
    ),
    **dict.fromkeys(
        (
            "kuma_dp_token_bind",
            "kuma_rotate_revoke",
            "kuma_rotate_ca_again",
            "kuma_signing_key_step",
            "kuma_signing_key_force",
            "kuma_revoke",
        ),
        "a few words",
    ),
    **dict.fromkeys(("kuma_dp_token_signing_key", "kuma_zone_proxy_token_signing_key"), "a secret"),
    **dict.fromkeys(
        ("kuma_dp_token_signing_key_file", "kuma_zone_proxy_token_signing_key_file", "kuma_signing_key_file"),
        "a file of the user's that is read",
    ),
    **dict.fromkeys(("kuma_revoke_ids", "kuma_revoke_names"), "judged by the step: tests/unit/action/test_fleet_tokens.py"),
    **dict.fromkeys(("kuma_dp_roll_limit", "kuma_dp_roll_budget", "kuma_dp_roll_stages"), "a count or a share"),
    **dict.fromkeys(
        (
            *("kuma_dp_address", "kuma_dp_services", "kuma_dp_upstreams", "kuma_dp_gateway", "kuma_dp_labels", "kuma_dp_workload"),
            *("kuma_dp_owner", "kuma_dp_dataplane_vars", "kuma_dp_outbound_range", "kuma_dp_outbound_pins", "kuma_dp_reserved_ports"),
            *("kuma_zone_proxy_address", "kuma_zone_proxy_advertised_address"),
        ),
        "in a Dataplane: tests/unit/join/test_plan.py",
    ),
    "kuma_dp_environment": "settings of kuma-dp",
    **dict.fromkeys(
        (
            *("kuma_cp_names", "kuma_cp_zone", "kuma_cp_http_address", "kuma_cp_https_address", "kuma_cp_store", "kuma_cp_postgres_host"),
            *("kuma_cp_postgres_db", "kuma_cp_postgres_user", "kuma_cp_postgres_tls_mode", "kuma_cp_log_level", "kuma_cp_config"),
            "kuma_cp_environment",
        ),
        "settings of kuma-cp: tests/unit/control_plane/test_check.py",
    ),
    **{
        f"kuma_transparent_proxy_{option}": "what rules are made of: tests/unit/transparent/test_redirection.py"
        for option in (
            *("exclude_inbound_ports", "exclude_outbound_ports", "exclude_outbound_ports_for_uids", "exclude_inbound_ips"),
            *("exclude_outbound_ips", "vnet", "ssh_ports"),
        )
    },
    **dict.fromkeys(("kuma_fleet", "kuma_zone_fleet", "kuma_control_plane_hosts"), "groups and hosts of the inventory"),
    **dict.fromkeys(("kuma_maintenance", "kuma_migration_fail_on"), "one of a few words"),
    **dict.fromkeys(("kuma_maintenance_reason", "kuma_maintenance_duration", "kuma_maintenance_force"), "in a label"),
}
# As a choice it is told, and then it is a part of the name that is checked.
CHOICES = {"kuma_zone_proxy_type"}


def texts():
    """The options of all roles and playbooks that can hold any text."""
    found = set(PLAYBOOK_OPTIONS)
    for entries in SPECS.values():
        for options in entries.values():
            found |= {
                name
                for name, option in options.items()
                if option.get("elements", option.get("type", "str")) not in ("bool", "int", "float") and not option.get("choices")
            }
    return found - CHOICES


def test_every_option_is_judged_or_is_known_to_be_free():
    known = {*fitting.VARIABLES, *NAMES, *PROXIES}
    assert texts() - known - set(FREE) == set()
    assert set(FREE) & known == set()
    assert (set(FREE) | known) - texts() == set(), "there is no such option"


def kinds(variable):
    """Which hosts have an option: the kind of inventory_check, and the variables that they have to set."""
    kind = "control_planes" if variable.startswith("kuma_cp_") else "zone_proxies" if variable.startswith("kuma_zone_") else "proxies"
    return {kind: ["a"]}


def sound(variable):
    return {name: value for name, value in SOUND.items() if name != variable}


RULES = [(path, rule) for path, rule in fitting.RULES.items() if not path.startswith("kuma_migration_")]


def shaped(path, value):
    """A value as the variable of ``path`` has it, and the place of it."""
    variable, brackets, _rest = path.partition("[]")
    return variable, [value] if brackets else value, variable + "[0]" * bool(brackets)


@pytest.mark.parametrize(("path", "rule"), RULES)
def test_what_is_none_is_told_before_anything(path, rule):
    for value in hostile.fixed(rule):
        variable, given, place = shaped(path, value)
        if value == "" and variable in fitting.OR_NONE:
            continue
        said = f"{place} is {naming.shown(value)}, expected {naming.expected(rule)}"
        for purpose in ("join", "leave", "maintenance", "control_plane", None):
            fleet_of_one = {"a": {**sound(variable), variable: given}}
            assert f"a: {said}" in problems(fleet_of_one, purpose, **kinds(variable))
        # Of a mesh the hosts are told that belong to it.
        of = "a" if variable == "kuma_dp_mesh" else THE_PLAY
        assert f"{of}: {said}" in problems({"a": sound(variable)}, play={variable: given}, **kinds(variable))


@given(st.data())
def test_whatever_else_is_none_is_told_as_well(data):
    path, rule = data.draw(st.sampled_from(RULES))
    variable, given, place = shaped(
        path, data.draw(hostile.values(rule).filter(lambda text: text and "{{" not in text and "{%" not in text))
    )
    found = problems({"a": {**sound(variable), variable: given}}, **kinds(variable))
    assert any(problem.startswith(f"a: {place} is ") and problem.endswith(f"expected {naming.expected(rule)}") for problem in found)


def test_templates_are_filled_in_where_that_is_possible():
    wrong = {"kuma_dp_config_dir": "{{ mine }}/..", "kuma_dp_version": "{{ nobody }}", "kuma_dp_application_units": ["{{ mine }}", "a b"]}
    assert problems({"a": {**SOUND, **wrong, "mine": "/etc"}}) == [
        "a: kuma_dp_application_units[1] is 'a b', expected the name of a unit, such as web.service",
        f"a: kuma_dp_config_dir is '/etc/..', expected {naming.EXPECTED_PATH}",
    ]


@pytest.mark.parametrize("variable", sorted(fitting.OR_NONE & {path for path, _rule in RULES}))
def test_nothing_is_an_answer_where_it_means_something(variable):
    assert fitting.unfit(variable, "") == fitting.unfit(variable, None) == []


@pytest.mark.parametrize(("variable", "value"), [("kuma_dp_version", 2.14), ("kuma_dp_mesh", 5), ("kuma_dp_user", 1001)])
def test_what_yaml_reads_as_a_number_is_a_name_as_well(variable, value):
    assert fitting.refusal(variable, value) == ""


@pytest.mark.parametrize("variable", ["kuma_dp_mesh", "kuma_dp_config_dir", "kuma_dp_archive_cache", "kuma_cp_user"])
def test_nothing_is_no_answer_elsewhere(variable):
    for value in ("", None):
        assert fitting.refusal(variable, value).startswith(f"{variable} is {value!r}, expected ")


def reading(variable, value):
    """What reads options for steps, on a host that sets this one."""
    made = fleet_maintenance.ActionModule.__new__(fleet_maintenance.ActionModule)
    made.host, made.variables = "a", {variable: value}
    made._templar = Filler()
    return made


@given(st.data())
def test_no_step_is_handed_what_is_none(data):
    path, rule = data.draw(st.sampled_from(sorted(fitting.RULES.items())))
    variable, given, place = shaped(
        path, data.draw(hostile.values(rule).filter(lambda text: text and "{{" not in text and "{%" not in text))
    )
    with pytest.raises(ValueError, match="expected") as refused:
        reading(variable, given).value(variable)
    assert str(refused.value).startswith(f"{place} is ")


@pytest.mark.parametrize(("path", "rule"), sorted(fitting.RULES.items()))
def test_nobody_takes_it_for_another_host(path, rule):
    variable, given, place = shaped(path, hostile.fixed(rule)[1])
    made = reading("x", 1)
    hostvars = HostVars({"a": {}, "b": {variable: given}})
    made.variables = {**hostvars.raw_get("a"), "hostvars": hostvars}
    made._task = type("Task", (), {"_role": None})
    made._templar.copy_with_new_env = lambda available_variables: Filler()
    with pytest.raises(ItemsFailed) as refused:
        made.seen("b")(variable, "")
    assert refused.value.msg.startswith(f"b: {place} is ")


# -- names of proxies


@pytest.mark.parametrize("purpose", ["join", "leave", "maintenance", "migration", None])
@pytest.mark.parametrize("variable", [*NAMES, *PROXIES])
def test_names_that_are_none_are_told_before_anything(variable, purpose):
    role = {**NAMES, **PROXIES}[variable]
    kind = {"kuma_dp": "proxies", "kuma_zone_proxy": "zone_proxies"}[role]
    for value in [*hostile.fixed(naming.PROXY), "x" * 232, "Web-1"]:
        own = {variable: value} if variable in NAMES else {variable: [{"name": "good"}, {"name": value}]}
        label = variable if variable in NAMES else f"a name in {variable}"
        found = problems({"a": {**SOUND, **own}}, purpose, **{kind: ["a"]})
        assert found == [f"a: {label} is {naming.shown(value)}, expected {naming.EXPECTED_PROXY}"]


@given(hostile.values(naming.PROXY))
def test_names_that_are_none_are_told_by_who_uses_them(value):
    for proxies, label in ((None, "kuma_dp_name"), ([{"name": value}], "a name in kuma_dp_proxies")):
        with pytest.raises(ItemsFailed) as refused:
            fleet.check_names("web-1", ["good", value], "kuma_dp", proxies)
        assert refused.value.msg == f"web-1: {label} is {naming.shown(value)}, expected {naming.EXPECTED_PROXY}"
    fleet.check_names("web-1", ["good", "x" * 231], "kuma_dp", None)


def test_a_name_that_is_too_long_to_join_may_leave():
    name = "x" * (naming.MAXIMUM_JOINING + 1)
    assert problems({"a": {**SOUND, "kuma_dp_name": name}}, "leave") == []
