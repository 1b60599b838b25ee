# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of rotate_ca.yml, in their order, against a control plane and VMs that change as they would; cut anywhere and run again."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.action import control_plane_rotation, fleet_rotation
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import certificates
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import rotation
from tests.unit.action.steps import HostVars
from tests.unit.action.vm import DEFAULTS, Vm, made
from tests.unit.play.control_planes import FILLED_IN, GIVEN
from tests.unit.sockets import sign

OLD, NEW = sign("old CA", ca=True), sign("new CA", ca=True)
URL = "https://cp.example.com:5678"
PLAIN = {name: value for name, value in DEFAULTS.items() if "{{" not in str(value)}
PATH = "/etc/kuma/control-plane-ca.pem"
HOSTS = ("web-1", "web-2")


def sha(pem):
    return [one.sha256 for one in certificates.of_pem(pem)]


class World:
    """A fleet whose control plane is one of role kuma_cp, or of somebody else. ``shown`` is the CA that signed what it shows."""

    def __init__(self, monkeypatch, tmp_path, by_role=True):
        self.by_role, self.shown, self.stage = by_role, OLD.pem, ""
        self.files = dict.fromkeys(HOSTS, OLD.pem)
        self.started = dict.fromkeys(HOSTS, OLD.pem)
        self.facts = {host: {} for host in HOSTS}
        self.inventory = OLD.pem
        self.options = {} if by_role else {"kuma_rotate_ca_new": NEW.pem}
        self.kept, self.log = tmp_path / "kept", []
        self.kept.mkdir()
        self.in_play = list(HOSTS)
        self.slept = []
        monkeypatch.setattr(fleet_rotation.time, "sleep", self.sleep)
        self.happens = lambda: None
        # What a VM finds in place of a certificate that it trusts.
        self.outcome = "foreign"

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.happens()

    # -- modules on VMs

    def proxy_info(self, host, given):
        servers = []
        if given.get("dp_server_url"):
            by = [digest for digest in sha(given["dp_server_ca"]) if digest in sha(self.shown)]
            servers = [
                {
                    "address": "10.0.0.5",
                    "outcome": "trusted" if by else self.outcome,
                    "detail": "",
                    "certificate": dict(certificates.of_pem(sign("cp", NEW if self.shown == NEW.pem else OLD).pem)[0]._asdict()),
                    "trusted_by": by,
                }
            ]
        old = ["CA"] if self.started[host] != self.files[host] else []
        return {
            "host": {
                "time": 0.0,
                "dp_server": {"host": "cp.example.com", "port": 5678, "problem": "", "servers": servers},
                "paths": {PATH: {"sha256": rotation.digest(self.files[host])}},
                "proxies": {host: {"unit": {"active": True}, "restart_codes": old}},
            }
        }

    def certificate(self, given):
        step = given["rollover"]
        before = self.stage
        if step == "prepare" and not self.stage and self.shown == OLD.pem:
            self.stage = "prepared"
        elif step == "switch" and self.stage == "prepared":
            self.stage = "switched"
        elif step == "finish" and self.stage == "switched":
            self.stage = ""
        ca = NEW.pem if self.stage == "switched" or (self.shown == NEW.pem and not self.stage) else OLD.pem
        trusted = {"prepared": OLD.pem + NEW.pem, "switched": OLD.pem + NEW.pem}.get(self.stage, ca)
        following = NEW.pem if self.stage == "prepared" else ""
        return {"changed": before != self.stage, "ca": ca, "next": following, "trusted": trusted, "stage": self.stage, "reasons": []}

    # -- tasks

    def hostvars(self):
        return HostVars({**self.facts, "cp": self.facts.setdefault("cp", {})})

    def of_control_plane(self, step, check=False, **options):
        vm = Vm(control_plane_certificate=self.certificate)
        given = {**FILLED_IN, "store": "postgres", "postgres_password": "p", "fetch_dir": str(self.kept), **options}
        own = made(control_plane_rotation, vm, {f"kuma_cp_{name}": value for name, value in given.items()}, check)
        own.variables.update(hostvars=self.hostvars(), groups={"mesh_fleet": list(HOSTS), "all": [*HOSTS, "cp"]})
        own.params = {"step": step}
        result = own.step()
        if step == "prepare":
            self.facts["cp"][rotation.PREPARED] = result
        return result

    def of_fleet(self, step, host=HOSTS[0], check=False):
        vm = Vm(proxy_info=lambda given: self.proxy_info(host, given))
        variables = {
            **PLAIN,
            "kuma_dp_control_plane_dp_url": URL,
            "kuma_dp_control_plane_ca": self.inventory,
            "kuma_dp_api_ca": self.inventory,
            **self.options,
            **self.facts[host],
        }
        own = made_fleet(vm, variables, check)
        own.host, own.params = host, {"step": step}
        groups = {"mesh_fleet": list(HOSTS), "all": [*HOSTS, "cp"]}
        own.variables.update(hostvars=self.hostvars(), groups=groups, ansible_play_hosts=self.in_play, ansible_play_hosts_all=self.in_play)
        return own.step()

    def each(self, step, name):
        for host in self.in_play:
            try:
                self.facts[host][name] = self.of_fleet(step, host)
            except ItemsFailed as failed:
                self.facts[host][name] = {"failed": True, "msg": failed.msg}

    def roll(self, name):
        """A join and a roll with what the VMs are to trust. None is without the control plane meanwhile, and none after it."""
        for host in self.in_play:
            result = self.facts[host][name]
            if result.get("failed"):
                raise ItemsFailed(result["msg"])
            self.files[host] = result["ca"]
            self.started[host] = result["ca"]
            self.log.append((name, host))
            assert set(sha(self.shown)) & set(sha(self.started[host])), "a proxy was started without a way to the control plane"

    def role(self):
        """Role kuma_cp lays down and runs what is there. All proxies have to trust it from that moment on."""
        self.shown = NEW.pem if self.stage in ("switched", "") else OLD.pem
        for host in HOSTS:
            assert set(sha(self.shown)) & set(sha(self.started[host])), f"{host} lost the control plane"

    def steps(self):
        """The plays of rotate_ca.yml."""
        yield "prepare", lambda: self.by_role and self.of_control_plane("prepare")
        yield "begin", lambda: self.each("begin", rotation.BEGUN)
        yield "first roll", lambda: self.roll(rotation.BEGUN)
        yield "confirm", lambda: self.each("confirm", rotation.CONFIRMED)
        yield "ready", lambda: self.of_fleet("ready")
        yield "switch", lambda: self.by_role and self.of_control_plane("switch")
        yield "role", lambda: self.by_role and self.role()
        yield "await", lambda: self.of_fleet("await")
        yield "served", lambda: self.each("served", rotation.SERVED)
        yield "last roll", lambda: self.roll(rotation.SERVED)
        yield "end", lambda: self.each("end", rotation.ENDED)
        yield "finish", lambda: self.by_role and self.of_control_plane("finish")
        yield "over", lambda: self.of_fleet("over")

    def run(self, until=None):
        """All plays in a new run, or those before ``until``; facts of an earlier run are gone, and its kept CA is what the inventory has."""
        self.facts = {host: {} for host in HOSTS}
        if self.by_role and (self.kept / "ca.pem").exists():
            self.inventory = (self.kept / "ca.pem").read_text()
        for name, do in self.steps():
            if name == until:
                return None
            result = do()
        return result


