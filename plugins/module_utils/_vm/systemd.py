# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What systemd says and writes: properties of units, environment files. Standard library only: it also runs outside of modules."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner

UNIT = "kuma-dp@%s.service"
COVER_UNIT = "kuma-dp-cover@%s.service"
RESTART_UNIT = "kuma-dp-restart@%s.service"
# Comes with transparent proxying, below the root directory.
TRANSPARENT_DROP_IN = "etc/systemd/system/kuma-dp@.service.d/transparent-proxy.conf"
# Where units of this machine's administrator are, and what is there while systemd runs.
UNITS = "/etc/systemd/system"
RUNNING = "/run/systemd/system"


_ASSIGNMENT = re.compile(r"[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_QUOTED = {'"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL), "'": re.compile(r"'([^']*)'")}


def parse_environment(text: str) -> t.Dict[str, str]:
    """The assignments of a systemd EnvironmentFile; quotes are removed, lines that are none are left out.

    What is quoted may have several lines, of which none is an assignment, whatever it looks like.
    """
    values: t.Dict[str, str] = {}
    position = 0
    while position < len(text):
        assignment = _ASSIGNMENT.match(text, position)
        if assignment is not None:
            start = assignment.end()
            quoted = _QUOTED[text[start]].match(text, start) if text[start : start + 1] in _QUOTED else None
            if quoted is not None:
                values[assignment.group(1)] = re.sub(r'\\(["\\`$])', r"\1", quoted.group(1)) if text[start] == '"' else quoted.group(1)
                position = quoted.end()
            else:
                # A quote that is never closed goes on to the end.
                end = len(text) if text[start : start + 1] in _QUOTED else _end_of_line(text, start)
                values[assignment.group(1)] = text[start:end].strip()
                position = end
        position = _end_of_line(text, position) + 1
    return values


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def render_environment(values: t.Mapping[str, str]) -> str:
    """An EnvironmentFile with these assignments, sorted."""
    lines = ['%s="%s"' % (key, re.sub(r'([\\"$`])', r"\\\1", value)) for key, value in sorted(values.items())]
    return "\n".join(lines) + "\n"


def parse_show(text: str) -> t.Dict[str, t.Dict[str, str]]:
    """``systemctl show`` of several units: ``{unit: {property: value}}``."""
    units: t.Dict[str, t.Dict[str, str]] = {}
    for block in re.split(r"\n\s*\n", text.strip()):
        properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if properties.get("Id"):
            units[properties["Id"]] = properties
    return units


def read_again(run: Runner) -> t.Tuple[bool, str]:
    """Make systemd read its unit files again: whether it did, and what it said when it failed. Where it does not run, nothing is to be done."""
    if not os.path.isdir(RUNNING):
        return False, ""
    status, output, error = run(["systemctl", "daemon-reload"])
    return not status, ((error or output).strip() or "status %d" % status) if status else ""
