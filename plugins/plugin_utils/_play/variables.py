# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Which variable is a typing error of an option. Pure; it runs on the controller only."""

from __future__ import annotations

import difflib
import typing as t
from collections import Counter
from dataclasses import dataclass

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.options import (
    MAINTENANCE,
    MIGRATION,
    REVOKE,
    ROTATE,
    ROTATION,
    SIGNING_KEY,
)

PREFIXES = ("kuma_dp_", "kuma_zone_proxy_", "kuma_cp_", "kuma_transparent_proxy_")
# What the playbooks read besides the options of the roles.
PLAYBOOK_OPTIONS = frozenset(
    (
        "kuma_control_plane_hosts",
        "kuma_fleet",
        "kuma_zone_fleet",
        *(option.variable for table in (MAINTENANCE, MIGRATION, REVOKE, ROTATE, ROTATION, SIGNING_KEY) for option in table.values()),
    )
)

# Two letters of a short word make another word: kuma_dp_node is nobody's kuma_dp_name.
_LONG = 5
_ALIKE = 0.85
# Of last words: those of drain_timeout and drain_time are, those of control_plane_port and control_plane_url are not.
_WORD_ALIKE = 0.6
_NEAREST = 0.6
_NAMED = 3


@dataclass(frozen=True)
class Verdict:
    """What a variable that is no option is: ``refused`` as a typing error of ``options``, or else only told of."""

    refused: bool
    options: t.Tuple[str, ...]


class Vocabulary:
    """The names that variables of this collection may have.

    ``own`` are those that it gives itself. Of these only ``facts``, which its tasks register or set, become variables of hosts; the others,
    such as the variables of a role, are known while a task runs and nowhere else.
    """

    def __init__(self, options: t.Iterable[str], own: t.Iterable[str] = (), facts: t.Iterable[str] = ()) -> None:
        self.options = frozenset(options)
        self.facts = frozenset(facts) - self.options
        self.own = self.facts.union(own) - self.options
        # Two names at distance one have a shortening in common, so only few are compared with each other.
        self._index: t.Dict[str, t.List[str]] = {}
        for option in sorted(self.options):
            for short in {option, *_shortened(option)}:
                self._index.setdefault(short, []).append(option)
        self._longest = max(map(len, self.options), default=0) + 1

    def judge(self, name: str) -> t.Optional[Verdict]:
        """What a variable of a host is. None for an option, for an own fact, and for what has nothing to do with this collection.

        Nothing tells a fact from a variable to which an inventory gives the same name, so such a variable is passed over as well.

        A name at distance one of an option is refused, whatever it begins with. One that begins as options do is refused when it resembles
        one (see ``_resembles``), and else told of, with the nearest option if one is near.
        """
        if name in self.options or name in self.facts:
            return None
        near = self.near(name)
        if near:
            return Verdict(True, near)
        prefix = next((prefix for prefix in PREFIXES if _plain(name).startswith(prefix)), "")
        if not prefix:
            return None
        plain = _plain(name)
        like = sorted(option for option in self.options if _resembles(plain, option, prefix))
        if like:
            return Verdict(True, tuple(sorted(like, key=lambda option: distance(plain, option))[:_NAMED]))
        return Verdict(False, self._nearest(plain, prefix))

    def near(self, name: str) -> t.Tuple[str, ...]:
        """The options at distance one of ``name``, sorted."""
        if len(name) > self._longest:
            return ()
        found = {option for short in {name, *_shortened(name)} for option in self._index.get(short, ())}
        return tuple(sorted(option for option in found if _one_apart(name, option)))

    def _nearest(self, name: str, prefix: str) -> t.Tuple[str, ...]:
        extended = max((option for option in self.options if _extends(name, option)), key=len, default="")
        if extended:
            return (extended,)
        rest = name[len(prefix) :]
        # An option of another role, as kuma_zone_proxy_version would be, is nearer than what only looks like it.
        namesakes = sorted(self.options.intersection(other + rest for other in PREFIXES))
        rests = sorted(option[len(prefix) :] for option in self.options if option.startswith(prefix))
        return tuple(namesakes) or tuple(prefix + found for found in difflib.get_close_matches(rest, rests, 1, _NEAREST))


def distance(one: str, other: str) -> int:
    """How many letters have to be added, left out, replaced or swapped with their neighbour to make ``other`` of ``one``."""
    before: t.List[int] = []
    last = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        row = [i]
        for j, right in enumerate(other, 1):
            least = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                least = min(least, before[j - 2] + 1)
            row.append(least)
        before, last = last, row
    return last[-1]


def _one_apart(one: str, other: str) -> bool:
    """Whether ``distance`` is one, without computing all of it."""
    short, long = sorted((one, other), key=len)
    if len(long) - len(short) > 1 or one == other:
        return False
    at = next((index for index, letter in enumerate(short) if letter != long[index]), len(short))
    if len(short) != len(long):
        return short[at:] == long[at + 1 :]
    swapped = long[:at] + long[at : at + 2][::-1] + long[at + 2 :]
    return short[at + 1 :] == long[at + 1 :] or short == swapped


def _shortened(name: str) -> t.Iterator[str]:
    return (name[:index] + name[index + 1 :] for index in range(len(name)))


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _resembles(name: str, option: str, prefix: str) -> bool:
    """Whether ``name``, which begins with ``prefix``, is ``option`` with two letters wrong; or, of the same role, the same words
    in another order or number, or other separators, or nearly the same text, last word included.

    An option with more words after it is a helper of whoever wrote it, as kuma_dp_control_plane_url_east would be.
    """
    start = next((start for start in PREFIXES if option.startswith(start)), "")
    given, wanted = name[len(prefix) :], option[len(start) :]
    if not start or _extends(name, option):
        return False
    if len(wanted) >= _LONG and abs(len(name) - len(option)) <= 2 and _letters_apart(name, option) <= 2 and distance(name, option) <= 2:
        return True
    if start != prefix:
        return False
    if given.replace("_", "") == wanted.replace("_", "") or _words(given) == _words(wanted):
        return True
    return _alike(given, wanted, _ALIKE) and _alike(_last_word(given), _last_word(wanted), _WORD_ALIKE)


def _extends(name: str, option: str) -> bool:
    """Whether ``name`` is ``option`` and more words; separators alone are none."""
    return name.rstrip("_").startswith(option + "_")


def _alike(one: str, other: str, least: float) -> bool:
    alike = difflib.SequenceMatcher(None, one, other, autojunk=False)
    return alike.real_quick_ratio() >= least and alike.quick_ratio() >= least and alike.ratio() >= least


def _last_word(name: str) -> str:
    return name.rstrip("_").rpartition("_")[2]


def _letters_apart(one: str, other: str) -> int:
    """No more than ``distance``, and sooner known: in how many letters the two differ, wherever these are."""
    left, right = Counter(one), Counter(other)
    return max(sum((left - right).values()), sum((right - left).values()))


def _words(name: str) -> t.List[str]:
    return sorted(word.rstrip("s") for word in name.split("_") if word)