def made_fleet(vm, variables, check):
    """As ``made`` does it for a role of its own."""
    fleet_rotation.ActionModule.ARGUMENTS["role"] = {"default": "kuma_dp"}
    try:
        return made(fleet_rotation, vm, variables, check)
    finally:
        del fleet_rotation.ActionModule.ARGUMENTS["role"]


@pytest.fixture
def world(monkeypatch, tmp_path):
    return World(monkeypatch, tmp_path)


@pytest.fixture
def foreign(monkeypatch, tmp_path):
    return World(monkeypatch, tmp_path, by_role=False)


STEPS = ["prepare", "begin", "first roll", "confirm", "ready", "switch", "role", "await", "served", "last roll", "end", "finish", "over"]


def check_over(world):
    assert world.files == world.started == dict.fromkeys(HOSTS, NEW.pem)
    assert (world.shown, world.stage) == (NEW.pem, "")


def test_every_proxy_trusts_both_before_the_control_plane_changes_and_the_new_one_alone_after_it(world):
    result = world.run()
    check_over(world)
    assert "The fleet trusts CN=new CA alone" in result["msg"][0]
    assert (world.kept / "ca.pem").read_text() == NEW.pem
    assert [name for name, _host in world.log] == [rotation.BEGUN] * 2 + [rotation.SERVED] * 2


