# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The restart of the proxies of an admitted host, one after the other, by calls of proxy_restart on its VM.

The token of a cover is made when the restart of its proxy begins, and goes into the arguments of one short call. A proxy that runs Direct
and becomes Indirect is registered in between: its control plane deletes the Dataplane of a Direct proxy ten seconds after its end, and
refuses an Indirect one without it. Meanwhile the cover serves.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import ApiError, Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import parse_seconds
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import handover, sync
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import order, steps
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import outline

Json = t.Dict[str, t.Any]

# Longer than the control plane takes to delete the Dataplane of a Direct proxy.
HANDOVER = 60.0
# How often a restart that is decided is waited for: an operator may begin another one in between.
ATTEMPTS = 3


class Vm(t.NamedTuple):
    """``restart(options)`` returns what proxy_restart returns, be it a failure or that the VM is unreachable.

    ``forget()`` removes what the last call left on the VM: without pipelining its arguments are in a file there until the action ends, and
    longer when the VM is lost.
    """

    restart: t.Callable[[Json], Json]
    forget: t.Callable[[], None]


def _nobody_moves(name: str) -> str:
    raise AssertionError(name)


class Covers(t.NamedTuple):
    """``make(name, longest)`` returns the material of a cover; ``note(name, claims)`` is told of the token of one that somebody else made."""

    make: t.Callable[[str, float], Json]
    note: t.Callable[[str, Json], None]


class Restart:
    """``options`` are those of proxy_restart. ``hand_over(name)`` registers a proxy of ``moving`` anew, and says what went wrong."""

    def __init__(
        self,
        vm: Vm,
        covers: Covers,
        options: Json,
        moving: t.Container[str] = (),
        hand_over: t.Callable[[str], str] = _nobody_moves,
    ) -> None:
        self._vm, self._covers, self._options = vm, covers, options
        self._moving, self._hand_over = moving, hand_over

    def restart(self, wishes: t.Iterable[Json]) -> Json:
        """What proxy_restart returns for all of these. After one that was not restarted the following ones are not begun."""
        whole: Json = {"changed": False, "results": []}
        for wish in wishes:
            found = self._restart(wish)
            changed, results = whole["changed"] or found.get("changed", False), [*whole["results"], *(found.get("results") or [])]
            whole = dict(found, changed=changed, results=results)
            if _ended(whole):
                break
        return whole

    def _restart(self, wish: Json) -> Json:
        if wish["strategy"] != outline.COVER:
            return self._begin(wish)
        laid = self._lay_cover(wish)
        if _ended(laid):
            return laid
        (found,) = laid["results"]
        if found["outcome"] != order.BUSY:
            return self._begin(wish)
        # Named, because it may be over before the next call, and has taken the token of its cover with it.
        ended = self._begin(dict(wish, request=found["request"]))
        results = [dict(entry, taken_over=True, notes=[*entry["notes"], *found["notes"]]) for entry in ended.get("results") or []]
        return dict(ended, results=results)

    def _begin(self, wish: Json) -> Json:
        return self._move(wish) if wish["name"] in self._moving else self._call([wish])

    def _call(self, proxies: t.Sequence[Json], **options: t.Any) -> Json:
        return self._vm.restart({**self._options, **options, "proxies": list(proxies)})

    def _lay_cover(self, wish: Json) -> Json:
        """Bring Dataplane and token of the cover to the VM.

        What proxy_restart returns: ``busy`` with the request of a restart that is under way, that is not decided, and that has its own.
        """
        drain_time = parse_seconds(str(self._options.get("drain_time", "30s")))
        longest = steps.longest(drain_time, float(self._options.get("ready_timeout", 60.0)))
        for _attempt in range(ATTEMPTS):
            try:
                cover = self._covers.make(wish["name"], longest)
            except ApiError as error:
                return {"changed": False, "failed": True, "msg": f"{wish['name']} was not touched: {error}", "failure": error.as_failure()}
            laid = self._call([dict(wish, cover=cover)], until=order.PREPARED)
            if not laid.get("unreachable"):
                self._vm.forget()
            if _ended(laid) or laid["results"][0]["outcome"] != order.BUSY:
                return laid
            # Whoever began it may be gone, and cannot revoke the token of its cover.
            self._covers.note(wish["name"], laid["results"][0].get("cover_token") or {})
            waited = self._call([wish], until=order.FREE)
            if _ended(waited) or waited["results"][0]["outcome"] == order.BUSY:
                return waited
        return dict(
            waited, failed=True, msg=f"{wish['name']} was not touched: the unit of an earlier restart of it does not end, see its journal"
        )

    def _move(self, wish: Json) -> Json:
        stopped = self._call([wish], until=order.STOPPED)
        results = stopped.get("results") or []
        if _ended(stopped) or results[0]["outcome"] != order.STOPPED:
            return stopped
        problem = self._hand_over(wish["name"])
        if problem:
            return dict(stopped, failed=True, msg=problem)
        ended = self._call([{"name": wish["name"], "request": results[0]["request"]}])
        return dict(ended, changed=True, results=ended.get("results") or results)


def hand_over(client: Client, mesh: str, initial_state: str, dataplane: t.Mapping[str, t.Any]) -> str:
    """Register the Dataplane of a Direct proxy that has stopped, as soon as the control plane has deleted it. Returns what went wrong."""
    try:
        dataplanes = sync.Dataplanes(client, sync.Settings(mesh=mesh, initial_state=initial_state))
        handover.hand_over(dataplanes, dataplanes.prepare([dataplane])[0], HANDOVER)
    except (ApiError, sync.Refused, handover.StillThere) as error:
        return f"{dataplane['name']} was stopped, and could not be registered again: {error}"
    return ""


def _ended(result: Json) -> bool:
    return bool(result.get("failed") or result.get("unreachable"))
