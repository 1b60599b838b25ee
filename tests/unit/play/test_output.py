# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts have in common is printed once, whatever their number and whoever says it first."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import output
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.output import Collected, Group, Saying

HOSTS = st.lists(st.from_regex(r"[a-c]{1,2}[0-9]{1,3}(\.x)?", fullmatch=True), min_size=1, max_size=30, unique=True)
TEXTS = st.sampled_from(["no", "no\n  why", "{host}: no", "{host}: else", "the disk of {host} is full"])
PROBLEMS = st.lists(st.tuples(st.sampled_from(output.KINDS), TEXTS, st.sampled_from(["", "a", "b"])), min_size=1, max_size=4)


def said(kind, hosts, text="no", **others):
    return [Saying(kind, host, text.format(host=host), **others) for host in hosts]


def taken(sayings, eager=False):
    """All that is printed of sayings, at once and later."""
    collected = Collected(eager)
    return [group for saying in sayings for group in collected.add(saying)] + collected.take()


@given(hosts=HOSTS, problems=PROBLEMS, data=st.data())
def test_groups_hold_every_host_and_do_not_depend_on_who_was_first(hosts, problems, data):
    sayings = [saying for kind, text, label in problems for saying in said(kind, hosts, text, label=label)]
    groups = taken(sayings)
    for kind in {kind for kind, _text, _label in problems}:
        assert {host for group in groups if group.kind == kind for host in group.hosts} == set(hosts)
    # One host after the other, for that is how each of them goes through its own items.
    shuffled = [saying for host in data.draw(st.permutations(hosts)) for saying in sayings if saying.host == host]
    assert sorted(taken(shuffled)) == sorted(groups)


@given(hosts=HOSTS, kind=st.sampled_from(output.KINDS), text=st.sampled_from(["no", "no\n  why", "{host}: no"]), eager=st.booleans())
def test_what_all_say_is_printed_once_and_once_more_where_nobody_waits(hosts, kind, text, eager):
    assume(kind != output.DIFF or "{host}" not in text)
    groups = taken(said(kind, hosts, text), eager)
    assert len(groups) <= (2 if eager else 1)
    assert sorted(host for group in groups for host in group.hosts) == sorted(hosts)
    assert len({output.printed(group).count("\n") for group in groups}) == 1


def test_a_group_names_its_hosts_in_order_and_ten_of_them():
    assert output.names([]) == ""
    assert output.names(["b", "a"]) == "b, a"
    hosts = [f"vm{number}" for number in range(1, 2001)]
    assert output.names(hosts[:10]) == ", ".join(hosts[:10])
    assert output.listed("changed", hosts) == f"changed (2000): {', '.join(hosts[:10])} ... and 1990 more"
    assert output.listed("failed", hosts, None) == f"failed (2000): {', '.join(hosts)}"
    (group,) = taken(said(output.CHANGED, reversed(hosts)))
    assert output.printed(group) == output.listed("changed", hosts)


@given(st.lists(st.text(), max_size=8))
def test_any_names_can_be_sorted(names):
    assert sorted(sorted(names, key=output.natural)) == sorted(names)


def test_numbers_in_names_count():
    assert sorted(["vm10", "vm2b", "vm2", "a", "vm2a3", "10.0.0.9", "10.0.0.10"], key=output.natural) == [
        "10.0.0.9",
        "10.0.0.10",
        "a",
        "vm2",
        "vm2a3",
        "vm2b",
        "vm10",
    ]


def test_messages_that_differ_in_the_name_at_their_beginning_are_one():
    groups = taken(said(output.FAILED, ["web-1", "web-2"], "{host}: no such port"))
    assert groups == [Group(output.FAILED, ("web-1", "web-2"), "no such port")]
    (one,) = taken(said(output.FAILED, ["web-1"], "{host}: no such port"))
    assert one.text == "web-1: no such port", "what is one host's is left as it is"
    assert len(taken(said(output.FAILED, ["web-1", "web-2"], "not {host}: no"))) == 2
    assert len(taken([*said(output.FAILED, ["web-1"], "web-1: no"), *said(output.FAILED, ["web-2"], "web-1: no")])) == 2


@pytest.mark.parametrize(
    ("text", "alike"),
    [
        ("ssh: connect to host {address} port 22: Connection refused", "ssh: connect to host <host> port 22: Connection refused"),
        (
            "ssh: Could not resolve hostname {host}: Name or service not known",
            "ssh: Could not resolve hostname <host>: Name or service not known",
        ),
        ("root@{address}: Permission denied (publickey).", "root@<host>: Permission denied (publickey)."),
        ("Connection closed by {address} port 22", "Connection closed by <host> port 22"),
        ("Task failed: {host} does not answer.", "Task failed: <host> does not answer."),
        ("ssh: connect to host 10.9.9.9 port 22: No route to host", "ssh: connect to host 10.9.9.9 port 22: No route to host"),
    ],
)
def test_unreachable_hosts_are_one_although_each_has_an_address(text, alike):
    addresses = {"vm1": "10.0.0.1", "vm2": "10.0.0.11", "vm3": "fd00::3"}
    sayings = [Saying(output.UNREACHABLE, host, text.format(host=host, address=address)) for host, address in addresses.items()]
    assert taken(sayings) == [Group(output.UNREACHABLE, ("vm1", "vm2", "vm3"), alike)]


