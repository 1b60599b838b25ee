# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Mustache as kuma-dp reads it (hoisie/mustache), which is not quite the Mustache of its manual. Pure functions.

kuma-dp renders every Dataplane file that it is given. What it does not understand it leaves out without a word (trap 33), so that is found
here: a name without a value, ``{{& x}}``, and ``{{{ x }}}`` with spaces, which looks for a name with spaces.
"""

from __future__ import annotations

import re
import typing as t

OPEN, CLOSE = "{{", "}}"
# What Go's template.HTMLEscape writes for these.
ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}
# No dots: kuma-dp makes a mapping of them, and of two with the same beginning it keeps one.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")

_OTHER = {
    "#": "a section",
    "^": "an inverted section",
    "/": "the end of a section",
    ">": "a partial",
    "=": "a change of delimiters",
}


class Tag(t.NamedTuple):
    """A variable in a template: ``raw`` is ``{{{x}}}``. ``text`` is the tag as it was written, ``line`` where."""

    name: str
    raw: bool
    text: str
    line: int


class Template(t.NamedTuple):
    """``parts`` are texts and tags in their order; ``faults`` say what kuma-dp would not do as it is written."""

    parts: t.List[t.Union[str, Tag]]
    faults: t.List[str]

    @property
    def tags(self) -> t.List[Tag]:
        return [part for part in self.parts if isinstance(part, Tag)]


def parse(text: str) -> Template:
    """Take a template apart. Comments are dropped."""
    parts: t.List[t.Union[str, Tag]] = []
    faults: t.List[str] = []
    position, line = 0, 1
    while True:
        start = text.find(OPEN, position)
        if start < 0:
            parts.append(text[position:])
            return Template(parts, faults)
        parts.append(text[position:start])
        line += text.count("\n", position, start)
        inner = start + len(OPEN)
        close = "}" + CLOSE if text.startswith("{", inner) else CLOSE
        end = text.find(close, inner)
        if end < 0:
            faults.append("line %d: %s is never closed" % (line, text[start : start + 20].split("\n")[0]))
            return Template(parts, faults)
        position = end + len(close)
        tag, fault = _tag(text[inner:end], text[start:position], line)
        if tag is not None:
            parts.append(tag)
        if fault:
            faults.append(fault)
        line += text.count("\n", start, position)


def _tag(inner: str, text: str, line: int) -> t.Tuple[t.Optional[Tag], str]:
    raw = inner.startswith("{")
    name = inner[1:] if raw else inner.strip()
    if not raw and name.startswith("!"):
        return None, ""
    if not raw and name[:1] in _OTHER and name:
        return None, "line %d: %s is %s, expected nothing but variables: their values are texts" % (line, text, _OTHER[name[0]])
    if not raw and name.startswith("&"):
        return None, "line %d: %s is always empty, expected {{{%s}}}" % (line, text, name[1:].strip())
    if raw and name != name.strip():
        return None, "line %d: %s is always empty, expected {{{%s}}} without spaces" % (line, text, name.strip())
    if not NAME.match(name):
        return None, "line %d: %s has no name of letters, digits, _ and - in it" % (line, text)
    return Tag(name, raw, text, line), ""


def escaped(value: str) -> str:
    """``value`` as ``{{ }}`` writes it."""
    return "".join(ESCAPES.get(character, character) for character in value)


def render(template: Template, values: t.Mapping[str, str]) -> str:
    """The text that kuma-dp makes of a template; names without a value are empty."""
    out = []
    for part in template.parts:
        if isinstance(part, str):
            out.append(part)
        else:
            value = values.get(part.name, "")
            out.append(value if part.raw else escaped(value))
    return "".join(out)


def problems(template: Template, values: t.Mapping[str, str]) -> t.List[str]:
    """``template.faults``, names without a value, and values that ``{{ }}`` would change."""
    found = list(template.faults)
    for tag in template.tags:
        if tag.name not in values:
            found.append(
                "line %d: %s has no value and would be empty, expected one of %s" % (tag.line, tag.text, ", ".join(sorted(values)))
            )
        elif not tag.raw and escaped(values[tag.name]) != values[tag.name]:
            found.append(
                "line %d: %s would become %s, because two braces escape HTML, expected {{{%s}}}"
                % (tag.line, tag.text, escaped(values[tag.name]), tag.name)
            )
    return found
