# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What is wrong with the variables and names of an inventory, in sentences. Pure; it runs on the controller only."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.variables import PREFIXES, Verdict, Vocabulary

# The value of a variable of one host, or the default that is given when it is not set. Raises NotYet.
Value = t.Callable[[str, t.Any], t.Any]

# What sets a variable when no host has it.
THE_PLAY = "all hosts of the play"

_HOSTS = 3
_VALUES = 5


class NotYet(Exception):
    """The value of a variable cannot be told yet, and is left for those who use it."""


class Findings:
    """All that is wrong in a play, taken in host by host. What several hosts have in common is said once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._verdicts: t.Dict[str, t.Optional[Verdict]] = {}
        self._strange: t.Dict[str, t.List[str]] = {}
        self._misnamed: t.Dict[t.Tuple[str, str], t.Dict[str, t.List[str]]] = {}

    def variables(self, where: str, names: t.Iterable[str]) -> None:
        """Take in which variables a host has, wherever they come from: ``where`` is its name."""
        for name in names:
            if name not in self._verdicts:
                self._verdicts[name] = self._vocabulary.judge(name)
            if self._verdicts[name] is not None:
                self._strange.setdefault(name, []).append(where)

    def play(self, names: t.Iterable[str]) -> None:
        """Take in which variables a task has that no host has. They may be those of a role, so no own name is strange."""
        self.variables(THE_PLAY, (name for name in names if name not in self._vocabulary.own))

    def proxies(self, host: str, role: str, value: Value) -> None:
        """Take in the names of the proxies that ``role`` (kuma_dp or kuma_zone_proxy) runs on a host."""
        try:
            proxies = value(role + "_proxies", [])
            if not proxies:
                sort = value("kuma_zone_proxy_type", "") if role == "kuma_zone_proxy" else ""
                self._take(host, role + "_name", value(role + "_name", "%s-%s" % (host, sort) if sort else host))
            for proxy in proxies if isinstance(proxies, list) else []:
                if isinstance(proxy, dict) and "name" in proxy:
                    self._take(host, "a name in %s_proxies" % role, proxy["name"])
        except NotYet:
            pass

    def mesh(self, host: str, value: Value) -> None:
        """Take in the mesh of a host."""
        try:
            mesh = _text(value("kuma_dp_mesh", "default"))
        except NotYet:
            return
        if not naming.is_loose_name(mesh):
            self._note(host, "kuma_dp_mesh", mesh, naming.EXPECTED_LOOSE)

    def problems(self) -> t.List[str]:
        """Every problem, a sentence each: misspelt options, and values that no proxy or mesh can have as its name."""
        refused = [
            "%s: %s is set and is no option, expected %s. Correct the name" % (some(hosts, _HOSTS), name, _either(verdict.options))
            for name, hosts, verdict in self._verdicted()
            if verdict.refused
        ]
        return refused + [_misnamed(label, expected, values) for (label, expected), values in sorted(self._misnamed.items())]

    def warnings(self) -> t.List[str]:
        """A sentence for each variable that is no option and resembles none, and looks as if it were one."""
        return [
            "%s: %s is set and is no option of any role%s, %s. What does not begin with %s is not warned of."
            % (
                some(hosts, _HOSTS),
                name,
                " (the nearest is %s)" % _either(verdict.options) if verdict.options else "",
                "but a name that the roles give to a value of their own"
                if name in self._vocabulary.own
                else "so it has no effect of its own",
                _beginning(name),
            )
            for name, hosts, verdict in self._verdicted()
            if not verdict.refused
        ]

    def _verdicted(self) -> t.Iterator[t.Tuple[str, t.List[str], Verdict]]:
        for name, hosts in sorted(self._strange.items()):
            verdict = self._verdicts[name]
            if verdict is not None:
                yield name, hosts, verdict

    def _take(self, host: str, label: str, value: t.Any) -> None:
        name = _text(value)
        if not naming.is_name(name):
            self._note(host, label, name, naming.EXPECTED)

    def _note(self, host: str, label: str, value: t.Any, expected: str) -> None:
        hosts = self._misnamed.setdefault((label, expected), {}).setdefault(naming.shown(value), [])
        if host not in hosts[-1:]:
            hosts.append(host)


def _text(value: t.Any) -> t.Any:
    """Numbers are names as well, as YAML reads them without quotes; nothing else becomes one."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _misnamed(label: str, expected: str, values: t.Mapping[str, t.Sequence[str]]) -> str:
    if len(values) == 1:
        value, hosts = next(iter(values.items()))
        return "%s: %s is %s, expected %s" % (some(hosts, _HOSTS), label, value, expected)
    said = ["%s (%s)" % (value, some(hosts, _HOSTS)) for value, hosts in list(values.items())[:_VALUES]]
    rest = sum(map(len, list(values.values())[_VALUES:]))
    return "%s is %s%s, expected %s" % (label, ", ".join(said), " and something else on %d more" % rest if rest else "", expected)


def _either(options: t.Sequence[str]) -> str:
    return ", ".join(options[:-1]) + " or " + options[-1] if options[1:] else options[0]


def _beginning(name: str) -> str:
    return next((prefix for prefix in PREFIXES if name.startswith(prefix)), "kuma_")
