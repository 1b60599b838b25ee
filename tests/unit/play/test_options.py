# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of options: every option of the roles is in it or used by a task, and says what the roles say."""

from __future__ import annotations

import pathlib
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import control_plane, options
from tests.unit import parsed

ROOT = pathlib.Path(__file__).parents[3]
TABLES = {name: table for name, table in vars(options).items() if isinstance(table, dict) and not name.startswith("_")}
ROWS = [(f"{name}.{key}", option) for name, table in TABLES.items() for key, option in table.items()]
DEFAULTS = {}
for path in ROOT.glob("roles/*/defaults/main.yml"):
    DEFAULTS.update(parsed.file(path))


# No role has these, and the table alone says what holds without them.
OF_PLAYBOOKS = ("MAINTENANCE.", "MIGRATION.", "ROTATE.", "ROTATION.", "REVOKE.", "SIGNING_KEY.")
OF_ROLES = [row for row in ROWS if not row[0].startswith(OF_PLAYBOOKS)]


@pytest.mark.parametrize(("row", "option"), OF_ROLES, ids=[row for row, _option in OF_ROLES])
def test_what_holds_elsewhere_is_the_default_of_the_role(row, option):
    default = DEFAULTS.get(option.variable, options.NOWHERE)
    if (isinstance(default, str) and "{{" in default) or option.variable in ("kuma_dp_archive",):
        # Filled in where the host is in the play.
        assert option.elsewhere in (options.NOWHERE, "", {}), row
    elif default is options.NOWHERE:
        assert option.elsewhere is options.NOWHERE
    else:
        assert option.elsewhere == default


def test_options_of_playbooks_are_none_of_roles():
    assert [
        row
        for row, option in ROWS
        if (option.variable in DEFAULTS) == row.startswith(OF_PLAYBOOKS) and option.elsewhere is not options.NOWHERE
    ] == []


def test_constants_are_the_defaults_that_are_no_templates():
    found = options.constants()
    plain = {name: value for name, value in DEFAULTS.items() if "{{" not in str(value) and name != "kuma_dp_archive"}
    assert {name: plain[name] for name in found} == found
    assert {option.variable for _row, option in ROWS if option.variable in plain} == set(found)


def test_every_option_of_the_roles_is_read_somewhere():
    read = {option.variable for _row, option in ROWS} | {option.variable for option in control_plane.CONTROL_PLANE.values()}
    for pattern in ("roles/*/tasks/*.yml", "roles/*/vars/*.yml", "roles/*/templates/*.j2", "playbooks/*.yml"):
        for path in ROOT.glob(pattern):
            read |= set(re.findall(r"\bkuma_\w+", path.read_text()))
    for path in ROOT.glob("plugins/action/*.py"):
        read |= set(re.findall(r"\"(kuma_\w+)\"", path.read_text()))
    for path in ROOT.glob("plugins/plugin_utils/_play/*.py"):
        read |= set(re.findall(r"\"(kuma_\w+)\"", path.read_text()))
    given = {
        name
        for path in ROOT.glob("roles/*/meta/argument_specs.yml")
        for entry in parsed.file(path)["argument_specs"].values()
        for name in entry.get("options", {})
    }
    assert given - read == set()


@pytest.mark.parametrize(
    ("value", "meaning"), [("yes", True), ("False", False), (1, True), (0, False), (True, True), ("", False), ("no", False)]
)
def test_a_flag_may_come_from_the_command_line(value, meaning):
    assert options.flag(value) is meaning


@pytest.mark.parametrize(("value", "meaning"), [("5", 5), (5, 5), ("x", "x"), (0.5, 0.5)])
def test_a_number_may_come_from_the_command_line(value, meaning):
    assert options.number(value) == meaning


def test_values_of_settings_are_not_read_for_a_plan():
    assert options.JOIN["environment"].shape({"PASSWORD": "secret"}) == ["PASSWORD"]
    assert options.read({"x": options.JOIN["environment"]}, lambda _name: {"PASSWORD": "secret"}) == {"x": ["PASSWORD"]}


def test_of_a_host_elsewhere_unknown_options_are_left_out():
    found = options.read_elsewhere(options.JOIN, lambda _name, default: default)
    assert set(options.JOIN) - set(found) == {"name"}
    assert options.read_elsewhere(options.JOIN, lambda name, _default: name)["mesh"] == "kuma_dp_mesh"


@given(st.text(max_size=6))
def test_a_name_that_the_file_of_settings_would_make_something_else_of_is_refused(name):
    fits = bool(name) and all(each in string.ascii_letters + string.digits + "_" for each in name) and not name[0].isdigit()
    for shape in (options.keys, options.settings):
        if fits:
            assert list(shape({name: "secret"})) == [name]
        else:
            with pytest.raises(ValueError, match="cannot be set, expected names of letters, digits and _") as raised:
                shape({name: "secret", "OK": "x"})
            assert "secret" not in str(raised.value)


def test_a_value_that_no_environment_can_hold_is_refused_without_being_quoted():
    with pytest.raises(ValueError, match=r"^A has a NUL in its value, expected text$"):
        options.settings({"A": "sec\0ret", "B": "x"})
    assert options.settings({"A": 1, "B": "a\nb"}) == {"A": "1", "B": "a\nb"}
