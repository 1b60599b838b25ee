# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a task as a module would get them, and its environment."""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
import os
import types

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._in_process.plain import environment, plain


class Text(str):
    """Text that knows more than it says, as Ansible's is."""


class Encrypted:
    def __str__(self):
        return "what was in it"


def test_options_are_those_that_would_come_over_the_wire():
    given = {
        Text("list"): [Text("a"), ("b", 1), {"c": None}],
        "map": types.MappingProxyType({1: True, "x": 1.5}),
        "day": datetime.date(2026, 11, 30),
        "set": {"only"},
        "bytes": b"raw",
        "secret": Encrypted(),
    }
    found = plain(given)
    assert found == {
        "list": ["a", ["b", 1], {"c": None}],
        "map": {"1": True, "x": 1.5},
        "day": "2026-11-30",
        "set": ["only"],
        "bytes": "raw",
        "secret": "what was in it",
    }
    assert not isinstance(found["list"][0], Text)
    assert not any(isinstance(key, Text) for key in found)
    json.dumps(found)


def test_they_are_a_copy_and_no_other_one_is_made_of_them():
    given = {"list": [{"a": 1}]}
    found = plain(given)
    assert found["list"] is not given["list"]
    assert copy.deepcopy(found) is found


def test_the_environment_of_a_task_lasts_as_long_as_the_task(monkeypatch):
    monkeypatch.setenv("KEPT", "before")
    monkeypatch.delenv("ADDED", raising=False)
    with contextlib.suppress(ZeroDivisionError), environment({"KEPT": "within", "ADDED": 5}):
        assert (os.environ["KEPT"], os.environ["ADDED"]) == ("within", "5")
        os.environ["LEFT"] = "over"
        raise ZeroDivisionError
    assert os.environ["KEPT"] == "before"
    assert {"ADDED", "LEFT"}.isdisjoint(os.environ)
