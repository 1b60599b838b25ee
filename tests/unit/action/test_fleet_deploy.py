# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which visits a VM gets in a join, what is told of it, and which host fails."""

from __future__ import annotations

import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.action import fleet_deploy, fleet_summary, fleet_verdict, fleet_wait
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import comparing
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action as play_action
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import layout
from tests.unit.action.steps import Vm, only, step
from tests.unit.play.vm import CA, host, proxy, seen

DEAD = {"active": False, "state": "inactive", "enabled": False}


class Tray:
    def __init__(self, tokens):
        self.tokens, self.cleared = tokens, []

    def take(self, _host):
        return self.tokens

    def clear(self, name):
        self.cleared.append(name)


@pytest.fixture
def deploy(monkeypatch):
    """``deploy(planned, found, ...)``: the result and the VM; ``differing`` are the paths that differ."""

    def run(
        planned=None,
        found=None,
        *,
        differing=(),
        install=False,
        refused=(),
        tokens=None,
        role="kuma_dp",
        vm=None,
        check=False,
        not_ready=(),
        **options,
    ):
        planned = planned or [proxy()]
        observed = {**host(*(each["name"] for each in planned)), "paths": {}, **(found or {})}
        monkeypatch.setattr(comparing, "differs", lambda _wanted, _seen, key: list(differing) if key == "k" else None)
        monkeypatch.setattr(play_action.FleetAction, "digest_key", lambda _self: "k")
        monkeypatch.setattr(fleet_deploy.ActionModule, "send", lambda _self, archive: f"/tmp/of-the-vm/{archive}")
        tray = Tray(tokens or {})
        monkeypatch.setattr(play_action.FleetAction, "tray", lambda _self: tray)
        plan = {
            "proxies": planned,
            "refused": list(refused),
            "unissued": [],
            "registered": [],
            "archive": "a.tar.gz",
            "checksum": "ab" * 32,
        }
        known = {
            f"{role}_look": {"host": observed, "options": {"version": "2.14.3", "install": install}},
            f"{role}_plan": {"plan": {"web-1": plan}, "control_plane": {}, "not_ready": list(not_ready)},
            "kuma_dp_control_plane_dp_url": "https://cp:5678", "kuma_dp_control_plane_ca": CA, **options,
        }  # fmt: skip
        result, vm = step(fleet_deploy, {}, known, role=role, vm=vm, check=check)
        return result, vm, tray

    return run


def test_a_vm_that_is_as_it_should_be_is_not_visited(deploy):
    result, vm, _tray = deploy()
    assert vm.calls == []
    assert (result["changed"], result["state"]["changed"], result["state"]["pending"]) == (False, False, [])


@pytest.mark.parametrize(
    ("facts", "modules"),
    [
        # What is unpacked has to be marked, whatever was seen before.
        ({"install": True}, ["proxy_release", "proxy_files", "proxy_service"]),
        ({"found": {"user_exists": False}}, ["proxy_release"]),
        ({"found": {"group_exists": False}}, ["proxy_release"]),
        ({"differing": [layout.UNIT]}, ["proxy_files", "proxy_service"]),
        ({"found": {"proxies": {"web-1": seen(unit=DEAD)}}}, ["proxy_service"]),
        ({"found": {"proxies": {"web-1": seen(unit={**DEAD, "active": True})}}}, ["proxy_service"]),
        ({"planned": [proxy(gates=[{"proxy": "web-1"}])]}, ["proxy_service"]),
        ({"found": {"transparent_proxy": True}}, ["transparent_proxy"]),
        ({"found": {"transparent_proxy": True}, "kuma_transparent_proxy_enabled": True}, []),
        ({"found": {"transparent_proxy": True}, "role": "kuma_zone_proxy"}, []),
    ],
)
def test_a_vm_is_visited_for_what_differs(deploy, facts, modules):
    assert deploy(**facts)[1].modules == modules


