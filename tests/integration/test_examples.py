# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples in the documentation of modules and filters run as they are printed, those of one sort of run in one ansible-playbook."""

from __future__ import annotations

import ast
import json
import pathlib
import re
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
PLUGINS = sorted([*(ROOT / "plugins" / "modules").glob("*.py"), *(ROOT / "plugins" / "filter").glob("*.py")])


def examples(path):
    """EXAMPLES of a plugin, a playbook."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "EXAMPLES":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path.name} has no EXAMPLES")


# The others look at a VM or write to it; their examples run on the hosts of tests/fleet.
ON_THE_CONTROLLER = {f"{path.parent.name}-{path.stem}".replace("_", "-"): path for path in PLUGINS if "hosts: localhost" in examples(path)}
CHECK, ONCE, AGAIN = "in check mode", "once", "again"
# What an example can lack in check mode is what a task registers for the next one. Each module alone is run in it by tests/unit.
CHECKED = [name for name, path in ON_THE_CONTROLLER.items() if "register: " in examples(path)]
RUNS = [pytest.param(name, CHECK, marks=[] if name in CHECKED else pytest.mark.nightly) for name in ON_THE_CONTROLLER]
RUNS += [(name, ONCE) for name in ON_THE_CONTROLLER]
RUNS += [pytest.param(name, AGAIN, marks=pytest.mark.nightly) for name in ON_THE_CONTROLLER]


@pytest.fixture(scope="module")
def ran(request, ansible_playbook, control_plane, tmp_path_factory):
    """``ran(how)`` runs the examples of all selected tests together: ``{plugin: (whether they went well, what the run said)}``."""
    directory, done = tmp_path_factory.mktemp("examples"), {}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    variables = {**local, "kuma_api_url": control_plane.url, "kuma_api_token": control_plane.token}
    (directory / "variables.json").write_text(json.dumps(variables))
    for name, path in ON_THE_CONTROLLER.items():
        # A host of its own: nothing that the examples of another plugin register is there for these.
        (directory / f"{name}.yml").write_text("---\n" + examples(path).replace("hosts: localhost", f"hosts: {name}"))

    def play(left, *arguments):
        found = {}
        while left:
            book = directory / "all.yml"
            book.write_text(json.dumps([{"import_playbook": f"{name}.yml"} for name in left]))
            run = ansible_playbook("-i", f"{','.join(left)},", book, "-e", f"@{directory}/variables.json", *arguments)
            said = run.stdout + run.stderr
            recap = dict(re.findall(r"^(\S+) +: .* (unreachable=\d+ +failed=\d+) ", run.stdout, re.MULTILINE))
            failed = {name for name, counts in recap.items() if set(re.findall(r"\d+", counts)) != {"0"}}
            assert recap, said
            assert bool(run.returncode) == bool(failed), said
            # A failure ends the run: those behind it come in the next one.
            assert failed or set(recap) == set(left), said
            found.update({name: (name not in failed, said) for name in recap})
            left = [name for name in left if name not in recap]
        return found

    def get(how):
        if how not in done:
            tests = [item.callspec.params for item in request.session.items if item.function == test_examples_run]
            names = [test["name"] for test in tests if test["how"] == how]
            if how == AGAIN:
                play([name for name in names if name not in done.get(ONCE, {})])
            done[how] = play(names, *(["--check", "--diff"] if how == CHECK else []))
        return done[how]

    return get


@pytest.mark.parametrize(("name", "how"), RUNS)
def test_examples_run(name, how, ran, control_plane):
    well, said = ran(how)[name]
    assert well, said
    assert control_plane.token not in said


def test_all_examples_that_need_no_vm_run_here():
    api = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]["api"]
    filters = [path.stem for path in PLUGINS if path.parent.name == "filter"]
    assert {*api, *filters, "control_plane_plan", "inventory_check"} == {path.stem for path in ON_THE_CONTROLLER.values()}
