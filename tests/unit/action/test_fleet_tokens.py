# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens of a fleet, by the actions of the playbooks and of a leave: what is revoked, what is said, and what is asked of the control plane."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.action import fleet_leave, fleet_tokens
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import sign
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import Entry, Ledger
from tests.unit.action.host import action
from tests.unit.play.vm import host, seen

numbers = itertools.count(1)
NOW = time.time()
DAY = 86400
EXISTING = {"kuma_dp_token_signing_key": "", "kuma_dp_token_signing_key_file": "", "kuma_dp_token_signing_kid": ""}


class Fleet:
    """Two hosts of a mesh of their own; ``looks`` is what their VMs show."""

    def __init__(self, control_plane, client, directory):
        self.control_plane, self.client = control_plane, client
        self.mesh = f"tokens-{next(numbers)}"
        self.names = [f"{self.mesh}-a", f"{self.mesh}-b"]
        client.put(f"/meshes/{self.mesh}", {"type": "Mesh", "name": self.mesh})
        self.ledger = Ledger(str(directory / "tokens.jsonl"))
        common = {"kuma_dp_mesh": self.mesh, "kuma_dp_control_plane_url": control_plane.https_url}
        self.inventory = {name: dict(common) for name in self.names}

    def register(self, *names):
        for number, name in enumerate(names, start=1):
            networking = {"address": f"10.47.0.{number}", "inbound": [{"port": 80, "tags": {"kuma.io/service": "x"}}]}
            body = {"type": "Dataplane", "mesh": self.mesh, "name": name, "networking": networking}
            self.client.put(f"/meshes/{self.mesh}/dataplanes/{name}", body)

    def issued(self, *jtis, name=None, end=NOW + 9 * DAY):
        name = name or self.names[0]
        self.ledger.append([Entry(jti, "dataplane", name, self.mesh, int(end), name, int(NOW) - 100, "1") for jti in jtis])

    def vm(self, name, jti, end=NOW + 9 * DAY, kid="1", **more):
        """What a look at a VM finds."""
        claims = {"jti": jti, "Name": name, "Mesh": self.mesh, "exp": end, "iat": NOW - DAY}
        token = {"present": True, "claims": claims, "kid": kid}
        return {"host": host(proxies={name: seen(token=token, **more)}), "names": [name]}

    def look(self, name, jti, at="kuma_tokens_look", **more):
        self.inventory[name][at] = self.vm(name, jti, **more)

    def action(self, module, step, purpose="join", **variables):
        options = {"kuma_dp_token_ledger": self.ledger.path, "kuma_zone_proxy_token_signing_key": "", **EXISTING, **variables}
        made = action(module, self.control_plane, self.inventory, step=step, **options)
        made.variables["groups"] = {f"meshfleet_kuma_{purpose}": self.names}
        made.params["purpose"] = purpose
        return made

    def run(self, step, purpose="join", **variables):
        return self.action(fleet_tokens, step, purpose, **variables).step()

    def revoked(self, name=None):
        with contextlib.suppress(NotFound):
            body = self.client.get(f"/global-secrets/{name or f'dataplane-token-revocations-{self.mesh}'}").body
            return base64.b64decode(body["data"]).decode().split(",")
        return []


@pytest.fixture
def client(control_plane, connect):
    return connect(control_plane.https_url, token=control_plane.token, ca_path=control_plane.ca_file)


