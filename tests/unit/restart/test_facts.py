# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one side lacks to take over from the other, and whether there can be a cover at all."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import facts as restart_facts
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.envoy import Certificates
from tests.unit.restart.world import BOUND, CERTIFICATES, ENDPOINTS

SERVING = restart_facts.Side(
    state="active",
    pid=10,
    started=5.0,
    live=True,
    bound=BOUND,
    owned=BOUND,
    endpoints=ENDPOINTS,
    certificates=CERTIFICATES,
    resident=100 << 20,
)
FACTS = restart_facts.Facts(SERVING, restart_facts.Side(), memory_available=1 << 30)


def facts(material="", memory=1 << 30, **changes):
    return restart_facts.Facts(SERVING._replace(**changes), restart_facts.Side(), memory, material)


def test_a_side_that_is_like_the_other_lacks_nothing():
    assert restart_facts.lacks(SERVING, SERVING._replace(pid=11)) == []
    assert SERVING.serves


def test_more_than_the_other_has_is_fine():
    more = SERVING._replace(
        bound=BOUND | {("127.0.0.1", 10002)},
        owned=BOUND | {("127.0.0.1", 10002), ("10.0.0.11", 9901)},
        endpoints={**ENDPOINTS, "new": frozenset({"10.0.0.9:80"})},
        certificates=Certificates(CERTIFICATES.identities | {"spiffe://default/other"}, 0),
    )
    assert restart_facts.lacks(more, SERVING) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"pid": 0, "state": "failed"}, "its unit is failed"),
        ({"problem": "its Envoy does not run"}, "its Envoy does not run"),
        ({"live": False}, "it has no configuration yet"),
        ({"stopped": True}, "its listeners were stopped"),
        ({"owned": BOUND - {("10.0.0.11", 8080)}}, "it does not listen on 10.0.0.11:8080"),
        ({"bound": frozenset(), "owned": frozenset()}, "it does not listen on 10.0.0.11:8080, 127.0.0.1:10001"),
        ({"endpoints": {}}, "its endpoints of web are no such cluster, expected 10.0.0.12:8080"),
        ({"endpoints": {"web": frozenset()}}, "its endpoints of web are none, expected 10.0.0.12:8080"),
        ({"certificates": Certificates(CERTIFICATES.identities, 1)}, "1 of its certificates are expired"),
        ({"certificates": Certificates(frozenset(), 0)}, "it has no certificate for spiffe://default/web"),
    ],
)
def test_what_a_side_lacks_is_said(changes, expected):
    assert expected in restart_facts.lacks(SERVING._replace(**changes), SERVING)


def test_what_a_proxy_knew_that_is_not_connected_is_nothing_to_compare_with():
    """The control plane refuses it, so that it keeps the endpoints and the certificates that it had. What it listens on counts."""
    stale = SERVING._replace(connected=False, endpoints={"gone": frozenset({"10.0.0.7:80"})})
    fresh = SERVING._replace(pid=11, certificates=Certificates(frozenset(), 0))
    assert restart_facts.lacks(fresh, stale) == []
    assert restart_facts.lacks(fresh._replace(bound=frozenset(), owned=frozenset()), stale) == [
        "it does not listen on 10.0.0.11:8080, 127.0.0.1:10001"
    ]
    for connected in (True, None):
        assert len(restart_facts.lacks(fresh, stale._replace(connected=connected))) == 2


def test_without_another_side_its_own_configuration_counts():
    assert restart_facts.lacks(SERVING._replace(endpoints={}, certificates=Certificates(frozenset(), 0))) == []
    assert restart_facts.lacks(SERVING._replace(owned=frozenset())) == ["it does not listen on 10.0.0.11:8080, 127.0.0.1:10001"]


def test_whether_a_side_still_accepts_is_asked_of_the_kernel_alone():
    assert restart_facts.holds(SERVING._replace(problem="the admin did not answer", live=False), BOUND)
    assert not restart_facts.holds(SERVING._replace(owned=frozenset()), BOUND)
    assert not restart_facts.holds(restart_facts.Side(), frozenset())


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (facts(stopped=True), "the proxy does not serve: its listeners were stopped"),
        (facts(reuse_port=False), "without reuse_port"),
        (facts(dns=True), "embedded DNS is enabled"),
        (facts(same_user=False), "runs as another user"),
        (facts(memory=120 << 20), "not enough memory: 120 MiB are available, expected 150"),
        (facts(material="there is no token for a cover on this VM"), "no token"),
    ],
)
def test_why_there_can_be_no_cover(found, reason):
    (only,) = restart_facts.why_no_cover(found)
    assert reason in only
    strategy, reasons, problem = restart_facts.choose("auto", ["given"], found)
    assert (strategy, reasons, problem) == ("drained", ["given", only], "")
    strategy, reasons, problem = restart_facts.choose("cover", [], found)
    assert (strategy, reasons) == ("cover", [only])
    assert only in problem


def test_a_cover_is_chosen_where_it_is_possible():
    assert restart_facts.why_no_cover(FACTS) == []
    assert restart_facts.choose("auto", [], FACTS) == ("cover", [], "")
    assert restart_facts.choose("drained", ["asked for"], FACTS) == ("drained", ["asked for"], "")
    # Where the memory is not known, nothing is said about it.
    assert restart_facts.why_no_cover(facts(memory=None)) == []


def test_without_its_material_the_running_proxy_alone_counts():
    assert restart_facts.why_no_cover(facts(material="there is no token"), material=False) == []
