# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""One roller per mesh: a lock in the control plane, which has no compare-and-swap.

Each run creates a Secret with a name of its own and then looks at all of them. The one that was created first wins; the others
remove theirs. A lock names its owner and its end, and one that is past its end is removed by whoever finds it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied, Client, NotFound, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_time

PREFIX = "meshfleet-kuma-rollout-"


class Taken(Exception):
    """Somebody else rolls this mesh; the message names who and until when."""


class Lock(t.NamedTuple):
    """``expires`` in epoch seconds; ``rank`` orders two locks of one mesh."""

    name: str
    run: str
    owner: str
    expires: float
    rank: t.Tuple[str, str]


class Locks:
    """The locks of one mesh. ``ttl`` is in seconds, longer than the longest restart of a host."""

    def __init__(self, client: Client, mesh: str, run: str, epoch: int, owner: str, ttl: float) -> None:
        self.client, self.mesh, self.run, self.owner, self.ttl = client, mesh, run, owner, ttl
        self.name = f"{PREFIX}{run.lower()}-{epoch}"

    def acquire(self, now: float, own_runs: t.AbstractSet[str] = frozenset()) -> float:
        """Take the lock, or take it again; returns its end. Raises Taken, and AccessDenied without the rights to.

        ``own_runs`` are other runs that are known to be dead: their locks are removed.
        """
        mine, others = self._sorted(now, own_runs)
        if mine is None:
            # Instances of a control plane differ in their clocks: times decide between two that write at the same moment, nothing else.
            self._refuse(others)
        expires = now + self.ttl
        self._write(expires)
        mine, others = self._sorted(now, own_runs)
        if mine is None:
            raise Taken("the lock was removed right after it was made: somebody else rolls this mesh, or cleans up; run it again")
        earlier = [lock for lock in others if lock.rank < mine.rank]
        if earlier:
            self._remove(self.name)
        self._refuse(earlier)
        return expires

    def _sorted(self, now: float, own_runs: t.AbstractSet[str]) -> t.Tuple[t.Optional[Lock], t.List[Lock]]:
        """Our lock and those of others that count; locks that are over, or of dead runs of ours, are removed."""
        mine: t.Optional[Lock] = None
        others = []
        for lock in self._all():
            if lock.name == self.name:
                mine = lock
            elif lock.expires <= now or lock.run == self.run or lock.run in own_runs:
                self._remove(lock.name)
            else:
                others.append(lock)
        return mine, others

    def _refuse(self, locks: t.Sequence[Lock]) -> None:
        if not locks:
            return
        first = min(locks, key=lambda lock: lock.rank)
        raise Taken(
            f"{first.owner} rolls mesh {self.mesh} already (run {first.run}): its lock ends at {format_time(first.expires)}. Wait for it; "
            f"if that controller is gone for good, delete the Secret {first.name} of the mesh"
        )

    def release(self) -> None:
        """Remove all locks of this run."""
        for lock in self._all():
            if lock.run == self.run:
                self._remove(lock.name)

    def _write(self, expires: float) -> None:
        content = json.dumps({"owner": self.owner, "run": self.run, "expires": int(expires)})
        body = {"type": "Secret", "mesh": self.mesh, "name": self.name, "data": base64.b64encode(content.encode()).decode()}
        self.client.put(self._path(self.name), body)

    def _all(self) -> t.List[Lock]:
        # The listing holds the keys of the mesh as well: nothing but our own is looked at. `name` matches any part.
        found = self.client.list(api_path("meshes", self.mesh, "secrets"), {"name": PREFIX})
        return [_read(item) for item in found if str(item.get("name")).startswith(PREFIX)]

    def _remove(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            self.client.delete(self._path(name))

    def _path(self, name: str) -> str:
        return api_path("meshes", self.mesh, "secrets", name)


def _read(item: t.Mapping[str, t.Any]) -> Lock:
    name = str(item["name"])
    rank = (_sortable(str(item.get("creationTime") or "")), name)
    try:
        content = json.loads(base64.b64decode(str(item.get("data") or ""), validate=True))
        return Lock(name, str(content["run"]), str(content["owner"]), float(content["expires"]), rank)
    except (ValueError, KeyError, TypeError):
        return Lock(name, "unknown", f"whoever made the Secret {name}", 4e9, rank)


def _sortable(time: str) -> str:
    """A time of the API in a form that sorts as text: it leaves trailing zeros of its fraction out."""
    whole, _dot, fraction = time.rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<9}"


__all__ = ["PREFIX", "AccessDenied", "Lock", "Locks", "Taken"]
