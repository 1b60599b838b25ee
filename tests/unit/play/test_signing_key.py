# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rotation of a signing key: which step comes next by what is there, and which proxies keep an old key."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import held, keys, sign
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import Entry
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import signing_key

numbers = itertools.count(1)
PEM = sign.generate()


@pytest.fixture
def client(control_plane, connect):
    return connect(control_plane.https_url, token=control_plane.token, ca_path=control_plane.ca_file)


@pytest.fixture
def mesh(client):
    name = f"signing-{next(numbers)}"
    client.put(f"/meshes/{name}", {"type": "Mesh", "name": name})
    return name


def rotation(client, mesh, signer=None, check=False):
    return signing_key.Rotation(client, mesh, signer, check)


def holder(name="web-1", kid="2", **more):
    settled = {"seen": True, "running": True, "connected": True, "claims": {"jti": "x"}, "kid": kid}
    return held.Holder(name, "vm1", "default", **{**settled, **more})


def test_a_rotation_goes_on_where_it_stopped(client, mesh):
    at = keys.Keys(client, mesh)
    assert rotation(client, mesh).remove([], [], held.Book([]), False) == (False, "nothing to remove: key 1 is the only one")
    changed, line = rotation(client, mesh, check=True).add("")
    assert (changed, line.startswith("key 2 would be added"), at.held()) == (True, True, ["1"])
    changed, line = rotation(client, mesh).add("")
    assert (changed, line.startswith("key 2 was added"), at.held()) == (True, True, ["1", "2"])
    # Again, because the play was interrupted.
    assert rotation(client, mesh).add("") == (False, "key 2 was added before; still there: 1")
    changed, line = rotation(client, mesh, check=True).remove(["web-1"], [holder()], held.Book([]), False)
    assert (changed, at.held()) == (True, ["1", "2"])
    changed, line = rotation(client, mesh).remove(["web-1"], [holder()], held.Book([]), False)
    assert (changed, line, at.held()) == (True, "removed: key 1; tokens of key 2 alone are accepted", ["2"])
    assert rotation(client, mesh).remove(["web-1"], [holder()], held.Book([]), False)[0] is False
    # And the next one begins.
    assert rotation(client, mesh).add("")[1].startswith("key 3 was added")


def test_a_key_that_a_zone_has_from_its_global_control_plane_is_not_removed_in_vain(client, mesh, monkeypatch):
    """It comes back when the two connect again, and its tokens with it."""
    rotation(client, mesh).add("")
    listed = client.list(f"/meshes/{mesh}/secrets")
    for item in listed:
        item["labels"] = {"kuma.io/origin": "global" if item["name"].endswith("-1") else "zone"}
    monkeypatch.setattr(client, "list", lambda _path: listed)
    for mode, changed in (("zone", False), ("global", True)):
        monkeypatch.setattr(client, "control_plane", lambda _places, mode=mode: {"mode": mode})
        done = rotation(client, mesh, check=True).remove(["web-1"], [holder()], held.Book([]), False)
        assert (done[0], "at the global control plane" in done[1]) == (changed, not changed)


def test_a_key_of_the_user_is_added_in_the_form_that_is_read(client, mesh):
    rotation(client, mesh).add(PEM)
    assert keys.Keys(client, mesh)._data(f"/meshes/{mesh}/secrets/dataplane-token-signing-key-{mesh}-2").decode() == PEM


def test_a_bad_key_is_refused_before_anything_is_written_also_in_a_check(client, mesh):
    for check in (True, False):
        with pytest.raises(sign.BadKey):
            rotation(client, mesh, check=check).add("no key")
    assert keys.Keys(client, mesh).held() == ["1"]


def test_no_key_is_in_what_is_said(client, mesh):
    said = [rotation(client, mesh).add(PEM)[1], rotation(client, mesh).remove(["web-1"], [holder()], held.Book([]), False)[1]]
    assert "MII" not in "".join(said)


