# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stream to the control plane."""

from __future__ import annotations

import base64
import http.client
import json
import random
import socket
import threading
import time

from .common import log, log_as_envoy
from .connections import connect, words_of_envoy

RETRY_BASE = 0.5
RETRY_LIMIT = 30.0


class Refused(Exception):
    """The control plane does not take this proxy, with its reason."""


class Backoff:
    """How long Envoy waits before it tries again: any time below a limit that doubles with every failure."""

    def __init__(self, fraction=random.random):
        self.fraction = fraction
        self.reset()

    def reset(self):
        """The stream was accepted: the next attempt after its end comes soon."""
        self.limit = RETRY_BASE

    def following(self):
        """Seconds until the next attempt."""
        wait = self.fraction() * self.limit
        self.limit = min(self.limit * 2, RETRY_LIMIT)
        return wait


class Stream:
    """The connection to the control plane: says who the proxy is, reports health, answers admin questions."""

    def __init__(self, settings, context, hello, admin, alive):
        self.settings, self.context, self.hello, self.admin, self.alive = settings, context, hello, admin, alive
        self.probes = []
        # Seconds, until the control plane says others. The first look must not wait for what it is then told.
        self.intervals = {"check": 0.1, "report": 5.0}
        self.results = {}
        self.counters = {}
        self.lock = threading.Lock()
        self.socket = None
        self.connected = threading.Event()
        self.stopping = threading.Event()
        self.backoff = Backoff()
        self.reported = None
        self.report_at = 0.0

    def start(self):
        for target in (self.keep, self.check):
            threading.Thread(target=target, daemon=True).start()

    def keep(self):
        while not self.stopping.is_set():
            try:
                self.run_once()
            except Refused as error:
                self.closed(2, "%s{via_upstream}" % error)
            except (OSError, ValueError, http.client.HTTPException) as error:
                accepted = self.connected.is_set()
                self.closed(13 if accepted else 14, words_of_envoy(error, accepted))
            self.connected.clear()
            self.stopping.wait(self.backoff.following())

    @staticmethod
    def closed(code, why):
        """Envoy says it of both of its streams. That nobody is there it says of this one after half a minute alone."""
        if code != 14:
            log_as_envoy("warning", "config", "StreamAggregatedResources gRPC config stream to ads_cluster closed: %d, %s" % (code, why))
        log_as_envoy("warning", "upstream", "StreamHealthCheck gRPC config stream closed: %d, %s" % (code, why))

    def send(self, message):
        line = json.dumps(message).encode() + b"\n"
        with self.lock:
            self.socket.sendall(b"%x\r\n%s\r\n" % (len(line), line))

    def token(self):
        """The one that it was started with; told to, what is in its file now."""
        if not self.hello.get("tokenPath"):
            return self.hello["token"]
        with open(self.hello["tokenPath"], encoding="utf-8") as file:
            token = file.read()
        if token != token.strip():
            raise ValueError("a line break in the metadata of a call")
        return token

    def run_once(self):
        connection = connect(self.settings["cp_address"], self.context, 20)
        try:
            connection.putrequest("POST", "/proxy-stream")
            connection.putheader("Content-Type", "application/x-ndjson")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            self.socket = connection.sock
            self.send({**self.hello, "token": self.token()})
            answer = connection.getresponse()
            if answer.status != 200:
                raise ValueError("status %d" % answer.status)
            self.socket.settimeout(None)
            while True:
                line = answer.readline()
                if not line:
                    raise ValueError("the control plane closed the stream")
                self.heard(json.loads(line))
        finally:
            connection.close()

    def heard(self, message):
        if "refused" in message:
            raise Refused(message["refused"])
        if message.get("accepted"):
            self.intervals = message["intervals"]
            self.report_at = time.monotonic() + self.intervals["report"]
            self.reported = None
            self.backoff.reset()
            self.connected.set()
        if "probes" in message:
            self.probes = message["probes"]
        if "admin" in message:
            threading.Thread(target=self.answer, args=(message["admin"],), daemon=True).start()

    def answer(self, question):
        try:
            _status, kind, body = self.admin.call("GET", question["path"], 10)
        except (OSError, http.client.HTTPException) as error:
            kind, body = "text/plain", str(error).encode()
        try:
            self.send({"admin": {"id": question["id"], "type": kind, "body": base64.b64encode(body).decode()}})
        except OSError as error:
            log("warn", "could not answer the control plane", error=str(error))

    def check(self):
        """The way Envoy does it for the control plane's health discovery, which says how often to check and to report."""
        while not self.stopping.wait(self.intervals["check"]):
            ready = self.admin.ready()[0] == 200
            for probe in list(self.probes):
                self.try_probe(probe)
            if not self.connected.is_set():
                continue
            # A proxy that starts to fail is told at once.
            failed = self.reported is True and not ready
            if time.monotonic() < self.report_at and not failed:
                continue
            # It is Envoy that reports: once it is gone, nobody does.
            if not self.alive() or self.stopping.is_set():
                continue
            self.report_at = time.monotonic() + self.intervals["report"]
            try:
                self.send({"health": {"ready": ready, "probes": dict(self.results)}})
                self.reported = ready
            except OSError as error:
                log("warn", "could not report health", error=str(error))

    def try_probe(self, probe):
        key = "%s:%d" % (probe["address"], probe["port"])
        try:
            socket.create_connection((probe["address"], probe["port"]), timeout=probe["timeout"]).close()
            good = True
        except OSError:
            good = False
        before = self.results.get(key)
        same, count = self.counters.get(key, (good, 0))
        count = count + 1 if same == good else 1
        self.counters[key] = (good, count)
        if before is None or count >= probe["healthyThreshold" if good else "unhealthyThreshold"]:
            self.results[key] = good

    def goodbye(self):
        if self.connected.is_set():
            try:
                self.send({"goodbye": True})
            except OSError as error:
                log("warn", "could not close the stream", error=str(error))