@pytest.mark.parametrize("cut", STEPS)
def test_a_rollover_that_was_cut_before_any_step_goes_on(world, cut):
    world.run(until=cut)
    kept = (world.kept / "ca.pem").read_text() if (world.kept / "ca.pem").exists() else OLD.pem
    assert set(sha(world.shown)) <= set(sha(kept)), "whoever joins meanwhile trusts the control plane"
    world.run()
    check_over(world)


@pytest.mark.parametrize("cut", STEPS)
def test_it_goes_on_with_another_control_plane_as_well(foreign, cut):
    if STEPS.index(cut) <= STEPS.index("await"):
        foreign.run(until=cut)
    with pytest.raises(ItemsFailed, match="Now give the control plane its certificate of the new CA"):
        foreign.run()
    assert foreign.started == dict.fromkeys(HOSTS, OLD.pem + NEW.pem)
    assert foreign.slept == []
    foreign.shown = NEW.pem
    result = foreign.run()
    assert foreign.files == foreign.started == dict.fromkeys(HOSTS, NEW.pem)
    assert "set kuma_dp_control_plane_ca to it in the inventory" in result["msg"][0]


def test_it_waits_for_another_control_plane_when_it_is_asked_to(foreign):
    foreign.options["kuma_rotate_ca_wait"] = "1h"

    def happens():
        if len(foreign.slept) == 3:
            foreign.shown = NEW.pem

    foreign.happens = happens
    foreign.run()
    assert len(foreign.slept) == 3
    assert foreign.started == dict.fromkeys(HOSTS, NEW.pem)


def test_what_keeps_it_waiting_is_told_by_the_clocks_of_now(foreign):
    foreign.outcome = "not_yet"
    with pytest.raises(ItemsFailed, match=r"the clock of the VM is about [0-9]+ years behind"):
        foreign.run()


def test_nothing_is_restarted_when_it_is_over_and_somebody_runs_it_again(world):
    world.run()
    world.log.clear()
    before = dict(world.started)
    world.run()
    assert world.started == before
    check_over(world)


def test_a_host_that_is_not_in_the_play_keeps_the_control_plane_from_changing(world):
    world.in_play = [HOSTS[0]]
    with pytest.raises(ItemsFailed, match="web-2: it is not in this play, or was lost on the way"):
        world.run()
    assert world.shown == OLD.pem
    with pytest.raises(ItemsFailed, match="1 host does not trust the new CA yet"):
        world.of_control_plane("switch")
    assert world.stage == "prepared"
    world.in_play = list(HOSTS)
    world.run()
    check_over(world)


def test_a_proxy_that_was_not_restarted_keeps_the_control_plane_from_changing(world):
    world.run(until="confirm")
    world.started["web-2"] = OLD.pem
    world.each("confirm", rotation.CONFIRMED)
    for step in (lambda: world.of_fleet("ready"), lambda: world.of_control_plane("switch")):
        with pytest.raises(ItemsFailed, match="web-2: web-2 was started before the CA was laid down"):
            step()
    assert world.stage == "prepared"


