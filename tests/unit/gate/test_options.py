# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a test sets each option of the roles, somewhere and to whatever."""

from __future__ import annotations

import re

import pytest

from tests.unit.gate.test_collection import ROLES, options_of, tracked

# A key of Python, JSON or YAML, a keyword, or with -e.
SET = re.compile(r"""\b(kuma_\w+)(?:["']?\s*:|["']\]\s*=(?!=)|=(?!=))""")
# Options that no test sets, with the reason.
LEFT: dict[str, str] = {}


def set_in(texts):
    return {name for text in texts for name in SET.findall(text)}


def test_every_option_is_set_by_a_test():
    options = {name for role in ROLES for name in options_of(role)}
    texts = [path.read_text() for path in tracked("tests") if path.suffix in (".py", ".yml", ".yaml", ".json", ".sh")]
    assert len(options) > 100
    assert options - set_in(texts) == set(LEFT)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"kuma_dp_name": 1}', {"kuma_dp_name"}),
        ("kuma_dp_name: web", {"kuma_dp_name"}),
        ("facts['kuma_dp_name'] = 1", {"kuma_dp_name"}),
        ("-e kuma_dp_name=web", {"kuma_dp_name"}),
        ("render(kuma_dp_name=1)", {"kuma_dp_name"}),
        ('"kuma_dp_name" in said', set()),
        ('facts["kuma_dp_name"] == 1', set()),
        ("kuma_dp_name == 1", set()),
        ("the variable kuma_dp_name", set()),
    ],
)
def test_where_an_option_is_set(text, names):
    assert set_in([text]) == names
