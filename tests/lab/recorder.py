# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A reverse proxy in front of a control plane's API that keeps a journal, so that tests can count what was asked.

Over HTTP the journal is at /__journal (`?since=N` leaves out the first N requests).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host", "te", "upgrade"}
SESSION = web.AppKey("session", aiohttp.ClientSession)


@dataclass(frozen=True)
class Request:
    """One request and the status it was answered with. Bodies and headers are not kept: they hold tokens."""

    method: str
    path: str
    query: str
    status: int

    @property
    def is_token(self) -> bool:
        return self.method == "POST" and self.path.startswith("/tokens")

    @property
    def is_write(self) -> bool:
        return self.method != "GET" and not self.is_token

    @property
    def is_list(self) -> bool:
        """A page of Dataplanes or of their overviews."""
        return self.method == "GET" and self.path.rpartition("/")[2] in ("dataplanes", "_overview")

    def __str__(self) -> str:
        return f"{self.method} {self.path}{'?' if self.query else ''}{self.query} -> {self.status}"


@dataclass
class Seen:
    """The requests of one stretch of time."""

    requests: list[Request] = field(default_factory=list)

    @property
    def writes(self) -> list[str]:
        return [str(request) for request in self.requests if request.is_write]

    @property
    def tokens(self) -> list[str]:
        return [str(request) for request in self.requests if request.is_token]

    @property
    def lists(self) -> list[str]:
        return [str(request) for request in self.requests if request.is_list]

    @property
    def reads(self) -> list[str]:
        """Reads that are not lists: those of the preflight."""
        return [str(request) for request in self.requests if request.method == "GET" and not request.is_list]


class Recorder:
    """The proxy, run by a thread of its own. `on_request` is called in that thread before a request is passed on."""

    def __init__(self, upstream: str, upstream_ca: Path | None = None, certificate: tuple[Path, Path] | None = None) -> None:
        """`certificate`: files of a certificate and its key, to serve HTTPS with."""
        self.upstream = upstream.rstrip("/")
        self.journal: list[Request] = []
        self.on_request: Callable[[str, str], None] | None = None
        self.url = ""
        self._upstream_tls = ssl.create_default_context(cafile=str(upstream_ca)) if upstream_ca else None
        self._server_tls: ssl.SSLContext | None = None
        if certificate:
            self._server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._server_tls.load_cert_chain(*certificate)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    @contextlib.contextmanager
    def watch(self) -> Iterator[Seen]:
        """The requests made inside the `with` block, complete when it ends."""
        mark, seen = len(self.journal), Seen()
        try:
            yield seen
        finally:
            seen.requests = self.journal[mark:]

    def start(self, bind: str, port: int) -> None:
        started: list[BaseException | None] = []
        ready = threading.Event()

        async def run() -> None:
            try:
                async with aiohttp.ClientSession(auto_decompress=False) as session:
                    application = web.Application(client_max_size=2**26)
                    application[SESSION] = session
                    application.router.add_route("*", "/{path:.*}", self._handle)
                    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
                    await runner.setup()
                    await web.TCPSite(runner, bind, port, ssl_context=self._server_tls).start()
                    started.append(None)
                    ready.set()
                    await self._stop.wait()
                    await runner.cleanup()
            except BaseException as error:
                started.append(error)
                ready.set()

        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(run(),), daemon=True)
        self._thread.start()
        ready.wait()
        if started[0] is not None:
            raise started[0]
        self.url = f"{'https' if self._server_tls else 'http'}://{bind}:{port}"

    def stop(self) -> None:
        if self._thread and self._loop:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
            self._loop.close()
            self._thread = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/__journal":
            since = int(request.query.get("since", "0"))
            return web.json_response([asdict(item) for item in self.journal[since:]])
        if self.on_request:
            self.on_request(request.method, request.path)
        session = request.app[SESSION]
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        headers["Accept-Encoding"] = "identity"
        options: dict[str, Any] = {"ssl": self._upstream_tls} if self._upstream_tls else {}
        status = 502
        try:
            # The path goes on as it came: a proxy that re-encodes would hide a client that encodes wrongly.
            url = URL(self.upstream + request.raw_path, encoded=True)
            body = await request.read()
            async with session.request(request.method, url, headers=headers, data=body or None, allow_redirects=False, **options) as answer:
                content = await answer.read()
                status = answer.status
                passed = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
                return web.Response(status=status, body=content, headers=passed)
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=f"the recorder cannot reach the control plane: {error}")
        finally:
            self.journal.append(Request(request.method, request.path, request.query_string, status))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.recorder", description=__doc__)
    parser.add_argument("--upstream", required=True, help="URL of the control plane's API")
    parser.add_argument("--upstream-ca", type=Path)
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5690)
    given = parser.parse_args()
    recorder = Recorder(given.upstream, given.upstream_ca)
    recorder.start(given.bind, given.port)
    print(json.dumps({"url": recorder.url}), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    recorder.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
