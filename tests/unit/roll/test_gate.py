# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate behind a restart as pure functions."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import gate

KEY = ":8080"


def proxy(ids=("b",), online=True, state="Ready", healthy=True, probe=False, rejected=0, version="2.14.3"):
    inbound = {"name": "8080", "state": state, "healthy": healthy, "probe": probe}
    return {"online": online, "ids": list(ids), "version": version, "rejected": rejected, "inbounds": {KEY: inbound}}


BEFORE = proxy(ids=("a",))


@pytest.mark.parametrize(
    ("before", "now", "ours", "problem"),
    [
        (BEFORE, proxy(), [], None),
        (BEFORE, None, [], "it is not registered"),
        (BEFORE, proxy(online=False), [], "it is not connected to the control plane"),
        (BEFORE, proxy(ids=("a",)), [], "it has not connected anew since it was admitted"),
        (BEFORE, proxy(ids=("a", "b")), [], None),
        (None, proxy(), [], None),
        (BEFORE, proxy(version="2.13.10"), [], "the control plane sees kuma-dp 2.13.10, expected 2.14.3"),
        (BEFORE, proxy(rejected=2), [], "Envoy rejected 2 configurations"),
        (BEFORE, proxy(state="NotReady"), [], "inbound 8080 has state NotReady"),
        (BEFORE, proxy(healthy=False), [], "inbound 8080 is fenced by somebody else"),
        (BEFORE, proxy(healthy=False), [KEY], None),
        (BEFORE, proxy(state="NotReady", healthy=False), [KEY], "inbound 8080 has state NotReady"),
        # What did not serve before for the sake of somebody else need not now.
        (proxy(ids=("a",), healthy=False), proxy(healthy=False), [], None),
        (proxy(ids=("a",), state="Ignored"), proxy(state="Ignored"), [], None),
        (proxy(ids=("a",), state="NotReady", probe=True), proxy(state="NotReady", probe=True), [], None),
        (proxy(ids=("a",), state="NotReady"), proxy(state="NotReady"), [], "inbound 8080 has state NotReady"),
    ],
)
def test_the_gate(before, now, ours, problem):
    assert gate.problems(before, now, ours, "2.14.3", "restart") == ([problem] if problem else [])


def test_a_proxy_that_leaves_has_only_to_be_gone():
    assert gate.problems(BEFORE, None, [KEY], "", "leave") == []
    assert gate.problems(BEFORE, proxy(online=False), [KEY], "", "leave") == []
    assert gate.problems(BEFORE, proxy(), [KEY], "", "leave") == ["it is still connected to the control plane"]


def test_a_result_of_several_proxies():
    entry = {"outcome": "restarted", "strategy": "cover", "served_by": "main", "connections_cut": 2, "phases": {"cover": 1.0, "stop": 0.2}}
    stopped = {
        "name": "b",
        "outcome": "untouched",
        "strategy": "drained",
        "served_by": "cover",
        "problem": "not begun",
        "phases": {"start": 0.5},
    }
    found = gate.read({"results": [{"name": "a", **entry}, stopped]}, ["a", "b"], "restart")
    assert (found.ok, found.reason) == (False, "b was not restarted (not begun)")
    kept = gate.measured(found)
    assert kept["phases"] == {"cover": 1.0, "restart": 0.7}
    assert (kept["connections_cut"], kept["served_by"], kept["drained"]) == (2, "cover", ["b"])
    assert gate.read({"results": [{"name": "a", **entry}]}, ["a"], "restart").ok
    assert gate.read({"changed": True}, ["a"], "leave").ok
    assert not gate.read({"changed": True}, ["a"], "restart").ok
    assert not gate.read("text", ["a"], "leave").ok
