# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""HTTP client of the control plane API: retries, paging, typed errors, capabilities. How one request is sent is in ``session``."""

from __future__ import annotations

import json
import random
import threading
import time
import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import body as api_body
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.body import first_json
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.capabilities import CONFIGURATION, Capabilities, Places, dig
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import (
    AccessDenied,
    ApiError,
    AuthenticationFailed,
    Conflict,
    ConnectionFailed,
    Invalid,
    NotFound,
    ProtocolFailed,
    ServerError,
    Unavailable,
    from_answer,
)
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.path import api_path, check_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.session import REQUESTS, REQUESTS_IMPORT_ERROR, Answer, Session
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.transport import (
    check_ca_file,
    check_client,
    checked_token,
    checked_url,
    failure_of,
    is_retryable,
    retry_after,
)
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import network
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import parse_release

__all__ = [
    "REQUESTS",
    "REQUESTS_IMPORT_ERROR",
    "AccessDenied",
    "ApiError",
    "AuthenticationFailed",
    "Capabilities",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "Invalid",
    "NotFound",
    "ProtocolFailed",
    "Response",
    "ServerError",
    "Unavailable",
    "api_path",
]

PAGE_SIZE = 1000  # the largest that a control plane serves
LONGEST_LIST = 1_000_000  # items; whoever goes on is no control plane
LISTINGS = 4  # the first one, and up to three more when items moved between its pages
BACKOFF_BASE = 0.25
BACKOFF_CAP = 8.0
RETRY_AFTER_CAP = 60.0
RETRY_STATUS = frozenset((429, 502, 503, 504))
STRANGER_TIMEOUT = 10.0
USER_AGENT = "meshfleet.kuma"

Params = t.Optional[t.Mapping[str, t.Any]]
Item = t.Dict[str, t.Any]


@dataclass(frozen=True)
class Response:
    """An answer with a status below 300. ``body`` is parsed JSON, text, or None when it was empty."""

    status: int
    body: t.Any = None
    warnings: t.List[str] = field(default_factory=list)


