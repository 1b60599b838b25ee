# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Texts of others without the secrets in them."""

from __future__ import annotations

import re

_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*){1,2}")
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_SECRET_NAME = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|SIGNING_?KEY)S?\Z", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"^([ \t]*(?:export )?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*)(.+)$", re.MULTILINE)
HIDDEN = "(hidden)"


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name is likely to hold a secret itself, not the path of one."""
    return bool(_SECRET_NAME.search(name))


def redact(text: str) -> str:
    """``text`` without tokens, private keys and the values of variables that are named like secrets."""
    text = _PRIVATE_KEY.sub(r"\1 %s \2" % HIDDEN, _JWT.sub(HIDDEN, text))
    return _ASSIGNMENT.sub(lambda match: match.group(1) + (HIDDEN if is_secret_name(match.group(2)) else match.group(3)), text)
