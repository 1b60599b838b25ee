# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens that are signed on the controller: what they claim, which keys there are, and that no key is in a message."""

from __future__ import annotations

import json
import pathlib

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims, key_id
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import sign

NOW = 1_795_400_000
RECORDED = sorted((pathlib.Path(__file__).parents[3] / "tests/contract").glob("kuma-*.json"))
SHORT = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 -- to be refused
FORMATS = serialization.PrivateFormat


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key, form=FORMATS.TraditionalOpenSSL, password=None):
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


def public(key, form=serialization.PublicFormat.PKCS1):
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def signer(text, kid="7"):
    return sign.Signer(text, kid, clock=lambda: NOW + 0.9)


@pytest.mark.parametrize("form", [FORMATS.TraditionalOpenSSL, FORMATS.PKCS8], ids=["PKCS1", "PKCS8"])
def test_a_token_is_verified_with_the_public_half_and_says_who_signed_it(key, form):
    token = signer(f"\n{pem(key, form)}\n").token(sign.dataplane_claims({"name": "web-1", "mesh": "default"}), "1h")
    options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    claims = jwt.decode(token, public(key), algorithms=["RS256"], options=options)
    assert (claims["Name"], claims["Mesh"]) == ("web-1", "default")
    assert (claims["exp"], claims["nbf"], claims["iat"]) == (NOW + 3600, NOW - 5, NOW - 5)
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": "7", "typ": "JWT"}
    assert key_id(token) == "7"
    assert decode_claims(token) == claims


def test_no_two_tokens_have_one_id(key):
    made = signer(pem(key))
    ids = {decode_claims(made.token({}, "1h"))["jti"] for _number in range(20)}
    assert len(ids) == 20
    assert all(len(jti) == 36 for jti in ids)


def recorded(path):
    """``(request, header, claims)`` of the tokens that a real control plane issued."""
    for case in json.loads(path.read_text())["cases"]:
        body = case["response"].get("body")
        if case["request"]["path"] in ("/tokens/dataplane", "/tokens/zone") and isinstance(body, dict) and "<jwt claims>" in body:
            yield case["request"], body["<jwt header>"], body["<jwt claims>"]


@pytest.mark.parametrize("path", RECORDED, ids=[path.stem for path in RECORDED])
def test_it_claims_what_the_token_of_a_real_control_plane_claims(key, path):
    found = list(recorded(path))
    assert len(found) >= 4
    for request, header, claims in found:
        asked = request["json"]
        if str(asked.get("validFor")).startswith("-"):
            continue  # nobody here asks for that
        own = sign.zone_claims(asked) if request["path"] == "/tokens/zone" else sign.dataplane_claims(asked)
        token = signer(pem(key), header["kid"]).token(own, asked.get("validFor") or "87600h")
        ours = decode_claims(token)
        # Before 2.13 nobody knew workloads, and what is not known is passed over.
        assert set(ours) - {"Workload"} == set(claims) - {"Workload"}
        random = {"jti", "exp", "nbf", "iat", *(() if "Workload" in claims else ("Workload",))}
        assert {key: ours[key] for key in ours if key not in random} == {key: claims[key] for key in claims if key not in random}
        assert ours["exp"] - ours["nbf"] == claims["exp"] - claims["nbf"]
        assert jwt.get_unverified_header(token) == header


def refused(text):
    with pytest.raises(sign.BadKey) as bad:
        sign.Signer(text, "1")
    assert "MII" not in str(bad.value)
    assert bad.value.__cause__ is None
    return str(bad.value)


def test_keys_that_are_none(key):
    assert refused("").startswith("is no private key in PEM, expected")
    assert refused("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----").startswith("is no private key in PEM")
    assert refused(public(key)).startswith("is a public key, expected")
    assert refused(pem(ec.generate_private_key(ec.SECP256R1()), FORMATS.PKCS8)).startswith("is a key of another algorithm")
    assert refused(pem(key, FORMATS.PKCS8, b"secret")).startswith("is encrypted, expected a key without a passphrase")
    assert refused(pem(SHORT)) == "has 1024 bits, expected 2048 or more"


def test_the_public_half_is_compared_by_what_it_is_and_not_by_how_it_is_written(key):
    made = signer(pem(key))
    assert made.public() == public(key)
    assert made.matches(public(key, serialization.PublicFormat.SubjectPublicKeyInfo)) is True
    assert made.matches(public(rsa.generate_private_key(public_exponent=65537, key_size=2048))) is False
    assert made.matches("") is None


def test_trap_61_a_secret_gets_the_one_form_that_control_planes_read(key):
    """PKCS#8 in a Secret makes every request for a token an internal error."""
    assert signer(pem(key, FORMATS.PKCS8)).private() == pem(key)
    made = sign.generate()
    assert made.startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert signer(made).private() == made


def test_a_signer_shows_nothing_of_its_key(key):
    assert repr(signer(pem(key))) == "Signer('7')"


def test_without_cryptography_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sign, "CRYPTOGRAPHY_IMPORT_ERROR", "Traceback\nImportError: no cryptography")
    for attempt in (sign.generate, lambda: sign.Signer("x", "1")):
        with pytest.raises(sign.Missing, match=r"cannot import cryptography.*\(ImportError: no cryptography\).*pip install cryptography"):
            attempt()
