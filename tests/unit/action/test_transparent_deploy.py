# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The step that has rules applied: what the module is told, and how a VM is left that nobody can reach."""

from __future__ import annotations

import types

import pytest
import yaml
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.meshfleet.kuma.plugins.action import fleet_look, transparent_deploy
from ansible_collections.meshfleet.kuma.plugins.modules import transparent_proxy
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, options
from tests.unit.action.vm import DEFAULTS, Vm, made

HOST = {"python_executable": "/usr/bin/python3.11"}
ENABLED = {"kuma_transparent_proxy_enabled": True, "kuma_dp_version": "2.14.3"}


def looked(address="10.0.0.1", gateway=None, proxies=(), **variables):
    """What the look registers for a VM with these variables, as far as this step is concerned."""
    known = {**DEFAULTS, **ENABLED, **variables}
    own = types.SimpleNamespace(read=lambda table: options.read(table, lambda name: known.get(name, "")))
    return {"host": HOST, "options": {"address": address, "transparent_proxy": fleet_look.transparent(own, gateway or {}, proxies)}}


class Network:
    """A connection that can be made at these seconds; time passes by waiting alone."""

    def __init__(self, reachable=lambda now: True):
        self.reachable, self.now, self.calls = reachable, 0.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def reset(self):
        self.calls.append("reset")

    def execute(self, command, sudoable):
        self.calls.append((command, sudoable))
        if not self.reachable(self.now):
            raise AnsibleConnectionFailure("no route")
        return {"rc": 0}


@pytest.fixture
def deploy(monkeypatch):
    """``deploy(answers, variables)`` runs the step; returns its result, the VM and the network."""

    def run(applied=None, confirmed=None, network=None, look=None, check=False, **variables):
        network = network or Network()
        monkeypatch.setattr(transparent_deploy, "time", network)
        given = {"changed": True, "ordered": True, "reasons": ["new"], "arguments": ["--x"], "connection": {}, "invocation": {}}
        answers = [{**given, **(applied or {})}, confirmed or {}]
        vm = Vm(transparent_proxy=lambda told: answers[told.get("state", "present") == "confirmed"])
        look = look or looked(**variables)
        facts = {
            "cp": {"kuma_dp_look": look},
            "other": {"kuma_dp_look": looked("10.0.0.2")},
            "lost": {},
            "failed": {"kuma_dp_look": {"msg": "x"}},
        }
        own = made(
            transparent_deploy,
            vm,
            {
                **ENABLED,
                "kuma_dp_look": look,
                "hostvars": types.SimpleNamespace(raw_get=facts.__getitem__),
                "ansible_play_hosts_all": list(facts),
                **variables,
            },
            check,
        )
        own._connection.reset = network.reset
        own._connection._shell.tmpdir = "/tmp/of-the-vm"
        own._low_level_execute_command = network.execute
        run.action = own
        return own.step(), vm, network

    return run


def test_a_vm_without_rules_is_not_visited(deploy):
    for told in (False, "no", 0):
        result, vm, network = deploy(kuma_transparent_proxy_enabled=told)
        assert (result, vm.calls, network.calls) == ({"changed": False, "ordered": False}, [], [])


def test_what_the_plan_has_checked_is_what_the_module_is_told(deploy):
    result, vm, _network = deploy(
        {"ordered": False}, kuma_dp_user="mesh", kuma_dp_install_dir="/srv/kuma", ansible_port=2222, kuma_transparent_proxy_ssh_ports=[2200]
    )
    told = vm.options("transparent_proxy")
    for key, value in looked(kuma_transparent_proxy_ssh_ports=[2200])["options"]["transparent_proxy"].items():
        assert told[key] == value, key
    assert (told["user"], told["kumactl"], told["ansible_port"]) == ("mesh", "/srv/kuma/current/bin/kumactl", 2222)
    assert (told["ready_timeout"], told["rollback_timeout"], told["exclude_controller"]) == (60, 60, True)
    assert told["program"] == ["/usr/bin/python3.11", "-ISB", "/usr/local/lib/kuma-transparent-proxy/kuma_transparent_proxy.py"]
    assert told["members"] == ["10.0.0.1", "10.0.0.2"]
    assert {
        "path": "/etc/systemd/system/kuma-transparent-proxy.service",
        "content": "kuma_transparent_proxy/kuma-transparent-proxy.service.j2",
    } in (told["files"])
    assert set(told) <= set(yaml.safe_load(transparent_proxy.DOCUMENTATION)["options"])
    assert set(yaml.safe_load(transparent_proxy.DOCUMENTATION)["options"]) - set(told) == {"state"}
    assert result == {"changed": True, "ordered": False, "reasons": ["new"], "arguments": ["--x"]}