def test_names_of_hosts_inside_of_other_names_are_left_alone():
    saying = Saying(output.UNREACHABLE, "vm1", "vm1 is not vm10, vm1-a, a.vm1 or vm1.example")
    assert output.comparable(saying) == "<host> is not vm10, vm1-a, a.vm1 or vm1.example"
    assert output.comparable(saying._replace(kind=output.FAILED)) == saying.text


def test_tracebacks_of_several_hosts_are_one():
    text = 'File "/root/.ansible/tmp/ansible-tmp-17960.78-12683-2650/A.py"\nFile "/tmp/ansible_x_payload_{0}/ansible_x_payload.zip/x.py"\nValueError'
    (group,) = taken([Saying(output.FAILED, host, text.format(host)) for host in ("vm1", "vm2")])
    assert group.hosts == ("vm1", "vm2")
    assert group.text.endswith("ValueError")


def test_items_that_fail_alike_are_one():
    sayings = [Saying(output.FAILED, host, "no", label=label) for host in ("vm2", "vm1") for label in "ab"]
    (group,) = taken([*sayings])
    assert output.printed(group) == "FAILED on vm1, vm2 (items a, b):\n  no"
    _both, one = taken([*sayings, Saying(output.FAILED, "vm1", "no", label="c")])
    assert output.printed(one) == "FAILED on vm1 (item=c):\n  no"
    assert len(taken([*sayings, Saying(output.FAILED, "vm1", "else", label="a")])) == 2


def test_the_items_of_a_host_say_why_it_failed_and_its_end_whether_that_is_ignored():
    collected = Collected()
    for host in ("vm1", "vm2", "vm3"):
        collected.add_item(Saying(output.FAILED, host, "no", label="a"))
    collected.end(Saying(output.FAILED, "vm1", "One or more items failed"), ignored=False)
    collected.end(Saying(output.FAILED, "vm2", "One or more items failed"), ignored=True)
    ignored, failed = collected.take()
    assert output.printed(ignored) == "failed, ignored on vm2 (item=a):\n  no"
    # Of vm3 nothing more was heard: the play was interrupted.
    assert output.printed(failed) == "FAILED on vm1, vm3 (item=a):\n  no"
    assert collected.take() == []


def test_kinds_have_an_order_and_their_own_words():
    sayings = [saying for kind in reversed(output.KINDS) for saying in said(kind, ["vm1", "vm2"], "no\nwhy", where=" -> localhost")]
    assert [output.printed(group) for group in taken(sayings)] == [
        "vm1, vm2 -> localhost:\n  no\n  why",
        "vm1, vm2 -> localhost:\nno\nwhy\n",
        "changed (2): vm1, vm2",
        "failed, ignored on vm1, vm2 -> localhost:\n  no\n  why",
        "unreachable, ignored: vm1, vm2 -> localhost\n  no\n  why",
        "FAILED on vm1, vm2 -> localhost:\n  no\n  why",
        "UNREACHABLE: vm1, vm2 -> localhost\n  no\n  why",
    ]


def test_messages_are_text():
    (group,) = taken(said(output.MESSAGE, ["vm1", "vm2"], "hello"))
    assert output.printed(group) == "vm1, vm2: hello"
    assert output.printed(group, named=False) == "hello"
    (group,) = taken(said(output.MESSAGE, ["vm1"], "{host}: hello"))
    assert output.printed(group) == "vm1: hello"
    # The same hosts are named once for all that they say.
    (group,) = taken([*said(output.MESSAGE, ["vm1", "vm2"], "a"), *said(output.MESSAGE, ["vm1", "vm2"], "b")])
    assert output.printed(group) == "vm1, vm2:\n  a\n  b"


def counts(**others):
    return {"ok": 1, "changed": 0, "unreachable": 0, "failures": 0, "skipped": 0, "rescued": 0, "ignored": 0, **others}


def test_the_recap_has_a_line_for_each_outcome():
    fleet = {f"vm{number}": counts() for number in range(1, 17)}
    fleet |= {
        "a": counts(changed=2),
        "b": counts(changed=1, failures=1),
        "c": counts(failures=1, unreachable=1),
        "d": counts(rescued=1, ignored=3),
    }
    assert output.recap(fleet) == [
        ("ok", "ok (17): d, vm1, vm2, vm3, vm4, vm5, vm6, vm7, vm8, vm9 ... and 7 more"),
        ("changed", "changed (1): a"),
        ("rescued", "rescued (1): d"),
        ("ignored", "ignored (1): d"),
        ("failed", "failed (1): b"),
        ("unreachable", "unreachable (1): c"),
    ]
    assert output.recap({}) == []


def test_the_recap_names_all_hosts_that_are_lost():
    lost = {f"vm{number}": counts(failures=1) for number in range(30)}
    ((_word, line),) = output.recap(lost)
    assert line == f"failed (30): {', '.join(sorted(lost, key=output.natural))}"
