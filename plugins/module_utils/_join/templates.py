# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Where the Dataplane templates of users are found on the controller, and what is in them."""

from __future__ import annotations

import os
import typing as t


def read(hosts: t.Sequence[t.Dict[str, t.Any]]) -> None:
    """Add to each host in play the texts of the Dataplane templates that it names; each file is read once."""
    seen: t.Dict[str, t.Optional[str]] = {}
    for host in hosts:
        variables = host.get("variables") or {}
        proxies = variables.get("proxies")
        named = [variables, *(item for item in proxies if isinstance(item, dict))] if isinstance(proxies, list) else [variables]
        texts: t.Dict[str, str] = {}
        for path in [item.get("dataplane_template") for item in named]:
            if not host["in_play"] or not isinstance(path, str) or not path:
                continue
            for directory in variables.get("search_dirs") or ["."]:
                full = os.path.join(directory, os.path.expanduser(path))
                if full not in seen:
                    seen[full] = _text(full)
                if seen[full] is not None:
                    texts[path] = str(seen[full])
                    break
        host["templates"] = texts


def _text(path: str) -> t.Optional[str]:
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read()
    except (OSError, UnicodeDecodeError):
        return None
