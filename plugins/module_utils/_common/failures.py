# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""How a module fails: with a message, and with a result beside it."""

from __future__ import annotations

import typing as t

Result = t.Dict[str, t.Any]


class _Failed(Exception):
    def __init__(self, msg: str, result: t.Optional[Result] = None) -> None:
        super().__init__(msg)
        self.msg = msg
        self.result: Result = dict(result or {})


class ModuleFailed(_Failed):
    """The module fails with this message, and with ``result`` beside it."""


class ItemsFailed(_Failed):
    """Some items of a task failed: the module fails with this message, and with ``result`` beside it."""


def refusal(problems: t.Sequence[str]) -> ItemsFailed:
    """Nothing was written, for all of ``problems``, which are numbered in the message."""
    lines = "\n".join("  %d. %s" % (number, problem) for number, problem in enumerate(problems, 1))
    count = "1 problem was" if len(problems) == 1 else "%d problems were" % len(problems)
    return ItemsFailed("Nothing was written. %s found:\n%s" % (count, lines), {"changed": False, "problems": list(problems)})
