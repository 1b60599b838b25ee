# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""One request and its answer by HTTP, within a time and a size: the only file of the collection that imports requests.

The timeouts of requests count for each read, so that a server that sends a byte now and then is waited for without end. Here every
read and write of a connection ends with the request, whoever makes it: requests, TLS, or a proxy on the way.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
import traceback
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import body
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.transport import causes, is_timeout
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import network
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import parse_release

# The first that works with urllib3 1.26, and no older urllib3 can be imported by all that Python may be on a controller.
REQUESTS = "2.25.0"
REQUESTS_IMPORT_ERROR: t.Optional[str] = None


def too_old(version: str) -> t.Optional[str]:
    """What is to be said of a version of requests; None when it will do."""
    if parse_release(version) >= parse_release(REQUESTS):
        return None
    return f"ImportError: requests {version} is installed, expected {REQUESTS} or later"


try:
    import requests
    import urllib3
    from requests import PreparedRequest
    from requests import Response as Received
    from requests.adapters import HTTPAdapter
    from requests.utils import get_environ_proxies
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.exceptions import ConnectTimeoutError, InsecureRequestWarning, NewConnectionError
    from urllib3.util.ssl_ import create_urllib3_context
except ImportError:
    REQUESTS_IMPORT_ERROR = traceback.format_exc()
else:
    REQUESTS_IMPORT_ERROR = too_old(requests.__version__)

_BLOCK = 64 << 10


class OutOfTime(Exception):
    """The answer was not complete when the time of the request was over."""


class NotSecureInTime(OutOfTime):
    """There was a connection, and what is there did not begin TLS in time."""


class Answer(t.NamedTuple):
    """``content`` is unpacked, and of an error no more than its beginning."""

    status: int
    reason: str
    headers: t.Mapping[str, str]
    content: bytes


class _Clock(threading.local):
    """When the request of this thread ends. One request is one thread's, its connection and all."""

    end: t.Optional[float] = None
    greeting = False

    @contextlib.contextmanager
    def running(self, seconds: float) -> t.Iterator[None]:
        self.end, self.greeting = time.monotonic() + seconds, False
        try:
            yield
        finally:
            self.end = None

    def left(self, most: t.Optional[float] = None) -> t.Optional[float]:
        """Seconds that an operation may take; None: as many as it likes. Raises socket.timeout when there are none."""
        if self.end is None:
            return most
        left = self.end - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        return left if most is None else min(left, most)

    @property
    def over(self) -> bool:
        return self.end is not None and time.monotonic() >= self.end


_CLOCK = _Clock()


class _Socket(socket.socket):
    """A connection whose every operation ends with the request."""

    @classmethod
    def of(cls, opened: socket.socket) -> _Socket:
        timeout = opened.gettimeout()
        found = cls(opened.family, opened.type, opened.proto, fileno=opened.detach())
        found.settimeout(timeout)
        return found

    def recv(self, *args: t.Any) -> bytes:
        self.settimeout(_CLOCK.left())
        return super().recv(*args)

    def recv_into(self, *args: t.Any) -> int:
        self.settimeout(_CLOCK.left())
        return super().recv_into(*args)

    def send(self, *args: t.Any) -> int:
        self.settimeout(_CLOCK.left())
        return super().send(*args)

    def sendall(self, *args: t.Any) -> None:
        self.settimeout(_CLOCK.left())
        super().sendall(*args)


class _SecureSocket(ssl.SSLSocket):
    """The same under TLS, whose operations read and write as often as they need to within one time."""

    def do_handshake(self, block: bool = False) -> None:
        _CLOCK.greeting = True
        self.settimeout(_CLOCK.left(self.gettimeout()))
        super().do_handshake(block)
        _CLOCK.greeting = False

    def read(self, *args: t.Any) -> t.Any:
        self.settimeout(_CLOCK.left())
        return super().read(*args)

    def send(self, *args: t.Any) -> int:
        self.settimeout(_CLOCK.left())
        return super().send(*args)


