# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""When do callers see what was written? Measured in the Envoy of connected callers, or waited for."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied, ApiError, Client, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import fence

PEERS = 3  # callers of one service that are watched
CANDIDATES = 6  # callers of one service that are asked at all
# Proxies get their configuration in turns of one second: a caller that is not watched may be a turn behind those that are.
TURN = 1.0


class Timing(t.NamedTuple):
    """Seconds: how long to wait where nothing can be measured, until when measuring fails, and between two polls."""

    delay: float = 3.0
    timeout: float = 30.0
    interval: float = 0.5


class Propagation(t.NamedTuple):
    """What became of it. ``late`` are the endpoints that watched callers still have (or lack, after lifting) at the end."""

    measured: bool
    peers: t.List[str]
    seconds: float
    reason: str = ""
    late: t.Tuple[fence.Endpoint, ...] = ()

    def result(self) -> t.Dict[str, t.Any]:
        return {"measured": self.measured, "peers": self.peers, "seconds": round(self.seconds, 1), "reason": self.reason or None}


class Watch:
    """Follows endpoints at their callers. Made before the first write, so that it is known who had them."""

    def __init__(
        self,
        client: Client,
        mesh: str,
        overviews: t.Sequence[fence.Overview],
        endpoints: fence.Endpoints,
        avoid: t.AbstractSet[str],
        vanish: bool,
    ) -> None:
        self.client, self.mesh, self.vanish = client, mesh, vanish
        self.endpoints: t.Set[fence.Endpoint] = set().union(*endpoints.values())
        self.watched: t.Dict[str, t.Set[fence.Endpoint]] = {}
        self.everybody = True  # whether all callers are watched
        self.reason = ""
        self._answers: t.Dict[str, t.Optional[t.Set[fence.Endpoint]]] = {}
        self._denied = False
        for service, wanted in sorted(endpoints.items()):
            self._find_peers(service, wanted, fence.callers(overviews, service, avoid))

    def _find_peers(self, service: str, wanted: t.Set[fence.Endpoint], callers: t.Sequence[str]) -> None:
        found = 0
        for name in callers[:CANDIDATES]:
            if found == PEERS or self._denied:
                break
            if name not in self._answers:
                self._answers[name] = self._ask(name)
            seen = self._answers[name]
            # A caller that does not have an endpoint before the write proves nothing by not having it afterwards.
            watching = wanted if seen is not None and not self.vanish else wanted & (seen or set())
            if watching:
                self.watched.setdefault(name, set()).update(watching)
                found += 1
        if not callers:
            self.reason = self.reason or f"no connected proxy has an outbound to {service}"
        if found < len(callers):
            self.everybody = False

    def _ask(self, name: str) -> t.Optional[t.Set[fence.Endpoint]]:
        """The endpoints that the Envoy of a proxy has; None when it cannot be asked."""
        if self._denied:
            return None
        try:
            body = self.client.get(api_path("meshes", self.mesh, "dataplanes", name, "clusters")).body
        except AccessDenied:
            self._denied = True
            self.reason = "the token may not read the clusters of a proxy, which takes the rights of mesh-system:admin"
            return None
        except ApiError as error:
            self.reason = self.reason or f"{name} could not be asked: {error.title}"
            return None
        return fence.cluster_endpoints(body) if isinstance(body, str) else set()

    def only(self, endpoints: fence.Endpoints) -> None:
        """Follow nothing but these: the others were not written after all."""
        self.endpoints = set().union(*endpoints.values())
        self.watched = {name: watching & self.endpoints for name, watching in self.watched.items() if watching & self.endpoints}

    def wait(self, timing: Timing, sleep: t.Callable[[float], t.Any], clock: t.Callable[[], float]) -> Propagation:
        """To be called right after the last write."""
        start = clock()
        peers = sorted(self.watched)
        pending = {name: set(endpoints) for name, endpoints in self.watched.items()}
        proven: t.Set[fence.Endpoint] = set()
        while pending:
            for name in sorted(pending):
                seen = self._ask(name)
                if seen is None:
                    del pending[name]
                    continue
                arrived = pending[name] - seen if self.vanish else pending[name] & seen
                proven |= arrived
                pending[name] -= arrived
                if not pending[name]:
                    del pending[name]
            left = timing.timeout - (clock() - start)
            if not pending or left <= 0:
                break
            sleep(min(timing.interval, left))
        late = set().union(*pending.values()) if pending else set()
        measured = not late and proven >= self.endpoints
        if not measured:
            sleep(max(0.0, timing.delay - (clock() - start)))
        elif not self.everybody:
            sleep(TURN)
        reason = "" if measured else self.reason or "no caller showed the endpoints"
        return Propagation(measured, peers, clock() - start, reason, tuple(sorted(late)))