def test_while_a_proxy_may_need_it_a_key_stays_unless_the_operator_says_so(client, mesh):
    rotation(client, mesh).add("")
    with pytest.raises(ItemsFailed) as refused:
        rotation(client, mesh).remove(["web-1", "web-2"], [holder("web-1", "1")], held.Book([]), False)
    lines = refused.value.msg.split("\n")
    assert lines[0] == f"Nothing was removed: 2 proxies of mesh {mesh} may still use key 1."
    assert lines[1:3] == ["  web-1 holds a token of key 1", "  web-2 is on no VM of this play"]
    assert "kuma_signing_key_force=true" in lines[-1]
    assert keys.Keys(client, mesh).held() == ["1", "2"]
    assert rotation(client, mesh).remove(["web-1", "web-2"], [holder("web-1", "1")], held.Book([]), True)[0] is True
    assert keys.Keys(client, mesh).held() == ["2"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (holder(), ""),
        (holder(connected=False), ""),
        # It runs with another token than the one on its VM, and would be refused when it connects again.
        (holder(running=False), "runs with an earlier token, and has to be restarted"),
        (holder(running=False, connected=False), ""),
        # It comes back by itself, with the token that it has.
        (holder(active=True, running=False, connected=False), "runs with an earlier token, and has to be restarted"),
        # What it was started with nobody can see any more.
        (holder(kid="", claims={}), "runs with a token that is not on its VM any more, and has to be restarted"),
        (
            holder(kid="", claims={}, active=True, connected=False),
            "runs with a token that is not on its VM any more, and has to be restarted",
        ),
        (holder(kid="1"), "holds a token of key 1"),
        (holder(kid=""), "holds a token of key of an unknown ID"),
        (holder(kid="", claims={}, connected=False), ""),
        (holder(seen=False), "is on vm1, which was not looked at"),
        # It has a token of another sort.
        (holder(zone=True, kid="1"), "is on no VM of this play"),
    ],
)
def test_who_may_still_need_another_key(given, why):
    found = signing_key.users("default", ["web-1"], [given], held.Book([]), "2")
    assert found == ({"web-1": why} if why else {})


def test_of_a_proxy_that_nobody_has_looked_at_the_ledger_knows_something_and_it_is_not_enough():
    entries = [Entry("a", "dataplane", "web-1", "default", 1, "vm1", 1, "1"), Entry("b", "dataplane", "web-1", "default", 2, "vm1", 2, "2")]
    assert signing_key.users("default", ["web-1"], [], held.Book(entries), "2") == {
        "web-1": "is on no VM of this play; its last token in the ledger is of key 2"
    }
    assert signing_key.users("default", [], [holder(seen=False)], held.Book(entries[:1]), "2") == {
        "web-1": "is on vm1, which was not looked at; its last token in the ledger is of key 1"
    }


def test_where_the_controller_signs_its_key_has_to_be_known_and_the_operator_removes_the_old_ones(client, mesh, monkeypatch):
    signer = sign.Signer(PEM, "ours")
    with pytest.raises(ItemsFailed) as refused:
        rotation(client, mesh, signer).add("")
    assert "kuma_dp_token_signing_kid is ours, and the control plane knows no such key" in refused.value.msg
    # What has to be added there may be shown.
    assert refused.value.msg.endswith(f"The public half of key ours:\n{signer.public()}")
    monkeypatch.setattr(keys, "unknown", lambda *_arguments: [])
    assert rotation(client, mesh, signer).add("") == (
        False,
        "tokens are signed on the controller with key ours, which the control plane knows",
    )
    with pytest.raises(ItemsFailed, match="may still use another key than ours"):
        rotation(client, mesh, signer).remove(["web-1"], [holder(kid="1")], held.Book([]), False)
    changed, line = rotation(client, mesh, signer).remove(["web-1"], [holder(kid="ours")], held.Book([]), False)
    assert (changed, line) == (False, "no proxy needs another key than ours: take the others out of the publicKeys of the control plane")
    assert keys.Keys(client, mesh).held() == ["1"]


def test_a_control_plane_that_looks_into_no_secret_gets_none(monkeypatch, client, mesh):
    monkeypatch.setattr(client, "control_plane", lambda _places: {"use_secrets": False})
    with pytest.raises(ItemsFailed, match="useSecrets is false"):
        rotation(client, mesh).add("")


def test_a_mesh_without_a_key_is_none(client, monkeypatch):
    monkeypatch.setattr(keys.Keys, "held", lambda _self: [])
    assert rotation(client, "nowhere").remove([], [], held.Book([]), False) == (False, "mesh nowhere has no signing key")
    with pytest.raises(ItemsFailed, match="Mesh nowhere has no signing key"):
        rotation(client, "nowhere").add("")


def test_the_step_that_is_asked_for():
    assert signing_key.step({"step": "remove"}) == "remove"
    with pytest.raises(ItemsFailed, match="kuma_signing_key_step is begin, expected one of all, add, reissue, roll, remove"):
        signing_key.step({"step": "begin"})
