# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application every host of the lab runs behind its sidecar: it answers with the name of its host,
and with its port when that is not the first one.

HTTP/1.1 and HTTP/2 with prior knowledge share its ports; `/slow?t=SECONDS` takes its time. A further port sends back what
it gets. Settings come from /etc/kuma-lab-app.env, so that a test can change them: PORTS (default "18080 18081"), ECHO_PORT
(default 18090) and START_DELAY, seconds before the ports open.
"""

import asyncio
import os
import socket
import struct
import time
import urllib.parse

NAME = socket.gethostname()
FIRST_PORT = 18080
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
ACK = END_STREAM = 1
END_HEADERS, PADDED, PRIORITY = 4, 8, 32


def seconds(target):
    """How long the answer to a request for this path takes."""
    url = urllib.parse.urlsplit(target)
    return float(urllib.parse.parse_qs(url.query).get("t", ["1"])[0]) if url.path == "/slow" else 0.0


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Application(asyncio.Protocol):
    """One connection; its first bytes tell the protocol."""

    def __init__(self, port):
        self.body = (NAME if port == FIRST_PORT else f"{NAME}:{port}").encode() + b"\n"
        self.buffer = b""
        self.read = self.read_first
        self.busy = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        self.read()

    def read_first(self):
        if PREFACE.startswith(self.buffer[: len(PREFACE)]):
            if len(self.buffer) < len(PREFACE):
                return
            import hpack  # only where somebody asks for it: a fleet of these boots at once

            self.buffer = self.buffer[len(PREFACE) :]
            self.decoder, self.streams = hpack.Decoder(), {}
            self.transport.write(frame(SETTINGS, 0, 0))
            self.read = self.read_http2
        else:
            self.read = self.read_http1
        self.read()

    def later(self, target, answer, *arguments):
        pause = seconds(target)
        if pause:
            asyncio.get_running_loop().call_later(pause, answer, *arguments)
        else:
            answer(*arguments)

    # HTTP/1.1: one request at a time, without a body.

    def read_http1(self):
        if self.busy:
            return
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        self.busy, self.buffer = True, rest
        words = head.split(b"\r\n", 1)[0].split(b" ")
        close = b"\r\nconnection: close" in head.lower()
        self.later(words[1].decode(), self.answer_http1, close)

    def answer_http1(self, close):
        self.busy = False
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(self.body), b"Connection: close\r\n" if close else b"", self.body)
        )
        if close:
            self.transport.close()
        elif self.buffer:
            self.read_http1()

    # HTTP/2: enough of it for a proxy that asks. Nothing it sends is long enough for its windows to matter.

    def read_http2(self):
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
            payload, self.buffer = self.buffer[9 : 9 + length], self.buffer[9 + length :]
            self.heard(kind, flags, stream, payload)

    def heard(self, kind, flags, stream, payload):
        if kind in (SETTINGS, PING) and not flags & ACK:
            self.transport.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == HEADERS:
            if flags & PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            if flags & PRIORITY:
                payload = payload[5:]
            self.block, self.ends = payload, flags & END_STREAM
        elif kind == CONTINUATION:
            self.block += payload
        elif kind == RST_STREAM:
            self.streams.pop(stream, None)
        elif kind == DATA and payload:
            increment = struct.pack(">I", len(payload))
            self.transport.write(frame(WINDOW_UPDATE, 0, 0, increment) + frame(WINDOW_UPDATE, 0, stream, increment))
        if kind in (HEADERS, CONTINUATION) and flags & END_HEADERS:
            self.streams.setdefault(stream, dict(self.decoder.decode(self.block)).get(":path", "/"))
        ended = flags & END_STREAM if kind == DATA else kind in (HEADERS, CONTINUATION) and flags & END_HEADERS and self.ends
        if ended and stream in self.streams:
            self.later(self.streams[stream], self.answer_http2, stream)

    def answer_http2(self, stream):
        if self.streams.pop(stream, None) is None or self.transport.is_closing():
            return
        # Indexed ":status: 200" and a literal "content-length", both from the static table.
        size = str(len(self.body)).encode()
        head = b"\x88\x0f\x0d" + bytes([len(size)]) + size
        self.transport.write(frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, END_STREAM, stream, self.body))


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def main():
    loop = asyncio.get_running_loop()
    for port in map(int, os.environ.get("PORTS", "18080 18081").split()):
        await loop.create_server(lambda port=port: Application(port), "127.0.0.1", port, backlog=512)
    await loop.create_server(Echo, "127.0.0.1", int(os.environ.get("ECHO_PORT", "18090")), backlog=512)
    await asyncio.Event().wait()


time.sleep(float(os.environ.get("START_DELAY", "0")))
asyncio.run(main())
