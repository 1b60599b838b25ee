# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No module writes the value of an option to the system log, and none shows a secret that came where Ansible does not look for it."""

from __future__ import annotations

import contextlib
import io
import json
import re

import pytest
from ansible.module_utils import basic

from ansible_collections.meshfleet.kuma.plugins.module_utils._module.quiet import Module
from tests.unit.gate.sources import ROOT
from tests.unit.module_runner import patch_module_args

ONE, SEVERAL = "canary of one line", "canary of\nseveral \"lines'\n"
SECRET = {"path": {"type": "str"}, "content": {"type": "str", "no_log": True}}
SPEC = {
    "plain": {"type": "str"},
    "count": {"type": "int"},
    "key": {"type": "str", "no_log": True},
    "secrets": {"type": "list", "elements": "dict", "options": SECRET, "no_log": False},
}


class Journal:
    """As much of systemd's own as Ansible uses."""

    def __init__(self):
        self.sent = []

    def sendv(self):
        raise AssertionError

    def send(self, **fields):
        self.sent.append(fields)


@pytest.fixture(params=["journal", "syslog"])
def log(request, monkeypatch):
    """All that is logged, be it to the journal or to syslog."""
    journal = Journal()
    monkeypatch.setattr(basic, "has_journal", request.param == "journal")
    monkeypatch.setattr(basic, "journal", journal, raising=False)
    monkeypatch.setattr(basic.AnsibleModule, "_log_to_syslog", lambda self, text: journal.sent.append({"MESSAGE": text}))
    return journal.sent


def run(options, main=lambda module: module.exit_json(changed=False)):
    """The result of a module with these options."""
    printed = io.StringIO()
    with patch_module_args({**options, "_ansible_no_log": False}), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main(Module(SPEC))
    return json.loads(printed.getvalue())


@pytest.mark.parametrize("secret", [ONE, SEVERAL])
def test_the_log_has_the_names_of_options_alone(log, secret):
    run({"plain": secret, "key": secret, "secrets": [{"path": "/etc/x", "content": secret}]})
    (entry,) = log
    assert "Invoked with count, key, plain, secrets, whose values are not logged" in entry["MESSAGE"]
    assert "canary" not in json.dumps(entry, default=str)
    assert "/etc/x" not in json.dumps(entry, default=str)


def test_what_a_module_logs_itself_is_kept(log):
    run({}, lambda module: module.exit_json(changed=module.log("it went on at https://me:it@example.com/")))
    assert "it went on at https://(hidden)@example.com/" in log[-1]["MESSAGE"]


@pytest.mark.parametrize("secret", [ONE, SEVERAL])
@pytest.mark.parametrize("write", [str, repr, json.dumps])
def test_a_result_hides_a_secret_however_it_is_written(log, secret, write):
    options = {"secrets": [{"content": secret}]}
    for end in ("exit_json", "fail_json"):
        found = run(options, lambda module, end=end: getattr(module, end)(msg=f"it says {write(secret)}!"))
        assert "canary" not in json.dumps(found)
        assert found["msg"].startswith("it says ")


@pytest.mark.parametrize("secret", [ONE, SEVERAL])
@pytest.mark.parametrize("wrong", ["under another name", "one level up", "where a list belongs", "beside one that is wrong"])
def test_an_invocation_that_is_refused_shows_no_value(log, secret, wrong):
    options = {
        "under another name": {"secrets": [{"contents": secret}]},
        "one level up": {"secrets": [secret]},
        "where a list belongs": {"secrets": {"content": secret}},
        "beside one that is wrong": {"count": "many", "plain": secret},
    }[wrong]
    found = run(options)
    assert found["failed"]
    assert "canary" not in json.dumps(found)
    assert log == []


def test_all_modules_are_made_so():
    makes = re.compile(r"\bAnsibleModule\(|basic\.AnsibleModule|import basic\b")
    found = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("plugins/**/*.py")) if makes.search(path.read_text())]
    assert found == []
