# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines at the end of a play."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import summary
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.summary import Outcome
from tests.examples import examples


def test_a_join_names_every_host_once_and_what_is_left_to_do():
    outcomes = [
        Outcome("a", changed=True, outbounds={"api": "127.0.0.1:1", "db": "127.0.0.1:2"}),
        Outcome("b", outbounds={"api": "127.0.0.1:1"}, pending=["b, b: token changed"], others=["b, old"]),
        Outcome("c", failed="c: no token was issued: no\nand more"),
        Outcome("d", failed="d: no token was issued: no"),
        Outcome("e", failed="unreachable"),
    ]
    assert summary.joined(outcomes, check=False) == [
        "joined or changed (1): a",
        "unchanged (1): b",
        "outbound ports: api=127.0.0.1:1, db=127.0.0.1:2",
        "RESTART PENDING (1), these run with what they were started with; the playbook meshfleet.kuma.rolling_restart restarts them:",
        "  b, b: token changed",
        "not in the inventory, left alone (1):",
        "  b, old",
        "FAILED (3):",
        "  c, d: no token was issued: no",
        "  e: unreachable",
    ]


@pytest.mark.parametrize(
    ("check", "verb", "written"), [(False, "joined or changed", "written"), (True, "would join or change", "would be written")]
)
def test_a_check_says_what_would_be(check, verb, written):
    lines = summary.joined([Outcome("a", changed=True)], check, labels_lost=["a", "b"])
    assert lines == [f"{verb} (1): a", "unchanged (0): -", f"labels {written} again that the control plane had lost (2): a, b"]


def test_zone_proxies_are_named_with_their_hosts():
    lines = summary.joined([Outcome("a", names=["a-ingress", "x"]), Outcome("b", changed=True, names=["b"])], False, what="zone proxies")
    assert lines == ["zone proxies that joined or changed (1): b (b)", "unchanged (1): a (a-ingress, x)"]


def test_a_host_that_failed_has_not_left():
    outcomes = [
        Outcome("a", changed=True),
        Outcome("b"),
        Outcome("c", failed="c: it is still there", changed=True),
        Outcome("d", unreachable=True, changed=True),
    ]
    assert summary.left(outcomes, check=False) == [
        "left (1): a",
        "had left before (1): b",
        "unreachable, Dataplane deleted, files still there (1): d",
        "FAILED (1), their Dataplanes may still be registered; kuma_dp_leave_unreachable: true deletes those of dead VMs:",
        "  c: it is still there",
    ]
    assert summary.left([Outcome("a", changed=True)], check=True)[0] == "would leave (1): a"


@given(st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), st.booleans()), max_size=30))
@settings(max_examples=examples(100))
def test_every_host_is_counted_once_and_every_reason_is_said_once(fates):
    outcomes = [
        Outcome(f"h{index}", failed=f"h{index}: {reason}" if failed else None, changed=reason == "x")
        for index, (reason, failed) in enumerate(fates)
    ]
    lines = summary.joined(outcomes, check=False)
    assert sum(int(line.split("(")[1].split(")")[0]) for line in lines if not line.startswith(" ")) == len(fates)
    reasons = [line.rpartition(": ")[2] for line in lines if line.startswith("  ")]
    assert sorted(reasons) == sorted({reason for reason, failed in fates if failed})


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("web-1: it is so\nand so", "it is so"),
        ("web-10: it is so", "web-10: it is so"),
        ("  \n", "an earlier task failed, see above"),
        ("x" * 500, "x" * 397 + "..."),
    ],
)
def test_a_reason_is_one_line_without_its_host(message, text):
    assert summary.short(message, "web-1") == text


def test_the_last_task_that_failed_says_why():
    results = [{"msg": "fine"}, None, {"failed": True, "msg": "first"}, {"unreachable": True, "msg": "gone"}, {"changed": True}]
    assert summary.reason(results) == "gone"
    assert summary.reason([{"failed": True}]) == "failed"
    assert summary.reason([None, {"msg": "fine"}]) == "an earlier task failed, see above"


@pytest.mark.parametrize(("fenced", "action", "title"), [(True, "fenced", "out of traffic"), (False, "lifted", "back in traffic")])
def test_a_maintenance_names_who_moved_who_did_not_and_what_was_forgotten(fenced, action, title):
    results = [{"name": "a", "action": action}, {"name": "b", "action": action}, {"name": "c", "action": "failed"}]
    assert summary.moved({"results": results, "stale": [], "lost": []}, fenced) == [f"{title} (2): a, b", "unchanged (0): -"]
    left = {"results": [{"name": "c", "action": "unchanged"}], "stale": [{"name": "d"}, {"name": "e"}], "lost": ["f", "g"]}
    assert summary.moved(left, fenced) == [
        f"{title} (0): -",
        "unchanged (1): c",
        "past their time: d, e",
        "in maintenance, but in traffic again: f, g",
    ]
