# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What the client needs below HTTP: its options checked, headers read, and why a request had no answer."""

from __future__ import annotations

import email.utils
import os
import re
import socket
import ssl
import typing as t
from urllib.parse import urlsplit

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import ConnectionFailed, Invalid
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.path import check_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import shown_url

_PEM_BEGIN = b"-----BEGIN CERTIFICATE-----"
# What no URL holds, and what some libraries leave out and others do not, so that two of them would see two hosts.
_STRANGE = re.compile(r"[\x00-\x20\x7f-\xa0\\<>\"^`{|}\u2028\u2029\ud800-\udfff]")


def checked_url(url: str) -> str:
    """The address without a slash at its end; the path that it may have stands before that of every request.

    Raises Invalid when it is not one of an API, and quotes neither a password nor a query.
    """
    cleaned = url.strip().rstrip("/")
    strange = _STRANGE.search(cleaned)
    try:
        parts = urlsplit("" if strange else cleaned)
        usable = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and "%" not in parts.netloc.rpartition("]")[2]
        )
    except ValueError:
        usable, parts = False, urlsplit("")
    # Wherever the @ is: with a / or a # in the password it seems to be in the path, and the password to be the port.
    if "@" in cleaned:
        raise Invalid("url holds a user name or a password", remedy="Remove it and set token instead. An @ in a path is written as %40.")
    shown = naming.shown(shown_url(cleaned))
    if not usable or "?" in cleaned or "#" in cleaned:
        why = f", which holds {strange.group()!r}" if strange else ""
        raise Invalid(
            f"url is {shown}{why}, expected something like https://control-plane.example.com:5682, or with a path such as /kuma behind it",
            remedy="Correct url.",
        )
    try:
        check_path("", "", parts.path or "/")
    except Invalid:
        raise Invalid(f"url is {shown}, whose path would lead to another one", remedy="Correct url.") from None
    # Whoever asks whether this is https means HTTPS as well.
    return parts.scheme + cleaned[len(parts.scheme) :]


def checked_token(token: t.Optional[str]) -> t.Optional[str]:
    """The token without blanks around it, None when it is empty. Raises Invalid, never quoting it, when it cannot be sent."""
    value = (token or "").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", value):
        raise Invalid(
            "token holds a blank, a line break or a character that no token has",
            remedy="Set token to the token alone, for example with the lookup ansible.builtin.file.",
        )
    return value or None


def retry_after(value: t.Optional[str], now: float) -> t.Optional[float]:
    """Seconds to wait by a Retry-After header, given in seconds or as a date."""
    if not value:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def is_file_name(value: str) -> bool:
    """Whether ``value`` can be the name of a file, and not what is to be in one, which may be a key."""
    return naming.is_place(value) and "-----BEGIN" not in value


def _check_name(option: str, value: t.Optional[str]) -> None:
    if value and not is_file_name(value):
        raise Invalid(
            f"{option} is no name of a file (not shown)", remedy=f"Set {option} to the path of a PEM file: what is in it may hold a key."
        )


def check_ca_file(path: str, url: str) -> None:
    """Raise ConnectionFailed of kind tls, naming the file, when ``path`` holds no certificate authority in PEM form.

    Raises Invalid when it is what a file is to hold.
    """
    _check_name("ca_path", path)
    problem = ""
    try:
        if os.path.isdir(path):
            return
        with open(path, "rb") as file:
            text = file.read()
        if _PEM_BEGIN not in text:
            problem = "it holds no certificate in PEM form"
        else:
            ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        problem = "its certificate cannot be read"
    except OSError as exc:
        problem = exc.strerror or "it cannot be read"
    if problem:
        raise ConnectionFailed(
            f"ca_path {path}: {problem}",
            url=url,
            kind="tls",
            remedy="Set ca_path (or KUMA_CA) to the PEM file of the authority that signed the certificate of the control plane.",
        )


