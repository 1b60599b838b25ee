# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Every recorded answer, case by case, against the stand-in control plane of each version.

With URL, TOKEN_FILE (the file with an administrator's token) and, for https, CA_FILE the same cases run against that control plane
instead. They use Dataplanes rec-1 to rec-20, bad-1 and bad-2 of the default mesh, meshes rec and closed, and remove them in the end;
where these names exist before, nothing is done, unless CLEAN=1 allows their removal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.contract.processes import control_plane
from tests.contract.replay import VERSIONS, Target, comparable, is_window, recording, recording_for, steps

CA_FILE = os.environ.get("CA_FILE", "")


def _real() -> tuple[str, str, str] | None:
    url = os.environ.get("URL", "").rstrip("/")
    if not url:
        return None
    token_file = os.environ.get("TOKEN_FILE", "")
    if not token_file:
        raise pytest.UsageError("URL is set: TOKEN_FILE must name the file with an administrator's token of that control plane")
    answer = requests.get(url + "/", timeout=30, verify=CA_FILE or True)
    answer.raise_for_status()
    served = answer.json()
    version = recording_for(served.get("basedOnKuma") or served["version"])
    return url, Path(token_file).read_text(encoding="utf-8").strip(), version


REAL = _real()


@pytest.fixture(scope="module", params=[REAL[2]] if REAL else VERSIONS)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    if REAL:
        real = Target(*REAL, exclusive=False, ca_file=CA_FILE)
        if os.environ.get("CLEAN") == "1":
            real.clean()
        found = real.leftovers()
        assert not found, f"the recorded cases would overwrite {', '.join(found)}: remove them, or set CLEAN=1 to have them removed"
        yield real
        real.clean()
        return
    with control_plane(request.param, tmp_path_factory.mktemp("cp")) as ready:
        token = Path(ready["admin_token_file"]).read_text(encoding="utf-8")
        yield Target(ready["url"], token, request.param, exclusive=True)


def test_recorded_answers(target: Target, subtests: pytest.Subtests) -> None:
    """The cases build on each other, so they run in order; every case that differs is reported."""
    for title, case in steps(target.version):
        if not target.exclusive and is_window(case):
            continue
        answer = target.send(case)
        with subtests.test(msg=title):
            assert comparable(case, answer, target) == comparable(case, case["response"], target)


def test_every_version_records_the_same_cases() -> None:
    names = [[case["case"] for case in recording(version)] for version in VERSIONS]
    assert all(names[0] == other for other in names[1:])
