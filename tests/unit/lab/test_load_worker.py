# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clients of the lab that are to notice every failure do so, and behave as a pool of connections otherwise."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab import load
from tests.lab.load import Load, Profile

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nvm\n"
# What a server does with the requests of one connection; returns to close it.
Serve = Callable[[socket.socket, Iterator[int]], None]


@contextlib.contextmanager
def server(serve: Serve) -> Iterator[int]:
    """The port of a server whose connections share one count of requests."""
    numbers = itertools.count(1)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = listening.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    def handle(connection: socket.socket) -> None:
        def requests() -> Iterator[int]:
            while connection.recv(65536):
                yield next(numbers)

        with connection, contextlib.suppress(OSError):
            serve(connection, requests())

    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def run(serve: Serve, count: int = 10, **profile: object) -> Load:
    """The results after at least that many requests of one keep-alive client, 100 a second."""
    given = {"name": "x", "kind": "http1", "rate": 100.0, "connections": 1, "path": "/", "timeout": 0.3, "most": 120, **profile}
    enough = threading.Event()

    def counted(connection: socket.socket, requests: Iterator[int]) -> None:
        def counting() -> Iterator[int]:
            for number in requests:
                if number >= count:
                    enough.set()
                yield number

        serve(connection, counting())

    with server(counted) as port:
        worker = subprocess.Popen([sys.executable, "-c", load.WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert worker.stdin is not None
        worker.stdin.write(json.dumps([{**given, "port": port}]) + "\n")
        worker.stdin.flush()
        assert enough.wait(20)
        result = Load(began=time.time())
        output, _errors = worker.communicate("\n", timeout=20)
        assert output.startswith("started\n")
        result.read(output.splitlines()[-1])
        return result


def answer_all(connection: socket.socket, requests: Iterator[int]) -> None:
    for _number in requests:
        connection.sendall(OK)


def test_a_good_server_is_asked_at_the_rate_over_one_connection() -> None:
    result = run(answer_all, 50)["x"]
    assert result.failures == []
    assert result.by_host == {"vm": result.sent}
    assert result.opened == 1
    assert 0 < result.latency(0.5) <= result.latency(0.99) <= result.latency(1)


def test_every_request_has_its_own_connection_when_none_is_kept() -> None:
    result = run(answer_all, 20, connections=0)["x"]
    assert result.failures == []
    assert result.opened == result.sent


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 8\r\n\r\noverload", "503 overload", id="not success"),
        pytest.param(b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n", "301", id="redirect"),
        pytest.param(OK[:-2], "closed by the other side", id="cut in the body"),
        pytest.param(b"", "closed by the other side", id="closed without an answer"),
    ],
)
def test_a_bad_answer_fails_once_and_is_not_repeated(answer: bytes, reason: str) -> None:
    asked: list[int] = []

    def third_is_bad(connection: socket.socket, requests: Iterator[int]) -> None:
        for number in requests:
            asked.append(number)
            connection.sendall(answer if number == 3 else OK)
            if number == 3:
                return

    result = run(third_is_bad)["x"]
    assert [failure.reason.endswith(reason) for failure in result.failures] == [True], result.failures
    assert result.sent == len(asked)


def test_a_reset_fails() -> None:
    def reset_third(connection: socket.socket, requests: Iterator[int]) -> None:
        for number in requests:
            if number == 3:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            connection.sendall(OK)

    result = run(reset_third)
    assert ["reset" in text for text in result.failures] == [True], result.failures


def test_silence_fails_when_the_time_is_over() -> None:
    def silent_third(connection: socket.socket, requests: Iterator[int]) -> None:
        for number in requests:
            if number != 3:
                connection.sendall(OK)

    result = run(silent_third, 4)["x"]
    assert result.reasons() == {"no answer in time": 1}


def test_nobody_listening_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    profile = {"name": "x", "kind": "http1", "rate": 50.0, "connections": 0, "path": "/", "timeout": 1, "most": 120, "port": port}
    output = subprocess.run(
        [sys.executable, "-c", load.WORKER], input=f"{json.dumps([profile])}\n\n", capture_output=True, text=True, timeout=20, check=True
    ).stdout
    result = Load()
    result.read(output.splitlines()[-1])
    assert result["x"].sent == len(result.failures)


@pytest.mark.parametrize("told", [True, False])
def test_a_connection_that_the_server_gives_up_is_replaced(told: bool) -> None:
    """With `Connection: close` in the answer, or closed while nothing is asked."""

    def close_third(connection: socket.socket, requests: Iterator[int]) -> None:
        for number in requests:
            close = number == 3
            connection.sendall(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if close and told else OK)
            if close:
                return

    result = run(close_third, 5, rate=20.0)["x"]
    assert result.failures == []
    assert result.opened == 2


@pytest.mark.parametrize("answered", [True, False])
def test_a_tcp_connection_that_is_cut_fails(answered: bool) -> None:
    """Also when nothing is asked at that moment."""

    def cut_third(connection: socket.socket, requests: Iterator[int]) -> None:
        for number in requests:
            if answered or number != 3:
                connection.sendall(b"line\n")
            if number == 3:
                return

    result = run(cut_third, 15, kind="tcp", path="line", rate=20.0)["x"]
    # On a machine that is late more than one may be on its way before the end is noticed.
    assert 1 <= len(result.failures) < 10
    assert result.opened == 2


def test_profiles_say_what_they_are() -> None:
    profiles: list[Profile] = [load.new(1), load.keepalive(1), load.pooled(1), load.slow(1), load.http2(1), load.slow_http2(1), load.tcp(1)]
    assert [profile.name for profile in profiles] == ["new", "keepalive", "pooled", "slow", "http2", "slow-http2", "tcp"]
    assert all(profile.timeout > 5 for profile in profiles)
