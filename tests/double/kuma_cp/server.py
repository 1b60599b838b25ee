# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a control plane together and opens its ports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from . import tls
from .api import Api
from .delays import Delays
from .dp_server import DpServer
from .facts import Facts
from .postgres import Postgres
from .proxies import Proxies
from .releases import Release
from .store import Resource, Store
from .tokens import Tokens, Validation

# How long open connections may go on at the end. Before 3.9 aiohttp takes it elsewhere, and waits a minute by itself.
SHUTDOWN: dict[str, float] = {"shutdown_timeout": 0.5} if aiohttp.__version__ >= "3.9" else {}


@dataclass
class Settings:
    """How to run a control plane."""

    release: Release
    work_dir: Path
    bind: str = "127.0.0.1"
    api_port: int = 5681
    api_tls_port: int = 5682
    dp_port: int = 5678
    hosts: list[str] = field(default_factory=list)
    zone: str = "default"
    localhost_is_admin: bool = False
    hds: bool = True
    hds_interval: float = 5.0
    hds_check_interval: float = 1.0
    deregistration_delay: float = 10.0
    propagation_delay: float = 1.0
    delays_file: Path | None = None
    admin_unix_socket: bool = True
    # As a program of its own: where the API listens, its certificate and key, and where everything is kept.
    http_bind: str = ""
    https_bind: str = ""
    certificate: tuple[Path, Path] | None = None
    create_default_mesh: bool = True
    served_version: str = ""
    postgres: Postgres | None = None
    # Where tokens may come from, and whether proxies read theirs again.
    dataplane_tokens: Validation = field(default_factory=Validation)
    zone_tokens: Validation = field(default_factory=Validation)
    reloadable_tokens: bool = False


def _seed(store: Store, default_mesh: bool) -> None:
    """The default mesh and what comes with every control plane."""
    store.on_mesh_created.append(lambda mesh: _seed_policies(store, mesh))
    if default_mesh:
        store.put(store.kinds["Mesh"], "", "default", {}, {})
        default = store.mesh("default")
        assert isinstance(default, Resource)
        default.labels = {}
    generator = store.kinds["HostnameGenerator"]
    for name in ("local-mesh-external-service", "local-universal-mesh-service"):
        template = "{{ .DisplayName }}.extsvc.mesh.local" if "external" in name else "{{ .DisplayName }}.svc.mesh.local"
        store.put(generator, "", name, {"spec": {"template": template}}, {})


def _seed_policies(store: Store, mesh: str) -> None:
    owner = store.mesh(mesh)
    skipped = (owner.spec.get("skipCreatingInitialPolicies") or []) if owner else []
    if "*" in skipped:
        return
    target = {"targetRef": {"kind": "Mesh"}}
    for kind, name in (
        ("MeshCircuitBreaker", "mesh-circuit-breaker-all"),
        ("MeshRetry", "mesh-retry-all"),
        ("MeshTimeout", "mesh-timeout-all"),
        ("MeshTimeout", "mesh-gateways-timeout-all"),
    ):
        if kind not in skipped:
            store.put(store.kinds[kind], mesh, f"{name}-{mesh}", {"spec": {**target, "to": [{**target, "default": {}}]}}, {})


def _write_secret(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=1024)


@asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[dict[str, str]]:
    """Runs a control plane; yields its addresses and files."""
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    store = Store(settings.release, settings.zone)
    tokens = Tokens(store, settings.dataplane_tokens, settings.zone_tokens)
    _seed(store, settings.create_default_mesh)
    token_file = settings.work_dir / "admin.token"
    _write_secret(token_file, tokens.admin_token())
    if settings.postgres:
        settings.postgres.load(store)
    if settings.certificate:
        ca_file, (names, context) = settings.certificate[0], tls.load(*settings.certificate)
    else:
        names = [settings.bind, "localhost", "127.0.0.1", socket.gethostname(), *settings.hosts]
        ca_file, context = tls.create(settings.work_dir, names)

    addresses = (settings.http_bind or settings.bind, settings.https_bind or settings.bind, settings.bind)
    ports = (settings.api_port, settings.api_tls_port, settings.dp_port)
    sockets = [_listen(address, port) for address, port in zip(addresses, ports, strict=True)]
    api_port, api_tls_port, dp_port = (listening.getsockname()[1] for listening in sockets)
    facts = Facts(
        store,
        {
            "bind": settings.bind,
            "api_port": api_port,
            "api_tls_port": api_tls_port,
            "dp_port": dp_port,
            "localhost_is_admin": settings.localhost_is_admin,
            "hds_enabled": settings.hds,
            "hds_interval": settings.hds_interval,
            "hds_check_interval": settings.hds_check_interval,
            "deregistration_delay": settings.deregistration_delay,
            "admin_unix_socket": settings.admin_unix_socket,
            "reloadable_tokens": settings.reloadable_tokens,
            "dataplane_tokens": settings.dataplane_tokens.config(meshed=True),
            "zone_tokens": settings.zone_tokens.config(meshed=False),
            "work_dir": str(settings.work_dir),
            "store": "postgres" if settings.postgres else "memory",
            "version": settings.served_version or settings.release.served_version,
        },
    )
    delays = Delays(
        settings.hds_interval, settings.hds_check_interval, settings.deregistration_delay, settings.propagation_delay, settings.delays_file
    )
    proxies = Proxies(store, tokens, facts.instance, settings.hds, delays)
    api = Api(store, tokens, facts, proxies, settings.localhost_is_admin)
    dp_server = DpServer(store, proxies, names, ca_file.read_text(encoding="utf-8"), dp_port, settings.admin_unix_socket, delays)
    dp_server.reloadable_tokens = settings.reloadable_tokens

    runners = []
    for listening, handler, secure in zip(sockets, (api.handle, api.handle, dp_server.handle), (False, True, True), strict=True):
        application = web.Application(client_max_size=64 * 2**20)
        application.router.add_route("*", "/{tail:.*}", handler)
        application.on_response_prepare.append(_drop_empty_type)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, read_bufsize=2**24, **SHUTDOWN)
        await runner.setup()
        await web.SockSite(runner, listening, ssl_context=context if secure else None).start()
        runners.append(runner)
    await proxies.start()
    keeping = asyncio.create_task(_keep(settings.postgres, store)) if settings.postgres else None
    try:
        shown = f"[{settings.bind}]" if ":" in settings.bind else settings.bind
        yield {
            "url": f"http://{shown}:{api_port}",
            "https_url": f"https://{shown}:{api_tls_port}",
            "dp_url": f"https://{shown}:{dp_port}",
            "admin_token_file": str(token_file),
            "ca_file": str(ca_file),
        }
    finally:
        if settings.postgres and keeping:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping
            settings.postgres.save(store)
        await proxies.stop()
        for runner in runners:
            await runner.cleanup()


async def _keep(postgres: Postgres, store: Store) -> None:
    """Write whenever something changed. The real one writes before it answers; here that is soon enough."""
    kept = -1
    while True:
        if store.version != kept:
            kept = store.version
            postgres.save(store)
        await asyncio.sleep(0.2)


async def _drop_empty_type(request: web.Request, response: web.StreamResponse) -> None:
    if response.headers.get("Content-Type") == "":
        del response.headers["Content-Type"]
