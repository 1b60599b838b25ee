# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollover of a CA as the whole playbook begins it, against the stand-in: what cannot work is refused, and nothing is written.

How it goes on is tests/unit/action/test_rotation.py, and on hosts of their own tests/fleet.
"""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.integration.test_join_refused import ROOT, Join
from tests.unit.sockets import sign


@pytest.fixture
def join(control_plane, tmp_path):
    made = Join(control_plane, tmp_path)
    yield made
    made.close()


def written(directory, name, text):
    (directory / name).write_text(text)
    return str(directory / name)


def case(join, name):
    """Variables, and what is said."""
    new = sign("new CA", ca=True)
    return {
        "no new CA": ({}, "kuma_rotate_ca_new is not set, expected the CA that is to sign"),
        "a server's certificate": ({"kuma_rotate_ca_new": sign("cp", new).pem}, "kuma_rotate_ca_new: CN=cp is no certificate authority"),
        "a file that is not there": (
            {"kuma_rotate_ca_new": "nowhere.pem"},
            "kuma_rotate_ca_new is nowhere.pem, expected PEM text, or a file",
        ),
        "a fleet that trusts somebody else": (
            {
                "kuma_rotate_ca_new": new.pem,
                "kuma_dp_control_plane_ca": written(join.directory, "other.pem", sign("other CA", ca=True).pem),
            },
            "was signed by CN=kuma-cp stand-in CA, while kuma_dp_control_plane_ca holds CN=other CA, CN=new CA",
        ),
    }[name]


@pytest.mark.parametrize("name", ["no new CA", "a server's certificate", "a file that is not there", "a fleet that trusts somebody else"])
def test_what_cannot_work_is_refused_before_anything_is_rolled(join, ansible_playbook, name):
    others, said = case(join, name)
    inventory = join.directory / "inventory.json"
    inventory.write_text(json.dumps({"mesh_fleet": {"hosts": {"vm-1": join.variables(**others)}}}))
    run = ansible_playbook("-i", inventory, ROOT / "playbooks/rotate_ca.yml", cwd=join.directory)
    text = " ".join((run.stdout + run.stderr).split())
    assert run.returncode == 2, text
    assert said in text
    assert join.way.seen == [], "the API is not asked"
    assert not (join.directory / "written").exists()
    assert "TASK [Plan" not in run.stdout


def test_what_it_rolls_with_is_what_its_steps_said(join, ansible_playbook):
    """The join of the first roll refuses this host for its archive alone: it trusts the control plane with what the step before it gave it."""
    new = sign("new CA", ca=True)
    old = pathlib.Path(join.control_plane.ca_file).read_text()
    others = {"kuma_rotate_ca_new": new.pem, "kuma_dp_control_plane_ca": old, "kuma_dp_api_ca": join.certificate}
    inventory = join.directory / "inventory.json"
    inventory.write_text(json.dumps({"mesh_fleet": {"hosts": {"vm-1": join.variables(**others)}}}))
    run = ansible_playbook("-i", inventory, ROOT / "playbooks/rotate_ca.yml", "-v", cwd=join.directory)
    text = " ".join((run.stdout + run.stderr).split())
    assert run.returncode == 2, text
    assert "The join was not begun, nothing was written. 1 problem was found" in text
    assert "/nowhere/kuma.tar.gz" in text
    assert {method for method, _target in join.way.seen} == {"GET"}
