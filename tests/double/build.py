# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in kuma-dp as one executable file."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).parent / "kuma_dp"
# What a kernel starts and Python runs; the earliest time that the format can tell.
SHEBANG = b"#!/usr/bin/env python3\n"
TIME = (1980, 1, 1, 0, 0, 0)


def kuma_dp(version: str) -> bytes:
    """The executable, a zipapp, of a kuma-dp that says it has this version. The same sources give the same bytes."""
    modules = {f"kuma_dp/{path.name}": path.read_text() for path in PACKAGE.glob("*.py")}
    modules["kuma_dp/version.py"] = f"VERSION = {version!r}\n"
    # zipapp itself keeps the times of files.
    modules["__main__.py"] = "from kuma_dp.__main__ import start\n\nstart()\n"
    content = io.BytesIO()
    content.write(SHEBANG)
    with zipfile.ZipFile(content, "a") as archive:
        for name, text in sorted(modules.items()):
            archive.writestr(zipfile.ZipInfo(name, TIME), text)
    return content.getvalue()
