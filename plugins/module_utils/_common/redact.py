# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Texts of others without the secrets in them."""

from __future__ import annotations

import json
import re
import typing as t

# Whoever logs what is looked at here chooses it, so nothing is looked through once for each place where something may begin.
_DOTTED = re.compile(r"[A-Za-z0-9_.-]+")
_JWT, _JWT_AT_LEAST = "eyJ", 8  # how one begins, and how long the part before its first dot is
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_SECRET_NAME = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|SIGNING_?KEY)S?\Z", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"^([ \t]*(?:export )?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*)(.+)$", re.MULTILINE)
_ENTRY = re.compile(r"([ \t]*(?:- +)*)([\"']?([A-Za-z_][A-Za-z0-9_]*)[\"']?:)[ \t]+(\S.*)\Z")
# A value of an entry that is no secret, whatever it is called.
_PLAIN = re.compile(r"(true|false|null|~|[0-9.]+)\Z", re.IGNORECASE)
_USER_INFO = re.compile(r"((?<=[a-z0-9+.-])://)[^\s/?#\"']*@", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
HIDDEN = "(hidden)"


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name is likely to hold a secret itself, not the path of one."""
    return bool(_SECRET_NAME.search(name))


def redact(text: str) -> str:
    """``text`` without tokens, private keys, the user and password of URLs, and the values of variables that are named like secrets."""
    text = without_user(_PRIVATE_KEY.sub(r"\1 %s \2" % HIDDEN, _DOTTED.sub(_without_jwts, text)))
    return _ASSIGNMENT.sub(lambda match: match.group(1) + (HIDDEN if is_secret_name(match.group(2)) else match.group(3)), text)


def _without_jwts(match: t.Match[str]) -> str:
    """What consists of the characters of a JWT, without those that are in it: a part that begins like one, and one or two parts behind dots."""
    parts = match.group().split(".")
    kept, number = [], 0
    while number < len(parts):
        part = parts[number]
        begins = part.find(_JWT)
        if begins >= 0 and len(part) - begins >= _JWT_AT_LEAST and number + 1 < len(parts):
            kept.append(part[:begins] + HIDDEN)
            number += 2
        else:
            kept.append(part)
        number += 1
    return ".".join(kept)


def redact_document(text: str) -> str:
    """The same for the content of a file, which may be YAML: values that go on in the following lines are hidden as a whole."""
    lines: t.List[str] = []
    hidden_below: t.Optional[int] = None
    for line in redact(text).splitlines(keepends=True):
        indent = len(line) - len(line.lstrip())
        if hidden_below is not None and (indent > hidden_below or not line.strip()):
            continue
        hidden_below = None
        entry = _ENTRY.match(line.rstrip("\r\n"))
        if entry and is_secret_name(entry.group(3)) and not _PLAIN.match(entry.group(4)):
            hidden_below = len(entry.group(1))
            line = "%s%s %s\n" % (entry.group(1), entry.group(2), HIDDEN)
        lines.append(line)
    return "".join(lines)


def without_user(text: str) -> str:
    """``text`` without the user and the password that URLs in it hold."""
    return _USER_INFO.sub(r"\1%s@" % HIDDEN, text)


def shown_url(url: str) -> str:
    """A URL as messages have it, also one that is none: without what is before its last @, which may be a password, and without a query."""
    _user, at, place = url.rpartition("@")
    scheme = _SCHEME.match(url)
    found = (scheme.group() if scheme else "") + HIDDEN + at + place if at else url
    return re.sub(r"(?<=[?#]).+", "...", found, flags=re.DOTALL)


def forms(secret: str) -> t.Set[str]:
    """The texts that ``secret`` may be in others: itself, and as Python and JSON write it, which is another one where it has several lines."""
    return {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]} - {""}


def without(text: str, secrets: t.Iterable[str]) -> str:
    """``text`` without these values, the longest first; those of less than six characters are words that stand for other things as well."""
    for form in sorted({form for secret in secrets for form in forms(secret) if len(form) >= 6}, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text
