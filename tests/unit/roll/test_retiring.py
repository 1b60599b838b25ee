# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens of covers are written down before they leave the controller, and revoked when their covers are gone, whoever rolls on."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied, ApiError
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import ledger
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import cover as roll_cover
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import journal as roll_journal
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import retiring
from tests.unit.roll.mesh import restarted

V214, V300, V212 = (2, 14, 0), (3, 0, 0), (2, 12, 0)


class Control:
    """Refuses what it is told to, in place of a control plane. ``error`` is raised instead."""

    def __init__(self):
        self.calls, self.error = [], None

    def __call__(self, client, mesh, gone, over, now):
        if self.error:
            raise self.error
        self.calls.append(([token.jti for token in gone], [token.jti for token in over]))

    @property
    def revoked(self):
        return [jti for gone, _over in self.calls for jti in gone]


@pytest.fixture
def control(monkeypatch):
    found = Control()
    monkeypatch.setattr(retiring, "revoke", found)
    return found


def jti_of(proxy):
    return decode_claims(proxy["cover"]["token"])["jti"]


# -- what a token is bound to


@pytest.mark.parametrize(
    ("release", "labels", "tags", "bound"),
    [
        (
            V214,
            {"kuma.io/workload": "another"},
            {"kuma.io/service": "web"},
            {"workload": "shop", "tags": {"kuma.io/service": ["api", "web"]}},
        ),
        (V212, {"kuma.io/workload": "shop"}, {"kuma.io/service": "web"}, {"tags": {"kuma.io/service": ["api", "web"]}}),
        (V300, {"kuma.io/workload": "shop"}, {}, {"workload": "shop"}),
        # What its Dataplane has not it would be refused for.
        (V214, {}, {}, {}),
    ],
)
def test_a_token_is_bound_to_what_the_inventory_says_and_not_to_what_the_dataplane_does(release, labels, tags, bound):
    cover = {"name": "a-cover", "mesh": "m", "labels": labels, "networking": {"inbound": [{"port": 1, "tags": tags}]}}
    found = roll_cover.token_request(cover, {"services": ["web", "api"], "workload": "shop"}, release, "30m")
    assert found == {"name": "a-cover", "mesh": "m", "validFor": "30m", **bound}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"service": "payments"}, "its Dataplane claims kuma.io/service payments, which the inventory does not give it"),
        ({"workload": "payments"}, "its Dataplane has the workload payments, expected shop"),
    ],
)
def test_a_dataplane_that_somebody_has_changed_gets_no_token_for_a_cover(rolling, control, change, reason):
    roll = rolling()
    roll.start(roll.hosts("web-1", claims={"services": ["web"], "workload": "shop"}))
    assert roll.admit("web-1").outcome == "admitted"
    dataplane = roll.mesh.get("web-1")
    if "service" in change:
        inbound = dataplane["networking"]["inbound"]
        inbound.append({**inbound[0], "port": 8081, "tags": {**inbound[0]["tags"], "kuma.io/service": change["service"]}})
    else:
        dataplane["labels"]["kuma.io/workload"] = change["workload"]
    roll.mesh.admin.put(roll.mesh.path("web-1"), dataplane)
    with pytest.raises(ApiError, match=reason):
        roll.host("web-1").cover("web-1", 600.0)
    assert roll.mesh.way.count("POST", "/tokens/") == 0


# -- what is written down


def test_a_token_is_written_down_without_the_token_before_anybody_gets_it(rolling, control):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    (proxy,) = roll.covered("web-1")
    (found,) = retiring.read(roll.roll().journal)
    assert found.jti == jti_of(proxy)
    assert (found.host, found.name, found.sort, found.revoked) == ("web-1", "web-1", "dataplane", False)
    assert found.exp == decode_claims(proxy["cover"]["token"])["exp"]
    kept = b"".join(path.read_bytes() for path in pathlib.Path(roll.directory).rglob("*") if path.is_file())
    assert proxy["cover"]["token"].encode() not in kept
    assert b"eyJ" not in kept
    assert oct(os.stat(os.path.join(roll.roll().journal.path, "covers.json")).st_mode & 0o777) == "0o600"


