# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Asks a server on this VM by HTTP, on a port or a unix socket. It may be anybody's: an answer has a size and an end. Standard library only.

The timeout of http.client is one for each byte: whoever sends one now and then would be listened to for ever.
"""

from __future__ import annotations

import http.client
import socket
import struct
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely

# What Envoy tells of thousands of listeners or clusters is tens of MB.
LIMIT = 64 << 20  # bytes
_BLOCK = 1 << 16


class Answer(t.NamedTuple):
    """``kind`` is the Content-Type."""

    status: int
    body: bytes
    kind: str


class TooMuch(OSError):
    """An answer is longer than it may be, or takes longer."""


class Way(t.NamedTuple):
    """How a server is reached: at ``host`` and ``port``, or at the unix socket ``path``, which has to be that of process ``pid``, if one is named.

    ``silence`` is after how many seconds without a byte it does not answer, ``whole`` after how many seconds its answer has to be there.
    """

    host: str = "localhost"
    port: int = 0
    path: str = ""
    pid: int = 0
    silence: float = 5.0
    whole: float = 15.0


class _Bounded(socket.socket):
    """A connection whose answer has to be there at a time."""

    silence, end = 0.0, 0.0

    def recv_into(self, *arguments: t.Any, **named: t.Any) -> int:
        left = self.end - time.monotonic()
        if left > 0:
            self.settimeout(min(self.silence, left))
            try:
                return super().recv_into(*arguments, **named)
            except socket.timeout:
                if self.silence <= left:
                    raise
        raise TooMuch("the answer is not complete in time")


class _Connection(http.client.HTTPConnection):
    def __init__(self, way: Way) -> None:
        super().__init__(way.host, way.port or None)
        self.way = way

    def connect(self) -> None:
        self.sock = _to_path(self.way) if self.way.path else _to_port(self.way)
        self.sock.silence, self.sock.end = self.way.silence, time.monotonic() + self.way.whole
        self.sock.settimeout(self.way.silence)


def _to_port(way: Way) -> _Bounded:
    return _Bounded(fileno=socket.create_connection((way.host, way.port), way.silence).detach())


def _to_path(way: Way) -> _Bounded:
    connected = _Bounded(socket.AF_UNIX)
    try:
        connected.settimeout(way.silence)
        with safely.socket_at(way.path) as path:
            connected.connect(path)
        # Whoever listens on it: a socket that an earlier process left behind, or that leads to another one, must not answer for this one.
        owner = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        if way.pid and owner != way.pid:
            raise OSError("%s belongs to process %d, expected %d" % (way.path, owner, way.pid))
    except BaseException:
        connected.close()
        raise
    return connected


def ask(way: Way, path: str, method: str = "GET", headers: t.Optional[t.Mapping[str, str]] = None, limit: int = LIMIT) -> Answer:
    """The answer to one request; with a ``limit`` of 0 its body is not waited for. Raises OSError and http.client.HTTPException."""
    connection = _Connection(way)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, _body(answer, limit) if limit else b"", answer.getheader("Content-Type") or "")
    finally:
        connection.close()


def _body(answer: http.client.HTTPResponse, limit: int) -> bytes:
    blocks, size = [], 0
    while True:
        block = answer.read(_BLOCK)
        if not block:
            break
        blocks.append(block)
        size += len(block)
        if size > limit:
            raise TooMuch("the answer has more than %d MiB" % (limit >> 20))
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return b"".join(blocks)
