# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A delegated gateway in front of a service whose application is asked by HTTP: joined, restarted under cover, left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import Fleet, service
from tests.fleet.rolls import QUICK
from tests.lab.traffic import ask, outbounds, polling

GATEWAY, STORE = "vm1", "vm2"


def inventory(fleet: Fleet, directory: Path, status: int) -> Path:
    """`status` is what the application behind the store is expected to answer."""

    def change(groups: dict[str, Any]) -> None:
        groups.clear()
        groups["edge"] = {"hosts": {GATEWAY: {}}, "vars": {"kuma_dp_gateway": {"name": "edge"}, "kuma_dp_upstreams": ["store"]}}
        gate = {"path": "/", "status": status, "timeout": "2s"}
        groups["store"] = {"hosts": {STORE: {}}, "vars": {"kuma_dp_services": [service("store", gate=gate)]}}

    return fleet.inventory(change, kuma_dp_roll_dir=str(directory))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway")


def test_an_application_that_does_not_answer_fails_its_own_host_alone(fleet: Fleet, runs: Path) -> None:
    fleet.clear(*(host.name for host in fleet.hosts))
    run, _seen = fleet.join(inventory=inventory(fleet, runs, status=204))
    assert run.code == 2, run.explain()
    text = " ".join(run.output.split())
    assert "the application behind store answers http://127.0.0.1:18080/ with 200 after 2 s, expected status 204" in text
    assert f"FAILED (1):', ' {STORE}: the application behind store" in text.replace('"', "'")
    assert GATEWAY in fleet.dataplanes()


def test_a_gateway_joins_calls_its_upstream_and_changes_nothing_again(fleet: Fleet, runs: Path) -> None:
    path = inventory(fleet, runs, status=200)
    run, _seen = fleet.join(inventory=path)
    assert run.code == 0, run.explain()
    networking = fleet.dataplanes()[GATEWAY]["networking"]
    assert networking["gateway"]["tags"]["kuma.io/service"] == "edge"
    assert "inbound" not in networking
    fleet.wait_ready(STORE)
    answers = ask(fleet.host(GATEWAY), outbounds(fleet.host(GATEWAY))["STORE"])
    assert (set(answers.by_host), answers.failures) == ({STORE}, [])
    before = fleet.snapshot(GATEWAY, STORE)
    run, seen = fleet.join(inventory=path)
    assert run.code == 0, run.explain()
    assert run.changed == {}
    assert seen.writes == seen.tokens == []
    assert fleet.snapshot(GATEWAY, STORE) == before


def test_a_gateway_is_restarted_under_cover_and_no_request_of_it_fails(fleet: Fleet, runs: Path) -> None:
    host = fleet.host(GATEWAY)
    process = "systemctl show --property=MainPID --value kuma-dp@vm1"
    before = host.run(process)
    with polling(host, outbounds(host)["STORE"], pause=0.01) as answers:
        run, _seen = fleet.play("rolling_restart", "--limit", GATEWAY, inventory=inventory(fleet, runs, status=200), extra=QUICK)
    assert run.code == 0, run.explain()
    assert answers.failures == []
    assert answers.by_host[STORE] > 50
    assert host.run(process) != before
    assert "under cover" in run.output


@pytest.mark.nightly
def test_a_roll_waits_for_the_application_and_a_gateway_leaves(fleet: Fleet, runs: Path) -> None:
    path = inventory(fleet, runs, status=200)
    hook = runs / "stop.yml"
    hook.write_text("- name: Stop the application\n  ansible.builtin.systemd_service: {name: kuma-lab-app, state: stopped}\n")
    extra = {**QUICK, "kuma_dp_roll_before": str(hook)}
    run, _seen = fleet.play("rolling_restart", "--limit", STORE, inventory=path, extra=extra)
    fleet.host(STORE).run("systemctl start kuma-lab-app")
    assert run.code == 2
    text = " ".join(run.output.split())
    assert (
        "vm2 (failed): Restart the proxies: vm2 failed: the application behind store answers http://127.0.0.1:18080/ with [Errno 111]"
        in text
    ), run.explain()
    run, _seen = fleet.leave(inventory=path)
    assert run.code == 0, run.explain()
    assert not {GATEWAY, STORE} & set(fleet.dataplanes())
