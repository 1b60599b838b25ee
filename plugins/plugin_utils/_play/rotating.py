# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Tokens of a fleet beside its joins: who holds which, revoking those that were replaced or all, and what the fleet has left."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied, Client, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import held, issue, keys, renewal, revocations
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import ZONE
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import reasons
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import api as zone_api
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import fleet

Json = t.Dict[str, t.Any]

# What a playbook that imports a join says about it in meshfleet_kuma_rotation.
TOKENS, KEY = "tokens", "key"
# What revoke_tokens revokes.
REPLACED, ALL = "replaced", "all"


def of(variables: t.Mapping[str, t.Any]) -> str:
    """Which rotation a join is a part of; empty for one of its own."""
    return str(variables.get("meshfleet_kuma_rotation") or "")


def newest(client: Client, mesh: str) -> t.Dict[str, str]:
    """The ID of the key that the control plane issues Dataplane tokens with, by their path. Raises ApiError."""
    kids = keys.Keys(client, mesh).held()
    return {issue.PATH: kids[-1]} if kids else {}


class Hosts(t.NamedTuple):
    """The hosts of a play by their groups. ``look(host)`` is what a visit found there (``host`` of proxy_info), None without one;
    ``before(host)`` the same when the play began; ``known(host)`` is the inventory."""

    mesh: t.Sequence[str]
    zone: t.Sequence[str]
    look: t.Callable[[str], t.Optional[Json]]
    before: t.Callable[[str], t.Optional[Json]]
    known: t.Callable[[str], fleet.Known]

    def names(self) -> t.List[t.Tuple[str, str, bool]]:
        """``(proxy, host, whether it is a zone proxy)``, by the inventory."""
        found = [(name, host, False) for host in self.mesh for name in fleet.mesh_names(host, self.known(host))]
        return found + [(name, host, True) for host in self.zone for name, _kind in fleet.zone_names(host, self.known(host))]

    def holders(self, mesh: str, overviews: t.Sequence[Json], model: str) -> t.List[held.Holder]:
        """Who holds which token; ``overviews`` are those of the control plane, by which is told who is connected.

        Zone proxies of 3.0 have the tokens of Dataplanes.
        """
        connected = {str(item["name"]) for item in overviews if status.online(item)}
        return [self._holder(name, host, mesh, zone and model != "v3", name in connected) for name, host, zone in self.names()]

    def _holder(self, name: str, host: str, mesh: str, zone: bool, connected: bool) -> held.Holder:
        seen = ((self.look(host) or {}).get("proxies") or {}).get(name)
        before = _claims(((self.before(host) or {}).get("proxies") or {}).get(name))
        if seen is None:
            return held.Holder(name, host, mesh, zone, connected=connected, before=before)
        # A unit that comes up or goes down has a process, too.
        active = bool(seen["unit"]["active"] or seen["unit"].get("pid"))
        running = bool(seen["unit"]["active"]) and reasons.TOKEN not in seen["restart_codes"]
        kid = str(seen["token"].get("kid") or "")
        return held.Holder(name, host, mesh, zone, True, _claims(seen), kid, running, connected, before, active)


def _claims(seen: t.Optional[Json]) -> held.Claims:
    return ((seen or {}).get("token") or {}).get("claims") or {}


def named(names: t.Sequence[str], mesh: str, book: held.Book) -> t.List[held.Holder]:
    """The proxies of these names, of which nothing is known but what the ledger has: of the mesh, of a zone, or both."""
    found = []
    for name in names:
        zone = held.Holder(name, "", mesh, zone=True)
        of_mesh = held.Holder(name, "", mesh)
        known = [holder for holder in (of_mesh, zone) if held.all_of(holder, book)]
        found.extend(known or [of_mesh])
    return found


def overviews(client: Client, mesh: str, zone: bool) -> t.List[Json]:
    """The Dataplanes of a mesh, and with ``zone`` the zone proxies. Raises ApiError."""
    found: t.List[Json] = client.list(api_path("meshes", mesh, "dataplanes", "_overview"))
    if zone and client.capabilities().model != "v3":
        found.extend(zone_api.overviews(client, mesh))
    return found


def may_revoke(client: Client, lists: t.Iterable[str], instead: str) -> None:
    """Raise ItemsFailed, before anything is done, where this user may not revoke; ``instead`` says how to do without."""
    try:
        for name in sorted(set(lists)):
            revocations.allowed(client, name)
    except AccessDenied as error:
        raise ItemsFailed(
            f"Nothing was done: tokens are revoked in GlobalSecret {name}, and kuma_dp_api_token may not read it ({error.detail or error.title}), "
            f"expected the token of an administrator, such as a member of mesh-system:admin. {instead}"
        ) from error


