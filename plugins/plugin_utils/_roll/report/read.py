# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The journal of a roll, read for its report: whatever is missing, and without secrets. Pure functions.

A journal may be that of a run that was killed, of hosts that never arrived, or of another release: nothing here raises for what
a field holds.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import HIDDEN, is_secret_name, redact

Journal = t.Mapping[str, t.Any]

DONE, FAILED, UNREACHABLE, REFUSED, DEFERRED, SKIPPED, WAITING, ADMITTED = STATUSES = (
    "done",
    "failed",
    "unreachable",
    "refused",
    "deferred",
    "skipped",
    "waiting",
    "admitted",
)
SETTLED = (DONE, FAILED, UNREACHABLE, REFUSED, DEFERRED)  # nothing more happens to such a host in this pass
PHASES = ("wait", "fence", "cover", "drain", "restart", "gate")  # in the order in which they happen

# Escape sequences of a terminal, line breaks, what HTML does not allow, and what makes text read in another order than it is written.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
_LARGEST = 1e15
_USER_INFO = re.compile(r"(?<=://)[^/?#\s@]*@")


class Host(t.NamedTuple):
    """One host of a run. Times are epoch seconds, phases seconds; None is what is not known (yet)."""

    name: str
    order: t.Optional[int]
    turn: int  # 2: it was put off to a second pass
    services: t.Tuple[str, ...]
    strategy: str
    reasons: t.Tuple[str, ...]
    canary: bool
    status: str
    reason: str
    arrived: t.Optional[float]
    admitted: t.Optional[float]
    completed: t.Optional[float]
    phases: t.Dict[str, float]
    cut: t.Optional[int]
    before: str
    after: str
    served_by: str
    notes: t.Tuple[str, ...]

    @property
    def seconds(self) -> t.Optional[float]:
        """What the host took from its admission on."""
        if self.admitted is not None and self.completed is not None:
            return max(0.0, self.completed - self.admitted)
        worked = sum(seconds for phase, seconds in self.phases.items() if phase != "wait")
        return worked if worked and self.status in (DONE, FAILED) else None


class Sample(t.NamedTuple):
    """A service at one moment: its instances, how many of them serve, how many are being restarted."""

    at: float
    total: int
    serving: int
    in_flight: int


class Run(t.NamedTuple):
    """A whole run. ``hosts`` in their order, ``begin`` and ``end`` the first and last moment that anything is known of."""

    run: str
    mesh: str
    kind: str
    control_plane: str
    owner: str
    status: str
    abort: str
    started: t.Optional[float]
    finished: t.Optional[float]
    begin: t.Optional[float]
    end: t.Optional[float]
    settings: t.Dict[str, t.Any]
    hosts: t.List[Host]
    services: t.Dict[str, t.List[Sample]]

    @property
    def seconds(self) -> t.Optional[float]:
        if self.started is None or self.finished is None:
            return None
        return max(0.0, self.finished - self.started)


def number(value: t.Any) -> t.Optional[float]:
    """``value`` as a number that a time or a duration can be; None when it is not one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    # Which infinity and NaN are not either.
    return result if abs(result) < _LARGEST else None


def mapping(value: t.Any) -> t.Mapping[str, t.Any]:
    """``value`` as a mapping; empty when it is not one."""
    return value if isinstance(value, t.Mapping) else {}


def text(value: t.Any) -> str:
    """``value`` on one line, without secrets and without what neither a terminal nor a file in UTF-8 takes. None is empty."""
    if value is None:
        return ""
    clean = _USER_INFO.sub("", redact(str(value)))
    return _CONTROL.sub(" ", clean).encode("utf-8", "replace").decode("utf-8").strip()


def read(journal: Journal) -> Run:
    """The run of ``journal``, which is what the journal file of a run holds."""
    hosts = [_host(str(name), mapping(entry)) for name, entry in mapping(journal.get("hosts")).items()]
    # Hosts that were never to be rolled have no place in the order.
    hosts.sort(key=lambda host: (host.order is None or host.order < 0, host.order or 0, host.name))
    services = {text(name): _samples(samples) for name, samples in mapping(journal.get("services")).items()}
    started, finished = number(journal.get("started")), number(journal.get("finished"))
    moments = [started, finished] + [at for host in hosts for at in (host.arrived, host.admitted, host.completed)]
    known = [at for at in moments if at is not None] + [samples[place].at for samples in services.values() if samples for place in (0, -1)]
    return Run(
        run=text(journal.get("run")),
        mesh=text(journal.get("mesh")),
        kind=text(journal.get("kind")),
        control_plane=text(journal.get("control_plane")),
        owner=text(journal.get("owner")),
        status=text(journal.get("status")),
        abort=_abort(journal.get("abort")),
        started=started,
        finished=finished,
        begin=min(known) if known else None,
        end=max(known) if known else None,
        settings={text(key): _setting(str(key), value) for key, value in mapping(journal.get("settings")).items()},
        hosts=hosts,
        services=dict(sorted(services.items())),
    )


def read_host(journal: Journal, name: str) -> t.Optional[Host]:
    """One host of ``journal``; None when the run does not know it."""
    hosts = mapping(journal.get("hosts"))
    return _host(name, mapping(hosts[name])) if name in hosts else None


def _host(name: str, entry: t.Mapping[str, t.Any]) -> Host:
    phases = {phase: number(mapping(entry.get("phases")).get(phase)) for phase in PHASES}
    version = mapping(entry.get("version"))
    return Host(
        name=text(name),
        order=_whole(entry.get("order")),
        turn=_whole(entry.get("pass")) or 1,
        services=_texts(entry.get("services")),
        strategy=text(entry.get("strategy")),
        reasons=_texts(entry.get("reasons")),
        canary=entry.get("canary") is True,
        status=text(entry.get("status")) or WAITING,
        reason=_reason(name, entry.get("reason")),
        arrived=number(entry.get("arrived")),
        admitted=number(entry.get("admitted")),
        completed=number(entry.get("completed")),
        phases={phase: seconds for phase, seconds in phases.items() if seconds is not None and seconds > 0},
        cut=_whole(entry.get("connections_cut")),
        before=text(version.get("before")),
        after=text(version.get("after")),
        served_by=text(entry.get("served_by")),
        notes=_texts(entry.get("notes")),
    )


def _reason(name: str, value: t.Any) -> str:
    """Without the host in front, beside which it is always shown."""
    reason = text(value)
    begin = f"{text(name)}: "
    return reason[len(begin) :] if reason.startswith(begin) else reason


def _samples(value: t.Any) -> t.List[Sample]:
    result = []
    for entry in value if isinstance(value, (list, tuple)) else ():
        entry = mapping(entry)
        at = number(entry.get("at"))
        if at is not None:
            counts = (max(0, _whole(entry.get(name)) or 0) for name in ("total", "serving", "in_flight"))
            result.append(Sample(at, *counts))
    return sorted(result, key=lambda sample: sample.at)


def _abort(value: t.Any) -> str:
    if isinstance(value, t.Mapping):
        return text(value.get("reason")) or "aborted"
    return "aborted" if value is True else text(value or None)


def _setting(name: str, value: t.Any) -> t.Any:
    """A value that JSON can hold."""
    if is_secret_name(name):
        return HIDDEN
    if isinstance(value, t.Mapping):
        return {text(key): _setting(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_setting("", item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value if number(value) is not None else text(value)
    return text(value)


def _texts(value: t.Any) -> t.Tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(filter(None, (text(item) for item in value)))
    return tuple(filter(None, (text(value),)))


def _whole(value: t.Any) -> t.Optional[int]:
    found = number(value)
    return None if found is None else int(found)
