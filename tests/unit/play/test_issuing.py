# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who makes tokens by the options of the roles: the key of the controller where one is named, and what is wrong with one."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue, keys, sign, zone
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import issuing, options

PEM = sign.generate()


def told(**given):
    values = {**{option.variable: "" for option in options.ISSUING.values()}, **given}
    return {key: option.shape(values[option.variable]) for key, option in options.ISSUING.items()}


def made(directory="/nowhere", **given):
    return issuing.Issuing(told(**given), [str(directory)])


def test_without_a_key_the_control_plane_issues_and_without_a_file_nothing_is_written_down():
    found = made()
    issuer = found.issuer("the client")
    assert (issuer.client, issuer.signers, issuer.ledger) == ("the client", {}, None)
    assert (found.kids, found.offline("default")) == ({}, {})


@pytest.mark.parametrize("shape", [str, lambda pem: pem.replace("\n", ""), lambda pem: "\n".join(pem.splitlines()[1:-1])])
def test_a_key_in_place_of_its_file_is_not_shown(shape):
    with pytest.raises(ItemsFailed) as refused:
        made(kuma_dp_token_signing_key_file=shape(PEM), kuma_dp_token_signing_kid="7")
    assert "kuma_dp_token_signing_key_file is (not shown), expected a file" in refused.value.msg


def test_a_short_key_in_place_of_its_file_is_not_shown():
    with pytest.raises(ItemsFailed) as refused:
        issuing.read("-----BEGIN EC PRIVATE KEY-----geheim-----END EC PRIVATE KEY-----", "kuma_signing_key_file", ["/nowhere"])
    assert "geheim" not in refused.value.msg


def test_a_key_may_be_text_or_a_file_and_the_ledger_is_where_it_is_named(tmp_path):
    (tmp_path / "key.pem").write_text(PEM)
    ledger = tmp_path / "tokens.jsonl"
    by_text = made(kuma_dp_token_signing_key=PEM, kuma_dp_token_signing_kid="7", kuma_dp_token_ledger=str(ledger))
    by_file = made(tmp_path, kuma_dp_token_signing_key_file="key.pem", kuma_dp_token_signing_kid="7")
    assert by_text.kids == by_file.kids == {issue.PATH: "7"}
    assert by_text.signers[issue.PATH].public() == by_file.signers[issue.PATH].public()
    assert by_text.issuer(None).ledger.path == str(ledger)


def test_tokens_of_zone_proxies_have_a_key_of_their_own(tmp_path):
    (tmp_path / "zone.pem").write_text(PEM)
    found = made(tmp_path, kuma_zone_proxy_token_signing_key_file="zone.pem", kuma_zone_proxy_token_signing_kid="z")
    assert found.kids == {zone.PATH: "z"}
    assert set(found.offline("default")) == {"zone"}


def test_the_preflight_asks_whether_the_key_is_known(monkeypatch):
    asked = []
    monkeypatch.setattr(keys, "unknown", lambda *arguments: asked.append(arguments) or ["no"])
    both = {"kuma_zone_proxy_token_signing_key": PEM, "kuma_zone_proxy_token_signing_kid": "z"}
    found = made(kuma_dp_token_signing_key=PEM, kuma_dp_token_signing_kid="7", **both).offline("shop")
    assert [found[sort]("the client") for sort in ("dp", "zone")] == [["no"], ["no"]]
    assert [(client, signer.kid, mesh, role) for client, signer, mesh, role in asked] == [
        ("the client", "7", "shop", "kuma_dp"),
        ("the client", "z", "", "kuma_zone_proxy"),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kuma_dp_token_signing_key": PEM}, "kuma_dp_token_signing_kid is not set, expected the ID under which the control plane knows the key"),
        ({"kuma_dp_token_signing_kid": 7}, "kuma_dp_token_signing_kid is 7, and neither kuma_dp_token_signing_key nor kuma_dp_token_signing_key_file is set"),
        ({"kuma_dp_token_signing_key": PEM, "kuma_dp_token_signing_key_file": "x"}, "are both set, expected one of them"),
        (
            {"kuma_dp_token_signing_key_file": "gone.pem", "kuma_dp_token_signing_kid": "7"},
            "kuma_dp_token_signing_key_file is gone.pem, expected a file on the controller that exists",
        ),
        ({"kuma_dp_token_signing_key_file": "odd.pem", "kuma_dp_token_signing_kid": "7"}, "kuma_dp_token_signing_key_file is odd.pem, which is no text"),
        ({"kuma_dp_token_signing_key": "geheim", "kuma_dp_token_signing_kid": "7"}, "kuma_dp_token_signing_key is no private key in PEM"),
        ({"kuma_zone_proxy_token_signing_key": "geheim", "kuma_zone_proxy_token_signing_kid": "7"}, "kuma_zone_proxy_token_signing_key is no private key"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_key_is_said_without_it(tmp_path, given, message):
    (tmp_path / "odd.pem").write_bytes(b"\xff\xfe")
    with pytest.raises(ItemsFailed) as failed:
        made(tmp_path, **given)
    assert message in failed.value.msg
    assert "geheim" not in failed.value.msg
    assert "MII" not in failed.value.msg


def test_without_cryptography_the_variable_is_named(monkeypatch):
    monkeypatch.setattr(sign, "CRYPTOGRAPHY_IMPORT_ERROR", "ImportError: no")
    with pytest.raises(ItemsFailed, match=r"kuma_dp_token_signing_key is set\. The Python that runs Ansible cannot import cryptography"):
        made(kuma_dp_token_signing_key=PEM, kuma_dp_token_signing_kid="7")
