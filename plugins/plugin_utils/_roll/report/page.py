# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The page of a roll's report. Pure functions.

Every text of the journal passes ``_e``, which escapes it. The page has no script and loads nothing, and its Content-Security-Policy
says so to the browser.
"""

from __future__ import annotations

import html
import json
import statistics
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_time
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report import chart
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report.chart import OPEN, REST, Axis
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report.read import (
    ADMITTED,
    DEFERRED,
    DONE,
    FAILED,
    PHASES,
    SKIPPED,
    STATUSES,
    UNREACHABLE,
    WAITING,
    Host,
    Run,
    Sample,
)
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report.style import STYLE

_KINDS = {"restart": "Rolling restart", "upgrade": "Rolling upgrade", "leave": "Leaving the mesh"}
_WORDS = {DEFERRED: "put off", ADMITTED: "not finished", WAITING: "not begun", "running": "not finished"}
_LEGEND = {REST: "not accounted for", OPEN: "not finished"}
_SILENT = {WAITING: "Its turn had not come.", ADMITTED: "Work on it had begun, and nothing was heard of it since."}
_BAD = (FAILED, UNREACHABLE)
_NAMED = 12  # hosts of one group that are named; the table has them all
_MANY, _HUGE = 40, 200  # hosts from which on rows are lower
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_e = html.escape


def page(run: Run) -> str:
    """``run`` as a page that needs nothing else."""
    axis = Axis(run)
    sections = [_attention(run), _timeline(run, axis), _services(run, axis), _table(run), _settings(run)]
    head = _head(run) + _links(sections) + _tiles(run)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_e(_POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="data:,"><title>{_e(_title(run))}: {_e(_word(run.status))}</title><style>{STYLE}</style></head>\n'
        f"<body><main>\n{head}{''.join(sections)}"
        "<footer>Written by meshfleet.kuma. Times of day are UTC.</footer>\n</main></body></html>\n"
    )


def _links(sections: t.Sequence[str]) -> str:
    names = {"attention": "Not done", "timeline": "Timeline", "services": "Services", "hosts": "Hosts", "settings": "Settings"}
    links = [
        f'<a href="#{name}">{words}</a>' for name, words in names.items() if any(f'<section id="{name}"' in part[:40] for part in sections)
    ]
    return f"<nav>{' '.join(links)}</nav>\n" if len(links) > 1 else ""


def _title(run: Run) -> str:
    return f"{_KINDS.get(run.kind, run.kind or 'Roll')} of mesh {run.mesh}" if run.mesh else _KINDS.get(run.kind, run.kind or "Roll")


def _head(run: Run) -> str:
    facts = [
        ("run", run.run),
        ("control plane", run.control_plane),
        ("by", run.owner),
        ("began", "" if run.started is None else format_time(run.started)),
        ("took", "" if run.seconds is None else _long(run.seconds)),
    ]
    shown = "".join(f"<span>{name} <b><bdi>{_e(value)}</bdi></b></span>" for name, value in facts if value)
    abort = f'<p class="abort">Aborted: {_e(run.abort)}</p>' if run.abort else ""
    if run.status == "running":
        last = "" if run.end is None else f" (last news: {format_time(run.end)})"
        abort += f'<p class="soft">The run had not finished when this was written{last}: it goes on, or its controller died.</p>'
    return (
        f'<header><div class="title"><h1>{_e(_title(run))}</h1>{_badge(run.status)}</div>{abort}<div class="facts">{shown}</div></header>\n'
    )


def _tiles(run: Run) -> str:
    total = sum(host.status != SKIPPED for host in run.hosts)
    done = [host for host in run.hosts if host.status == DONE]
    took = [host.seconds for host in done if host.seconds is not None]
    cut = sum(host.cut or 0 for host in run.hosts)
    lowest = _lowest(run)
    tiles = [
        (str(len(done)), f"of {total} hosts done", len(done) < total),
        (str(cut), f"connection{'' if cut == 1 else 's'} cut", cut > 0),
        (_long(run.seconds) if run.seconds is not None else "\u2013", "in all", False),
        (_short(statistics.median(took)) if took else "\u2013", f"per host{f', at most {_short(max(took))}' if took else ''}", False),
        (str(chart.most_in_flight(run.hosts)), "hosts at work at once, at most", False),
    ]
    if lowest:
        name, serving, instances = lowest
        tiles.append((f"{serving} of {instances}", f"serving at least: {name}", serving == 0))
    boxes = "".join(
        f'<div class="tile{" bad" if bad else ""}"><b>{_e(value)}</b><span class="soft">{_e(label)}</span></div>'
        for value, label, bad in tiles
    )
    return f'<div class="tiles">{boxes}</div>\n{_counts(run)}'


def _counts(run: Run) -> str:
    counts = {
        status: sum(host.status == status for host in run.hosts)
        for status in dict.fromkeys([*STATUSES, *(host.status for host in run.hosts)])
    }
    counts = {status: count for status, count in counts.items() if count}
    strip = "".join(f'<i class="{_class(status)}" style="flex:{count}"></i>' for status, count in counts.items())
    chips = "".join(_badge(status, f"{count} {_word(status)}") for status, count in counts.items())
    return f'<div class="counts" aria-hidden="true">{strip}</div><div class="chips">{chips}</div>\n' if counts else ""


def _lowest(run: Run) -> t.Optional[t.Tuple[str, int, int]]:
    """The service of which the smallest part served at some moment, how many that were, and of how many."""
    moments = [
        (sample.serving / sample.total, name, sample) for name, samples in run.services.items() for sample in samples if sample.total
    ]
    if not moments:
        return None
    _part, name, sample = min(moments, key=lambda moment: moment[0])
    return name, sample.serving, sample.total


def _attention(run: Run) -> str:
    """Hosts that are not done, those of one reason together: an aborted run refuses all that are left."""
    groups: t.Dict[t.Tuple[str, str, str], t.List[str]] = {}
    for host in run.hosts:
        if host.status not in (DONE, SKIPPED):
            groups.setdefault((host.status, host.reason, _served(host)), []).append(host.name)
    if not groups:
        return ""
    ordered = sorted(groups.items(), key=lambda group: STATUSES.index(group[0][0]) if group[0][0] in STATUSES else len(STATUSES))
    items = "".join(_group(status, reason, served, names) for (status, reason, served), names in ordered)
    return f'<section id="attention"><div class="head"><h2>Not done</h2></div>{items}</section>\n'


def _group(status: str, reason: str, served: str, names: t.Sequence[str]) -> str:
    named = ", ".join(f"<bdi>{_e(name)}</bdi>" for name in names[:_NAMED])
    more = f' <span class="soft">and {len(names) - _NAMED} more, see the table</span>' if len(names) > _NAMED else ""
    told = " ".join(filter(None, [reason or _SILENT.get(status, "No reason was recorded."), served]))
    return f'<div class="group"><div>{_badge(status)}</div><div><div class="names">{named}{more}</div><div>{_e(told)}</div></div></div>'


def _served(host: Host) -> str:
    if host.status != FAILED or not host.served_by:
        return ""
    return {"none": "Nothing serves it now.", "cover": "Its cover serves.", "main": "Its main proxy serves."}.get(host.served_by, "")


def _timeline(run: Run, axis: Axis) -> str:
    if not run.hosts:
        return ""
    bars = [chart.segments(host, axis) for host in run.hosts]
    used = {segment.kind for parts in bars for segment in parts}
    legend = "".join(f'<span><i class="{kind}"></i>{_LEGEND.get(kind, kind)}</span>' for kind in (*PHASES, REST, OPEN) if kind in used)
    ticks = axis.ticks()
    labels = "".join(
        f'<span{" class=far" if tick.left > 96 else ""} style="left:{_percent(tick.left)}">{_clock(tick.seconds)}</span>' for tick in ticks
    )
    lines = "".join(f'<u style="left:{_percent(tick.left)}"></u>' for tick in ticks)
    lines += "".join(
        f'<s style="left:{_percent(left)};width:{_percent(width)}" title="{_e(_long(seconds))} left out"></s>'
        for left, width, seconds in axis.breaks
    )
    omitted = (
        f" Hatched: {', '.join(_long(seconds) for _left, _width, seconds in axis.breaks)} without work, left out." if axis.breaks else ""
    )
    size = "huge" if len(run.hosts) > _HUGE else "many" if len(run.hosts) > _MANY else "few"
    rows = "".join(_row(host, parts) for host, parts in zip(run.hosts, bars))
    return (
        f'<section id="timeline"><div class="head"><h2>Timeline</h2><div class="legend">{legend}</div>'
        f"<p>Minutes and seconds since the start.{omitted}</p></div>\n"
        f'<div class="time {size}"><div class="axis">{labels}</div><div class="lines">{lines}</div><div class="rows">\n{rows}</div></div></section>\n'
    )


def _row(host: Host, segments: t.Sequence[chart.Segment]) -> str:
    parts = "".join(
        f'<i class="{part.kind}" style="left:{_percent(part.left)};width:{_percent(part.width)}" '
        f'title="{_LEGEND.get(part.kind, part.kind)} {_short(part.seconds)}"></i>'
        for part in segments
    )
    bad, why = host.status in _BAD, ""
    if bad:
        worked = [part for part in segments if part.kind != "wait"] or list(segments)
        if worked:
            width = worked[-1].left + worked[-1].width - worked[0].left
            parts += f'<em style="left:{_percent(worked[0].left)};width:{_percent(width)}"></em>'
        why = f'<div class="why">{_e(host.reason)}</div>' if host.reason else ""
    elif not segments and host.reason:
        parts = f'<div class="not">{_e(host.reason)}</div>'
    took = _short(host.seconds) if host.status == DONE and host.seconds is not None else _badge(host.status)
    name = f'<div class="who" title="{_e(host.name)}">{"&#10005; " if bad else ""}<b>{_e(host.name)}</b>{_tags(host)}</div>'
    return f'<div class="row{" bad" if bad else ""}">{name}<div class="track">{parts}</div><div class="took">{took}</div>{why}</div>\n'


def _tags(host: Host) -> str:
    tags = ["canary"] * host.canary + ["2nd pass"] * (host.turn > 1)
    return "".join(f'<span class="tag">{tag}</span>' for tag in tags)


def _services(run: Run, axis: Axis) -> str:
    charts = "".join(_service(name, samples, axis) for name, samples in run.services.items() if samples)
    if not charts:
        return ""
    return (
        '<section id="services"><div class="head"><h2>Services</h2><div class="legend"><span><i class="l-total"></i>instances</span>'
        '<span><i class="l-serving"></i>serving</span><span><i class="l-flight"></i>in flight</span></div></div>\n'
        f'<div class="charts">{charts}</div></section>\n'
    )


def _service(name: str, samples: t.Sequence[Sample], axis: Axis) -> str:
    total = max(sample.total for sample in samples)
    least, most = min(sample.serving for sample in samples), max(sample.in_flight for sample in samples)
    told = f"{total} instance{'' if total == 1 else 's'}, at least {least} serving, at most {most} in flight"
    top = max(1, total, max(sample.serving for sample in samples), most)
    alarm = " alarm" if total and not least else ""
    return (
        f'<div class="chart"><h3><bdi>{_e(name)}</bdi></h3><div class="soft{alarm}">{told}</div><div class="plot">'
        f'<span class="y" style="top:0">{top}</span><span class="y" style="bottom:16px">0</span>'
        f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="{_e(name)}: {told}">'
        f"{chart.step_chart(samples, axis)}</svg>"
        f'<div class="x"><span>0:00</span><span>{_clock(axis.end - axis.begin)}</span></div></div></div>\n'
    )


def _table(run: Run) -> str:
    if not run.hosts:
        return ""
    heads = "".join(f'<th class="n" scope="col">{phase}</th>' for phase in PHASES)
    rows = "".join(_table_row(place, host) for place, host in enumerate(run.hosts, 1))
    return (
        '<section id="hosts"><div class="head"><h2>Hosts</h2><p>Times in seconds; \u201cin all\u201d is from admission to the end.</p></div>\n'
        '<div><table><thead><tr><th class="n" scope="col">#</th><th class="name" scope="col">host</th>'
        '<th scope="col">status</th><th class="how" scope="col">strategy</th>'
        f'<th class="version" scope="col">version</th><th class="n" scope="col">cut</th><th class="n" scope="col">in all</th>{heads}</tr></thead><tbody>\n'
        f"{rows}</tbody></table></div></section>\n"
    )


def _table_row(place: int, host: Host) -> str:
    services = f"<small>{_e(', '.join(host.services))}</small>" if host.services else ""
    what = " ".join(filter(None, [host.reason, _served(host)]))
    status = _badge(host.status) + (f'<small class="what">{_e(what)}</small>' if what else "")
    status += "".join(f"<small>{_e(note)}</small>" for note in host.notes)
    how = _e(host.strategy) + "".join(f"<small>{_e(reason)}</small>" for reason in host.reasons)
    cut = (
        "" if host.cut is None or (host.admitted is None and not host.cut) else f'<span class="cut">{host.cut}</span>' if host.cut else "0"
    )
    numbers = "".join(f'<td class="n">{_number(host.phases.get(phase))}</td>' for phase in PHASES)
    return (
        f'<tr{" class=bad" if host.status in _BAD else ""}><td class="n">{place}</td><td><b>{_e(host.name)}</b>{_tags(host)}{services}</td><td>{status}</td>'
        f'<td>{how}</td><td>{_version(host)}</td><td class="n">{cut}</td><td class="n">{_number(host.seconds)}</td>{numbers}</tr>\n'
    )


def _version(host: Host) -> str:
    if host.before and host.after and host.before != host.after:
        return f"{_e(host.before)} \u2192 {_e(host.after)}"
    return _e(host.after or host.before)


def _settings(run: Run) -> str:
    if not run.settings:
        return ""
    items = "".join(f"<div><dt>{_e(name)}</dt><dd>{_e(_setting(value))}</dd></div>" for name, value in sorted(run.settings.items()))
    return f'<section id="settings"><div class="head"><h2>Settings</h2></div><dl>{items}</dl></section>\n'


def _setting(value: t.Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_setting, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return "none" if value is None or value == "" else str(value)


def _badge(status: str, words: str = "") -> str:
    return f'<span class="badge {_class(status)}">{_e(words or _word(status))}</span>' if status else ""


def _class(status: str) -> str:
    """A class for the style sheet: never text of the journal."""
    return status if status in (*STATUSES, "running", "aborted") else "unknown"


def _word(status: str) -> str:
    return _WORDS.get(status, status)


def _percent(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") + "%"


def _number(seconds: t.Optional[float]) -> str:
    return "" if seconds is None else f"{seconds:.1f}"


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else _long(seconds)


def _long(seconds: float) -> str:
    """Such as ``8.4 s``, ``12 min 4 s``, ``3 h 20 min`` and ``2 d 4 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, small, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
