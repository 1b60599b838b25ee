# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Why a proxy gets no configuration, from what kuma-dp and its Envoy log. Pure functions. The codes are compared, texts are for people.

The texts are those of Kuma 2.12 to 3.0 and of their Envoy, recorded in ``tests/unit/vm/refusals-2.14.3.json``.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import redact

EXPIRED, REVOKED, FOREIGN, MESH, CLAIMS = "expired", "revoked", "foreign", "mesh", "claims"
SIGNATURE, KEY, EARLY, BROKEN = "signature", "key", "early", "broken"
# What another token may change.
TOKEN = frozenset((EXPIRED, REVOKED, FOREIGN, MESH, CLAIMS, SIGNATURE, KEY, EARLY, BROKEN))
AUTHORITY, DATES, HOST, PORT, UNREACHABLE = "authority", "dates", "host", "port", "unreachable"
UNREGISTERED, BUSY, OTHER = "unregistered", "busy", "other"

# Whoever is refused by a control plane that then goes away is told this at last; the token is as bad as it was.
_WEAK = frozenset((UNREACHABLE, BUSY, OTHER))

SAID = 300  # characters of a text that are kept

# The first that matches decides, so that what says more comes first: x509 says "not yet valid" as well.
_TEXTS: t.Sequence[t.Tuple[str, str]] = (
    (DATES, r"x509: certificate has expired or is not yet valid|CERTIFICATE_VERIFY_FAILED.*(expired|not_yet_valid)"),
    (
        HOST,
        r"x509: certificate is (not )?valid for|x509: cannot validate certificate for|has the following SANs|CERTIFICATE_VERIFY_FAILED.*SAN",
    ),
    (AUTHORITY, r"x509: |CERTIFICATE_VERIFY_FAILED|could not add certificate|not a certificate authority|could not read certificate file"),
    (PORT, r"no /bootstrap endpoint|gave HTTP response to HTTPS client|does not look like a TLS handshake|WRONG_VERSION_NUMBER"),
    (PORT, r"Make sure you are using https URL|unsupported URL scheme|bootstrap config\. invalid character"),
    (OTHER, r"could not check if the token is revoked"),
    (REVOKED, r"token is revoked"),
    (EXPIRED, r"token is expired"),
    (EARLY, r"token is not yet valid|token is not valid yet"),
    (FOREIGN, r"(name|zone) from requestor: .* is different than in token"),
    (MESH, r"mesh from requestor: .* is different than in token"),
    (CLAIMS, r"required by the token|not allowed with this token|requires a workload-bound token|out of token's scope"),
    (KEY, r"there is no signing key with KID"),
    (SIGNATURE, r"token signature is invalid|token is unverifiable"),
    (BROKEN, r"dataplane token is invalid|token is malformed|Dataplane Token is required"),
    (UNREGISTERED, r"entity is not yet found|entity not found|not found; create a"),
    (BUSY, r"already an active stream"),
    (
        UNREACHABLE,
        r"connection refused|no such host|i/o timeout|no route to host|network is unreachable|deadline exceeded|handshake timeout",
    ),
    (UNREACHABLE, r"upstream connect error|connection reset|: EOF|server misbehaving"),
)
_KINDS = [(code, re.compile(pattern, re.IGNORECASE)) for code, pattern in _TEXTS]

# Envoy's stream: "closed: 2, why" and "closed since 38s ago: 14, why"; after a change of reasons also "(previously 14, why since 5s ago)".
_STREAM = re.compile(r"gRPC config stream(?: to \S+)? closed(?: since \d+s ago)?: (\d+), (.*)")
_EARLIER = re.compile(r" \(previously .*")
_DETAILS = re.compile(r"\{via_upstream\}\s*\Z")
_IN_MEMORY = re.compile(r"\. kuma-cp runs with an in-memory database.*?instances of the control plane(?=: )")
_FATAL = re.compile(r"\AError: (.*)")
_RETRIED = "could not fetch bootstrap configuration"
# Whoever is told to stop meanwhile says so, which is no reason.
_STOPPED = "context canceled"
_NOT_FOUND = "Dataplane entity is not yet found"
# It began anew, or got a configuration: what was said before holds no more.
_AFRESH = ("starting Data Plane", "lds: add/update listener")
# A stream that ends after it was accepted.
_ENDED = "after_response_started"
_LONGEST = 4000  # characters of a line that are looked at


class Refusal(t.NamedTuple):
    """``code`` is what it comes to, ``said`` the text of Kuma or Envoy, without secrets."""

    code: str
    said: str


def found(lines: t.Iterable[str]) -> t.Optional[Refusal]:
    """What the last line of a proxy's journal that tells says; None where it does not, or where the proxy was accepted since.

    That nobody answers does not replace what was answered before.
    """
    last: t.Optional[Refusal] = None
    for line in lines:
        text = _told(line[:_LONGEST])
        if text is None:
            continue
        refusal = classified(text) if text else None
        if refusal is None or last is None or refusal.code not in _WEAK or last.code in _WEAK:
            last = refusal
    return last


def classified(text: str) -> Refusal:
    """The reason in a text of kuma-dp or Envoy."""
    code = next((code for code, pattern in _KINDS if pattern.search(text)), OTHER)
    return Refusal(code, redact(_shortened(text)))


def _told(line: str) -> t.Optional[str]:
    """Why a line says that there is no configuration; empty when it says that there is one, or may be again. None: it says neither."""
    if any(mark in line for mark in _AFRESH):
        return ""
    stream = _STREAM.search(line)
    if stream:
        text = _EARLIER.sub("", stream.group(2))
        return "" if _ENDED in text else text
    if _RETRIED in line:
        return _error_of(line)
    if _NOT_FOUND in line:
        return _NOT_FOUND + " in the Control Plane"
    fatal = _FATAL.search(line)
    if fatal and _STOPPED not in line:
        return fatal.group(1)
    return None


def _error_of(line: str) -> t.Optional[str]:
    """``err`` of the details at the end of a line of kuma-dp. None when it was told to stop."""
    text = line
    try:
        details = json.loads(line[line.index("{") :])
        text = str(details["err"])
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return None if _STOPPED in text else text


def _shortened(text: str) -> str:
    text = "".join(character if character.isprintable() else " " for character in _IN_MEMORY.sub("", _DETAILS.sub("", text)))
    text = " ".join(text.split())
    return text if len(text) <= SAID else text[: SAID - 3] + "..."
