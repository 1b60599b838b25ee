# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is laid down on VMs beside the modules: programs, all that these import, and nothing else."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import layout, redirection_files
from tests.unit.gate.sources import ROOT, Sources

SOURCES = Sources()
# Each program of a role, and the files of module_utils that are laid down for it.
PROGRAMS = {
    "roles/kuma_proxy/files/kuma_dp_restart.py": layout.RESTART_SOURCES,
    "roles/kuma_transparent_proxy/files/kuma_transparent_proxy.py": redirection_files.SOURCES,
}
ROLE = ROOT / "roles/kuma_transparent_proxy"


@pytest.fixture(scope="module")
def redirecting(renderer):
    """The files of a VM whose connections are redirected: ``{path: content}``, in their order."""

    def render(template, variables):
        return renderer(template, {"ansible_search_path": [str(ROLE)], **variables})

    program = redirection_files.command("/usr/bin/python3.11")
    found = redirection_files.files(program, render, lambda path: (ROOT / path).read_text())
    return {item["path"]: item["content"] for item in found}


def test_rules_are_laid_down_into_directories_that_are_made_and_their_program_comes_last(redirecting):
    directories = redirection_files.directories()
    assert {str(pathlib.Path(path).parent) for path in redirecting} <= {*directories, "/etc/systemd/system"}
    assert len(directories) == len(set(directories))
    for path in directories:
        # A parent comes before, or is one that every VM has.
        assert str(pathlib.Path(path).parent) in (*directories[: directories.index(path)], "/etc/systemd/system", "/usr/local/lib")
    for name in redirection_files.SOURCES:
        path = f"/usr/local/lib/kuma-transparent-proxy/{layout.PACKAGE}/{name}.py"
        assert redirecting[path] == (ROOT / f"plugins/module_utils/{name}.py").read_text()
    assert list(redirecting)[-1] == redirection_files.PROGRAM == "/usr/local/lib/kuma-transparent-proxy/kuma_transparent_proxy.py"


def test_the_boot_unit_comes_before_the_proxy(redirecting):
    assert (
        "After=kuma-transparent-proxy.service" in redirecting["/etc/systemd/system/kuma-dp@.service.d/transparent-proxy.conf"].splitlines()
    )
    unit = redirecting["/etc/systemd/system/kuma-transparent-proxy.service"].splitlines()
    for line in ("Type=oneshot", "RemainAfterExit=yes", "WantedBy=multi-user.target"):
        assert line in unit
    run = f"/usr/bin/python3.11 -ISB {redirection_files.PROGRAM}"
    assert [line for line in unit if line.startswith("Exec")] == [
        f"ExecStart={run} apply",
        f"ExecReload={run} apply",
        f"ExecStop={run} remove",
    ]


def test_every_program_of_a_role_is_looked_at():
    assert sorted(PROGRAMS) == sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("roles/*/files/*.py"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_laid_down_is_what_the_program_imports(program):
    needed = SOURCES.closure((ROOT / program).read_text())
    assert list(PROGRAMS[program]) == sorted(file.removeprefix("module_utils/") for file in needed)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_runs_with_what_is_laid_down_alone(program, tmp_path):
    """Without site packages, as its unit runs it: everything is imported, also what is imported late."""
    for name in PROGRAMS[program]:
        path = tmp_path / layout.PACKAGE / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((ROOT / f"plugins/module_utils/{name}.py").read_bytes())
    copy = tmp_path / pathlib.Path(program).name
    copy.write_bytes((ROOT / program).read_bytes())
    modules = "".join(
        f"import ansible_collections.meshfleet.kuma.plugins.module_utils.{name.replace('/', '.')}\n" for name in PROGRAMS[program]
    )
    for command in (["-c", f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{modules}"], [str(copy), "--help"]):
        done = subprocess.run([sys.executable, "-ISB", *command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.glob("**/__pycache__")), "nothing is left on the VM"
