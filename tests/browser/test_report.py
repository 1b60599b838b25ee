# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a roll in a browser: what a person sees, not what the page says."""

from __future__ import annotations

import base64
import itertools
import re

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report import document
from tests.browser.chromium import Chromium, Page
from tests.unit.roll.report.journals import journal

FAILURES = {"failed": (7,), "unreachable": (5,), "drained": (3, 6), "stop_after": 9}
HOSTILE = '<script>document.title="owned"</script><img src="http://127.0.0.1:8/x" onerror="document.title=1">"\'>&amp;'
PHASES = ("wait", "fence", "cover", "drain", "restart", "gate")

BARS = """[...document.querySelectorAll('.row')].map(row => ({
  name: row.querySelector('b').textContent, top: row.getBoundingClientRect().top, track: box(row.querySelector('.track')),
  parts: [...row.querySelectorAll('.track i')].map(part => ({kind: part.className, ...box(part)}))}))"""
BOX = "const box = element => { const r = element.getBoundingClientRect(); return {left: r.left, width: r.width, height: r.height} };"

# Elements that stick out of the window, unless something around them scrolls or cuts them off on purpose.
OUTSIDE = """(() => { const inside = element => element && (getComputedStyle(element).overflowX !== 'visible' || inside(element.parentElement));
  return [...document.querySelectorAll('main *')].filter(element => !element.closest('svg') && !inside(element.parentElement))
    .filter(element => { const r = element.getBoundingClientRect(); return r.left < -0.5 || r.right > innerWidth + 0.5 })
    .map(element => element.outerHTML.slice(0, 120)) })()"""