def check_client(cert: t.Optional[str], key: t.Optional[str], url: str) -> t.Optional[t.Tuple[str, t.Optional[str]]]:
    """The files of a client's certificate, None without one. The key may be in the file of the certificate.

    Raises ConnectionFailed of kind tls, naming option and file and never what is in it, when they cannot be used; Invalid for what is in one.
    """
    _check_name("client_cert", cert)
    _check_name("client_key", key)
    if not cert:
        if key:
            raise ConnectionFailed(f"client_key is {key}, and client_cert is not set", url=url, kind="tls", remedy="Set both, or none.")
        return None
    option, path = ("client_key", key) if key else ("client_cert", cert)
    for name, file in (("client_cert", cert), ("client_key", key)):
        if file:
            _check_readable(name, file, url)

    def encrypted() -> str:
        raise _Encrypted

    remedy = "Set client_cert and client_key to PEM files of a certificate that the API accepts and of its key."
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key or None, password=encrypted)
    except _Encrypted:
        problem = "it is encrypted, and there is nobody to type its passphrase"
        remedy = "Give a key without one, made by `openssl pkey -in <key> -out <new key>`, that only its owner may read."
    except ssl.SSLError as exc:
        mismatch = exc.reason == "KEY_VALUES_MISMATCH"
        problem = f"it is not the key of the certificate {cert}" if mismatch else "there is no certificate with its key in it, in PEM form"
    except (OSError, ValueError) as exc:
        problem = getattr(exc, "strerror", None) or "it cannot be read"
    else:
        return cert, key or None
    raise ConnectionFailed(f"{option} {path}: {problem}", url=url, kind="tls", remedy=remedy)


class _Encrypted(Exception):
    pass


def _check_readable(option: str, path: str, url: str) -> None:
    try:
        with open(path, "rb"):
            return
    except OSError as exc:
        raise ConnectionFailed(
            f"{option} {path}: {exc.strerror or 'it cannot be read'}",
            url=url,
            kind="tls",
            remedy=f"Correct {option}, or the rights of the file.",
        ) from None


def causes(exc: BaseException) -> t.Iterator[BaseException]:
    """``exc`` and everything that led to it."""
    seen: t.Set[int] = set()
    queue: t.List[t.Any] = [exc]
    while queue:
        current = queue.pop(0)
        if isinstance(current, BaseException) and id(current) not in seen:
            seen.add(id(current))
            yield current
            queue.extend([*current.args, getattr(current, "reason", None), current.__cause__, current.__context__])


def is_timeout(exc: BaseException) -> bool:
    return any(isinstance(cause, socket.timeout) for cause in causes(exc))


def is_retryable(exc: BaseException) -> bool:
    """Whether the same request may succeed when sent again: refused, reset, cut, not yet resolvable or not reachable in time.

    Not after a read timeout: the control plane is there but slow, and asking again makes it slower.
    """
    return _classify(exc) == "connection"


def failure_of(
    exc: BaseException, method: str, url: str, ca_path: t.Optional[str], timeout: t.Tuple[float, float]
) -> t.Optional[ConnectionFailed]:
    """The error for an exception of the HTTP library, or None when it is not one of the network."""
    if _names(exc) & {"InvalidURL", "InvalidSchema", "InvalidProxyURL", "LocationParseError"}:
        # Without what the library says: it quotes, and the URL of a proxy may hold a password.
        return ConnectionFailed(
            "no request can be made, for the URL or that of the HTTP proxy of the environment cannot be used",
            method=method,
            url=url,
            remedy="Correct url, or HTTP_PROXY and HTTPS_PROXY, or name the control plane in NO_PROXY.",
        )
    kind = _classify(exc)
    if kind is None:
        return None
    reason = _reason(exc)
    if "NotSecureInTime" in _names(exc):
        return ConnectionFailed(
            f"no secure connection within {timeout[0]:g} s",
            method=method,
            url=url,
            kind="timeout",
            remedy="Something listens there that does not begin TLS: check url and its port (5682 for https), and that the control plane runs.",
        )
    if kind == "timeout":
        return ConnectionFailed(
            f"no complete answer within {timeout[1]:g} s",
            method=method,
            url=url,
            kind="timeout",
            remedy="Raise timeout, or look at the load of the control plane.",
        )
    if kind == "tls":
        reason = reason or next((str(cause.reason) for cause in causes(exc) if isinstance(cause, ssl.SSLError) and cause.reason), "")
        return ConnectionFailed("no secure connection", reason, method=method, url=url, kind="tls", remedy=_tls_remedy(reason, ca_path))
    if "ProxyError" in _names(exc):
        return ConnectionFailed(
            "the HTTP proxy of the environment did not connect",
            reason,
            method=method,
            url=url,
            remedy="Check HTTP_PROXY and HTTPS_PROXY, or name the control plane in NO_PROXY.",
        )
    return ConnectionFailed(
        "cannot reach the control plane" if "ConnectTimeout" not in _names(exc) else f"no connection within {timeout[0]:g} s",
        reason,
        method=method,
        url=url,
        remedy="Check url, its port (5681 for http, 5682 for https), firewalls between here and there, and that the control plane runs.",
    )


