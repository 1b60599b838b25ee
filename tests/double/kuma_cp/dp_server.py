# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dp-server: bootstrap, the stream of each kuma-dp, and discovery for Envoy over REST."""

from __future__ import annotations

import asyncio
import base64
import fnmatch
import ipaddress
import json
import logging
from typing import Any

import yaml
from aiohttp import web
from cryptography import x509

from . import envoy, validation, xds, zones
from .delays import Delays
from .errors import Unparseable
from .proxies import Proxies, Refused, Stream
from .schema import dataplane_reader
from .store import Store

LOG = logging.getLogger("dp-server")
HOLD = 25.0
KINDS = {"listeners": "lds", "clusters": "cds", "endpoints": "eds"}
TOKEN_REQUIRED = (
    "Dataplane Token is required. Generate token using 'kumactl generate dataplane-token > /path/file' and provide it via "
    "--dataplane-token-file=/path/file argument to Kuma DP"
)
NOT_A_CA = (
    "A data plane proxy is trying to verify the control plane using the certificate which is not a certificate authority "
    "(basic constraint 'CA' is set to 'false').\nProvide CA that was used to sign a certificate used in the control plane by using "
    "'kuma-dp run --ca-cert-file=file' or via KUMA_CONTROL_PLANE_CA_CERT_FILE"
)


