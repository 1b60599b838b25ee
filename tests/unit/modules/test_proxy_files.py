# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units that were written or removed are read again by systemd, in the same task."""

from __future__ import annotations

import pytest
from ansible.module_utils import basic

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import systemd
from tests.unit import module_runner


@pytest.fixture
def vm(tmp_path, monkeypatch):
    """A VM in a directory; ``vm.answer`` is what systemctl says."""
    for name in ("units", "units2", "running"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(systemd, "UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(systemd, "RUNNING", str(tmp_path / "running"))
    commands = []

    def run_command(_module, command, **_options):
        commands.append(command)
        return vm.answer

    monkeypatch.setattr(basic.AnsibleModule, "run_command", run_command)
    vm = type("Vm", (), {"root": tmp_path, "commands": commands, "answer": (0, "", "")})
    return vm


def run(vm, name="units/a.service", content="[Unit]\n", check=False, **other):
    options = {"files": [{"path": f"{vm.root}/{name}", "content": content}], "daemon_reload": True, **other}
    return module_runner.run("proxy_files", options, check=check)


RELOAD = ["systemctl", "daemon-reload"]


def test_systemd_reads_a_changed_unit_once(vm):
    assert run(vm)["daemon_reloaded"] is True
    assert vm.commands == [RELOAD]
    assert run(vm)["daemon_reloaded"] is False
    assert vm.commands == [RELOAD], "nothing changed"


def test_a_drop_in_and_a_unit_that_is_removed_count_as_well(vm):
    run(vm, "units/a.service.d/b.conf", directories=[{"path": f"{vm.root}/units/a.service.d"}])
    removed = run(vm, files=[], absent=[f"{vm.root}/units/a.service.d"], below=[f"{vm.root}/units"])
    assert removed["daemon_reloaded"] is True
    assert vm.commands == [RELOAD, RELOAD]


@pytest.mark.parametrize(
    ("name", "other"),
    [("units/a.service", {"daemon_reload": False}), ("units/a.service", {"check": True}), ("units2/a.service", {}), ("a", {})],
)
def test_nothing_else_makes_it(vm, name, other):
    result = run(vm, name, **other)
    assert (result["changed"], result["daemon_reloaded"]) == (True, False)
    assert vm.commands == []


def test_where_systemd_does_not_run_nothing_fails(vm):
    (vm.root / "running").rmdir()
    result = run(vm)
    assert (result["changed"], result["daemon_reloaded"]) == (True, False)
    assert vm.commands == []


def test_a_failure_is_told_with_what_was_written(vm):
    vm.answer = (1, "", "Failed to reload daemon: Access denied\n")
    failed = run(vm)
    assert failed["failed"]
    assert failed["msg"] == (
        "daemon_reload: everything was written, but systemctl daemon-reload failed (Failed to reload daemon: Access denied): run it on the VM"
    )
    assert (failed["changed"], failed["changed_paths"]) == (True, [f"{vm.root}/units/a.service"])
    vm.answer = (3, "", "")
    assert "failed (status 3)" in run(vm, content="[Service]\n")["msg"]
