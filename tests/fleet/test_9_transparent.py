# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Transparent proxying on a real host: rules of iptables, SSH that survives them, and a VM that lets nobody be locked out."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import Fleet, service
from tests.lab.ansible import Run
from tests.lab.host import Host
from tests.lab.processes import wait_until
from tests.lab.traffic import ask, outbounds

CALLER, HOST = "vm1", "vm2"
# Long enough for a join to come back, short enough to wait for.
ROLLBACK = 30
LOCKED_OUT = {"kuma_transparent_proxy_rollback_timeout": 8}
UNIT = "kuma-transparent-proxy"
# A rule that comes with the new ones and that the exclusion of the SSH port does not help against: every new connection to it is refused.
CATCH = (
    "iptables -w -t nat -I PREROUTING -p tcp --dport 22 -m comment --comment kuma/mesh/transparent/proxy/lockout -j REDIRECT --to-ports 1"
)
WHEN_NEW = f"/bin/sh -c 'if test -e /run/kuma-transparent-proxy/pending.json; then {CATCH}; fi'"
LOCK_OUT = f"[Service]\nExecStartPost={WHEN_NEW}\nExecReload={WHEN_NEW}\n"
LEFT = [
    "/etc/kuma-transparent-proxy",
    "/usr/local/lib/kuma-transparent-proxy",
    "/etc/systemd/system/kuma-dp@.service.d/transparent-proxy.conf",
]
DROP_IN = f"/etc/systemd/system/{UNIT}.service.d"
WRITE = "import os, sys; os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True); open(sys.argv[1], 'w').write(sys.argv[2])"
RULES = "iptables-save; ip6tables-save"
# Asks the port of the service itself, as a caller without a proxy would.
GET = "python3 -c \"import urllib.request as u; print(u.urlopen('http://{0}:8080/', timeout=10).read().decode().strip())\""


class Pair:
    """The host whose connections are redirected, and one that calls it."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.host, self.caller = fleet, fleet.host(HOST), fleet.host(CALLER)

    def inventory(self, enabled: bool = True, **variables: Any) -> Path:
        redirected = {"kuma_transparent_proxy_enabled": enabled, "kuma_transparent_proxy_rollback_timeout": ROLLBACK, **variables}
        probe = {"interval": "1s", "timeout": "1s"}
        groups = {
            "calling": {"hosts": {CALLER: {}}, "vars": {"kuma_dp_services": [service("shop")], "kuma_dp_upstreams": ["web"]}},
            "called": {"hosts": {HOST: {}}, "vars": {"kuma_dp_services": [service("web", probe=probe)], **redirected}},
        }
        return self.fleet.stage.inventory(groups, "transparent.yml", **self.fleet.variables)

    def join(self, *arguments: str, **variables: Any) -> Run:
        return self.fleet.join(*arguments, inventory=self.inventory(**variables))[0]

    def rules(self) -> list[str]:
        """kumactl's own, without counters."""
        return [line for line in self.host.run(RULES).splitlines() if "KUMA_MESH" in line or "kuma/mesh" in line]

    def lock_out(self) -> None:
        """Prepare the host so that the next rules catch SSH as well."""
        self.host.script(WRITE, f"{DROP_IN}/lockout.conf", LOCK_OUT)
        self.host.run("systemctl daemon-reload")

    def let_in(self) -> None:
        self.host.run(f"rm -rf {DROP_IN}; systemctl daemon-reload")


@pytest.fixture(scope="module")
def pair(fleet: Fleet) -> Iterator[Pair]:
    """Both hosts without anything of the mesh, and nothing registered."""
    fleet.clear(CALLER, HOST)
    yield Pair(fleet)
    # Of use after a failure alone: nothing of it may be in the way of other tests.
    fleet.host(HOST).run(
        f"systemctl disable --now {UNIT}; rm -rf {DROP_IN} /etc/systemd/system/{UNIT}.service {' '.join(LEFT)}", check=False
    )


class Login:
    """A session on the host in which the host speaks, several times a second."""

    def __init__(self, host: Host) -> None:
        command = host.ssh_command("while sleep 0.2; do echo tick; done")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.heard = 0
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        self.wait()

    def _listen(self) -> None:
        assert self.process.stdout
        with self.process.stdout as output:
            for _line in output:
                self.heard += 1

    def wait(self) -> None:
        """Until the host has spoken once more."""
        before = self.heard
        wait_until(lambda: self.heard > before, 10, "the session to go on")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.listener.join()


