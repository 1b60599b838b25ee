# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What the hosts of a task have in common is printed once, and how. Pure; it runs on the controller only."""

from __future__ import annotations

import re
import textwrap
import typing as t

# What a host has to say of a task, in the order in which it is printed.
MESSAGE = "message"
DIFF = "diff"
CHANGED = "changed"
IGNORED = "failed, ignored"
UNREACHABLE_IGNORED = "unreachable, ignored"
FAILED = "failed"
UNREACHABLE = "unreachable"
KINDS = (MESSAGE, DIFF, CHANGED, IGNORED, UNREACHABLE_IGNORED, FAILED, UNREACHABLE)
PROBLEMS = (FAILED, UNREACHABLE)

_IGNORED = {FAILED: IGNORED, UNREACHABLE: UNREACHABLE_IGNORED}
_HEADINGS = {
    IGNORED: "failed, ignored on %s:",
    UNREACHABLE_IGNORED: "unreachable, ignored: %s",
    FAILED: "FAILED on %s:",
    UNREACHABLE: "UNREACHABLE: %s",
}
# Longer lists of names end with how many more there are.
_MOST = 10
# What stands for the name or the address of each host where hosts say the same about themselves.
_THE_HOST = "<host>"

_NUMBER = re.compile(r"([0-9]+)")
# Directories that Ansible makes for one module on one host, as tracebacks name them.
_TEMPORARY = re.compile(r"(?<=ansible-tmp-)[0-9.-]+|(?<=_payload_)\w+")
# Where OpenSSH names the host that it wants to reach.
_ADDRESS = re.compile(
    r"connect to host (\S+) port|resolve hostname (\S+?):(?:\s|$)|@(\S+): Permission denied|Connection (?:to|closed by|reset by) (\S+) port"
)


class Saying(t.NamedTuple):
    """What one host says of a task. ``where`` tells that another one did it (``-> localhost``), ``label`` which item of a loop it was."""

    kind: str
    host: str
    text: str = ""
    where: str = ""
    label: str = ""


class Group(t.NamedTuple):
    """What several hosts say alike. The names are in order."""

    kind: str
    hosts: t.Tuple[str, ...]
    text: str
    where: str = ""
    labels: t.Tuple[str, ...] = ()


# What is alike in the sayings of a group: kind, where, label, and the text as it is compared.
_Key = t.Tuple[str, str, str, str]


class _Alike:
    """The hosts that say the same."""

    def __init__(self, text: str) -> None:
        self.hosts: t.Dict[str, None] = {}
        self.text, self.verbatim = text, True

    def add(self, saying: Saying) -> None:
        self.hosts[saying.host] = None
        self.verbatim = self.verbatim and saying.text == self.text


class Collected:
    """What the hosts of one task have said, until it is printed.

    Where hosts go on without waiting for each other (``eager``) a task ends with the play, so what is new is to be printed at once, and only
    those who say the same afterwards are collected.
    """

    def __init__(self, eager: bool = False) -> None:
        self._eager = eager
        self._alike: t.Dict[_Key, _Alike] = {}
        self._told: t.Set[_Key] = set()
        self._items: t.Dict[str, t.List[Saying]] = {}

    def add(self, saying: Saying) -> t.List[Group]:
        """Take in what a host says. Returns what is to be printed now."""
        key = _key(saying)
        if self._eager and saying.kind != CHANGED and key not in self._told:
            self._told.add(key)
            return [_group(key, _alike_alone(saying))]
        self._alike.setdefault(key, _Alike(saying.text)).add(saying)
        return []

    def add_item(self, saying: Saying) -> None:
        """Take in the problem of an item, of which is not known yet whether it is ignored."""
        self._items.setdefault(saying.host, []).append(saying)

    def end(self, saying: Saying, ignored: bool) -> t.List[Group]:
        """Take in that a host has failed. Where items of it have, these say why. Returns what is to be printed now."""
        sayings = self._items.pop(saying.host, [saying])
        return [group for one in sayings for group in self.add(one._replace(kind=_IGNORED[one.kind]) if ignored else one)]

    def take(self) -> t.List[Group]:
        """All that is not printed yet, in the order in which it is to be. Nothing of it is left."""
        for sayings in self._items.values():
            for saying in sayings:
                self._alike.setdefault(_key(saying), _Alike(saying.text)).add(saying)
        groups = [_group(key, alike) for key, alike in self._alike.items()]
        self._items, self._alike = {}, {}
        return sorted(_joined(groups), key=lambda group: (KINDS.index(group.kind), natural(group.hosts[0])))


def _key(saying: Saying) -> _Key:
    return saying.kind, saying.where, saying.label, comparable(saying)


