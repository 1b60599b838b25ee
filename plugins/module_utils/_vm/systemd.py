# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What systemd says and writes: properties of units, environment files. Standard library only: it also runs outside of modules."""

from __future__ import annotations

import os
import re
import shlex
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


def parse_environment(text: str) -> t.Dict[str, str]:
    """The assignments of a systemd EnvironmentFile; quotes are removed, lines that are none are left out."""
    values: t.Dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if not equals or not re.match(r"[A-Za-z_][A-Za-z0-9_]*\Z", key):
            continue
        try:
            values[key] = "".join(shlex.split(value)) if value[:1] in "'\"" else value.strip()
        except ValueError:
            values[key] = value
    return values


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
