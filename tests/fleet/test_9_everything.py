# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One inventory with every kind of proxy: joined, joined again, rolled under load, and left by the same plays.

vm1 calls. The service web is one Direct instance (vm2) and one whose connections are redirected (vm3). vm4 runs two proxies. vm5 is a
gateway with a zone ingress beside it.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from tests.fleet.fleet import Fleet, service
from tests.fleet.rolls import QUICK
from tests.lab.ansible import Run
from tests.lab.load import keepalive, load, new, slow
from tests.lab.processes import wait_until
from tests.lab.recorder import Seen
from tests.lab.traffic import ask, outbounds, polling

pytestmark = pytest.mark.nightly

CALLER, DIRECT, REDIRECTED, PAIR, EDGE = "vm1", "vm2", "vm3", "vm4", "vm5"
HOSTS = [CALLER, DIRECT, REDIRECTED, PAIR, EDGE]
# As long as a name may be, for the sockets of the proxy and those of its cover (trap 59).
ORDERS = "vm4-orders-".ljust(naming.MAXIMUM_JOINING, "x")
DATAPLANES = ["vm1", "vm2", "vm3", "vm4-cache", ORDERS, "vm5"]
INGRESS = "vm5-ingress"
LEFT = (
    "ls -d /etc/kuma/* /etc/systemd/system/kuma-[dt]* /var/lib/kuma-dp /usr/local/lib/kuma-dp* /usr/local/lib/kuma-transparent* 2>/dev/null;"
    " iptables-save | grep KUMA_MESH"
)


def groups() -> dict[str, Any]:
    probe = {"interval": "1s", "timeout": "1s"}
    web = [service("web", probe=probe)]
    pair = [
        {"name": ORDERS, "services": [service("orders")], "upstreams": ["cache"]},
        {"name": "vm4-cache", "services": [service("cache", 8090, 18081)]},
    ]
    return {
        "calling": {
            "hosts": {CALLER: {}},
            "vars": {"kuma_dp_services": [service("shop")], "kuma_dp_upstreams": ["web", "orders", "cache"]},
        },
        "web": {
            "hosts": {
                DIRECT: {"kuma_dp_lifecycle": "direct"},
                REDIRECTED: {"kuma_transparent_proxy_enabled": True, "kuma_transparent_proxy_rollback_timeout": 40},
            },
            "vars": {"kuma_dp_services": web},
        },
        "pair": {"hosts": {PAIR: {}}, "vars": {"kuma_dp_proxies": pair}},
        "edge": {"hosts": {EDGE: {}}, "vars": {"kuma_dp_gateway": {"name": "edge"}, "kuma_dp_upstreams": ["web"]}},
    }


class Everything:
    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet, self.directory = fleet, directory
        variables = {**fleet.stage.variables(), **fleet.variables, "kuma_dp_roll_dir": str(directory)}
        children = {
            "mesh_fleet": {"children": groups()},
            "mesh_zone_proxies": {"hosts": {EDGE: {"kuma_zone_proxy_type": "ingress"}}},
        }
        tree = {"everything": {"vars": variables, "children": children}}
        self.inventory = fleet.stage.lab.inventory(tree, fleet.stage.directory / "everything.yml")

    def play(self, playbook: str, *arguments: str, **extra: Any) -> tuple[Run, Seen]:
        return self.fleet.play(playbook, *arguments, inventory=self.inventory, extra=extra)

    def ingresses(self) -> dict[str, bool]:
        """Every zone ingress, and whether it is connected."""
        items = self.fleet.stage.control_plane.call("GET", "/zoneingresses/_overview")["items"]
        return {
            item["name"]: any("disconnectTime" not in entry for entry in (item.get("zoneIngressInsight") or {}).get("subscriptions", []))
            for item in items
        }

    def processes(self) -> dict[str, str]:
        """Process id of every main proxy, zone proxies among them."""
        found = {}
        for host in HOSTS:
            units = (
                "systemctl list-units --plain --no-legend 'kuma-dp@*' | awk '{print $1}' | xargs systemctl show -p Id -p MainPID --value"
            )
            words = self.fleet.host(host).run(units).split()
            found.update(dict(zip(words[1::2], words[::2], strict=True)))
        return found

    def wait_for_answers(self) -> None:
        port = outbounds(self.fleet.host(CALLER))["WEB"]

        def answered() -> bool:
            answers = ask(self.fleet.host(CALLER), port, 12)
            return not answers.failures and set(answers.by_host) == {DIRECT, REDIRECTED}

        wait_until(answered, 60, "answers from both instances of web", interval=0.5)


