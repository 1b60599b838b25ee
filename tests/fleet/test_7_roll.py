# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole rolls under load: restart, upgrade, an upgrade that fails, maintenance and leaving. No request fails."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fleet.rolls import ALL, ANOTHER_VERSION, CALLER, WEB, Rolls
from tests.lab import archive
from tests.lab.load import Load, Profile, keepalive, load, new, pooled, slow

# Enough of everything to notice a gap, and little enough for two processors that boot proxies meanwhile.


# What is rolled on most days: the caller, and two of those that it calls.
SOME = [CALLER, *WEB[:2]]


def requests(rolls: Rolls) -> list[Profile]:
    port = rolls.port()
    return [new(port), keepalive(port), pooled(port), slow(port, rate=2)]


def check_nothing_failed(seen: Load) -> None:
    assert seen.failures == [], f"{seen}"
    for name, result in seen.results.items():
        assert result.sent, name


def most_in_flight(journal: dict[str, Any], hosts: list[str]) -> int:
    """How many of these hosts were under way at once."""
    spans = [(host["admitted"], host["completed"]) for name, host in journal["hosts"].items() if name in hosts and host.get("admitted")]
    return max(sum(1 for begin, end in spans if begin <= moment < end) for moment, _end in spans)


def check_report(rolls: Rolls, hosts: list[str]) -> None:
    """It lies beside the journal."""
    page = max(rolls.directory.glob("**/report.html"), key=lambda path: path.stat().st_mtime_ns)
    report = json.loads((page.parent / "report.json").read_text())
    text = page.read_text()
    for name in hosts:
        assert name in text
    assert report["hosts"]["done"] == len(hosts)
    assert "eyJ" not in text + json.dumps(report), "no token is in it"


def check_rolled(rolls: Rolls, hosts: list[str], before: dict[str, str]) -> None:
    """All of these were restarted under cover, those that are called one after the other, and nobody else was."""
    assert rolls.restarted(before) == hosts
    journal = rolls.journal()
    assert {name: host["status"] for name, host in journal["hosts"].items()} == dict.fromkeys(hosts, "done")
    assert {host["strategy"] for host in journal["hosts"].values()} == {"cover"}
    assert most_in_flight(journal, WEB) == 1
    assert journal["status"] == "done"
    check_report(rolls, hosts)


def test_the_check_of_a_roll_prints_its_plan_and_does_nothing(rolls: Rolls) -> None:
    before, processes = rolls.fleet.snapshot(), rolls.processes()
    run, seen = rolls.roll("--check")
    assert run.code == 0, run.explain()
    assert seen.writes == seen.tokens == []
    assert rolls.fleet.snapshot() == before
    assert rolls.processes() == processes
    assert list(rolls.directory.iterdir()) == []
    for name in ALL:
        assert name in run.output
    assert "cover" in run.output


def test_nothing_to_do_restarts_nobody(rolls: Rolls) -> None:
    before = rolls.fleet.snapshot()
    run, seen = rolls.roll(extra={"kuma_dp_roll_force": False})
    assert run.code == 0, run.explain()
    assert run.changed == {}
    assert seen.writes == seen.tokens == []
    assert rolls.fleet.snapshot() == before


@pytest.mark.nightly
def test_a_host_that_the_join_has_refused_is_left_out_and_keeps_nobody_from_being_rolled(rolls: Rolls) -> None:
    """Its Dataplane is somebody else's, by its label: that stops its host, and not the fleet."""
    control_plane, path = rolls.fleet.stage.control_plane, "/meshes/default/dataplanes/vm5"
    before, own = rolls.processes(), control_plane.call("GET", path)
    control_plane.call("PUT", path, {**own, "labels": {**own.get("labels", {}), "meshfleet.kuma/owner": "somebody"}})
    try:
        run, _asked = rolls.roll()
        assert run.code != 0, run.explain()
        assert rolls.status() == {"vm1": "done", "vm2": "done", "vm3": "done", "vm4": "done", "vm5": "refused"}
        assert rolls.restarted(before) == [name for name in ALL if name != "vm5"]
        assert rolls.journal()["abort"] is None
        assert "Dataplane vm5 has the owner somebody" in run.messages
    finally:
        control_plane.call("PUT", path, own)
    run, _asked = rolls.roll("--limit", "vm5")
    assert run.code == 0, run.explain()
    rolls.settle()
    rolls.wait_for_answers()