def _tls_remedy(reason: str, ca_path: t.Optional[str]) -> str:
    trusted = f"the CA file {ca_path}" if ca_path else "the authorities of this system (ca_path is not set)"
    lowered = reason.lower()
    if "hostname mismatch" in lowered or "ip address mismatch" in lowered or "doesn't match" in lowered:
        return (
            f"The certificate is trusted by {trusted}, but it is for other names: "
            "set url to a name or address that the certificate holds, or give the control plane a certificate for this one."
        )
    if "expired" in lowered or "not yet valid" in lowered:
        return f"Checked with {trusted}. Renew the certificate, or correct the clock of this machine."
    if "wrong version number" in lowered or "wrong_version_number" in lowered:
        return "The port does not speak HTTPS: the port of the API for https is 5682."
    if "certificate verify failed" in lowered or "certificate_verify_failed" in lowered:
        return (
            f"Checked with {trusted}, which did not sign the certificate of the control plane: "
            "set ca_path (or KUMA_CA) to the PEM file of the authority that did."
        )
    if "alert" in lowered:
        return (
            "The control plane, or a proxy before it, refused this client: set client_cert and client_key to a certificate that it accepts, "
            "if it wants one."
        )
    return f"Checked with {trusted}. Check that url is that of the HTTPS API (port 5682)."


def _classify(exc: BaseException) -> t.Optional[str]:
    """connection, tls, timeout, or None for what is no failure of the network. By name: this file does not import requests."""
    names = _names(exc)
    if "OutOfTime" in names:
        return "timeout"
    # The bases of what requests raises, and of what urllib3 does where a body is read.
    if not names & {"RequestException", "HTTPError"}:
        return None
    if "SSLError" in names:
        # A connection that is cut while TLS starts is an SSL error too.
        cut = ("UNEXPECTED_EOF", "EOF occurred", "ConnectionResetError", "Connection reset", "Broken pipe")
        return "connection" if any(mark in str(exc) for mark in cut) else "tls"
    if any(isinstance(cause, ssl.SSLError) and "ALERT" in str(cause.reason) for cause in causes(exc)):
        # With TLS 1.3 a server that wants another client says so after the handshake.
        return "tls"
    if names & {"ReadTimeout", "ReadTimeoutError"} or "Read timed out" in str(exc):
        return "timeout"
    if names & {"ConnectionError", "ConnectTimeout", "ProtocolError"}:
        return "connection"
    return None


def _names(exc: BaseException) -> t.Set[str]:
    return {cls.__name__ for cls in type(exc).__mro__}


def _reason(exc: BaseException) -> str:
    """The innermost cause in words: ``Connection refused`` instead of four classes around it."""
    best = ""
    for cause in causes(exc):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate verify failed: {cause.verify_message}"
        if "CertificateError" in _names(cause):
            # urllib3 before 2.0 compares names itself.
            return f"certificate verify failed: {cause}"
        if isinstance(cause, OSError) and cause.strerror:
            best = cause.strerror
        elif _names(cause) & {"RemoteDisconnected", "IncompleteRead"} or str(cause) == "IncompleteRead":
            best = "the connection was closed without a complete response"
    return best
