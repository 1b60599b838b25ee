# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What certificates say: who they are of, who signed them, for which names and until when. Pure functions, standard library only.

The module ssl tells this of certificates that it trusts alone, and of the others it is what a message has to say. Nothing is verified here.
"""

from __future__ import annotations

import base64
import binascii
import calendar
import hashlib
import ipaddress
import re
import ssl
import time
import typing as t

_PEM = re.compile(r"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----(.*?)-----END (?:TRUSTED |X509 )?CERTIFICATE-----", re.DOTALL)
# How kuma-dp finds them, which is written in Go: others are left out there without a word.
_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )?CERTIFICATE-----")
_EXACT = re.compile(r"^-----BEGIN CERTIFICATE-----[ \t]*\r?\n.*?^-----END CERTIFICATE-----[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
_LONGEST = 120

_SEQUENCE, _BOOLEAN, _OCTETS, _OID = 0x30, 0x01, 0x04, 0x06
_VERSION, _EXTENSIONS, _KEY_ID, _DNS, _IP = 0xA0, 0xA3, 0x80, 0x82, 0x87
_SHORT_TIME, _LONG_TIME = 0x17, 0x18
_SUBJECT_KEY, _NAMES, _BASIC, _AUTHORITY_KEY = b"\x55\x1d\x0e", b"\x55\x1d\x11", b"\x55\x1d\x13", b"\x55\x1d\x23"
# What parts of a subject are called; of others nobody asks.
_PARTS = {b"\x55\x04\x03": "CN", b"\x55\x04\x06": "C", b"\x55\x04\x0a": "O", b"\x55\x04\x0b": "OU"}
_ENCODINGS = {0x0C: "utf-8", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}

# A piece of DER: its tag, and where its content is.
_Piece = t.Tuple[int, int, int]


class Certificate(t.NamedTuple):
    """``subject`` and ``issuer`` are for people; ``subject_id`` and ``issuer_id`` are equal where one signed the other.

    ``names`` are those of the server that it is for, addresses among them. The times are seconds since 1970. ``authority`` is whether it may
    sign others, None when it does not say. ``key_id`` and ``issuer_key_id`` name keys, where it says them.
    """

    subject: str
    issuer: str
    names: t.List[str]
    not_before: float
    not_after: float
    authority: t.Optional[bool]
    sha256: str
    subject_id: str
    issuer_id: str
    key_id: str
    issuer_key_id: str

    @property
    def self_signed(self) -> bool:
        return self.subject_id == self.issuer_id and self.issuer_key_id in ("", self.key_id)

    def may_have_signed(self, other: Certificate) -> bool:
        """Whether ``other`` says so."""
        return self.subject_id == other.issuer_id and (not self.key_id or other.issuer_key_id in ("", self.key_id))

    def valid_at(self, seconds: float) -> bool:
        return self.not_before <= seconds <= self.not_after


def of_pem(text: str) -> t.List[Certificate]:
    """Every certificate of a text, in its order. Raises ValueError, saying which, when one cannot be read."""
    return [of_der(data) for data in _ders(text)]


def bundle(*texts: str) -> str:
    """The certificates of several texts in one, each once, in the order in which they come. Raises ValueError."""
    found = {hashlib.sha256(data).digest(): data for text in texts for data in _ders(text)}
    return "".join(ssl.DER_cert_to_PEM_cert(data) for data in found.values())


def split(text: str) -> t.List[str]:
    """The certificates of a text, each as a text of its own. Raises ValueError."""
    return [ssl.DER_cert_to_PEM_cert(data) for data in _ders(text)]


def overlooked(text: str) -> int:
    """The number of the first certificate of a text, from 1 on, that kuma-dp would not find, or would stumble over; 0 where there is none.

    It is indented, folded into one line, follows another one or the mark of an encoding without a line break, or is an OpenSSL trusted certificate.
    """
    found = {match.start() for match in _EXACT.finditer(text)}
    return next((number for number, match in enumerate(_BEGIN.finditer(text), 1) if match.start() not in found), 0)


def holds_key(text: str) -> bool:
    """Whether there is a private key in it as well."""
    return _KEY.search(text) is not None


def _ders(text: str) -> t.List[bytes]:
    found = []
    for number, match in enumerate(_PEM.finditer(text), 1):
        try:
            data = base64.b64decode("".join(match.group(1).split()), validate=True)
            of_der(data)
        except (binascii.Error, ValueError):
            raise ValueError("certificate %d cannot be read" % number) from None
        found.append(data)
    return found


def of_der(data: bytes) -> Certificate:
    """Raises ValueError when it is no certificate."""
    try:
        return _certificate(data)
    except (IndexError, UnicodeError, OverflowError) as exc:
        raise ValueError("it is no certificate: %s" % exc) from None


def _certificate(data: bytes) -> Certificate:
    top = _piece(data, 0, len(data), _SEQUENCE)
    signed = _pieces(data, _pieces(data, top)[0])
    if signed[0][0] == _VERSION:
        signed = signed[1:]
    _serial, _algorithm, issuer, validity, subject, _key = signed[:6]
    begin, end = [_time(data, piece) for piece in _pieces(data, validity)]
    extensions = {}
    for piece in signed[6:]:
        if piece[0] == _EXTENSIONS:
            for extension in _pieces(data, _pieces(data, piece)[0]):
                parts = _pieces(data, extension)
                extensions[_content(data, parts[0])] = _content(data, parts[-1])
    return Certificate(
        subject=_text(data, subject),
        issuer=_text(data, issuer),
        names=_names(extensions.get(_NAMES)),
        not_before=begin,
        not_after=end,
        authority=_authority(extensions.get(_BASIC)),
        sha256=hashlib.sha256(data).hexdigest(),
        subject_id=_content(data, subject).hex(),
        issuer_id=_content(data, issuer).hex(),
        key_id=_key_id(extensions.get(_SUBJECT_KEY), _OCTETS),
        issuer_key_id=_key_id(extensions.get(_AUTHORITY_KEY), _KEY_ID),
    )


def _piece(data: bytes, begin: int, end: int, tag: t.Optional[int] = None) -> _Piece:
    """The piece that begins there and ends before ``end``."""
    if end - begin < 2 or (tag is not None and data[begin] != tag):
        raise ValueError("it is no DER")
    length, place = data[begin + 1], begin + 2
    if length >= 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4 or place + size > end:
            raise ValueError("it is no DER")
        length, place = int.from_bytes(data[place : place + size], "big"), place + size
    if place + length > end:
        raise ValueError("it is cut")
    return data[begin], place, place + length


def _pieces(data: bytes, outer: _Piece) -> t.List[_Piece]:
    _tag, place, end = outer
    found = []
    while place < end:
        found.append(_piece(data, place, end))
        place = found[-1][2]
    return found


def _content(data: bytes, piece: _Piece) -> bytes:
    return data[piece[1] : piece[2]]


def _time(data: bytes, piece: _Piece) -> float:
    text = _content(data, piece).decode("ascii")
    if piece[0] == _SHORT_TIME:
        # Two digits are a year from 1950 to 2049.
        text = ("19" if text >= "50" else "20") + text
    elif piece[0] != _LONG_TIME:
        raise ValueError("it is no time")
    return float(calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ")))


def _text(data: bytes, name: _Piece) -> str:
    """A name for people. It may come from anybody, so that nothing in it reaches a terminal as it is."""
    found = []
    for several in _pieces(data, name):
        for pair in _pieces(data, several):
            oid, value = _pieces(data, pair)[:2]
            part = _PARTS.get(_content(data, oid))
            if part:
                found.append("%s=%s" % (part, printable(_content(data, value).decode(_ENCODINGS.get(value[0], "latin-1"), "replace"))))
    text = ", ".join(found) or "no name"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def printable(text: str) -> str:
    """A text of others without what a terminal would take for a command."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _names(extension: t.Optional[bytes]) -> t.List[str]:
    found = []
    if extension is not None:
        for piece in _pieces(extension, _piece(extension, 0, len(extension), _SEQUENCE)):
            content = _content(extension, piece)
            if piece[0] == _DNS:
                found.append(printable(content.decode("ascii", "replace")))
            elif piece[0] == _IP and len(content) in (4, 16):
                found.append(str(ipaddress.ip_address(content)))
    return found


def _authority(extension: t.Optional[bytes]) -> t.Optional[bool]:
    if extension is None:
        return None
    inner = _pieces(extension, _piece(extension, 0, len(extension), _SEQUENCE))
    return bool(inner) and inner[0][0] == _BOOLEAN and _content(extension, inner[0]) != b"\x00"


def _key_id(extension: t.Optional[bytes], tag: int) -> str:
    if extension is None:
        return ""
    whole = _piece(extension, 0, len(extension))
    pieces = [whole] if tag == _OCTETS else _pieces(extension, whole)
    return next((_content(extension, piece).hex() for piece in pieces if piece[0] == tag), "")
