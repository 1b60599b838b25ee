# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a proxy is connected, and whether it needs another token, by what the control plane and its VM say."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._join import health
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue, zone
from tests.unit.join import test_plan
from tests.unit.zone import test_resource as test_zone

ONLINE = {"name": "web-1", "dataplaneInsight": {"subscriptions": [{"connectTime": "x"}]}}
OFFLINE = {"name": "web-1", "dataplaneInsight": {"subscriptions": [{"connectTime": "x", "disconnectTime": "y"}]}}
REVOKED = {"code": "revoked", "said": "authentication failed: token is revoked", "token": True}
REFUSED = "the control plane refuses it: authentication failed: token is revoked"


@pytest.mark.parametrize(
    ("overview", "observed", "expected"),
    [
        (None, {}, False),
        (OFFLINE, {}, False),
        (ONLINE, {}, True),
        (ONLINE, {"connected": None}, True),
        (ONLINE, {"connected": True}, True),
        # It was killed: the control plane notices that after minutes.
        (ONLINE, {"connected": False}, False),
        (OFFLINE, {"connected": True}, False),
    ],
)
def test_both_sides_have_to_say_that_it_is_connected(overview, observed, expected):
    assert health.connected(overview, observed) is expected


@pytest.mark.parametrize(
    ("online", "observed", "expected"),
    [
        (False, {"refusal": REVOKED}, REFUSED),
        (False, {}, ""),
        (False, {"refusal": None}, ""),
        (False, {"refusal": {**REVOKED, "token": False}}, ""),
        # It was refused before it was let in.
        (True, {"refusal": REVOKED}, ""),
        # What was refused is not what lies there: it waits for its restart.
        (False, {"refusal": REVOKED, "restart_codes": ["CA", "token"]}, ""),
        (False, {"refusal": REVOKED, "restart_codes": ["CA"]}, REFUSED),
    ],
)
def test_a_token_is_replaced_when_the_control_plane_refuses_the_one_that_lies_there(online, observed, expected):
    assert health.refused_token(online, observed) == expected


def planned(observed):
    (own,) = test_plan.plan([test_plan.host(1, observed={"proxies": {"web-1": observed}})])[0]["web-1"]["proxies"]
    return own


def test_the_plan_asks_for_another_token_although_the_claims_are_right():
    tags = {key: list(values) for key, values in planned({})["token"]["tags"].items()}
    claims = {"Name": "web-1", "Mesh": "default", "Workload": "web", "Tags": tags, "exp": 1000.0}
    own = planned({"token": {"claims": claims}, "refusal": REVOKED})
    assert own["token"]["refused"] == REFUSED
    assert own["connected"] is False
    (wish,) = issue.plan([own["token"]], "720h", "1s", 0.0, lambda: True)
    assert wish.reason == REFUSED
    (wish,) = issue.plan([planned({"token": {"claims": claims}})["token"]], "720h", "1s", 0.0, lambda: True)
    assert wish.reason is None


def test_a_refused_token_is_replaced_also_where_tokens_are_not_bound_to_workloads():
    entry = {"name": "web-1", "mesh": "default", "workload": "web", "current": {"Name": "web-1", "Mesh": "default", "exp": 1000.0}}
    (kept,) = issue.plan([entry], "720h", "1s", 0.0, lambda: False)
    (replaced,) = issue.plan([{**entry, "refused": REFUSED}], "720h", "1s", 0.0, lambda: False)
    assert (kept.reason, replaced.reason) == (None, REFUSED)


def test_what_is_wrong_with_the_claims_is_told_first():
    entry = {"name": "web-1", "mesh": "default", "current": {"Name": "web-2", "Mesh": "default", "exp": 1000.0}, "refused": REFUSED}
    assert issue.plan([entry], "720h", "1s", 0.0, lambda: True)[0].reason == "name is web-2, expected web-1"


def test_the_control_plane_says_who_is_connected():
    first = planned({})
    live = copy.deepcopy(first["dataplane"])
    overviews = [test_plan.overview(live, dataplaneInsight=ONLINE["dataplaneInsight"])]
    (own,) = test_plan.plan([test_plan.host(1)], overviews)[0]["web-1"]["proxies"]
    assert own["connected"] is True


@pytest.mark.parametrize("online", [True, False])
def test_zone_proxies_are_judged_in_the_same_way(online):
    seen = {"token": {"claims": {"Zone": "default", "Scope": ["ingress"], "exp": 1000.0}}, "refusal": REVOKED}
    found = test_zone.overviews(test_zone.item("gate-ingress", online=online))
    (own,) = test_zone.plan(test_zone.host("gate", observed={"proxies": {"gate-ingress": seen}}), found=found)[0]["gate"]["proxies"]
    assert own["connected"] is online
    (wish,) = issue.plan([own["token"]], "720h", "1s", 0.0, lambda: True, sort=zone.ZONE)
    assert wish.reason == (None if online else REFUSED)