def test_a_first_join_visits_three_times_after_the_look(deploy):
    found = {"user_exists": False, "group_exists": False, "proxies": {"web-1": seen(unit=DEAD, token={"present": False})}}
    result, vm, tray = deploy(found=found, differing=[layout.UNIT], install=True, tokens={"web-1": "a.b.c"})
    assert vm.modules == ["proxy_release", "proxy_files", "proxy_service"]
    assert only(vm.calls, "proxy_release") == {
        "user": "kuma-dp", "group": "kuma-dp", "comment": layout.COMMENT, "install_dir": "/opt/kuma", "version": "2.14.3",
        "checksum": "ab" * 32, "src": "/tmp/of-the-vm/a.tar.gz",
    }  # fmt: skip
    assert only(vm.calls, "proxy_files")["secrets"][0]["content"] == "a.b.c"
    assert vm.removed == ["proxy_files"], "its arguments lie on the VM while applications are waited for"
    assert only(vm.calls, "proxy_service") == {"names": ["web-1"], "state": "started", "enabled": True, "gates": []}
    assert "a.b.c" not in str(result)
    assert tray.cleared == ["web-1"]


@pytest.mark.parametrize("replaced", [False, True])
def test_only_a_program_that_is_another_one_wants_a_restart(deploy, replaced):
    """A release whose modes alone were wrong is unpacked again, too."""
    vm = Vm({"proxy_release": {"changed": True, "replaced": replaced}})
    result, vm, _tray = deploy(install=True, vm=vm)
    assert vm.modules[0] == "proxy_release"
    assert [item["reasons"] for item in result["state"]["pending"]] == ([["its program was replaced"]] if replaced else [])


def test_a_check_sends_no_archive(deploy):
    assert "src" not in only(deploy(install=True, check=True)[1].calls, "proxy_release")


def test_an_account_alone_needs_no_archive(deploy):
    assert {"src", "version"} & set(only(deploy(found={"user_exists": False})[1].calls, "proxy_release")) == set()


def test_who_was_refused_fails_before_anything_is_done(deploy):
    result, vm, tray = deploy(refused=["no token was issued: no"], differing=[layout.UNIT])
    assert (result["failed"], result["msg"]) == (True, "web-1: no token was issued: no")
    assert (vm.calls, tray.cleared) == ([], [])


def test_a_changed_authority_waits_for_a_restart(deploy):
    vm = Vm({"proxy_files": {"changed_paths": ["/etc/kuma/control-plane-ca.pem"]}, "proxy_service": {"changed": False}})
    result, _vm, _tray = deploy(differing=["/etc/kuma/control-plane-ca.pem"], vm=vm)
    assert result["state"]["pending"] == [{"name": "web-1", "reasons": ["CA changed after it was started"]}]
    assert result["state"]["restarts"] == []


@pytest.mark.parametrize(
    ("wanted", "hold", "due"), [("drained", "", ["web-1"]), ("report", "", []), ("drained", "web-1 is fenced and Direct", [])]
)
def test_only_what_may_be_drained_is_restarted_by_a_join(deploy, wanted, hold, due):
    found = {"proxies": {"web-1": seen(version="2.14.2")}}
    result, _vm, _tray = deploy([proxy(hold=hold)], found, kuma_dp_restart=wanted)
    assert [name for restart in result["state"]["restarts"] for name in restart["names"]] == due
    assert [item["name"] for item in result["state"]["pending"]] == ["web-1"]


def test_a_proxy_that_was_started_is_waited_for(deploy):
    vm = Vm({"proxy_service": {"results": [{"name": "web-1", "actions": ["enabled", "started"]}, {"name": "b", "actions": ["enabled"]}]}})
    result, _vm, _tray = deploy([proxy(), proxy("b")], differing=[layout.UNIT], vm=vm)
    assert result["state"]["wait_for"] == ["web-1"]


REFUSED = {"code": "revoked", "said": "authentication failed: token is revoked", "token": True}
# It runs, and its Envoy has no configuration.
SILENT = {"serves": False, "connected": False, "refusal": REFUSED}


def heals(*names):
    return Vm({"proxy_service": {"results": [{"name": name, "actions": ["healed"]} for name in names]}})