def test_a_port_that_the_inventory_does_not_name_is_left_to_the_module(deploy):
    assert "ansible_port" not in deploy({"ordered": False})[1].options("transparent_proxy")


@pytest.mark.parametrize(
    ("look", "inbound", "ports"),
    [
        ({}, True, []),
        ({"gateway": {"name": "edge"}}, False, []),
        ({"proxies": [{"name": "a"}, {"name": "edge", "gateway": {"name": "edge"}}, "no proxy"]}, False, []),
        ({"kuma_zone_proxy_type": "ingress"}, True, ["10001"]),
        ({"kuma_zone_proxy_proxies": [{"type": "egress", "port": 7000}], "kuma_zone_proxy_type": "ingress"}, True, ["7000"]),
    ],
)
def test_gateways_and_zone_proxies_are_called_directly(deploy, look, inbound, ports):
    told = deploy({"ordered": False}, look=looked(**look))[1].options("transparent_proxy")
    assert (told["redirect_inbound"], told["exclude_inbound_ports"]) == (inbound, ports)


def test_rules_that_were_not_ordered_need_no_new_connection(deploy):
    for applied in ({"ordered": False}, {"ordered": False, "changed": False, "reasons": []}):
        _result, vm, network = deploy(applied)
        assert (vm.names, network.calls) == (["transparent_proxy"], [])


def test_rules_are_confirmed_in_a_new_connection(deploy):
    result, vm, network = deploy()
    assert [options.get("state", "present") for _name, options in vm.calls] == ["present", "confirmed"]
    assert vm.options("transparent_proxy") == {"state": "confirmed"}
    assert network.calls == ["reset", ("true", False)]
    assert (result["changed"], result["ordered"]) == (True, True)


def test_a_vm_that_answers_late_is_confirmed_in_time(deploy):
    _result, vm, network = deploy(network=Network(lambda now: now >= 59))
    assert len(vm.calls) == 2
    assert network.now == 59
    assert network.calls.count("reset") == 60


def test_a_vm_that_was_locked_out_is_waited_for_until_it_has_undone_its_rules(deploy):
    network = Network(lambda now: now >= 11)
    with pytest.raises(action.VisitFailed) as failed:
        deploy(network=network, kuma_transparent_proxy_rollback_timeout=8)
    assert failed.value.msg.startswith(
        "cp: the VM has undone the rules of the transparent proxy by itself: no new connection was possible within 8 s. Name every port"
    )
    assert network.now == 11
    assert (failed.value.result["changed"], failed.value.result["reasons"]) == (True, ["new"])
    assert deploy.action._connection._shell.tmpdir


def test_a_vm_that_nobody_reaches_any_more_is_given_up_and_not_cleaned_up(deploy):
    network = Network(lambda now: False)
    with pytest.raises(action.VisitFailed, match=r"within 60 s\. It cannot be reached yet\. Name every port"):
        deploy(network=network)
    assert network.now == 120
    assert deploy.action._connection._shell.tmpdir is None


def test_a_connection_that_proves_nothing_is_told_with_its_reason(deploy):
    with pytest.raises(action.VisitFailed, match=r"by itself: it comes from 127\.0\.0\.6\. Name every port"):
        deploy(confirmed={"failed": True, "msg": "it comes from 127.0.0.6"})


def test_a_module_that_failed_is_not_confirmed(deploy):
    network = Network()
    with pytest.raises(action.VisitFailed, match="No rule was applied"):
        deploy({"failed": True, "msg": "No rule was applied"}, network=network)
    assert network.calls == []


def test_a_connection_that_breaks_while_the_rules_are_confirmed_is_not_asked_twice(deploy):
    """Nobody knows then whether they were."""

    def broken(told):
        raise AnsibleConnectionFailure("reset by peer")

    vm = Vm(transparent_proxy=broken)
    own = made(transparent_deploy, vm, {})
    own._connection.reset = lambda: None
    own._low_level_execute_command = Network().execute
    with pytest.raises(AnsibleConnectionFailure):
        own._confirm({}, 60)
    assert len(vm.calls) == 1
