# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fence as a pure function: what it touches, what it leaves alone, and who would be left."""

from __future__ import annotations

import copy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import fence, status

# Recorded: the clusters of a caller behind a control plane 2.14.3, without most of the counters. The last line is made up.
CLUSTERS = """\
kuma:readiness::observability_name::kuma_readiness
kuma:readiness::default_priority::max_connections::1024
kuma:readiness::added_via_api::true
kuma:readiness::127.0.0.1:9909::cx_active::0
ads_cluster::added_via_api::false
ads_cluster::[::1]:15683::cx_active::1
ads_cluster::[::1]:15683::hostname::localhost
access_log_sink::/tmp/kuma-dp-3221801397/kuma-al-client-1-default.sock::cx_active::0
web::observability_name::web
web::default_priority::max_connections::1024
web::127.0.0.2:18080::cx_active::0
web::127.0.0.2:18080::hostname::
web::127.0.0.2:18080::health_flags::healthy
web::127.0.0.4:18080::cx_active::0
localhost:28090::observability_name::localhost_28090
localhost:28090::127.0.0.1:28090::cx_active::0
localhost:28090::127.0.0.1:28090::success_rate::-1
default_api__default_msvc_8080::[2001:db8::12]:8080::rq_total::7
"""

STATES = st.sampled_from([None, "Ready", "NotReady", "Ignored"])
HEALTH = st.sampled_from([None, {}, {"ready": False}, {"ready": True}])
LABELS = st.dictionaries(st.sampled_from(["team", "kuma.io/mesh", "x"]), st.text("ab", max_size=2), max_size=3)
REASONS = st.text(max_size=80)
ENDS = st.none() | st.integers(1, 2**33)


@st.composite
def dataplanes(draw):
    inbounds = []
    for port in range(draw(st.integers(0, 4))):
        drawn = {"state": draw(STATES), "health": draw(HEALTH)}
        given = {key: value for key, value in drawn.items() if value is not None}
        inbounds.append({"port": 8080 + port, "tags": {"kuma.io/service": "web"}, **given})
    return {"name": "web-1", "labels": draw(LABELS), "networking": {"address": "10.0.0.1", "inbound": inbounds}}


def meaning(dataplane):
    """A Dataplane in which what means the same is the same: a health that is not there is a ready one."""
    result = copy.deepcopy(dataplane)
    for inbound in result["networking"]["inbound"]:
        inbound["health"] = not status.unhealthy(inbound)
        inbound.setdefault("state", "Ready")
    result["labels"] = result.get("labels") or {}
    return result


def without_fence(dataplane):
    return not any(fence.is_fenced(inbound) for inbound in dataplane["networking"]["inbound"])


@given(dataplanes().filter(without_fence), REASONS, ENDS)
def test_lifting_a_fence_restores_what_was_there(dataplane, reason, end):
    fenced = fence.fence(dataplane, fence.Mark(fence.slug(reason), end))
    assert meaning(fence.lift(fenced)) == meaning(dataplane)


@given(dataplanes(), REASONS, ENDS)
def test_a_fence_keeps_all_traffic_away_and_is_made_once(dataplane, reason, end):
    mark = fence.Mark(fence.slug(reason), end)
    fenced = fence.fence(dataplane, mark)
    assert not any(fence.gets_traffic(inbound) for inbound in fenced["networking"]["inbound"])
    assert fence.mark_of(fenced["labels"]) == mark
    assert fence.fields(fenced, fence.fence(fenced, mark)) == []
    lifted = fence.lift(fenced)
    assert fence.fields(lifted, fence.lift(lifted)) == []


@given(dataplanes(), st.booleans())
def test_only_the_health_of_ready_inbounds_is_touched(dataplane, fencing):
    original = copy.deepcopy(dataplane)
    result = fence.fence(dataplane, fence.Mark("x")) if fencing else fence.lift(dataplane)
    assert dataplane == original
    for before, after in zip(original["networking"]["inbound"], result["networking"]["inbound"], strict=True):
        assert before.get("state") == after.get("state")
        if before.get("state", "Ready") != "Ready":
            assert before == after
    ours = (fence.REASON_LABEL, fence.UNTIL_LABEL)
    assert {key: value for key, value in result["labels"].items() if key not in ours} == original["labels"]


@given(REASONS)
def test_every_reason_becomes_the_value_of_a_label(reason):
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", fence.slug(reason))


def test_reasons_stay_readable():
    assert fence.slug("Disk swap: rack 7, #12") == "disk-swap-rack-7-12"
    assert fence.slug("¡!") == "maintenance"


