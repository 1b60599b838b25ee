# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a roll: order, ways, refusals, and what it costs to plan ten thousand hosts."""

from __future__ import annotations

import re
import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import admission, outline, settings
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import plan as roll_plan
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import view as roll_view
from tests.unit import effort

Settings = settings.Settings


def overview(name, services=("web",), online=True, state=None, health=None, gateway=None, version="2.14.3", **extra):
    inbounds = [{"port": 8000 + index, "tags": {"kuma.io/service": service}} for index, service in enumerate(services)]
    for inbound in inbounds:
        inbound.update({key: value for key, value in (("state", state), ("health", health)) if value is not None})
    networking = {"address": "10.0.0.1", "inbound": inbounds, **extra}
    if gateway:
        networking["gateway"] = {"tags": {"kuma.io/service": gateway}}
    ends = {} if online else {"disconnectTime": "y"}
    insight = {"subscriptions": [{"id": f"{name}-1", "connectTime": "x", "version": {"kumaDp": {"version": version}}, **ends}]}
    return {"name": name, "mesh": "default", "dataplane": {"networking": networking}, "dataplaneInsight": insight}


def host(name, proxies=None, cover=True, pending=("version",), target="2.14.3", reachable=True, **options):
    names = proxies or [name]
    own = {"possible": cover, "reasons": [] if cover else ["no reuse_port"], "pending": list(pending)}
    each = [{"name": n, **own, **options} for n in names]
    return {"host": name, "reachable": reachable, "proxies": each, "target_version": target}


def make(hosts, overviews, kind="restart", abilities=None, leftovers=(), **given):
    """Each proxy may claim what it does, unless that is said of it."""
    instances = roll_view.instances(overviews)
    for proxy in [proxy for host in hosts for proxy in host["proxies"]]:
        proxy.setdefault("claims", instances.get(proxy["name"], roll_view.Instance()).claims)
    return roll_plan.make(kind, hosts, settings.read(given), instances, abilities or roll_plan.Abilities(), leftovers)


def fleet(number, services=("web",), **options):
    names = [f"{services[0]}-{index}" for index in range(number)]
    return [host(name, **options) for name in names], [overview(name, services) for name in names]


def test_nothing_pending_is_skipped_and_force_rolls_it():
    hosts, overviews = fleet(3, pending=())
    plan = make(hosts, overviews)
    assert plan.order == []
    assert plan.skipped == {"web-0": "nothing to do", "web-1": "nothing to do", "web-2": "nothing to do"}
    assert plan.seconds == 0
    assert make(hosts, overviews, force=True).order == ["web-0", "web-1", "web-2"]
    assert make(hosts, overviews, kind="leave").order == ["web-0", "web-1", "web-2"]


def test_a_proxy_that_must_not_be_restarted_is_refused_unless_it_leaves_or_nothing_is_pending():
    hosts, overviews = fleet(3)
    hosts[1]["proxies"][0]["refuse"] = "web-1 is fenced and Direct"
    plan = make(hosts, overviews)
    assert (plan.order, plan.refused) == (["web-0", "web-2"], {"web-1": "web-1 is fenced and Direct"})
    assert "web-1" in make(hosts, overviews, kind="leave").order
    hosts[1]["proxies"][0]["pending"] = []
    assert make(hosts, overviews).skipped == {"web-1": "nothing to do"}


def test_a_direct_proxy_takes_longer_because_its_name_has_to_be_free():
    hosts, overviews = fleet(1)
    before = make(hosts, overviews).seconds
    hosts[0]["proxies"][0]["direct"] = True
    assert make(hosts, overviews).seconds == before + outline.NAME_BUSY


def test_one_canary_of_each_kind_goes_first_and_gateways_last():
    hosts = [host(f"{service}-{index}") for service in ("web", "api") for index in range(4)] + [host("edge"), host("edge-2")]
    overviews = [overview(f"{service}-{index}", [service]) for service in ("web", "api") for index in range(4)]
    overviews += [overview("edge", (), gateway="edge"), overview("edge-2", (), gateway="edge")]
    hosts[1]["target_version"] = "2.14.4"
    plan = make(hosts, overviews)
    assert plan.order[:3] == ["web-0", "web-1", "api-0"]
    assert plan.order[-2:] == ["edge", "edge-2"]
    assert [name for name in plan.order if plan.records[name]["canary"]] == ["web-0", "web-1", "api-0", "edge"]
    # Like hosts are spread: the rest alternates between the services.
    assert {name[:3] for name in plan.order[3:5]} == {"web", "api"}


