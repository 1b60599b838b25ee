# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of modules that run in the controller's process: where they do, what they are told, and what nobody sees."""

from __future__ import annotations

import json
import os
import pwd
import sys

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Spec
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._in_process import action as in_process
from tests.unit.action_runner import action, connection

ME = pwd.getpwuid(os.geteuid()).pw_name
URL = {"url": "http://127.0.0.1:9"}
SECRET = "correct-horse"


def of(main, options=None, checks=None):
    """The class of the action of a made-up module."""
    spec = Spec(main, options or {}, checks=checks or {})
    return type("Made", (in_process.InProcess,), {"spec": spec})


def run(main, given=None, options=None, checks=None, verbosity=3, variables=None, **fields):
    made = action("made", {**URL, **(given or {})}, cls=of(main, options, checks), **fields)
    made._display.verbosity = verbosity
    return made.run(task_vars=variables or {}), made.started


HERE = {"ran": "here", "requests": 0}


@pytest.mark.parametrize(
    ("fields", "variables"),
    [
        ({}, {}),
        ({"reached": connection(become_user=ME)}, {}),
        ({}, {"ansible_python_interpreter": sys.executable}),
        ({}, {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}),
        ({}, {"ansible_python_interpreter": "auto_silent"}),
        ({"delegate_to": "localhost"}, {"ansible_python_interpreter": "/usr/bin/other", "ansible_delegated_vars": {"localhost": {}}}),
    ],
)
def test_it_runs_here(fields, variables):
    assert run(lambda call, client: {"ran": "here"}, verbosity=0, variables=variables, **fields) == (HERE, [])


@pytest.mark.parametrize(
    ("fields", "variables"),
    [
        ({"reached": connection("ssh")}, {}),
        ({"reached": connection(become_user="somebody-else")}, {}),
        ({"async_val": 60}, {}),
        ({}, {"ansible_python_interpreter": "/usr/bin/other"}),
        ({"delegate_to": "bastion"}, {"ansible_delegated_vars": {"bastion": {"ansible_python_interpreter": "/usr/bin/other"}}}),
    ],
)
def test_it_runs_where_the_task_is_for(fields, variables):
    result, started = run(lambda call, client: pytest.fail("ran here"), {"token": SECRET}, variables=variables, **fields)
    assert result["ran"] == "elsewhere"
    assert started == [({**URL, "token": SECRET}, "async_val" in fields)]


def test_without_requests_it_is_left_to_the_python_of_the_host(monkeypatch):
    """Which may have it, and says itself when it does not."""
    monkeypatch.setattr(in_process, "REQUESTS_IMPORT_ERROR", "ImportError: requests")
    result, started = run(lambda call, client: pytest.fail("ran here"))
    assert (result["ran"], len(started)) == ("elsewhere", 1)


def test_options_that_nobody_can_write_out_are_refused_before_anybody_does():
    """An alias of YAML is one object, however often it stands there."""
    laughs, deep = ["lol"] * 9, "x"
    for _each in range(9):
        laughs = [laughs] * 9
    for _each in range(100000):
        deep = [deep]
    for value, reason in ((laughs, "is larger than 1000000"), (deep, "is nested deeper than 100 levels")):
        result, started = run(lambda call, client: pytest.fail("ran here"), {"data": value}, {"data": {"type": "raw"}})
        assert (result["failed"], result["requests"], started) == (True, 0, [])
        assert f"data: {reason}" in result["msg"]


def test_somebody_without_a_name_is_not_the_one_to_become(monkeypatch):
    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr(in_process.pwd, "getpwuid", nobody)
    assert run(lambda call, client: {}, reached=connection(become_user="root"))[0]["ran"] == "elsewhere"


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("diff", [False, True])
def test_it_is_told_the_mode_and_differences_are_shown_in_theirs(check, diff):
    def main(call, client):
        assert (call.check_mode, call.diff) == (check, diff)
        return {"changed": True, "diff": {"before": "", "after": ""}}

    assert ("diff" in run(main, check_mode=check, diff=diff)[0]) is diff


