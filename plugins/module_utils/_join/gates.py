# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What the inventory says about the gates of services, and the gates that a proxy gets. Pure functions.

A gate is asked by ``_vm/gate.py``, which says what is in it.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import go_seconds
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.reader import Reader

_KEYS = frozenset({"path", "status", "timeout", "interval"})
_TIMES = {"timeout": "60s", "interval": "1s"}


def read(reader: Reader, value: t.Any, field: str) -> t.Optional[t.Dict[str, t.Any]]:
    """``{path, status, timeout, interval}`` of what the inventory says; faults go to ``reader``."""
    found = reader.mapping(value, field, _KEYS)
    path = found.get("path")
    if not isinstance(path, str) or not re.match(r"/[!-~]*\Z", path):
        reader.fault(field + ".path", path, "a path that begins with /, such as /healthz")
    given = found.get("status", 200)
    codes = given if isinstance(given, list) else [given]
    status = [int(code) for code in codes if not isinstance(code, bool) and re.match(r"[1-5][0-9][0-9]\Z", str(code))]
    if not codes or len(status) != len(codes):
        reader.fault(field + ".status", given, "the status of an application that works, such as 200, or a list of them")
    times = {}
    for key, default in _TIMES.items():
        seconds = go_seconds(found.get(key, default))
        if not isinstance(seconds, float) or not 0 < seconds <= 86400:
            reader.fault("%s.%s" % (field, key), found[key], "a duration above zero such as %s" % default)
        else:
            times[key] = seconds
    return {"path": path, "status": status, **times}


def of_proxy(name: str, services: t.Iterable[t.Mapping[str, t.Any]]) -> t.List[t.Dict[str, t.Any]]:
    """The gates of a proxy with these services: the application itself is asked, not the proxy before it."""
    return [
        {
            "proxy": name,
            "service": service["name"],
            "address": service.get("service_address") or "127.0.0.1",
            "port": int(service.get("service_port") or service["port"]),
            **service["gate"],
        }
        for service in services
        if service.get("gate")
    ]
