# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of `kuma-dp run`: start, signals, drain, end."""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import shutil
import signal
import tempfile
import time

from .bootstrap import bootstrap, bootstrap_request
from .common import RELEASE, VERSION, log
from .connections import Admin, tls_context
from .dynamic import ConfigFetcher
from .envoy import Envoy
from .inputs import dataplane_text, find_binary, read_token, validate
from .readiness import Readiness
from .signals import listen
from .sockets import Meeting, socket_path
from .stream import Stream

# Of the signals that end it, the names that its log has.
SIGNALS = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupt"}


class Run:
    """`kuma-dp run`."""

    def __init__(self, settings):
        self.settings = settings
        self.events = queue.SimpleQueue()
        self.draining = False
        self.envoy = None
        self.temporary = ""

    def main(self):
        settings = self.settings
        text = dataplane_text(settings)
        validate(settings, text)
        context, pem = tls_context(settings)
        token = read_token(settings)
        shown = {key: value for key, value in settings.items() if key not in ("control_plane_ca_cert",)}
        log("info", "starting Data Plane", version=VERSION, config=shown)
        work_dir = settings["work_dir"] or settings["config_dir"]
        if not work_dir:
            work_dir = self.temporary = tempfile.mkdtemp(prefix="kuma-dp-")
            os.chmod(work_dir, 0o711)  # noqa: S103
        os.makedirs(work_dir, mode=0o711, exist_ok=True)
        envoy_path = find_binary(settings["binary_path"], "envoy")
        listen((*SIGNALS, signal.SIGUSR2), lambda number: self.events.put(("signal" if number in SIGNALS else "drain", number)))

        request = bootstrap_request(settings, work_dir, envoy_path, token, text, pem)
        answer = bootstrap(settings, request, context, self.events)
        if settings["dns_enabled"] and not settings["dns_proxy_port"] and RELEASE < (3,):
            find_binary(settings["dns_coredns_path"], "coredns")
        config = json.loads(base64.b64decode(answer["bootstrap"]))
        path = os.path.join(work_dir, "bootstrap.yaml")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(config, file)
        admin = Admin(config["admin"]["address"])
        # Before 2.14 kuma-dp knows no admin on a unix socket: it takes port 0 for it and cannot drain.
        usable = Admin({}) if admin.pipe and RELEASE < (2, 14) else admin
        ready_path = ""
        if (2, 12) <= RELEASE < (2, 14) and not settings["readiness_unix_socket_disabled"]:
            ready_path = socket_path(settings["dataplane_runtime_socket_dir"] or work_dir, "kuma-readiness-reporter")
        self.meeting = Meeting(work_dir, answer["name"], answer["mesh"])
        self.meeting.make()
        self.envoy = Envoy(settings, envoy_path, path, ended=lambda status: self.events.put(("envoy", status)))
        readiness = Readiness(admin, settings["readiness_port"], ready_path, relay=RELEASE >= (2, 14))
        ConfigFetcher(work_dir).start()
        hello = {
            "mesh": answer["mesh"],
            "name": answer["name"],
            "token": token,
            "instance": request["instance"],
            "dataplane": text,
            "version": request["version"],
            "features": request["features"],
            "workDir": work_dir,
            "adminPort": answer["adminPort"],
            "adminSocket": admin.pipe,
            "readiness": {"path": ready_path} if ready_path else {"port": settings["readiness_port"]},
            "tokenPath": config["node"]["metadata"].get("token", {}).get("filename", ""),
        }
        self.stream = Stream(settings, context, hello, admin, alive=self.envoy.alive)
        self.stream.start()
        try:
            return self.supervise(readiness, usable)
        finally:
            log("info", "stopping all Kuma DP components")
            self.stream.stopping.set()
            self.envoy.stop()
            self.stream.goodbye()
            if self.temporary:
                shutil.rmtree(self.temporary, ignore_errors=True)
            log("info", "stopping Kuma DP")

    def supervise(self, readiness, admin):
        """Until a signal or the end of Envoy; returns the exit code."""
        while True:
            event, detail = self.events.get()
            if event == "envoy":
                log("error", "Envoy terminated with an error", logger="kuma-dp.run.envoy", status=detail)
                return 1
            if event == "drain":
                # Once is enough, and whoever reads the line can be sure that a later SIGTERM does not overtake the request.
                if not self.draining:
                    log("info", "draining Envoy connections")
                    self.post(admin, "/drain_listeners?inboundonly&graceful&skip_exit")
                self.draining = True
                continue
            log("info", "received signal, stopping instance gracefully", logger="runtime", signal=SIGNALS[detail])
            log("info", "Kuma DP caught an exit signal")
            if self.draining:
                log("info", "already drained, exit immediately")
            else:
                readiness.terminating = True
                log("info", "draining Envoy connections")
                if self.post(admin, "/healthcheck/fail"):
                    self.drain()
            signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
            signal.signal(signal.SIGINT, lambda *_: os._exit(1))
            return 0

    def drain(self):
        """The whole drain time; only a second signal or the end of Envoy cuts it."""
        log("info", "waiting for connections to be drained", waitTime="%gs" % self.settings["drain_time"])
        deadline = time.monotonic() + self.settings["drain_time"]
        while True:
            try:
                event, detail = self.events.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                return
            if event == "signal":
                log("info", "received second signal, stopping instance", logger="runtime", signal=SIGNALS[detail])
            if event in ("signal", "envoy"):
                return

    @staticmethod
    def post(admin, path):
        try:
            if not admin.pipe and not admin.port:
                raise OSError("dial tcp 127.0.0.1:0: connection refused")
            status, _kind, _body = admin.call("POST", path, 10)
            if status == 200:
                return True
            log("error", "could not drain connections", path=path, status=status)
        except (OSError, http.client.HTTPException) as error:
            log("error", "could not drain connections", path=path, error=str(error))
        return False
