# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What is said alike in many messages."""

from __future__ import annotations

import typing as t


def some(names: t.Sequence[str], most: int = 10) -> str:
    """The first of many names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (" and %d more" % rest if rest > 0 else "")


def spoken(names: t.Sequence[str]) -> str:
    """All of few names: ``a, b and c``."""
    return ", ".join(names[:-1]) + " and " + names[-1] if names[1:] else "".join(names)


def together(reasons: t.Mapping[str, t.Sequence[str]], most: int = 3) -> t.List[str]:
    """``{host: reasons}`` as sentences, hosts of one reason in one: ``web-1, web-2 and 7 more: the reason``."""
    hosts: t.Dict[str, t.List[str]] = {}
    for host, own in reasons.items():
        for reason in dict.fromkeys(own):
            hosts.setdefault(reason, []).append(host)
    return ["%s: %s" % (some(found, most), reason) for reason, found in hosts.items()]
