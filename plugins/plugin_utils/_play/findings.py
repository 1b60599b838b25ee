# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What is wrong with the variables, names and options of an inventory, in sentences. Pure; it runs on the controller only."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import trust
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import fitting, specs
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.values import PLAIN, NotYet, OfHost, Value, is_template
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.variables import PREFIXES, Verdict, Vocabulary

# What sets a variable when no host has it.
THE_PLAY = "all hosts of the play"

_HOSTS = 3
_VALUES = 5
# These are told by what they name.
_NAMES = frozenset(("kuma_dp_name", "kuma_dp_mesh", "kuma_zone_proxy_name"))


class Findings:
    """All that is wrong in a play, taken in host by host. What several hosts have in common is said once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._verdicts: t.Dict[str, t.Optional[Verdict]] = {}
        self._strange: t.Dict[str, t.List[str]] = {}
        self._wrong: t.Dict[t.Tuple[str, str], t.Dict[str, t.List[str]]] = {}
        # What is expected, as the first host wants it, and the hosts.
        self._missing: t.Dict[str, t.Tuple[str, t.List[str]]] = {}

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
        self._misfits(host, "kuma_dp_mesh", mesh)

    def options(self, where: str, wanted: specs.Wanted, names: t.AbstractSet[str], values: OfHost) -> None:
        """Take in the values of those of the variables ``names`` that are options: ``where`` is a host, or what they hold for."""
        for name in (wanted.options.keys() & names) - _NAMES:
            option, value = wanted.options[name], values.raw(name)
            if isinstance(value, str) and is_template(value):
                if option.type in specs.TEXTS and not option.choices and name not in fitting.VARIABLES:
                    continue  # most likely it becomes a text, and that takes its time
                try:
                    value = values(name, None)
                except NotYet:
                    continue
            fault = specs.fault(option, value) if isinstance(value, PLAIN) else None
            if fault is not None:
                self._note(where, fault)
            elif name in fitting.VARIABLES and isinstance(value, PLAIN):
                self._misfits(where, name, value)

    def required(self, host: str, wanted: specs.Wanted, values: OfHost) -> None:
        """Take in which options a host has not got. One that is empty is not set."""
        for option in wanted.required:
            if not values.is_set(option.name):
                self._missing.setdefault(option.name, (option.meaning, []))[1].append(host)

    def trust(self, host: str, values: OfHost) -> None:
        """Take in whether a host says whom its proxies are to trust."""
        try:
            url = str(values("kuma_dp_control_plane_dp_url", "https:"))
        except NotYet:
            return
        if url.strip().startswith("https:") and not values.is_set(trust.CA):
            self._missing.setdefault(trust.CA, (trust.MISSING, []))[1].append(host)

    def problems(self) -> t.List[str]:
        """Every problem, a sentence each: misspelt options, those that are not set, and values that are none of an option."""
        refused = [
            "%s: %s is set and is no option, expected %s. Correct the name" % (some(hosts, _HOSTS), name, _either(verdict.options))
            for name, hosts, verdict in self._verdicted()
            if verdict.refused
        ]
        missing = [
            "%s: %s is not set, expected %s" % (some(hosts, _HOSTS), name, self._missing[name][0]) for name, hosts in self._lacking()
        ]
        return refused + missing + [_wrong(what, expected, values) for (what, expected), values in sorted(self._wrong.items())]

    def _lacking(self) -> t.Iterator[t.Tuple[str, t.List[str]]]:
        """The hosts without an option that has to be set, but for those with a misspelt variable that is likely to be it."""
        meant: t.Dict[str, t.Set[str]] = {}
        for _name, hosts, verdict in self._verdicted():
            for option in verdict.options if verdict.refused else ():
                meant.setdefault(option, set()).update(hosts)
        for name, (_meaning, hosts) in sorted(self._missing.items()):
            told = meant.get(name, set())
            left = [] if THE_PLAY in told else [host for host in hosts if host not in told]
            if left:
                yield name, left

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
        if naming.fault(name, naming.PROXY):
            self._note(host, specs.Fault(label, naming.shown(name), naming.expected(naming.PROXY)))

    def _misfits(self, where: str, name: str, value: t.Any) -> None:
        """What cannot be part of a path. Templates in lists are not filled in."""
        for place, found, expected in fitting.unfit(name, value):
            if not is_template(found):
                self._note(where, specs.Fault(place, naming.shown(found), expected))

    def _note(self, where: str, fault: specs.Fault) -> None:
        hosts = self._wrong.setdefault((fault.what, fault.expected), {}).setdefault(fault.found, [])
        if where not in hosts[-1:]:
            hosts.append(where)


def _text(value: t.Any) -> t.Any:
    """Numbers are names as well, as YAML reads them without quotes; nothing else becomes one."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _wrong(what: str, expected: str, values: t.Mapping[str, t.Sequence[str]]) -> str:
    if len(values) == 1:
        value, hosts = next(iter(values.items()))
        return "%s: %s is %s, expected %s" % (some(hosts, _HOSTS), what, value, expected)
    said = ["%s (%s)" % (value, some(hosts, _HOSTS)) for value, hosts in list(values.items())[:_VALUES]]
    rest = sum(map(len, list(values.values())[_VALUES:]))
    return "%s is %s%s, expected %s" % (what, ", ".join(said), " and something else on %d more" % rest if rest else "", expected)


def _either(options: t.Sequence[str]) -> str:
    return ", ".join(options[:-1]) + " or " + options[-1] if options[1:] else options[0]


def _beginning(name: str) -> str:
    return next((prefix for prefix in PREFIXES if name.startswith(prefix)), "kuma_")
