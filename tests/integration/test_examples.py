# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples in the documentation of modules and filters run as they are printed."""

from __future__ import annotations

import ast
import json
import os
import pathlib
import subprocess

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
ON_THE_CONTROLLER = [path for path in PLUGINS if "hosts: localhost" in examples(path)]


def play(book, variables, *arguments):
    return subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-c", "local", str(book), "-e", f"@{variables}", *arguments],
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", ON_THE_CONTROLLER, ids=lambda path: path.stem)
def test_examples_run_twice_and_in_check_mode(path, control_plane, tmp_path):
    book, variables = tmp_path / "examples.yml", tmp_path / "variables.json"
    book.write_text("---\n" + examples(path))
    variables.write_text(json.dumps({"kuma_api_url": control_plane.url, "kuma_api_token": control_plane.token}))
    for arguments in (["--check", "--diff"], [], []):
        run = play(book, variables, *arguments)
        assert run.returncode == 0, f"{arguments}\n{run.stdout}\n{run.stderr}"
        assert control_plane.token not in run.stdout + run.stderr


def test_all_examples_that_need_no_vm_run_here():
    api = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]["api"]
    filters = [path.stem for path in PLUGINS if path.parent.name == "filter"]
    assert {*api, *filters, "control_plane_plan", "inventory_check"} == {path.stem for path in ON_THE_CONTROLLER}