class Revoking:
    """Revokes tokens by their IDs. ``book`` is what the ledger knows."""

    def __init__(self, client: Client, book: held.Book, now: float, check: bool) -> None:
        self.client, self.book, self.now, self.check = client, book, now, check

    def replaced(self, holders: t.Sequence[held.Holder]) -> t.List[str]:
        """Revoke what settled proxies had before; the IDs that are new in a list. Raises ApiError."""
        return self._revoke([(holder, held.replaced(holder, self.book)) for holder in holders if holder.settled])

    def all_of(self, holders: t.Sequence[held.Holder]) -> t.List[str]:
        """Revoke whatever these proxies have or had; the IDs that are new in a list. Raises ApiError."""
        return self._revoke([(holder, held.all_of(holder, self.book)) for holder in holders])

    def _revoke(self, wanted: t.Sequence[t.Tuple[held.Holder, t.Sequence[str]]]) -> t.List[str]:
        lists: t.Dict[str, t.List[str]] = {}
        for holder, ids in wanted:
            lists.setdefault(holder.list, []).extend(ids)
        ends = held.ends(self.book)
        return [jti for name, ids in sorted(lists.items()) for jti in self.ids(name, ids, ends)]

    def ids(self, name: str, ids: t.Sequence[str], ends: t.Mapping[str, float]) -> t.List[str]:
        """Revoke these in the list of this name. Raises ApiError."""
        return revocations.revoke(self.client, name, ids, ends, self.now, self.check).added

    def given(self, ids: t.Sequence[str], mesh: str) -> t.List[str]:
        """Revoke tokens of the mesh, or of zone proxies where the ledger knows them as such; the IDs that are new in a list. Raises ApiError."""
        zone = {one.jti for one in self.book.entries if one.sort == ZONE}
        ends = held.ends(self.book)
        found = self.ids(revocations.secret_of(mesh), [jti for jti in ids if jti not in zone], ends)
        return [*found, *self.ids(revocations.ZONE, [jti for jti in ids if jti in zone], ends)]


def revoked(
    ids: t.Sequence[str],
    holders: t.Sequence[held.Holder],
    named: t.Sequence[held.Holder],
    what: str,
    book: held.Book,
    check: bool,
) -> t.List[str]:
    """The lines after a revocation."""
    lines = [f"{'would be revoked' if check else 'revoked'}: {len(ids)} token{'' if len(ids) == 1 else 's'}"]
    unknown = sorted(held.label(one) for one in [*holders, *named] if not held.all_of(one, book))
    if unknown:
        lines.append(f"no token is known of these, neither by the ledger nor by their VMs: {some(unknown)}")
    connected = sorted(held.label(holder) for holder in holders if holder.connected) if what == ALL else []
    if connected:
        lines.append(f"still connected, for a revocation counts when a proxy connects again: {some(connected)}")
    return lines


def settled(holders: t.Sequence[held.Holder], ids: t.Sequence[str], left: held.Left, check: bool) -> t.Tuple[t.List[str], t.List[str]]:
    """``(lines, problems)`` after a rotation: what was revoked, and how long the fleet has left. With ``check`` nothing was renewed yet."""
    what = "token that was" if len(ids) == 1 else "tokens that were"
    lines = [f"{'would be revoked' if check else 'revoked'}: {len(ids)} {what} replaced"]
    waiting = sorted(held.label(holder) for holder in holders if holder.seen and not holder.settled)
    problems = list(left.problems)
    if check:
        return [*lines, *(f"before the rotation: {problem}" for problem in problems), left.line], []
    if waiting:
        problems.append(f"not connected with the token on the VM, so that those before it were not revoked: {some(waiting, 5)}")
    return [*lines, left.line], problems


def due(told: Json, renew_before: str) -> str:
    """Which tokens a join renews: ``told`` are the values of ``options.ROTATE``, empty outside of a rotation. Raises ItemsFailed."""
    variable, text = ("kuma_rotate_before", told["before"]) if told.get("before") else ("kuma_dp_token_renew_before", renew_before)
    _before(variable, text)
    return text


def lists(mesh: str, zone: bool) -> t.List[str]:
    """The list of revocations that counts for proxies of the mesh, or for ``zone`` proxies."""
    return [revocations.ZONE if zone else revocations.secret_of(mesh)]


def _before(variable: str, text: str) -> renewal.Before:
    try:
        return renewal.parse_before(text)
    except ValueError as error:
        raise ItemsFailed(f"{variable}: {error}") from error


def before_of(told: Json, renew_before: str) -> t.Union[renewal.Before, renewal.Both]:
    """For how long all tokens have to be valid after a rotation: nothing longer than what it renews, unless that is asked for. Raises ItemsFailed."""
    variable, text = ("kuma_rotate_least", told["least"]) if told["least"] else ("kuma_dp_token_renew_before", renew_before)
    before = _before(variable, text)
    if before.always:
        raise ItemsFailed(f"{variable} is all, expected a duration such as 168h, or a share of the lifetime such as 25%")
    if told["least"] or not told["before"]:
        return before
    return renewal.Both(before, _before("kuma_rotate_before", told["before"]))


def revocation(told: Json) -> str:
    """What is to be revoked; empty with ``ids`` or ``names`` alone. Raises ItemsFailed."""
    what = told["what"]
    if what not in (REPLACED, ALL, "") or not (what or told["ids"] or told["names"]):
        raise ItemsFailed(
            f"kuma_revoke is {what or 'not set'}, expected {REPLACED} (the tokens that proxies had before the ones they hold) or {ALL} (those "
            "that they hold as well): set it with -e kuma_revoke=replaced, or name tokens with kuma_revoke_ids or proxies with kuma_revoke_names."
        )
    wrong = [jti for jti in told["ids"] if not revocations.is_id(jti)]
    if wrong:
        raise ItemsFailed(f"kuma_revoke_ids names {', '.join(map(repr, wrong))}, expected the IDs (jti) of tokens, as the ledger says them")
    return str(what)