class Client:
    """A client of one control plane, safe to use from up to ``pool`` threads.

    ``timeout`` are seconds for a whole request with its answer, ``connect_timeout`` for the connection before it, ``retries`` is how often
    one request is sent again after a connection error, a 429 or a 502 to 504. ``client_cert`` and ``client_key`` are files. Raises ApiError
    when an option cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: t.Optional[str] = None,
        ca_path: t.Optional[str] = None,
        validate_certs: bool = True,
        connect_timeout: float = 5.0,
        timeout: float = 30.0,
        retries: int = 4,
        client_cert: t.Optional[str] = None,
        client_key: t.Optional[str] = None,
        pool: int = 8,
        sleep: t.Callable[[float], t.Any] = time.sleep,
        jitter: t.Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.url = checked_url(url)
        self._token = checked_token(token)
        self._ca_path = ca_path or None
        self._validate_certs = validate_certs
        self._timeout = (min(connect_timeout, timeout), timeout)
        self._retries = max(0, retries)
        self._sleep = sleep
        self._jitter = jitter
        self._lock = threading.Lock()
        self._requests = 0
        self._warnings: t.List[str] = []
        self._capabilities: t.Optional[Capabilities] = None
        self._configuration: t.Optional[t.Dict[str, t.Any]] = None
        verify: t.Union[bool, str] = validate_certs
        secure = self.url.startswith("https:")
        if secure and validate_certs and self._ca_path:
            check_ca_file(self._ca_path, self.url)
            verify = self._ca_path
        client = check_client(client_cert, client_key, self.url)
        if self._token and not secure and not network.is_loopback(urlsplit(self.url).hostname or ""):
            self._warn(f"The token is sent unencrypted to {self.url}: use the HTTPS port of the control plane (5682).")
        if client and not secure:
            self._warn(f"client_cert has no effect: {self.url} is without TLS, use the HTTPS port of the control plane (5682).")
        if secure and not validate_certs:
            self._warn(
                f"The certificate of {self.url} is not verified (validate_certs is false): "
                "anyone on the way can read the token. Set ca_path instead."
            )
        self._headers = {"Accept": "application/json, text/plain, */*", "User-Agent": USER_AGENT}
        if self._token:
            self._headers["Authorization"] = f"Bearer {self._token}"
        self._session = Session(self.url, verify, client, self._timeout, pool)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def as_anybody(self, path: str) -> t.Any:
        """The body that somebody without token and certificate gets for a read, asked once; None when there is none, for whatever reason."""
        stranger = Client(
            self.url,
            ca_path=self._ca_path,
            validate_certs=self._validate_certs,
            connect_timeout=self._timeout[0],
            timeout=min(self._timeout[1], STRANGER_TIMEOUT),
            retries=0,
            pool=1,
        )
        try:
            return stranger.get(path).body
        except ApiError:
            return None
        finally:
            stranger.close()
            with self._lock:
                self._requests += stranger.requests

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent, retries included."""
        with self._lock:
            return self._requests

    @property
    def warnings(self) -> t.List[str]:
        """Warnings of the transport and of the control plane, each once."""
        with self._lock:
            return list(self._warnings)

    def get(self, path: str, params: Params = None) -> Response:
        """Read. Raises ApiError for a status of 400 and more, here and in the methods below; Invalid for a path that may be another's."""
        return self._request("GET", path, params=params)

    def put(self, path: str, body: t.Any) -> Response:
        """Create (status 201) or replace (status 200) a resource."""
        return self._request("PUT", path, body=body)

    def delete(self, path: str) -> Response:
        """Delete a resource. Raises NotFound when there was none."""
        return self._request("DELETE", path)

    def post_text(self, path: str, body: t.Any) -> str:
        """Ask for a text, such as a token."""
        answer = self._request("POST", path, body=body, secret=True).body
        if not isinstance(answer, str) or not answer.strip():
            raise ProtocolFailed("expected a text as the answer", method="POST", url=self.url + path)
        return answer.strip()

    def list(self, path: str, params: Params = None, page_size: int = PAGE_SIZE) -> t.List[Item]:
        """All items of a collection, without duplicates.

        Pages are asked for by an offset of our own: ``next`` may name a host or scheme that only a proxy knows (trap 21).
        Items move between pages when others write meanwhile; then it is listed again.
        """
        items: t.List[Item] = []
        for _attempt in range(LISTINGS):
            items, steady = self._list_once(path, params, page_size)
            if steady:
                return items
        self._warn(f"{self.url}{path} changed while it was listed, {LISTINGS} times in a row: an item may be missing.")
        return items

    def _list_once(self, path: str, params: Params, page_size: int) -> t.Tuple[t.List[Item], bool]:
        found: t.Dict[t.Tuple[str, str, str], Item] = {}
        totals: t.Set[int] = set()
        offset = 0
        while True:
            query = dict(params or {}, size=str(page_size))
            if offset:
                query["offset"] = str(offset)
            body = self.get(path, query).body
            page = body.get("items") if isinstance(body, dict) else None
            if not isinstance(body, dict) or not _is_page(page) or not isinstance(body.get("total"), int) or offset > LONGEST_LIST:
                raise ProtocolFailed(
                    "expected a list of resources as the answer",
                    method="GET",
                    url=self.url + path,
                    remedy="Check that url is the API of a control plane (port 5681 or 5682).",
                )
            page = page or []
            totals.add(body["total"])
            for item in page:
                found[(str(item.get("type")), str(item.get("mesh")), str(item.get("name")))] = item
            offset += len(page)
            if body.get("next") is None or not page:
                return list(found.values()), totals == {len(found)}

    def capabilities(self) -> Capabilities:
        """What the control plane says about itself on ``GET /``; asked for once."""
        if self._capabilities is None:
            body = self.get("/").body
            version = body.get("version") if isinstance(body, dict) else None
            if not isinstance(body, dict) or not isinstance(version, str):
                raise ProtocolFailed(
                    "expected product and version as the answer",
                    method="GET",
                    url=f"{self.url}/",
                    remedy="Check that url is the API of a control plane (port 5681 or 5682).",
                )
            kuma = str(body.get("basedOnKuma") or version)
            self._capabilities = Capabilities(
                product=str(body.get("product") or "Kuma"),
                version=version,
                kuma_version=kuma.strip().lstrip("v"),
                release=parse_release(kuma),
            )
        return self._capabilities

    def control_plane(self, places: t.Optional[Places] = None) -> t.Dict[str, t.Any]:
        """What ``GET /config`` says of ``places``, or of ``CONFIGURATION``, asked for once. Empty when the token may not read them."""
        if self._configuration is None:
            try:
                body = self.get("/config").body
            except (AccessDenied, NotFound):
                body = None
            if isinstance(body, str):
                body = first_json(body)
            self._configuration = body if isinstance(body, dict) else {}
        return dig(self._configuration, CONFIGURATION if places is None else places)

    def _request(self, method: str, path: str, params: Params = None, body: t.Any = None, secret: bool = False) -> Response:
        check_path(method, self.url, path)
        sent = 0
        lost = False  # whether an earlier try may have been carried out
        while True:
            wait: t.Optional[float] = None
            try:
                answer = self._send(method, path, params, body)
            except (api_body.TooLarge, api_body.Unreadable) as exc:
                raise self._unfit(method, path, str(exc)) from None
            except Exception as exc:
                error = failure_of(exc, method, self.url + path, self._ca_path, self._timeout)
                if error is None:
                    raise
                # `from None`: the causes of requests name the request, whose headers hold the token.
                if not is_retryable(exc) or sent >= self._retries:
                    raise error from None
                lost = True
            else:
                if answer.status not in RETRY_STATUS or sent >= self._retries:
                    if method == "DELETE" and lost and answer.status == 404:
                        return Response(status=200)
                    return self._result(method, path, answer, secret)
                wait = retry_after(answer.headers.get("Retry-After"), time.time())
            backoff = self._jitter(0.0, min(BACKOFF_CAP, BACKOFF_BASE * 2**sent))
            self._sleep(backoff if wait is None else min(wait, RETRY_AFTER_CAP) + backoff)
            sent += 1

    def _send(self, method: str, path: str, params: Params, body: t.Any) -> Answer:
        with self._lock:
            self._requests += 1
        data = None if body is None else json.dumps(body).encode("utf-8")
        # Without a content type even an empty write is a 415 (trap 22).
        headers = {**self._headers, "Content-Type": "application/json"} if method in ("PUT", "POST") else self._headers
        return self._session.send(method, self.url + path, params, data, headers)

    def _unfit(self, method: str, path: str, reason: str) -> ProtocolFailed:
        what = f"an answer that cannot be read: {reason}" if reason else f"an answer of more than {api_body.LARGEST >> 20} MiB"
        remedy = "No control plane answers so: check that url is its API (port 5681 or 5682), and what is before it."
        return ProtocolFailed(what, method=method, url=self.url + path, remedy=remedy)

    def _result(self, method: str, path: str, answer: Answer, secret: bool) -> Response:
        url, status = self.url + path, answer.status
        text = answer.content.decode("utf-8", errors="replace")
        is_json = "json" in (answer.headers.get("Content-Type") or "").lower()
        if 300 <= status < 400:
            location = _without_query(answer.headers.get("Location") or "")
            raise ProtocolFailed(
                f"redirected to {self._redact(location) or 'nowhere'}",
                method=method,
                url=url,
                status=status,
                remedy="The token is not sent on to another address: set url to that of the control plane itself.",
            )
        if status >= 400:
            problem = (first_json(text) if is_json else None) or text
            reason = answer.reason or ""
            raise from_answer(method, url, status, self._redacted(problem), reason, self._token)
        if not text.strip():
            return Response(status=status)
        if not is_json:
            return Response(status=status, body=text)
        body = first_json(text)
        if body is None and text.strip() != "null":
            excerpt = "" if secret else f": {self._redact(text.strip()[:80])!r}"
            raise ProtocolFailed(f"JSON that cannot be read, or is nested too deep{excerpt}", method=method, url=url, status=status)
        warnings = _strings(body.get("warnings")) if isinstance(body, dict) and method == "PUT" else []
        for warning in warnings:
            self._warn(warning)
        return Response(status=status, body=body, warnings=warnings)

    def _warn(self, text: str) -> None:
        with self._lock:
            if text not in self._warnings:
                self._warnings.append(text)

    def _redact(self, text: str) -> str:
        return text.replace(self._token, "********") if self._token else text

    def _redacted(self, value: t.Any) -> t.Any:
        """A problem document without our token, should a server quote it."""
        if isinstance(value, str):
            return self._redact(value)
        if isinstance(value, list):
            return [self._redacted(entry) for entry in value]
        if isinstance(value, dict):
            return {key: self._redacted(entry) for key, entry in value.items()}
        return value


def _is_page(items: t.Any) -> bool:
    return items is None or (isinstance(items, list) and all(isinstance(item, dict) for item in items))


def _strings(value: t.Any) -> t.List[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else []


def _without_query(url: str) -> str:
    return url.partition("?")[0].partition("#")[0]
