# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What whoever watches the process or waits for it asks."""

from __future__ import annotations

import http.client
import http.server
import os
import socket
import socketserver
import threading
import time
import urllib.parse

from .common import RELEASE, Fatal, log
from .connections import UnixConnection
from .settings import Parser, duration


class Readiness:
    """Answers /ready for whoever watches this process."""

    def __init__(self, admin, port, path, relay):
        self.terminating = False
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = (200, b"READY\n") if not relay else (0, b"")
                if outer.terminating:
                    status, body = 503, b"TERMINATING\n"
                elif self.path != "/ready":
                    status, body = 404, b""
                elif relay:
                    status, body = admin.ready()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self):
                return "-"

            def log_message(self, *_arguments):
                pass

        class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
            daemon_threads = True
            allow_reuse_address = True
            address_family = socket.AF_UNIX if path else socket.AF_INET

        if path and os.path.exists(path):
            os.unlink(path)
        try:
            self.server = Server(path or ("127.0.0.1", port), Handler)
        except OSError as error:
            raise Fatal("failed to run readiness reporter on %s: %s" % (path or port, error)) from None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def wait_ready(arguments):
    """`kuma-dp wait`: polls until 200."""
    parser = Parser(prog="kuma-dp wait", allow_abbrev=False)
    for flag, default in (
        ("url", "http://localhost:9901/ready"),
        ("timeout", "180s"),
        ("check-frequency", "1s"),
        ("request-timeout", "500ms"),
    ):
        parser.add_argument("--" + flag, default=default)
    if RELEASE >= (2, 14):
        parser.add_argument("--unix-socket", default="")
    given = parser.parse_args(arguments)
    try:
        limit, pause, timeout = (duration(text) for text in (given.timeout, given.check_frequency, given.request_timeout))
    except ValueError as error:
        raise Fatal(str(error)) from None
    parts = urllib.parse.urlsplit(given.url)
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        unix = getattr(given, "unix_socket", "")
        connection = (
            UnixConnection(unix, timeout) if unix else http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)
        )
        try:
            connection.request("GET", parts.path or "/")
            if connection.getresponse().status == 200:
                log("info", "Envoy is ready!")
                return 0
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(pause)
    raise Fatal("timeout occurred while waiting for Envoy to be ready")
