# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand Dataplanes: the bulk module, beside a bare client with as many connections, and beside one task per host.

Once the module alone, and once a whole ansible-playbook, which has to start, to read its list, and to fill it in.
"""

from __future__ import annotations

import json
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.bench.plays import Cost, Plays, least
from tests.bench.report import Row
from tests.unit.conftest import ControlPlane, running
from tests.unit.module_runner import run

DATAPLANES = 1_000
CONNECTIONS = 8
ROUNDS = 5
ROUNDS_OF_PLAYS = 3
URI_HOSTS = 40
PAGES = -(-DATAPLANES // 1000)
# In times of what Ansible takes alone: a first run beyond 1.3 times a bare client, and a rerun, which imports requests, reads the list, asks
# for that of the control plane and compares them.
FIRST = 1.7
RERUN = 2.0


def dataplane(number: int) -> dict[str, Any]:
    tags = {"kuma.io/service": "web", "kuma.io/protocol": "http"}
    inbound = {"port": 8080, "servicePort": 18080, "serviceAddress": "127.0.0.1", "tags": tags}
    outbound = [{"port": 10001 + index, "tags": {"kuma.io/service": f"service-{index}"}} for index in range(5)]
    address = f"10.{number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
    return {
        "type": "Dataplane",
        "mesh": "default",
        "name": f"bench-{number}",
        "networking": {"address": address, "inbound": [inbound], "outbound": outbound},
    }


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as directory, running("2.14.3", Path(directory)) as control_plane:
        rows = _module(control_plane)
        plays = Path(directory, "plays")
        plays.mkdir()
        return [*rows, *_whole(control_plane, plays), *_per_host(control_plane, plays)]


def _module(control_plane: ControlPlane) -> list[Row]:
    """The module alone, in a process that has begun."""
    ratios, ours, counts = [], [], {}
    for _round in range(ROUNDS):
        bare = _timed(lambda: _bare_client(control_plane)).seconds
        _remove(control_plane)
        bulk = _timed(lambda: counts.update(_bulk(control_plane))).seconds
        _remove(control_plane)
        ratios.append(bulk / bare)
        ours.append(bulk)
    ratio = statistics.median(ratios)
    rerun = _rerun_requests(control_plane)
    requests_budget = 1 + DATAPLANES + 2 * PAGES
    return [
        Row(f"register {DATAPLANES:,} Dataplanes", f"{statistics.median(ours):.2f} s"),
        Row(f"  times a bare client with {CONNECTIONS} connections", f"{ratio:.2f}", "1.3", ratio <= 1.3),
        Row("  requests", f"{counts['requests']:,}", f"{requests_budget:,}", counts["requests"] <= requests_budget),
        Row("  requests when nothing differs", str(rerun), str(1 + PAGES), rerun <= 1 + PAGES),
    ]


def _whole(control_plane: ControlPlane, directory: Path) -> list[Row]:
    """A whole ansible-playbook, with the list among the options and in a file."""
    items = directory / "dataplanes.json"
    items.write_text(json.dumps([dataplane(number) for number in range(DATAPLANES)]))
    plays = Plays(directory, {**_options(control_plane), "kuma_items": str(items)})
    given = {name: f"{{{{ {name} }}}}" for name in _options(control_plane)}
    inline = "{{ lookup('ansible.builtin.file', kuma_items) | from_json }}"
    tasks = {
        "inline": {"meshfleet.kuma.dataplanes": {**given, "dataplanes": inline}},
        "src": {"meshfleet.kuma.dataplanes": {**given, "src": str(items)}},
    }
    costs: dict[str, list[Cost]] = {}
    for _round in range(ROUNDS_OF_PLAYS):
        costs.setdefault("start", []).append(plays.run())
        # Nothing is shown, and nothing handed on: what is left is that Ansible fills it in.
        costs.setdefault("filled in", []).append(plays.run({"ansible.builtin.debug": {"msg": inline, "verbosity": 5}}))
        costs.setdefault("bare", []).append(_timed(lambda: _bare_client(control_plane)))
        costs.setdefault("listing", []).append(_timed(lambda: _bare_listing(control_plane)))
        _remove(control_plane)
        for name, task in tasks.items():
            costs.setdefault(f"{name}, first", []).append(plays.run(task))
            costs.setdefault(f"{name}, rerun", []).append(plays.run(task))
            _remove(control_plane)
    return _rows({name: least(found) for name, found in costs.items()})


def _rows(cost: dict[str, Cost]) -> list[Row]:
    """Beside a bare client, and beside what Ansible takes alone: its start, and with a list among the options to fill that in."""
    bare = cost["bare"].seconds
    rows = [
        Row(f"a bare client that registers {DATAPLANES:,}", str(cost["bare"])),
        Row("a bare client that lists them", str(cost["listing"])),
        Row("ansible-playbook with an empty play", str(cost["start"])),
        Row(f"ansible-playbook that fills a list of {DATAPLANES:,} in", str(cost["filled in"])),
    ]
    for name, what, alone in (("inline", "with the list among the options", "filled in"), ("src", "with src", "start")):
        anyway = cost[alone].seconds
        first, rerun = cost[f"{name}, first"], cost[f"{name}, rerun"]
        over, times = (first.seconds - 1.3 * bare) / anyway, rerun.seconds / anyway
        rows += [
            Row(f"ansible-playbook {what}, first run", str(first), f"({1.3 * bare + 1.5:.2f} s, 1.3 times bare + 1.5 s)"),
            Row("  beyond 1.3 times a bare client, times Ansible alone", f"{over:.2f}", f"{FIRST}", over <= FIRST),
            Row("  rerun", str(rerun), "(2 s)"),
            Row("  times Ansible alone", f"{times:.2f}", f"{RERUN}", times <= RERUN),
        ]
    return rows


def _per_host(control_plane: ControlPlane, directory: Path) -> list[Row]:
    """One task for all, beside one for each host."""
    variables = _options(control_plane)
    items = {"kuma_items": str(directory / "dataplanes.json")}
    given = {name: f"{{{{ {name} }}}}" for name in variables}
    bulk = {**given, "dataplanes": "{{ lookup('ansible.builtin.file', kuma_items) | from_json }}"}
    per_host = _beyond_start(Plays(directory, variables, URI_HOSTS), _uri_task()) / URI_HOSTS
    _remove(control_plane)
    per_dataplane = _beyond_start(Plays(directory, {**variables, **items}), {"meshfleet.kuma.dataplanes": bulk}) / DATAPLANES
    _remove(control_plane)
    faster = per_host / per_dataplane
    return [
        Row("a playbook, per Dataplane", f"{per_dataplane * 1000:.1f} ms"),
        Row("  ansible.builtin.uri, per host", f"{per_host * 1000:.0f} ms"),
        Row("  times faster than ansible.builtin.uri per host", f"{faster:.0f}", "50", faster >= 50),
    ]


def _beyond_start(plays: Plays, task: dict[str, Any]) -> float:
    """Seconds that a play takes beyond an empty one, which every playbook has to pay."""
    start = plays.run().seconds
    return max(plays.run(task).seconds - start, 0.001)


def _timed(action: Callable[[], Any]) -> Cost:
    started, cpu = time.perf_counter(), time.process_time()
    action()
    return Cost(time.perf_counter() - started, time.process_time() - cpu)


def _bare_client(control_plane: ControlPlane) -> None:
    """A PUT for each over keep-alive connections: no listing, no comparison, nothing read back."""
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    for number in range(DATAPLANES):
        waiting.put(dataplane(number))

    def work() -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {control_plane.token}"
            while True:
                try:
                    body = waiting.get_nowait()
                except queue.Empty:
                    return
                session.put(f"{control_plane.url}/meshes/default/dataplanes/{body['name']}", json=body).raise_for_status()

    threads = [threading.Thread(target=work) for _number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _bare_listing(control_plane: ControlPlane) -> None:
    """What a rerun asks for, and nothing done with it."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {control_plane.token}"
        session.get(f"{control_plane.url}/").json()
        for page in range(PAGES):
            query = {"size": "1000", "offset": str(1000 * page)}
            session.get(f"{control_plane.url}/meshes/default/dataplanes", params=query).json()


