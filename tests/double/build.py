# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-ins for kuma-dp, kuma-cp and kumactl as one executable file each."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
# What a kernel starts and Python runs; the earliest time that the format can tell.
SHEBANG = b"#!/usr/bin/env python3\n"
TIME = (1980, 1, 1, 0, 0, 0)


def kuma_dp(version: str) -> bytes:
    """The executable, a zipapp, of a kuma-dp that says it has this version. The same sources give the same bytes."""
    return _zipapp("kuma_dp", f"VERSION = {version!r}\n", "from kuma_dp.__main__ import start\n\nstart()\n")


def kuma_cp(version: str) -> bytes:
    """The same of a kuma-cp. It needs aiohttp, cryptography, PyJWT, PyYAML and psycopg2 where it runs."""
    start = "from kuma_cp.command import start\nfrom kuma_cp.version import VERSION\n\nstart(VERSION)\n"
    return _zipapp("kuma_cp", f"VERSION = {version!r}\n", start)


def kumactl(version: str) -> bytes:
    """The same of a kumactl, which is one file of text."""
    source = (HERE / "kumactl" / "kumactl.py").read_text()
    return SHEBANG + source.replace('VERSION = "2.14.3"', f"VERSION = {version!r}").encode()


def _zipapp(package: str, version: str, main: str) -> bytes:
    modules = {f"{package}/{path.name}": path.read_text() for path in (HERE / package).glob("*.py")}
    modules[f"{package}/version.py"] = version
    modules["__main__.py"] = main
    # zipapp itself keeps the times of files.
    content = io.BytesIO()
    content.write(SHEBANG)
    with zipfile.ZipFile(content, "a") as archive:
        for name, text in sorted(modules.items()):
            archive.writestr(zipfile.ZipInfo(name, TIME), text)
    return content.getvalue()
