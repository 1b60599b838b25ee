# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Asks an application on its own VM by HTTP whether it works, which Kuma's probes, TCP alone, cannot tell. Standard library only.

A gate is ``{proxy, service, address, port, path, status, timeout, interval}``; times are seconds, ``status`` a list of codes.
"""

from __future__ import annotations

import http.client
import re
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.details import Reader

Gate = t.Mapping[str, t.Any]
# Status and problem of one request; one of the two is empty.
Answer = t.Tuple[int, str]

_KEYS = frozenset({"path", "status", "timeout", "interval"})
_TIMES = {"timeout": "60s", "interval": "1s"}
_ANSWER_WITHIN = 5.0
OPTIONS: t.Dict[str, t.Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "proxy": {"type": "str", "required": True},
        "service": {"type": "str", "required": True},
        "address": {"type": "str", "default": "127.0.0.1"},
        "port": {"type": "int", "required": True},
        "path": {"type": "str", "default": "/"},
        "status": {"type": "list", "elements": "int", "default": [200]},
        "timeout": {"type": "float", "default": 60.0},
        "interval": {"type": "float", "default": 1.0},
    },
}


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
        seconds = resource.seconds(found.get(key, default))
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


def ask(gate: Gate) -> Answer:
    """One request."""
    connection = http.client.HTTPConnection(gate["address"], gate["port"], timeout=_ANSWER_WITHIN)
    try:
        connection.request("GET", gate["path"], headers={"User-Agent": "meshfleet.kuma"})
        return connection.getresponse().status, ""
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or repr(error)
    finally:
        connection.close()


def closed(
    gates: t.Iterable[Gate],
    asking: t.Callable[[Gate], Answer] = ask,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], t.Any] = time.sleep,
) -> t.List[str]:
    """Ask each application until it answers as it should or its time is over; what is wrong with those that did not."""
    problems = []
    begun = clock()
    for gate in gates:
        while True:
            status, problem = asking(gate)
            if status in gate["status"]:
                break
            if clock() - begun >= gate["timeout"]:
                problems.append(_sentence(gate, status, problem))
                break
            sleep(min(gate["interval"], max(0.0, gate["timeout"] - (clock() - begun))))
    return problems


def _sentence(gate: Gate, status: int, problem: str) -> str:
    host = "[%s]" % gate["address"] if ":" in gate["address"] else gate["address"]
    return "the application behind %s answers http://%s:%d%s with %s after %g s, expected status %s" % (
        gate["service"],
        host,
        gate["port"],
        gate["path"],
        status or problem,
        gate["timeout"],
        " or ".join(str(code) for code in gate["status"]),
    )
