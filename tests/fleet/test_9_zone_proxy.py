# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zone ingresses and an egress, one of them beside a proxy of the mesh: joined, rolled one at a time, never the last of a zone, and left."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import Fleet, service
from tests.fleet.rolls import QUICK
from tests.lab.ansible import Run
from tests.lab.processes import wait_until
from tests.lab.recorder import Seen

INGRESSES = {"vm3": "vm3-ingress", "vm4": "vm4-ingress"}
EGRESS = "vm2-egress"
HOSTS = ["vm2", "vm3", "vm4"]


class Zone:
    """vm3 and vm4 with an ingress each; vm2 with an egress and an instance of web."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet, self.directory = fleet, directory
        variables = {**fleet.stage.variables(), **fleet.variables, "kuma_dp_roll_dir": str(directory)}
        web = {"hosts": {"vm2": {}}, "vars": {"kuma_dp_services": [service("web")]}}
        gates: dict[str, Any] = {name: {"kuma_zone_proxy_type": "ingress"} for name in INGRESSES}
        gates["vm2"] = {"kuma_zone_proxy_type": "egress"}
        children = {"mesh_fleet": {"children": {"web": web}}, "mesh_zone_proxies": {"hosts": gates}}
        self.groups: dict[str, Any] = {"zone": {"vars": variables, "children": children}}
        self.inventory = self.write("zone.yml", self.groups)

    def write(self, name: str, groups: dict[str, Any]) -> Path:
        return self.fleet.stage.lab.inventory(groups, self.fleet.stage.directory / name)

    def play(self, playbook: str, *arguments: str, **options: Any) -> tuple[Run, Seen]:
        options.setdefault("inventory", self.inventory)
        return self.fleet.play(playbook, *arguments, **options)

    def roll(self, *arguments: str, **extra: Any) -> Run:
        # A name is busy for ten seconds, and Envoy waits longer after each refusal.
        run, _seen = self.play("rolling_restart", *arguments, extra={**QUICK, "kuma_dp_wait_timeout": 120, **extra})
        return run

    def registered(self) -> dict[str, bool]:
        """Every zone proxy, and whether it is connected."""
        call = self.fleet.stage.control_plane.call
        found = {}
        for path, field in (("zoneingresses", "zoneIngressInsight"), ("zoneegresses", "zoneEgressInsight")):
            for item in call("GET", f"/{path}/_overview")["items"]:
                connections = item.get(field, {}).get("subscriptions", [])
                found[item["name"]] = any("disconnectTime" not in connection for connection in connections)
        return found

    def journal(self) -> dict[str, Any]:
        newest = max(self.directory.glob("**/journal.json"), key=lambda path: path.stat().st_mtime_ns)
        found: dict[str, Any] = json.loads(newest.read_text())
        return found

    def answers(self, host: str) -> bool:
        """Whether an ingress accepts connections. Without services behind it it says a word and closes, else it waits for TLS."""
        try:
            with socket.create_connection((self.fleet.host(host).address, 10001), timeout=2) as connection:
                connection.settimeout(0.3)
                with contextlib.suppress(TimeoutError):
                    connection.recv(1000)
        except OSError:
            return False
        return True

    @contextmanager
    def watched(self) -> Iterator[list[str]]:
        """The hosts with an ingress that did not accept a connection meanwhile, as often as that was seen."""
        gaps: list[str] = []
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.1):
                gaps.extend(host for host in INGRESSES if not self.answers(host))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield gaps
        finally:
            stop.set()
            thread.join()


@pytest.fixture(scope="module")
def zone(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Zone:
    for name in HOSTS:
        fleet.strip(name)
    return Zone(fleet, tmp_path_factory.mktemp("zone"))


def test_what_is_wrong_with_zone_proxies_is_said_at_once_and_nothing_is_written(zone: Zone) -> None:
    groups = json.loads(json.dumps(zone.groups))
    hosts = groups["zone"]["children"]["mesh_zone_proxies"]["hosts"]
    hosts["vm2"].update(kuma_zone_proxy_name="vm2", kuma_zone_proxy_advertised_address="10.0.0.1")
    hosts["vm3"].update(kuma_zone_proxy_zone="elsewhere", kuma_zone_proxy_advertised_port=443)
    hosts["vm4"] = {"kuma_zone_proxy_type": "gateway"}
    before = zone.fleet.snapshot(*HOSTS)
    run, seen = zone.play("join_mesh", inventory=zone.write("bad.yml", groups))
    assert run.code != 0
    assert seen.writes == seen.tokens == []
    assert zone.fleet.snapshot(*HOSTS) == before
    text = " ".join(run.output.split())
    for expected in (
        "vm2: the name vm2 is used 2 times",
        "kuma_zone_proxy_advertised_address is '10.0.0.1', expected nothing: only an ingress is called from other zones",
        "vm3: kuma_zone_proxy_zone is 'elsewhere', expected 'default'",
        "vm3: kuma_zone_proxy_advertised_address is not set, expected both",
        "vm4: kuma_zone_proxy_type is 'gateway', expected ingress or egress",
    ):
        assert expected in text, run.explain()


def test_a_check_of_the_join_writes_nothing(zone: Zone) -> None:
    before = zone.fleet.snapshot(*HOSTS)
    run, seen = zone.play("join_mesh", "--check", "--diff")
    assert run.code == 0, run.explain()
    assert seen.writes == seen.tokens == []
    assert zone.fleet.snapshot(*HOSTS) == before
    assert "zone proxies that would join or change (3)" in run.output


def test_a_join_runs_them_beside_the_mesh_and_again_changes_nothing(zone: Zone) -> None:
    run, seen = zone.play("join_mesh")
    assert run.code == 0, run.explain()
    # They register themselves: the play writes only the Dataplane of the mesh.
    assert [line for line in seen.writes if "zone" in line] == []
    assert zone.registered() == {EGRESS: True, **dict.fromkeys(INGRESSES.values(), True)}
    assert all(zone.answers(host) for host in INGRESSES)
    assert "vm2" in zone.fleet.dataplanes()
    assert "eyJ" not in run.output
    again, asked = zone.play("join_mesh")
    assert again.code == 0, again.explain()
    assert again.changed == {}
    assert asked.writes == asked.tokens == []


def test_a_roll_restarts_them_one_at_a_time(zone: Zone) -> None:
    with zone.watched() as gaps:
        run = zone.roll("--limit", "vm3,vm4")
    assert run.code == 0, run.explain()
    hosts = zone.journal()["hosts"]
    assert {name: host["status"] for name, host in hosts.items()} == dict.fromkeys(INGRESSES, "done")
    assert {service for host in hosts.values() for service in host["services"]} == {"zone ingress of default"}
    spans = sorted((host["admitted"], host["completed"]) for host in hosts.values())
    assert spans[0][1] <= spans[1][0], "one after the other"
    assert {host["strategy"] for host in hosts.values()} == {"cover"}
    assert gaps == [], "its cover serves meanwhile"


@pytest.mark.nightly
def test_the_last_of_a_zone_is_neither_restarted_without_cover_nor_taken_away(zone: Zone) -> None:
    zone.fleet.host("vm4").run("systemctl stop kuma-dp@vm4-ingress")
    wait_until(lambda: "vm4-ingress" not in zone.registered(), 60, "the ingress of vm4 to be deregistered", interval=0.5)
    run = zone.roll("--limit", "vm3", kuma_dp_roll_strategy="drained")
    assert run.code != 0
    assert "the only instance of zone ingress of default" in run.output
    assert zone.registered()["vm3-ingress"]
    before = zone.fleet.snapshot("vm3")
    left, seen = zone.play("leave_mesh", "--limit", "vm3")
    assert left.code != 0
    assert "vm3-ingress would leave zone ingress of default without any proxy that is connected" in left.output
    assert seen.writes == []
    assert zone.fleet.snapshot("vm3") == before


def test_a_leave_leaves_nothing(zone: Zone) -> None:
    run, _seen = zone.play("leave_mesh", extra={"kuma_zone_proxy_leave_last": True})
    assert run.code == 0, run.explain()
    assert zone.registered() == {}
    assert "vm2" not in zone.fleet.dataplanes()
    for name in HOSTS:
        left = "ls -d /etc/kuma/* /etc/systemd/system/kuma-dp* /var/lib/kuma-dp /usr/local/lib/kuma-dp-restart 2>/dev/null"
        assert zone.fleet.host(name).run(left, check=False).strip() == ""
        assert zone.fleet.host(name).run("systemctl list-units --all --plain --no-legend 'kuma-dp*'", check=False).strip() == ""
    again, seen = zone.play("leave_mesh", extra={"kuma_zone_proxy_leave_last": True})
    assert again.code == 0, again.explain()
    assert again.changed == {}
    assert seen.writes == []