@pytest.mark.parametrize("restart", ["report", "drained"])
@pytest.mark.parametrize("role", ["kuma_dp", "kuma_zone_proxy"])
def test_a_proxy_that_serves_nobody_is_restarted_whatever_is_wanted_of_others(deploy, role, restart):
    found = {"proxies": {"web-1": seen(**SILENT), "b": seen(version="2.14.2")}}
    planned = [proxy(connected=False), proxy("b")]
    result, vm, _tray = deploy(planned, found, vm=heals("web-1"), role=role, kuma_dp_restart=restart)
    assert vm.modules == ["proxy_service"]
    assert only(vm.calls, "proxy_service") == {"names": ["web-1", "b"], "state": "started", "enabled": True, "gates": [], "heal": ["web-1"]}
    state = result["state"]
    assert state["healed"] == [{"name": "web-1", "reason": "its token is revoked"}]
    assert ([item["name"] for item in state["pending"]], state["wait_for"]) == (["b"], ["web-1"])
    assert [name for item in state["restarts"] for name in item["names"]] == (["b"] if (role, restart) == ("kuma_dp", "drained") else [])


def test_a_proxy_that_serves_by_the_time_of_its_visit_is_told_as_pending(deploy):
    found = {"proxies": {"web-1": seen(**SILENT, restart_codes=["CA"])}}
    result, _vm, _tray = deploy(
        [proxy(connected=False)], found, vm=Vm({"proxy_service": {"changed": False, "results": [{"name": "web-1", "actions": []}]}})
    )
    assert (result["state"]["healed"], [item["name"] for item in result["state"]["pending"]]) == ([], ["web-1"])


def test_a_proxy_that_serves_without_the_control_plane_is_not_visited_for_it(deploy):
    result, vm, _tray = deploy([proxy(connected=False)], {"proxies": {"web-1": seen(serves=True, connected=False, refusal=REFUSED)}})
    assert (vm.calls, result["changed"], result["state"]["healed"]) == ([], False, [])


@pytest.mark.parametrize(("restart", "waits"), [("report", []), ("drained", ["web-1"])])
def test_a_proxy_that_serves_without_the_control_plane_is_waited_for_when_the_join_restarts_it(deploy, restart, waits):
    stale = seen(serves=True, connected=False, refusal=REFUSED, restart_codes=["token"])
    result, _vm, _tray = deploy([proxy(connected=False)], {"proxies": {"web-1": stale}}, not_ready=["web-1"], kuma_dp_restart=restart)
    assert [item["name"] for item in result["state"]["pending"]] == ["web-1"]
    assert result["state"]["wait_for"] == waits


def test_a_proxy_that_logged_nothing_is_healed_without_a_reason(deploy):
    found = {"proxies": {"web-1": seen(**{**SILENT, "refusal": None})}}
    result, _vm, _tray = deploy([proxy(connected=False)], found, vm=heals("web-1"))
    assert result["state"]["healed"] == [{"name": "web-1", "reason": ""}]


@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        (
            "port",
            "no /bootstrap endpoint",
            "the address that it was started with, https://old:5682, has a wrong port: no dp-server is there",
        ),
        (
            "unreachable",
            "refused",
            "the control plane cannot be reached at the address that it was started with, https://old:5682 (refused)",
        ),
        ("authority", "x509: no", "the CA that it was started with is not the CA of the control plane at https://old:5682 (x509: no)"),
        ("host", "x509: no", "is not for the host in the address that it was started with, https://old:5682 (x509: no)"),
    ],
)
def test_what_was_wrong_before_is_not_told_of_variables_that_are_right_by_now(deploy, code, said, told):
    facts = {"refusal": {"code": code, "said": said, "token": False}, "environment": {"KUMA_CONTROL_PLANE_URL": "https://old:5682"}}
    found = {"proxies": {"web-1": seen(**{**SILENT, **facts})}}
    result, _vm, _tray = deploy([proxy(connected=False)], found, vm=heals("web-1"))
    (healed,) = result["state"]["healed"]
    assert told in healed["reason"]
    found = {"proxies": {"web-1": seen(serves=True, connected=False, restart_codes=["CA"], **facts)}}
    result, _vm, _tray = deploy([proxy(connected=False)], found)
    (pending,) = result["state"]["pending"]
    assert told in pending["reasons"][1]
    assert pending["reasons"][1].startswith("it is not connected and serves with what it has (")


def test_zone_proxies_of_the_vm_are_known(deploy):
    found = {"proxies": {"web-1": seen(), "gate": seen(), "old": seen()}}
    result, _vm, _tray = deploy(found=found, kuma_zone_proxy_deployed={"state": {"names": ["gate"]}})
    assert result["state"]["others"] == ["old"]


