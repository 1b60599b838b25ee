# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in control plane with the stand-in kuma-dp and the real Envoy."""

from __future__ import annotations

import http.client
import itertools
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.processes import LIMIT, Client, control_plane, free_port, install, kuma_dp, until

# What is seconds by default happens often, so that little is waited for.
OFTEN = ("--hds-interval=0.2", "--hds-check-interval=0.1", "--deregistration-delay=3", "--propagation-delay=0.2")
MESHES = itertools.count(1)
ADDRESSES = (f"127.0.{third}.{last}" for third in range(80, 90) for last in range(1, 250))


def new_address() -> str:
    """An address that no other proxy of these tests has."""
    return next(ADDRESSES)


class ControlPlanes:
    """One of each version that is asked for, until the stack ends."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory, self.stack = directory, stack
        self.started: dict[str, dict[str, str]] = {}

    def __getitem__(self, version: str) -> dict[str, str]:
        if version not in self.started:
            (self.directory / version).mkdir()
            self.started[version] = self.stack.enter_context(control_plane(version, self.directory / version, *OFTEN))
        return self.started[version]


class Fleet:
    """A new mesh of a control plane and what a test starts in it."""

    def __init__(self, version: str, control_planes: ControlPlanes, directory: Path, stack: ExitStack) -> None:
        self.version, self.directory, self.stack = version, directory, stack
        self.ready, self.mesh = control_planes[version], f"mesh-{next(MESHES)}"
        self.api = Client(self.ready, self.mesh)
        self.change_mesh()
        own = "3.0.0" if version == "3.0-dev" else version
        self.program = install(directory / "kuma", own)
        self.numbers = itertools.count()

    def dataplane(
        self, name: str, address: str, service_port: int = 0, service: str = "", upstream: str = "", **fields: Any
    ) -> dict[str, Any]:
        """A Dataplane in the model of the version, not ready, with one inbound and, for `upstream`, one outbound on a free port."""
        v3 = self.version == "3.0-dev"
        inbound: dict[str, Any] = {"port": 8080, "servicePort": service_port or free_port(), "serviceAddress": "127.0.0.1", **fields}
        inbound.update(state="NotReady", health={})
        document: dict[str, Any] = {"type": "Dataplane", "mesh": self.mesh, "name": name}
        if v3:
            document["labels"] = {"kuma.io/workload": service or name}
            inbound["protocol"] = "http"
        else:
            inbound["tags"] = {"kuma.io/service": service or name, "kuma.io/protocol": "http"}
        networking: dict[str, Any] = {"address": address, "inbound": [inbound], "admin": {"port": free_port()}}
        if upstream:
            reference: dict[str, Any] = {"tags": {"kuma.io/service": upstream}}
            if v3:
                reference = {"backendRef": {"kind": "MeshService", "name": upstream, "port": 8080}}
            networking["outbound"] = [{"port": free_port(), **reference}]
        return {**document, "networking": networking}

    def change_mesh(self, **fields: Any) -> None:
        self.api.put(f"/meshes/{self.mesh}", {"type": "Mesh", "name": self.mesh, **fields})

    def register(self, document: dict[str, Any]) -> None:
        self.api.put(self.api.dataplane(document["name"]), document)

    def start(self, name: str, token: str | None = None, **settings: str) -> subprocess.Popen[bytes]:
        directory = self.directory / f"proxy-{next(self.numbers)}"
        settings = {"KUMA_DATAPLANE_MESH": self.mesh, **settings}
        process = self.stack.enter_context(
            kuma_dp(self.program, self.ready, directory, name, self.api.token(name) if token is None else token, **settings)
        )
        process.directory = directory  # type: ignore[attr-defined]
        return process

    def join(self, document: dict[str, Any], **settings: str) -> subprocess.Popen[bytes]:
        """Registers, starts and waits until the health check calls the proxy Ready."""
        self.register(document)
        process = self.start(document["name"], **settings)
        until(f"{document['name']} is Ready", lambda: self.api.inbound(document["name"]).get("health") == {"ready": True})
        return process


def log_of(process: subprocess.Popen[bytes]) -> str:
    return (process.directory / "log").read_text()  # type: ignore[attr-defined, no-any-return]


def status(address: str, port: int, path: str = "/") -> int:
    """The status of a GET; 0 when there is no answer."""
    connection = http.client.HTTPConnection(address, port, timeout=LIMIT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def listening(document: dict[str, Any]) -> tuple[str, int]:
    return document["networking"]["address"], document["networking"]["admin"]["port"]


# 2.13 does what 2.14 does.
every_version = pytest.mark.parametrize(
    "fleet", ["2.14.3", "3.0-dev", pytest.param("2.13.10", marks=pytest.mark.nightly), "2.12.14"], indirect=True
)
