# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the action rollout hands the material of covers to a VM: in a short call of its own, made when the restart of that proxy begins."""

from __future__ import annotations

import types
from unittest import mock

import pytest

from ansible_collections.meshfleet.kuma.plugins.action.rollout import ActionModule
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import host as roll_host
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import run as roll_run

SECRET = "the token of a cover"


class Host:
    """One whose proxies are covered, but for those whose name ends in -drained."""

    def __init__(self, calls, *names):
        self.calls, self.names = calls, names
        self.refuses = ()

    def wishes(self, names):
        return [
            {"name": name, "strategy": "drained" if name.endswith("-drained") else "cover", "reasons": []} for name in names or self.names
        ]

    def cover(self, name, longest):
        if name in self.refuses:
            raise AccessDenied("may not issue", method="POST", url="/tokens/dataplane", status=403)
        self.calls.append(("token", name, longest))
        return {"dataplane": {}, "token": SECRET}


class Vm:
    """Answers as proxy_restart does. ``busy`` is how often a restart of a proxy is still under way."""

    def __init__(self, calls, busy=0, fails=()):
        self.calls, self.busy, self.fails = calls, busy, fails

    def __call__(self, module_name, module_args, task_vars):
        assert module_name == "meshfleet.kuma.proxy_restart"
        (proxy,) = module_args["proxies"]
        until = module_args.get("until", "done")
        self.calls.append((until, proxy["name"]))
        assert (SECRET in str(module_args)) == (until == "prepared"), "a secret is among the arguments of a call that takes long"
        outcome = "restarted"
        if until == "prepared":
            outcome, self.busy = ("busy", self.busy - 1) if self.busy else ("untouched", 0)
        if (until, proxy["name"]) in self.fails:
            return {"failed": True, "msg": "no", "results": [{"name": proxy["name"], "outcome": "failed"}], "changed": True}
        return {"changed": until != "free", "results": [{"name": proxy["name"], "outcome": outcome}]}


@pytest.fixture
def restart():
    def run(*names, vm=None, refuses=(), **params):
        calls = []
        action = ActionModule.__new__(ActionModule)
        action._task = types.SimpleNamespace(check_mode=False)
        action._connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir="/tmp/of-the-vm"))
        action.variables, action.directory, action.host = {}, "", "vm"
        action._execute_module = Vm(calls, **(vm or {}))
        action._remove_tmp_path = lambda path: calls.append(("removed", path))
        host = Host(calls, *names)
        host.refuses = refuses
        given = {"restart": {"drain_time": "30s", "ready_timeout": 60.0}, "names": [], "request": None, "run": "r", **params}
        with mock.patch.object(roll_run, "open_run"), mock.patch.object(roll_host, "Host", return_value=host):
            return action._restart(None, given), calls

    return run


def laid(name):
    return [("token", name, 5 * 90 + 180), ("prepared", name), ("removed", "/tmp/of-the-vm")]


def test_each_token_is_made_and_laid_down_when_its_restart_begins(restart):
    result, calls = restart("a", "b-drained", "c")
    assert calls == [*laid("a"), ("done", "a"), ("done", "b-drained"), *laid("c"), ("done", "c")]
    assert [entry["name"] for entry in result["results"]] == ["a", "b-drained", "c"]
    assert result["changed"]
    assert not result.get("failed")


def test_a_restart_that_retires_its_cover_is_waited_for_and_the_token_is_a_new_one(restart):
    _result, calls = restart("a", vm={"busy": 1})
    assert calls == [*laid("a"), ("free", "a"), *laid("a"), ("done", "a")]


def test_a_restart_that_is_under_way_is_taken_over_with_the_cover_that_it_has(restart):
    _result, calls = restart("a", vm={"busy": 9})
    assert [call[:2] for call in calls if call[0] != "removed"] == [*[("token", "a"), ("prepared", "a"), ("free", "a")] * 2, ("done", "a")]


@pytest.mark.parametrize("until", ["prepared", "done"])
def test_after_a_failure_the_following_proxies_get_no_token(restart, until):
    result, calls = restart("a", "b", vm={"fails": [(until, "a")]})
    assert (result["failed"], result["msg"], result["changed"]) == (True, "no", True)
    assert not any("b" in call for call in calls)


def test_without_a_token_the_proxy_is_not_touched_and_what_was_restarted_is_told(restart):
    result, calls = restart("a", "b", refuses=["b"])
    assert result["failed"]
    assert result["msg"].startswith("b was not touched: ")
    assert result["failure"]["status"] == 403
    assert ([entry["name"] for entry in result["results"]], result["changed"]) == (["a"], True)
    assert calls[-1] == ("done", "a")


def test_a_restart_that_an_earlier_call_began_is_waited_for_and_needs_no_token(restart):
    result, calls = restart("a", names=["a"], request="r1", vm={})
    assert calls == [("done", "a")]
    assert result["results"][0]["outcome"] == "restarted"
