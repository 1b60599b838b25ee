# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""How deep and how large documents are, of others. Standard library only, and without recursion, which is what they would break."""

from __future__ import annotations

import typing as t

# Kuma's resources and the configuration of an Envoy have less than half as many levels.
DEEPEST = 100
# Lists and mappings, each counted as often as the document has it. An alias of YAML has what it stands for once more.
MOST = 1_000_000


def fault(value: t.Any, deepest: int = DEEPEST, most: int = MOST) -> str:
    """Why nobody is to look into a document; empty when it is fit for recursion and small enough to be written out.

    What is in it more than once, or in itself, is looked at once on each level.
    """
    level = {id(value): (value, 1)} if _holds(value) else {}
    depth = total = 0
    while level:
        depth += 1
        total += sum(count for _node, count in level.values())
        if depth > deepest:
            return fault_of_depth(deepest)
        if total > most:
            return "is larger than %d lists and mappings when its aliases are written out" % most
        below: t.Dict[int, t.Tuple[t.Any, int]] = {}
        for node, count in level.values():
            for child in node.values() if isinstance(node, dict) else node:
                if _holds(child):
                    below[id(child)] = (child, below.get(id(child), (child, 0))[1] + count)
        level = below
    return ""


def fault_of_depth(deepest: int = DEEPEST) -> str:
    """The same of one that nobody can even make a document of."""
    return "is nested deeper than %d levels" % deepest


def _holds(value: t.Any) -> bool:
    return isinstance(value, (dict, list, tuple))
