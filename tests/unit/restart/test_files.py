# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restart keeps on a VM: secrets beside those in use, for root alone and no longer than they are needed."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import re

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files
from tests.unit.restart.test_vm import Machine, jwt, lay


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def everything(machine):
    """All that is on the VM but below the tokens and the settings, as text, with what is encoded in it."""
    found = []
    for path in machine.root.rglob("*"):
        if path.is_file() and not {machine.root / "etc/tokens", machine.root / "etc/env"} & set(path.parents):
            text = path.read_text(errors="replace")
            found.append(text)
            found.extend(
                base64.b64decode(item).decode("utf-8", "replace")
                for item in re.findall(r'"([A-Za-z0-9+/]{4,}={0,2})"', text)
                if len(item) % 4 == 0
            )
    return "\n".join(found)


def test_the_token_of_a_cover_is_gone_when_it_was_forgotten_or_the_vm_rebooted(machine):
    token = pathlib.Path(machine.paths.cover_token)
    lay(machine)
    earlier = pathlib.Path(machine.paths.own("cover", "token"))
    earlier.write_text("of 0.1.0")
    machine.vm().forget_cover()
    machine.vm().forget_cover()
    assert not token.exists()
    assert not earlier.exists()
    lay(machine)
    files.remember_start(machine.paths, booted=token.stat().st_mtime - 1)
    assert token.exists(), "this cover serves"
    files.remember_start(machine.paths, booted=token.stat().st_mtime + 1)
    assert not token.exists()


@pytest.mark.parametrize("from_an_earlier_release", [False, True])
def test_secrets_are_kept_beside_those_in_use_alone_and_put_back_from_there(machine, from_an_earlier_release):
    (machine.root / "etc/tokens").mkdir(exist_ok=True)
    token, environment = pathlib.Path(machine.paths.token), pathlib.Path(machine.paths.environment)
    old, new = jwt(Name="web-1", exp=1), jwt(Name="web-1", exp=2)
    token.write_text(old)
    token.chmod(0o600)
    environment.write_text("A=canary-old\n")
    files.remember_start(machine.paths)
    if from_an_earlier_release:
        taken = json.loads(pathlib.Path(machine.paths.own("started.json")).read_text())
        for item in taken["files"]:
            if item.pop("sha256", None):
                item["content"] = base64.b64encode(pathlib.Path(item["path"]).read_bytes()).decode()
        files.write_json(machine.paths.own("started.json"), taken)
        for path in machine.paths.secrets:
            os.unlink(machine.paths.kept("started", path))
    token.write_text(new)
    environment.write_text("A=canary-new\n")
    assert files.remember_good(machine.paths, 0.0)
    files.remember_start(machine.paths)
    assert "eyJ" not in everything(machine)
    assert "canary" not in everything(machine)
    assert_kept(machine, {"started": (new, "A=canary-new\n"), "good": (old, "A=canary-old\n")})
    machine.vm().restore_good()
    assert (token.read_text(), environment.read_text(), token.stat().st_mode & 0o777) == (old, "A=canary-old\n", 0o600)
    machine.vm().forget_old_token()
    machine.vm().forget_old_token()
    token.write_text(new)
    environment.write_text("A=canary-new\n")
    machine.vm().restore_good()
    # What came back with its token is not given the one of before any more.
    assert (token.read_text(), environment.read_text()) == (new, "A=canary-old\n")


def assert_kept(machine, wanted):
    """``{snapshot: (token, environment)}`` are for root alone."""
    for name, texts in wanted.items():
        paths = [pathlib.Path(machine.paths.kept(name, path)) for path in machine.paths.secrets]
        assert tuple(path.read_text() for path in paths) == texts
        assert {(path.stat().st_mode & 0o777, path.stat().st_uid) for path in paths} == {(0o600, os.getuid())}


def test_what_is_kept_is_told_by_its_digest(machine):
    (machine.root / "etc/tokens").mkdir(exist_ok=True)
    token = pathlib.Path(machine.paths.token)
    token.write_text("old")
    files.remember_start(machine.paths)
    assert files.remember_good(machine.paths, 0.0)
    pathlib.Path(machine.paths.kept("good", machine.paths.token)).write_text("another")
    token.write_text("new")
    machine.vm().restore_good()
    assert token.read_text() == "new"


def test_a_token_that_was_not_kept_stays_as_it_is(machine):
    (machine.root / "etc/tokens").mkdir(exist_ok=True)
    token = pathlib.Path(machine.paths.token)
    token.write_text("old")
    files.remember_start(machine.paths)
    os.unlink(machine.paths.kept("started", machine.paths.token))
    assert files.remember_good(machine.paths, 0.0)
    token.write_text("new")
    machine.vm().restore_good()
    assert token.read_text() == "new"