def _options(control_plane: ControlPlane) -> dict[str, Any]:
    return {"url": control_plane.url, "token": control_plane.token}


def _bulk(control_plane: ControlPlane) -> dict[str, Any]:
    result: dict[str, Any] = run(
        "dataplanes", {**_options(control_plane), "dataplanes": [dataplane(number) for number in range(DATAPLANES)]}
    )
    assert [item["action"] for item in result["results"]] == ["created"] * DATAPLANES
    return result


def _rerun_requests(control_plane: ControlPlane) -> int:
    _bulk(control_plane)
    items = [dataplane(number) for number in range(DATAPLANES)]
    again = run("dataplanes", {**_options(control_plane), "dataplanes": items})
    assert again["changed"] is False
    _remove(control_plane)
    return int(again["requests"])


def _remove(control_plane: ControlPlane) -> None:
    names = [{"name": f"bench-{number}"} for number in range(DATAPLANES)]
    run("dataplanes", {**_options(control_plane), "dataplanes": names, "state": "absent"})


def _uri_task() -> dict[str, Any]:
    body = json.dumps(dataplane(0)).replace("bench-0", "bench-{{ number }}")
    return {
        "ansible.builtin.uri": {
            "url": "{{ url }}/meshes/default/dataplanes/bench-{{ number }}",
            "method": "PUT",
            "headers": {"Authorization": "Bearer {{ token }}"},
            "body_format": "json",
            "body": body,
            "status_code": [200, 201],
        }
    }
