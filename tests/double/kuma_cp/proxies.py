# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connected proxies: their streams, insights, health reports and, for Direct ones, the life of their Dataplane."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from . import envoy, zones
from .delays import Delays
from .errors import Problem
from .store import Key, Store, timestamp
from .tokens import BadToken, Tokens

LOG = logging.getLogger("proxies")
IDLE_TIMEOUT = 300.0
SUBSCRIPTIONS_KEPT = 2
BUSY = "there is already an active stream from this node, try again later"


class Refused(Exception):
    """The stream is not accepted, with what the proxy's log shows."""


@dataclass
class Stream:
    """One connected proxy and the configuration it got."""

    key: Key
    instance: str
    send: Callable[[dict[str, Any]], Awaitable[None]]
    options: dict[str, Any]
    direct: bool
    subscription: dict[str, Any]
    insight: dict[str, Any]
    config: envoy.Snapshot = field(default_factory=envoy.Snapshot)
    served: dict[str, str] = field(default_factory=dict)
    clusters: str = ""  # the version of them that its Envoy took, or refused
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    questions: dict[int, asyncio.Future[tuple[str, bytes]]] = field(default_factory=dict)
    probes: list[dict[str, Any]] = field(default_factory=list)

    def wake(self) -> None:
        """Has the discovery requests that are held looked at again."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def count(self, kind: str, what: str) -> None:
        """Adds to a counter of the subscription; 64-bit counters are strings in JSON."""
        status = self.subscription["status"]
        status["lastUpdateTime"] = timestamp()
        for counters in (status["total"], status[kind]):
            counters[what] = str(int(counters.get(what, "0")) + 1)


class Proxies:
    """All streams of a control plane."""

    def __init__(self, store: Store, tokens: Tokens, instance: str, hds: bool, delays: Delays) -> None:
        self.store, self.tokens, self.instance, self.hds = store, tokens, instance, hds
        self.delays = delays
        self.streams: dict[Key, Stream] = {}
        self.leaving: dict[Key, asyncio.Task[None]] = {}
        self.broken: dict[str, tuple[Key, float]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = itertools.count(1)

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._finalise())]

    async def stop(self) -> None:
        """Ends without touching Dataplanes: a control plane that stops deletes no Direct ones."""
        for task in (*self._tasks, *self.leaving.values()):
            task.cancel()

    def authenticate(self, key: Key, token: str, labels: dict[str, str], networking: dict[str, Any]) -> None:
        """Checks a proxy's token against its Dataplane; raises Refused."""
        mesh, name = key
        kind = zones.MESHES.get(mesh)
        try:
            claims = self.tokens.zone.check(token) if kind else self.tokens.dataplane.check(token, mesh)
        except BadToken as error:
            raise Refused(f"authentication failed: {error}") from None
        if kind:
            if fault := zones.token_fault(kind, claims, self.store.zone):
                raise Refused(f"authentication failed: {fault}")
            return
        for claim, own in (("Name", name), ("Mesh", mesh)):
            if claims.get(claim) and claims[claim] != own:
                raise Refused(
                    f"authentication failed: proxy {claim.lower()} from requestor: {own} is different than in token: {claims[claim]}"
                )
        present: dict[str, set[str]] = {}
        if self.store.release.v3:
            present = {label: {value} for label, value in labels.items()}
        else:
            sources = [networking["gateway"]] if "gateway" in networking else networking.get("inbound", [])
            for source in sources:
                for tag, value in source.get("tags", {}).items():
                    present.setdefault(tag, set()).add(value)
        for tag, allowed in (claims.get("Tags") or {}).items():
            if tag not in present:
                raise Refused(f'authentication failed: dataplane has no tag "{tag}" required by the token')
            for value in sorted(present[tag] - set(allowed)):
                raise Refused(
                    f'authentication failed: dataplane contains tag "{tag}" with value "{value}" which is not allowed with this token. '
                    f"Allowed values in token are {json.dumps(sorted(allowed))}"
                )
        wanted, own = claims.get("Workload") or "", labels.get("kuma.io/workload")
        if wanted and own is None:
            raise Refused("authentication failed: dataplane has no workload label required by the token")
        if wanted and own != wanted:
            raise Refused(
                f'authentication failed: dataplane workload "{own}" is not allowed with this token. Allowed workload in token is "{wanted}"'
            )

    async def connect(
        self, hello: dict[str, Any], direct: dict[str, Any] | None, send: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> Stream:
        """
        Accepts the stream of a proxy or raises Refused.

        `hello` is what kuma-dp says first; `direct` the Dataplane it brings (spec and labels), None for an Indirect one.
        """
        key = (str(hello.get("mesh", "")), str(hello.get("name", "")))
        if key in self.streams or key in self.leaving:
            raise Refused(BUSY)
        if direct is None:
            current = self.store.dataplane(*key)
            if current is None:
                raise Refused(
                    f'resource "{key[0]}.{key[1]}" not found; create a Dataplane in Kuma CP first or pass it as an argument to kuma-dp'
                )
            spec, labels = current.spec, current.labels
        else:
            spec, labels = direct["spec"], direct["labels"]
        self.authenticate(key, str(hello.get("token", "")), labels, spec["networking"])
        if direct is not None:
            try:
                kind = self.store.kinds[direct["kind"]]
                self.store.put(kind, key[0] if kind.is_mesh_scoped else "", key[1], spec, labels)
            except Problem as problem:
                raise Refused(f"could not register the Dataplane: {problem.detail} {problem.violations or ''}") from None
        subscription, insight = self._subscribe(key, hello.get("version") or {})
        stream = Stream(key, str(hello.get("instance", "")), send, hello, direct is not None, subscription, insight)
        self.streams[key] = stream
        self._configure(stream)
        LOG.info("%s of mesh %s connected", key[1], key[0])
        return stream

    def _subscribe(self, key: Key, version: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        own = version.get("kumaDp") or {}
        engine = version.get("envoy") or {}
        subscription: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "controlPlaneInstanceId": self.instance,
            "connectTime": timestamp(),
            "generation": 1,
            "status": {"lastUpdateTime": timestamp(), "total": {}, "cds": {}, "eds": {}, "lds": {}, "rds": {}},
            "version": {
                "kumaDp": {"version": own.get("version", "unknown"), "kumaCpCompatible": True},
                "envoy": {"version": engine.get("version", "unknown"), "kumaDpCompatible": True},
                "dependencies": {},
            },
        }
        insight = self.store.insights.setdefault(key, {"subscriptions": []})
        earlier = insight["subscriptions"]
        for other in earlier:
            other.setdefault("disconnectTime", timestamp())
        subscription["generation"] = len(earlier) + 1
        earlier.append(subscription)
        del earlier[:-SUBSCRIPTIONS_KEPT]
        return subscription, insight

    def disconnect(self, stream: Stream, said_goodbye: bool) -> None:
        """
        Ends a stream. Without a goodbye (a killed process, a lost machine) the proxy still looks online until the idle timeout.
        """
        if self.streams.get(stream.key) is stream:
            del self.streams[stream.key]
        for question in stream.questions.values():
            question.cancel()
        stream.changed.set()
        if said_goodbye:
            stream.subscription["disconnectTime"] = timestamp()
        else:
            self.broken[stream.subscription["id"]] = (stream.key, time.monotonic())
        LOG.info("%s of mesh %s disconnected%s", stream.key[1], stream.key[0], "" if said_goodbye else " without closing its stream")
        if stream.direct:
            self.leaving[stream.key] = asyncio.create_task(self._deregister(stream.key))

    async def _deregister(self, key: Key) -> None:
        await asyncio.sleep(self.delays.now()["deregistration"])
        del self.leaving[key]
        found = self.store.dataplane(*key)
        if found is not None:
            self.store.delete(found.kind, *found.key)

    async def _finalise(self) -> None:
        while True:
            await asyncio.sleep(5)
            for identifier, (key, since) in list(self.broken.items()):
                if time.monotonic() - since < IDLE_TIMEOUT:
                    continue
                del self.broken[identifier]
                for subscription in (self.store.insights.get(key) or {}).get("subscriptions", []):
                    if subscription["id"] == identifier:
                        subscription.setdefault("disconnectTime", timestamp())

    async def _publish(self) -> None:
        """Brings writes to the proxies, about as late as the real caches and ticks do."""
        seen = self.store.version
        while True:
            await asyncio.sleep(0.05)
            if self.store.version == seen:
                continue
            await asyncio.sleep(self.delays.now()["propagation"])
            seen = self.store.version
            view = envoy.View(self.store)
            for stream in list(self.streams.values()):
                self._configure(stream, view)

    def _configure(self, stream: Stream, view: envoy.View | None = None) -> None:
        """A proxy whose Dataplane is gone keeps what it has."""
        proxy = self.store.dataplane(*stream.key)
        if proxy is None:
            return
        snapshot = (view or envoy.View(self.store)).snapshot(proxy, stream.options)
        if snapshot.versions != stream.config.versions:
            stream.config = snapshot
            stream.wake()
        probes = envoy.probes(proxy)
        if probes != stream.probes:
            stream.probes = probes
            self._tasks.append(asyncio.create_task(self._send(stream, {"probes": probes})))
            self._tasks = [task for task in self._tasks if not task.done()]

    @staticmethod
    async def _send(stream: Stream, message: dict[str, Any]) -> None:
        try:
            await stream.send(message)
        except (ConnectionError, RuntimeError) as error:
            LOG.debug("%s: %s", stream.key[1], error)

    def report(self, stream: Stream, ready: bool, probes: dict[str, bool]) -> None:
        """
        Takes a health report: healthy turns NotReady into Ready, unhealthy turns Ready into NotReady, nothing else happens.

        `probes` maps "address:port" of a probed workload to its result.
        """
        proxy = self.store.dataplane(*stream.key)
        if not self.hds or proxy is None:
            return
        inbounds, changed = [], False
        for inbound in proxy.spec["networking"].get("inbound", []):
            state = inbound.get("state", "Ready")
            healthy = ready and ("serviceProbe" not in inbound or probes.get(envoy.workload(inbound, proxy), False))
            if healthy and state == "NotReady":
                inbound = {**inbound, "health": {"ready": True}}
                del inbound["state"]
                changed = True
            elif not healthy and state == "Ready":
                inbound = {**inbound, "state": "NotReady", "health": {}}
                changed = True
            inbounds.append(inbound)
        if not changed:
            return
        try:
            self.store.set_health(*stream.key, inbounds)
        except Problem as problem:
            LOG.error("health of %s not written: %s %s", stream.key[1], problem.detail, problem.violations)

    async def ask(self, mesh: str, name: str, path: str) -> tuple[str, bytes] | None:
        """What a proxy's Envoy admin answers to GET `path`: content type and body; None when it is not connected."""
        stream = self.streams.get((mesh, name))
        if stream is None:
            return None
        number = next(self._numbers)
        question: asyncio.Future[tuple[str, bytes]] = asyncio.get_running_loop().create_future()
        stream.questions[number] = question
        try:
            await stream.send({"admin": {"id": number, "path": path}})
            return await asyncio.wait_for(question, timeout=10)
        except (TimeoutError, asyncio.CancelledError, ConnectionError):
            return None
        finally:
            stream.questions.pop(number, None)

    def heard(self, stream: Stream, message: dict[str, Any]) -> bool:
        """Handles one line from a proxy; True for its goodbye."""
        if "health" in message:
            self.report(stream, bool(message["health"].get("ready")), message["health"].get("probes") or {})
        if "admin" in message:
            question = stream.questions.get(message["admin"]["id"])
            if question is not None and not question.done():
                question.set_result((message["admin"]["type"], base64.b64decode(message["admin"]["body"])))
        return bool(message.get("goodbye"))
