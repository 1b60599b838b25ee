# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The join itself, from an empty fleet to a second run that finds nothing to do. The tests build on each other."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.fleet.fleet import NAMES, PROXIES, Fleet
from tests.lab.ansible import Run
from tests.lab.recorder import Seen
from tests.lab.traffic import ask, outbounds

# What every run asks first, whatever the size of the fleet, and one page of the list.
NOTHING_TO_DO = [
    "GET / -> 200",
    "GET /who-am-i -> 200",
    "GET /config -> 200",
    # Once more without a token: what may everybody do?
    "GET /who-am-i -> 200",
    "GET /meshes/default -> 200",
    "GET /meshes/default/dataplanes/_overview?size=1000 -> 200",
]
FIRST_TASKS, RERUN_TASKS = 4, 1


def test_check_of_an_empty_fleet_says_what_it_would_do(fleet: Fleet) -> None:
    before = fleet.snapshot()
    run, seen = fleet.join("--check", "--diff")
    assert run.code == 0, run.explain()
    assert seen.writes == []
    assert seen.tokens == []
    assert fleet.dataplanes() == {}
    assert fleet.snapshot() == before
    assert sorted(run.changed) == sorted(PROXIES)
    for expected in ("/etc/kuma/env/vm4-cache.env", "KUMA_DATAPLANE_NAME", "kuma-dp@.service", "/etc/kuma/tokens/vm2", "serviceAddress"):
        assert expected in run.output, expected


@pytest.fixture(scope="module")
def first(fleet: Fleet) -> tuple[Run, Seen]:
    """The first join, as talkative as it can be."""
    return fleet.join("-vvvv", "--diff")


