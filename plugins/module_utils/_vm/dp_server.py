# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a VM sees of the control plane where its proxies will connect: is it there, does it speak TLS, and does the CA make it trusted?

It is asked as kuma-dp and Envoy ask, at each address of its name, for a proxy goes to any of them. Nothing is sent but a handshake and
the question for the index, by which the port of the API is told from that of the dp-server.
"""

from __future__ import annotations

import socket
import ssl
import time
import typing as t
from urllib.parse import urlsplit

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import certificates, network

Json = t.Dict[str, t.Any]

# Of a name with more addresses the others are not asked.
MOST_ADDRESSES = 8
# Of a file with more authorities, such as that of all public ones, each is not asked with alone.
MOST_AUTHORITIES = 8
# Seconds for a connection or a handshake, and for all of them.
STEP, ALL = 5.0, 20.0

TRUSTED, PLAIN = "trusted", "plain"
UNRESOLVED, REFUSED, TIMEOUT, UNREACHABLE, SKIPPED = "unresolved", "refused", "timeout", "unreachable", "skipped"
SILENT, CUT, NO_TLS, TLS, API = "silent", "cut", "no_tls", "tls", "api"
FOREIGN, NAME, EXPIRED, NOT_YET, UNTRUSTED = "foreign", "name", "expired", "not_yet", "untrusted"

# Codes of X509_V_ERR in OpenSSL.
_VERIFY = {
    2: FOREIGN, 7: FOREIGN, 18: FOREIGN, 19: FOREIGN, 20: FOREIGN, 21: FOREIGN,
    9: NOT_YET, 10: EXPIRED, 62: NAME, 64: NAME,
}  # fmt: skip
# An authority in the file is one, whoever signed it, as for Go and Envoy. The constant has a name from Python 3.10 on.
_PARTIAL_CHAIN = 0x80000
_INDEX = b"GET / HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
_MOST = 16384


class Server(t.NamedTuple):
    """What was found at one address. ``certificate`` is what it shows, and ``trusted_by`` the digests of those of the CA that suffice alone."""

    address: str
    outcome: str
    detail: str = ""
    certificate: t.Optional[certificates.Certificate] = None
    trusted_by: t.Sequence[str] = ()

    def told(self) -> Json:
        certificate = None if self.certificate is None else dict(self.certificate._asdict())
        return {
            "address": self.address,
            "outcome": self.outcome,
            "detail": self.detail,
            "certificate": certificate,
            "trusted_by": list(self.trusted_by),
        }


class Looker:
    """Asks the control plane at ``url``, whose host and port are sound, with the authorities ``ca`` (PEM; empty without TLS)."""

    def __init__(self, url: str, ca: str, step: float = STEP, whole: float = ALL) -> None:
        parts = urlsplit(url)
        self.secure = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.secure else 80)
        self.ca, self.step = ca, step
        self.end = time.monotonic() + whole

    def look(self) -> Json:
        """``{host, port, problem, servers}``: ``problem`` says why the host has no address, and is empty where it has."""
        problem, addresses = "", []
        try:
            addresses = network.resolve(self.host, self.port, self._left())
        except socket.timeout:
            problem = network.OUT_OF_TIME
        except OSError as exc:
            problem = exc.strerror or str(exc)
        found = [(address, self._server(address)) for address in addresses[:MOST_ADDRESSES]]
        # Which authority it is must not cost the time to look at the other addresses.
        servers = [
            server._replace(trusted_by=self._trusted_by(address)) if server.outcome == TRUSTED else server for address, server in found
        ]
        return {"host": self.host, "port": self.port, "problem": problem, "servers": [server.told() for server in servers]}

    def _left(self) -> float:
        return min(self.step, self.end - time.monotonic())

    def _server(self, address: network.Address) -> Server:
        if self._left() <= 0:
            return Server(address.text, SKIPPED)
        try:
            opened = network.dial(address, self._left())
        except OSError as exc:
            return Server(address.text, _of_connection(exc), exc.strerror or str(exc))
        if not self.secure:
            opened.close()
            return Server(address.text, PLAIN)
        with opened:
            return self._handshake(address, opened)

    def _handshake(self, address: network.Address, opened: socket.socket) -> Server:
        try:
            with self._wrap(opened, self._context(self.ca)) as secure:
                certificate = certificates.of_der(secure.getpeercert(True) or b"")
                if self._is_api(secure):
                    return Server(address.text, API, certificate=certificate)
        except ssl.SSLCertVerificationError as exc:
            return Server(address.text, _VERIFY.get(exc.verify_code, UNTRUSTED), exc.verify_message, self._shown(address))
        except socket.timeout:
            return Server(address.text, SILENT)
        except ssl.SSLError as exc:
            if isinstance(exc, ssl.SSLEOFError):
                return Server(address.text, CUT, "it was closed")
            plain = exc.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")
            api = plain and self._is_plain_api(address)
            return Server(address.text, API if api else NO_TLS if plain else TLS, str(exc.reason or exc))
        except (OSError, ValueError) as exc:
            return Server(address.text, CUT, getattr(exc, "strerror", None) or str(exc))
        return Server(address.text, TRUSTED, certificate=certificate)

    def _wrap(self, opened: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        opened.settimeout(max(self._left(), 0.001))
        return context.wrap_socket(opened, server_hostname=self.host)

    @staticmethod
    def _context(ca: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Go, in which kuma-dp is written, looks at the names alone.
        context.hostname_checks_common_name = False
        context.verify_flags = ssl.VerifyFlags(context.verify_flags | _PARTIAL_CHAIN)
        # Whatever stands between them need not be ASCII.
        context.load_verify_locations(cadata="".join(certificates.split(ca)))
        return context

    def _shown(self, address: network.Address) -> t.Optional[certificates.Certificate]:
        """What the server shows to whoever asks. None where it is another one by now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with network.dial(address, self._left()) as opened, self._wrap(opened, context) as secure:
                return certificates.of_der(secure.getpeercert(True) or b"")
        except (OSError, ValueError):
            return None

    def _trusted_by(self, address: network.Address) -> t.List[str]:
        authorities = certificates.split(self.ca)
        if len(authorities) > MOST_AUTHORITIES:
            authorities = self._one_of(address, authorities)
        elif len(authorities) > 1:
            authorities = [pem for pem in authorities if self._suffices(address, pem)]
        return [certificates.of_pem(pem)[0].sha256 for pem in authorities]

    def _one_of(self, address: network.Address, authorities: t.List[str]) -> t.List[str]:
        """One that suffices, by halves; none where time is over before it is found."""
        while len(authorities) > 1:
            half = authorities[: len(authorities) // 2]
            authorities = half if self._suffices(address, "".join(half)) else authorities[len(half) :]
        return authorities if self._suffices(address, authorities[0]) else []

    def _suffices(self, address: network.Address, pem: str) -> bool:
        try:
            with network.dial(address, self._left()) as opened, self._wrap(opened, self._context(pem)):
                return True
        except OSError:
            return False

    def _is_api(self, opened: socket.socket) -> bool:
        """Whether the index of the API is there. The dp-server has none."""
        text = b""
        try:
            opened.sendall(_INDEX % self.host.encode("ascii", "ignore"))
            while len(text) < _MOST and self._left() > 0:
                opened.settimeout(self._left())
                part = opened.recv(4096)
                if not part:
                    break
                text += part
        except OSError:
            pass
        return text.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")) and b'"product"' in text and b'"version"' in text

    def _is_plain_api(self, address: network.Address) -> bool:
        try:
            with network.dial(address, self._left()) as opened:
                return self._is_api(opened)
        except OSError:
            return False


def _of_connection(exc: OSError) -> str:
    if isinstance(exc, ConnectionRefusedError):
        return REFUSED
    return TIMEOUT if isinstance(exc, socket.timeout) else UNREACHABLE
