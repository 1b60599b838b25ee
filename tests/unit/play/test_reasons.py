# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What results say, as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import reasons

CENSORED = "the output has been hidden due to the fact that 'no_log: true' was specified for this result"
NO_TRACEBACK = "(traceback unavailable)"
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.text()), st.dictionaries(st.text(), st.text()))
NAMES = st.sampled_from(["msg", "reason", "rc", "cmd", "stdout", "exception", "failed_when_result", "assertion", "problems", "changed"])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"msg": "web-1: no\nwhy", "problems": ["x"], "exception": NO_TRACEBACK}, "web-1: no\nwhy"),
        ({"msg": ["a", "b"]}, "a\nb"),
        ({"msg": 5}, "5"),
        ({"reason": "Could not find none.yml", "include": "none.yml"}, "Could not find none.yml"),
        ({"censored": CENSORED, "exception": "Traceback\nValueError: secret", "msg": "secret"}, CENSORED),
        (
            {
                "msg": "Validation of arguments failed:\nmissing a",
                "argument_errors": ["missing a", "wrong b"],
                "argument_spec_data": {"z": 1},
            },
            "Validation of arguments failed:\nmissing a\nwrong b",
        ),
        ({"msg": "Assertion failed", "assertion": "1 == 2", "evaluated_to": False}, "Assertion failed\nassertion: 1 == 2"),
        ({"msg": "One is missing", "assertion": "1 == 2"}, "One is missing"),
        (
            {"msg": "non-zero return code", "rc": 3, "cmd": ["sh", "-c", "exit 3"], "stdout": "out\n", "stderr": "a\nb", "start": "now"},
            "non-zero return code\nrc: 3\ncmd: sh -c 'exit 3'\nstdout:\n  out\nstderr:\n  a\n  b",
        ),
        ({"msg": "apt failed: E: no", "rc": 100, "stderr": "E: no\n", "stdout": " \n"}, "apt failed: E: no\nrc: 100"),
        ({"msg": "", "rc": 0, "cmd": "true", "failed_when_result": True}, "rc: 0\ncmd: true\nfailed_when_result: True"),
        (
            {"msg": "MODULE FAILURE", "module_stderr": "killed", "module_stdout": "", "rc": 137},
            "MODULE FAILURE\nrc: 137\nmodule_stderr:\n  killed",
        ),
        (
            {"changed": False, "exception": "Traceback\n  x\nZeroDivisionError: by zero\n"},
            "exception: ZeroDivisionError: by zero (-vvv shows where)",
        ),
        ({"msg": "It is so: no", "exception": "Traceback\nError: x\nIt is so: no"}, "It is so: no"),
    ],
)
def test_a_failure_says_why(content, text):
    assert reasons.failure(content) == text


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"changed": False, "results": [1]},
        {"msg": {"a": 1}},
        {"msg": None, "results": []},
        {"msg": ""},
        {"msg": "OK (7 bytes)", "status": 200, "failed_when_result": True},
    ],
)
def test_where_only_all_of_a_failure_tells_it_is_not_shortened(content):
    assert reasons.failure(content) is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"msg": "hello"}, "hello"),
        ({"msg": ["a", "", "b"], "_ansible_verbose_always": True}, "a\n\nb"),
        ({"msg": 7}, "7"),
        ({"msg": ""}, ""),
        ({"msg": {"a": 1}}, None),
        ({"msg": ["a", 1]}, None),
        ({"kuma_dp_name": "web-1", "_ansible_verbose_always": True, "warnings": ["w"]}, "kuma_dp_name: web-1"),
        ({"ports": ["80", "81"]}, "ports:\n  80\n  81"),
        ({"hosts": {"a": 1}}, None),
        ({"a": "1", "b": "2"}, None),
    ],
)
def test_a_message_is_text_without_quotes(content, text):
    assert reasons.message(content) == text


@given(st.dictionaries(NAMES, VALUES))
def test_any_result_says_something_or_nothing_at_all(content):
    assert reasons.failure(content) != ""
    assert reasons.message(content) is None or isinstance(reasons.message(content), str)