@pytest.mark.parametrize(
    "claims",
    [{}, {"jti": "a-b-c-d-e"}, {"exp": 4e9}, {"jti": "a,b-c-d-e-f", "exp": 4e9}, {"jti": "a\nb-c-d-e-f", "exp": 4e9}, {"jti": "x" * 65, "exp": 4e9},
     {"jti": "a-b-c-d-e", "exp": 10**400}, {"jti": "a-b-c-d-e", "exp": float("inf")}, {"jti": ["a-b-c-d-e"], "exp": 4e9},
     {"jti": "a-b-c-d-e", "exp": True}, {"jti": "a-b-c-d-e", "exp": "soon"}],
)  # fmt: skip
def test_what_a_vm_says_of_a_token_cannot_spoil_the_list_of_revoked_ones(rolling, control, claims):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    roll.host("web-1").note_token("web-1", claims)
    assert retiring.read(roll.roll().journal) == []


def test_a_vm_cannot_have_the_token_of_another_revoked(rolling, control):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    host = roll.host("web-1")
    book = ledger.Ledger(str(pathlib.Path(roll.directory) / "tokens.jsonl"))
    host.roll.issuer = dataclasses.replace(host.roll.issuer, ledger=book)
    book.append(
        [
            ledger.Entry("of-another", "dataplane", "web-2", "m", 1, "", 1),
            ledger.Entry("its-cover", "dataplane", "web-1-cover", "m", 1, "", 1),
        ]
    )
    for jti in ("of-another", "its-cover", "of-another-ledger"):
        host.note_token("web-1", {"jti": jti, "exp": 4e9})
    assert sorted(token.jti for token in retiring.read(roll.roll().journal)) == ["its-cover", "of-another-ledger"]


def test_a_vm_cannot_have_a_token_taken_off_the_list_of_revoked_ones(monkeypatch):
    """By a restart that it says is under way, with the ID of the revoked one and an end."""
    seen = []
    monkeypatch.setattr(retiring.revocations, "revoke", lambda _client, name, ids, ends, _now: seen.append((name, ids, ends)))
    made, over = retiring.Token("made", "vm", "a", "dataplane", 4e9), retiring.Token("over", "vm", "a", "dataplane", 1.0, True)
    told, stolen = (token._replace(jti=jti, told=True) for token, jti in ((made, "told"), (over, "stolen")))
    retiring.revoke(None, "m", [made, told], [over, stolen], 2e9)
    assert seen == [("dataplane-token-revocations-m", ["made", "told"], {"made": 4e9, "over": 1.0}), ("zone-token-revocations", [], {})]


def test_what_a_vm_has_told_is_known_as_such(rolling, control):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    jti = jti_of(roll.covered("web-1")[0])
    roll.host("web-1").note_token("web-1", {"jti": "told-by-it", "exp": 4e9})
    assert {token.jti: token.told for token in retiring.read(roll.roll().journal)} == {jti: False, "told-by-it": True}


def test_the_token_of_a_zone_proxy_s_cover_is_told_from_others(rolling, control):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    roll.host("web-1").note_token("web-1", {"jti": "of-a-zone-proxy", "exp": 4e9, "Zone": "default"})
    assert [token.sort for token in retiring.read(roll.roll().journal)] == ["zone"]


# -- when it is revoked


def through(roll, name, cover="gone", result=None):
    """A host on its way; the jti of its cover's token. The cover is ``gone`` in the end, or ``connected``."""
    (proxy,) = roll.covered(name)
    roll.mesh.connect(f"{name}-cover", dataplane=proxy["cover"]["dataplane"], token=proxy["cover"]["token"])
    roll.mesh.restart(name)
    if cover == "gone":
        roll.mesh.disconnect(f"{name}-cover")
        roll.mesh.admin.delete(roll.mesh.path(f"{name}-cover"))
    roll.complete(name, result)
    return jti_of(proxy)


def test_it_is_revoked_at_the_end_once_and_is_not_in_the_way_of_the_result(rolling, control):
    roll = rolling()
    roll.start(roll.hosts("web-1", "web-2"))
    wanted = [through(roll, "web-1"), through(roll, "web-2")]
    ended = roll.finish()
    assert not ended.get("failed"), ended
    assert control.calls == [(wanted, [])]
    assert [token.revoked for token in retiring.read(roll.roll().journal)] == [True, True]
    assert "eyJ" not in json.dumps(ended)


def test_one_that_is_connected_keeps_its_token(rolling, control):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    through(roll, "web-1", cover="connected")
    assert roll.finish()["covers_running"] == ["web-1-cover"]
    assert control.revoked == []


