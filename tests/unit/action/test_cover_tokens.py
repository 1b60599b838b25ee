# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tokens of covers in a roll: bound to all that the proxy claims, written down first, and signed here where a key is named."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims, key_id
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import sign
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import Ledger
from tests.unit.action.roll import Play


@pytest.fixture
def play(make_mesh, tmp_path, _short_waits):
    def make(**variables):
        made = Play(make_mesh(web_1="web", web_2="web"), tmp_path, **variables)
        for name in ("web-1", "web-2"):
            made.join(name, name)
        made.task("start")
        return made

    return make


def handed(play, host="web-1"):
    """The token of the cover of a host, as its VM gets it."""
    play.task("admit", host)
    play.task("restart", host)
    return play.vm.arguments[0]["proxies"][0]["cover"]["token"]


def test_the_token_of_a_cover_is_in_the_ledger_with_its_host_and_bound_to_what_the_inventory_says(play):
    made = play()
    claims = decode_claims(handed(made))
    (entry,) = Ledger(made.variables["kuma_dp_token_ledger"]).read()
    assert (entry.jti, entry.name, entry.mesh, entry.end, entry.host) == (
        claims["jti"], "web-1-cover", made.mesh.name, claims["exp"], "web-1",
    )  # fmt: skip
    assert claims["Tags"] == {"kuma.io/service": ["web"]}


def test_it_is_signed_here_where_a_key_is_named(play):
    made = play(kuma_dp_token_signing_key=sign.generate(), kuma_dp_token_signing_kid="ours")
    assert key_id(handed(made)) == "ours"


def test_a_cover_whose_token_could_not_be_written_down_is_not_begun(play, tmp_path):
    (tmp_path / "file").write_text("")
    made = play(kuma_dp_token_ledger=str(tmp_path / "file/tokens.jsonl"))
    made.task("admit", "web-1")
    found = made.task("restart", "web-1")
    assert found["failed"]
    assert found["msg"].startswith("web-1 was not touched: no token for the cover of web-1: kuma_dp_token_ledger (ledger) is ")
    assert made.vm.arguments == []


def test_a_roll_that_is_done_by_hand_writes_down_where_it_is_told(play, tmp_path):
    made = play()
    own = {"url": made.mesh.way.url, "token": made.mesh.control_plane.token, "run_dir": str(made.directory / "by-hand")}
    hosts = [
        {
            "host": "web-1",
            "reachable": True,
            "proxies": [{"name": "web-1", "possible": True, "pending": ["x"], "claims": {"services": ["web"]}}],
        }
    ]
    made.task("finish")
    began = made.task("start", mesh=made.mesh.name, hosts=hosts, settings={"soak": 0, "gate_timeout": 5}, **own)
    book = Ledger(str(tmp_path / "mine.jsonl"))
    made.task("admit", "web-1", run=began["run"], **own)
    made.task("restart", "web-1", run=began["run"], ledger=book.path, **own)
    assert [entry.name for entry in book.read()] == ["web-1-cover"]