@pytest.mark.parametrize(
    ("held", "duration", "expected"),
    [
        (None, None, None),
        (5000, None, None),
        (None, 3600, 4600),
        (4600, 3600, 4600),
        (2801, 3600, 2801),
        (2800, 3600, 4600),
        (900, 3600, 4600),
        (9999, 3600, 4600),
    ],
)
def test_the_end_of_a_fence_moves_only_when_half_of_it_is_over(held, duration, expected):
    assert fence.until(held, 1000, duration) == expected


def test_without_labels_only_the_health_is_written():
    fenced = fence.fence({"labels": {"team": "a"}, "networking": {"inbound": [{"port": 1}]}}, None)
    assert fenced == {"labels": {"team": "a"}, "networking": {"inbound": [{"port": 1, "health": {"ready": False}}]}}


@pytest.mark.parametrize("labels", [None, {}, {fence.UNTIL_LABEL: "12"}])
def test_no_reason_is_no_mark(labels):
    assert fence.mark_of(labels) is None


def test_an_end_that_is_no_number_never_comes():
    (entry,) = fence.marked([overview("a", labels={fence.REASON_LABEL: "x", fence.UNTIL_LABEL: "soon"})])
    assert entry.mark == fence.Mark("x", None)
    assert not fence.stale(entry, 10**12)


def overview(name, service="web", online=True, calls=(), labels=None, address=None, **inbound):
    networking = {
        "address": address or f"10.0.0.{name[-1]}",
        "inbound": [{"port": 8080, "tags": {"kuma.io/service": service}, **inbound}] if service else [],
        "outbound": [{"port": 10000, "tags": {"kuma.io/service": call}} for call in calls],
    }
    insight = {"subscriptions": [{"connectTime": "x", **({} if online else {"disconnectTime": "y"})}]}
    return {"name": name, "mesh": "default", "labels": labels or {}, "dataplane": {"networking": networking}, "dataplaneInsight": insight}


def test_the_last_instance_is_the_last_that_is_connected_and_in_traffic():
    fleet = [overview("web-1"), overview("web-2"), overview("db-3", "db"), overview("web-4", online=False), overview("web-5", health={})]
    assert fence.emptied(fleet, {"web-1"}) == {}
    assert fence.emptied(fleet, {"web-1", "web-2"}) == {"web": ["web-1", "web-2"]}
    assert fence.emptied(fleet, {"web-2", "db-3"}) == {"db": ["db-3"]}
    assert fence.emptied(fleet, {"web-5"}) == {}


def test_a_second_proxy_on_the_same_endpoint_is_no_second_instance():
    fleet = [overview("web-1"), overview("web-1-cover", address="10.0.0.1")]
    assert fence.emptied(fleet, {"web-1"}) == {"web": ["web-1"]}


def test_without_tags_the_workload_is_the_service():
    inbound = {"networking": {"address": "10.0.0.1", "inbound": [{"port": 1}]}, "labels": {"kuma.io/workload": "shop"}}
    assert fence.endpoints(inbound, fence.gets_traffic) == {"shop": {("10.0.0.1", 1)}}


def test_callers_dial_the_advertised_address():
    dataplane = {"name": "a", "networking": {"address": "10.0.0.1", "advertisedAddress": "192.0.2.1", "inbound": [{"port": 1}]}}
    assert fence.endpoints(dataplane, fence.gets_traffic) == {"a": {("192.0.2.1", 1)}}


def test_callers_are_connected_and_strangers_come_first():
    fleet = [overview("a", calls=["web"]), overview("b", calls=["web", "db"]), overview("c", calls=["db"])]
    fleet.append(overview("d", calls=["web"], online=False))
    assert fence.callers(fleet, "web", {"a"}) == ["b", "a"]


def test_gateways_cannot_be_fenced_and_proxies_without_inbounds_need_not():
    assert "load balancer" in fence.cannot_be_fenced({"networking": {"gateway": {}}})
    assert fence.cannot_be_fenced({"networking": {"address": "10.0.0.1"}}) is None
    assert fence.cannot_be_fenced({"networking": {"inbound": [{"port": 1}]}}) is None


def test_clusters_name_endpoints():
    assert fence.cluster_endpoints(CLUSTERS) == {
        ("127.0.0.1", 9909),
        ("::1", 15683),
        ("127.0.0.2", 18080),
        ("127.0.0.4", 18080),
        ("127.0.0.1", 28090),
        ("2001:db8::12", 8080),
    }
