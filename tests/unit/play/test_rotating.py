# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens of a fleet beside its joins: who holds which by what VMs and the control plane show, and what is said in the end."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import held
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.renewal import Before
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import rotating
from tests.unit.play.vm import seen

ONLINE = {"dataplaneInsight": {"subscriptions": [{"connectTime": "x"}]}}


def proxy(jti="now", codes=(), active=True, kid="2"):
    token = {"present": True, "claims": {"jti": jti, "Name": "web-1"}, "kid": kid}
    return seen(token=token, restart_codes=list(codes), unit={"active": active})


def hosts(looks=None, before=None, mesh=("web-1",), zone=(), **inventory):
    known = {host: lambda variable, default, host=host: inventory.get(host, {}).get(variable, default) for host in [*mesh, *zone]}
    looked = {host: {"proxies": proxies} for host, proxies in (looks or {}).items()}
    earlier = {host: {"proxies": proxies} for host, proxies in (before or {}).items()}
    return rotating.Hosts(mesh, zone, looked.get, earlier.get, known.get)


def holders(found, online=("web-1",), model="v2"):
    return found.holders("default", [{"name": name, **ONLINE} for name in online], model)


def test_who_holds_which_token():
    (found,) = holders(hosts({"web-1": {"web-1": proxy()}}, {"web-1": {"web-1": proxy("old")}}))
    assert (found.name, found.host, found.kid, found.claims["jti"], found.before["jti"]) == ("web-1", "web-1", "2", "now", "old")
    assert found.settled


@pytest.mark.parametrize(
    ("look", "online"),
    [
        (proxy(codes=["token"]), True),
        (proxy(active=False), True),
        (proxy(), False),
        (None, True),
    ],
)
def test_who_is_not_settled(look, online):
    (found,) = holders(hosts({"web-1": {"web-1": look} if look else {}}), ["web-1"] if online else [])
    assert not found.settled
    assert found.seen is (look is not None)


def test_who_runs_whether_or_not_it_is_connected():
    """It comes back with the token that it was started with, so that a key which it needs has to stay."""
    runs, starts = proxy(codes=["token"]), {**proxy(), "unit": {"active": False, "pid": 7}}
    for look, active in ((runs, True), (starts, True), (proxy(active=False), False)):
        (found,) = holders(hosts({"web-1": {"web-1": look}}), [])
        assert (found.active, found.settled) == (active, False)


def test_a_restart_that_waits_for_something_else_does_not_matter():
    (found,) = holders(hosts({"web-1": {"web-1": proxy(codes=["CA", "version"])}}))
    assert found.settled


def test_a_host_that_was_lost_and_one_with_several_proxies_and_zone_proxies():
    pair = {"kuma_dp_proxies": [{"name": "a"}, {"name": "b"}]}
    found = holders(hosts(mesh=["lost", "pair"], zone=["gate"], pair=pair, gate={"kuma_zone_proxy_type": "ingress"}))
    assert [(one.name, one.host, one.zone, one.seen) for one in found] == [
        ("lost", "lost", False, False), ("a", "pair", False, False), ("b", "pair", False, False), ("gate-ingress", "gate", True, False),
    ]  # fmt: skip
    # Zone proxies of 3.0 are Dataplanes.
    assert not any(one.zone for one in holders(hosts(mesh=[], zone=["gate"]), model="v3"))


def holder(name="web-1", **more):
    return held.Holder(name, name, "default", **{"seen": True, "running": True, "connected": True, "claims": {"jti": name}, **more})


LEFT = held.Left("The fleet has 9 days left: ...", [])


def test_what_is_said_after_a_rotation():
    assert rotating.settled([holder()], ["a"], LEFT, False) == (["revoked: 1 token that was replaced", LEFT.line], [])
    lines, problems = rotating.settled([holder()], [], LEFT, True)
    assert (lines[0], problems) == ("would be revoked: 0 tokens that were replaced", [])
    _lines, problems = rotating.settled([holder(), holder("web-2", running=False), holder("web-3", seen=False)], [], LEFT, False)
    assert problems == ["not connected with the token on the VM, so that those before it were not revoked: web-2"]
    # Of a check nobody expects that there is a new token.
    assert rotating.settled([holder(running=False)], [], held.Left("x", ["too soon: y"]), True) == (
        ["would be revoked: 0 tokens that were replaced", "before the rotation: too soon: y", "x"],
        [],
    )
    _lines, problems = rotating.settled([], [], held.Left("x", ["too soon: y"]), False)
    assert problems == ["too soon: y"]


