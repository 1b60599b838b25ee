# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand Dataplanes: the bulk module, beside a bare client with as many connections, and beside one task per host."""

from __future__ import annotations

import json
import queue
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.bench.report import Row
from tests.unit.conftest import ControlPlane, running
from tests.unit.module_runner import run

DATAPLANES = 1_000
CONNECTIONS = 8
ROUNDS = 5
URI_HOSTS = 40


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
        ratios, ours, counts = [], [], {}
        for _round in range(ROUNDS):
            bare = _timed(lambda: _bare_client(control_plane))
            _remove(control_plane)
            bulk = _timed(lambda: counts.update(_bulk(control_plane)))
            _remove(control_plane)
            ratios.append(bulk / bare)
            ours.append(bulk)
        ratio = statistics.median(ratios)
        rerun = _rerun_requests(control_plane)
        per_host = _playbook(control_plane, _uri_play(), URI_HOSTS) / URI_HOSTS
        _remove(control_plane)
        per_dataplane = _playbook(control_plane, _bulk_play(), 1) / DATAPLANES
        faster = per_host / per_dataplane
        _remove(control_plane)
    pages = -(-DATAPLANES // 1000)
    requests_budget = 1 + DATAPLANES + 2 * pages
    return [
        Row(f"register {DATAPLANES:,} Dataplanes", f"{statistics.median(ours):.2f} s"),
        Row(f"  times a bare client with {CONNECTIONS} connections", f"{ratio:.2f}", "1.3", ratio <= 1.3),
        Row("  requests", f"{counts['requests']:,}", f"{requests_budget:,}", counts["requests"] <= requests_budget),
        Row("  requests when nothing differs", str(rerun), str(1 + pages), rerun <= 1 + pages),
        Row("  a playbook, per Dataplane", f"{per_dataplane * 1000:.1f} ms"),
        Row("  ansible.builtin.uri, per host", f"{per_host * 1000:.0f} ms"),
        Row("  times faster than ansible.builtin.uri per host", f"{faster:.0f}", "50", faster >= 50),
    ]


def _timed(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


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


def _playbook(control_plane: ControlPlane, play: dict[str, Any], hosts: int) -> float:
    """Seconds that a play takes beyond an empty one, which every playbook has to pay."""
    empty = {**play, "tasks": []}
    with tempfile.TemporaryDirectory() as directory:
        inventory, items = Path(directory, "inventory.json"), Path(directory, "dataplanes.json")
        items.write_text(json.dumps([dataplane(number) for number in range(DATAPLANES)]))
        named = {f"bench-{number}": {"number": number} for number in range(hosts)}
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "kuma_url": control_plane.url,
            "kuma_token": control_plane.token,
            "kuma_items": str(items),
        }
        inventory.write_text(json.dumps({"all": {"hosts": named, "vars": variables}}))
        seconds = []
        for index, content in enumerate((empty, play)):
            book = Path(directory, f"{index}.json")
            book.write_text(json.dumps([content]))
            command = ["ansible-playbook", "--forks", "8", "-i", str(inventory), str(book)]
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - started)
    return max(seconds[1] - seconds[0], 0.001)


def _uri_play() -> dict[str, Any]:
    body = json.dumps(dataplane(0)).replace("bench-0", "bench-{{ number }}")
    task = {
        "ansible.builtin.uri": {
            "url": "{{ kuma_url }}/meshes/default/dataplanes/bench-{{ number }}",
            "method": "PUT",
            "headers": {"Authorization": "Bearer {{ kuma_token }}"},
            "body_format": "json",
            "body": body,
            "status_code": [200, 201],
        }
    }
    return {"hosts": "all", "gather_facts": False, "tasks": [task]}


def _bulk_play() -> dict[str, Any]:
    task = {
        "meshfleet.kuma.dataplanes": {
            "url": "{{ kuma_url }}",
            "token": "{{ kuma_token }}",
            "dataplanes": "{{ lookup('ansible.builtin.file', kuma_items) | from_json }}",
        }
    }
    return {"hosts": "all", "gather_facts": False, "tasks": [task]}
