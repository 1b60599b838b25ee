# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Of which type the roles want their options, and which have to be set. Pure; it runs on the controller only.

Ansible's own check of roles takes more than roles can use: any value for a text, texts with commas for lists, texts for mappings.
"""

from __future__ import annotations

import math
import re
import typing as t

from ansible.module_utils.parsing.convert_bool import BOOLEANS

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import is_secret_name
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import control_plane, options

# The options of an entry point as meta/argument_specs.yml says them, by role and entry point.
Specs = t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Any]]]]

TEXTS = ("str", "path", "raw")

_EXPECTED = {
    "str": "a text",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}
_PLANS = (options.JOIN, options.ZONE)
# What YAML reads as true or false when it is not in quotes.
_TRUTHS = ("y", "yes", "on", "true", "n", "no", "off", "false")


class Option(t.NamedTuple):
    """``elements`` is the type of the items of a list, ``hidden`` whether no value may be shown.

    ``empty`` is whether null will do, ``single`` whether an item will do in place of a list. ``meaning`` is what is expected where nothing is set.
    """

    name: str
    type: str
    choices: t.Tuple[str, ...] = ()
    elements: str = "raw"
    hidden: bool = False
    empty: bool = False
    single: bool = False
    meaning: str = ""


class Fault(t.NamedTuple):
    """``what`` is ``found``, and ``expected`` was something else."""

    what: str
    found: str
    expected: str


class Wanted(t.NamedTuple):
    """What is wanted of a host: the options that it may set, and those that it has to."""

    options: t.Mapping[str, Option]
    required: t.Sequence[Option]


def wanted(specs: Specs, roles: t.Iterable[str], required: t.Iterable[t.Tuple[str, str]]) -> Wanted:
    """The options of all entry points of ``roles``; those have to be set that the entry points ``required`` (role, entry point) demand."""
    found = {name: _option(name, spec) for role in roles for entry in specs[role].values() for name, spec in entry.items()}
    needed: t.Dict[str, Option] = {}
    for role, entry in required:
        for name, spec in specs[role].get(entry, {}).items():
            if spec.get("required"):
                needed.setdefault(name, _option(name, spec))
    return Wanted(found, list(needed.values()))


def _option(name: str, spec: t.Mapping[str, t.Any]) -> Option:
    kind = str(spec.get("type", "str"))
    return Option(
        name,
        kind,
        tuple(str(choice) for choice in spec.get("choices") or ()),
        str(spec.get("elements", "raw")),
        # The values of settings may be secrets, whatever the settings are called.
        hidden=bool(spec.get("no_log")) or is_secret_name(name) or kind == "dict",
        empty=_takes_nothing(name),
        single=_takes_one(name),
        meaning=_meaning(spec.get("description") or ""),
    )


def _rows(name: str) -> t.List[t.Tuple[bool, options.Option]]:
    """Where an option is read, and whether it is a plan that does, which take nothing for what is empty."""
    tables = (*options.OF_ROLES, control_plane.CONTROL_PLANE)
    return [(table in _PLANS, row) for table in tables for row in table.values() if row.variable == name]


def _takes_nothing(name: str) -> bool:
    try:
        rows = [(plan, row.shape(None)) for plan, row in _rows(name)]
    except ValueError:
        # It has to mean something.
        return False
    return bool(rows) and all(made in ("", [], {}) or (plan and made is None) for plan, made in rows)


def _takes_one(name: str) -> bool:
    rows = _rows(name)
    return bool(rows) and all(row.shape is options.texts for _plan, row in rows)


def _meaning(description: t.Any) -> str:
    """The first sentence of a description, to go on with."""
    text = str(description[0] if isinstance(description, list) else description).strip()
    text = re.sub(r"[A-Z]\((.*?)\)", r"\1", re.split(r"\.(?:\s|$)", text)[0])
    return text[:1].lower() + text[1:]


def fault(option: Option, value: t.Any) -> t.Optional[Fault]:
    """What is wrong with a value that is filled in; None when it is of the type of its option, and one of its choices."""
    if value is None and option.empty and not option.choices:
        return None
    if option.choices:
        # YAML makes a truth of some of them when they are not in quotes.
        good = str(value) in option.choices and not isinstance(value, bool)
        return None if good else Fault(option.name, _shown(option, value), _either([_quoted(choice) for choice in option.choices]))
    if option.single and _is("str", value):
        return None
    if not _is(option.type, value):
        return Fault(option.name, _shown(option, value), _expected(option.type, value))
    for item in value if option.type == "list" and option.elements != "raw" else ():
        # Templates in lists are not filled in.
        if not _is(option.elements, item):
            return Fault("an item of " + option.name, _shown(option, item), _expected(option.elements, item))
    return None


def _expected(kind: str, value: t.Any) -> str:
    return _EXPECTED[kind] + (", in quotes" if kind in TEXTS and isinstance(value, bool) else "")


def _is(kind: str, value: t.Any) -> bool:
    if kind in ("str", "path"):
        # YAML makes numbers of versions and names that are not in quotes.
        return isinstance(value, (str, int, float)) and not isinstance(value, bool)
    if kind in ("list", "dict"):
        return isinstance(value, list if kind == "list" else dict)
    if kind == "bool":
        return isinstance(value, (str, int, float)) and (value.strip().lower() if isinstance(value, str) else value) in BOOLEANS
    return kind == "raw" or _is_number(kind, value)


def _is_number(kind: str, value: t.Any) -> bool:
    """Whether it is one, or the text of one, as which the command line gives it."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return False
    try:
        return isinstance(int(value) if isinstance(value, str) else value, int) if kind == "int" else math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False


def _shown(option: Option, value: t.Any) -> str:
    """A value in a message, or only of which kind it is."""
    if value is None:
        return "empty"
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    if not option.hidden:
        return naming.shown(value)
    return "a text" if isinstance(value, str) else "true or false" if isinstance(value, bool) else "a number"


def _quoted(choice: str) -> str:
    return repr(choice) if choice in _TRUTHS else choice


def _either(choices: t.Sequence[str]) -> str:
    return ", ".join(choices[:-1]) + " or " + choices[-1] if choices[1:] else choices[0]
