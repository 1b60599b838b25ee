# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every file of the collection."""

from __future__ import annotations

import ast
import functools
import pathlib
import re
import subprocess

import pytest
import yaml

from ansible_collections.meshfleet.kuma.plugins.module_utils._join import inventory
from tests.unit import parsed

ROOT = pathlib.Path(__file__).parents[3]
MODULES = sorted(path for path in (ROOT / "plugins/modules").glob("*.py") if path.name != "__init__.py")
FILTERS = sorted((ROOT / "plugins/filter").glob("*.py"))
CALLBACKS = sorted((ROOT / "plugins/callback").glob("*.py"))
# Those that users call. The others have no options of their own.
ROLES = sorted(path.parent for path in (ROOT / "roles").glob("*/defaults"))
PYTHON_LINES = 400


def tracked(*patterns):
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for path in (ROOT / name for name in listed.split("\0") if name) if path.is_file()]


@functools.cache
def documents(path):
    """DOCUMENTATION, EXAMPLES and RETURN of a plugin, parsed; those that it does not have are missing."""
    strings = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Constant)
    }
    return {name: parsed.text(strings[name]) for name in ("DOCUMENTATION", "EXAMPLES", "RETURN") if name in strings}


def fragments(path):
    return documents(path)["DOCUMENTATION"].get("extends_documentation_fragment", [])


# What runs inside the controller as a part of a role.
STEPS = [path for path in MODULES if "It is not meant to be called by hand" in " ".join(path.read_text().split())]


def entries_of(role):
    """``{entry point: its options}`` of a role."""
    entries = parsed.file(role / "meta/argument_specs.yml")["argument_specs"]
    return {name: entry.get("options", {}) for name, entry in entries.items()}


def options_of(role):
    return {name: option for options in entries_of(role).values() for name, option in options.items()}


def named(paths):
    return {"argvalues": paths, "ids": [str(path.relative_to(ROOT)) for path in paths]}


def test_the_action_group_holds_the_modules_with_api_options():
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
    assert runtime["action_groups"]["api"] == [path.stem for path in MODULES if "meshfleet.kuma.api" in fragments(path)]


# Nobody calls these by hand, and what the roles do instead is in actions of its own.
IN_PROCESSES_OF_THEIR_OWN = {"fleet_plan", "zone_proxy_plan"}


def test_modules_with_api_options_run_in_the_controller():
    actions = {path.stem: path.read_text() for path in (ROOT / "plugins/action").glob("*.py")}
    api = {path.stem for path in MODULES if "meshfleet.kuma.api" in fragments(path)}
    in_process = {name for name, text in actions.items() if "(InProcess)" in text}
    assert in_process == api - IN_PROCESSES_OF_THEIR_OWN - {"rollout"}
    assert in_process == {path.stem for path in MODULES if "meshfleet.kuma.attributes.in_process" in fragments(path)}
    assert [name for name in in_process if f"spec = {name}.SPEC\n" not in actions[name]] == []


@pytest.mark.parametrize("path", **named(MODULES))
def test_a_module_documents_itself_and_its_attributes(path):
    found = documents(path)
    assert found.keys() == {"DOCUMENTATION", "EXAMPLES", "RETURN"}
    assert found["DOCUMENTATION"]["module"] == path.stem
    assert any(name.startswith("meshfleet.kuma.attributes") for name in fragments(path))
    assert f"meshfleet.kuma.{path.stem}:" in path.read_text(), "the examples use the full name"


@pytest.mark.parametrize("path", **named(FILTERS))
def test_a_filter_documents_itself(path):
    found = documents(path)
    assert found.keys() == {"DOCUMENTATION", "EXAMPLES", "RETURN"}
    assert found["DOCUMENTATION"]["name"] == path.stem


@pytest.mark.parametrize("path", **named(CALLBACKS))
def test_a_callback_documents_itself(path):
    found = documents(path)["DOCUMENTATION"]
    assert found["name"] == path.stem
    assert f'CALLBACK_NAME = "meshfleet.kuma.{path.stem}"' in path.read_text()


@pytest.mark.parametrize("role", **named(ROLES))
def test_the_defaults_of_a_role_are_its_documented_options(role):
    options = options_of(role)
    defaults = parsed.file(role / "defaults/main.yml")
    assert set(defaults) <= set(options), "every default is a documented option"
    missing = [name for name in options if name not in defaults and not options[name].get("required")]
    assert not missing, "every option is required or has a default, an empty one if need be"
    stated = {name: option["default"] for name, option in options.items() if "default" in option}
    assert stated == {name: defaults[name] for name in stated}


@pytest.mark.parametrize("role", **named(ROLES))
def test_an_option_is_the_same_at_every_entry_point_of_a_role(role):
    for entry, options in entries_of(role).items():
        assert options == {name: options_of(role)[name] for name in options}, entry


@pytest.mark.parametrize("role", **named(ROLES))
def test_the_readme_of_a_role_says_of_every_option_what_its_documentation_says(role):
    rows = {
        name: rest for name, *rest in re.findall(r"^\| `(kuma_\w+)` \| (.*?) \| (.*) \|$", (role / "README.md").read_text(), re.MULTILINE)
    }
    options = options_of(role)
    assert set(rows) == {name for name in options if name.startswith(role.name + "_")}
    defaults = parsed.file(role / "defaults/main.yml")
    for name, (default, meaning) in rows.items():
        said = re.sub(r"C\((.*?)\)", r"`\1`", " ".join(line.strip() for line in options[name]["description"]))
        # One of the two may go on: with the choices, or with what the README has in a table of its own.
        assert meaning.replace("\\|", "|").startswith(said) or said.startswith(meaning), name
        if name not in defaults:
            assert default.strip("*") == "required", name
        elif "{{" not in str(defaults[name]) and default != "see there":
            assert yaml.safe_load(default.strip("`")) == defaults[name], name


def test_the_readme_tells_every_key_of_services_and_proxies():
    readme = (ROOT / "roles/kuma_dp/README.md").read_text()
    for heading, option, keys in (
        ("### A service\n", "kuma_dp_services", inventory._SERVICE_KEYS),
        ("### A proxy\n", "kuma_dp_proxies", inventory._PROXY_KEYS),
    ):
        section = readme.split(heading)[1].split("\n#")[0]
        assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == keys
        documented = " ".join(options_of(ROOT / "roles/kuma_dp")[option]["description"])
        assert {key for key in keys if f"C({key})" not in documented} == set()


def test_python_files_are_short():
    lengths = {path: len(path.read_text().splitlines()) for path in tracked("plugins/*.py", "tests/*.py")}
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > PYTHON_LINES} == {}


def test_code_names_its_licence():
    code = tracked("plugins/*.py", "tests/*.py", "*.sh", ".ci/run")
    header = "SPDX-License-Identifier: GPL-3.0-or-later"
    assert [str(path.relative_to(ROOT)) for path in code if path.stat().st_size and header not in path.read_text()[:400]] == []


def test_nothing_depends_on_where_it_was_written():
    # In two halves, for this file is looked at too.
    unwanted = ["/work" + "/", "pypi" + ".org", "files.python" + "hosted", "ci-files" + ".testing"]
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in tracked()
        for word in unwanted
        if word.encode() in path.read_bytes() and not path.is_relative_to(ROOT / "tests/contract")
    ]
    assert found == []


def test_the_readme_lists_every_plugin():
    readme = (ROOT / "README.md").read_text()
    # A step is of no use without the others of its role.
    assert [path.stem for path in [*MODULES, *FILTERS, *CALLBACKS] if path not in STEPS and f"`{path.stem}`" not in readme] == []