def test_who_does_not_serve_comes_right_after_the_canary_and_before_it_at_the_budget():
    hosts, overviews = fleet(8)
    overviews[5] = overview("web-5", online=False)
    assert make(hosts, overviews).order[:3] == ["web-0", "web-5", "web-1"]
    overviews[6] = overview("web-6", health={})
    assert make(hosts, overviews, budget="25%").order[:3] == ["web-5", "web-6", "web-0"]
    (risk,) = [line for line in make(hosts, overviews).lines if line.startswith("at risk")]
    assert "2 of 8 instances of web do not serve (web-5, web-6), 2 may" in risk


def test_leftovers_come_before_everything():
    hosts, overviews = fleet(6)
    assert make(hosts, overviews, leftovers=["web-4", "web-2"]).order[:3] == ["web-4", "web-2", "web-0"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cover": False}, "no reuse_port"),
        ({"version": "2.13.6"}, "it runs kuma-dp 2.13.6, whose listeners cannot be shared (2.13.7 and later)"),
        ({"target": "2.12.14"}, "it gets kuma-dp 2.12.14, whose listeners cannot be shared (2.13.7 and later)"),
        ({"strategy": "drained"}, "asked for"),
    ],
)
def test_what_cannot_be_covered_is_drained_with_the_reason(change, reason):
    hosts, overviews = fleet(2)
    hosts[0] = host("web-0", **change)
    plan = make(hosts, overviews)
    assert (plan.records["web-0"]["strategy"], plan.records["web-0"]["reasons"]) == ("drained", [reason])
    assert (plan.records["web-1"]["strategy"], plan.records["web-1"]["reasons"]) == ("cover", [])
    assert f"drained ({reason}): web-0" in plan.lines
    if change.get("strategy") != "drained":
        refused = make(hosts, overviews, strategy="cover")
        assert list(refused.refused) == ["web-0"]
        assert reason in refused.refused["web-0"]


def test_rights_and_policies_of_the_control_plane_count():
    hosts, overviews = fleet(2)
    abilities = roll_plan.Abilities(named={"web-1": "MeshTimeout slow"})
    plan = make(hosts, overviews, abilities=abilities)
    assert "MeshTimeout slow applies to it by its name" in plan.records["web-1"]["reasons"][0]
    denied = make(hosts, overviews, abilities=roll_plan.Abilities(no_token="the user may not issue tokens"))
    assert {record["strategy"] for record in denied.records.values()} == {"drained"}


def test_trap_51_a_single_instance_without_cover_needs_a_word():
    hosts, overviews = fleet(1, cover=False)
    plan = make(hosts, overviews)
    assert plan.order == []
    assert "it has the only instance of web and would be restarted without cover (no reuse_port)" in plan.refused["web-0"]
    allowed = make(hosts, overviews, allow_singleton=True)
    assert allowed.order == ["web-0"]
    assert "at risk: the only instance of web is drained and not available meanwhile" in allowed.lines
    assert make(*fleet(1)).order == ["web-0"]
    # It serves nobody: nothing is lost.
    assert make(hosts, [overview("web-0", online=False)]).order == ["web-0"]


def test_a_gateway_is_drained_only_when_somebody_keeps_its_clients_away():
    hosts = [host("edge", cover=False), host("edge-2", cover=False)]
    overviews = [overview("edge", (), gateway="edge"), overview("edge-2", (), gateway="edge")]
    plan = make(hosts, overviews)
    assert plan.order == []
    assert (
        "it is a gateway of edge and would be restarted without cover (no reuse_port), while nothing keeps clients" in plan.refused["edge"]
    )
    assert make(hosts, overviews, hooked=True).order == ["edge", "edge-2"]
    assert make(hosts, overviews, allow_singleton=True).order == ["edge", "edge-2"]
    assert "it has the only instance of edge" in make(hosts[:1], overviews[:1], hooked=True).refused["edge"]
    assert make([host("edge")], overviews[:1]).order == ["edge"]