def test_what_is_said_after_a_revocation():
    gone = holder("web-9", claims={})
    assert rotating.revoked(["a", "b"], [holder()], [gone], "all", held.Book([]), False) == [
        "revoked: 2 tokens",
        "no token is known of these, neither by the ledger nor by their VMs: web-9",
        "still connected, for a revocation counts when a proxy connects again: web-1",
    ]
    assert rotating.revoked(["a"], [holder()], [], "replaced", held.Book([]), True) == ["would be revoked: 1 token"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"what": "replaced", "ids": [], "names": []}, "replaced"),
        ({"what": "all", "ids": [], "names": []}, "all"),
        ({"what": "", "ids": ["a"], "names": []}, ""),
        ({"what": "", "ids": [], "names": ["web-9"]}, ""),
    ],
)
def test_what_is_to_be_revoked(told, expected):
    assert rotating.revocation(told) == expected


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"what": "", "ids": [], "names": []}, "kuma_revoke is not set, expected replaced"),
        ({"what": "everything", "ids": [], "names": []}, "kuma_revoke is everything, expected replaced"),
        ({"what": "", "ids": ["a b"], "names": []}, "kuma_revoke_ids names 'a b', expected the IDs"),
    ],
)
def test_what_cannot_be_meant(told, message):
    with pytest.raises(ItemsFailed) as failed:
        rotating.revocation(told)
    assert failed.value.msg.startswith(message)


@pytest.mark.parametrize(
    ("told", "expected"), [({}, "168h"), ({"before": ""}, "168h"), ({"before": "all"}, "all"), ({"before": "50%"}, "50%")]
)
def test_what_a_join_renews(told, expected):
    assert rotating.due(told, "168h") == expected


@pytest.mark.parametrize(("told", "variable"), [({}, "kuma_dp_token_renew_before"), ({"before": "half"}, "kuma_rotate_before")])
def test_what_is_no_time_is_told_by_its_variable(told, variable):
    with pytest.raises(ItemsFailed, match=rf"^{variable}: found "):
        rotating.due(told, "whenever")


def test_which_list_counts():
    assert rotating.lists("shop", False) == ["dataplane-token-revocations-shop"]
    assert rotating.lists("shop", True) == ["zone-token-revocations"]


@pytest.mark.parametrize(
    ("least", "renew_before", "expected"),
    [("", "168h", Before(168 * 3600.0)), ("2d", "all", Before(48 * 3600.0)), ("", "25%", Before(share=0.25))],
)
def test_how_long_all_tokens_have_to_be_valid(least, renew_before, expected):
    assert rotating.before_of({"least": least, "before": ""}, renew_before) == expected


def test_nothing_has_to_be_valid_for_longer_than_what_is_renewed_unless_that_is_asked_for():
    """Else each night failed in which a token is between the two."""
    three, week, claims = 3 * 86400.0, 7 * 86400.0, {"exp": 1.0}
    before = rotating.before_of({"least": "", "before": "3d"}, "168h")
    assert [before.reached(claims, left) for left in (three - 1, three + 1, week + 1)] == [True, False, False]
    assert rotating.before_of({"least": "168h", "before": "3d"}, "1h") == Before(week)
    longer = rotating.before_of({"least": "", "before": "14d"}, "168h")
    assert [longer.reached(claims, left) for left in (week - 1, week + 1)] == [True, False]
    assert rotating.before_of({"least": "", "before": "all"}, "168h").reached(claims, week + 1) is False


@pytest.mark.parametrize(
    ("least", "message"),
    [("soon", "kuma_rotate_least: found 'soon'"), ("all", "kuma_rotate_least is all"), ("", "kuma_dp_token_renew_before: ")],
)
def test_a_time_that_is_none(least, message):
    with pytest.raises(ItemsFailed, match=message):
        rotating.before_of({"least": least, "before": ""}, "whenever")
