# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which tokens the stand-in accepts: what a real control plane of 2.14.3 did with the same ones, by hand, and what its source says."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.contract.processes import LIMIT, Client, control_plane
from tests.double.kuma_cp.delays import Delays
from tests.double.kuma_cp.errors import Problem
from tests.double.kuma_cp.proxies import Proxies, Refused
from tests.double.kuma_cp.releases import RELEASES
from tests.double.kuma_cp.store import Store
from tests.double.kuma_cp.tokens import ADMIN, PublicKey, Tokens, Validation
from tests.double.kuma_dp.stream import Stream

KEY, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _number in range(2))
WEB = {"inbound": [{"tags": {"kuma.io/service": "web", "kuma.io/protocol": "http", "kuma.io/zone": "default"}}]}


def public(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1).decode()


def private(key: rsa.RSAPrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


class ControlPlane:
    """Without its ports."""

    def __init__(self, version: str = "2.14.3", **validation: Any) -> None:
        self.store = Store(RELEASES[version], "default")
        self.tokens = Tokens(self.store, Validation(**validation))
        self.put("Mesh", "", "default", {})
        self.proxies = Proxies(self.store, self.tokens, "x", False, Delays(1, 1, 1, 1, None))

    def put(self, kind: str, mesh: str, name: str, spec: dict[str, Any]) -> None:
        self.store.put(self.store.kinds[kind], mesh, name, spec, {})

    def secret(self, name: str, data: bytes, kind: str = "Secret") -> None:
        self.put(kind, "default" if kind == "Secret" else "", name, {"data": base64.b64encode(data).decode()})

    def issue(self, **body: Any) -> str:
        return self.tokens.issue_dataplane({"mesh": "default", "name": "web-1", "validFor": "1h", **body}, ADMIN)

    def refusal(self, token: str, networking: dict[str, Any] | None = None, labels: dict[str, str] | None = None) -> str:
        """Why the stream of web-1 is refused; empty when it is not."""
        try:
            self.proxies.authenticate(("default", "web-1"), token, labels or {}, networking or WEB)
        except Refused as refused:
            return str(refused)
        return ""


def signed(key: rsa.RSAPrivateKey, kid: str = "ours", **claims: Any) -> str:
    now = int(time.time())
    found = {
        "Name": "web-1",
        "Mesh": "default",
        "Tags": {},
        "Type": "",
        "Workload": "",
        "exp": now + 60,
        "nbf": now - 5,
        "jti": "x",
        **claims,
    }
    return jwt.encode(found, key, algorithm="RS256", headers={"kid": kid})


def test_a_token_that_was_signed_elsewhere_is_accepted_by_its_public_key() -> None:
    keys = (PublicKey("ours", public(KEY), "default"),)
    for secrets in (True, False):
        known = ControlPlane(public_keys=keys, use_secrets=secrets)
        assert known.refusal(signed(KEY)) == ""
        assert "authentication failed: could not parse token" in known.refusal(signed(OTHER))
        assert (known.refusal(known.issue()) == "") is secrets
    assert "there is no signing key with KID ours" in ControlPlane(public_keys=(PublicKey("ours", public(KEY), "else"),)).refusal(
        signed(KEY)
    )
    assert ControlPlane(public_keys=(PublicKey("ours", public(KEY)),)).refusal(signed(KEY)) == ""


def test_a_control_plane_that_issues_nothing_says_so() -> None:
    with pytest.raises(Problem) as problem:
        ControlPlane(issuer=False).issue()
    assert (problem.value.status, problem.value.detail) == (400, "issuing tokens using the control plane is disabled.")


def test_trap_60_a_revocation_is_a_global_secret_and_one_of_the_mesh_is_passed_over() -> None:
    found = ControlPlane()
    token = found.issue()
    jti = str(jwt.decode(token, options={"verify_signature": False})["jti"]).encode()
    found.secret("dataplane-token-revocations-default", jti)
    assert found.refusal(token) == ""
    for data, refused in ((b"a," + jti, True), (jti + b"\n", True), (b"a, " + jti, False), (b"a", False), (b"", False)):
        found.secret("dataplane-token-revocations-default", data, "GlobalSecret")
        assert found.refusal(token) == ("authentication failed: token is revoked" if refused else ""), data


def test_an_expired_token_and_one_that_is_not_valid_yet_are_refused() -> None:
    known = ControlPlane(public_keys=(PublicKey("ours", public(KEY)),))
    assert "could not parse token" in known.refusal(signed(KEY, exp=int(time.time()) - 1))
    assert "token is not yet valid" in known.refusal(signed(KEY, nbf=int(time.time()) + 60))


def test_the_key_with_the_highest_number_issues_and_a_key_that_is_gone_is_missed() -> None:
    found = ControlPlane()
    first = found.issue()
    found.secret("dataplane-token-signing-key-default-2", private(KEY, serialization.PrivateFormat.TraditionalOpenSSL))
    second = found.issue()
    assert jwt.get_unverified_header(second)["kid"] == "2"
    # What is no number counts as none.
    found.secret("dataplane-token-signing-key-default-abc", private(OTHER, serialization.PrivateFormat.TraditionalOpenSSL))
    assert jwt.get_unverified_header(found.issue())["kid"] == "2"
    assert (found.refusal(first), found.refusal(second)) == ("", "")
    found.store.delete(found.store.kinds["Secret"], "default", "dataplane-token-signing-key-default-1")
    assert found.refusal(second) == ""
    assert found.refusal(first) == (
        'authentication failed: there is no signing key with KID 1. Secret of name "dataplane-token-signing-key-default-1" in mesh "default" '
        "is not found. If signing key was rotated, regenerate the token"
    )


def test_trap_61_a_key_in_pkcs_8_makes_every_request_for_a_token_fail() -> None:
    found = ControlPlane()
    found.secret("dataplane-token-signing-key-default-2", private(KEY, serialization.PrivateFormat.PKCS8))
    with pytest.raises(Problem) as problem:
        found.issue()
    assert (problem.value.status, problem.value.title) == (500, "Could not issue a token")


@pytest.mark.parametrize(
    ("claims", "refused"),
    [
        ({"tags": {"kuma.io/service": ["web"], "kuma.io/protocol": ["http"]}}, ""),
        # More may be allowed than there is.
        ({"tags": {"kuma.io/service": ["api", "web"]}}, ""),
        ({"tags": {"kuma.io/service": ["api"]}}, 'dataplane contains tag "kuma.io/service" with value "web" which is not allowed'),
        ({"tags": {"team": ["a"]}}, 'dataplane has no tag "team" required by the token'),
        ({"workload": "web"}, ""),
        ({"workload": "api"}, 'dataplane workload "web" is not allowed with this token'),
        ({"name": "web-2"}, "proxy name from requestor: web-1 is different than in token: web-2"),
    ],
)
def test_what_a_token_is_compared_with(claims: dict[str, Any], refused: str) -> None:
    found = ControlPlane()
    said = found.refusal(found.issue(**claims), labels={"kuma.io/workload": "web"})
    assert refused in said
    assert bool(refused) is bool(said)


def test_3_0_compares_tags_of_tokens_with_labels() -> None:
    found = ControlPlane("3.0-dev")
    token = found.issue(tags={"team": ["a"]})
    assert found.refusal(token, labels={"team": "a"}) == ""
    assert 'with value "b" which is not allowed' in found.refusal(token, labels={"team": "b"})
    assert 'has no tag "kuma.io/service"' in found.refusal(found.issue(tags={"kuma.io/service": ["web"]}))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    directory = tmp_path_factory.mktemp("tokens")
    (directory / "public.pem").write_text(public(KEY))
    options = ["--reloadable-tokens", "--no-issuer", "--no-secret-keys", "--public-key", "ours", str(directory / "public.pem")]
    with control_plane("2.14.3", directory, *options) as started:
        yield started


def test_the_configuration_says_which_keys_are_known(ready: dict[str, str]) -> None:
    authn = Client(ready).get("/config")["dpServer"]["authn"]
    assert authn["enableReloadableTokens"] is True
    assert authn["dpProxy"]["dpToken"] == {
        "enableIssuer": False,
        "validator": {"publicKeys": [{"kid": "ours", "key": public(KEY), "mesh": ""}], "useSecrets": False},
    }


def test_a_proxy_is_told_to_look_into_its_token_file(ready: dict[str, str]) -> None:
    client = Client(ready)
    inbound = {"port": 8080, "servicePort": 18080, "serviceAddress": "127.0.0.1", "tags": {"kuma.io/service": "web"}}
    document = {"type": "Dataplane", "mesh": "default", "name": "web-1", "networking": {"address": "10.0.0.1", "inbound": [inbound]}}
    client.put("/meshes/default/dataplanes/web-1", document)
    body = {"mesh": "default", "name": "web-1", "dataplaneToken": "x", "dataplaneTokenPath": "/etc/kuma/tokens/web-1"}
    answer = requests.post(ready["dp_url"] + "/bootstrap", json=body, verify=ready["ca_file"], timeout=LIMIT)
    assert '"filename": "/etc/kuma/tokens/web-1"' in base64.b64decode(answer.json()["bootstrap"]).decode()


def test_who_is_told_so_sends_what_is_in_the_file_now(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    kept = Stream({}, None, {"token": "first"}, None, None)
    read = Stream({}, None, {"token": "first", "tokenPath": str(path)}, None, None)
    assert (kept.token(), read.token()) == ("first", "old")
    path.write_text("new")
    assert (kept.token(), read.token()) == ("first", "new")
    path.write_text("new\n")
    with pytest.raises(ValueError, match="line break"):
        read.token()