def test_unreachable_hosts_have_failed_before_the_roll_begins():
    hosts, overviews = fleet(3)
    hosts[2] = host("web-2", reachable=False)
    plan = make(hosts, overviews)
    assert plan.unreachable == ["web-2"]
    assert roll_plan.begin(plan, Settings()).abort == "1 failed (web-2), max_failures is 0"
    assert roll_plan.begin(plan, Settings(max_failures="1")).abort == ""


def test_nobody_knows_how_a_leftover_is_until_it_was_rolled():
    hosts, overviews = fleet(4, cover=False)
    hosts[3] = host("web-3", pending=())
    plan = make(hosts, overviews, leftovers=["web-1", "web-3"])
    assert roll_plan.begin(plan, Settings(), leftovers=["web-1", "web-3"]).missing == {"web": ["web-1"]}


def test_a_cover_is_its_host():
    found = roll_view.instances([overview("web-0", online=False), overview("web-0-cover"), overview("-cover")])
    assert set(found) == {"web-0", "-cover"}
    services = roll_view.services(found)
    assert (services["web"].total, services["web"].down) == (2, set())
    fenced = roll_view.instances([overview("web-0", health={}), overview("web-0-cover", state="Ignored")])
    assert roll_view.services(fenced)["web"].down == {"web-0"}


def test_who_is_not_connected_is_told_from_who_is_out_of_traffic():
    found = [overview("a", online=False), overview("b", online=False, state="NotReady"), overview("c", health={}), overview("d")]
    entry = roll_view.services(roll_view.instances(found))["web"]
    assert (entry.down, entry.offline) == ({"a", "b", "c"}, {"a"})
    kept = roll_view.summary(found, set(), 1.0, 0.1)
    assert roll_view.view(kept).services["web"] == entry
    del kept["services"]["web"]["offline"]
    assert roll_view.view(kept).services["web"].offline == set()


def test_kinds_of_instances():
    zone = dict(overview("zone", (), listeners=[{"type": "ZoneIngress"}]), labels={"kuma.io/zone": "east"})
    found = roll_view.services(roll_view.instances([zone, overview("client", ()), overview("edge", (), gateway="edge")]))
    assert {name: entry.kind for name, entry in found.items()} == {
        "zone ingress of east": admission.ZONE,
        roll_view.NOBODY_CALLS: admission.CALLER,
        "edge": admission.GATEWAY,
    }


def test_a_drained_caller_or_an_unregistered_proxy_takes_nothing_from_anybody():
    plan = make([host("client", cover=False), host("gone")], [overview("client", ())])
    assert set(plan.order) == {"client", "gone"}
    assert plan.records["gone"]["reasons"] == ["it is not registered"]


def test_the_plan_says_order_stages_and_length():
    hosts, overviews = fleet(40)
    plan = make(hosts, overviews, soak=10)
    assert plan.lines[0] == "40 hosts to roll, about 94 s when requests are short"
    assert plan.lines[1] == "canaries, the first alone: web-0; then 10 s of soak"
    assert plan.lines[2] == "stages, by hosts in all: 2, 8, 40; at most 10 hosts in flight"
    assert plan.lines[3].endswith("and 20 more")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"limit": "0"}, "settings.limit: found '0', expected at least one host"),
        ({"budget": "25"}, None),
        ({"budget": "x"}, "settings.budget: found 'x', expected a count such as 2 or a share such as 25%"),
        ({"stages": ["5%", "120%"]}, "settings.stages: found '120%', expected at most 100%"),
        ({"canary": 1}, "settings.canary is unknown"),
        ({"max_in_flight": 0}, "settings.max_in_flight: found 0, expected 1 or more"),
        ({"strategy": "fast"}, "settings.strategy: found 'fast'"),
        ({"soak": "long"}, "settings.soak: found 'long', expected a number"),
        ({"allow_singleton": "maybe"}, "expected true or false"),
    ],
)
def test_settings_are_checked(given, problem):
    if problem is None:
        assert settings.read(given).budget == "25"
        return
    with pytest.raises(ValueError, match=re.escape(problem)):
        settings.read(given)


