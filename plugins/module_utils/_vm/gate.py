# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Asks an application on its own VM by HTTP whether it works, which Kuma's probes, TCP alone, cannot tell. Standard library only.

A gate is ``{proxy, service, address, port, path, status, timeout, interval}``; times are seconds, ``status`` a list of codes.
"""

from __future__ import annotations

import http.client
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import asking

Gate = t.Mapping[str, t.Any]
# Status and problem of one request; one of the two is empty.
Answer = t.Tuple[int, str]

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


def ask(gate: Gate) -> Answer:
    """One request."""
    way = asking.Way(gate["address"], gate["port"], silence=_ANSWER_WITHIN, whole=_ANSWER_WITHIN)
    try:
        return asking.ask(way, gate["path"], headers={"User-Agent": "meshfleet.kuma"}, limit=0).status, ""
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or repr(error)


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