# Colour of every text and of what lies behind it.
TEXTS = """(() => { const parse = colour => colour.match(/[0-9.]+/g).map(Number);
  const behind = element => { const colour = parse(getComputedStyle(element).backgroundColor);
    return colour.length === 3 || colour[3] === 1 ? colour.slice(0, 3) : behind(element.parentElement) };
  return [...document.querySelectorAll('main *')]
    .filter(element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .map(element => ({text: element.textContent.slice(0, 60), ink: parse(getComputedStyle(element).color).slice(0, 3), paper: behind(element)})) })()"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def show(chromium, tmp_path):
    """``show(journal or HTML, width=, height=, dark=, media=)`` is the page of it."""
    pages = []

    def start(content, **options):
        path = tmp_path / f"{len(pages)}.html"
        path.write_text(content if isinstance(content, str) else document.html(content), encoding="utf-8")
        pages.append(Page(chromium, path, **options))
        return pages[-1]

    yield start
    for page in pages:
        page.close()


def bars(page):
    return page.evaluate(f"(() => {{ {BOX} return {BARS} }})()")


def luminance(colour):
    parts = [value / 255 for value in colour]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def colour_of(page, kind):
    colour = page.evaluate(f"getComputedStyle(document.querySelector('.legend .{kind}')).backgroundColor")
    return tuple(map(int, re.findall(r"\d+", colour)[:3]))


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("options", [{"hosts": 6}, {"hosts": 12, "limit": 3, **FAILURES}, {"hosts": 60, "limit": 10}])
def test_bars_are_in_order_and_as_long_as_their_phases(show, width, options):
    data = journal(**options)
    page = show(data, width=width)
    rows = bars(page)
    assert [row["name"] for row in rows] == list(data["hosts"])
    assert [row["top"] for row in rows] == sorted({row["top"] for row in rows})
    length = data["finished"] - data["started"]
    for row in rows:
        host, track = data["hosts"][row["name"]], row["track"]
        phases = [phase for phase in PHASES if host["phases"].get(phase)]
        parts = [part for part in row["parts"] if part["kind"] in PHASES]
        assert [part["kind"] for part in parts] == phases
        assert all(part["width"] >= 1 and part["height"] >= 8 for part in parts)
        at = (host["arrived"] - data["started"]) if parts else 0
        for part in parts:
            assert part["left"] - track["left"] == pytest.approx(at / length * track["width"], abs=1)
            assert part["width"] == pytest.approx(host["phases"][part["kind"]] / length * track["width"], abs=1)
            at += host["phases"][part["kind"]]


def test_nothing_covers_the_bars_and_they_have_the_colours_of_the_legend(show):
    page = show(journal(6), height=1400)
    for place in (0, 3):
        found = page.evaluate(
            f"(() => {{ const row = document.querySelectorAll('.row')[{place}]; const track = row.querySelector('.track').getBoundingClientRect();"
            "const hit = [...row.querySelectorAll('.track i')].filter(part => { const r = part.getBoundingClientRect();"
            "return document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2) !== part }).length;"
            "return {hit, x: track.left, y: track.top + track.height / 4, width: track.width} })()"
        )
        assert found["hit"] == 0
        (line,) = page.pixels(found["x"], round(found["y"]), found["width"], 1)
        kinds = ["cover", "drain", "restart", "gate"]
        colours = {colour_of(page, kind): kind for kind in kinds}
        # A column of a border between two parts may be a mixture of both.
        assert [kind for kind, _group in itertools.groupby(colours[pixel] for pixel in line if pixel in colours)] == kinds


@pytest.mark.parametrize("dark", [False, True])
def test_phases_are_told_apart(show, dark):
    page = show(journal(12, 3, drained=(3,)), dark=dark)
    colours = {kind: colour_of(page, kind) for kind in PHASES[1:]}
    for one, other in itertools.combinations(colours.values(), 2):
        assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) > 70**2
    # Neighbours differ in lightness too, for whoever does not see the hues.
    for one, other in (("fence", "drain"), ("cover", "drain"), ("drain", "restart"), ("restart", "gate")):
        assert contrast(colours[one], colours[other]) > 1.3, (one, other)


@pytest.mark.parametrize("width", [1280, 800, 400, 320])
@pytest.mark.parametrize(
    "data",
    [
        journal(6),
        journal(60, 10, drained=(4, 5), failed=(33,)),
        journal(12, 3, **FAILURES, abort="x" * 300),
        journal(3, 1, run="r" * 200, owner="o" * 200, mesh="m" * 200, settings={"k" * 90: "v" * 300}),
        {},
    ],
    ids=["six", "sixty", "failures", "long", "empty"],
)
def test_nothing_sticks_out(show, data, width):
    for name, host in list(data.get("hosts", {}).items())[:1]:
        long = {**host, "reasons": ["r" * 300], "services": ["s" * 200], "version": {"before": "1" * 40, "after": "2" * 40}}
        data = {**data, "hosts": {**data["hosts"], name: long, "h" * 253: {**long, "order": 99, "status": "failed", "reason": "w" * 400}}}
    page = show(data, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate("[...document.querySelectorAll('.took')].filter(took => took.scrollWidth > took.clientWidth).length") == 0


@pytest.mark.parametrize("width", [1280, 400])
def test_reasons_can_be_read(show, width):
    data = journal(12, 3, **FAILURES)
    page = show(data, width=width)
    for name in ("web-7", "api-5"):
        reason = data["hosts"][name]["reason"].removeprefix(f"{name}: ")
        for place in ("#attention", "#timeline", "#hosts"):
            assert reason in page.evaluate(f"document.querySelector('{place}').innerText")
    whole = page.evaluate(
        "[...document.querySelectorAll('.why, .group, small.what')]"
        ".map(e => e.scrollWidth <= e.clientWidth + 1 && e.clientHeight > 0 || getComputedStyle(e).display === 'inline')"
    )
    assert len(whole) >= 6
    assert all(whole)
    marked = page.evaluate(
        "[...document.querySelectorAll('.row.bad')].map(row => [row.querySelector('b').textContent, row.querySelector('em').offsetWidth > 5])"
    )
    assert marked == [["api-5", True], ["web-7", True]]


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_what_is_behind_it(show, dark, media):
    page = show(journal(12, 3, **FAILURES, abort="by an operator"), dark=dark, media=media)
    texts = page.evaluate(TEXTS)
    assert len(texts) > 100
    assert [text for text in texts if contrast(text["ink"], text["paper"]) < 4.5] == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(tuple(map(int, re.findall(r"\d+", paper)))) < 0.1) == (dark and media == "screen")


def test_on_paper_everything_is_in_its_place(show):
    # 718 is an A4 page within Chromium's margins.
    page = show(journal(12, 3, **FAILURES), width=718, dark=True, media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.evaluate(OUTSIDE) == []
    first = page.evaluate("document.querySelector('.row').getBoundingClientRect().top")
    labels = page.evaluate("[...document.querySelectorAll('.axis span')].map(label => label.getBoundingClientRect().bottom)")
    assert labels
    assert all(bottom <= first for bottom in labels)
    assert page.evaluate("getComputedStyle(document.querySelector('thead')).display") == "table-header-group"
    assert base64.b64decode(page.call("Page.printToPDF")["data"]).startswith(b"%PDF")


def test_charts_draw_every_dip(show):
    begin = journal(6)["started"]
    samples = [{"at": begin + n / 100, "total": 10, "serving": 10 if n != 1500 else 3, "in_flight": int(n == 700)} for n in range(2400)]
    page = show(journal(6, services={"web": samples}), height=1400)
    heights = page.evaluate(
        "['serving', 'flight'].map(name => { const box = document.querySelector(`svg .${name}`).getBBox(); return [box.y, box.y + box.height] })"
    )
    assert heights[0] == [pytest.approx(4, abs=0.1), pytest.approx(98 - 94 * 0.3, abs=0.1)]
    assert heights[1] == [pytest.approx(98 - 94 * 0.1, abs=0.1), pytest.approx(98, abs=0.1)]
    assert "at least 3 serving, at most 1 in flight" in page.evaluate("document.querySelector('.chart').innerText")


def test_names_and_reasons_are_text_whatever_they_hold(show):
    data = journal(
        3, 1, failed=(3,), mesh=HOSTILE, owner=HOSTILE, kind=HOSTILE, control_plane=HOSTILE, run=HOSTILE, abort=HOSTILE, status=HOSTILE
    )
    hostile = dict.fromkeys(("strategy", "reason", "served_by"), HOSTILE)
    hosts = list(data["hosts"].values())
    data["hosts"] = {
        HOSTILE: {
            **hosts[0],
            **hostile,
            "status": "failed",
            "services": [HOSTILE],
            "reasons": [HOSTILE],
            "version": {"before": HOSTILE, "after": HOSTILE + "2"},
        }
    }
    data["hosts"][HOSTILE + "2"] = {**hosts[1], **hostile, "status": HOSTILE}
    data["services"] = {HOSTILE: next(iter(data["services"].values()))}
    data["settings"] = {HOSTILE: HOSTILE, "deep": {HOSTILE: [HOSTILE]}}
    page = show(data)
    assert page.evaluate("document.querySelectorAll('script, img, iframe, object, embed, link[rel=stylesheet]').length") == 0
    assert page.evaluate("document.title").startswith(HOSTILE)
    assert page.evaluate("document.querySelector('.row b').textContent") == HOSTILE
    assert page.evaluate("document.querySelector('.why').innerText") == HOSTILE
    attributes = page.evaluate(
        "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes].map(a => a.name)).filter(name => name.startsWith('on'))"
    )
    assert attributes == []
    assert page.complaints() == []
    assert page.requests() == []


@pytest.mark.parametrize(
    "data", [journal(12, 3, **FAILURES), journal(2000, 40, drained=range(1, 2000, 7)), {}], ids=["failures", "2000", "empty"]
)
def test_the_page_is_complete_and_quiet(show, data):
    page = show(data)
    assert page.evaluate("document.querySelectorAll('.row').length") == len(data.get("hosts", {}))
    assert page.evaluate("document.querySelectorAll('tbody tr').length") == len(data.get("hosts", {}))
    assert page.evaluate("document.compatMode") == "CSS1Compat"
    assert page.complaints() == []
    assert page.requests() == []


def test_a_page_that_is_not_quiet_is_noticed(show):
    page = show("<!DOCTYPE html><img src='http://127.0.0.1:18999/x'><script>console.error('no'); undefined_function()</script>")
    assert page.requests() == ["http://127.0.0.1:18999/x"]
    assert len(page.complaints()) >= 2


def test_links_lead_to_their_sections(show):
    page = show(journal(12, 3, **FAILURES))
    targets = page.evaluate(
        "[...document.querySelectorAll('nav a')].map(link => document.querySelector(link.hash)?.querySelector('h2').innerText === link.innerText)"
    )
    assert targets == [True] * 5


def test_time_without_work_is_cut_out(show):
    data = journal(6)
    for name in list(data["hosts"])[3:]:
        host = data["hosts"][name]
        data["hosts"][name] = {**host, **{key: host[key] + 36000 for key in ("arrived", "admitted", "completed")}}
    page = show({**data, "finished": data["finished"] + 36000})
    assert all(part["width"] > 10 for row in bars(page) for part in row["parts"] if part["kind"] != "wait")
    assert "9 h 59 min without work, left out" in page.evaluate("document.querySelector('#timeline').innerText")
