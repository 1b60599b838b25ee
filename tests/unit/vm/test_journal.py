# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines of a unit's journal that are told: those that differ, and no value that the unit was given in secret."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import journal, systemd
from tests.unit.vm.test_proxy import jwt

UNIT = "kuma-dp@web-1.service"
ENVIRONMENT = {
    "KUMA_DATAPLANE_NAME": "web-1-of-the-shop",
    "KUMA_ONE": "canary-of-one-line",
    "KUMA_SEVERAL": "canary-of\nseveral \"lines'\nA=b",
    "SHORT": "info",
}


@pytest.fixture
def said(tmp_path):
    """``said(line, ...)``: what is told when the unit, which has its environment from a file, logged these lines."""
    (tmp_path / "web-1.env").write_text(systemd.render_environment(ENVIRONMENT))
    (tmp_path / ".web-1.started").write_text(systemd.render_environment({"KUMA_ONE": "canary-of-before"}))
    (tmp_path / ".web-2.started").write_text(systemd.render_environment({"KUMA_ONE": "of another proxy"}))

    def of(*lines):
        def run(command):
            if command[0] == "journalctl":
                assert "--unit=" + UNIT in command
                return 0, "\n".join(lines), ""
            assert command == ["systemctl", "show", "--property=EnvironmentFiles", "--value", UNIT]
            return 0, f"{tmp_path}/web-1.env (ignore_errors=no)\n{tmp_path}/none (ignore_errors=yes)\n", ""

        return journal.of_unit(UNIT, run)

    return of


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("one: canary-of-one-line!", "one: (hidden)!"),
        ('{"KUMA_SEVERAL": "canary-of\\nseveral \\"lines\'\\nA=b"}', '{"KUMA_SEVERAL": "(hidden)\\n(hidden)\\nA=b"}'),
        ("it was canary-of-before", "it was (hidden)"),
        ("of another proxy", "of another proxy"),
        (f"token {jwt()}", "token (hidden)"),
        ("web-1-of-the-shop logs at level info", "web-1-of-the-shop logs at level info"),
    ],
)
def test_no_variable_that_the_role_does_not_set_itself_is_told(said, line, shown):
    assert said(line) == [shown]


def test_a_journal_without_lines_costs_one_command():
    assert journal.of_unit(UNIT, lambda command: (0, "" if command[0] == "journalctl" else pytest.fail("asked for nothing"), "")) == []


def test_what_is_said_again_and_again_does_not_hide_the_reason():
    said = [
        "[10:00:00.1][77][warning] no luck",
        "",
        "authentication failed",
        *(f"[10:00:{n:02}.5][78][warning] no luck" for n in range(1, 60)),
    ]
    assert journal.distinct(said) == ["authentication failed", "[10:00:59.5][78][warning] no luck"]


@given(st.lists(st.text("ab1 ", max_size=3)))
def test_every_line_that_was_said_is_kept_once_in_order(lines):
    kept = journal.distinct(lines)
    assert kept == [line for line in kept if line.strip()]
    assert {re.sub(r"\d", "", line) for line in kept} == {re.sub(r"\d", "", line) for line in lines if line.strip()}
    assert len({re.sub(r"\d", "", line) for line in kept}) == len(kept)
    assert journal.distinct(kept) == kept