def test_the_first_join_succeeds(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    run, seen = first
    assert run.code == 0, run.explain()
    assert sorted(fleet.dataplanes()) == NAMES
    assert len(seen.writes) == len(seen.tokens) == len(NAMES)
    assert all(fleet.ready(name) for name in NAMES)


def test_the_first_join_takes_few_tasks(first: tuple[Run, Seen]) -> None:
    for host in PROXIES:
        tasks = first[0].vm_tasks(host)
        assert 0 < len(tasks) <= FIRST_TASKS, tasks


def test_traffic_flows_between_hosts(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    ports = outbounds(fleet.host("vm1"))
    answers = ask(fleet.host("vm1"), ports["WEB"], 30)
    assert answers.failures == []
    assert sorted(answers.by_host) == ["vm2", "vm3", "vm5"]


def test_two_proxies_of_one_host_serve_side_by_side(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    ports = outbounds(fleet.host("vm1"))
    assert list(ask(fleet.host("vm1"), ports["ORDERS"], 5).by_host) == ["vm4"]
    assert list(ask(fleet.host("vm1"), ports["CACHE"], 5).by_host) == ["vm4:18081"]
    # A VM reaches its own second proxy through its first.
    assert list(ask(fleet.host("vm4"), outbounds(fleet.host("vm4"))["CACHE"], 5).by_host) == ["vm4:18081"]


def test_a_service_has_the_same_port_everywhere(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    assert len({outbounds(fleet.host(name))["CACHE"] for name in PROXIES}) == 1


def tokens(fleet: Fleet) -> dict[str, str]:
    """The proxies' tokens as they are on the hosts, and the administrator's."""
    found = {"administrator": fleet.stage.control_plane.admin_token}
    for host, proxies in PROXIES.items():
        for proxy in proxies:
            found[proxy] = fleet.host(host).run(f"cat /etc/kuma/tokens/{proxy}")
    return found


def test_no_token_is_shown(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    shown = first[0].output
    assert len(shown) > 100_000, "the run was to be talkative"
    for owner, token in tokens(fleet).items():
        assert token == token.strip()
        assert token.count(".") == 2
        for part in (token, token.rpartition(".")[2]):
            assert part not in shown, f"the token of {owner} is in the output"


def test_no_token_is_within_reach_on_a_host(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    held = tokens(fleet)
    for host, proxies in PROXIES.items():
        units = " ".join(f"kuma-dp@{proxy}" for proxy in proxies)
        seen = fleet.host(host).run(
            f"systemctl cat {units}; systemctl show {units}; cat /etc/kuma/env/*.env; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ"
            " | tr '\\0' '\\n'; journalctl --no-pager"
        )
        assert "KUMA_DATAPLANE_RUNTIME_TOKEN_PATH" in seen
        for owner, token in held.items():
            assert token.rpartition(".")[2] not in seen, f"the token of {owner} can be read on {host}"
        modes = fleet.host(host).run("stat -c '%a %U' /etc/kuma/tokens/*").split("\n")
        assert set(filter(None, modes)) == {"600 kuma-dp"}


def test_a_second_join_changes_nothing(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    before = fleet.snapshot()
    run, seen = fleet.join()
    assert run.code == 0, run.explain()
    assert run.changed == {}
    assert [str(request) for request in seen.requests] == NOTHING_TO_DO
    assert fleet.snapshot() == before
    for host in PROXIES:
        assert 0 < len(run.vm_tasks(host)) <= RERUN_TASKS


def test_check_of_a_joined_fleet_changes_nothing(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    before = fleet.snapshot()
    run, seen = fleet.join("--check", "--diff")
    assert run.code == 0, run.explain()
    assert run.changed == {}
    assert [str(request) for request in seen.requests] == NOTHING_TO_DO
    assert fleet.snapshot() == before


def labelled(groups: dict[str, Any]) -> None:
    groups["web"]["vars"]["kuma_dp_services"][0]["tags"] = {"version": "v2"}


def test_check_of_a_changed_inventory_says_what_would_change(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    before, dataplanes = fleet.snapshot(), fleet.dataplanes()
    run, seen = fleet.join("--check", "--diff", inventory=fleet.inventory(labelled))
    assert run.code == 0, run.explain()
    assert seen.writes == seen.tokens == []
    assert fleet.snapshot() == before
    assert fleet.dataplanes() == dataplanes
    assert re.search(r"^\+\s+version: v2", run.output, re.MULTILINE), run.explain()


def test_limit_touches_nothing_else(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    before, dataplanes = fleet.snapshot(), fleet.dataplanes()
    run, seen = fleet.join("--limit", "vm3", inventory=fleet.inventory(labelled))
    assert run.code == 0, run.explain()
    assert seen.writes == ["PUT /meshes/default/dataplanes/vm3 -> 200"]
    # The token of before does not allow the tag that is new. It is there before the Dataplane is.
    assert [str(request).partition(" -> ")[0] for request in seen.requests if request.method != "GET"] == [
        "POST /tokens/dataplane",
        "PUT /meshes/default/dataplanes/vm3",
    ]
    after, changed = fleet.snapshot(), fleet.dataplanes()
    assert [name for name in NAMES if changed[name] != dataplanes[name]] == ["vm3"]
    assert changed["vm3"]["networking"]["inbound"][0]["tags"]["version"] == "v2"
    assert [name for name in after if after[name] != before[name]] == ["vm3"]
    assert fleet.ready("vm3")


def test_an_upstream_more_moves_no_port(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    def one_more(groups: dict[str, Any]) -> None:
        groups["shop"]["vars"]["kuma_dp_upstreams"].append("search")

    before = outbounds(fleet.host("vm1"))
    run, _seen = fleet.join("--limit", "vm1", inventory=fleet.inventory(one_more))
    assert run.code == 0, run.explain()
    after = outbounds(fleet.host("vm1"))
    assert set(after) - set(before) == {"SEARCH"}
    assert {name: after[name] for name in before} == before


def test_another_group_can_be_the_fleet(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    run, seen = fleet.join(extra={"kuma_fleet": "pair"})
    assert run.code == 0, run.explain()
    assert set(run.stats) >= {"vm4"}
    assert run.vm_tasks("vm4")
    assert not run.vm_tasks("vm2")
    assert seen.writes == []


def test_a_join_that_may_restart_drains_who_runs_with_something_old(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    """One VM after the other, and only where a restart is pending."""
    before = {name: pid(fleet, name) for name in ("vm2", "vm5")}
    run, _seen = fleet.join("--limit", "vm2,vm5", extra={"kuma_dp_log_level": "debug"})
    assert run.code == 0, run.explain()
    assert "RESTART PENDING (2)" in run.output
    assert {name: pid(fleet, name) for name in before} == before
    run, _seen = fleet.join("--limit", "vm5", extra={"kuma_dp_log_level": "debug", "kuma_dp_restart": "drained"})
    assert run.code == 0, run.explain()
    assert "RESTART PENDING" not in run.output
    assert re.search(r"joined or changed \(1\): vm5", run.output), run.explain()
    assert (pid(fleet, "vm2"), pid(fleet, "vm5") == before["vm5"]) == (before["vm2"], False)
    assert fleet.ready("vm5")
    drained = fleet.host("vm5").run("journalctl --unit=kuma-dp@vm5 --output=cat --no-pager")
    assert "draining Envoy" in drained
    run, _seen = fleet.join("--limit", "vm2,vm5", extra={"kuma_dp_restart": "drained"})
    assert run.code == 0, run.explain()


def pid(fleet: Fleet, name: str) -> str:
    return fleet.host(name).run(f"systemctl show --property=MainPID kuma-dp@{name}").strip()


def test_a_join_takes_the_inventory_back_to_what_it_was(fleet: Fleet, first: tuple[Run, Seen]) -> None:
    run, seen = fleet.join()
    assert run.code == 0, run.explain()
    assert sorted(seen.writes) == [f"PUT /meshes/default/dataplanes/{name} -> 200" for name in ("vm1", "vm3")]
    assert "SEARCH" not in outbounds(fleet.host("vm1"))
    run, seen = fleet.join()
    assert run.changed == {}
    assert seen.writes == []
