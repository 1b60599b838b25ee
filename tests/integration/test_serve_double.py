# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make double BIND=<address>`: what it prints is what clients elsewhere can use."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest
import requests

ROOT = pathlib.Path(__file__).parents[2]
# No other test listens there, and it is not what the double listens at by itself.
ADDRESS = "127.0.0.2"


def free_ports():
    """A port for the API whose neighbours for TLS and for proxies are free as well."""
    for port in range(25681, 26681, 10):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for wanted in (port, port + 1, port - 3):
                stack.enter_context(socket.create_server((ADDRESS, wanted)))
            return port
    raise AssertionError("no free ports")


def command(*arguments):
    return [sys.executable, "-m", "tests.gate.serve_double", *arguments]


@pytest.fixture
def printed():
    """What a person reads, ``{what: where}``, while the control plane runs."""
    options = {"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command("--port", str(free_ports()), "--bind", ADDRESS), **options) as process:
        try:
            lines = iter(process.stdout.readline, "Ctrl-C stops it.\n")
            yield dict(re.match(r"(.*?) {2,}(\S+)", line).groups() for line in lines)
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0


def test_the_printed_addresses_are_those_that_clients_use(printed):
    api, nobody = requests.Session(), requests.Session()
    api.trust_env = nobody.trust_env = False  # neither proxies nor the authorities of whoever runs the tests
    api.headers["Authorization"] = f"Bearer {pathlib.Path(printed['admin token file']).read_text().strip()}"
    api.verify = printed["CA certificate"]
    for place in ("control plane", "with TLS"):
        assert f"//{ADDRESS}:" in printed[place]
        answer = api.get(f"{printed[place]}/meshes/default", timeout=30)
        assert (answer.status_code, answer.json()["name"]) == (200, "default")
    # It has the same certificate; what proxies say to it is the business of other tests.
    assert f"//{ADDRESS}:" in printed["dp-server"]
    assert api.get(printed["dp-server"], timeout=30).status_code == 404
    # An administrator is who has the token, wherever from.
    wish = {"name": "reader", "validFor": "1h"}
    asked = f"{printed['control plane']}/tokens/user"
    assert [client.post(asked, json=wish, timeout=30).status_code for client in (nobody, api)] == [403, 200]
    with pytest.raises(requests.ConnectionError):
        nobody.get(printed["control plane"].replace(ADDRESS, "127.0.0.1"), timeout=30)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("0.0.0.0", "no address that a client could use"),
        ("::", "no address that a client could use"),
        ("fe80::1", "cannot stand in a URL"),
        ("203.0.113.7", "no address of this machine"),
        ("localhost", "no IP address"),
    ],
)
def test_an_address_that_clients_cannot_use_is_refused(address, told):
    run = subprocess.run(command("--bind", address), cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert told in run.stderr


def test_make_hands_the_address_on():
    for given, wanted in ((["BIND=10.77.0.1"], "--port 5681 --bind 10.77.0.1"), ([], "--port 5681 --bind 127.0.0.1")):
        plain = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "BIND", "PORT")}
        run = subprocess.run(["make", "-n", "double", *given], cwd=ROOT, env=plain, capture_output=True, text=True, check=True)
        assert wanted in run.stdout