if REQUESTS_IMPORT_ERROR is None:

    class _Dialling:
        """Connections whose name is resolved within the time as well."""

        def _new_conn(self) -> socket.socket:
            own: t.Any = self
            host = (getattr(own, "_dns_host", None) or own.host).strip("[]")
            # As many seconds as urllib3 was told, a number by now.
            seconds = _CLOCK.left(own.timeout if isinstance(own.timeout, (int, float)) else None)
            try:
                return _Socket.of(network.connect(host, own.port, seconds or socket.getdefaulttimeout() or 60.0, own.socket_options or ()))
            except socket.timeout as exc:
                raise ConnectTimeoutError(own, f"Connection to {own.host} timed out: {exc}") from exc
            except OSError as exc:
                raise NewConnectionError(own, f"Failed to establish a new connection: {exc}") from exc

    class _Plain(_Dialling, HTTPConnection):
        pass

    class _Secure(_Dialling, HTTPSConnection):
        pass

    class _PlainPool(HTTPConnectionPool):
        ConnectionCls = _Plain

    class _SecurePool(HTTPSConnectionPool):
        ConnectionCls = _Secure

    _POOLS = {"http": _PlainPool, "https": _SecurePool}

    class _Adapter(HTTPAdapter):
        """What requests sends with; ``context`` is what TLS begins with."""

        def __init__(self, pool: int, context: ssl.SSLContext) -> None:
            self._context = context
            super().__init__(pool_connections=1, pool_maxsize=max(1, pool), max_retries=0, pool_block=True)

        def init_poolmanager(self, *args: t.Any, **options: t.Any) -> None:
            super().init_poolmanager(*args, ssl_context=self._context, **options)
            self.poolmanager.pool_classes_by_scheme = _POOLS

        def proxy_manager_for(self, proxy: str, **options: t.Any) -> t.Any:
            manager = super().proxy_manager_for(proxy, ssl_context=self._context, **options)
            # Those of SOCKS have connections of their own kind.
            if not proxy.lower().startswith("socks"):
                manager.pool_classes_by_scheme = _POOLS
            return manager


class Session:
    """Connections to one control plane, for up to ``pool`` threads.

    ``verify`` is whether its certificate is verified, or the file or directory with the authorities that it is verified with.
    ``client`` are the files of a client's certificate and its key, ``timeout`` are seconds until a connection is there, and for a request
    with its answer.
    """

    def __init__(
        self,
        url: str,
        verify: t.Union[bool, str],
        client: t.Optional[t.Tuple[str, t.Optional[str]]],
        timeout: t.Tuple[float, float],
        pool: int,
    ) -> None:
        self._verify, self._timeout = verify, timeout
        # Found once: requests would read the whole environment for each request, which costs more than the request itself.
        self._proxies = get_environ_proxies(url)
        context = create_urllib3_context(cert_reqs=ssl.CERT_NONE if verify is False else ssl.CERT_REQUIRED)
        context.sslsocket_class = _SecureSocket
        if client is not None:
            context.load_cert_chain(*client, password=_no_passphrase)
        if verify is False:
            # Said once as a warning of the module; urllib3 would say it on standard error for every request.
            urllib3.disable_warnings(InsecureRequestWarning)
        self._adapter = _Adapter(pool, context)

    def close(self) -> None:
        self._adapter.close()

    def send(
        self,
        method: str,
        url: str,
        params: t.Optional[t.Mapping[str, t.Any]],
        data: t.Optional[bytes],
        headers: t.Mapping[str, str],
    ) -> Answer:
        """Raises OutOfTime, body.TooLarge, body.Unreadable, and what requests and urllib3 raise, whose causes may hold ``headers``."""
        request = PreparedRequest()
        request.prepare(method=method, url=url, params=dict(params) if params else None, data=data, headers=dict(headers))
        with _CLOCK.running(self._timeout[1]):
            try:
                return self._exchange(request)
            except Exception as exc:
                if _CLOCK.greeting and is_timeout(exc):
                    raise NotSecureInTime from None
                if _CLOCK.over and not isinstance(exc, (body.TooLarge, body.Unreadable)) and not _is_dialling(exc):
                    raise OutOfTime from None
                raise

    def _exchange(self, request: PreparedRequest) -> Answer:
        # Not by a Session of requests: it follows redirects for a look, whatever their size, and lets .netrc replace the token.
        received = self._adapter.send(request, stream=True, timeout=self._timeout, verify=self._verify, proxies=self._proxies)
        with contextlib.closing(received):
            wrong = received.status_code >= 300
            content = body.collect(
                _chunks(received), received.headers.get("Content-Encoding") or "", body.LARGEST_ERROR if wrong else body.LARGEST, cut=wrong
            )
        return Answer(received.status_code, received.reason or "", received.headers, content)


def _is_dialling(exc: BaseException) -> bool:
    """Whether there was no connection yet."""
    return any(isinstance(cause, (ConnectTimeoutError, NewConnectionError)) for cause in causes(exc))


def _chunks(received: Received) -> t.Iterator[bytes]:
    """The body as it comes. Raises ConnectionError when there is less of it than was announced, which older urllib3 do not tell."""
    size = 0
    while True:
        chunk = received.raw.read(_BLOCK, decode_content=False)
        if not chunk:
            break
        size += len(chunk)
        yield chunk
    announced = received.headers.get("Content-Length") or ""
    if announced.isdigit() and size < int(announced) and received.status_code not in (204, 304):
        raise requests.exceptions.ConnectionError("IncompleteRead")


def _no_passphrase() -> str:
    """Without it OpenSSL would ask whoever sits before the terminal."""
    raise ValueError("it is encrypted")