@pytest.fixture(scope="module")
def everything(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Everything:
    fleet.clear(*HOSTS)
    return Everything(fleet, tmp_path_factory.mktemp("everything"))


def test_every_kind_joins_by_one_play(everything: Everything) -> None:
    run, seen = everything.play("join_mesh")
    assert run.code == 0, run.explain()
    assert sorted(everything.fleet.dataplanes()) == DATAPLANES
    written = {line.split()[1].rpartition("/")[2] for line in seen.writes}
    assert written == {name for name in DATAPLANES if name != DIRECT}, "a Direct one registers itself"
    assert everything.ingresses() == {INGRESS: True}
    everything.wait_for_answers()
    ports = outbounds(everything.fleet.host(CALLER))
    assert set(ask(everything.fleet.host(CALLER), ports["ORDERS"], 5).by_host) == {PAIR}
    edge = everything.fleet.host(EDGE)
    assert set(ask(edge, outbounds(edge)["WEB"], 12).by_host) == {DIRECT, REDIRECTED}
    assert "KUMA_MESH" in everything.fleet.host(REDIRECTED).run("iptables-save")


def test_a_second_join_changes_nothing(everything: Everything) -> None:
    before = everything.fleet.snapshot()
    run, seen = everything.play("join_mesh")
    assert run.code == 0, run.explain()
    assert run.changed == {}
    assert seen.writes == seen.tokens == []
    assert everything.fleet.snapshot() == before


def test_a_roll_of_every_kind_loses_no_request(everything: Everything) -> None:
    before = everything.processes()
    caller, edge = everything.fleet.host(CALLER), everything.fleet.host(EDGE)
    ports = outbounds(caller)
    web = ports["WEB"]
    with contextlib.ExitStack() as stack:
        seen = stack.enter_context(load(caller, new(web, rate=200), keepalive(web, rate=100), slow(web, rate=2)))
        others = {
            "orders": stack.enter_context(polling(caller, ports["ORDERS"])),
            "cache": stack.enter_context(polling(caller, ports["CACHE"])),
            "gateway": stack.enter_context(polling(edge, outbounds(edge)["WEB"])),
        }
        run, _asked = everything.play("rolling_restart", **{**QUICK, "kuma_dp_wait_timeout": 60})
        everything.wait_for_answers()
    print(seen)
    assert run.code == 0, run.explain()
    journal = json.loads(max(everything.directory.glob("**/journal.json"), key=lambda path: path.stat().st_mtime_ns).read_text())
    assert {name: host["status"] for name, host in journal["hosts"].items()} == dict.fromkeys(HOSTS, "done")
    assert {name: host["strategy"] for name, host in journal["hosts"].items()} == dict.fromkeys(HOSTS, "cover")
    assert seen.failures == []
    assert {name: answers.failures for name, answers in others.items()} == {name: [] for name in others}
    assert all(answers.by_host for answers in others.values())
    after = everything.processes()
    assert sorted(after) == sorted(before)
    assert [unit for unit in after if after[unit] == before[unit]] == []


def test_every_kind_leaves_by_one_play(everything: Everything) -> None:
    run, _seen = everything.play("leave_mesh", kuma_zone_proxy_leave_last=True)
    assert run.code == 0, run.explain()
    assert everything.fleet.dataplanes() == {}
    assert everything.ingresses() == {}
    for name in HOSTS:
        assert everything.fleet.host(name).run(LEFT, check=False) == ""
    again, seen = everything.play("leave_mesh", kuma_zone_proxy_leave_last=True)
    assert again.code == 0, again.explain()
    assert again.changed == {}
    assert seen.writes == []
