# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a roll for what is not connected: what serves nobody is healed, what serves is left to the rules of all."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import plan as roll_plan
from tests.unit.roll.test_plan import Settings, fleet, host, make, overview


def test_who_serves_nobody_is_restarted_first_and_plainly():
    hosts, overviews = fleet(4)
    hosts[2] = host("web-2", cover=False, serves=False)
    overviews[2] = overview("web-2", online=False)
    plan = make(hosts, overviews)
    assert plan.order == ["web-2", "web-0", "web-1", "web-3"]
    record = plan.records["web-2"]
    assert (record["strategy"], record["reasons"], record["heals"], record["canary"]) == ("drained", [roll_plan.UNSERVING], True, False)
    assert (record["loses"], plan.records["web-0"]["canary"]) == ({}, True)
    assert "restarted whenever there is room, as they serve nobody: web-2" in plan.lines
    state = roll_plan.begin(plan, Settings())
    assert (state.dead, state.serving) == (["web-2"], [])
    assert roll_plan.member(record, 1, 0.0).heals


@pytest.mark.parametrize(
    ("serves", "online", "heals"),
    [(False, False, True), (False, True, False), (None, False, False), (True, False, False), (True, True, False)],
)
def test_only_one_that_both_sides_call_dead_is_healed(serves, online, heals):
    hosts, overviews = fleet(1, serves=serves)
    overviews[0] = overview("web-0", online=online)
    assert make(hosts, overviews).records["web-0"]["heals"] is heals


def test_what_serves_nobody_is_restarted_also_where_a_cover_is_asked_for_and_where_it_is_the_only_one():
    asked = host("web-0", cover=False, strategy="cover", serves=False)
    assert make([asked], [overview("web-0", online=False)]).order == ["web-0"]
    assert "cannot be restarted under cover" in make([host("web-0", cover=False, strategy="cover")], [overview("web-0")]).refused["web-0"]
    edge = host("edge", cover=False, serves=False)
    assert make([edge], [overview("edge", (), online=False, gateway="edge")]).order == ["edge"]
    # It must not be restarted for another reason, or there is nothing new for it.
    assert make([host("web-0", serves=False, refuse="it is fenced and Direct")], []).refused == {"web-0": "it is fenced and Direct"}
    assert make([host("web-0", serves=False, pending=())], []).skipped == {"web-0": "nothing to do"}
    assert not make([asked], [overview("web-0", online=False)], kind="leave").records["web-0"]["heals"]


def test_a_vm_that_serves_somebody_as_well_is_treated_as_one_that_serves():
    hosts = [host("vm", ["a", "b"], cover=False)]
    hosts[0]["proxies"][0]["serves"] = False
    plan = make(hosts, [overview("a", ["api"], online=False), overview("b", ["web"]), overview("c", ["web"])])
    record = plan.records["vm"]
    assert (record["heals"], record["loses"]) == (False, {"web": 1})
    assert roll_plan.begin(plan, Settings()).dead == ["a"]
    # What it serves is the only instance.
    assert "the only instance of web" in make(hosts, [overview("a", ["api"], online=False), overview("b", ["web"])]).refused["vm"]


def test_what_lost_the_control_plane_and_serves_counts_as_serving():
    hosts, overviews = fleet(1, cover=False, serves=True)
    overviews = [overview("web-0", online=False)]
    assert "it has the only instance of web" in make(hosts, overviews).refused["web-0"]
    plan = make(hosts, overviews, allow_singleton=True)
    assert roll_plan.begin(plan, Settings()).serving == ["web-0"]
    # The control plane has taken it out of traffic as well.
    assert make(hosts, [overview("web-0", online=False, state="NotReady")]).order == ["web-0"]


def test_a_host_whose_join_failed_is_told_and_is_no_failure_of_the_roll():
    hosts, overviews = fleet(3)
    hosts[1] = {**host("web-1", serves=False), "late": "its join failed: no luck"}
    overviews[1] = overview("web-1", online=False)
    plan = make(hosts, overviews)
    assert (plan.order, plan.refused) == (["web-0", "web-2"], {"web-1": "its join failed: no luck"})
    state = roll_plan.begin(plan, Settings())
    assert (state.abort, state.failed, state.dead) == ("", [], ["web-1"])
    # It was restarted with what was laid down, so that nothing is pending.
    hosts[1] = {**host("web-1", serves=False, pending=()), "late": "its join failed: no luck"}
    assert list(make(hosts, overviews).refused) == ["web-1"]
