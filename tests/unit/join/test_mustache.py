# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mustache as kuma-dp 2.14.3 was seen to read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._join import mustache
from tests.double.kuma_dp import inputs

VALUES = {"name": "web-1", "path": "a&b", "port": "8080"}

# What kuma-dp 2.14.3 made of each of these with --dataplane-var name=web-1,path=a&b,port=8080.
MEASURED = [
    ("{{name}} {{ name }}", "web-1 web-1"),
    ("{{{name}}}", "web-1"),
    ("{{ path }}", "a&amp;b"),
    ("{{{path}}}", "a&b"),
    ("{{{ path }}}", ""),
    ("{{& path }}", ""),
    ("{{missing}}", ""),
    ("a{{! a comment }}b", "ab"),
    ("{team: {{name}}}", "{team: web-1}"),
    ("{{", "line 1: unmatched open tag"),
]


@pytest.mark.parametrize(("text", "expected"), MEASURED)
def test_the_stand_in_fills_in_as_kuma_dp_does(text, expected):
    assert inputs.render(text, VALUES) == expected


@pytest.mark.parametrize(("text", "expected"), [item for item in MEASURED if not mustache.parse(item[0]).faults])
def test_what_is_understood_is_filled_in_as_kuma_dp_does(text, expected):
    assert mustache.render(mustache.parse(text), VALUES) == expected


FAULTS = [
    ("{{{ path }}}", "line 1: {{{ path }}} is always empty, expected {{{path}}} without spaces"),
    ("\n{{& path }}", "line 2: {{& path }} is always empty, expected {{{path}}}"),
    ("{{ missing }}", "line 1: {{ missing }} has no value and would be empty, expected one of name, path, port"),
    ("a\nb {{ path }}", "line 2: {{ path }} would become a&amp;b, because two braces escape HTML, expected {{{path}}}"),
    ("{{#name}}x{{/name}}", "line 1: {{#name}} is a section, expected nothing but variables"),
    ("{{^name}}", "is an inverted section"),
    ("{{> other}}", "is a partial"),
    ("{{=<% %>=}}", "is a change of delimiters"),
    ("{{ a.b }}", "line 1: {{ a.b }} has no name of letters, digits, _ and - in it"),
    ("{{}}", "line 1: {{}} has no name"),
    ("x {{ name", "line 1: {{ name is never closed"),
    ("{{{name}}", "line 1: {{{name}} is never closed"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_trap_33_what_kuma_dp_would_leave_out_or_change_is_said(text, message):
    found = mustache.problems(mustache.parse(text), VALUES)
    assert any(message in fault for fault in found), found


def test_every_fault_is_found_at_once_and_lines_are_counted():
    text = "{{! of\ntwo lines }}\n{{a}}\n{{{ b }}}\n{{{path}}} {{path}}"
    assert [fault.split(":")[0] for fault in sorted(mustache.problems(mustache.parse(text), VALUES))] == ["line 3", "line 4", "line 5"]


PIECES = st.sampled_from(["{", "}", "{{", "}}", "{{{", "}}}", "name", " ", "&", "!", "path", "x: ", "\n", "<", "port", "#", "."])


@given(st.lists(PIECES, max_size=20).map("".join))
def test_any_template_is_filled_in_like_the_stand_in_does_or_has_a_fault(text):
    template = mustache.parse(text)
    if not mustache.problems(template, VALUES):
        assert mustache.render(template, VALUES) == inputs.render(text, VALUES)


@given(st.dictionaries(st.from_regex(mustache.NAME, fullmatch=True), st.text(st.characters(exclude_characters="\0")), min_size=1))
def test_three_braces_keep_any_value(values):
    text = "|".join("{{{%s}}}" % name for name in values)
    template = mustache.parse(text)
    assert mustache.problems(template, values) == []
    assert mustache.render(template, values) == "|".join(values.values())
