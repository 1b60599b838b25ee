# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archives of the lab."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab import archive


def test_two_labs_that_build_one_archive_at_once_get_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "envoy", lambda: Path(__file__))
    sums = set()
    for pid in (4711, 4712):
        monkeypatch.setattr(archive, "cache", lambda pid=pid: tmp_path / str(pid))
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        sums.add(archive.build().sha256)
    assert len(sums) == 1
