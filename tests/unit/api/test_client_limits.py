# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that would be waited for without end, and answers without end: each request has a time and each answer a size."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import zlib

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import body
from ansible_collections.meshfleet.kuma.plugins.module_utils._api import client as api_client
from tests.unit.api.failures import OK, TOKEN, failure
from tests.unit.http_server import Answer, answer_json
from tests.unit.sockets import read_request, sign

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
# Each read gets a byte long before it is over.
SECONDS = 0.5


SLOW = {
    "the head": (b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n"),
    "the first line": (b"H", b"T"),
    "a line of the head": (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"1"),
    "a body of known length": (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "a body of unknown length": (HEAD + b"Connection: close\r\n\r\n", b" "),
    "a body in chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "the size of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "an error": (b"HTTP/1.1 500 Oops\r\nContent-Length: 100000\r\n\r\n", b" "),
    "a redirect": (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 100000\r\n\r\n", b" "),
}


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("texts", SLOW.values(), ids=list(SLOW))
def test_an_answer_that_trickles_is_given_up(raw, connect, tmp_path, texts, secure):
    def talk(opened):
        read_request(opened)
        server.trickle(opened, *texts)

    own = sign("cp", ca=True, names=["127.0.0.1"])
    (tmp_path / "ca.pem").write_text(own.pem)
    server = raw(talk, context=own.context(tmp_path) if secure else None)
    url = f"http{'s' if secure else ''}://127.0.0.1:{server.port}"
    client = connect(url, token=TOKEN, ca_path=str(tmp_path / "ca.pem"), timeout=SECONDS, retries=3)
    error = failure(client.get, "/x")
    assert (error.kind, client.requests) == ("timeout", 1), error
    assert f"no complete answer within {SECONDS:g} s" in str(error)
    assert server.ended.acquire(timeout=20), "the connection is not kept for another request"


def test_a_request_that_nobody_takes_is_given_up(raw, connect):
    server = raw(lambda opened: server.stopping.wait(30))
    error = failure(connect(f"http://127.0.0.1:{server.port}", timeout=SECONDS, retries=3).put, "/x", {"a": "a" * (32 << 20)})
    assert (error.kind, server.connections) == ("timeout", 1)


def test_a_request_that_is_taken_slowly_is_given_up(raw, connect):
    def talk(opened):
        while not server.stopping.wait(0.02) and opened.recv(1):
            pass

    server = raw(talk)
    error = failure(connect(f"http://127.0.0.1:{server.port}", timeout=SECONDS, retries=3).put, "/x", {"a": "a" * (32 << 20)})
    assert (error.kind, server.connections) == ("timeout", 1)


@pytest.mark.parametrize("text", [b"", b"\x16\x03\x03\x40\x00\x02"], ids=["silent", "trickling"])
def test_a_server_that_does_not_begin_tls_is_given_up(raw, connect, text):
    def talk(opened):
        if text:
            server.trickle(opened, text, b"\x00")
        server.stopping.wait(30)

    server = raw(talk)
    error = failure(connect(f"https://127.0.0.1:{server.port}", connect_timeout=SECONDS, timeout=20, retries=3).get, "/x")
    assert (error.kind, server.connections) == ("timeout", 1)
    assert f"no secure connection within {SECONDS:g} s" in str(error)


def test_an_address_that_takes_no_connection_is_given_up(raw, connect):
    server = raw(None, backlog=0)
    with socket.socket() as waiting:
        # These fill the queue, so that the next one gets no answer at all.
        waiting.connect(("127.0.0.1", server.port))
        client = connect(f"http://127.0.0.1:{server.port}", connect_timeout=SECONDS, timeout=20, retries=1)
        fillers = [socket.socket() for _each in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", server.port))
        error = failure(client.get, "/x")
        for filler in fillers:
            filler.close()
    assert (error.kind, client.requests) == ("connection", 2)
    assert f"no connection within {SECONDS:g} s" in str(error)


def test_a_resolver_that_does_not_answer_is_given_up(connect, monkeypatch):
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: answered.wait(30))
    client = connect("http://kuma.example.com:5681", connect_timeout=SECONDS, timeout=20, retries=0)
    error = failure(client.get, "/x")
    answered.set()
    assert error.kind == "connection"
    assert f"no connection within {SECONDS:g} s" in str(error)


def test_a_proxy_of_the_environment_that_trickles_is_given_up(raw, connect, monkeypatch):
    def talk(opened):
        read_request(opened)
        server.trickle(opened, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"1")

    server = raw(talk)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
    client = connect("https://kuma.example.com:5682", token=TOKEN, timeout=SECONDS, retries=3)
    error = failure(client.get, "/x")
    assert (error.kind, client.requests) == ("timeout", 1)


def test_connections_are_kept_when_an_answer_was_read_to_its_end(raw, connect):
    def talk(opened):
        for _each in range(20):
            read_request(opened)
            opened.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    server = raw(talk)
    client = connect(f"http://127.0.0.1:{server.port}")
    assert [client.get("/x").body for _each in range(20)] == [{}] * 20
    assert server.connections == 1


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(body, "LARGEST", 1 << 20)


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_an_answer_without_end_is_cut(raw, connect, tmp_path, small, secure):
    sent = []

    def talk(opened):
        read_request(opened)
        opened.sendall(HEAD + b"Connection: close\r\n\r\n")
        while True:
            opened.sendall(b" " * (1 << 18))
            sent.append(1)

    own = sign("cp", ca=True, names=["127.0.0.1"])
    (tmp_path / "ca.pem").write_text(own.pem)
    server = raw(talk, context=own.context(tmp_path) if secure else None)
    client = connect(f"http{'s' if secure else ''}://127.0.0.1:{server.port}", ca_path=str(tmp_path / "ca.pem"), retries=3)
    error = failure(client.get, "/x")
    assert (error.kind, error.status, client.requests) == ("protocol", None, 1)
    assert "an answer of more than 1 MiB" in str(error)
    assert server.ended.acquire(timeout=20), "nothing more is read, and the connection is closed"
    assert len(sent) < 400


def packed(data, encoding):
    return gzip.compress(data) if "gzip" in encoding else zlib.compress(data)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP"])
def test_an_answer_that_grows_when_it_is_unpacked_is_cut(serve, connect, small, encoding):
    bomb = packed(b" " * (64 << 20), encoding.lower())
    assert len(bomb) < 1 << 18
    url = serve(Answer(200, bomb, "application/json", {"Content-Encoding": encoding})).url
    assert "more than 1 MiB" in str(failure(connect(url).get, "/x"))


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "deflate"])
def test_an_answer_may_be_packed_although_nobody_asks_for_it(serve, connect, encoding):
    text = json.dumps({"a": list(range(100000))}).encode()
    data = packed(text, encoding) if encoding in ("gzip", "deflate") else text
    server = serve(Answer(200, data, "application/json", {"Content-Encoding": encoding}))
    assert connect(server.url).get("/x").body == {"a": list(range(100000))}
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("encoding", "data", "reason"),
    [
        ("br", b"anything", "encoded as 'br'"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}")), "encoded as 'gzip, gzip'"),
        ("gzip", b"{}", "it is no gzip"),
        ("gzip", gzip.compress(b"{}")[:-4], "not complete"),
    ],
    ids=["br", "twice", "plain", "cut"],
)
def test_an_encoding_that_nobody_asked_for_is_an_error(serve, connect, encoding, data, reason):
    error = failure(connect(serve(Answer(200, data, "application/json", {"Content-Encoding": encoding})).url).get, "/x")
    assert error.kind == "protocol"
    assert reason in str(error)


