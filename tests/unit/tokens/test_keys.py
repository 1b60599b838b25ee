# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signing keys that a control plane holds, and whether it knows the one that the controller signs with."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import errors
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import key_id
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import keys, sign

numbers = itertools.count(1)
PEM, OTHER = sign.generate(), sign.generate()


@pytest.fixture
def client(control_plane, connect):
    return connect(control_plane.https_url, token=control_plane.token, ca_path=control_plane.ca_file)


@pytest.fixture
def mesh(client):
    name = f"keys-{next(numbers)}"
    client.put(f"/meshes/{name}", {"type": "Mesh", "name": name})
    return name


def issue(client, mesh):
    return client.post_text("/tokens/dataplane", {"name": "a", "mesh": mesh, "validFor": "1h"})


def test_a_key_is_added_beside_the_first_one_and_tokens_are_signed_with_it(client, mesh):
    held = keys.Keys(client, mesh)
    assert held.held() == ["1"]
    held.add("2", PEM)
    held.add("2", PEM)
    assert held.held() == ["1", "2"]
    assert key_id(issue(client, mesh)) == "2"
    with pytest.raises(errors.ApiError, match=f"Secret dataplane-token-signing-key-{mesh}-2 of mesh {mesh} holds another key"):
        held.add("2", OTHER)
    held.remove("1")
    held.remove("1")
    assert held.held() == ["2"]


def test_no_error_shows_a_key(client, mesh):
    held = keys.Keys(client, mesh)
    held.add("2", PEM)
    with pytest.raises(errors.ApiError) as failed:
        held.add("2", OTHER)
    assert "MII" not in json.dumps(failed.value.as_failure()) + str(failed.value)


def test_a_key_in_another_form_would_stop_all_tokens_of_the_mesh(client, mesh):
    """Why a key of the user's is written in PKCS#1, whatever it came in."""
    pkcs8 = PEM.replace(" RSA PRIVATE", " PRIVATE")
    keys.Keys(client, mesh).add("2", pkcs8)
    with pytest.raises(errors.ServerError):
        issue(client, mesh)
    keys.Keys(client, mesh).remove("2")
    assert key_id(issue(client, mesh)) == "1"


def test_a_key_that_is_numbered_by_the_time_is_the_newest_here_as_for_the_control_plane(client, mesh):
    held = keys.Keys(client, mesh)
    held.add("20261130120000", PEM)
    assert held.held()[-1] == key_id(issue(client, mesh)) == "20261130120000"


@given(st.sampled_from(["default", "a", "a-1", "1"]), st.integers(0, 10**18 - 1))
def test_the_name_of_a_secret_tells_the_id_and_back(mesh, number):
    name = keys.secret_of(mesh, str(number))
    assert keys.kid_of(mesh, name) == str(number)
    assert name.endswith("-" + str(number)) or number == 0


@pytest.mark.parametrize(
    "name",
    [
        "",
        "dataplane-token-signing-key-default-x",
        "dataplane-token-signing-key-default-01",
        "dataplane-token-signing-key-defaults-1",
        "dataplane-token-signing-key-default-0",
        "other",
    ],
)
def test_names_of_other_secrets(name):
    assert keys.kid_of("default", name) is None


DENIED = errors.AccessDenied("no")


class Told:
    """A control plane with this configuration; ``secret`` is the answer to whoever reads one."""

    def __init__(self, secret=DENIED, **tokens):
        self.tokens, self.secret, self.paths = tokens, secret, []

    def control_plane(self, _places):
        return self.tokens

    def get(self, path):
        self.paths.append(path)
        if isinstance(self.secret, Exception):
            raise self.secret
        return type("Response", (), {"body": {"data": keys.base64.b64encode(self.secret.encode()).decode()}})


SIGNER = sign.Signer(PEM, "ours")
PUBLIC, STRANGER = SIGNER.public(), sign.Signer(OTHER, "ours").public()


def known(kid="ours", key=PUBLIC, **more):
    return {"kid": kid, "key": key, **more}


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        (Told(public_keys=[known()]), ""),
        (Told(public_keys=[known(mesh="default")], use_secrets=False), ""),
        (Told(public_keys=[known("else"), known(mesh="")]), ""),
        # A key in a file of the control plane is not shown.
        (Told(public_keys=[{"kid": "ours", "keyFile": "/key.pem"}]), ""),
        (Told(public_keys=[known(key=STRANGER)]), "and the control plane knows another key of this ID"),
        (Told(public_keys=[known(mesh="other")], use_secrets=False), "knows no such key (its publicKeys of mesh default: none): add the public half"),
        (Told(public_keys=[known("else")], use_secrets=False), "knows no such key (its publicKeys of mesh default: else)"),
        # Only an administrator sees the others.
        (Told(), ""),
        (Told(errors.NotFound("no"), public_keys=[]), "neither in its publicKeys nor in a Secret"),
        (Told(PEM, use_secrets=True), ""),
        (Told(OTHER), "the Secret of this ID holds another key"),
        (Told("in another form"), ""),
    ],
)  # fmt: skip
def test_whether_the_control_plane_knows_the_key(told, problem):
    found = keys.unknown(told, SIGNER, "default", "kuma_dp")
    assert [problem] == found or (problem and problem in found[0]) or (not problem and not found)
    if found:
        assert found[0].startswith("kuma_dp_token_signing_kid is ours, ")
        assert "MII" not in found[0]


def test_keys_of_zone_tokens_are_global():
    told = Told(errors.NotFound("no"))
    assert keys.unknown(told, SIGNER, "", "kuma_zone_proxy")[0].startswith("kuma_zone_proxy_token_signing_kid is ours")
    assert told.paths == ["/global-secrets/zone-token-signing-key-ours"]