def test_a_proxy_that_still_trusts_the_former_ca_keeps_it_from_being_forgotten(world):
    world.run(until="end")
    world.started["web-2"] = OLD.pem + NEW.pem
    world.each("end", rotation.ENDED)
    with pytest.raises(ItemsFailed, match="web-2"):
        world.of_control_plane("finish")
    assert world.stage == "switched"


def test_a_file_that_somebody_else_laid_down_is_told(world):
    world.run(until="confirm")
    world.files["web-1"] = world.started["web-1"] = OLD.pem
    world.each("confirm", rotation.CONFIRMED)
    with pytest.raises(ItemsFailed, match="see that -e does not set kuma_dp_control_plane_ca"):
        world.of_fleet("ready")


def test_a_control_plane_that_nobody_trusts_is_not_rolled_over(world):
    world.inventory, world.shown = OLD.pem, sign("foreign", ca=True).pem
    world.by_role, world.options = False, {"kuma_rotate_ca_new": NEW.pem}
    world.each("begin", rotation.BEGUN)
    assert "kuma_dp_control_plane_dp_url is https://cp.example.com:5678, and the certificate" in world.facts["web-1"][rotation.BEGUN]["msg"]


def test_the_api_is_trusted_with_both_as_well(world):
    world.run(until="first roll")
    assert sha(world.facts["web-1"][rotation.BEGUN]["api_ca"]) == sha(OLD.pem + NEW.pem)


def test_the_memory_store_is_refused(world):
    with pytest.raises(ItemsFailed, match="kuma_cp_store is memory, expected postgres"):
        world.of_control_plane("prepare", store="memory")
    assert world.stage == ""


def test_a_control_plane_that_was_given_its_certificate_makes_none(world):
    result = world.of_control_plane("prepare", **{**GIVEN, "tls_ca": NEW.pem})
    assert (result["new"], result["trusted"], world.stage) == (NEW.pem, NEW.pem, "")


def test_a_control_plane_without_a_fleet_does_not_change(world):
    world.run(until="switch")
    monkey = dict(world.facts)
    vm = Vm(control_plane_certificate=world.certificate)
    given = {**FILLED_IN, "store": "postgres", "postgres_password": "p", "fetch_dir": ""}
    own = made(control_plane_rotation, vm, {f"kuma_cp_{name}": value for name, value in given.items()})
    own.variables.update(hostvars=HostVars(monkey), groups={"all": []})
    own.params = {"step": "switch"}
    with pytest.raises(ItemsFailed, match="has no host, so nobody knows"):
        own.step()


def test_a_preparation_that_failed_is_told_to_the_fleet(world):
    world.facts["cp"] = {rotation.PREPARED: {"failed": True, "msg": "no openssl"}}
    with pytest.raises(ItemsFailed, match="the control plane is not prepared: no openssl"):
        world.of_fleet("begin")


def test_whether_a_young_ca_is_rolled_over_is_handed_on(world):
    vm = Vm(control_plane_certificate=world.certificate)
    given = {**FILLED_IN, "store": "postgres", "postgres_password": "p", "fetch_dir": ""}
    for again in (False, True):
        variables = {f"kuma_cp_{name}": value for name, value in given.items()}
        own = made(control_plane_rotation, vm, {**variables, **({"kuma_rotate_ca_again": "yes"} if again else {})})
        own.variables.update(hostvars=HostVars({}), groups={"all": []})
        own.params = {"step": "prepare"}
        own.step()
        assert vm.options("control_plane_certificate")["again"] is again


def test_a_check_changes_nothing_and_waits_for_nobody(world):
    world.of_control_plane("prepare", check=True)
    assert not (world.kept / "ca.pem").exists()
    for step in ("confirm", "ready", "await", "served", "end"):
        world.facts["web-1"][rotation.BEGUN] = {"ca": OLD.pem, "new": OLD.pem, "both": OLD.pem, "by_role": True}
        assert world.of_fleet(step, check=True)["changed"] is False
    assert world.slept == []
