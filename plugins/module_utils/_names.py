# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What may be a name. Names become segments of URLs, paths of files, and names of units, so they pass here first. Standard library only."""

from __future__ import annotations

import re
import typing as t

MAXIMUM = 253

_RFC1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
# What control planes up to 2.14 allow as the name of a Mesh and of older resources, but for those that begin with a dash or a dot.
_LOOSE = re.compile(r"[a-z0-9][-a-z0-9_.]*\Z")

EXPECTED = "a lower-case DNS name of at most %d characters, such as web-1" % MAXIMUM
EXPECTED_LOOSE = "a name of at most %d lower-case letters, digits, - _ and . that begins with a letter or a digit, such as default" % MAXIMUM


def is_name(value: t.Any) -> bool:
    """Whether ``value`` may name a Dataplane, a zone proxy or a proxy on a VM: a DNS subdomain (RFC 1123), as Kuma demands."""
    return isinstance(value, str) and len(value) <= MAXIMUM and bool(_RFC1123.match(value))


def is_loose_name(value: t.Any) -> bool:
    """Whether ``value`` may name a Mesh, a zone or any other resource."""
    return isinstance(value, str) and len(value) <= MAXIMUM and bool(_LOOSE.match(value))


def name_problems(option: str, *values: t.Any) -> t.List[str]:
    """A sentence for each of ``values`` that is no name of a proxy; ``option`` is where they were given, such as ``names``."""
    return ["%s is %s, expected %s" % (option, shown(value), EXPECTED) for value in values if not is_name(value)]


def loose_name_problems(option: str, *values: t.Any) -> t.List[str]:
    """A sentence for each of ``values`` that cannot name a Mesh or another resource."""
    return ["%s is %s, expected %s" % (option, shown(value), EXPECTED_LOOSE) for value in values if not is_loose_name(value)]


def shown(value: t.Any) -> str:
    """A value in a message: quoted, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:76] + "...'"
