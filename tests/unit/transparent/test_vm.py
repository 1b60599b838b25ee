# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules on a VM: ordered, confirmed by a new connection, or undone; and the module that does so in one task."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent import change, redirection, vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import host
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import TRANSPARENT_DROP_IN
from ansible_collections.meshfleet.kuma.plugins.modules import transparent_proxy
from tests.examples import examples
from tests.unit.module_runner import run
from tests.unit.transparent.test_redirection import WANTED
from tests.unit.transparent.world import World

OLD = redirection.settings(WANTED, [22], [])
NEW = redirection.settings({**WANTED, "exclude_inbound_ports": ["9100"]}, [22], [])
ORDERED = {"client": "10.0.0.9", "client_port": 50000, "server": "10.0.0.1", "port": 22}
AGAIN = {**ORDERED, "client_port": 50001}
PROGRAM = ["python3", "program.py"]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def lay_down(world):
    for path in (vm.UNIT_PATH, TRANSPARENT_DROP_IN, vm.PROGRAM_DIR + "/program.py"):
        target = Path(world.root) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("laid down")


def order(world, wanted):
    lay_down(world)
    world.vm.order(wanted, ORDERED, 60, PROGRAM)
    world.vm.wait_applied(5, lambda: None)


def keep(world, wanted):
    order(world, wanted)
    world.vm.confirm(AGAIN)


def test_what_a_new_connection_confirmed_stays(world):
    keep(world, OLD)
    assert world.vm.held() == OLD
    assert world.vm.pending() is None
    assert world.timer is None
    assert world.unit == {"ActiveState": "active", "UnitFileState": "enabled", "Job": "0"}
    assert world.vm.expected() == world.vm.rules() != {}


def test_the_way_back_is_armed_before_the_first_rule(world):
    """Trap 48: whoever is locked out cannot arm it any more."""
    order(world, OLD)
    names = [command[0].rpartition("/")[2] for command in world.commands]
    assert names.index("systemd-run") < names.index("kumactl")
    assert world.timer == [*PROGRAM, "rollback"]


@pytest.mark.parametrize(("mode", "tools"), [("dualstack", ["ip6tables", "iptables"]), ("ipv4", ["iptables"])])
def test_trap_48_connections_from_before_are_left_alone_until_the_rules_go(world, mode, tools):
    """However long they were idle; there is one such rule in each chain, in front of the others, however often rules are applied."""
    wanted = redirection.settings({**WANTED, "ip_family_mode": mode}, [22], [])
    chains = {tool: ["OUTPUT", "PREROUTING"] for tool in tools}
    keep(world, wanted)
    assert world.spared_before_the_rules == world.spared == chains
    keep(world, redirection.settings({**WANTED, "ip_family_mode": mode, "exclude_inbound_ports": ["9100"]}, [22], []))
    assert world.spared == chains
    assert all("KUMA_MESH" in "".join(world.saved[tool][2:]) and "KUMA_MESH" not in "".join(world.saved[tool][:2]) for tool in tools)
    world.vm.remove()
    assert world.spared == {}
    assert world.foreign_untouched()


def test_nothing_is_applied_when_the_way_back_cannot_be_armed(world):
    world.failing.add(("systemd-run",))
    with pytest.raises(vm.Failed, match="nothing was applied"):
        world.vm.order(OLD, ORDERED, 60, PROGRAM)
    assert world.rules == []
    assert world.vm.pending() is None


@pytest.mark.parametrize("before", [None, OLD])
def test_a_rollback_leaves_the_vm_as_it_was(world, before):
    if before:
        keep(world, before)
    rules, unit = world.rules, dict(world.unit)
    order(world, NEW)
    assert world.rules != rules
    world.vm.rollback()
    assert (world.rules, world.vm.held(), world.vm.pending()) == (rules, before, None)
    assert world.unit == unit
    assert bool(world.vm.laid_down()) == (before is not None)
    assert world.foreign_untouched()
    with pytest.raises(vm.Failed, match="no new connection came in time"):
        world.vm.confirm(AGAIN)


def test_a_reboot_before_the_confirmation_leaves_the_vm_as_it_was(world):
    keep(world, OLD)
    rules = world.rules
    order(world, NEW)
    for name in ("pending.json", "rules.json"):
        (Path(world.root) / "run/kuma-transparent-proxy" / name).unlink()
    world.saved = {tool: [] for tool in world.saved}
    world.vm.apply()
    assert world.rules == rules
    assert world.spared == {}, "at boot there is no connection to be spared"


@pytest.mark.parametrize("connection", [ORDERED, None, {**AGAIN, "client": "127.0.0.6"}])
def test_a_connection_that_proves_nothing_undoes_everything(world, connection):
    order(world, OLD)
    with pytest.raises(vm.Failed):
        world.vm.confirm(connection)
    assert world.rules == []
    assert world.vm.held() is None


