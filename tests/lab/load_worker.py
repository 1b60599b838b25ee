# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Strict clients that run on a host of the lab, with what is installed there. See load.py for what they are for.

Reads one line of JSON, a list of profiles, says "started" and sends until another line or the end of its input comes; then
prints the results as one line of JSON. Nothing is ever tried twice.
"""

import asyncio
import collections
import contextlib
import itertools
import json
import resource
import struct
import sys
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ACK = END_STREAM = 1
END_HEADERS, PADDED, PRIORITY = 4, 8, 32
WINDOW = 1 << 30


class Failed(Exception):
    """A request without a proper answer, with the reason."""


class Connection(asyncio.Protocol):
    """A connection to the sidecar. `usable` turns false as soon as no further request may be sent on it.

    `cut` is when the other side ended it while nothing was asked, epoch seconds.
    """

    def __init__(self):
        self.transport, self.buffer, self.waiting = None, b"", {}
        self.usable = self.closed = False
        self.cut = None

    def connection_made(self, transport):
        self.transport, self.usable = transport, True
        self.local_port = transport.get_extra_info("sockname")[1]
        self.greet()

    def greet(self):
        pass

    def fail(self, key, reason):
        future = self.waiting.pop(key, None)
        if future is not None and not future.done():
            future.set_exception(Failed(reason))

    def eof_received(self):
        self.usable = False  # and connection_lost follows

    def connection_lost(self, exc):
        self.usable = False
        if not self.waiting and not self.closed:
            self.cut = time.time()
        for key in list(self.waiting):
            self.fail(key, f"connection lost: {exc or 'closed by the other side'}")

    def answer(self, key, status, body):
        future = self.waiting.pop(key, None)
        if future is None or future.done():
            return
        text = body.decode(errors="replace").strip()
        if 200 <= status < 300:
            future.set_result(text)
        else:
            future.set_exception(Failed(f"{status} {text[:140]}".strip()))

    def close(self):
        self.usable, self.closed = False, True
        self.transport.close()


class Http1(Connection):
    def send(self, path):
        self.waiting[0] = future = asyncio.get_running_loop().create_future()
        self.transport.write(b"GET %s HTTP/1.1\r\nHost: service\r\n\r\n" % path.encode())
        return future

    def data_received(self, data):
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        if "chunked" in fields.get("transfer-encoding", ""):
            if not body.endswith(b"0\r\n\r\n"):
                return
        elif len(body) < int(fields.get("content-length", "0")):
            return
        self.buffer = b""
        if fields.get("connection") == "close":
            self.close()
        self.answer(0, int(lines[0].split(" ")[1]), body)


class Http2(Connection):
    """With prior knowledge. What the other side refuses with GOAWAY counts as failed, although one might send it again."""

    def greet(self):
        import hpack

        self.decoder, self.numbers, self.answers, self.going = hpack.Decoder(), itertools.count(1, 2), {}, False
        window = struct.pack(">HI", 4, WINDOW)
        self.transport.write(PREFACE + self.frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 0) + window))
        self.transport.write(self.frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW)))

    @staticmethod
    def frame(kind, flags, stream, payload=b""):
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    def send(self, path):
        stream = next(self.numbers)
        self.waiting[stream] = future = asyncio.get_running_loop().create_future()
        # GET and http from the static table, then path and authority as literals; none is longer than 126 octets.
        head = b"\x82\x86" + b"".join(
            index + bytes([len(text)]) + text for index, text in ((b"\x04", path.encode()), (b"\x01", b"service"))
        )
        self.transport.write(self.frame(HEADERS, END_STREAM | END_HEADERS, stream, head))
        return future

    def data_received(self, data):
        self.buffer += data
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
            payload, self.buffer = self.buffer[9 : 9 + length], self.buffer[9 + length :]
            self.heard(kind, flags, stream, payload)
        if self.going and not self.waiting:
            self.close()

    def heard(self, kind, flags, stream, payload):
        if kind in (SETTINGS, PING) and not flags & ACK:
            self.transport.write(self.frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == GOAWAY:
            self.usable, self.going = False, True
            last = int.from_bytes(payload[:4], "big")
            for refused in [number for number in self.waiting if number > last]:
                self.fail(refused, f"refused by GOAWAY, code {int.from_bytes(payload[4:8], 'big')}")
        elif kind == RST_STREAM:
            self.fail(stream, f"stream reset, code {int.from_bytes(payload, 'big')}")
        elif kind in (HEADERS, CONTINUATION, DATA):
            answer = self.answers.setdefault(stream, {"block": b"", "status": 0, "body": b"", "ends": False})
            if kind != CONTINUATION and flags & PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            if kind == HEADERS and flags & PRIORITY:
                payload = payload[5:]
            answer["body" if kind == DATA else "block"] += payload
            answer["ends"] |= kind != CONTINUATION and bool(flags & END_STREAM)
            if kind != DATA and flags & END_HEADERS:
                answer["status"] = int(dict(self.decoder.decode(answer["block"])).get(":status", answer["status"]))
                answer["block"] = b""
            if answer["ends"] and (kind == DATA or flags & END_HEADERS):
                self.answer(stream, answer["status"], answer["body"])
                del self.answers[stream]


class Echo(Connection):
    """Lines that come back. The request is the line."""

    def send(self, path):
        self.waiting[0] = future = asyncio.get_running_loop().create_future()
        self.expected = path.encode() + b"\n"
        self.transport.write(self.expected)
        return future

    def data_received(self, data):
        self.buffer += data
        if len(self.buffer) >= len(self.expected):
            same, self.buffer = self.buffer == self.expected, b""
            self.answer(0, 200 if same else 500, b"echo")


class Client:
    """Opens its only connection when it is needed, and another when that may not be used any more."""

    def __init__(self, profile, stop):
        self.profile, self.stop, self.current = profile, stop, None
        self.opening = asyncio.Lock()
        # Only HTTP/2 can ask again before it has the answer.
        self.turn = contextlib.nullcontext() if profile.protocol is Http2 else asyncio.Lock()

    async def connection(self):
        async with self.opening:
            if self.current is None or not self.current.usable:
                self.drop()  # answers that are still to come on it do come
                self.profile.opened += 1
                loop, port = asyncio.get_running_loop(), self.profile.given["port"]
                _transport, self.current = await loop.create_connection(self.profile.protocol, "127.0.0.1", port)
            return self.current

    async def ask(self):
        due = time.time()
        async with self.turn:
            if self.stop.is_set():
                return
            began, connection = time.time(), None
            try:
                async with asyncio.timeout(self.profile.given["timeout"]):
                    connection = await self.connection()
                    if not connection.usable:
                        raise Failed("connection lost: closed as soon as it was open")
                    self.profile.answers[await connection.send(self.profile.given["path"])] += 1
            except (Failed, OSError) as error:  # a TimeoutError is one as well
                reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or repr(error)
                self.profile.failures.append([began, time.time() - began, reason, connection.local_port if connection else 0])
                if connection is not None and not isinstance(connection, Http2):
                    connection.close()
        self.profile.latencies.append(time.time() - due)

    def drop(self):
        dropped, self.current = self.current, None
        if dropped is not None and dropped.cut is not None and self.profile.protocol is Echo:
            # The others are told, or expect it; a conversation that breaks off is lost.
            self.profile.failures.append([dropped.cut, 0.0, "connection cut", dropped.local_port])
        return dropped

    def close(self):
        dropped = self.drop()
        if dropped is not None:
            dropped.close()


class Profile:
    """Sends `rate` requests a second by `connections` clients, or each by a client of its own when that is 0."""

    def __init__(self, given):
        self.given = given
        self.protocol = {"http2": Http2, "tcp": Echo}.get(given["kind"], Http1)
        self.answers, self.failures, self.latencies = collections.Counter(), [], []
        self.opened, self.late, self.held, self.under_way = 0, 0.0, 0, 0
        self.began = self.ended = time.time()

    async def run(self, stop):
        self.began = time.time()
        clients = [Client(self, stop) for _number in range(self.given["connections"])]
        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(clients):
                group.create_task(self.send(group, stop, number / self.given["rate"], len(clients), client.ask))
            if not clients:
                group.create_task(self.send(group, stop, 0.0, 1, lambda: self.ask_once(stop)))
        for client in clients:
            client.close()

    async def ask_once(self, stop):
        client = Client(self, stop)
        await client.ask()
        client.close()

    async def send(self, group, stop, offset, share, ask):
        """Every request when its time has come, whatever became of those before it.

        A machine that is too slow for its own clients would heap requests up until the sidecar refuses some, which says nothing about the sidecar:
        what comes due meanwhile is held back and counted. In a gap that matters those under way fail, or are answered late.
        """
        start = time.monotonic() + offset
        for number in itertools.count():
            pause = start + number * share / self.given["rate"] - time.monotonic()
            self.late = max(self.late, -pause)
            if pause > 0:
                await asyncio.sleep(pause)
            if stop.is_set():
                self.ended = time.time()
                return
            if self.under_way >= self.given["most"]:
                self.held += 1
                continue
            self.under_way += 1
            group.create_task(self.watched(ask))

    async def watched(self, ask):
        try:
            await ask()
        finally:
            self.under_way -= 1

    def result(self):
        return {
            "answers": self.answers,
            "failures": self.failures,
            "latencies": sorted(self.latencies),
            "seconds": self.ended - self.began,
            "opened": self.opened,
            "late": self.late,
            "held": self.held,
        }


async def main():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    profiles = [Profile(given) for given in json.loads(sys.stdin.readline())]
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def wait_for_the_end():
        sys.stdin.readline()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    running = [asyncio.ensure_future(profile.run(stop)) for profile in profiles]
    while not all(len(profile.latencies) > profile.given["connections"] for profile in profiles) and not stop.is_set():
        await asyncio.sleep(0.02)
    print("started", flush=True)
    await asyncio.gather(*running)
    print(json.dumps({profile.given["name"]: profile.result() for profile in profiles}))


asyncio.run(main())
