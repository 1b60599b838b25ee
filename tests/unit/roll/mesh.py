# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh on a stand-in control plane with proxies that are connected, and a way to it on which things go wrong."""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import socket
import ssl
import threading
import urllib.parse

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from tests.unit.http_server import CUT, Answer, Server

numbers = itertools.count(1)


class Proxy:
    """A kuma-dp as the control plane sees it: one connection, and a report that it is healthy."""

    def __init__(self, address, name, mesh, token, version, dataplane=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.connection = http.client.HTTPSConnection(*address, context=context, timeout=20)
        self.connection.putrequest("POST", "/proxy-stream")
        self.connection.putheader("Transfer-Encoding", "chunked")
        self.connection.endheaders()
        hello = {"mesh": mesh, "name": name, "token": token, "instance": name, "version": {"kumaDp": {"version": version}}}
        if dataplane is not None:
            hello["dataplane"] = json.dumps(dataplane)
        self.send(hello)
        self.answer = self.connection.getresponse()
        first = json.loads(self.answer.readline())
        if not first.get("accepted"):
            self.answer.close()
            self.connection.close()
            raise AssertionError(first)
        self.send({"health": {"ready": True, "probes": {}}})
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        """Answers what the control plane asks of its Envoy, until the stream ends."""
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException, AttributeError):
            for line in self.answer:
                question = json.loads(line).get("admin")
                if question:
                    self.send({"admin": {"id": question["id"], "type": "text/plain", "body": base64.b64encode(b"").decode()}})

    def send(self, message):
        line = json.dumps(message).encode() + b"\n"
        self.connection.sock.sendall(b"%x\r\n%s\r\n" % (len(line), line))

    def close(self, goodbye=True):
        if goodbye:
            self.send({"goodbye": True})
            self.reader.join(20)
        else:
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.connection.close()


class Way:
    """Forwards requests to a control plane, noting them; ``refuse`` maps a method and part of a path to the answer given instead."""

    def __init__(self, url):
        self.target = urllib.parse.urlsplit(url)
        self.down = False
        self.refuse = {}
        self.seen = []
        self.before = lambda request: None
        self.lock = threading.Lock()
        self.own, self.connections = threading.local(), []
        self.server = Server(self.handle)
        self.url = self.server.url

    def handle(self, request):
        with self.lock:
            self.seen.append((request.method, request.target))
        if self.down:
            return CUT
        self.before(request)
        for (method, part), answer in self.refuse.items():
            if request.method == method and part in request.target:
                return answer
        connection = self.connection()
        kept = {name: value for name, value in request.headers.items() if name.lower() in ("authorization", "content-type", "accept")}
        connection.request(request.method, request.target, request.body or None, kept)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), answer.headers.get("Content-Type"))

    def connection(self):
        """One for each connection of a client, which has a thread of its own."""
        if not hasattr(self.own, "connection"):
            self.own.connection = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=20)
            with self.lock:
                self.connections.append(self.own.connection)
        return self.own.connection

    def count(self, method, part):
        with self.lock:
            return sum(method == seen and part in target for seen, target in self.seen)

    def close(self):
        self.server.close()
        for connection in self.connections:
            connection.close()


class Mesh:
    """A mesh of its own with the proxies ``name: service``."""

    def __init__(self, control_plane, services, version="2.14.3"):
        self.control_plane = control_plane
        self.name = f"roll-{next(numbers)}"
        self.admin = Client(control_plane.url, control_plane.token)
        self.way = Way(control_plane.url)
        self.admin.put(f"/meshes/{self.name}", {"type": "Mesh", "name": self.name})
        self.dp = ("127.0.0.1", self.admin.get("/config").body["dpServer"]["port"])
        self.services, self.tokens, self.proxies = dict(services), {}, {}
        self.clients = []
        for name, service in services.items():
            self.register(name, service)
            self.connect(name, version)

    def register(self, name, service, **inbound):
        networking = {"address": f"10.9.0.{next(numbers) % 250 + 1}"}
        if service:
            tags = {"kuma.io/service": service, "kuma.io/protocol": "http"}
            networking["inbound"] = [{"port": 8080, "servicePort": 18080, "serviceAddress": "127.0.0.1", "tags": tags, **inbound}]
        self.admin.put(self.path(name), {"type": "Dataplane", "mesh": self.name, "name": name, "networking": networking})

    def claims(self, name):
        """What the inventory would let a proxy claim."""
        service = self.services.get(name)
        return {"services": [service] if service else [], "workload": ""}

    def path(self, name):
        return f"/meshes/{self.name}/dataplanes/{name}"

    def token(self, name):
        if name not in self.tokens:
            self.tokens[name] = self.admin.post_text("/tokens/dataplane", {"name": name, "mesh": self.name, "validFor": "1h"})
        return self.tokens[name]

    def connect(self, name, version="2.14.3", dataplane=None, token=None):
        self.proxies[name] = Proxy(self.dp, name, self.name, token or self.token(name), version, dataplane)

    def disconnect(self, name, goodbye=True):
        self.proxies.pop(name).close(goodbye)

    def restart(self, name, version="2.14.3"):
        self.disconnect(name)
        self.connect(name, version)

    def client(self, **options):
        """A client over the way that may be cut; it does not wait between its tries."""
        self.clients.append(Client(self.way.url, self.control_plane.token, sleep=lambda seconds: None, **{"retries": 1, **options}))
        return self.clients[-1]

    def get(self, name):
        return self.admin.get(self.path(name)).body

    def inbound(self, name):
        return self.get(name)["networking"]["inbound"][0]

    def serves(self, name):
        inbound = self.inbound(name)
        health = inbound.get("health")
        return inbound.get("state", "Ready") == "Ready" and (health is None or bool(health.get("ready")))

    def write(self, name, **inbound):
        """What an operator does to the inbound of a Dataplane."""
        dataplane = self.get(name)
        dataplane["networking"]["inbound"][0].update(inbound)
        self.admin.put(self.path(name), dataplane)

    def names(self):
        return {item["name"] for item in self.admin.list(f"/meshes/{self.name}/dataplanes")}

    def secrets(self):
        return {item["name"] for item in self.admin.list(f"/meshes/{self.name}/secrets") if item["name"].startswith("meshfleet")}

    def close(self):
        for proxy in self.proxies.values():
            proxy.close()
        for client in [*self.clients, self.admin]:
            client.close()
        self.way.close()


def restarted(*names, **more):
    """What proxy_restart returns when all went well."""
    phases = {"cover": 1.5, "settle": 2.0, "drain": 0.5, "stop": 0.1, "start": 0.3, "ready": 0.5}
    entry = {
        "outcome": "restarted",
        "served_by": "main",
        "connections_cut": 0,
        "phases": phases,
        "version": {"before": "1", "after": "2.14.3"},
    }
    return {"changed": True, "results": [{"name": name, **entry, **more} for name in names]}
