# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles lay down on VMs beside the modules: programs, all that these import, and nothing else."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
import yaml

from tests.unit.gate.sources import ROOT, Sources
from tests.unit.roles.template_renderer import Renderer

SOURCES = Sources()
PROGRAMS = {
    "kuma_dp_restart_sources": ROOT / "roles/kuma_dp/files/kuma_dp_restart.py",
    "kuma_transparent_proxy_sources": ROOT / "roles/kuma_transparent_proxy/files/kuma_transparent_proxy.py",
}


def laid(variable):
    return yaml.safe_load((PROGRAMS[variable].parents[1] / "vars/main.yml").read_text())[variable]


@pytest.fixture(scope="module")
def renderer():
    started = Renderer()
    yield started
    started.close()


def test_rules_are_laid_down_into_directories_that_are_made_and_their_program_comes_last(renderer):
    role = ROOT / "roles/kuma_transparent_proxy"
    known = yaml.safe_load((role / "vars/main.yml").read_text())
    variables = {
        "role_path": str(role),
        "ansible_search_path": [str(role)],
        "kuma_transparent_proxy_dir": known["kuma_transparent_proxy_dir"],
        "kuma_transparent_proxy_sources": known["kuma_transparent_proxy_sources"],
        "kuma_transparent_proxy_package": known["kuma_transparent_proxy_dir"] + "/ansible_collections/meshfleet/kuma/plugins/module_utils",
        "kuma_transparent_proxy_program": ["/usr/bin/python3"],
    }
    files, directories = (json.loads(renderer(f"{name}.json.j2", variables)) for name in ("files", "directories"))
    content = {item["path"]: item["content"] for item in files}
    assert {str(pathlib.Path(path).parent) for path in content} <= {*directories, "/etc/systemd/system"}
    assert len(directories) == len(set(directories))
    for name in known["kuma_transparent_proxy_sources"]:
        path = f"{variables['kuma_transparent_proxy_package']}/{name}.py"
        assert content[path] == (ROOT / f"plugins/module_utils/{name}.py").read_text()
    assert list(content)[-1] == known["kuma_transparent_proxy_dir"] + "/kuma_transparent_proxy.py"


def test_every_program_of_a_role_is_looked_at():
    assert sorted(PROGRAMS.values()) == sorted(ROOT.glob("roles/*/files/*.py"))


@pytest.mark.parametrize("variable", PROGRAMS)
def test_what_is_laid_down_is_what_the_program_imports(variable):
    needed = SOURCES.closure(PROGRAMS[variable].read_text())
    assert laid(variable) == sorted(file.removeprefix("module_utils/") for file in needed)


@pytest.mark.parametrize("variable", PROGRAMS)
def test_a_program_runs_with_what_is_laid_down_alone(variable, tmp_path):
    """Without site packages, as its unit runs it: everything is imported, also what is imported late."""
    package = tmp_path / "ansible_collections/meshfleet/kuma/plugins/module_utils"
    for name in laid(variable):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / f"{name}.py").write_bytes((ROOT / f"plugins/module_utils/{name}.py").read_bytes())
    program = tmp_path / PROGRAMS[variable].name
    program.write_bytes(PROGRAMS[variable].read_bytes())
    modules = "".join(
        f"import ansible_collections.meshfleet.kuma.plugins.module_utils.{name.replace('/', '.')}\n" for name in laid(variable)
    )
    for command in (["-c", f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{modules}"], [str(program), "--help"]):
        done = subprocess.run([sys.executable, "-ISB", *command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.glob("**/__pycache__")), "nothing is left on the VM"
