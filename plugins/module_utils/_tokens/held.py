# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Which tokens the proxies of a fleet hold, which others of theirs are still valid, and how long the fleet has left. Pure functions.

A token that was issued and never got to its VM is in the ledger behind the one that the VM holds. It may be on its way, so it counts as none
of those that were replaced.
"""

from __future__ import annotations

import types
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_time
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import revocations
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import DATAPLANE, ZONE, Entry
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.renewal import Before, Both, number

Claims = t.Mapping[str, t.Any]
Key = t.Tuple[str, str, str]
DAY = 86400.0
NONE: Claims = types.MappingProxyType({})


class Holder(t.NamedTuple):
    """One proxy. ``claims`` and ``kid`` are those of the token on its VM; without ``seen`` nobody has looked there.

    ``active`` is whether it runs, ``running`` whether its process has that token, or takes it when it connects again, and ``connected`` whether
    the control plane says that it is connected. ``before`` are the claims of the token that its VM held when the play began.
    """

    name: str
    host: str
    mesh: str
    zone: bool = False
    seen: bool = False
    claims: Claims = NONE
    kid: str = ""
    running: bool = False
    connected: bool = False
    before: Claims = NONE
    active: bool = False

    @property
    def key(self) -> Key:
        """Under which the ledger has it."""
        return (ZONE, "", self.name) if self.zone else (DATAPLANE, self.mesh, self.name)

    @property
    def list(self) -> str:
        """The list of revocations that its control plane looks into."""
        return revocations.ZONE if self.zone else revocations.secret_of(self.mesh)

    @property
    def settled(self) -> bool:
        """Whether it is served with the token on its VM, and needs no other."""
        return self.seen and self.running and self.connected and bool(self.claims.get("jti"))


class Book:
    """What is in a ledger, by proxy: a fleet is large, and so gets its ledger."""

    def __init__(self, entries: t.Iterable[Entry]) -> None:
        self.entries = list(entries)
        self._by_key: t.Dict[Key, t.List[Entry]] = {}
        self._names: t.Dict[str, t.Set[str]] = {}
        for one in self.entries:
            self._by_key.setdefault((one.sort, one.mesh, one.name), []).append(one)
            self._names.setdefault(one.jti, set()).add(one.name)

    def of(self, key: Key) -> t.List[Entry]:
        """The tokens of one proxy, in the order in which they were issued."""
        return self._by_key.get(key, [])

    def is_of_another(self, jti: str, name: str) -> bool:
        return bool(self._names.get(jti, set()) - {name})


def sort_of(claims: Claims) -> str:
    """Of which sort a token is; one of 3.0's zone proxies is that of a Dataplane."""
    return ZONE if "Scope" in claims else DATAPLANE


def own_id(claims: Claims, name: str, book: Book) -> str:
    """The ID of a token that a VM holds, if it is one of this proxy; empty otherwise.

    The user of the service may write what he likes there. So it has to be bound to the name of the proxy, as far as tokens of its sort are,
    and the ledger must not know it as another one's: else one VM could have the tokens of others revoked.
    """
    jti = claims.get("jti")
    if not revocations.is_id(jti) or claims.get("Name", name) != name or book.is_of_another(str(jti), name):
        return ""
    return str(jti)


def replaced(holder: Holder, book: Book) -> t.List[str]:
    """The IDs of the tokens that this proxy had before the one that its VM holds, whether or not they are still valid."""
    current = str(holder.claims.get("jti") or "")
    mine = book.of(holder.key)
    places = [index for index, one in enumerate(mine) if one.jti == current]
    if places:
        earlier = mine[: places[-1]]
    else:
        # Somebody else issued it.
        begin = number(holder.claims.get("iat")) or 0.0
        earlier = [one for one in mine if one.time <= begin]
    found = [one.jti for one in earlier]
    # A token without a name, one of a zone, may be that of others as well, who need it still: only the ledger knows better.
    before = own_id(holder.before, holder.name, book) if "Name" in holder.before else ""
    return [jti for jti in dict.fromkeys([*found, before]) if jti and jti != current]


def all_of(holder: Holder, book: Book) -> t.List[str]:
    """The IDs of all tokens of a proxy, as far as they are known: those of the ledger, also of its covers, and those on its VM."""
    sort, mesh, name = holder.key
    found = [one.jti for one in [*book.of(holder.key), *book.of((sort, mesh, naming.cover_name(name)))]]
    on_vm = [own_id(claims, name, book) for claims in (holder.claims, holder.before) if claims and sort_of(claims) == sort]
    return list(dict.fromkeys([*found, *(jti for jti in on_vm if jti)]))


def ends(book: Book) -> t.Dict[str, float]:
    """When tokens end, by their IDs, as far as the ledger knows.

    What a VM says counts for nothing here: by a token that nobody signed, with the ID of a revoked one and an end long ago, it would have that
    one taken off the list, or keep its own from getting there.
    """
    return {one.jti: float(one.end) for one in book.entries}


class Left(t.NamedTuple):
    """``line`` says how long the fleet has left, ``problems`` why that is not enough."""

    line: str
    problems: t.List[str]


def left(holders: t.Sequence[Holder], book: Book, before: t.Union[Before, Both], now: float, begun: t.Optional[float] = None) -> Left:
    """How long the tokens of these proxies are valid. One is a problem that was due by ``before`` when the play had ``begun``, for a roll takes its
    time, and one of which nothing is known.

    Of a VM that nobody has looked at the ledger knows the last token, which may not have got there.
    """
    known, unknown, due = [], [], []
    for holder in holders:
        last = [{"exp": one.end, "iat": one.time} for one in book.of(holder.key) if one.end][-1:]
        claims = holder.claims if holder.seen else last[0] if last else NONE
        end = number(claims.get("exp"))
        if end is None:
            unknown.append(label(holder))
            continue
        known.append((end, label(holder)))
        if end <= now or before.reached(claims, end - (now if begun is None else begun)):
            due.append((end, label(holder)))
    problems = []
    if due:
        problems.append("too soon: " + some([f"{name} at {format_time(end)}" for end, name in sorted(due)], 5))
    if unknown:
        problems.append(f"nothing is known of the tokens of {some(sorted(unknown), 5)}")
    if not known:
        return Left("Nobody knows how long the fleet has left.", problems or ["there is no proxy"])
    end, first = min(known)
    days = int(max(end - now, 0.0) // DAY)
    return Left(
        f"The fleet has {days} day{'' if days == 1 else 's'} left: the token of {first} ends first, at {format_time(end)}.", problems
    )


def label(holder: Holder) -> str:
    return holder.name if holder.host in ("", holder.name) else f"{holder.name} ({holder.host})"