@pytest.mark.nightly
def test_a_roll_restarts_everybody_and_loses_no_request(rolls: Rolls) -> None:
    before = rolls.processes()
    with load(rolls.fleet.host(CALLER), *requests(rolls)) as seen:
        run, asked = rolls.roll()
        rolls.settle()
    print(seen)
    assert run.code == 0, run.explain()
    check_nothing_failed(seen)
    check_rolled(rolls, ALL, before)
    journal = rolls.journal()
    spans = [(host["admitted"], host["completed"]) for host in journal["hosts"].values()]
    whole = max(end for _begin, end in spans) - min(begin for begin, _end in spans)
    # One at a time here, for the caller is a canary: hardly anything passes between two of them.
    assert whole <= 1.15 * sum(end - begin for begin, end in spans)
    overviews = [path for path in asked.lists if "_overview" in path]
    assert len(overviews) <= run.seconds + 5, "the control plane is asked for one overview a second at most"


@ANOTHER_VERSION
def test_an_upgrade_loses_no_request(rolls: Rolls) -> None:
    newer = archive.newer()
    before = rolls.processes()
    wanted = {
        "kuma_dp_roll_force": False,
        "kuma_dp_version": newer.version,
        "kuma_dp_archive": str(newer.path),
        "kuma_dp_archive_checksum": newer.sha256,
    }
    limit = ("--limit", ",".join(SOME))
    with load(rolls.fleet.host(CALLER), *requests(rolls)) as seen:
        run, _asked = rolls.roll(*limit, playbook="upgrade", extra=wanted)
        rolls.settle(*SOME)
    print(seen)
    assert run.code == 0, run.explain()
    check_nothing_failed(seen)
    check_rolled(rolls, SOME, before)
    assert {host["version"]["after"] for host in rolls.journal()["hosts"].values()} == {newer.version}
    again, _asked = rolls.roll(*limit, playbook="upgrade", extra=wanted)
    assert again.code == 0, again.explain()
    assert again.changed == {}


@pytest.mark.nightly
def test_an_upgrade_that_never_gets_ready_touches_no_proxy(rolls: Rolls) -> None:
    broken = archive.build("2.14.66", broken=True)
    before = rolls.processes()
    wanted = {
        "kuma_dp_roll_force": False,
        "kuma_dp_version": "2.14.66",
        "kuma_dp_archive": str(broken.path),
        "kuma_dp_archive_checksum": broken.sha256,
        "kuma_dp_wait_timeout": 10,
    }
    pair = WEB[:2]
    with load(rolls.fleet.host(CALLER), *requests(rolls)) as seen:
        run, _asked = rolls.roll("--limit", ",".join(pair), playbook="upgrade", extra=wanted)
    print(seen)
    assert run.code != 0, run.explain()
    check_nothing_failed(seen)
    assert rolls.processes() == before
    # The canary failed, so that the other one was never begun.
    assert rolls.status() == {pair[0]: "failed", pair[1]: "refused"}
    for name in pair:
        assert name in run.output
    # The inventory says something else again: back to the version of before the upgrade.
    run, _asked = rolls.roll("--limit", ",".join(pair), extra={"kuma_dp_roll_force": False})
    assert run.code == 0, run.explain()
    rolls.settle()


def test_maintenance_and_leaving_of_all_but_one_lose_no_request(rolls: Rolls) -> None:
    going = ",".join(WEB[1:])
    with load(rolls.fleet.host(CALLER), *requests(rolls)) as seen:
        run, _asked = rolls.fleet.play(
            "maintenance",
            "--limit",
            going,
            inventory=rolls.inventory,
            extra={"kuma_maintenance": "fenced", "kuma_maintenance_reason": "test"},
        )
        assert run.code == 0, run.explain()
        rolls.wait_for_answers(WEB[0])
        run, _asked = rolls.fleet.play("maintenance", "--limit", going, inventory=rolls.inventory, extra={"kuma_maintenance": "in_traffic"})
        assert run.code == 0, run.explain()
        rolls.wait_for_answers()
        run, _asked = rolls.fleet.play("leave_mesh", "--limit", going, inventory=rolls.inventory)
        assert run.code == 0, run.explain()
        rolls.wait_for_answers(WEB[0])
    print(seen)
    check_nothing_failed(seen)
    assert sorted(rolls.fleet.dataplanes()) == [CALLER, WEB[0]]
    run, _asked = rolls.fleet.join(inventory=rolls.inventory)
    assert run.code == 0, run.explain()
    rolls.wait_for_answers()