@pytest.fixture(scope="module")
def locked_out(pair: Pair) -> Iterator[tuple[Run, Login]]:
    """A first join whose rules catch SSH, and a login from before. Nothing but tracking saves the connections that are open."""
    login = Login(pair.host)
    pair.lock_out()
    run = pair.join(kuma_transparent_proxy_exclude_controller=False, **LOCKED_OUT)
    pair.let_in()
    yield run, login
    login.close()


@pytest.fixture(scope="module")
def redirected(pair: Pair, locked_out: tuple[Run, Login]) -> Run:
    """A join that nothing disturbs."""
    run = pair.join()
    assert run.code == 0, run.explain()
    return run


def test_a_host_that_was_locked_out_undoes_the_rules_by_itself(pair: Pair, locked_out: tuple[Run, Login]) -> None:
    """Trap 48: Ansible loses the host, the play fails for it alone and says so, and the host is as before."""
    run, _login = locked_out
    assert run.code != 0
    assert [host for host, counts in run.stats.items() if counts["failures"] or counts["unreachable"]] == [HOST], run.explain()
    assert f"{HOST}: the VM has undone the rules of the transparent proxy by itself: no new connection" in run.messages, run.explain()
    assert pair.rules() == []
    assert pair.host.run(f"systemctl is-enabled {UNIT}; ls -d {' '.join(LEFT)}", check=False) == ""
    assert pair.host.run(f"systemctl list-timers --all --plain --no-legend '{UNIT}*'") == ""


def test_trap_48_connections_from_before_the_rules_survive_them(locked_out: tuple[Run, Login]) -> None:
    """Trap 48: the next packet that sshd sends would be redirected; so would the result of the task that ordered the rules."""
    run, login = locked_out
    login.wait()
    (applied,) = [event for event in run.results if event["host"] == HOST and "Lead the connections of the VM" in event["task"]]
    # It fails because nobody could come back, which it only tries once the rules were ordered.
    assert (applied["status"], applied["changed"]) == ("failed", True), run.explain()
    assert "by itself: no new connection" in applied["msg"]


def test_trap_48_the_rules_are_there_and_ssh_is_excluded(pair: Pair, redirected: Run) -> None:
    """Trap 48: the SSH port is not excluded by itself."""
    rules = pair.rules()
    assert any(line.startswith("-A KUMA_MESH_INBOUND ") and "--dport 22 " in line and line.endswith("RETURN") for line in rules), rules
    assert any(line.startswith("-A KUMA_MESH_OUTBOUND_REDIRECT ") and "--to-ports 15001" in line for line in rules), rules
    assert pair.host.run(f"systemctl is-enabled {UNIT}; systemctl is-active {UNIT}").split() == ["enabled", "active"]
    for chain in ("PREROUTING", "OUTPUT"):
        # Whatever does not begin a connection is left alone before anything is redirected.
        own = pair.host.run(f"iptables -t nat -S {chain}").splitlines()
        left_alone = next(number for number, line in enumerate(own) if "! --tcp-flags FIN,SYN,RST,ACK SYN" in line)
        assert left_alone < next(number for number, line in enumerate(own) if "-j KUMA_MESH_" in line), own
    assert list(redirected.changed) == [HOST]


def test_traffic_goes_through_the_proxy_in_both_directions(pair: Pair, redirected: Run) -> None:
    answers = ask(pair.caller, outbounds(pair.caller)["WEB"], 10)
    assert (sorted(answers.by_host), answers.failures) == ([HOST], [])
    # Nobody listens on the port of the service: what answers there was redirected.
    assert pair.host.run("ss -Hltn 'sport = :8080'") == ""
    assert pair.caller.run(GET.format(pair.host.address)).strip() == HOST
    counter = "iptables -t nat -vxL KUMA_MESH_OUTBOUND_REDIRECT | awk '/REDIRECT.*tcp/ {print $1}'"
    before = int(pair.host.run(counter).split()[-1])
    assert pair.host.run(GET.format(pair.caller.address)).strip() == CALLER
    assert int(pair.host.run(counter).split()[-1]) > before


