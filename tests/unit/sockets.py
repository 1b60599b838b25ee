# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers below HTTP, which say what no server should, as slowly as they like, and certificates of every kind for those with TLS."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Raw:
    """``talk(connection)`` is called for each connection, on a thread of its own; what it opened is closed when it returns.

    ``stopping`` is set at the end: whoever waits waits for that. ``ended`` counts the conversations that are over.
    """

    def __init__(self, talk, context=None, backlog=16, address="127.0.0.1", port=0):
        self.talk, self.context = talk, context
        self.stopping = threading.Event()
        self.connections = 0
        self.ended = threading.Semaphore(0)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.create_server((address, port), family=family, backlog=backlog)
        self.port = self._listening.getsockname()[1]
        self._threads = []
        if talk is not None:
            self._threads.append(threading.Thread(target=self._accept, daemon=True))
            self._threads[0].start()

    def _accept(self):
        while not self.stopping.is_set():
            try:
                opened, _from = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(opened,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, opened):
        # A client that goes is what some of these tests are about.
        with contextlib.suppress(OSError, ValueError), opened:
            if self.context is None:
                self.talk(opened)
            else:
                with self.context.wrap_socket(opened, server_side=True) as secure:
                    self.talk(secure)
        self.ended.release()

    def trickle(self, opened, *texts):
        """Send these byte by byte, the last one over and over, as long as somebody takes it."""
        for text in texts[:-1]:
            for byte in text:
                self._one(opened, byte)
        while not self.stopping.is_set():
            for byte in texts[-1]:
                self._one(opened, byte)

    def _one(self, opened, byte):
        if self.stopping.wait(0.02):
            raise OSError("the test is over")
        opened.sendall(bytes([byte]))

    def close(self):
        self.stopping.set()
        # Only this wakes a thread that waits for a connection.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(timeout=20)


def read_request(opened):
    """The head of a request, without looking at it."""
    text = b""
    while b"\r\n\r\n" not in text:
        part = opened.recv(65536)
        if not part:
            break
        text += part
    return text


class Signed:
    """A certificate with its key; ``pem`` is the certificate alone, ``chain`` those that a server shows with it."""

    def __init__(self, certificate, key, above=()):
        self.certificate, self.key, self.above = certificate, key, above

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def key_pem(self, passphrase=None):
        secret = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret).decode()

    def context(self, directory, chain=(), clients=None):
        """A context of a server that shows this and ``chain``; with ``clients`` it wants a certificate of that authority."""
        file = directory / f"{self.certificate.serial_number}.pem"
        file.write_text(self.pem + "".join(one.pem for one in chain) + self.key_pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=clients.pem)
        return context


def sign(name, issuer=None, *, ca=False, names=(), begin=-10, end=10, key=None, plain=False):
    """A certificate for ``names`` from ``begin`` to ``end`` days from now, signed by ``issuer`` or by itself.

    ``key`` is one that it shares with another; a ``plain`` one says not whether it is a CA.
    """
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    signer = issuer or Signed(None, own)
    builder = x509.CertificateBuilder(
        issuer.certificate.subject if issuer else subject,
        subject,
        own.public_key(),
        x509.random_serial_number(),
        now + begin * DAY,
        now + end * DAY,
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), critical=False)
    if not plain:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
    return Signed(builder.sign(signer.key, hashes.SHA256()), own)


def _general(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
