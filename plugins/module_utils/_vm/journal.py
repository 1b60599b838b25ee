# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a unit has logged, as results and files may show it: the lines that differ, without secrets. Standard library only."""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import redact, without
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely, systemd
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner

LINES = 20
_READ = 400  # of which the last different ones are kept: Envoy says some things twice a second
_LONGEST = 500
# What the role tells kuma-dp itself, and what is no secret. All other variables are a user's, and may hold anything.
PLAIN = frozenset(
    (
        "KUMA_CONTROL_PLANE_CA_CERT_FILE",
        "KUMA_CONTROL_PLANE_URL",
        "KUMA_DATAPLANE_DRAIN_TIME",
        "KUMA_DATAPLANE_MESH",
        "KUMA_DATAPLANE_NAME",
        "KUMA_DATAPLANE_PROXY_TYPE",
        "KUMA_DATAPLANE_RUNTIME_BINARY_PATH",
        "KUMA_DATAPLANE_RUNTIME_CONCURRENCY",
        "KUMA_DATAPLANE_RUNTIME_ENVOY_LOG_LEVEL",
        "KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH",
        "KUMA_DATAPLANE_RUNTIME_TOKEN_PATH",
        "KUMA_DATAPLANE_RUNTIME_WORK_DIR",
        "KUMA_DNS_CORE_DNS_PORT",
        "KUMA_DNS_ENABLED",
        "KUMA_DNS_ENVOY_DNS_PORT",
        "KUMA_DNS_PROMETHEUS_PORT",
        "KUMA_READINESS_PORT",
    )
)
# A shorter value is a word or a number that stands for other things as well.
_SHORTEST = 8


def of_unit(unit: str, run: Runner, lines: int = LINES) -> t.List[str]:
    """The last different lines that a unit logged, without secrets: what looks like one, and the variables that the unit has from files."""
    found = distinct(logged(unit, run))[-lines:]
    secrets = secrets_of(unit, run) if found else []
    return [without(redact(line), secrets)[:_LONGEST] for line in found]


def logged(unit: str, run: Runner) -> t.List[str]:
    """What a unit logged last, with whatever secrets are in it."""
    return run(["journalctl", "--unit=" + unit, "--lines=%d" % _READ, "--output=cat", "--no-pager", "--quiet"])[1].splitlines()


def secrets_of(unit: str, run: Runner) -> t.List[str]:
    """The values of a unit's EnvironmentFiles that are not the role's own, line by line, and those that a proxy had before."""
    shown = run(["systemctl", "show", "--property=EnvironmentFiles", "--value", unit])[1]
    values: t.List[str] = []
    for path in _with_kept(re.findall(r"^(/.*?)(?: \(ignore_errors=\w+\))?$", shown, re.MULTILINE)):
        environment = systemd.parse_environment(safely.text_of(path) or "")
        values += [line for name, value in environment.items() if name not in PLAIN for line in value.splitlines()]
    return [value for value in values if len(value) >= _SHORTEST]


def _with_kept(paths: t.Iterable[str]) -> t.Iterator[str]:
    """Files, and beside them what a restart keeps of earlier ones."""
    for path in paths:
        yield path
        directory, name = os.path.split(path)
        beginning = ".%s." % os.path.splitext(name)[0]
        with contextlib.suppress(OSError):
            yield from (os.path.join(directory, other) for other in sorted(safely.names(directory)) if other.startswith(beginning))


def distinct(lines: t.Sequence[str]) -> t.List[str]:
    """Lines that differ in more than numbers (times, process ids), each where it was said last; the reason is not lost among repetitions."""
    last = {re.sub(r"\d+", "", line): index for index, line in enumerate(lines) if line.strip()}
    return [lines[index] for index in sorted(last.values())]
