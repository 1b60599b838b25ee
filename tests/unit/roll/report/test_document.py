# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a roll as pure functions: what is told, of whatever journal."""

from __future__ import annotations

import copy
import html.parser
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report import chart, document
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report import read as report_read
from tests.unit.roll.report.journals import BEGIN, journal

JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJOYW1lIjoid2ViLTEiLCJNZXNoIjoiZGVmYXVsdCJ9.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
VOID = {"meta", "link", "img", "br"}

NUMBERS = st.none() | st.integers() | st.floats() | st.floats(BEGIN, BEGIN + 1e5)
TEXTS = st.none() | st.text(max_size=12) | st.sampled_from(["web", "<script>", "\ud800", "\x1b[31m", "a\nb", "\u202e"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
STATUSES = st.sampled_from(report_read.STATUSES) | TEXTS


def fields(**strategies):
    """Journals' objects: each field may be missing, what it should be, or anything at all."""
    return st.fixed_dictionaries({}, optional={name: strategy | ANYTHING for name, strategy in strategies.items()})


HOSTS = fields(
    order=st.integers(0, 9),
    services=st.lists(TEXTS, max_size=2),
    strategy=st.sampled_from(["cover", "drained"]),
    reasons=st.lists(TEXTS, max_size=2),
    canary=st.booleans(),
    status=STATUSES,
    reason=TEXTS,
    arrived=NUMBERS,
    admitted=NUMBERS,
    completed=NUMBERS,
    phases=st.fixed_dictionaries({}, optional=dict.fromkeys(report_read.PHASES, NUMBERS)),
    connections_cut=st.integers(0, 9),
    version=fields(before=TEXTS, after=TEXTS),
    notes=st.lists(TEXTS, max_size=2),
    served_by=st.sampled_from(["main", "cover", "none"]),
    **{"pass": st.integers(1, 2)},
)
SAMPLES = st.lists(fields(at=NUMBERS, total=st.integers(0, 9), serving=st.integers(0, 9), in_flight=st.integers(0, 9)), max_size=5)
NAMES = st.text(min_size=1, max_size=8)
JOURNALS = fields(
    run=TEXTS,
    mesh=TEXTS,
    control_plane=TEXTS,
    kind=st.sampled_from(["restart", "upgrade", "leave"]),
    owner=TEXTS,
    started=NUMBERS,
    finished=NUMBERS,
    status=st.sampled_from(["running", "done", "failed", "aborted"]),
    abort=TEXTS,
    settings=st.dictionaries(NAMES, ANYTHING, max_size=3),
    hosts=st.dictionaries(NAMES, HOSTS | ANYTHING, max_size=4),
    services=st.dictionaries(NAMES, SAMPLES | ANYTHING, max_size=3),
)


class Reader(html.parser.HTMLParser):
    """Checks that elements are closed in order, and collects them and their text."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], set(), set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _value in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@given(JOURNALS)
def test_every_journal_has_a_report(data):
    before = copy.deepcopy(data)
    page = document.html(data)
    page.encode("utf-8")
    reader = read(page)
    assert not reader.tags & {"script", "img", "iframe", "object", "embed", "form"}
    assert not [name for name in reader.attributes if name.startswith("on")]
    assert "nan" not in "".join(part for part in page.split('"') if part.startswith(("left:", "M")))
    json.dumps(document.summary(data), allow_nan=False).encode("utf-8")
    for host in report_read.mapping(data.get("hosts")):
        line = document.progress(data, host)
        assert len(line.splitlines()) == 1
        assert not any(char < " " or "\x7f" <= char <= "\x9f" or char == "\u202e" for char in line)
        line.encode("utf-8")
    assert repr(data) == repr(before)


@given(JOURNALS)
def test_bars_lie_within_the_page_one_after_the_other(data):
    run = report_read.read(data)
    axis = chart.Axis(run)
    lefts = [tick.left for tick in axis.ticks()]
    assert lefts == sorted(lefts)
    assert len(lefts) < 40
    for host in run.hosts:
        at = 0.0
        for part in chart.segments(host, axis):
            assert at - 1e-6 <= part.left <= part.left + part.width <= 100 + 1e-6
            at = part.left + part.width


# Journals keep hundredths of a second.
MOMENTS = st.integers(0, 100_000).map(lambda number: number / 100)


@given(st.lists(st.tuples(MOMENTS, MOMENTS), min_size=1, max_size=40))
def test_a_line_of_time_is_kept_in_order_over_breaks(spans):
    hosts = {f"h{n}": {"arrived": at, "admitted": at, "completed": at + length / 20} for n, (at, length) in enumerate(spans)}
    axis = chart.Axis(report_read.read({"hosts": hosts}))
    moments = sorted({host[name] for host in hosts.values() for name in ("admitted", "completed")})
    lefts = [axis.left(at) for at in moments]
    assert lefts == sorted(lefts)
    assert lefts[0] == 0
    shown = 100 - sum(width for _left, width, _seconds in axis.breaks)
    cut = sum(seconds for _left, _width, seconds in axis.breaks)
    for host in hosts.values():
        # Work is never cut: it is drawn at the scale of the page.
        width = axis.left(host["completed"]) - axis.left(host["admitted"])
        assert width == pytest.approx((host["completed"] - host["admitted"]) / (axis.end - axis.begin - cut) * shown, abs=1e-4)


@pytest.mark.parametrize("place", ["owner", "abort", "kind", "status", "mesh", "run", "control_plane"])
def test_no_token_is_in_a_field_of_the_run(place):
    told_nowhere(journal(3, **{place: f"before {JWT} after"}), "before")


@pytest.mark.parametrize("place", ["reason", "strategy", "status", "served_by"])
def test_no_token_is_in_a_field_of_a_host(place):
    data = journal(3, failed=(1,))
    data["hosts"]["web-1"][place] = f"Bearer {JWT}"
    told_nowhere(data)


def test_no_token_is_in_names_lists_and_settings():
    data = journal(3, failed=(1,))
    data["hosts"]["web-1"].update(services=[JWT], reasons=[JWT], version={"before": JWT, "after": "x" + JWT})
    data["hosts"][JWT] = data["hosts"].pop("api-2")
    data["services"][JWT] = data["services"]["web"]
    data["settings"] = {JWT: 1, "deep": {"list": [JWT]}, "api_token": "opaque-4711", "url": "https://admin:opaque-4711@cp:5682/x"}
    told_nowhere(data)
    assert "opaque-4711" not in document.html(data)
    assert "opaque-4711" not in json.dumps(document.summary(data))
    assert document.summary(data)["settings"]["url"] == "https://cp:5682/x"


def told_nowhere(data, kept=""):
    told = [document.html(data), json.dumps(document.summary(data)), *(document.progress(data, host) for host in data["hosts"])]
    for text in told:
        assert not any(part in text for part in JWT.split("."))
    assert kept in told[0]


def test_summary_of_a_roll_with_failures():
    data = journal(12, 3, failed=(7,), unreachable=(5,), drained=(3, 6), stop_after=9)
    data["hosts"]["web-10"].update(status="skipped", reason="nothing to do")
    result = document.summary(data)
    assert result["status"] == "failed"
    assert result["started"] == "2026-11-24T17:06:40Z"
    assert {name: count for name, count in result["hosts"].items() if count} == {
        "total": 12,
        "done": 7,
        "failed": 1,
        "unreachable": 1,
        "refused": 2,
        "skipped": 1,
    }
    assert [(entry["host"], entry["status"]) for entry in result["not_done"]] == [
        ("api-5", "unreachable"),
        ("web-7", "failed"),
        ("api-11", "refused"),
        ("orders-12", "refused"),
    ]
    assert result["not_done"][1]["reason"].startswith("the main proxy did not get ready")
    assert result["skipped"] == [{"host": "web-10", "status": "skipped", "reason": "nothing to do"}]
    assert result["connections_cut"] == 4
    assert result["services"]["orders"] == {"total": 4, "min_serving": 3, "max_in_flight": 1}
    assert result["strategies"] == {"cover": 5, "drained": 2}
    took = sorted(host["completed"] - host["admitted"] for host in data["hosts"].values() if host["status"] == "done")
    assert result["durations"] == {"median": round(took[3], 1), "max": round(took[-1], 1), "slowest": "web-4"}
    assert result["settings"] == data["settings"]


def test_summary_of_nothing():
    result = document.summary({})
    assert result["hosts"]["total"] == 0
    assert result["durations"] == {"median": None, "max": None, "slowest": None}
    assert result["seconds"] is None


def one(place=2, **fields):
    entry = {"order": place, "status": "done", "strategy": "cover", "connections_cut": 0, "admitted": 100.0, "completed": 108.4, **fields}
    others = {f"web-{n}": {"status": "done", "completed": 100.0 + n} for n in (1, 2)}
    waiting = {f"web-{n}": {"status": "waiting"} for n in range(4, 41)}
    return {"hosts": {**others, "web-3": entry, **waiting, "idle-1": {"status": "skipped", "reason": "nothing to do"}}}


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"phases": {"wait": 3.0, "fence": 0.0, "cover": 1.6, "drain": 2.3, "restart": 0.9, "gate": 1.2}},
            "[ 3/40] web-3 done in 8.4 s under cover (cover 1.6, drain 2.3, restart 0.9, gate 1.2), 0 connections cut",
        ),
        (
            {"strategy": "drained", "connections_cut": 1, "version": {"before": "2.13.10", "after": "2.14.3"}},
            "[ 3/40] web-3 done in 8.4 s, drained, 2.13.10 -> 2.14.3, 1 connection cut",
        ),
        ({"version": {"before": "2.14.3", "after": "2.14.3"}}, "[ 3/40] web-3 done in 8.4 s under cover, 0 connections cut"),
        (
            {"status": "failed", "reason": "web-3: its cover did not get ready", "served_by": "main"},
            "[ 3/40] web-3 FAILED after 8.4 s under cover, served by main: its cover did not get ready",
        ),
        (
            {"status": "failed", "reason": "lost", "served_by": "none", "connections_cut": 2},
            "[ 3/40] web-3 FAILED after 8.4 s under cover, 2 connections cut, served by nobody: lost",
        ),
        (
            {"status": "unreachable", "strategy": "", "admitted": None, "connections_cut": None, "reason": "No route\nto host \x1b[31m"},
            "[ 3/40] web-3 UNREACHABLE: No route to host  [31m",
        ),
        ({"status": "refused", "reason": "the roll was stopped"}, "[ 3/40] web-3 refused: the roll was stopped"),
        ({"status": "deferred", "reason": "api has 1 of 2 serving"}, "[ 3/40] web-3 put off: api has 1 of 2 serving"),
        ({"status": "waiting", "completed": None}, "[ -/40] web-3 waiting"),
        ({"status": "admitted", "completed": None, "phases": {"wait": 3.21}}, "[ -/40] web-3 admitted after 3.2 s of waiting under cover"),
    ],
)
def test_progress(fields, line):
    assert document.progress(one(**fields), "web-3") == line


def test_progress_counts_what_was_settled_before():
    data = one()
    assert document.progress(data, "web-1").startswith("[ 1/40] web-1 done")
    data["hosts"]["web-9"] = {"status": "failed", "completed": 200.0}
    assert document.progress(data, "web-3").startswith("[ 3/40]")
    assert document.progress(data, "web-9").startswith("[ 4/40]")
    assert document.progress(data, "idle-1") == "[ -/40] idle-1 skipped: nothing to do"
    assert document.progress(data, "nobody") == "nobody is not part of this run"


def test_hosts_of_one_reason_are_told_together():
    page = document.html(journal(100, 5, failed=(3,), stop_after=3))
    attention = page[page.index('<section id="attention"') : page.index('<section id="timeline"')]
    assert attention.count("the roll was stopped") == 1
    assert "and 85 more, see the table" in attention
    assert page[page.index('<section id="hosts"') :].count("the roll was stopped") == 97


def test_hosts_are_in_their_order_and_those_without_one_last():
    hosts = {"a": {"order": -1, "status": "skipped"}, "b": {"order": 10}, "c": {"order": 2}, "d": {}}
    assert [host.name for host in report_read.read({"hosts": hosts}).hosts] == ["c", "b", "a", "d"]


def test_notes_on_a_host_are_told():
    assert "its old cover was deleted" in document.html({"hosts": {"web-1": {"notes": ["its old cover was deleted"]}}})


def test_what_is_not_known_is_not_told():
    page = document.html({"hosts": {"web-1": {}}, "status": "running"})
    words = " ".join(read(page).words)
    assert "None" not in words.rsplit("</style>", maxsplit=1)[-1]
    assert "not begun" in words


def test_bars_follow_phases_and_what_they_leave():
    host = {"status": "done", "arrived": 0.0, "admitted": 10.0, "completed": 40.0, "phases": {"wait": 10.0, "drain": 20.0, "cover": 5.0}}
    run = report_read.read(
        {"started": 0.0, "finished": 50.0, "hosts": {"web-1": host, "web-2": {**host, "status": "admitted", "completed": None}}}
    )
    axis = chart.Axis(run)
    bars = [[(part.kind, part.left, part.width) for part in chart.segments(entry, axis)] for entry in run.hosts]
    assert bars[0] == [("wait", 0.0, 20.0), ("cover", 20.0, 10.0), ("drain", 30.0, 40.0), ("other", 70.0, 10.0)]
    assert bars[1] == [*bars[0][:3], ("open", 70.0, 30.0)]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9)), min_size=1, max_size=5000))
def test_thinning_keeps_the_worst_and_the_last(steps):
    samples, at = [], 0.0
    for length, serving in steps:
        samples.append(report_read.Sample(at, 9, serving, 9 - serving))
        at += length / 100
    points = [(sample.at / at * 1000, sample) for sample in samples]
    thin = chart._thinned(points)
    assert len(thin) <= chart._POINTS
    assert min(sample.serving for _x, sample in thin) == min(sample.serving for sample in samples)
    assert max(sample.in_flight for _x, sample in thin) == max(sample.in_flight for sample in samples)
    assert thin[-1] == points[-1]


def effort(data):
    begin = time.process_time()
    document.html(data)
    return time.process_time() - begin


def test_size_and_effort_grow_with_the_fleet():
    pages, seconds = [], []
    for hosts in (500, 2000):
        data = journal(hosts, 40, drained=range(1, hosts, 7), failed=(11,))
        pages.append(document.html(data))
        seconds.append(min(effort(data) for _attempt in range(3)))
    assert len(pages[1]) < 4 * len(pages[0])
    assert len(pages[1]) < 3_000_000
    # Four times the hosts; a part that grows with their square would make it sixteen times.
    assert seconds[1] < 10 * max(seconds[0], 0.01)
