# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP API: routing as the real router does it, and every endpoint."""

from __future__ import annotations

import json
import re
from typing import Any, Protocol
from urllib.parse import parse_qs

from aiohttp import web

from . import lists, validation, zones
from .errors import Problem, Text, Unparseable, invalid, not_found
from .facts import Facts
from .kinds import Kind
from .schema import ABSENT, binary, dataplane_reader
from .store import Resource, Store
from .tokens import ADMIN, ANONYMOUS, BadToken, Tokens, User

META = ("type", "mesh", "name", "creationTime", "modificationTime", "labels", "kri")
RETIRED_MESH_FIELDS = ("mtls", "meshServices", "constraints", "tracing", "logging", "metrics", "networking", "routing")
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DNS_1035_REASON = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with "
    "an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
ADMIN_PATHS = {"clusters": "/clusters", "stats": "/stats", "xds": "/config_dump"}


class Proxies(Protocol):
    """The connected proxies, as far as the API asks them something."""

    async def ask(self, mesh: str, name: str, path: str) -> tuple[str, bytes] | None:
        """Content type and body that the proxy's Envoy admin answers with; None when it is not connected."""


class Api:
    """Answers one request after the other from the store."""

    def __init__(self, store: Store, tokens: Tokens, facts: Facts, proxies: Proxies, localhost_is_admin: bool) -> None:
        self.store, self.tokens, self.facts, self.proxies = store, tokens, facts, proxies
        self.localhost_is_admin = localhost_is_admin
        self.readers = {"Dataplane": dataplane_reader(store.release), **{kind: zones.reader(kind) for kind in zones.SCOPES}}
        self.by_path: dict[str, Kind] = {}
        for kind in store.kinds.values():
            for path in (kind.path, *kind.aliases):
                self.by_path[path] = kind

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The only handler; failures become problem documents or the router's plain text."""
        try:
            return await self._answer(request)
        except Problem as problem:
            return _json(problem.body(), status=problem.status)
        except Text as failure:
            return web.Response(status=failure.status, text=failure.text, content_type="text/plain", charset="utf-8")
        except lists.Closed:
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPInternalServerError from None

    def _user(self, request: web.Request) -> User:
        peer = request.remote or ""
        host = request.host.rpartition(":")[0] or request.host
        direct = not any(header in request.headers for header in ("Forwarded", "X-Forwarded-For", "X-Real-IP"))
        loopback = ("127.0.0.1", "::1", "localhost")
        if self.localhost_is_admin and peer in loopback and host.strip("[]") in loopback and direct:
            # Taken as local, a request's token is not even looked at.
            return User(ADMIN.name, (*ADMIN.groups, "mesh-system:authenticated"))
        scheme, _blank, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or request.path == "/":
            return ANONYMOUS
        try:
            return self.tokens.user_of(token.strip())
        except BadToken:
            raise Problem(401, "Invalid authentication data", "Unauthenticated") from None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        parts = [part for part in request.path.split("/") if part]
        match = self._route(parts)
        if match is None:
            raise Text(404, "404: Page Not Found")
        methods, endpoint, arguments = match
        if request.method not in methods:
            raise Text(405, "405: Method Not Allowed")
        if request.method in ("PUT", "POST") and request.content_type != "application/json":
            raise Text(415, "415: Unsupported Media Type")
        if request.method in ("PUT", "POST") and "Content-Type" not in request.headers:
            raise Text(415, "415: Unsupported Media Type")
        accept = request.headers.get("Accept", "*/*")
        produced = "text/plain" if endpoint in ("token", "admin") else "application/json"
        if not any(kind in accept for kind in ("*/*", produced, produced.split("/", maxsplit=1)[0] + "/*")):
            raise Text(406, f"406: Not Acceptable\n\nAvailable representations: {produced}")
        user = self._user(request)
        answer: web.StreamResponse = await getattr(self, f"_{endpoint}")(request, user, *arguments)
        return answer

    def _route(self, parts: list[str]) -> tuple[tuple[str, ...], str, list[Any]] | None:
        """Methods, endpoint and its arguments of a path; None for an unknown one."""
        simple = {"": "index", "who-am-i": "who", "_resources": "resources", "policies": "policies", "config": "config"}
        simple.update({"global-insight": "insight", "global-insights": "insight"})
        if len(parts) <= 1 and (parts[0] if parts else "") in simple:
            return ("GET",), simple[parts[0] if parts else ""], []
        if len(parts) == 2 and parts[0] == "tokens" and parts[1] in ("dataplane", "zone", "user"):
            return ("POST",), "token", [parts[1]]
        if len(parts) == 2 and parts[0] == "_kri" and self.store.release.kri:
            return ("GET",), "kri", [parts[1]]
        mesh: str | None = None
        if parts[0] == "meshes" and len(parts) > 2:
            mesh, parts = parts[1], parts[2:]
        old = {"dataplanes+insights": "Dataplane", **zones.OLD_OVERVIEWS}.get(parts[0])
        overviews = old is not None
        kind = self.store.kinds.get(old) if old else self.by_path.get(parts[0])
        if kind is None or (mesh is not None and not kind.is_mesh_scoped):
            return None
        is_list = len(parts) == 1
        has_overview = kind.name in self.readers
        if has_overview and parts[1:] == ["_overview"]:
            overviews = is_list = True
        if is_list:
            return ("GET",), "list", [kind, mesh, "/" + "/".join((["meshes", "{mesh}"] if mesh else []) + parts), overviews]
        if kind.is_mesh_scoped and mesh is None:
            return None
        if len(parts) == 2:
            if overviews:
                return ("GET",), "overview", [kind, mesh or "", parts[1]]
            return ("GET",) if kind.read_only else ("GET", "PUT", "DELETE"), "resource", [kind, mesh or "", parts[1]]
        if len(parts) == 3 and has_overview:
            if parts[2] == "_overview":
                return ("GET",), "overview", [kind, mesh or "", parts[1]]
            if parts[2] in ADMIN_PATHS:
                return ("GET",), "admin", [kind, mesh or "", parts[1], parts[2]]
        return None

    async def _index(self, request: web.Request, user: User) -> web.Response:
        return _json(self.facts.index())

    async def _who(self, request: web.Request, user: User) -> web.Response:
        return _json({"name": user.name, "groups": list(user.groups)})

    async def _resources(self, request: web.Request, user: User) -> web.Response:
        listed = sorted(self.store.kinds.values(), key=lambda kind: kind.name)
        return _json({"resources": [kind.described(self.store.release) for kind in listed]})

    async def _policies(self, request: web.Request, user: User) -> web.Response:
        listed = sorted((kind for kind in self.store.kinds.values() if kind.flags), key=lambda kind: kind.name)
        entries = [
            {"name": k.name, "path": k.path, "pluralDisplayName": k.plural, "readOnly": k.read_only, "singularDisplayName": k.singular}
            for k in listed
        ]
        return _json({"policies": entries})

    async def _config(self, request: web.Request, user: User) -> web.Response:
        return _json(self.facts.config())

    async def _insight(self, request: web.Request, user: User) -> web.Response:
        return _json(self.facts.insight())

    async def _token(self, request: web.Request, user: User, kind: str) -> web.Response:
        try:
            body = json.loads(await request.read())
            assert isinstance(body, dict)
        except (ValueError, AssertionError):
            return web.Response(status=400, headers={"Content-Type": ""})
        return web.Response(body=getattr(self.tokens, f"issue_{kind}")(body, user).encode(), headers={"Content-Type": "text/plain"})

    async def _kri(self, request: web.Request, user: User, kri: str) -> web.Response:
        for kind in self.store.kinds.values():
            if kind.short and kri.startswith(f"kri_{kind.short}_"):
                for resource in self.store.tables[kind.name].within(None):
                    if resource.head(self.store.release).get("kri") == kri:
                        return _json(resource.document(self.store.release))
        raise not_found("Could not retrieve a resource")

    def _need_mesh(self, kind: Kind, mesh: str | None) -> None:
        if kind.is_mesh_scoped and mesh is not None and self.store.mesh(mesh) is None:
            raise not_found("Failed to retrieve Mesh")

    @staticmethod
    def _allow(kind: Kind, user: User) -> None:
        if kind.admin_only and not user.is_admin:
            raise Problem(403, "Access Denied", f'user "{user}" cannot access the resource of type "{kind.name}"')

    async def _list(self, request: web.Request, user: User, kind: Kind, mesh: str | None, route: str, overviews: bool) -> web.Response:
        self._need_mesh(kind, mesh)
        self._allow(kind, user)
        query = parse_qs(request.query_string, keep_blank_values=True)
        url = f"{request.scheme}://{request.host}{request.path}"
        if kind.name == "DataplaneInsight":
            items = [self._insight_document(key) for key in sorted(self.store.insights) if mesh in (None, key[0])]
            return _json({"total": len(items), "items": items, "next": None})
        text = lists.page(self.store, kind, mesh, query, url, route, overviews)
        return web.Response(body=text.encode(), headers={"Content-Type": "application/json"})

    def _insight_document(self, key: tuple[str, str]) -> dict[str, Any]:
        proxy = self.store.dataplane(*key)
        head = {} if proxy is None else proxy.head(self.store.release, "DataplaneInsight", with_kri=False)
        head.pop("labels", None)
        return {**head, **self.store.insights[key]}

    def _existing(self, kind: Kind, mesh: str, name: str) -> Resource:
        resource = self.store.get(kind.name, mesh, name)
        if resource is None:
            raise not_found("Could not retrieve a resource")
        return resource

    async def _overview(self, request: web.Request, user: User, kind: Kind, mesh: str, name: str) -> web.Response:
        self._need_mesh(kind, mesh)
        return _json(lists.overview(self.store, self._existing(kind, mesh, name), in_list=False))

    async def _admin(self, request: web.Request, user: User, kind: Kind, mesh: str, name: str, what: str) -> web.Response:
        self._need_mesh(kind, mesh)
        if not user.is_admin:
            shown = {"xds": "config dump"}.get(what, what)
            raise Problem(403, "Access Denied", f'user "{user}" cannot access envoy proxy {shown}')
        self._existing(kind, mesh, name)
        path = ADMIN_PATHS[what] + (f"?{request.query_string}" if request.query_string and what == "stats" else "")
        answer = await self.proxies.ask(zones.mesh_of(kind.name) or mesh, name, path)
        if answer is None:
            detail = f"stream to execute {what.upper()} operations is not yet connected"
            raise Problem(400, "Could not execute admin operation", detail)
        return web.Response(body=answer[1], headers={"Content-Type": answer[0]})

    async def _resource(self, request: web.Request, user: User, kind: Kind, mesh: str, name: str) -> web.Response:
        self._need_mesh(kind, mesh)
        if kind.name == "DataplaneInsight":
            if (mesh, name) not in self.store.insights:
                raise not_found("Could not retrieve a resource")
            return _json(self._insight_document((mesh, name)))
        if request.method == "PUT":
            return self._put(await request.read(), user, kind, mesh, name)
        if request.method == "DELETE":
            if self.store.get(kind.name, mesh, name) is None:
                raise not_found("Could not delete a resource")
            self._allow(kind, user)
            self.store.delete(kind, mesh, name)
            return _json({})
        self._allow(kind, user)
        resource = self._existing(kind, mesh, name)
        return web.Response(body=resource.text(self.store.release).encode(), headers={"Content-Type": "application/json"})

    def _put(self, raw: bytes, user: User, kind: Kind, mesh: str, name: str) -> web.Response:
        release = self.store.release
        try:
            body = _parse(raw)
            spec = self._spec(kind, body)
            labels = body.get("labels") or {}
            if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
                raise Unparseable("json: cannot unmarshal into Go struct field ResourceMeta.labels of type string")
        except Unparseable as error:
            raise Problem(400, "Bad Request", f"invalid {kind.name} object: {json.dumps(str(error))}") from None
        title = "Could not process a resource"
        if found := self._violations(kind, spec):
            raise invalid(title, found)
        found = []
        if body.get("name") != name:
            found.append(("name", "name from the URL has to be the same as in body"))
        if body.get("type") != kind.name:
            found.append(("type", "type from the URL has to be the same as in body"))
        if kind.is_mesh_scoped and body.get("mesh") != mesh:
            found.append(("mesh", "mesh from the URL has to be the same as in body"))
        found += validation.labels(labels, body.get("mesh") or mesh if kind.is_mesh_scoped else None, self.store.zone)
        loose = kind.name in ("Mesh", "Secret", "GlobalSecret", "Zone") and release.loose_names
        found += validation.name(str(body.get("name") or name), loose)
        if found:
            raise invalid(title, found)
        self._allow(kind, user)
        workload = labels.get("kuma.io/workload", "")
        fresh = self.store.get(kind.name, mesh, name) is None
        checked = fresh and kind.name == "Dataplane" and release.workload and workload
        if checked and (len(workload) > 63 or not _DNS_1035.fullmatch(workload)):
            detail = (
                'labels["kuma.io/workload"]: must be a valid DNS-1035 label (at most 63 characters, matching regex '
                f"[a-z]([-a-z0-9]*[a-z0-9])?): {_DNS_1035_REASON}"
            )
            raise Problem(400, "Bad Request", detail)
        created = self.store.put(kind, mesh, name, spec, labels)
        return _json({}, status=201 if created else 200)

    def _spec(self, kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
        if kind.name in self.readers:
            spec: dict[str, Any] = self.readers[kind.name](body)
            return spec
        spec = {key: value for key, value in body.items() if key not in META}
        if kind.spec_wrapped:
            return {"spec": spec.get("spec") or {}}
        if kind.name in ("Secret", "GlobalSecret"):
            data = binary(spec.get("data"))
            return {} if data is ABSENT else {"data": data}
        if kind.name == "Mesh" and self.store.release.v3:
            spec = {key: value for key, value in spec.items() if key not in RETIRED_MESH_FIELDS}
        return spec

    def _violations(self, kind: Kind, spec: dict[str, Any]) -> list[tuple[str, str]]:
        if kind.name == "Dataplane":
            return validation.dataplane(spec, self.store.release)
        if kind.name in zones.SCOPES:
            return zones.violations(kind.name, spec)
        if kind.name == "Mesh":
            return validation.mesh(spec, self.store.release)
        return validation.policy(spec["spec"], self.store.release) if kind.flags else []


def _json(document: Any, status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), status=status, headers={"Content-Type": "application/json"})


def _parse(raw: bytes) -> dict[str, Any]:
    """The object in a body; raises Unparseable in Go's words."""
    text = raw.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or not text.strip():
            raise Unparseable("unexpected end of JSON input") from None
        raise Unparseable(f"invalid character '{text[error.pos]}' looking for beginning of value") from None
    if not isinstance(body, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(body), "number")
        raise Unparseable(f"json: cannot unmarshal {kind} into Go value of type v1alpha1.ResourceMeta")
    return body