def test_trap_49_a_port_that_nobody_declared_is_refused_where_the_mesh_insists_on_mtls(pair: Pair, redirected: Run) -> None:
    get = GET.replace(":8080", ":9999").replace(".strip())", ".strip()[:20])").format(pair.host.address)
    call = pair.fleet.stage.control_plane.call
    mesh = call("GET", "/meshes/default")
    backend = {"name": "ca-1", "type": "builtin", "mode": "STRICT"}
    pair.host.run("systemd-run --quiet --unit=undeclared python3 -m http.server 9999")
    try:
        wait_until(lambda: pair.host.run("ss -Hltn 'sport = :9999'") != "", 20, "a server on a port that is not in the Dataplane")
        assert "DOCTYPE" in pair.caller.run(get)
        call("PUT", "/meshes/default", {**mesh, "mtls": {"enabledBackend": "ca-1", "backends": [backend]}})
        wait_until(lambda: pair.caller.run(get, check=False) == "", 30, "the port to be refused")
    finally:
        pair.host.run("systemctl stop undeclared")
        call("PUT", "/meshes/default", mesh)
    wait_until(lambda: pair.caller.run(GET.format(pair.host.address), check=False).strip() == HOST, 30, "plain text to be taken again")


def test_a_second_run_changes_nothing_and_costs_one_visit(pair: Pair, redirected: Run) -> None:
    before = pair.rules()
    with pair.fleet.stage.recorder.watch() as seen:
        run = pair.join()
    assert run.code == 0, run.explain()
    assert (run.changed, seen.writes) == ({}, [])
    assert len(run.vm_tasks(HOST)) == len(run.vm_tasks(CALLER)) + 1
    assert pair.rules() == before


def test_check_mode_shows_the_rules_and_changes_nothing(pair: Pair, redirected: Run) -> None:
    before = pair.rules()
    run = pair.join("--check", "--diff", "--limit", HOST, kuma_transparent_proxy_exclude_inbound_ports=[9100])
    assert run.code == 0, run.explain()
    assert list(run.changed) == [HOST]
    assert '+-A KUMA_MESH_INBOUND -m comment --comment "kuma/mesh/transparent/proxy/exclude inbound traffic from port 9100' in run.output
    assert pair.rules() == before


def test_rules_that_vanished_are_named_and_applied_again(pair: Pair, redirected: Run) -> None:
    before = pair.rules()
    number = pair.host.run("iptables -t nat -L PREROUTING --line-numbers | awk '/KUMA_MESH/ {print $1; exit}'").strip()
    pair.host.run(f"iptables -t nat -D PREROUTING {number}; iptables -t nat -F KUMA_MESH_INBOUND")
    run = pair.join("--diff", "--limit", HOST)
    assert run.code == 0, run.explain()
    assert list(run.changed) == [HOST]
    assert "+ipv4: nat -A PREROUTING -p tcp" in run.output
    assert pair.rules() == before


def test_a_change_that_locks_out_goes_back_to_the_rules_of_before(pair: Pair, redirected: Run) -> None:
    before = pair.rules()
    pair.lock_out()
    run = pair.join("--limit", HOST, kuma_transparent_proxy_exclude_inbound_ports=[9100], **LOCKED_OUT)
    assert run.code != 0
    assert f"{HOST}: the VM has undone the rules" in run.messages, run.explain()
    pair.let_in()
    assert pair.rules() == before


def test_a_reboot_keeps_the_rules_and_the_proxy_starts_after_them(pair: Pair, redirected: Run) -> None:
    """Trap 48: rules do not survive a reboot by themselves."""
    before = pair.rules()
    pair.host.reboot()
    assert pair.rules() == before
    ready = int(pair.host.run(f"systemctl show --property=ActiveEnterTimestampMonotonic --value {UNIT}"))
    started = int(pair.host.run(f"systemctl show --property=ExecMainStartTimestampMonotonic --value kuma-dp@{HOST}"))
    assert 0 < ready <= started
    pair.fleet.wait_ready(HOST)
    run = pair.join("--limit", HOST)
    assert (run.code, run.changed) == (0, {}), run.explain()


def test_leaving_removes_the_rules_before_the_proxy_stops(pair: Pair, redirected: Run) -> None:
    run, _seen = pair.fleet.leave("--limit", HOST, inventory=pair.inventory())
    assert run.code == 0, run.explain()
    assert pair.rules() == []
    lines = pair.host.run(
        f"journalctl --no-pager -o cat --boot _PID=1 UNIT={UNIT}.service + _PID=1 UNIT=kuma-dp@{HOST}.service"
    ).splitlines()
    gone = max(index for index, line in enumerate(lines) if line.startswith("Stopped") and UNIT in line)
    assert gone < min(index for index, line in enumerate(lines) if line.startswith("Stopping") and "kuma-dp@" in line)
    assert pair.host.run(f"systemctl is-enabled {UNIT}; ls -d {' '.join(LEFT)}", check=False) == ""
    again, _seen = pair.fleet.leave("--limit", HOST, inventory=pair.inventory())
    assert (again.code, again.changed) == (0, {}), again.explain()
