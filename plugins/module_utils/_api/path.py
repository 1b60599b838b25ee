# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Paths of the API. HTTP libraries drop `..` and what is before it, so a name could reach another resource than the one it is of."""

from __future__ import annotations

import re
import typing as t
import unicodedata
from urllib.parse import quote, unquote

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import Invalid
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming

# What would begin a query, a fragment or another segment.
_SEPARATORS = frozenset("/\\?#")
# Where one of these is, HTTP libraries escape the escapes of the whole path once more.
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def api_path(*segments: str) -> str:
    """A path of the API; names in it are escaped: ``api_path("meshes", mesh, "dataplanes", name)``.

    Raises Invalid, naming the segment, when one of them cannot be exactly one segment.
    """
    for segment in segments:
        problem = _problem(segment, "/\\")
        if problem:
            raise Invalid(
                f"{naming.shown(segment)} {problem}, expected the name of one resource",
                remedy="Nothing was sent. Correct the name, or the mesh.",
            )
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def check_path(method: str, url: str, path: str) -> None:
    """Raise Invalid when a request to ``path`` could reach another one: each segment is looked at as it is and unescaped.

    ``url`` is the address of the control plane, for the message.
    """
    if path == "/":
        return
    problem = "" if path.startswith("/") else "does not begin with /"
    for segment in path[1:].split("/"):
        problem = problem or _problem(segment, _SEPARATORS)
        if not problem and _NO_ESCAPE.search(segment):
            problem = "holds a % that begins no escape"
        while not problem and unquote(segment) != segment:
            # More than once: what is before the control plane may unescape too.
            segment = unquote(segment)
            problem = _problem(segment, "/\\")
        if problem:
            raise Invalid(
                f"the path holds {naming.shown(segment)}, which {problem}, expected the name of one resource",
                method=method,
                url=url + path,
                remedy="Nothing was sent. Correct the name, or the mesh.",
            )


def _problem(segment: t.Any, separators: t.Collection[str]) -> str:
    """Why this is no segment; empty when it is one."""
    if not isinstance(segment, str):
        return "is no text"
    if not segment:
        return "is empty"
    # Proxies in Java take what follows a semicolon for parameters, and read `..;x` as `..`.
    if segment.split(";")[0] in ("", ".", ".."):
        return "stands for another path"
    if any(character in separators for character in segment):
        return "is not one segment of a path"
    # Cc are control characters, Cs are halves of characters, which no URL can hold.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in segment):
        return "holds a character that no path has"
    return ""
