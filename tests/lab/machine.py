# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks and listening sockets of this machine, as they are now."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from tests.lab.occupied import Listener, Machine, devices, listeners, routes
from tests.lab.settings import LabError


def look() -> Machine:
    """What others use of this machine. Routes of all tables: a VPN often has one of its own, which is asked first."""
    sockets = []
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):  # a machine without IPv6
            sockets += listeners(Path("/proc/net", name).read_text())
    return Machine(devices(_ip("address")) + routes(_ip("route", "show", "table", "all")), sockets)


def process(listener: Listener) -> str:
    """Who listens, for people."""
    link = f"socket:[{listener.inode}]"
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(path) == link:
                return f"process {path.parts[2]} ({Path('/proc', path.parts[2], 'comm').read_text().strip()})"
    return "a process that cannot be seen from here"


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", "-4", "-json", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout or "[]"