@pytest.fixture
def fleet(control_plane, client, tmp_path):
    return Fleet(control_plane, client, tmp_path)


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Nobody else writes the list, so nobody has to be waited for."""
    monkeypatch.setattr(fleet_tokens.revocations, "MOMENT", 0.0)


@pytest.fixture
def connected(monkeypatch):
    """Everybody counts as connected: no proxy runs here."""
    monkeypatch.setattr(fleet_tokens.rotating.status, "online", lambda _overview: True)


@pytest.mark.usefixtures("connected")
def test_a_rotation_revokes_what_was_replaced_and_says_how_long_the_fleet_has_left(fleet):
    a, b = fleet.names
    fleet.register(a, b)
    fleet.issued("a-1", "a-2")
    fleet.issued("b-1", "b-2", name=b)
    fleet.look(a, "a-2")
    fleet.look(b, "b-2", end=NOW + 8.5 * DAY)
    done = fleet.run("settle")
    assert done["msg"][0] == "revoked: 2 tokens that were replaced"
    assert done["msg"][1].startswith(f"The fleet has 8 days left: the token of {b} ends first, at 20")
    assert (done["changed"], done["revoked"], fleet.revoked()) == (True, ["a-1", "b-1"], ["a-1", "b-1"])
    assert fleet.run("settle")["changed"] is False


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("begun", [None, NOW - 3600], ids=["not told", "an hour ago"])
def test_a_roll_may_take_its_time(fleet, begun):
    """What the join did not take for due is no fault of the rotation a while later."""
    a, b = fleet.names
    fleet.register(a, b)
    fleet.look(a, "a-1", end=NOW + 7 * DAY - 60)
    fleet.look(b, "b-1")
    if begun:
        fleet.inventory[b]["kuma_dp_plan"] = {"begun": begun}
    assert bool(fleet.run("settle", kuma_dp_token_renew_before="7d").get("failed")) is not bool(begun)


@pytest.mark.usefixtures("connected")
def test_who_does_not_run_with_the_new_token_keeps_the_old_one_and_the_rotation_fails(fleet):
    a, b = fleet.names
    fleet.register(a, b)
    fleet.issued("a-1", "a-2")
    fleet.issued("b-1", "b-2", name=b)
    fleet.look(a, "a-2", restart_codes=["token"])
    fleet.look(b, "b-2")
    done = fleet.run("settle")
    assert (done["failed"], done["changed"], fleet.revoked()) == (True, True, ["b-1"])
    line, problem = done["msg"].split("\n")
    assert line.startswith("The fleet has 8 days left: ")
    assert problem == f"not connected with the token on the VM, so that those before it were not revoked: {a}"


def test_of_hosts_that_were_lost_the_ledger_tells_how_long_they_have(fleet):
    a, b = fleet.names
    fleet.issued("a-1", end=NOW + 2.5 * DAY)
    done = fleet.run("settle", kuma_dp_token_renew_before="7d")
    assert done["failed"]
    assert done["msg"].split("\n")[0].startswith(f"The fleet has 2 days left: the token of {a} ends first")
    assert f"too soon: {a} at " in done["msg"]
    assert f"nothing is known of the tokens of {b}" in done["msg"]


@pytest.mark.usefixtures("connected")
def test_without_a_ledger_what_the_vm_held_before_is_revoked(fleet):
    a, b = fleet.names
    fleet.register(a, b)
    fleet.look(a, "a-2")
    fleet.look(a, "a-1", at="kuma_dp_look")
    fleet.look(b, "b-1")
    assert fleet.run("settle", kuma_dp_token_ledger="")["revoked"] == ["a-1"]
    fleet.look(b, "b-0", at="kuma_dp_look")
    assert fleet.run("settle", kuma_dp_token_ledger="", kuma_rotate_revoke=False)["changed"] is False


@pytest.mark.usefixtures("connected")
def test_a_vm_cannot_have_a_revoked_token_taken_off_the_list(fleet):
    """Whoever broke into one writes a token there that nobody signed: the ID of another that was revoked, and an end long ago."""
    a, b = fleet.names
    fleet.register(a, b)
    assert revoke(fleet, kuma_revoke_ids=["stolen"])["revoked"] == ["stolen"]
    fleet.issued("b-1", "b-2", name=b)
    fleet.look(b, "b-2")
    fleet.look(a, "stolen", end=NOW - DAY)
    assert fleet.run("settle")["revoked"] == ["b-1"]
    assert fleet.revoked() == ["stolen", "b-1"]
    assert leave(fleet, "delete")["changed"]
    assert "stolen" in fleet.revoked()


def test_a_vm_cannot_keep_its_token_from_being_revoked_by_another_end_for_it(fleet):
    a, b = fleet.names
    fleet.look(a, "a-1", at="kuma_dp_look", end=NOW - DAY)
    fleet.issued("b-1", name=b)
    fleet.look(b, "b-1", at="kuma_dp_look", end=NOW - DAY)
    assert leave(fleet, "delete")["revoked"] == ["a-1", "b-1"]


@pytest.mark.usefixtures("connected")
def test_a_check_revokes_nothing(fleet):
    a, b = fleet.names
    fleet.register(a, b)
    fleet.issued("a-1", "a-2")
    fleet.look(a, "a-2")
    fleet.look(b, "b-1")
    done = fleet.action(fleet_tokens, "settle", check=True).step()
    assert (done["changed"], done["msg"][0], fleet.revoked()) == (True, "would be revoked: 1 token that was replaced", [])


def test_when_the_control_plane_is_gone_the_line_is_said_nevertheless(fleet):
    a, b = fleet.names
    fleet.look(a, "a-1")
    fleet.look(b, "b-1")
    made = fleet.action(fleet_tokens, "settle")
    made.variables["kuma_dp_control_plane_url"] = "https://127.0.0.1:1"
    for variables in fleet.inventory.values():
        variables["kuma_dp_control_plane_url"] = "https://127.0.0.1:1"
    made.client = lambda: fleet_client(made)
    done = made.step()
    assert done["failed"]
    assert done["msg"].startswith("The fleet has 8 days left")
    assert "127.0.0.1:1" in done["msg"]


def fleet_client(made):
    from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client

    return Client(**made.api(), retries=0)


def revoke(fleet, **variables):
    fleet.run("prepare", "revoke", **variables)
    return fleet.run("revoke", "revoke", **variables)


@pytest.mark.usefixtures("connected")
def test_all_tokens_of_a_proxy_are_revoked_and_what_is_connected_is_told(fleet):
    a, b = fleet.names
    fleet.register(a)
    fleet.issued("a-1", "a-2")
    fleet.look(a, "a-2")
    done = revoke(fleet, kuma_revoke="all")
    assert (done["revoked"], fleet.revoked()) == (["a-1", "a-2"], ["a-1", "a-2"])
    assert done["msg"] == [
        "revoked: 2 tokens",
        f"no token is known of these, neither by the ledger nor by their VMs: {b}",
        f"still connected, for a revocation counts when a proxy connects again: {a}",
    ]


@pytest.mark.usefixtures("connected")
def test_only_what_was_replaced_is_revoked_when_that_is_asked_for(fleet):
    a, b = fleet.names
    fleet.register(a, b)
    fleet.issued("a-1", "a-2")
    fleet.look(a, "a-2")
    assert revoke(fleet, kuma_revoke="replaced")["revoked"] == ["a-1"]


def test_tokens_and_proxies_that_are_named_are_revoked_without_looking_at_a_vm(fleet):
    fleet.issued("gone-1", "gone-2", name="gone")
    fleet.issued("ended", name="gone", end=NOW - 10)
    zone = Entry(f"{fleet.mesh}-zone", "zone", "gate", "", int(NOW) + DAY, "vm", 1, "1")
    fleet.ledger.append([zone])
    made = fleet.action(fleet_tokens, "look", "revoke", kuma_revoke_names="gone")
    made._execute_module = None  # nobody is visited
    assert made.step() == {"changed": False}
    done = revoke(fleet, kuma_revoke_names="gone", kuma_revoke_ids=f"x-1, {zone.jti}")
    assert set(done["revoked"]) == {"gone-1", "gone-2", "x-1", zone.jti}
    assert fleet.revoked() == ["gone-1", "gone-2", "x-1"]
    assert zone.jti in fleet.revoked("zone-token-revocations")


def test_a_zone_proxy_that_is_in_no_inventory_any_more_is_revoked_by_its_name_as_well(fleet):
    gate = f"{fleet.mesh}-gate"
    fleet.ledger.append([Entry(f"{gate}-1", "zone", gate, "", int(NOW) + DAY, "vm", 1, "1")])
    done = revoke(fleet, kuma_revoke_names=[gate, "nobody"])
    assert done["revoked"] == [f"{gate}-1"]
    assert done["msg"][1:] == ["no token is known of these, neither by the ledger nor by their VMs: nobody"]
    assert f"{gate}-1" in fleet.revoked("zone-token-revocations")


def other(fleet, client):
    """The options of a user who is no administrator."""
    token = client.post_text("/tokens/user", {"name": "ci", "groups": ["ops"], "validFor": "1h"})
    return {"kuma_dp_api_token": token}


def test_who_may_not_revoke_is_told_before_anybody_is_visited(fleet, client):
    with pytest.raises(ItemsFailed) as failed:
        fleet.run("prepare", "revoke", kuma_revoke="all", **other(fleet, client))
    assert failed.value.msg.startswith(f"Nothing was done: tokens are revoked in GlobalSecret dataplane-token-revocations-{fleet.mesh}")
    assert "expected the token of an administrator" in failed.value.msg


@pytest.mark.parametrize("variables", [{}, {"kuma_revoke": "some"}])
def test_what_is_not_asked_for_is_not_revoked(fleet, variables):
    with pytest.raises(ItemsFailed, match="kuma_revoke is "):
        fleet.run("prepare", "revoke", **variables)


def test_a_hostile_name_or_id_is_refused(fleet):
    with pytest.raises(Exception, match=r"names\[0\]: is '\.\./x'"):
        fleet.run("prepare", "revoke", kuma_revoke_names="../x")
    with pytest.raises(ItemsFailed, match="kuma_revoke_ids names 'a/b'"):
        fleet.run("prepare", "revoke", kuma_revoke_ids=["a/b"])


@pytest.mark.usefixtures("connected")
def test_a_key_is_added_and_the_old_one_removed_when_no_proxy_needs_it(fleet):
    a, b = fleet.names
    fleet.register(a, b)
    assert fleet.run("add_key", "signing_key")["msg"].startswith("key 2 was added")
    assert fleet.run("add_key", "signing_key")["changed"] is False
    fleet.look(a, "a-1", kid="2")
    with pytest.raises(ItemsFailed, match=f"{b} is on {b}, which was not looked at"):
        fleet.run("remove_key", "signing_key")
    fleet.look(b, "b-1", kid="2")
    assert fleet.run("remove_key", "signing_key", kuma_signing_key_step="remove")["msg"].startswith("removed: key 1")


@pytest.mark.parametrize(("step", "done"), [("add_key", ["reissue", "roll", "remove"]), ("remove_key", ["add", "reissue", "roll"])])
def test_one_step_alone_does_nothing_of_the_others(fleet, step, done):
    for other_step in done:
        assert fleet.run(step, "signing_key", kuma_signing_key_step=other_step) == {"changed": False}


def test_a_key_of_the_user_that_is_none_is_named_by_its_variable(fleet, tmp_path):
    (tmp_path / "bad.pem").write_text("geheim")
    with pytest.raises(ItemsFailed, match=r"^kuma_signing_key_file is no private key in PEM") as failed:
        fleet.run("add_key", "signing_key", kuma_signing_key_file=str(tmp_path / "bad.pem"))
    assert "geheim" not in failed.value.msg
    (tmp_path / "good.pem").write_text(sign.generate())
    assert fleet.run("add_key", "signing_key", kuma_signing_key_file=str(tmp_path / "good.pem"))["changed"]


def leave(fleet, step, **variables):
    return fleet.action(fleet_leave, step, "leave", **variables).step()


def test_tokens_of_proxies_that_leave_are_revoked(fleet):
    a, b = fleet.names
    fleet.register(a, b)
    fleet.issued("a-1", "a-2")
    fleet.look(a, "a-2", at="kuma_dp_look")
    fleet.look(b, "b-1", at="kuma_dp_look")
    done = leave(fleet, "delete")
    assert (sorted(done["deleted"]), done["revoked"], fleet.revoked()) == ([a, b], ["a-1", "a-2", "b-1"], ["a-1", "a-2", "b-1"])
    again = leave(fleet, "delete")
    assert (again["changed"], again["revoked"]) == (False, [])
    assert "a-1" not in json.dumps(done["diff"])


def test_of_a_dead_vm_the_ledger_knows_the_tokens_and_what_nobody_knows_is_told(fleet):
    a, b = fleet.names
    fleet.register(a, b)
    fleet.issued("a-1")
    made = fleet.action(fleet_leave, "delete", "leave")
    done = made.step()
    assert done["revoked"] == ["a-1"]
    assert made.warnings[0].startswith(f"No token of {b} is known, neither by the ledger nor by a VM")


def test_a_leave_whose_ledger_cannot_be_read_is_refused_before_it_begins(fleet, tmp_path):
    a, _b = fleet.names
    fleet.register(a)
    (tmp_path / "directory").mkdir()
    with pytest.raises(ItemsFailed, match="kuma_dp_token_ledger"):
        leave(fleet, "withdraw", kuma_dp_token_ledger=str(tmp_path / "directory"))
    assert "fenced" not in json.dumps(fleet.client.get(f"/meshes/{fleet.mesh}/dataplanes/{a}").body)


def test_a_leave_without_the_rights_is_refused_before_it_begins_unless_it_goes_without(fleet, client):
    a, _b = fleet.names
    fleet.register(a)
    fleet.issued("a-1")
    with pytest.raises(ItemsFailed, match=r"Leave without that with kuma_dp_leave_revoke: false"):
        leave(fleet, "withdraw", **other(fleet, client))
    assert client.get(f"/meshes/{fleet.mesh}/dataplanes/{a}").body["name"] == a
    leave(fleet, "withdraw", kuma_dp_leave_revoke=False, **other(fleet, client))
    done = leave(fleet, "delete", kuma_dp_leave_revoke=False, **other(fleet, client))
    assert (done["deleted"], "revoked" in done, fleet.revoked()) == ([a], False, [])
