# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of many hosts, each as a task of its own would see them."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.values import NotYet, OfHost, Values, is_template


class Filler:
    """Fills ``{{ a }}-x`` in as far as there is an ``a``; counts how often it is asked."""

    def __init__(self):
        self.available_variables, self.asked = {}, 0

    def template(self, value):
        self.asked += 1
        if isinstance(value, list):
            return [self._text(item) for item in value]
        return self._text(value)

    def _text(self, value):
        for name, known in self.available_variables.items():
            if isinstance(known, (str, int)):
                value = value.replace("{{ %s }}" % name, str(known)) if isinstance(value, str) else value
        if is_template(value):
            raise ValueError(f"{value} is undefined")
        return value


class HostVars(dict):
    def raw_get(self, host):
        return {"inventory_hostname": host, **self[host]} if host in self else object()


def values(inventory, in_role=False, **play):
    """Of the first host of ``inventory`` that runs a task with the variables ``play``."""
    hostvars = HostVars(inventory)
    first = next(iter(inventory))
    return Values({**hostvars.raw_get(first), "hostvars": hostvars, "vars": {}, **play}, Filler(), in_role)


def of(found, host):
    return found.of(host, found.inventory(host))


FLEET = {"a": {"kuma_dp_mesh": "of a", "own": 1}, "b": {"kuma_dp_mesh": "of b"}}


def test_what_a_play_sets_holds_for_all_hosts_before_the_inventory():
    found = values(FLEET, kuma_dp_mesh="of the play", kuma_dp_owner="{{ inventory_hostname }}")
    for host in FLEET:
        assert of(found, host)("kuma_dp_mesh", "") == "of the play"
        assert of(found, host)("kuma_dp_owner", "") == host
        assert of(found, host)("kuma_dp_api", "auto") == "auto"
    assert found.alike == {"kuma_dp_mesh"}
    assert found.differing("a", found.inventory("a")) == {"inventory_hostname", "own", "kuma_dp_owner"}
    assert found.differing("b", found.inventory("b")) == {"inventory_hostname", "kuma_dp_owner"}


def test_where_there_are_roles_what_is_set_may_be_their_default_and_holds_after_the_inventory():
    found = values(FLEET, in_role=True, kuma_dp_mesh="default", kuma_dp_owner="{{ inventory_hostname }}", kuma_dp_api="auto")
    assert of(found, "a")("kuma_dp_mesh", "") == "default", "that of the task itself"
    assert of(found, "b")("kuma_dp_mesh", "") == "of b"
    assert of(found, "b")("kuma_dp_api", "") == "auto"
    assert of(found, "b")("kuma_dp_owner", "nobody") == "nobody"
    assert of(found, "b").is_set("kuma_dp_owner"), "it is, whatever it is"
    assert found.differing("b", found.inventory("b")) == {"inventory_hostname", "kuma_dp_mesh"}


def test_the_connection_of_the_host_that_runs_the_task_is_its_own():
    found = values(FLEET, ansible_host="10.0.0.1")
    assert of(found, "b").filled("ansible_host", "b") == "b"
    assert of(found, "b").raw("vars") is None
    assert found.of_nobody == ["ansible_host", "hostvars", "vars"]


def test_who_is_not_in_the_inventory_has_no_variables():
    found = values(FLEET)
    assert found.inventory("c") is None
    assert found.inventory("a")["own"] == 1


def one(**variables):
    filler = Filler()
    return OfHost(variables, {"known": "k", "many": [1], **variables}, filler), filler


@pytest.mark.parametrize(
    ("written", "value", "asked"),
    [
        ("plain", "plain", 0),
        (5, 5, 0),
        (None, None, 0),
        ("{{ known }}", "k", 0),
        ("{{ many }}", [1], 0),
        ("{{known}}", "k", 0),
        ("{{ known }}-x", "k-x", 1),
        (["a", "{{ known }}"], ["a", "k"], 1),
        ([{"name": "a", "port": "{{ nobody }}"}], [{"name": "a", "port": "{{ nobody }}"}], 0),
    ],
)
def test_a_value_is_filled_in_where_it_is_a_template_and_by_the_engine_where_it_has_to_be(written, value, asked):
    host, filler = one(x=written)
    assert host("x", "default") == value
    assert filler.asked == asked


@pytest.mark.parametrize("written", ["{{ nobody }}", "{{ nobody }}-x", [{"name": "{{ nobody }}"}], object()])
def test_what_cannot_be_told_yet_is_left_for_others(written):
    host, _filler = one(x=written)
    with pytest.raises(NotYet):
        host("x", "default")
    assert host.is_set("x")


def test_filled_in_throughout():
    host, _filler = one(x=["{{ known }}", "b"], y=["{{ nobody }}"])
    assert host.filled("x", []) == ["k", "b"]
    assert host.filled("z", "default") == "default"
    with pytest.raises(NotYet, match="nobody"):
        host.filled("y", [])


@pytest.mark.parametrize(("written", "is_set"), [("", False), (None, False), (0, True), (False, True), ("a", True), ("{{ many }}", True)])
def test_what_is_empty_is_not_set(written, is_set):
    assert one(x=written)[0].is_set("x") is is_set
    assert not one()[0].is_set("x")
