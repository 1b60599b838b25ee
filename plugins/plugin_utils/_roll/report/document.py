# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a roll did, told from its journal: as a line for each host, as JSON and as a page. Pure functions."""

from __future__ import annotations

import statistics
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_time
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report import page, read
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report.read import (
    ADMITTED,
    DEFERRED,
    DONE,
    FAILED,
    REFUSED,
    SETTLED,
    SKIPPED,
    STATUSES,
    UNREACHABLE,
    WAITING,
    Host,
    Journal,
    Sample,
)

_LOUD = {FAILED: "FAILED", UNREACHABLE: "UNREACHABLE"}
_QUIET = {REFUSED: "refused", DEFERRED: "put off", SKIPPED: "skipped", WAITING: "waiting"}


def summary(journal: Journal) -> t.Dict[str, t.Any]:
    """The run as JSON: counts by status, services, hosts that were not done, connections cut, seconds per host, settings.

    ``durations`` are seconds from admission to completion, of hosts that are done; None when there is none.
    """
    run = read.read(journal)
    return {
        "run": run.run,
        "kind": run.kind,
        "mesh": run.mesh,
        "control_plane": run.control_plane,
        "owner": run.owner,
        "status": run.status,
        "abort": run.abort or None,
        "started": _time(run.started),
        "finished": _time(run.finished),
        "seconds": _rounded(run.seconds),
        "hosts": _counts(run.hosts),
        "strategies": _strategies(run.hosts),
        "services": {name: _service(samples) for name, samples in run.services.items()},
        "not_done": [_because(host) for host in run.hosts if host.status not in (DONE, SKIPPED)],
        "skipped": [_because(host) for host in run.hosts if host.status == SKIPPED],
        "connections_cut": sum(host.cut or 0 for host in run.hosts),
        "durations": _durations(run.hosts),
        "settings": run.settings,
    }


def html(journal: Journal) -> str:
    """The run as one page of HTML that needs nothing else: no script, no file, no network."""
    return page.page(read.read(journal))


def progress(journal: Journal, host: str) -> str:
    """One line on what became of ``host``, such as ``[ 3/40] web-3 done in 8.4 s under cover (cover 1.6, drain 2.3), 0 connections cut``.

    It begins with the host's place among those that are settled, of all that are not skipped.
    """
    found = read.read_host(journal, host)
    if found is None:
        return f"{read.text(host)} is not part of this run"
    return f"{_place(journal, found)} {found.name} {_became(found)}"


def _place(journal: Journal, host: Host) -> str:
    settled = total = 0
    for entry in map(read.mapping, read.mapping(journal.get("hosts")).values()):
        status = entry.get("status")
        total += status != SKIPPED
        if status in SETTLED:
            completed = read.number(entry.get("completed"))
            settled += completed is None or host.completed is None or completed <= host.completed
    width = len(str(total))
    return f"[{settled:>{width}}/{total}]" if host.status in SETTLED else f"[{'-':>{width}}/{total}]"


def _became(host: Host) -> str:
    if host.status in _QUIET:
        return _with_reason(_QUIET[host.status], host)
    if host.status == ADMITTED:
        waited = host.phases.get("wait")
        after = f" after {waited:.1f} s of waiting" if waited else ""
        return f"admitted{after}{_strategy(host)}"
    words = _LOUD.get(host.status, host.status)
    if host.seconds is not None:
        words += f" {'in' if host.status == DONE else 'after'} {host.seconds:.1f} s"
    words += _strategy(host)
    phases = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in host.phases.items() if phase != "wait" and seconds >= 0.05)
    words += f" ({phases})" if phases else ""
    if host.before and host.after and host.before != host.after:
        words += f", {host.before} -> {host.after}"
    if host.cut is not None and (host.cut or host.status == DONE):
        words += f", {host.cut} connection{'' if host.cut == 1 else 's'} cut"
    if host.status == FAILED and host.served_by:
        words += f", served by {'nobody' if host.served_by == 'none' else host.served_by}"
    return _with_reason(words, host)


def _with_reason(words: str, host: Host) -> str:
    return f"{words}: {host.reason}" if host.reason else words


def _strategy(host: Host) -> str:
    if host.strategy == "cover":
        return " under cover"
    if host.strategy:
        return f", {host.strategy}"
    return ""


def _counts(hosts: t.Sequence[Host]) -> t.Dict[str, int]:
    counts = {"total": len(hosts), **dict.fromkeys(STATUSES, 0)}
    for host in hosts:
        status = host.status if host.status in STATUSES else "other"
        counts[status] = counts.get(status, 0) + 1
    return counts


def _strategies(hosts: t.Sequence[Host]) -> t.Dict[str, int]:
    """How many of the hosts that are done were restarted which way."""
    counts: t.Dict[str, int] = {}
    for host in hosts:
        if host.status == DONE and host.strategy:
            counts[host.strategy] = counts.get(host.strategy, 0) + 1
    return counts


def _service(samples: t.Sequence[Sample]) -> t.Dict[str, t.Optional[int]]:
    return {
        "total": max((sample.total for sample in samples), default=None),
        "min_serving": min((sample.serving for sample in samples), default=None),
        "max_in_flight": max((sample.in_flight for sample in samples), default=None),
    }


def _because(host: Host) -> t.Dict[str, str]:
    return {"host": host.name, "status": host.status, "reason": host.reason}


def _durations(hosts: t.Sequence[Host]) -> t.Dict[str, t.Any]:
    took = {host.name: host.seconds for host in hosts if host.status == DONE and host.seconds is not None}
    if not took:
        return {"median": None, "max": None, "slowest": None}
    slowest = max(took, key=lambda name: took[name])
    return {"median": _rounded(statistics.median(took.values())), "max": _rounded(took[slowest]), "slowest": slowest}


def _time(at: t.Optional[float]) -> t.Optional[str]:
    return None if at is None else format_time(at)


def _rounded(seconds: t.Optional[float]) -> t.Optional[float]:
    return None if seconds is None else round(seconds, 1)
