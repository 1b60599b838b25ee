# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Journals of rolls that never took place, for tests of their report."""

from __future__ import annotations

import random

BEGIN = 1_795_540_000.0
SERVICES = ("web", "api", "orders")


def journal(hosts=6, limit=2, seed=1, failed=(), unreachable=(), drained=(), stop_after=None, **others):
    """A roll of ``hosts`` hosts named web-1 and so on, ``limit`` at a time.

    ``failed``, ``unreachable`` and ``drained`` are numbers of hosts; those from number ``stop_after`` on are refused.
    """
    chance = random.Random(seed)
    entries, free, events = {}, [1.0] * limit, []
    for place in range(hosts):
        number = place + 1
        service = SERVICES[place % len(SERVICES)]
        name = f"{service}-{number}"
        entry = _waiting(place, service, name, number in drained)
        entries[name] = entry
        if stop_after is not None and number > stop_after:
            entry.update(status="refused", reason=f"the roll was stopped: 1 host failed (web-{stop_after}), max_failures is 0")
            continue
        slot = free.index(min(free))
        _worked(entry, chance, free[slot], 0.0 if place < limit else free[slot] - 1.0)
        if number in failed:
            entry.update(
                status="failed",
                served_by="cover",
                reason=f"{name}: the main proxy did not get ready within 60 s: certificate of /etc/kuma/ca.crt has expired. Renew it, then repeat the roll.",
            )
            entry["phases"]["gate"] = 0.0
        if number in unreachable:
            entry.update(
                status="unreachable",
                served_by="",
                connections_cut=None,
                version={},
                reason="Failed to connect to the host via ssh: No route to host",
            )
            entry["phases"] = {"wait": entry["phases"]["wait"]}
        free[slot] = entry["completed"] - BEGIN + 0.2
        drains = entry["strategy"] == "drained" or number in failed
        events.append((entry["admitted"], service, 1, -drains))
        events.append((entry["completed"], service, -1, drains and number not in failed))
    end = max(entry["completed"] or BEGIN for entry in entries.values())
    return {
        "run": "20261125T171314Z-ab12",
        "epoch": 1,
        "mesh": "default",
        "control_plane": "https://kuma-cp.example.com:5682",
        "kind": "upgrade",
        "owner": "root@controller",
        "started": BEGIN,
        "finished": end + 1.5,
        "status": "failed" if failed or unreachable else "done",
        "abort": None,
        "settings": {
            "limit": "25%",
            "canaries": 1,
            "soak": 10,
            "stages": ["5%", "20%"],
            "max_failures": 0,
            "force": False,
            "strategy": "auto",
        },
        "hosts": entries,
        "services": _services(entries, events),
        **others,
    }


def _waiting(place, service, name, drained):
    return {
        "order": place,
        "pass": 1,
        "services": [service],
        "proxies": [name],
        "strategy": "drained" if drained else "cover",
        "reasons": ["its listeners were made without reuse_port: restart it drained once, then it can be covered"] if drained else [],
        "canary": place < 2,
        "status": "waiting",
        "reason": "",
        "arrived": None,
        "admitted": None,
        "completed": None,
        "phases": dict.fromkeys(("wait", "fence", "cover", "drain", "restart", "gate"), 0.0),
        "connections_cut": None,
        "version": {"before": "2.13.10"},
        "served_by": "main",
    }


def _worked(entry, chance, begin, waited):
    drawn = {
        name: round(chance.uniform(*bounds), 2) for name, bounds in (("drain", (1.5, 4.5)), ("restart", (0.7, 1.4)), ("gate", (0.9, 2.2)))
    }
    if entry["strategy"] == "cover":
        drawn["cover"] = round(chance.uniform(1.2, 2.4), 2)
    else:
        drawn["fence"] = round(chance.uniform(2.5, 3.5), 2)
    admitted = BEGIN + begin
    entry.update(
        status="done",
        arrived=admitted - max(0.0, min(waited, 12.0)),
        admitted=admitted,
        completed=admitted + sum(drawn.values()),
        connections_cut=2 if entry["strategy"] == "drained" else 0,
        version={"before": "2.13.10", "after": "2.14.3"},
    )
    entry["phases"].update(drawn, wait=entry["admitted"] - entry["arrived"])


def _services(entries, events):
    result = {}
    for service in SERVICES:
        total = sum(entry["services"] == [service] for entry in entries.values())
        serving, in_flight = total, 0
        result[service] = [{"at": BEGIN, "total": total, "serving": serving, "in_flight": 0}]
        for at, where, flight, change in sorted(events):
            if where == service:
                serving, in_flight = serving + change, in_flight + flight
                result[service].append({"at": at, "total": total, "serving": serving, "in_flight": in_flight})
    return {name: samples for name, samples in result.items() if samples[0]["total"]}
