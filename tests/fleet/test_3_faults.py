# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must not happen while hosts come, go and break: a request sent to a proxy that cannot answer it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.fleet.fleet import Fleet, service
from tests.lab.processes import wait_until
from tests.lab.traffic import ask, outbounds, polling


def web_port(fleet: Fleet) -> int:
    return outbounds(fleet.host("vm1"))["WEB"]


def wait_for_answers(fleet: Fleet, *expected: str) -> None:
    """Until exactly these hosts answer the client, and nobody else is asked: a host that its caller still has shows as a failure."""
    port = web_port(fleet)
    wanted = sorted(expected)

    def answered() -> bool:
        answers = ask(fleet.host("vm1"), port, 20)
        return not answers.failures and sorted(answers.by_host) == wanted

    wait_until(answered, 40, f"answers from {', '.join(wanted)}", interval=0.5)


def without_probe(groups: dict[str, Any]) -> None:
    groups["web"]["hosts"]["vm5"]["kuma_dp_services"] = [service("web")]


@pytest.mark.parametrize(
    ("delay", "change"),
    [
        # A probe tells the control plane when an application answers that takes longer than its sidecar.
        pytest.param(12, lambda groups: None, id="a slow application with a probe"),
        # Without one only the registration as not ready keeps requests away until the sidecar runs.
        pytest.param(0, without_probe, id="no probe", marks=pytest.mark.nightly),
    ],
)
def test_a_new_instance_gets_no_request_before_it_can_answer(joined: Fleet, delay: int, change: Callable[[dict[str, Any]], None]) -> None:
    fleet = joined
    fleet.strip("vm5")
    wait_for_answers(fleet, "vm2", "vm3")
    new = fleet.host("vm5")
    new.run(f"echo START_DELAY={delay} > /etc/kuma-lab-app.env; systemctl restart kuma-lab-app")
    try:
        with polling(fleet.host("vm1"), web_port(fleet)) as answers:
            run, seen = fleet.join("--limit", "vm5", inventory=fleet.inventory(change))
            assert run.code == 0, run.explain()
            assert fleet.ready("vm5")
            wait_for_answers(fleet, "vm2", "vm3", "vm5")
    finally:
        new.run("rm /etc/kuma-lab-app.env")
        # Back to what the inventory of the other tests says; ready as it is, the fixture would leave it alone.
        fleet.join("--limit", "vm5")
    assert seen.writes == ["PUT /meshes/default/dataplanes/vm5 -> 201"]
    assert answers.failures == []
    assert sorted(answers.by_host) == ["vm2", "vm3", "vm5"]
    assert sum(answers.by_host.values()) > 100


def test_a_fenced_proxy_stays_out(joined: Fleet) -> None:
    fleet = joined
    fleet.set_inbounds("vm3", health={"ready": False})
    try:
        wait_for_answers(fleet, "vm2", "vm5")

        def changed(groups: dict[str, Any]) -> None:
            groups["web"]["vars"]["kuma_dp_services"][0]["tags"] = {"stage": "two"}

        with polling(fleet.host("vm1"), web_port(fleet)) as answers:
            again, seen = fleet.join()
            assert again.code == 0, again.explain()
            assert again.changed == {}
            assert seen.writes == []
            written, seen = fleet.join(inventory=fleet.inventory(changed))
            assert written.code == 0, written.explain()
            assert "PUT /meshes/default/dataplanes/vm3 -> 200" in seen.writes
        assert answers.failures == []
        assert sorted(answers.by_host) == ["vm2", "vm5"]
        assert not fleet.ready("vm3")
    finally:
        fleet.set_inbounds("vm3", health={"ready": True})
    wait_for_answers(fleet, "vm2", "vm3", "vm5")


def test_a_dead_proxy_stays_out_and_is_named(joined: Fleet) -> None:
    """It stopped, it is killed again whenever it starts, and its Dataplane is written meanwhile."""
    fleet = joined
    dead = fleet.host("vm3")
    dead.run("systemctl stop kuma-dp@vm3")
    fleet.wait_ready("vm3", wanted=False)
    dropin = "/run/systemd/system/kuma-dp@vm3.service.d"
    dead.run(
        f"mkdir -p {dropin}; printf '[Service]\\nExecStartPost=/bin/sh -c \"kill -9 $MAINPID\"\\n' > {dropin}/broken.conf; systemctl daemon-reload"
    )

    def changed(groups: dict[str, Any]) -> None:
        groups["web"]["vars"]["kuma_dp_services"][0]["tags"] = {"stage": "three"}

    try:
        wait_for_answers(fleet, "vm2", "vm5")
        with polling(fleet.host("vm1"), web_port(fleet)) as answers:
            run, seen = fleet.join(inventory=fleet.inventory(changed, kuma_dp_wait_timeout=8))
        assert run.code != 0
        assert "vm3" in run.messages
        assert "vm2" not in run.messages
        assert "PUT /meshes/default/dataplanes/vm3 -> 200" in seen.writes
        assert answers.failures == []
        assert sorted(answers.by_host) == ["vm2", "vm5"]
        assert not fleet.ready("vm3")
    finally:
        dead.run(f"rm -rf {dropin}; systemctl daemon-reload; systemctl reset-failed kuma-dp@vm3; true")
    run, _seen = fleet.join()
    assert run.code == 0, run.explain()
    wait_for_answers(fleet, "vm2", "vm3", "vm5")


def test_a_reboot_loses_no_request_and_comes_back_joined(joined: Fleet) -> None:
    fleet = joined
    wait_for_answers(fleet, "vm2", "vm3", "vm5")
    with polling(fleet.host("vm1"), web_port(fleet)) as answers:
        fleet.host("vm2").reboot()
        wait_for_answers(fleet, "vm2", "vm3", "vm5")
    assert answers.failures == []
    run, seen = fleet.join()
    assert run.code == 0, run.explain()
    assert run.changed == {}
    assert seen.writes == seen.tokens == []


@pytest.mark.nightly
def test_two_joins_at_once_do_not_hurt(joined: Fleet) -> None:
    fleet = joined
    fleet.strip("vm2")
    fleet.strip("vm3")
    results: dict[str, int] = {}

    def join(name: str) -> None:
        results[name] = fleet.join("--limit", name)[0].code

    threads = [threading.Thread(target=join, args=(name,)) for name in ("vm2", "vm3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {"vm2": 0, "vm3": 0}
    wait_for_answers(fleet, "vm2", "vm3", "vm5")
