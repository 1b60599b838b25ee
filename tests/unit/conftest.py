# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for tests that need a control plane."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from tests.unit.http_server import Answer, Server
from tests.unit.roles.template_renderer import Renderer
from tests.unit.sockets import Raw

ROOT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class ControlPlane:
    """A running double: its API by HTTP and HTTPS, where proxies connect, the token of its administrator and its CA."""

    url: str
    https_url: str
    dp_url: str
    token: str
    ca_file: str
    version: str

    def options(self, **others):
        """The API options of a module, as an administrator."""
        return {"url": self.https_url, "token": self.token, "ca_path": self.ca_file, **others}


@contextlib.contextmanager
def running(version, work_dir):
    """A double on free ports, killed at the end."""
    command = [sys.executable, "-m", "tests.double.kuma_cp", "--emulate", version, "--work-dir", str(work_dir)]
    command += [f"--{name}=0" for name in ("api-port", "api-tls-port", "dp-port")] + ["--log-level=WARNING"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    with (work_dir / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            first = queue.Queue()
            threading.Thread(target=lambda: first.put(process.stdout.readline()), daemon=True).start()
            line = first.get(timeout=60)
            assert line, f"the double did not start: {(work_dir / 'log').read_text()}"
            ready = json.loads(line)
            token = pathlib.Path(ready["admin_token_file"]).read_text().strip()
            yield ControlPlane(ready["url"], ready["https_url"], ready["dp_url"], token, ready["ca_file"], version)
        finally:
            # Nothing of it is kept, and for open connections it would wait.
            process.kill()
            process.wait(timeout=30)
            process.stdout.close()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    """The API options of whoever runs the tests stay out of them."""
    for name in (
        "KUMA_API_URL",
        "KUMA_API_TOKEN",
        "KUMA_CA",
        "KUMA_CLIENT_CERT",
        "KUMA_CLIENT_KEY",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def _doubles(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        started = {}

        def get(version):
            if version not in started:
                started[version] = stack.enter_context(running(version, tmp_path_factory.mktemp("double")))
            return started[version]

        yield get


@pytest.fixture(scope="session")
def control_plane(_doubles):
    """A control plane of the newest release, shared by all tests: use names of your own."""
    return _doubles("2.14.3")


@pytest.fixture(scope="session")
def control_plane_of(_doubles):
    """``control_plane_of(version)``: one of each version, shared by all tests."""
    return _doubles


@pytest.fixture(scope="session")
def renderer():
    """Renders templates of roles; its process takes more than a second to start."""
    started = Renderer()
    yield started
    started.close()


@pytest.fixture
def serve():
    """``serve(handler)`` or ``serve(answer, answer, ...)``, the last one for good; returns the server."""
    servers = []

    def start(*answers, certificate=None):
        handler = answers[0]
        if isinstance(handler, (Answer, str)):
            left = list(answers)

            def handler(request):
                return left.pop(0) if len(left) > 1 else left[0]

        servers.append(Server(handler, certificate))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def raw():
    """``raw(talk, ...)`` is a server below HTTP."""
    with contextlib.ExitStack() as stack:

        def start(talk, **options):
            server = Raw(talk, **options)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def connect():
    """``connect(url, ...)`` is a client whose sleeps are only noted, in ``client.slept``."""
    clients = []

    def make(url, **options):
        slept = []
        client = Client(url, **{"sleep": slept.append, "jitter": lambda low, high: high, **options})
        client.slept = slept
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()
