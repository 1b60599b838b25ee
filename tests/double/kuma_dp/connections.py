# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to the control plane and to Envoy's admin interface."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
import urllib.parse

from .common import RELEASE, Fatal


def tls_context(settings):
    """Verifies with the given CA; without one, older patches do not verify at all."""
    pem = settings["control_plane_ca_cert"]
    if not pem and settings["ca_cert_file"]:
        try:
            with open(settings["ca_cert_file"], encoding="utf-8") as file:
                pem = file.read()
        except OSError as error:
            raise Fatal("could not read certificate file %s: %s" % (settings["ca_cert_file"], error.strerror)) from None
    strict = RELEASE >= (2, 14) or (RELEASE[:2] == (2, 13) and RELEASE >= (2, 13, 7)) or (RELEASE[:2] == (2, 12) and RELEASE >= (2, 12, 11))
    context = ssl.create_default_context()
    try:
        if pem:
            context = ssl.create_default_context(cadata=pem)
    except ssl.SSLError as error:
        raise Fatal("could not add certificate: %s" % error) from None
    if settings["skip_verify"] or not (pem or strict):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context, pem


def connect(url, context, timeout):
    """An HTTP connection to the control plane."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname, parts.port or 443, context=context, timeout=timeout)
    return http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)


def words_of_go(url, error):
    """What kuma-dp says of a request that failed."""
    parts = urllib.parse.urlsplit(url)
    return 'Post "%s/bootstrap": %s' % (url.rstrip("/"), _reason(parts.hostname, parts.port, error))


def _reason(host, port, error):
    if isinstance(error, ssl.SSLCertVerificationError):
        return "tls: failed to verify certificate: x509: " + _certificate(host, error)
    if isinstance(error, ssl.SSLError):
        return "http: server gave HTTP response to HTTPS client"
    if isinstance(error, ConnectionRefusedError):
        return "dial tcp %s:%s: connect: connection refused" % (host, port)
    if isinstance(error, socket.gaierror):
        return "dial tcp: lookup %s: no such host" % host
    if isinstance(error, socket.timeout):
        return "dial tcp %s:%s: i/o timeout" % (host, port)
    return "EOF" if isinstance(error, http.client.HTTPException) else str(error)


def _certificate(host, error):
    # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH.
    if error.verify_code in (9, 10):
        return "certificate has expired or is not yet valid: current time %s" % time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if error.verify_code in (62, 64):
        return "certificate is not valid for any names, but wanted to match %s" % host
    return "certificate signed by unknown authority"


def words_of_envoy(error, accepted):
    """What Envoy says of a stream that ended, or did not begin."""
    if accepted:
        return "upstream_reset_after_response_started{connection_termination}"
    text = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
    details = "remote_connection_failure"
    if isinstance(error, ConnectionRefusedError):
        details += "|delayed_connect_error:_Connection_refused"
    elif isinstance(error, ssl.SSLCertVerificationError):
        failed = "SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify_cert_failed:_X509_verify_cert:"
        details += "|TLS_error:|268435581:%s_certificate_verification_error_at_depth_0:_%s:TLS_error_end" % (
            failed,
            error.verify_message.replace(" ", "_"),
        )
    return "%s{upstream_reset_before_response_started{%s}}" % (text, details)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Admin:
    """Envoy's admin interface, a unix socket or a port of loopback."""

    def __init__(self, address):
        self.pipe = (address.get("pipe") or {}).get("path", "")
        self.port = (address.get("socket_address") or {}).get("port_value", 0)

    def call(self, method, path, timeout):
        """Status, content type and body; raises OSError or HTTPException."""
        connection = (
            UnixConnection(self.pipe, timeout) if self.pipe else http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        )
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.getheader("content-type") or "text/plain", answer.read()
        finally:
            connection.close()

    def ready(self):
        try:
            status, _kind, body = self.call("GET", "/ready", 2)
        except (OSError, http.client.HTTPException):
            return 503, b"NOT_READY\n"
        return status, body