def test_rules_that_are_gone_at_the_confirmation_undo_everything(world):
    order(world, OLD)
    world.saved["ip6tables"] = []
    with pytest.raises(vm.Failed, match="the rules are not those that were applied: ipv6: gone"):
        world.vm.confirm(AGAIN)
    assert (world.rules, world.vm.held()) == ([], None)


def test_kumactl_that_fails_undoes_everything_and_says_why(world):
    world.failing.add((WANTED["kumactl"], "install"))
    with pytest.raises(vm.Failed, match=r"kuma-transparent-proxy\.service is failed, and everything was undone"):
        order(world, OLD)
    assert (world.rules, world.vm.pending()) == ([], None)


def test_uninstall_that_fails_is_made_up_for(world):
    """Trap 48: it looks for a user of its own, and knows its rules by their comments alone."""
    keep(world, OLD)
    world.failing.add((WANTED["kumactl"], "uninstall"))
    world.vm.remove()
    assert world.rules == []
    assert world.foreign_untouched()


def test_a_stale_backup_of_the_resolver_is_set_aside(world):
    """Trap 48: uninstall would write it over /etc/resolv.conf."""
    keep(world, OLD)
    backup = Path(world.root) / "etc/resolv.conf.kuma-backup"
    backup.write_text("nameserver 192.0.2.1\n")
    world.vm.remove()
    assert not backup.exists()
    assert (backup.parent / "resolv.conf.kuma-backup.old").exists()


STEPS = st.lists(st.sampled_from(["order old", "order new", "confirm", "confirm badly", "timer", "reboot"]), max_size=8)


@given(STEPS)
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_happens_the_rules_are_the_confirmed_ones_or_the_way_back_is_armed(tmp_path_factory, steps):
    world = World(tmp_path_factory.mktemp("vm"))
    for step in steps:
        try:
            if step.startswith("order") and world.vm.pending() is None:
                order(world, OLD if step == "order old" else NEW)
            elif step.startswith("confirm"):
                world.vm.confirm(AGAIN if step == "confirm" else ORDERED)
            elif step == "timer" and world.timer:
                world.vm.rollback()
                world.timer = None
            elif step == "reboot":
                world.saved = {tool: [] for tool in world.saved}
                world.timer = None
                for name in ("pending.json", "rules.json"):
                    vm.remove(os.path.join(world.root, "run/kuma-transparent-proxy", name))
                if world.unit["UnitFileState"] == "enabled":
                    world.vm.apply()
        except vm.Failed:
            assert world.vm.pending() is None
        held, pending = world.vm.held(), world.vm.pending()
        if pending:
            assert world.timer, steps
        else:
            expected = world.made(redirection.install_command(held)) * 2 if held else []
            assert world.rules == expected, steps


@pytest.fixture
def module(world, monkeypatch):
    """Runs the module on the simulated VM: ``module(state=..., check=..., client_port=...)``."""
    connection = dict(ORDERED)
    monkeypatch.setattr(transparent_proxy, "ROOT", world.root)
    monkeypatch.setattr(transparent_proxy, "vm", mock.Mock(wraps=vm, Vm=lambda run, root: world.vm))
    monkeypatch.setattr(transparent_proxy.vm, "Failed", vm.Failed)
    monkeypatch.setattr(redirection, "ssh_connection", lambda environments: dict(connection))
    listening = [{"address": "0.0.0.0", "port": port, "process": "envoy"} for port in (15001, 15006)]
    monkeypatch.setattr(host.Processes, "listening", lambda self: listening)
    program = Path(world.root) / vm.PROGRAM_DIR

    def call(check=False, diff=False, client_port=50000, **options):
        connection["client_port"] = client_port
        files = [{"path": str(program / "program.py"), "content": "the program"}]
        options = {"user": "root", "directories": [str(program)], "files": files, "ready_timeout": 0, **options}
        return run("transparent_proxy", options, check, diff)

    program.parent.mkdir(parents=True)
    monkeypatch.setattr(redirection, "OWNER_NAME", "root")
    call.listening = listening
    return call


def test_one_task_orders_and_another_confirms_and_then_nothing_is_left_to_do(world, module):
    first = module()
    assert (first["changed"], first["ordered"], first["reasons"]) == (True, True, ["no rules were applied before"])
    assert module(state="confirmed", client_port=50001)["changed"] is False
    before = len(world.commands)
    again = module(client_port=50002)
    assert (again["changed"], again["ordered"], again["reasons"]) == (False, False, [])
    assert [command for command in world.commands[before:] if command[0] not in ("iptables-save", "ip6tables-save")] == [
        *[[tool, "--version"] for tool in ("iptables", "iptables-restore")],
        ["systemctl", "show", "--property=ActiveState,UnitFileState,Job", "kuma-transparent-proxy.service"],
    ]


