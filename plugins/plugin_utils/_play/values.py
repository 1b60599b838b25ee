# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The variables of many hosts, each as a task of its own would see them, for one task that looks at all of them."""

from __future__ import annotations

import re
import typing as t

Json = t.Dict[str, t.Any]
Variables = t.Mapping[str, t.Any]
# The value of a variable of one host, or the default that is given when it is not set. Raises NotYet.
Value = t.Callable[[str, t.Any], t.Any]

# Other types, such as what is encrypted, are not looked into.
PLAIN = (str, bool, int, float, list, dict, type(None))

_ALIAS = re.compile(r"\{\{ *(\w+) *\}\}")
# What the host that runs the task has of its own besides variables.
_OF_THE_TASK = ("hostvars", "vars")


class NotYet(Exception):
    """The value of a variable cannot be told yet, and is left for those who use it."""


class Filler(t.Protocol):
    """Ansible's templating engine."""

    available_variables: t.Any

    def template(self, value: t.Any) -> t.Any:
        """The value with what the templates in it come to."""


class OfHost:
    """The variables of one host: ``variables`` as they are written, filled in where ``context`` is known. ``others`` are set as well."""

    def __init__(self, variables: Variables, context: Variables, filler: Filler, others: t.AbstractSet[str] = frozenset()) -> None:
        self._variables, self._context, self._filler, self._others = variables, context, filler, others

    def is_set(self, name: str) -> bool:
        """Whether a variable has a value, also one that is not known yet. An empty text is none."""
        return name in self._others or self.raw(name) not in (None, "")

    def raw(self, name: str) -> t.Any:
        """A variable as it is written, or what it is another name of. None when it is not set."""
        found = self._variables.get(name)
        # Most values that are templates are {{ inventory_hostname }}, and the engine takes two milliseconds for each.
        alias = _ALIAS.fullmatch(found) if isinstance(found, str) else None
        return self._context.get(alias[1], found) if alias else found

    def __call__(self, name: str, default: t.Any) -> t.Any:
        """A value that is filled in where it is a template itself, or has names that are; other templates in lists are left alone."""
        if name not in self._variables:
            return default
        found = self.raw(name)
        if is_template(found):
            found = self._fill(found)
        if is_template(found) or not isinstance(found, PLAIN):
            raise NotYet(name)
        return found

    def filled(self, name: str, default: t.Any) -> t.Any:
        """The same, filled in throughout."""
        return self._fill(self._variables[name]) if name in self._variables else default

    def _fill(self, value: t.Any) -> t.Any:
        self._filler.available_variables = self._context
        try:
            return self._filler.template(value)
        # Filters and tests of others raise what they like, and ansible-core 2.18 lets that through.
        except Exception as error:
            raise NotYet(str(error)) from error


class Values:
    """The variables of all hosts: ``variables`` are those of the task that looks, ``in_role`` says whether roles may have set some of them.

    What a play sets holds for all hosts, before the inventory. Where there are roles it may be a default of theirs, and holds after it.
    """

    def __init__(self, variables: Json, filler: Filler, in_role: bool) -> None:
        self._task, self._filler, self._in_role = variables, filler, in_role
        self._hostvars = variables["hostvars"]
        self._first = str(variables["inventory_hostname"])
        self._own = self._hostvars.raw_get(self._first)
        given = {name: value for name, value in variables.items() if self._is_given(name, value)}
        templates = frozenset(name for name, value in given.items() if is_template(value))
        # The variables that the play sets for all hosts alike. Each host fills a template in for itself.
        self.alike = given.keys() - templates
        # Defaults of roles are templates that say of a host what is known anyway, and take their time.
        self._left_out = templates if in_role else frozenset()
        self._given = {name: value for name, value in given.items() if name not in self._left_out}

    def _is_given(self, name: str, value: t.Any) -> bool:
        if name in _OF_THE_TASK or name.startswith("ansible_"):
            return False
        return name not in self._own or (self._own[name] is not value and bool(self._own[name] != value))

    @property
    def of_nobody(self) -> t.List[str]:
        """The names that the task knows, and no host has."""
        return sorted(self._task.keys() - self._own.keys())

    def inventory(self, host: str) -> t.Optional[Variables]:
        """What the inventory, the command line and earlier tasks say about a host, as it is written. None when there is no such host."""
        if host == self._first:
            return t.cast(Variables, self._own)
        found = self._hostvars.raw_get(host)
        return found if hasattr(found, "keys") else None

    def differing(self, host: str, inventory: Variables) -> t.AbstractSet[str]:
        """The names of the variables of a host that other hosts may have with other values."""
        if self._in_role and host != self._first:
            return inventory.keys()
        return (inventory.keys() | self._given.keys()) - self.alike

    def of_play(self) -> OfHost:
        """The variables of the host that runs the task, among them what is ``alike`` for all."""
        return OfHost(self._task, self._task, self._filler)

    def of(self, host: str, inventory: Variables) -> OfHost:
        """The variables of a host with this ``inventory``."""
        if host == self._first:
            return self.of_play()
        variables = {**self._given, **inventory} if self._in_role else {**inventory, **self._given}
        return OfHost(variables, {**variables, "hostvars": self._hostvars}, self._filler, self._left_out)


def is_template(value: t.Any) -> bool:
    """Whether a value, or one of the names of several proxies, has to be filled in."""
    if isinstance(value, list):
        return any(is_template(item.get("name") if isinstance(item, dict) else item) for item in value)
    return isinstance(value, str) and ("{{" in value or "{%" in value)
