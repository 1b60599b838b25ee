# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every trap of docs/traps.md has a test that is named after it."""

from __future__ import annotations

import ast
import functools
import pathlib
import re

TESTS = pathlib.Path(__file__).parents[2]
GUIDE = TESTS.parent / "docs/traps.md"
# What cannot concern this collection says so in the guide, in these words.
NOT_OURS = "cannot concern"


def entries():
    """The traps of the guide: ``{number: text}``."""
    parts = re.split(r"^(\d+)\. ", GUIDE.read_text(), flags=re.MULTILINE)
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}


def numbers(name):
    """The traps in the name of a test, such as ``test_traps_1_2_the_unit`` or ``test_trap_16_labels``."""
    match = re.match(r"test_traps?_(\d+(?:_\d+)*)_[a-z]", name)
    return {int(number) for number in match[1].split("_")} if match else set()


@functools.cache
def named_tests():
    found = {}
    for path in sorted(TESTS.glob("**/test_*.py")):
        top = ast.parse(path.read_text()).body
        for node in [*top, *(method for part in top if isinstance(part, ast.ClassDef) for method in part.body)]:
            if isinstance(node, ast.FunctionDef):
                for number in numbers(node.name):
                    found.setdefault(number, []).append(f"{path.relative_to(TESTS)}::{node.name}")
    return found


def test_every_trap_has_a_test_named_after_it_or_says_why_not():
    found, listed = named_tests(), entries()
    excused = {number for number, text in listed.items() if NOT_OURS in " ".join(text.split())}
    assert sorted(set(listed) - set(found) - excused) == []


def test_no_test_names_a_trap_that_is_not_in_the_guide():
    assert {number: tests for number, tests in named_tests().items() if number not in entries()} == {}


def test_the_guide_counts_without_a_gap():
    assert list(entries()) == list(range(1, len(entries()) + 1))
    assert len(entries()) >= 55


def test_names_are_read():
    assert numbers("test_traps_7_11_a_fence") == {7, 11}
    assert numbers("test_trap_16_labels_that_were_lost") == {16}
    assert numbers("test_2_13_is_no_trap") == set()