def verdict(state=None, seen_late=None, restarted=None, vm=None, refused=None):
    known = {
        "kuma_dp_control_plane_dp_url": "https://cp:5681",
        "kuma_dp_registered": {"refused": refused or {}},
        "kuma_dp_deployed": {"state": {"wait_for": ["web-1"], **(state or {})}},
        "kuma_dp_seen": {"late": seen_late or {}},
        "kuma_dp_restarted": restarted or {"skipped": True},
    }
    return step(fleet_verdict, {}, known, vm=vm)


def test_who_came_into_traffic_is_not_visited():
    result, vm = verdict(seen_late={"web-2": "not ready"})
    assert (result, vm.calls) == ({"changed": False}, [])


def test_a_dataplane_that_was_refused_in_the_end_fails_its_own_host_without_a_visit():
    result, vm = verdict(seen_late={"web-1": "not ready"}, refused={"web-1": ["the Dataplane was not registered: no"]})
    assert (result, vm.calls) == ({"failed": True, "msg": "web-1: the Dataplane was not registered: no"}, [])
    assert verdict(refused={"web-2": ["no"]})[0] == {"changed": False}


def test_who_did_not_come_fails_with_its_journal():
    unit = {**DEAD, "state": "activating", "restarts": 3}
    vm = Vm({"proxy_info": {"host": {"proxies": {"web-1": {"unit": unit, "journal": [f"line {number}" for number in range(10)]}}}}})
    result, vm = verdict(seen_late={"web-1": "offline"}, vm=vm)
    assert only(vm.calls, "proxy_info")["diagnose"] is True
    first, *lines = result["msg"].splitlines()
    assert first == ("web-1: web-1 is not in traffic after 120 s: offline. Its unit is activating, restarted 3 times. Its last lines:")
    assert lines == [f"  line {number}" for number in range(2, 10)]


def test_who_did_not_come_fails_with_the_variable_that_is_wrong():
    refusal = {"code": "port", "said": "There is no /bootstrap endpoint for provided CP address.", "token": False}
    late = {"unit": {**DEAD, "state": "active", "restarts": 0}, "journal": ["a line"], "refusal": refusal, "token": {"claims": {}}}
    vm = Vm({"proxy_info": {"host": {"time": time.time() - 3600, "proxies": {"web-1": late}}}})
    result, _vm = verdict(seen_late={"web-1": "never connected"}, vm=vm)
    first = result["msg"].splitlines()[0]
    assert "after 120 s: kuma_dp_control_plane_dp_url, https://cp:5681, has a wrong port: no dp-server is there" in first
    assert "(never connected). The clock of the VM is" in first


def test_a_restart_that_failed_fails_its_own_host():
    def results(name):
        return {"results": [{"kuma_dp_item": {"host": name}, "msg": "web-1 was restarted, but", "journals": {"web-1": ["a", "b"]}}]}

    assert verdict(restarted=results("web-1"))[0] == {"failed": True, "msg": "web-1 was restarted, but\n  a\n  b"}
    assert verdict(restarted=results("web-2"))[0] == {"changed": False}


@pytest.mark.parametrize(("check", "wait_for"), [(True, ["web-1"]), (False, [])])
def test_nobody_is_asked_when_nobody_is_waited_for(monkeypatch, check, wait_for):
    monkeypatch.setattr(play_action.FleetAction, "client", lambda _self: pytest.fail("the control plane was asked"))
    result, _vm = step(fleet_wait, {}, {"kuma_dp_deployed": {"state": {"wait_for": wait_for}}}, check=check)
    assert result == {"changed": False, "late": {}}


def state(**changes):
    return {"state": {"changed": False, "names": [], "pending": [], "others": [], "outbounds": {}, **changes}}


