# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application every host of the lab runs behind its sidecar: it answers with the name of its host,
and with its port when that is not the first one.

`/slow?t=SECONDS` takes its time. Settings come from /etc/kuma-lab-app.env, so that a test can change them:
PORTS (default "18080 18081") and START_DELAY, seconds before the ports open.
"""

import http.server
import os
import socket
import socketserver
import threading
import time
import urllib.parse

NAME = socket.gethostname()
FIRST_PORT = 18080


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/slow":
            time.sleep(float(urllib.parse.parse_qs(url.query).get("t", ["1"])[0]))
        port = self.server.server_port
        body = (NAME if port == FIRST_PORT else f"{NAME}:{port}").encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def server_bind(self):
        # The base class asks the name service for the name of the address, and there is none here.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


time.sleep(float(os.environ.get("START_DELAY", "0")))
servers = [Server(("127.0.0.1", int(port)), Handler) for port in os.environ.get("PORTS", "18080 18081").split()]
for server in servers:
    threading.Thread(target=server.serve_forever).start()
