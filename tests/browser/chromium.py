# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium, driven by its DevTools protocol over a pipe."""

from __future__ import annotations

import base64
import json
import queue
import shutil
import struct
import subprocess
import threading
import zlib

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_PATIENCE = 120  # seconds without an answer until something is wrong


class Chromium:
    """The browser. ``work_dir`` is an empty directory for its profile and its log."""

    def __init__(self, work_dir):
        program = shutil.which("chromium")
        assert program, "chromium is not installed: run tests/gate/setup.sh browser"
        self.log = work_dir / "log"
        # The protocol is spoken on the descriptors 3 and 4.
        command = ["sh", "-c", 'exec "$@" 3<&0 4>&1 0</dev/null 1>&2', "sh", program, *_FLAGS, f"--user-data-dir={work_dir / 'profile'}"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self.calls, self.messages = 0, queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        left = b""
        while chunk := self.process.stdout.read1(65536):
            *whole, left = (left + chunk).split(b"\0")
            for message in whole:
                self.messages.put(json.loads(message))
        self.messages.put(None)

    def receive(self):
        try:
            message = self.messages.get(timeout=_PATIENCE)
        except queue.Empty:
            message = None
        assert message is not None, f"chromium does not answer:\n{self.log.read_text()}"
        return message

    def send(self, method, session=None, **parameters):
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        self.process.stdin.write(json.dumps(message).encode() + b"\0")
        self.process.stdin.flush()
        return self.calls

    def call(self, method, session=None, events=None, **parameters):
        """The result of ``method``. Events that come before it are appended to ``events``."""
        number = self.send(method, session, **parameters)
        while True:
            message = self.receive()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            if events is not None and message.get("sessionId") == session and "method" in message:
                events.append(message)

    def close(self):
        self.send("Browser.close")
        self.process.wait(timeout=_PATIENCE)
        self.process.stdin.close()
        self.process.stdout.close()


class Page:
    """One file as a browser of this size shows it; ``events`` is what happened since it was opened."""

    def __init__(self, browser, path, width=1280, height=900, dark=False, media="screen"):
        self.browser, self.width, self.height, self.events = browser, width, height, []
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.events.clear()
        self.url = path.as_uri()
        self.call("Page.navigate", url=self.url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            message = browser.receive()
            if message.get("sessionId") == self.session:
                self.events.append(message)

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, self.events, **parameters)

    def evaluate(self, expression):
        """The value of a JavaScript expression, as JSON would tell it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def complaints(self):
        """What a developer would see in the console."""
        noisy = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [event["params"] for event in self.events if event["method"] in noisy]

    def requests(self):
        """What was asked for beside the page itself."""
        urls = [event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if url != self.url]

    def pixels(self, x, y, width, height):
        """Rows of (red, green, blue) of a part of the document."""
        clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return decode_png(base64.b64decode(shot["data"]))

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)


def decode_png(data):
    """Rows of (red, green, blue) of a PNG of 8 bits a channel that is not interlaced, as Chromium writes it."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, depth, kind, _compression, _filter, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    assert (depth, interlaced) == (8, 0)
    size = {2: 3, 6: 4}[kind]
    packed, place = b"", 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            packed += data[place + 8 : place + 8 + length]
        place += length + 12
    raw, stride = zlib.decompress(packed), width * size
    above, rows = bytearray(stride), []
    for number in range(height):
        begin = number * (stride + 1)
        line = bytearray(raw[begin + 1 : begin + 1 + stride])
        _unfilter(raw[begin], line, above, size)
        rows.append([tuple(line[at : at + 3]) for at in range(0, stride, size)])
        above = line
    return rows


def _unfilter(kind, line, above, size):
    for at in range(len(line)):
        left = line[at - size] if at >= size else 0
        corner = above[at - size] if at >= size else 0
        up = above[at]
        if kind == 4:
            guess = left + up - corner
            line[at] = (line[at] + min((left, up, corner), key=lambda value: abs(guess - value))) & 255
        else:
            line[at] = (line[at] + (0, left, up, (left + up) // 2)[kind]) & 255
