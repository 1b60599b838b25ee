# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks about tokens, as far as they go without a VM: what they refuse, what they revoke, and the keys that they add."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import pathlib
import time

import jwt
import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import Entry, Ledger

ROOT = pathlib.Path(__file__).parents[2]
numbers = itertools.count(1)
LATER = int(time.time()) + 30 * 86400


class Fleet:
    """A mesh of its own with two hosts, whose VMs are this machine with a directory for each. Nothing runs there."""

    def __init__(self, control_plane, ansible_playbook, directory):
        self.control_plane, self.ansible_playbook, self.directory = control_plane, ansible_playbook, directory
        self.mesh = f"books-{next(numbers)}"
        self.client = Client(control_plane.https_url, control_plane.token, control_plane.ca_file)
        self.client.put(f"/meshes/{self.mesh}", {"type": "Mesh", "name": self.mesh})
        self.ledger = Ledger(str(directory / "tokens.jsonl"))
        common = {
            "ansible_connection": "local",
            "ansible_become": False,
            "kuma_dp_mesh": self.mesh,
            "kuma_dp_control_plane_url": control_plane.https_url,
            "kuma_dp_control_plane_ca": control_plane.ca_file,
            "kuma_dp_archive_cache": str(directory / "cache"),
            "kuma_dp_token_ledger": self.ledger.path,
            "kuma_dp_roll_dir": str(directory / "rolls"),
        }
        hosts = {name: {"kuma_dp_config_dir": str(directory / name)} for name in ("web-1", "web-2")}
        self.inventory = directory / "inventory.json"
        self.inventory.write_text(json.dumps({"mesh_fleet": {"hosts": hosts, "vars": common}}))

    def play(self, book, *arguments, token=None, **variables):
        command = ["-i", self.inventory, ROOT / f"playbooks/{book}.yml", "-e", json.dumps(variables), *arguments]
        return self.ansible_playbook(*command, environment={"KUMA_API_TOKEN": token or self.control_plane.token})

    def lay(self, name, kid="1"):
        """A token on the VM of a proxy; returns its ID."""
        jti = f"{self.mesh}-{name}"
        claims = {"jti": jti, "Name": name, "Mesh": self.mesh, "exp": LATER, "iat": LATER - 60 * 86400}
        directory = self.directory / name / "tokens"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(jwt.encode(claims, "no key at all, for nobody looks at the signature", headers={"kid": kid}))
        return jti

    def issued(self, *jtis, name):
        self.ledger.append([Entry(jti, "dataplane", name, self.mesh, LATER, name, 1, "1") for jti in jtis])

    def revoked(self):
        with contextlib.suppress(NotFound):
            body = self.client.get(f"/global-secrets/dataplane-token-revocations-{self.mesh}").body
            return base64.b64decode(body["data"]).decode().split(",")
        return []

    def kids(self):
        listed = self.client.list(f"/meshes/{self.mesh}/secrets")
        return sorted(item["name"].rpartition("-")[2] for item in listed)


@pytest.fixture
def fleet(control_plane, ansible_playbook, tmp_path):
    made = Fleet(control_plane, ansible_playbook, tmp_path)
    with contextlib.closing(made.client):
        yield made


def test_all_tokens_of_a_host_are_revoked_by_what_the_ledger_and_its_vm_know(fleet):
    held = fleet.lay("web-1")
    fleet.issued("old-1", name="web-1")
    fleet.issued("other", name="web-2")
    looked = fleet.play("revoke_tokens", "--limit", "web-1", "--check", kuma_revoke="all")
    assert looked.returncode == 0, looked.stdout
    assert "would be revoked: 2 tokens" in looked.stdout
    assert fleet.revoked() == []
    done = fleet.play("revoke-tokens", "--limit", "web-1", kuma_revoke="all")
    assert done.returncode == 0, done.stdout
    assert "revoked: 2 tokens" in done.stdout
    assert set(fleet.revoked()) == {"old-1", held}
    again = fleet.play("revoke_tokens", "--limit", "web-1", kuma_revoke="all")
    assert "changed=0" in again.stdout


@pytest.mark.nightly
def test_proxies_that_are_in_no_inventory_any_more_are_revoked_by_name(fleet):
    fleet.issued("gone-1", "gone-2", name="gone")
    done = fleet.play("revoke_tokens", kuma_revoke_names=["gone"])
    assert done.returncode == 0, done.stdout
    assert fleet.revoked() == ["gone-1", "gone-2"]


@pytest.mark.parametrize(
    ("book", "variables", "message"),
    [
        ("revoke_tokens", {}, "kuma_revoke is not set, expected replaced"),
        ("rotate_signing_key", {"kuma_signing_key_step": "begin"}, "kuma_signing_key_step is begin, expected one of all, add"),
        ("rotate_tokens", {"kuma_rotate_befor": "7d"}, "kuma_rotate_befor is set and is no option, expected kuma_rotate_before"),
        pytest.param("revoke_tokens", {"kuma_revok": "all"}, "kuma_revok is set and is no option", marks=pytest.mark.nightly),
        pytest.param("rotate_tokens", {}, "kuma_dp_version is not set", marks=pytest.mark.nightly),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(fleet, book, variables, message):
    done = fleet.play(book, **variables)
    assert done.returncode != 0
    assert message in done.stdout
    assert (fleet.revoked(), fleet.kids()) == ([], ["1"])


@pytest.mark.nightly
def test_who_is_no_administrator_is_told_before_anybody_is_visited(fleet):
    token = fleet.client.post_text("/tokens/user", {"name": "ci", "groups": ["ops"], "validFor": "1h"})
    done = fleet.play("revoke_tokens", token=token, kuma_revoke="all")
    assert done.returncode != 0
    assert "expected the token of an administrator" in done.stdout
    assert "Look at the tokens on the VM" not in done.stdout


def test_a_key_is_added_and_stays_beside_the_old_one_while_a_proxy_may_need_that(fleet):
    looked = fleet.play("rotate_signing_key", "--check", kuma_signing_key_step="add")
    assert "key 2 would be added" in looked.stdout, looked.stdout
    added = fleet.play("rotate_signing_key", kuma_signing_key_step="add")
    assert added.returncode == 0, added.stdout
    assert (fleet.kids(), "key 2 was added" in added.stdout) == (["1", "2"], True)
    assert "PRIVATE" not in added.stdout + added.stderr
    fleet.lay("web-1", kid="2")
    fleet.lay("web-2", kid="1")
    kept = fleet.play("rotate-signing-key", kuma_signing_key_step="remove")
    assert kept.returncode != 0
    assert "web-2 holds a token of key 1" in kept.stdout
    assert "web-1" not in kept.stdout.split("may still use key 1.")[1].split("Give them")[0]
    assert fleet.kids() == ["1", "2"]
    fleet.lay("web-2", kid="2")
    removed = fleet.play("rotate_signing_key", kuma_signing_key_step="remove")
    assert removed.returncode == 0, removed.stdout
    assert ("removed: key 1" in removed.stdout, fleet.kids()) == (True, ["2"])