@pytest.mark.parametrize("status", [302, 401, 500])
def test_of_an_error_without_end_the_beginning_is_read(raw, connect, status):
    def talk(opened):
        read_request(opened)
        opened.sendall(b"HTTP/1.1 %d Oops\r\nLocation: /elsewhere\r\nContent-Type: text/plain\r\n\r\nthis is it" % status)
        while True:
            opened.sendall(b"\n" * (1 << 18))

    server = raw(talk)
    client = connect(f"http://127.0.0.1:{server.port}", retries=3)
    error = failure(client.get, "/x")
    assert (error.status, client.requests, server.connections) == (status, 1, 1)
    assert ("this is it" in str(error)) is (status != 302)
    assert server.ended.acquire(timeout=20)


def test_an_error_that_grows_when_it_is_unpacked_is_cut(serve, connect):
    bomb = gzip.compress(b"this is it" + b"\n" * (64 << 20))
    url = serve(Answer(500, bomb, "text/plain", {"Content-Encoding": "gzip"})).url
    error = failure(connect(url).get, "/x")
    assert (error.status, error.title) == (500, "this is it")


@pytest.mark.parametrize("text", ["[" * 100000, "[" * 100000 + "]" * 100000, '{"a":' * 100000 + "1" + "}" * 100000, "[" * 200 + "]" * 200])
def test_an_answer_that_is_nested_too_deep_is_an_error(serve, connect, text):
    client = connect(serve(Answer(200, text, "application/json"), Answer(400, text, "application/json")).url)
    error = failure(client.get, "/x")
    assert error.kind == "protocol"
    assert "nested too deep" in str(error)
    assert failure(client.get, "/x").status == 400


def test_a_list_without_end_is_an_error(serve, connect, monkeypatch):
    monkeypatch.setattr(api_client, "LONGEST_LIST", 1000)

    def page(request):
        offset = int(request.query.get("offset", 0))
        items = [{"type": "Dataplane", "mesh": "m", "name": str(offset + number)} for number in range(100)]
        return answer_json({"total": 5, "items": items, "next": "more"})

    server = serve(page)
    error = failure(connect(server.url).list, "/dataplanes")
    assert error.kind == "protocol"
    assert len(server.requests) == 12


@pytest.mark.parametrize("page", [{"total": "x", "items": []}, {"total": 1, "items": ["a"]}, {"total": 1, "items": {}}, {"items": []}])
def test_a_page_of_something_else_is_an_error(serve, connect, page):
    assert failure(connect(serve(answer_json(page)).url).list, "/dataplanes").kind == "protocol"


def test_somebody_whom_nobody_knows_shows_no_token(serve, connect):
    server = serve(OK)
    client = connect(server.url, token=TOKEN)
    assert client.as_anybody("/who-am-i") == {"ok": True}
    assert server.requests[0].headers["Authorization"] is None
    assert client.requests == 1