def _alike_alone(saying: Saying) -> _Alike:
    alike = _Alike(saying.text)
    alike.add(saying)
    return alike


def _group(key: _Key, alike: _Alike) -> Group:
    kind, where, label, compared = key
    hosts = tuple(sorted(alike.hosts, key=natural))
    return Group(kind, hosts, alike.text if alike.verbatim else compared, where, (label,) if label else ())


def _joined(groups: t.Sequence[Group]) -> t.List[Group]:
    """Items that failed for the same reason on the same hosts are one group, and so is all that the same hosts have as messages or diffs."""
    found: t.Dict[t.Tuple[t.Any, ...], Group] = {}
    for group in groups:
        # One without a label is no item.
        with_others = group.kind == MESSAGE or (group.kind == DIFF and not group.labels)
        key = (group.kind, group.where, group.hosts, "" if with_others else group.text, bool(group.labels))
        other = found.get(key)
        if other is None:
            found[key] = group
        elif with_others:
            found[key] = other._replace(text=other.text + ("\n\n" if group.kind == DIFF else "\n") + group.text)
        else:
            found[key] = other._replace(labels=other.labels + group.labels)
    return list(found.values())


def comparable(saying: Saying) -> str:
    """The text without what differs from host to host although it is the same problem."""
    if saying.kind == DIFF:
        return saying.text
    text = _TEMPORARY.sub("...", _without_name(saying.text, saying.host))
    if saying.kind in (UNREACHABLE, UNREACHABLE_IGNORED):
        addresses = {address for found in _ADDRESS.findall(text) for address in found if address}
        # The longest first: one may be part of another.
        for name in sorted({saying.host, *addresses}, key=lambda name: (-len(name), name)):
            text = re.sub(r"(?<![\w.-])%s(?![\w-]|\.\w)" % re.escape(name), _THE_HOST, text)
    return text


def _without_name(text: str, host: str) -> str:
    return text[len(host) + 2 :] if text.startswith(host + ": ") else text


def natural(name: str) -> t.Tuple[t.List[t.Any], str]:
    """What names are sorted by: ``vm2`` comes before ``vm10``."""
    return [int(part) if index % 2 else part for index, part in enumerate(_NUMBER.split(name))], name


def names(hosts: t.Sequence[str], most: t.Optional[int] = _MOST) -> str:
    """The first of many names, and how many more there are. ``most`` is None for all of them."""
    rest = 0 if most is None else len(hosts) - most
    return ", ".join(hosts[:most]) + (" ... and %d more" % rest if rest > 0 else "")


def listed(word: str, hosts: t.Sequence[str], most: t.Optional[int] = _MOST) -> str:
    """A line with how many and which hosts there are of a kind."""
    return "%s (%d): %s" % (word, len(hosts), names(hosts, most))


def printed(group: Group, named: bool = True) -> str:
    """The lines of a group. ``named`` is false for a message that is the fleet's and not that of the host that happened to say it."""
    who = names(group.hosts) + group.where
    if group.kind == CHANGED:
        return listed(CHANGED, group.hosts)
    if group.kind == MESSAGE:
        if not named:
            return group.text
        text = _without_name(group.text, group.hosts[0]) if len(group.hosts) == 1 else group.text
        return "%s: %s" % (who, text) if "\n" not in text else "%s:\n%s" % (who, indented(text))
    if group.labels:
        who += " (item=%s)" % group.labels[0] if len(group.labels) == 1 else " (items %s)" % names(group.labels)
    if group.kind == DIFF:
        return "%s:\n%s\n" % (who, group.text)
    return "%s\n%s" % (_HEADINGS[group.kind] % who, indented(group.text))


def indented(text: str) -> str:
    return textwrap.indent(text, "  ")


def recap(counts: t.Mapping[str, t.Mapping[str, int]]) -> t.List[t.Tuple[str, str]]:
    """The lines of the end, each with its word: every host in the one that says what became of it, and those with a past in one more.

    ``counts`` are Ansible's own of each host. The names of hosts that were lost are all there, for the next command needs them.
    """
    found: t.Dict[str, t.List[str]] = {}
    for host in sorted(counts, key=natural):
        count = counts[host]
        found.setdefault(_outcome(count), []).append(host)
        for word in ("rescued", "ignored"):
            if count.get(word):
                found.setdefault(word, []).append(host)
    words = ("ok", CHANGED, "rescued", "ignored", FAILED, UNREACHABLE)
    return [(word, listed(word, found[word], None if word in PROBLEMS else _MOST)) for word in words if word in found]


def _outcome(count: t.Mapping[str, int]) -> str:
    if count.get("unreachable"):
        return UNREACHABLE
    if count.get("failures"):
        return FAILED
    return CHANGED if count.get("changed") else "ok"
