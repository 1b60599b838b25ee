# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The time axis of a roll's report, its bars and its step charts. Pure functions.

Positions are percent of the width. Nothing here holds text of the journal, so nothing here needs to be escaped.
"""

from __future__ import annotations

import bisect
import typing as t

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report.read import ADMITTED, PHASES, SETTLED, Host, Run, Sample

REST = "other"  # time of a host that no phase accounts for
OPEN = "open"  # a host that was admitted and of which nothing was heard since

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_TICKS, _APART = 8, 6.0  # how many at most, and percent between two
# An idle time this long, absolutely and as a part of all work, is drawn as a break of this part of all work.
_BREAK_SECONDS, _BREAK_PART, _BREAK_DRAWN = 120.0, 0.3, 0.04
_POINTS = 800  # of one step chart: more than a screen shows


class Segment(t.NamedTuple):
    """A part of a bar. ``kind`` is a phase, REST or OPEN; ``seconds`` is its true length."""

    kind: str
    left: float
    width: float
    seconds: float


class Tick(t.NamedTuple):
    """A mark of the axis, ``seconds`` after its begin."""

    left: float
    seconds: float


class Axis:
    """Time to percent of the width. Long times in which no host was worked on (a run that was resumed, a long soak) are cut out.

    ``breaks`` are (left, width, seconds) of what is cut out.
    """

    def __init__(self, run: Run) -> None:
        self.begin = run.begin or 0.0
        self.end = max(run.end or 0.0, self.begin + 1.0, *(extent[1] for extent in map(extent_of, run.hosts) if extent))
        busy = sorted((host.admitted, _last(host, self.end)) for host in run.hosts if host.admitted is not None)
        gaps, at = [], self.begin
        for first, last in [*busy, (self.end, self.end)]:
            if first - at > 0:
                gaps.append((at, first))
            at = max(at, last)
        work = self.end - self.begin - sum(last - first for first, last in gaps)
        cut = [(first, last) for first, last in gaps if work > 0 and last - first > max(_BREAK_SECONDS, _BREAK_PART * work)]
        self._shorten(cut, self.end - self.begin - sum(last - first for first, last in cut))

    def _shorten(self, cut: t.Sequence[t.Tuple[float, float]], kept: float) -> None:
        self.kept = kept
        drawn = kept * _BREAK_DRAWN
        width = kept + drawn * len(cut)
        self._times, self._lefts = [self.begin], [0.0]
        self.breaks: t.List[t.Tuple[float, float, float]] = []
        for first, last in cut:
            left = self._lefts[-1] + (first - self._times[-1]) / width * 100
            self._times += [first, last]
            self._lefts += [left, left + drawn / width * 100]
            self.breaks.append((left, drawn / width * 100, last - first))
        self._times.append(self.end)
        self._lefts.append(100.0)

    def left(self, at: float) -> float:
        place = min(max(bisect.bisect_right(self._times, at) - 1, 0), len(self._times) - 2)
        first, last = self._times[place], self._times[place + 1]
        part = (at - first) / (last - first) if last > first else 0.0
        return self._lefts[place] + min(max(part, 0.0), 1.0) * (self._lefts[place + 1] - self._lefts[place])

    def ticks(self) -> t.List[Tick]:
        step = next((step for step in _STEPS if self.kept / step <= _TICKS), None) or -(-self.kept // (_TICKS * 86400)) * 86400
        result: t.List[Tick] = []
        # Whole steps within what is drawn: stretches between breaks one by one, as a break may be a year long.
        for first, last in zip(self._times[::2], self._times[1::2]):
            seconds = -(-(first - self.begin) // step) * step
            while self.begin + seconds <= last and len(result) < 4 * _TICKS:
                tick = Tick(self.left(self.begin + seconds), seconds)
                if not result or tick.left - result[-1].left > _APART:
                    result.append(tick)
                seconds += step
        return result


def _last(host: Host, end: float) -> float:
    extent = extent_of(host)
    return end if host.completed is None and host.status not in SETTLED else extent[1] if extent else end


def extent_of(host: Host) -> t.Optional[t.Tuple[float, float]]:
    """When the host was first and last heard of; None when it never was."""
    known = [at for at in (host.arrived, host.admitted, host.completed) if at is not None]
    if not known:
        return None
    total = sum(host.phases.values())
    if host.arrived is None and host.admitted is None:
        return known[0] - total, known[0]
    first = min(known) if host.arrived is not None else min(known) - host.phases.get("wait", 0.0)
    return first, max([*known, first + total])


def segments(host: Host, axis: Axis) -> t.List[Segment]:
    """The bar of a host: its phases one after the other, then what they do not account for."""
    extent = extent_of(host)
    if extent is None:
        return []
    at, last = extent
    phases = host.phases
    if not phases and host.arrived is not None and host.admitted is not None:
        phases = {"wait": max(0.0, host.admitted - host.arrived)}
    result = []
    for phase in PHASES:
        if phases.get(phase):
            result.append(_segment(phase, at, at + phases[phase], axis))
            at += phases[phase]
    if host.status == ADMITTED and host.completed is None:
        result.append(_segment(OPEN, at, max(axis.end, at), axis))
    # Journals round to what a person reads; that is no time of its own.
    elif last - at > max(0.1, 0.01 * (last - extent[0])):
        result.append(_segment(REST if host.admitted is not None else "wait", at, last, axis))
    return result


def _segment(kind: str, first: float, last: float, axis: Axis) -> Segment:
    left = axis.left(first)
    return Segment(kind, left, axis.left(last) - left, last - first)


def most_in_flight(hosts: t.Sequence[Host]) -> int:
    """How many hosts were worked on at the same time."""
    edges = []
    for host in hosts:
        if host.admitted is not None:
            edges.append((host.admitted, 1))
            if host.completed is not None:
                edges.append((max(host.completed, host.admitted), -1))
    most = now = 0
    for _at, change in sorted(edges):
        now += change
        most = max(most, now)
    return most


def step_chart(samples: t.Sequence[Sample], axis: Axis) -> str:
    """The inside of an SVG of 1000 by 100: instances in all, those that serve and those in flight. Dips are never thinned out."""
    if not samples:
        return ""
    top = max(1, max(max(sample.total, sample.serving, sample.in_flight) for sample in samples))
    points = _thinned([(axis.left(sample.at) * 10, sample) for sample in samples])
    lines = {
        name: _steps([(x, 98 - 94 * getattr(sample, name) / top) for x, sample in points]) for name in ("total", "serving", "in_flight")
    }
    begin = points[0][0]
    grid = "".join(f'<path class="grid" d="M{_short(tick.left * 10)} 0V100"/>' for tick in axis.ticks())
    gaps = "".join(
        f'<path class="gap" d="M{_short(left * 10)} 0h{_short(width * 10)}v98h-{_short(width * 10)}Z"/>'
        for left, width, _seconds in axis.breaks
    )
    return (
        f"{grid}"
        f'<path class="serving-area" d="{lines["serving"]}V98H{_short(begin)}Z"/>'
        f'<path class="flight-area" d="{lines["in_flight"]}V98H{_short(begin)}Z"/>'
        f'<path class="serving" d="{lines["serving"]}"/>'
        f'<path class="flight" d="{lines["in_flight"]}"/>'
        f'<path class="total" d="{lines["total"]}"/>{gaps}'
    )


def _thinned(points: t.List[t.Tuple[float, Sample]]) -> t.List[t.Tuple[float, Sample]]:
    """At most _POINTS of them: of each column the worst, then the last."""
    if len(points) <= _POINTS:
        return points
    columns: t.Dict[int, t.List[t.Tuple[float, Sample]]] = {}
    for x, sample in points:
        columns.setdefault(int(x * (_POINTS / 2 - 1) / 1000), []).append((x, sample))
    result = []
    for column in columns.values():
        last = column[-1][1]
        worst = last._replace(serving=min(entry.serving for _x, entry in column), in_flight=max(entry.in_flight for _x, entry in column))
        result += [(column[0][0], worst), column[-1]]
    return result


def _steps(points: t.Sequence[t.Tuple[float, float]]) -> str:
    path, height = [f"M{_short(points[0][0])} {_short(points[0][1])}"], points[0][1]
    for x, y in points[1:]:
        if y != height:
            path.append(f"H{_short(x)}V{_short(y)}")
            height = y
    return "".join([*path, "H1000"])


def _short(value: float) -> str:
    """A coordinate without needless digits."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