class Rejected(Exception):
    """A bootstrap request that is answered with `status` and this text."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


class DpServer:
    """What listens on port 5678."""

    def __init__(
        self,
        store: Store,
        proxies: Proxies,
        names: list[str],
        ca: str,
        port: int,
        admin_unix_socket: bool,
        delays: Delays,
    ) -> None:
        self.delays = delays
        self.store, self.proxies, self.names, self.ca, self.port = store, proxies, names, ca, port
        self.reloadable_tokens = False
        self.admin_unix_socket = admin_unix_socket and store.release.admin_unix_socket
        self.readers = {"Dataplane": dataplane_reader(store.release)}
        if store.release.zone_proxies:
            self.readers.update({kind: zones.reader(kind) for kind in zones.SCOPES})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/bootstrap":
            if request.method != "POST":
                return web.Response(status=405)
            try:
                return await self._bootstrap(request)
            except Rejected as rejected:
                LOG.info("bootstrap refused: %d %s", rejected.status, rejected)
                return web.Response(status=rejected.status, text=str(rejected))
        if request.path == "/proxy-stream" and request.method == "POST":
            return await self._stream(request)
        kind = KINDS.get(request.path.rpartition("v3/discovery:")[2])
        if kind and request.method == "POST":
            return await self._discover(request, kind)
        # The multiplexer of Go, and not the router of the API, which says it in other words.
        return web.Response(status=404, text="404 page not found\n")

    # Bootstrap: what is registered, which names the certificate has and whether there is a token is checked here. The token itself is
    # not: a wrong one shows only on the stream.

    def _direct(self, text: str, proxy_type: str = "") -> tuple[tuple[str, str], dict[str, Any]]:
        """Mesh and name, and spec and labels, of what a proxy brings; raises Rejected. An empty `proxy_type` takes what it says."""
        try:
            document = yaml.safe_load(text)
            kind = str(document.get("type")) if isinstance(document, dict) else ""
            mesh = zones.mesh_of(kind)
            if kind not in self.readers or (proxy_type and proxy_type != zones.SCOPES.get(kind, "dataplane")):
                raise Rejected(422, "invalid resource")
            spec = self.readers[kind](document)
        except (yaml.YAMLError, Unparseable) as error:
            raise Rejected(422, f"invalid Dataplane object: {error}") from None
        name = str(document.get("name", ""))
        labels = document.get("labels") or {}
        if mesh:
            found = zones.violations(kind, spec) + validation.name(name, loose=False)
            if found:
                raise Rejected(422, "; ".join(f"{field}: {reason}" for field, reason in found))
            return (mesh, name), {"spec": spec, "labels": labels, "kind": kind}
        mesh = str(document.get("mesh", ""))
        found = validation.dataplane(spec, self.store.release) + validation.name(name, loose=False)
        found += validation.labels(labels, mesh, self.store.zone)
        if self.store.mesh(mesh) is None:
            found.append(("mesh", f'mesh "{mesh}" does not exist'))
        if found:
            raise Rejected(422, "; ".join(f"{field}: {reason}" for field, reason in found))
        return (mesh, name), {"spec": spec, "labels": labels, "kind": kind}

    def _covered(self, host: str) -> bool:
        if not self.store.release.wildcard_san:
            return host in self.names
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return any(fnmatch.fnmatch(host.lower(), name.lower()) for name in self.names)
        return host in self.names

    async def _bootstrap(self, request: web.Request) -> web.Response:
        try:
            asked = json.loads(await request.read())
            assert isinstance(asked, dict)
        except (ValueError, AssertionError):
            raise Rejected(400) from None
        host = request.host.rpartition(":")[0].strip("[]") or request.host
        if not asked.get("dataplaneToken") and not asked.get("dataplaneTokenPath"):
            raise Rejected(422, TOKEN_REQUIRED)
        if not self._covered(host):
            raise Rejected(
                400,
                f'A data plane proxy is trying to connect to the control plane using "{host}" address, but the certificate in the '
                f"control plane has the following SANs {json.dumps(self.names)}. Either change the --cp-address in kuma-dp to one of "
                "those or generate a new certificate with the address you are trying to use.",
            )
        text = asked.get("dataplaneResource") or ""
        if text:
            (mesh, name), direct = self._direct(text, asked.get("proxyType") or "dataplane")
            networking = direct["spec"]["networking"]
            transparent = asked.get("transparentProxy") or "transparentProxying" in networking
            if transparent and networking.get("outbound"):
                raise Rejected(422, "outbound: should be empty since dataplane is in Transparent Proxying mode")
        else:
            mesh, name = str(asked.get("mesh", "")), str(asked.get("name", ""))
            mesh = next((own for own, kind in zones.MESHES.items() if zones.SCOPES[kind] == asked.get("proxyType")), mesh)
            proxy = self.store.dataplane(mesh, name)
            if proxy is None:
                raise Rejected(404)
            networking = proxy.spec["networking"]
        self._check_ca(asked.get("caCert") or "")
        admin_port = (networking.get("admin") or {}).get("port") or 9901
        work_dir = asked.get("workdir") or ""
        admin: dict[str, Any] = {"socket_address": {"address": "127.0.0.1", "port_value": admin_port}}
        if self.admin_unix_socket and work_dir:
            admin = {"pipe": {"path": xds.socket_path(work_dir, "kuma-envoy-admin"), "mode": 0o600}}
        node = {"id": f"{mesh}.{name}", "cluster": name, "metadata": {"instance": asked.get("instance") or ""}}
        ca = asked.get("caCert") or self.ca
        config = envoy.bootstrap(node, host, self.port, ca, admin)
        if self.reloadable_tokens and asked.get("dataplaneTokenPath"):
            # The real one has it in the credentials of each gRPC service. Here it is kuma-dp that has the stream.
            config["node"]["metadata"]["token"] = {"filename": asked["dataplaneTokenPath"]}
        answer = {
            "bootstrap": base64.b64encode(json.dumps(config).encode()).decode(),
            "kumaSidecarConfiguration": {
                "networking": {"address": networking["address"], "corefileTemplate": None},
                "metrics": {"aggregate": []},
            },
            "mesh": mesh,
            "name": name,
            "adminPort": admin_port,
        }
        return web.json_response(answer)

    def _check_ca(self, pem: str) -> None:
        if not pem:
            return
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except (ValueError, x509.ExtensionNotFound):
            is_ca = False
        if not is_ca:
            raise Rejected(400, NOT_A_CA)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """One JSON document a line in both directions for as long as the proxy lives."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        lock = asyncio.Lock()

        async def send(message: dict[str, Any]) -> None:
            async with lock:
                await response.write(json.dumps(message).encode() + b"\n")

        stream: Stream | None = None
        goodbye = False
        try:
            hello = json.loads(await request.content.readline())
            direct = self._direct(hello["dataplane"])[1] if hello.get("dataplane") else None
            stream = await self.proxies.connect(hello, direct, send)
            delays = self.delays.now()
            intervals = {name: delays[name] for name in ("report", "check")}
            await send({"accepted": True, "probes": stream.probes, "intervals": intervals})
            while not goodbye:
                line = await request.content.readline()
                if not line:
                    break
                goodbye = self.proxies.heard(stream, json.loads(line))
        except (Refused, Rejected) as refused:
            LOG.warning("stream refused: %s", refused)
            await send({"refused": str(refused)})
        except (ConnectionError, ValueError) as error:
            LOG.debug("stream ended: %s", error)
        finally:
            if stream is not None:
                self.proxies.disconnect(stream, goodbye)
        return response

    def _stream_of(self, asked: dict[str, Any]) -> Stream | None:
        node = asked.get("node") or {}
        instance = (node.get("metadata") or {}).get("instance")
        mesh, _dot, name = str(node.get("id", "")).partition(".")
        stream = self.proxies.streams.get((mesh, name))
        return stream if stream is not None and stream.instance == instance else None

    async def _discover(self, request: web.Request, kind: str) -> web.Response:
        """
        Answers a discovery request at once when Envoy has another version, else as soon as there is one, at the latest with 304.

        Only the Envoy whose kuma-dp holds the stream gets anything.
        """
        asked = json.loads(await request.read())
        names = asked.get("resource_names") or asked.get("resourceNames") or []
        has = asked.get("version_info") or asked.get("versionInfo") or ""
        stream = self._stream_of(asked)
        if stream is None:
            await asyncio.sleep(0.3)
            stream = self._stream_of(asked)
        if stream is None:
            return web.Response(status=403, text="no accepted stream for this proxy")
        slot = f"{kind} {','.join(names)}"
        sent = stream.served.get(slot)
        if sent is not None:
            stream.count(kind, "responsesAcknowledged" if has == sent else "responsesRejected")
            if has != sent:
                LOG.warning("%s rejected version %s of %s", stream.key[1], sent, kind)
            del stream.served[slot]
        # A version that was rejected is not offered again.
        known = {has, sent or has}
        if kind == "cds" and stream.clusters != (sent or has):
            stream.clusters = sent or has
            stream.wake()
        deadline = asyncio.get_running_loop().time() + HOLD
        while True:
            changed = stream.changed
            version, resources = stream.config.answer(kind, names)
            # Envoy refuses a listener that leads to a cluster which it does not know yet. On the one stream of the real one clusters come first.
            early = kind == "lds" and stream.clusters != stream.config.versions.get("cds")
            if version not in known and not early:
                break
            left = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(changed.wait(), timeout=max(left, 0))
            except TimeoutError:
                return web.Response(status=304)
            if self.proxies.streams.get(stream.key) is not stream:
                return web.Response(status=304)
        stream.served[slot] = version
        stream.count(kind, "responsesSent")
        answer = {"version_info": version, "resources": resources, "type_url": xds.TYPES[kind], "nonce": version}
        return web.json_response(answer)