@pytest.mark.parametrize(("total", "expected"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (7, 1), (8, 2), (100, 25)])
def test_the_budget_rounds_down_and_spares_one(total, expected):
    assert admission.budget(Settings(), total) == expected
    assert admission.budget(Settings(budget="100%"), total) == max(0, total - 1)


def big_fleet(number):
    """Hosts of 50 services, a third of which are drained."""
    names = [f"vm-{index}" for index in range(number)]
    hosts = [host(name, cover=index % 3 > 0) for index, name in enumerate(names)]
    return hosts, [overview(name, [f"svc-{index % 50}"]) for index, name in enumerate(names)]


def decisions_of(plan, overviews, decide=admission.decide):
    """How many decisions it takes to roll a whole plan, 30 hosts waiting and 10 in flight."""
    given = Settings(soak=0.0)
    state = roll_plan.begin(plan, given)
    view = admission.View(at=1.0, services=roll_view.services(roll_view.instances(overviews)))
    queue, decisions = list(reversed(plan.order)), 0
    while queue or state.waiting or state.flying:
        while queue and len(state.waiting) + len(state.flying) < 40:
            admission.arrive(state, queue[-1], roll_plan.member(plan.records[queue[-1]], 1, 0.0))
            queue.pop()
        verdicts = decide(state, given, view, 1.0)
        decisions += 1
        chosen = [name for name, verdict in verdicts.items() if verdict.kind == admission.ADMIT]
        if chosen:
            admission.admit(state, given, view, chosen[0], 0.0)
        else:
            assert state.flying, verdicts
            admission.complete(state, given, next(iter(state.flying)), True, False, 0.0)
    assert state.succeeded == len(plan.order)
    return decisions


def efforts(number):
    """The lines of a plan, the decisions that it takes to roll it, and the lines of the longest of these."""
    hosts, overviews = big_fleet(number)
    longest = 0

    def decide(*arguments):
        nonlocal longest
        verdicts, lines = effort.measured(admission.decide, *arguments)
        longest = max(longest, lines)
        return verdicts

    plan, lines = effort.measured(make, hosts, overviews, max_in_flight=10)
    assert len(plan.order) == number
    return lines, decisions_of(plan, overviews, decide), longest


def test_a_plan_is_linear_in_the_hosts_and_a_decision_costs_the_same_in_any_fleet():
    part, few, longest_of_part = efforts(100)
    whole, many, longest_of_whole = efforts(300)
    assert whole < 3 * part
    assert many == 3 * few
    # Sets are not always gone through in the same order.
    assert longest_of_whole < 1.1 * longest_of_part


@pytest.mark.nightly
def test_ten_thousand_hosts_are_planned_in_linear_time():
    """Sees what is done in C as well, by the time of the processor."""

    def planned(number):
        hosts, overviews = big_fleet(number)
        begun = time.process_time()
        plan = make(hosts, overviews, max_in_flight=10)
        return time.process_time() - begun, plan, overviews

    quarter = max(planned(2_500)[0] for _attempt in range(3))
    spent, plan, overviews = min((planned(10_000) for _attempt in range(3)), key=lambda found: found[0])
    # Four times the hosts. A part that grows with their square would make it sixteen times.
    assert spent < 10 * quarter
    assert decisions_of(plan, overviews) == 2 * 10_000


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"services": ["web"], "workload": ""}, "its Dataplane claims kuma.io/service payments, which the inventory does not give it"),
        (None, "nobody says what it may claim to be (claims)"),
    ],
)
def test_what_claims_more_than_the_inventory_gives_it_gets_no_token_of_a_cover(claims, reason):
    """Everybody may write Dataplanes, unless somebody has seen to it."""
    hosts, overviews = [host("web-0", claims=claims), host("web-1")], [overview("web-0", ("web", "payments")), overview("web-1")]
    plan = make(hosts, overviews)
    assert (plan.records["web-0"]["strategy"], plan.records["web-0"]["reasons"]) == ("drained", [reason])
    assert plan.records["web-1"]["strategy"] == "cover"
