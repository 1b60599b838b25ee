# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections within a time, whatever the resolver and the first addresses do."""

from __future__ import annotations

import ipaddress
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import network


def resolving(monkeypatch, *addresses):
    """Every name has these addresses."""
    real = socket.getaddrinfo

    def getaddrinfo(host, port, **options):
        return [found for address in addresses for found in real(address, port, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_an_address_is_not_resolved():
    assert network.resolve("127.0.0.1", 80, 0) == [network.Address(socket.AF_INET, ("127.0.0.1", 80))]
    assert [found.text for found in network.resolve("::1", 80, 0)] == ["::1"]


def test_a_name_has_each_of_its_addresses_once(monkeypatch):
    resolving(monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.1")
    assert [found.text for found in network.resolve("kuma.example.com", 80, 5)] == ["127.0.0.1", "127.0.0.2"]


@pytest.mark.parametrize("name", ["does-not-exist.invalid", "a" * 300, "a..b", "ü" * 80])
def test_what_has_no_address_is_told_as_that(name):
    with pytest.raises(socket.gaierror):
        network.resolve(name, 80, 20)


def test_a_resolver_is_not_waited_for_without_end(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: over.wait(30))
    with pytest.raises(socket.timeout, match="not resolved in time"):
        network.connect("kuma.example.com", 80, 0.1)
    over.set()


def test_the_next_address_is_tried(monkeypatch, raw):
    server = raw(lambda opened: opened.sendall(b"here"))
    resolving(monkeypatch, "127.0.0.2", "127.0.0.1")
    # The server listens on the second one alone.
    with network.connect("kuma.example.com", server.port, 5) as opened:
        assert opened.recv(10) == b"here"


def test_one_that_is_silent_leaves_time_for_the_next(monkeypatch):
    tried = []

    def dial(address, seconds, options=()):
        tried.append((address.text, seconds))
        if address.text != "127.0.0.3":
            raise TimeoutError("timed out")
        return socket.socket()

    resolving(monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.3")
    monkeypatch.setattr(network, "dial", dial)
    network.connect("kuma.example.com", 80, 9.0).close()
    assert [address for address, _seconds in tried] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert tried[0][1] <= 3.0
    assert tried[2][1] > 3.0, "what the others did not need"


def test_the_last_failure_is_told(monkeypatch):
    resolving(monkeypatch, "127.0.0.2", "127.0.0.1")
    with pytest.raises(ConnectionRefusedError):
        network.connect("kuma.example.com", free_port(), 5)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: [])
    with pytest.raises(socket.gaierror, match="no address"):
        network.connect("kuma.example.com", 80, 5)


@given(st.ip_addresses())
def test_loopback_is_what_addresses_say(address):
    assert network.is_address(str(address))
    assert network.is_loopback(str(address)) is ipaddress.ip_address(str(address)).is_loopback


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("Localhost.", True),
        ("x.localhost", True),
        ("localhost.example.com", False),
        ("notlocalhost", False),
        ("", False),
    ],
)
def test_loopback_has_names(host, loopback):
    assert network.is_loopback(host) is loopback
