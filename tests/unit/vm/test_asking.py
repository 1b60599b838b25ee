# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that anybody may be: whoever sends without end, or now and then, or nothing, is not listened to for ever."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import asking, gate, safely, service

HEAD = b"HTTP/1.1 200 OK\r\n"
# What a server sends once, and what it goes on to send until nobody listens.
ENDLESS = {
    "body": (HEAD + b"Content-Type: text/plain\r\n\r\n", b"x" * 65536),
    "body in chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "header": (HEAD + b"X-Header: ", b"x"),
    "one header after the other": (HEAD, b"X-Header: x\r\n"),
    "goes on": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "status line": (b"", b"H"),
}


class Server:
    """Answers each connection by a function of it, and waits until the other side has gone."""

    def __init__(self, listening, answer):
        self.listening, self.answer, self.closing = listening, answer, threading.Event()
        self.asked = []
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        while not self.closing.is_set():
            try:
                connection, _address = self.listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self.asked.append(connection.recv(65536))
                self.answer(connection, self.closing)

    def close(self):
        self.closing.set()
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join()


@pytest.fixture(params=["port", "path"])
def reach(request, tmp_path):
    """``reach(answer, silence=..., whole=...)`` is the way to a server with this answer."""
    servers = []

    def start(answer, **times):
        if request.param == "port":
            listening = socket.create_server(("127.0.0.1", 0))
            way = asking.Way("127.0.0.1", listening.getsockname()[1], **times)
        else:
            listening = socket.socket(socket.AF_UNIX)
            path = str(tmp_path / f"{len(servers)}.sock")
            listening.bind(path)
            listening.listen()
            way = asking.Way(path=path, pid=os.getpid(), **times)
        servers.append(Server(listening, answer))
        start.asked = servers[-1].asked
        return way

    yield start
    for server in servers:
        server.close()


def once(*parts):
    def answer(connection, _closing):
        for part in parts:
            connection.sendall(part)

    return answer


def endless(first, more, pause=0.0):
    def answer(connection, closing):
        connection.sendall(first)
        while not closing.wait(pause):
            connection.sendall(more)

    return answer


def test_an_answer_is_told_as_it_is(reach):
    way = reach(once(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nno", b"ne"))
    assert asking.ask(way, "/x?y", "POST", {"Authorization": "Bearer a"}) == (404, b"none", "text/plain")
    (asked,) = reach.asked
    assert asked.startswith(b"POST /x?y HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer a\r\n" in asked


@pytest.mark.parametrize("body", [b"", b"x" * 200_000])
def test_a_body_without_a_length_ends_with_the_connection(reach, body):
    assert asking.ask(reach(once(HEAD + b"\r\n" + body)), "/").body == body


def test_a_body_in_chunks_is_put_together(reach):
    way = reach(once(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"))
    assert asking.ask(way, "/").body == b"abc"


@pytest.mark.parametrize("limit", [199_999, 200_000])
def test_a_body_has_a_size(reach, limit):
    way = reach(once(HEAD + b"Content-Length: 200000\r\n\r\n" + b"x" * 200_000))
    if limit == 200_000:
        assert len(asking.ask(way, "/", limit=limit).body) == limit
    else:
        with pytest.raises(asking.TooMuch, match="the answer has more than 0 MiB"):
            asking.ask(way, "/", limit=limit)


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_answer_has_an_end(reach, kind):
    way = reach(endless(*ENDLESS[kind]), silence=30, whole=0.5)
    with pytest.raises((asking.TooMuch, http.client.HTTPException)):
        asking.ask(way, "/", limit=1 << 20)


@pytest.mark.parametrize("kind", ENDLESS)
def test_who_sends_a_little_now_and_then_is_not_waited_for(reach, kind):
    first, more = ENDLESS[kind]
    way = reach(endless(first, more[:1], pause=0.02), silence=30, whole=0.3)
    with pytest.raises(asking.TooMuch, match="not complete in time"):
        asking.ask(way, "/")


def test_who_is_silent_does_not_answer(reach):
    way = reach(lambda _connection, closing: closing.wait(), silence=0.2, whole=30)
    with pytest.raises(socket.timeout):
        asking.ask(way, "/")


def test_who_is_asked_for_the_status_alone_may_send_what_it_likes(reach):
    assert asking.ask(reach(endless(*ENDLESS["body"])), "/", limit=0) == (200, b"", "text/plain")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", b"no HTTP\r\n\r\n"])
def test_half_an_answer_is_none(reach, answer):
    with pytest.raises((http.client.HTTPException, OSError)):
        asking.ask(reach(once(answer)), "/")


def test_a_socket_that_leads_to_another_one_is_not_asked(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "bus"))
        listening.listen()
        listening.settimeout(0)
        (tmp_path / "admin.sock").symlink_to("bus")
        with pytest.raises(safely.Refused, match="is a link, expected a socket"):
            asking.ask(asking.Way(path=str(tmp_path / "admin.sock")), "/")
        # Not as much as a connection: the other one may be anybody's.
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_server_that_takes_no_more_connections_is_not_waited_for(tmp_path):
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(tmp_path / "admin.sock"))
        listening.listen(0)
        for _number in range(8):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.settimeout(0)
            with contextlib.suppress(OSError):
                waiting.connect(str(tmp_path / "admin.sock"))
        with pytest.raises(OSError):  # noqa: PT011
            asking.ask(asking.Way(path=str(tmp_path / "admin.sock"), silence=0.2), "/")


def test_what_asks_an_application_or_a_proxy_asks_so(reach):
    way = reach(endless(*ENDLESS["body"]))
    if way.port:
        assert gate.ask({"address": way.host, "port": way.port, "path": "/"}) == (200, "")
        assert service.wait_ready(way.host, way.port, 30.0)
