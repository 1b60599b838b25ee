# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Getting tokens: who makes them, that they are written down before anybody has them, and which key they are to be of."""

from __future__ import annotations

import json

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import errors
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims, key_id
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue, ledger, sign, zone
from tests.unit.module_runner import run

NOW = 1_795_400_000.0
PEM = sign.generate()


@pytest.fixture
def client(control_plane, connect):
    return connect(control_plane.https_url, token=control_plane.token, ca_path=control_plane.ca_file)


@pytest.fixture
def book(tmp_path):
    return ledger.Ledger(str(tmp_path / "tokens.jsonl"))


def plan(*entries, valid_for="720h", renew_before="168h", sort=issue.DATAPLANE, kid=""):
    return issue.plan(entries, valid_for, renew_before, NOW, lambda: True, sort, kid)


def entry(name="web-1", **more):
    return {"name": name, "mesh": "default", **more}


def current(name="web-1", **more):
    return {"Name": name, "Mesh": "default", "iat": NOW, "exp": NOW + 720 * 3600, **more}


class Nobody:
    """A control plane that is not to be asked."""

    def post_text(self, path, _body):
        pytest.fail(f"{path} was asked for a token")


def test_what_was_issued_is_written_down_with_its_host_and_key(client, book):
    wishes = plan(entry(host="vm1"), entry("web-2", host="vm2", current=current("web-2")))
    results, tokens = issue.issue(issue.Issuer(client, ledger=book, clock=lambda: NOW), wishes)
    assert [result["action"] for result in results] == ["issued", "kept"]
    claims = decode_claims(tokens["web-1"])
    assert book.read() == [ledger.Entry(claims["jti"], "dataplane", "web-1", "default", claims["exp"], "vm1", int(NOW), "1")]
    assert tokens["web-1"] not in open_text(book)


def open_text(book):
    with open(book.path, encoding="utf-8") as handle:
        return handle.read()


def test_nobody_gets_a_token_that_could_not_be_written_down(client, tmp_path):
    (tmp_path / "file").write_text("")
    broken = ledger.Ledger(str(tmp_path / "file/tokens.jsonl"))
    results, tokens = issue.issue(issue.Issuer(client, ledger=broken), plan(entry(), entry("web-2", current=current("web-2"))))
    assert tokens == {}
    assert [result["action"] for result in results] == ["failed", "kept"]
    assert "kuma_dp_token_ledger (ledger) is" in results[0]["reason"]
    assert results[0]["failure"]["kind"] == "ledger"
    assert "expires" not in results[0]


def test_a_token_that_is_signed_here_needs_no_control_plane(book):
    signer = sign.Signer(PEM, "ours")
    issuer = issue.Issuer(Nobody(), {issue.PATH: signer, zone.PATH: signer}, book)
    tags = {"kuma.io/service": ["web"]}
    results, tokens = issue.issue(issuer, plan(entry(tags=tags, workload="web", host="vm1"), valid_for="400h"))
    claims = decode_claims(tokens["web-1"])
    assert (claims["Name"], claims["Mesh"], claims["Tags"], claims["Workload"]) == ("web-1", "default", tags, "web")
    assert claims["exp"] - claims["iat"] == 400 * 3600 + 5
    assert results[0]["expires"] == claims["exp"]
    gate = {"name": "gate", "zone": "z1", "scope": ["ingress"], "host": "vm9"}
    _results, tokens = issue.issue(issuer, plan(gate, sort=zone.ZONE))
    assert decode_claims(tokens["gate"])["Scope"] == ["ingress"]
    assert [(one.sort, one.name, one.mesh, one.host, one.kid) for one in book.read()] == [
        ("dataplane", "web-1", "default", "vm1", "ours"), ("zone", "gate", "", "vm9", "ours"),
    ]  # fmt: skip


def test_only_the_sorts_that_have_a_key_are_signed_here(client):
    issuer = issue.Issuer(client, {zone.PATH: sign.Signer(PEM, "ours")})
    _results, tokens = issue.issue(issuer, plan(entry()))
    assert key_id(tokens["web-1"]) == "1"


@pytest.mark.parametrize(
    ("kid", "held", "reason"),
    [
        ("2", "1", "it is signed with key 1, expected 2"),
        ("2", "2", None),
        ("2", "", "it is signed with key of an unknown ID, expected 2"),
        ("", "1", None),
    ],
)
def test_a_token_of_another_key_is_replaced_where_one_is_asked_for(kid, held, reason):
    (wish,) = plan(entry(current=current(), current_kid=held), kid=kid)
    assert wish.reason == reason


def test_a_better_reason_is_told_first():
    (wish,) = plan(entry(current=current("web-2"), current_kid="1"), kid="2")
    assert wish.reason == "name is web-2, expected web-1"


@pytest.mark.parametrize(
    ("valid_for", "renew_before", "field", "reason"),
    [
        ("168h", "7d", "valid_for", "168h is not longer than renew_before (7d): the token would be replaced in every run"),
        ("168h", "100%", "valid_for", "would be replaced in every run"),
        ("168h", "soon", "renew_before", "or a share of the lifetime such as 25%"),
        ("soon", "7d", "valid_for", "expected a duration"),
    ],
)
def test_what_cannot_be_meant_is_refused(valid_for, renew_before, field, reason):
    with pytest.raises(errors.Invalid) as refused:
        plan(entry(), valid_for=valid_for, renew_before=renew_before)
    assert [found["field"] for found in refused.value.invalid_parameters] == [field]
    assert reason in refused.value.invalid_parameters[0]["reason"]


def test_all_are_renewed_when_that_is_asked_for():
    (wish,) = plan(entry(current=current()), renew_before="all")
    assert wish.reason == "all tokens are renewed"


@pytest.mark.parametrize(
    ("module", "tokens"),
    [("dataplane_tokens", [{"name": "noted-1"}]), ("zone_tokens", [{"name": "noted-1", "zone": "default", "scope": ["egress"]}])],
)
def test_modules_write_down_what_they_issue_where_they_are_told(control_plane, book, module, tokens):
    options = control_plane.options(tokens=tokens, ledger=book.path)
    looked = run(module, options, check=True)
    assert looked["changed"]
    assert book.read() == []
    done = run(module, options)
    (noted,) = book.read()
    assert noted.jti == decode_claims(done["tokens"]["noted-1"])["jti"]
    assert json.dumps(done["tokens"]["noted-1"]) not in open_text(book)