def test_secrets_are_nowhere():
    def main(call, client):
        call.hide(["found-on-the-way"])
        call.warn(f"careful with {SECRET}")
        told = {"before": SECRET, "after": ["found-on-the-way", {"key": f"x{SECRET}x"}]}
        raise ItemsFailed(
            f"{SECRET} was refused", {"changed": True, "failed": True, "diff": told, "results": [{"name": "found-on-the-way"}]}
        )

    options = {"password": {"type": "str", "no_log": True}, "items": {"type": "list", "elements": "dict", "options": {}}}
    options["items"]["options"]["data"] = {"type": "str", "no_log": True}
    given = {"token": "True", "password": SECRET, "items": [{"data": "of an item"}]}
    result, _started = run(main, given, options, diff=True)
    for secret in (SECRET, "found-on-the-way", "of an item"):
        assert secret not in json.dumps(result)
    assert result["msg"] == "******** was refused"
    assert result["invocation"]["module_args"]["password"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    assert (result["changed"], result["failed"]) == (True, True), "a truth value is no secret, although a token is called like it"


def test_what_it_was_given_is_shown_to_those_who_want_to_see_it():
    for verbosity, shown in ((0, False), (2, False), (3, True)):
        result, _started = run(lambda call, client: {"changed": False}, verbosity=verbosity)
        assert ("invocation" in result) is shown


@pytest.mark.parametrize("wanted", [True, False])
def test_from_core_2_21_on_a_setting_says_whether_that_is_shown(monkeypatch, wanted):
    known = in_process.constants.config.get_config_value
    monkeypatch.setattr(
        in_process.constants.config,
        "get_config_value",
        lambda name, variables: wanted if name == "INJECT_INVOCATION" else known(name, variables=variables),
    )
    for verbosity in (0, 3):
        result, _started = run(lambda call, client: {"changed": False}, verbosity=verbosity)
        assert ("invocation" in result) is wanted


def test_aliases_warn_as_those_of_any_module():
    options = {
        "name": {"type": "str", "aliases": ["title"]},
        "old": {"type": "str", "removed_in_version": "9.0.0", "removed_from_collection": "meshfleet.kuma"},
    }
    result, _started = run(lambda call, client: {"name": call.params["name"]}, {"name": "a", "title": "b", "old": "c"}, options)
    assert result["name"] == "b"
    assert result["warnings"] == ["Both option name and its alias title are set."]
    (deprecation,) = result["deprecations"]
    assert deprecation["msg"].startswith("Param 'old' is deprecated")
    assert (deprecation["version"], deprecation["collection_name"]) == ("9.0.0", "meshfleet.kuma")


def test_nothing_is_done_with_options_that_are_refused():
    options = {"a": {"type": "str"}, "b": {"type": "str"}}
    checks = {"required_if": [("a", "x", ["b"])], "mutually_exclusive": [("a", "b")]}
    for given, msg in (
        ({"a": "x"}, "a is x but all of the following are missing: b"),
        ({"a": "x", "b": "y"}, "parameters are mutually exclusive: a|b"),
        ({"token": SECRET, "retries": SECRET}, "argument 'retries' is of type str and we were unable to convert to int"),
        ({"c": SECRET, "token": SECRET}, "Unsupported parameters for (meshfleet.kuma.made) module: c."),
    ):
        result, _started = run(lambda call, client: pytest.fail("was done"), given, options, checks)
        assert result["failed"]
        assert result["msg"].startswith(msg)
        assert SECRET not in result["msg"]


def test_the_environment_of_the_task_counts(control_plane, monkeypatch):
    """Fallbacks of options and proxies are read from it."""
    monkeypatch.setenv("KUMA_API_URL", "http://127.0.0.1:9")
    made = action("control_plane_info", {}, environment=[{"KUMA_API_URL": control_plane.url}, {"NO_PROXY": "*"}])
    assert made.run(task_vars={})["product"] == "Kuma"
    assert os.environ["KUMA_API_URL"] == "http://127.0.0.1:9"


def test_connections_are_closed_whatever_happens(monkeypatch):
    closed = []

    def close(session):
        closed.append(session)

    def main(call, client):
        raise ZeroDivisionError

    monkeypatch.setattr("requests.adapters.HTTPAdapter.close", close)

    with pytest.raises(ZeroDivisionError):
        run(main)
    assert len(closed) == 1
