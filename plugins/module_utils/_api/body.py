# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The body of an answer: how large it may be, and what it is. Pure functions."""

from __future__ import annotations

import json
import typing as t
import zlib

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import nesting

# A page of 1,000 Dataplanes with their status is 5 MiB; the endpoints of a proxy that calls 10,000 VMs are 10 MiB.
LARGEST = 64 << 20
# Of an error nobody reads more.
LARGEST_ERROR = 64 << 10

_UNPACK: t.Mapping[str, int] = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class TooLarge(Exception):
    """The answer is larger than it may be, also one that was small until it was unpacked."""


class Unreadable(Exception):
    """The answer is encoded in a way that nobody asked for, or broken."""


def collect(chunks: t.Iterable[bytes], encoding: str, most: int, cut: bool = False) -> bytes:
    """The body that comes in ``chunks``, unpacked by the header Content-Encoding. No more than ``most`` bytes of it are ever held.

    Raises Unreadable; and TooLarge, unless ``cut`` says that its beginning is enough.
    """
    parts: t.List[bytes] = []
    size = 0
    for part in _unpacked(chunks, encoding.strip().lower(), most + 1):
        parts.append(part)
        size += len(part)
        if size > most:
            if not cut:
                raise TooLarge
            return b"".join(parts)[:most]
    return b"".join(parts)


def _unpacked(chunks: t.Iterable[bytes], encoding: str, most: int) -> t.Iterator[bytes]:
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding not in _UNPACK:
        raise Unreadable(f"it is encoded as {encoding[:40]!r}, which was not asked for")
    machine = zlib.decompressobj(_UNPACK[encoding])
    try:
        for chunk in chunks:
            while chunk:
                yield machine.decompress(chunk, most)
                chunk = machine.unconsumed_tail
    except zlib.error as exc:
        raise Unreadable(f"it is no {encoding}: {exc}") from None
    if not machine.eof:
        raise Unreadable(f"its {encoding} is not complete")


def first_json(text: str) -> t.Any:
    """The first JSON document of a text, or None. Old versions answer some errors with two of them (kuma 2.7 to 2.13).

    One that is too deep or too large to look into is none.
    """
    try:
        found = json.JSONDecoder().raw_decode(text.lstrip("\ufeff \t\r\n"))[0]
    except (ValueError, RecursionError):
        return None
    return None if nesting.fault(found) else found
