# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a server's certificate is good for, told by the standard library: it is shown to a client in memory, and no port is opened."""

from __future__ import annotations

import ipaddress
import ssl
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely

_ROUNDS = 20


class Certificate(t.NamedTuple):
    """A certificate that a client accepts: the names it is for, and its end in seconds since 1970."""

    names: t.FrozenSet[str]
    not_after: float


def accepted(certificate: str, key: str, ca: str, name: t.Optional[str] = None) -> Certificate:
    """What a client that trusts the file ``ca`` sees of a server with the files ``certificate`` and ``key``.

    With ``name`` the certificate has to be for it. Raises ValueError with the reason when the client refuses it, the key is of
    another certificate, or a file cannot be used.
    """
    try:
        for path in (certificate, key, ca):
            # openssl opens whatever it is, and waits for a fifo.
            safely.read(path)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, key)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = name is not None
        # Go, in which Kuma is written, looks at the names alone.
        client.hostname_checks_common_name = False
        client.load_verify_locations(ca)
        seen = _shake_hands(server, client, name)
    except (OSError, ValueError) as exc:
        raise ValueError(_reason(exc)) from None
    names = frozenset(_plain(kind, value) for kind, value in seen.get("subjectAltName", ()))
    return Certificate(names, ssl.cert_time_to_seconds(seen["notAfter"]))


def problems(certificate: str, key: str, ca: str, names: t.Iterable[str], clock: t.Callable[[], float] = time.time) -> t.List[str]:
    """Why clients would refuse the certificate under some of the names, or soon will; empty when they would not."""
    try:
        seen = accepted(certificate, key, ca)
    except ValueError as exc:
        return [str(exc)]
    found = []
    if seen.not_after - clock() < 86400:
        found.append("it ends within a day")
    for name in names:
        reason = _refusal(certificate, key, ca, name)
        if reason:
            found.append("it is not for %s (it is for %s): %s" % (name, ", ".join(sorted(seen.names)) or "no name", reason))
    return found


def _refusal(certificate: str, key: str, ca: str, name: str) -> t.Optional[str]:
    try:
        accepted(certificate, key, ca, name)
    except ValueError as exc:
        return str(exc)
    return None


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: t.Optional[str]) -> t.Dict[str, t.Any]:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [asking, answering]
    for _round in range(_ROUNDS):
        waiting = [side for side in waiting if not _advance(side)]
        if asking not in waiting:
            return dict(asking.getpeercert() or {})
    raise ValueError("the handshake does not end")


def _advance(side: ssl.SSLObject) -> bool:
    """Whether this side has finished."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _plain(kind: str, value: str) -> str:
    # An address of version 6 comes in a notation of its own.
    return str(ipaddress.ip_address(value)) if kind == "IP Address" else value


def _reason(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return str(exc.verify_message)
    if isinstance(exc, ssl.SSLError) and exc.reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    if isinstance(exc, ssl.SSLError):
        return "it cannot be read as PEM (%s)" % (exc.reason or exc)
    return str(exc)