def test_what_an_older_release_laid_down_in_one_folder_goes_and_nothing_else(world, module):
    module()
    module(state="confirmed", client_port=50001)
    package = Path(world.root, vm.OLD_SOURCES[0]).parent
    (package / "_transparent").mkdir(parents=True)
    kept = [package / "_transparent/vm.py", package / "own.py"]
    for path in [*kept, *(Path(world.root, path) for path in vm.OLD_SOURCES)]:
        path.write_text("")
    found = module(client_port=50002)
    assert (found["changed"], found["ordered"]) == (True, False)
    assert sorted(path for path in package.glob("**/*.py")) == kept
    assert module(client_port=50003)["changed"] is False


def test_check_mode_shows_what_kumactl_would_make_and_changes_nothing(world, module):
    found = module(check=True, diff=True)
    assert found["changed"]
    assert not found["ordered"]
    assert "--dport 22 -j RETURN" in found["diff"][-1]["after"]
    assert found["diff"][-1]["before"] == ""
    assert (world.rules, world.vm.laid_down()) == ([], [])
    module()
    module(state="confirmed", client_port=50001)
    changed = module(check=True, diff=True, exclude_inbound_ports=["9100"])
    assert changed["reasons"] == ["the options differ from those that were applied"]
    assert "9100" in changed["diff"][-1]["after"]
    assert "9100" not in changed["diff"][-1]["before"]


def test_rules_that_are_gone_are_named_and_applied_again(world, module):
    module()
    module(state="confirmed", client_port=50001)
    rules = world.rules
    world.saved["iptables"] = [line for line in world.saved["iptables"] if "--dport 22" not in line]
    found = module(client_port=50002, diff=True)
    assert found["ordered"]
    assert found["reasons"] == ["ipv4: gone: nat -A KUMA_MESH_INBOUND -p tcp -m tcp --dport 22 -j RETURN"]
    assert "--dport 22" in found["diff"][-1]["after"]
    assert world.rules == rules


def test_the_port_and_the_controller_of_this_connection_are_excluded(world, module):
    module(ansible_port=2222)
    settings = world.vm.pending()["settings"]
    assert settings["arguments"][settings["arguments"].index("--exclude-inbound-ports") + 1] == "22,2222"
    assert settings["controllers"] == ["10.0.0.9"]


@pytest.mark.parametrize("options", [{"members": ["10.0.0.9"]}, {"exclude_controller": False}])
def test_a_controller_that_is_a_member_of_the_mesh_is_not(world, module, options):
    module(**options)
    assert world.vm.pending()["settings"]["controllers"] == []


def test_no_rule_is_applied_before_the_proxy_listens(world, module):
    module.listening.pop()
    found = module()
    assert found["failed"]
    assert "nobody listens on port 15006, expected Envoy" in found["msg"]
    assert (world.rules, world.vm.laid_down()) == ([], [])


def test_every_problem_is_named_and_nothing_is_done(world, module):
    world.missing.update(["iptables", "iptables-save", "ip6tables-save"])
    found = module(user="nobody-has-this-name", redirect_inbound_port=0)
    assert len(found["problems"]) == 4
    assert "expected the package iptables" in found["msg"]
    assert (world.rules, world.vm.laid_down()) == ([], [])


def test_a_link_in_the_place_of_a_directory_goes_alone(world, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("x")
    link = os.path.dirname(world.vm.settings_path)
    os.makedirs(os.path.dirname(link), exist_ok=True)
    os.symlink(elsewhere, link)
    world.vm.forget()
    assert world.vm.laid_down() == []
    assert os.listdir(elsewhere) == ["kept"]


def test_two_runs_at_once_are_refused(world, module):
    module()
    assert "other rules wait to be confirmed" in module(client_port=50005)["msg"]


def test_trap_48_a_user_that_uninstall_does_not_find_is_refused(world, module, monkeypatch):
    """Trap 48: uninstall has no option for the user."""
    monkeypatch.setattr(redirection, "OWNER_NAME", "nobody-has-this-name")
    assert "`kumactl uninstall transparent-proxy` looks for one of the two" in module(user="root")["msg"]


def test_leaving_takes_everything_away_once(world, module):
    module()
    module(state="confirmed", client_port=50001)
    check = module(state="absent", check=True)
    assert check["changed"]
    assert world.rules != []
    assert module(state="absent")["changed"]
    assert (world.rules, world.vm.laid_down(), world.unit["UnitFileState"]) == ([], [], "disabled")
    assert world.foreign_untouched()
    assert not module(state="absent")["changed"]


def test_the_connection_is_kept_in_use_while_connections_begin_to_be_tracked(capsys):
    change._pulse()
    assert capsys.readouterr().out == "\n"


def test_state_files_are_whole_or_old(tmp_path):
    path = str(tmp_path / "deep" / "file.json")
    vm.write(path, {"a": 1})
    with mock.patch.object(os, "fsync", side_effect=OSError("disk full")), pytest.raises(OSError, match="disk full"):
        vm.write(path, {"a": 2})
    assert vm._read(path) == {"a": 1}
    assert os.listdir(tmp_path / "deep") == ["file.json"]