@pytest.mark.parametrize(
    ("result", "revoked"),
    [
        ({"unreachable": True, "msg": "no route to host"}, False),
        ({**restarted("web-1", outcome="failed", served_by="cover"), "failed": True, "msg": "it did not come back"}, False),
        ({**restarted("web-1", outcome="failed", served_by="main"), "failed": True, "msg": "it was put back"}, True),
    ],
)
def test_the_cover_of_a_proxy_that_may_be_down_keeps_its_token(rolling, control, result, revoked):
    """It may have to connect again, and its token ends by itself."""
    roll = rolling(gate_timeout=0.3)
    roll.start(roll.hosts("web-1"))
    jti = through(roll, "web-1", result=result)
    roll.finish()
    assert control.revoked == ([jti] if revoked else [])


def test_a_control_plane_that_takes_no_revocation_is_told_and_the_roll_is_none_the_worse(rolling, control):
    control.error = AccessDenied("may not write", method="PUT", url="/global-secrets/x", status=403)
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    through(roll, "web-1")
    ended = roll.finish()
    assert ended["status"] == "done", ended
    assert "the tokens of covers could not be revoked, and end by themselves: " in ended["notes"][0]
    assert roll.mesh.secrets() == set()


def test_while_a_roll_goes_on_those_that_are_gone_are_revoked_together_now_and_then(rolling, control, monkeypatch):
    roll = rolling()
    roll.start(roll.hosts("web-1", "web-2", "web-3"))
    first = through(roll, "web-1")
    assert control.calls == [], "the view is older than the end of its restart"
    monkeypatch.setattr(retiring, "EVERY", 0.0)
    through(roll, "web-2")
    assert control.calls == [([first], [])]
    monkeypatch.setattr(retiring, "EVERY", 3600.0)
    through(roll, "web-3")
    assert len(control.calls) == 1


def test_what_has_ended_is_not_revoked_and_leaves_the_list_of_revoked_ones(rolling, control):
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    jti = through(roll, "web-1")
    kept = roll.roll().journal.covers()
    for other, (exp, revoked) in {"ended-and-revoked": (1.0, True), "ended-by-itself": (1.0, False), "of-tomorrow": (4e9, True)}.items():
        kept["tokens"][other] = retiring.Token(other, "web-1", "web-1", "dataplane", exp, revoked)._asdict()
    roll.roll().journal.save_covers(kept)
    roll.finish()
    assert control.calls == [([jti], ["ended-and-revoked"])]
    assert sorted(token.jti for token in retiring.read(roll.roll().journal)) == sorted([jti, "of-tomorrow"])


# -- whoever rolls on


@pytest.mark.parametrize("resume", [True, False])
def test_the_tokens_of_a_controller_that_was_killed_are_seen_to_by_the_next_one(rolling, control, resume):
    roll = rolling()
    roll.start(roll.hosts("web-1"), pid=2**22 - 1)
    roll.roll().owner = 0
    earlier = roll.roll().journal
    retiring.note(earlier, "web-1", "web-1", {"jti": "of-the-killed-one", "exp": 4e9})
    again = roll.start(roll.hosts("web-1"), resume=resume)
    assert again["resumed"] is resume
    assert [token.jti for token in retiring.read(roll.roll().journal)] == ["of-the-killed-one"]
    if not resume:
        assert retiring.read(earlier) == []
    jti = through(roll, "web-1")
    roll.finish()
    assert sorted(control.revoked) == sorted([jti, "of-the-killed-one"])


def test_the_list_is_kept_short_by_the_runs_that_follow(rolling, control):
    """What an earlier roll had revoked has ended long before the next one: nobody else would take it off."""
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    first = through(roll, "web-1")
    roll.finish()
    kept = roll.roll().journal.covers()
    kept["tokens"][first]["exp"] = 1.0
    roll.roll().journal.save_covers(kept)
    roll.start(roll.hosts("web-2"))
    second = through(roll, "web-2")
    roll.finish()
    assert control.calls == [([first], []), ([second], [first])]


def test_two_workers_do_not_look_through_the_tokens_at_once(rolling, control, monkeypatch):
    monkeypatch.setattr(retiring, "EVERY", 0.0)
    roll = rolling()
    roll.start(roll.hosts("web-1"))
    own = roll.roll()
    with own.journal.retiring() as mine:
        assert mine
        retiring.sweep(roll.roll())
        with roll_journal.Journal(own.journal.path).retiring() as other:
            assert not other
    assert own.journal.covers()["swept"] == 0.0