def test_the_summary_tells_every_host_of_the_play():
    hosts = {
        "a": {"kuma_dp_deployed": state(changed=True)},
        "b": {"kuma_dp_deployed": state(pending=[{"name": "b", "reasons": ["x", "y"]}], others=["old"])},
        "c": {"kuma_dp_look": {"unreachable": True, "msg": "Failed to connect"}},
        "d": {"kuma_dp_deployed": state(), "kuma_dp_verdict": {"failed": True, "msg": "d: d is not in traffic\nmore"}},
    }
    result, _vm = step(fleet_summary, {"purpose": "join"}, host="a", play=["a", "b"], hosts=hosts)
    assert result["msg"] == [
        "joined or changed (1): a",
        "unchanged (1): b",
        "RESTART PENDING (1), these run with what they were started with; the playbook meshfleet.kuma.rolling_restart restarts them:",
        "  b, b: x, y",
        "not in the inventory, left alone (1):",
        "  b, old",
        "FAILED (2):",
        "  c: Failed to connect",
        "  d: d is not in traffic",
    ]


@pytest.mark.parametrize(("check", "title"), [(False, "were restarted with what was"), (True, "would be restarted with what is")])
def test_the_summary_tells_who_served_nobody_and_why_also_of_a_host_that_failed(check, title):
    hosts = {
        "a": {"kuma_dp_deployed": state(changed=True, healed=[{"name": "a", "reason": "its token is revoked"}])},
        "b": {
            "kuma_dp_deployed": state(changed=True, healed=[{"name": "b-1", "reason": ""}]),
            "kuma_dp_verdict": {"failed": True, "msg": "b: b-1 is not in traffic"},
        },
    }
    result, _vm = step(fleet_summary, {"purpose": "join"}, host="a", play=["a"], hosts=hosts, check=check)
    where = result["msg"].index(f"SERVED NOBODY (2), {title} laid down:")
    assert result["msg"][where + 1 : where + 3] == ["  a, a: its token is revoked", "  b, b-1"]


def test_the_summary_tells_the_days_that_are_left():
    ends = [{"what": "CA", "subject": "CN=kuma-cp CA", "not_before": 0, "not_after": time.time() + 10.5 * 86400}]
    hosts = {"a": {"kuma_dp_deployed": state(), "kuma_dp_plan": {"certificates": ends}}}
    result, _vm = step(fleet_summary, {"purpose": "join"}, host="a", play=["a"], hosts=hosts)
    assert result["msg"][-1].startswith("CA of the control plane (CN=kuma-cp CA): until 20")
    assert result["msg"][-1].endswith(", 10 days left")


def test_what_was_restarted_is_pending_no_longer():
    pending = [{"name": "a", "reasons": ["x"]}, {"name": "held", "reasons": ["y"]}]
    restarted = {"results": [{"kuma_dp_item": {"host": "a", "names": ["a"]}}]}
    hosts = {"a": {"kuma_dp_deployed": state(pending=pending), "kuma_dp_restarted": restarted}}
    result, _vm = step(fleet_summary, {"purpose": "join"}, host="a", play=["a"], hosts=hosts)
    assert result["msg"][0] == "joined or changed (1): a"
    assert result["msg"][-1] == "  a, held: y"


def test_a_host_that_failed_has_not_left():
    hosts = {
        "a": {"kuma_dp_removed": state(changed=True)},
        "b": {"kuma_dp_removed": state(changed=True), "kuma_dp_stopped": {"failed": True, "msg": "no"}},
        "c": {"kuma_dp_removed": state(unreachable=True)},
    }
    result, _vm = step(fleet_summary, {"purpose": "leave"}, host="a", play=["a", "c"], hosts=hosts)
    assert result["msg"][0] == "left (1): a"
    assert result["msg"][2] == "unreachable, Dataplane deleted, files still there (1): c"
    assert result["msg"][-1] == "  b: no"


@pytest.mark.parametrize("role", ["kuma_dp", "kuma_zone_proxy"])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("install_dir: /opt/kuma is a file", "kuma_dp_install_dir (install_dir): /opt/kuma is a file"),
        ("src: it is no archive: what now", "kuma_dp_archive (src): it is no archive: what now"),
        ("Nothing was done: no", "Nothing was done: no"),
        ("no", "no"),
    ],
)
def test_what_a_vm_says_of_an_option_is_told_with_the_variable(deploy, role, said, told):
    result, _vm, _tray = deploy(install=True, role=role, vm=Vm({"proxy_release": {"failed": True, "msg": said}}))
    assert result == {"failed": True, "msg": told}
