# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP server that answers as a test tells it, on a thread, with the faults that real servers show."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import json
import socket
import ssl
import threading
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CUT = "close the connection without an answer"


class Request:
    def __init__(self, method, target, headers, body):
        self.method = method
        self.target = target
        self.path, _mark, query = target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query))
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)


class Answer:
    def __init__(self, status=200, body=b"", content_type=None, headers=None, declared=None):
        self.status = status
        self.body = body.encode() if isinstance(body, str) else body
        self.headers = dict(headers or {})
        if content_type:
            self.headers["Content-Type"] = content_type
        # More than the body has: a connection that is cut in the middle.
        self.declared = len(self.body) if declared is None else declared


def answer_json(body, status=200, **headers):
    return Answer(status, json.dumps(body), "application/json", headers)


def problem(status, title, detail="", parameters=()):
    body = {"type": "/std-errors", "status": status, "title": title, "detail": detail, "details": detail}
    if parameters:
        body["invalid_parameters"] = [{"field": field, "reason": reason} for field, reason in parameters]
        body["causes"] = [{"field": field, "message": reason} for field, reason in parameters]
    return answer_json(body, status)


class Server:
    """``handler(request)`` gives an Answer or CUT. ``requests`` are those that came, in order."""

    def __init__(self, handler, certificate=None):
        self.handler = handler
        self.requests = []
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20
            # Head and body of an answer leave together: apart, the body waits 40 ms for the acknowledgement of the head.
            wbufsize = -1

            def log_message(self, *args):
                pass

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                request = Request(self.command, self.path, self.headers, self.rfile.read(length))
                with outer.lock:
                    outer.requests.append(request)
                answer = outer.handler(request)
                if answer == CUT:
                    self.close_connection = True
                    with contextlib.suppress(OSError):
                        self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(answer.declared))
                self.end_headers()
                self.wfile.write(answer.body)
                if answer.declared != len(answer.body):
                    self.close_connection = True

            do_GET = do_PUT = do_POST = do_DELETE = handle_any

        class Http(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request, client_address):
                pass  # a client that refuses the certificate is what some tests are about

        self._http = Http(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._http.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def make_certificate(path, names=("127.0.0.1",), days=1):
    """A self-signed certificate with its key in one PEM file at ``path``; ended already when ``days`` is negative."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "control plane of a test")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=10)
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    hosts = []
    for name in names:
        try:
            hosts.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            hosts.append(x509.DNSName(name))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(path)
