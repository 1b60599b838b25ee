# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks a real result of a module against what its RETURN says about it."""

from __future__ import annotations

import ast
import functools
import pathlib

from tests.unit import parsed

MODULES = pathlib.Path(__file__).parents[2] / "plugins/modules"

# What every module may return.
COMMON = frozenset(("changed", "deprecations", "diff", "exception", "failed", "invocation", "msg", "skipped", "warnings"))

TYPES = {
    "bool": bool,
    "complex": dict,
    "dict": dict,
    "float": (int, float),
    "int": int,
    "list": list,
    "path": str,
    "str": str,
}


@functools.cache
def documented(module):
    """RETURN of a module, parsed."""
    for node in ast.parse((MODULES / f"{module}.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "RETURN":
            return parsed.text(ast.literal_eval(node.value)) or {}
    raise AssertionError(f"{module} has no RETURN")


def validate(result, module):
    """Raise AssertionError, with all problems, when a result has undocumented keys, wrong types or lacks what is always returned.

    A null counts as not returned.
    """
    problems = []
    own = {key: value for key, value in result.items() if key not in COMMON}
    _keys(own, documented(module), "", bool(result.get("failed")), problems)
    assert not problems, f"{module} returned what its RETURN does not say: " + "; ".join(problems)


def _keys(found, described, place, failed, problems):
    for key, value in found.items():
        where = f"{place}{key}"
        if key not in described:
            problems.append(f"{where} is not documented")
        elif value is not None:
            _value(value, described[key], where, problems)
    for key, entry in described.items():
        returned = str(entry.get("returned", "")).strip()
        due = returned == "always" or (returned == "success" and not failed) or (returned == "failure" and failed)
        if due and found.get(key) is None:
            problems.append(f"{place}{key} is missing, although it is returned: {returned}")


def _value(value, entry, where, problems):
    kind = entry.get("type")
    if kind in (None, "raw", "any"):
        return
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
        problems.append(f"{where} is {type(value).__name__}, documented as {kind}")
        return
    contained = entry.get("contains")
    if kind in ("dict", "complex") and contained:
        _keys(value, contained, f"{where}.", False, problems)
    if kind == "list":
        elements = {"type": entry.get("elements"), "contains": contained}
        for index, element in enumerate(value):
            _value(element, elements, f"{where}[{index}]", problems)
