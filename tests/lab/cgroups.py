# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A control group per host, made before systemd-nspawn starts in it.

Without one all hosts share a single "payload" group. The systemd inside then cannot tell its own processes from those of
the others and stops signalling by group: KillMode silently does nothing. The group is also how the lab finds every
process of a host when it is time to end them, whoever their parent is by then.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.lab.settings import LabError

ROOT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """The hierarchies systemd uses: the only one of a cgroup v2 machine, else the unified and the named one."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    found = [ROOT / name for name in ("unified", "systemd") if (ROOT / name / "cgroup.procs").exists()]
    if not found:
        raise LabError(f"no systemd control group hierarchy below {ROOT}: mount a cgroup2 file system there")
    return found


def paths(name: str) -> list[Path]:
    return [hierarchy / name for hierarchy in hierarchies()]


def existing(prefix: str) -> list[Path]:
    """Groups directly below the roots whose name starts with the prefix."""
    return sorted(path for hierarchy in hierarchies() for path in hierarchy.glob(f"{prefix}*") if path.is_dir())


def create(name: str) -> list[Path]:
    made = paths(name)
    for path in made:
        path.mkdir(exist_ok=True)
    return made


def processes(group: Path) -> list[int]:
    """Process ids in a group and the groups below it, as this machine numbers them."""
    found: set[int] = set()
    for file in [group / "cgroup.procs", *group.rglob("cgroup.procs")]:
        try:
            found.update(int(line) for line in file.read_text().split())
        except OSError:
            continue  # the group went away meanwhile
    found.discard(0)
    return sorted(found)


def remove(group: Path, patience: float = 10.0) -> None:
    """Kill what is in the group, then remove it with all groups below. Raises LabError when something stays."""
    deadline = time.monotonic() + patience
    while group.exists():
        for pid in processes(group):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for path in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            _rmdir(path)
        _rmdir(group)
        if time.monotonic() > deadline:
            raise LabError(f"{group} cannot be removed; processes in it: {processes(group)}")
        if group.exists():
            time.sleep(0.02)


def _rmdir(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return  # busy or gone: the caller looks again
