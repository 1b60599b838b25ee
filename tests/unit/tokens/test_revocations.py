# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revoking tokens in a list that is everybody's: what is merged, what goes, and what happens when somebody else writes it at the same moment."""

from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import errors
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import revocations

NOW = 1_800_000_000.0
numbers = itertools.count(1)
IDS = st.from_regex(r"[a-e][a-e0-9-]{0,3}", fullmatch=True)
FOREIGN = st.one_of(IDS, st.text(alphabet="ab ,-", max_size=4).map(lambda text: text.replace(",", "")))
ENDS = st.dictionaries(IDS, st.sampled_from([0.0, 1.0, NOW - 4000, NOW - 100, NOW + 1000]))


class Client:
    """A control plane with one list. ``meanwhile`` are what others write, one after each write of ours; None writes nothing.

    ``later`` is what they write after ours was read back, one in each moment that is waited for.
    """

    def __init__(self, ids=None, meanwhile=(), labels=None, later=()):
        self.body = None if ids is None else self.listed(ids, labels)
        self.meanwhile, self.later, self.calls, self.waited = list(meanwhile), list(later), [], 0

    mode = "zone"

    def sleep(self, seconds):
        assert seconds == revocations.MOMENT
        self.waited += 1
        if self.later:
            self.body = self.listed(self.later.pop(0))

    @staticmethod
    def listed(ids, labels=None):
        data = base64.b64encode(ids.encode()).decode()
        return {"type": "GlobalSecret", "name": "x", "data": data, **({"labels": labels} if labels else {})}

    @property
    def ids(self):
        return base64.b64decode(self.body["data"]).decode() if self.body else None

    def control_plane(self, _places):
        return {"mode": self.mode}

    def get(self, path):
        self.calls.append(("GET", path))
        if self.body is None:
            raise errors.NotFound("Not found")
        return type("Response", (), {"body": self.body})

    def put(self, path, body):
        self.calls.append(("PUT", path))
        then = (self.meanwhile or [None]).pop(0)
        if isinstance(then, errors.ApiError):
            raise then
        self.body = body if then is None else self.listed(then)


def revoke(client, *ids, ends=None, check=False):
    return revocations.revoke(client, revocations.secret_of("default"), ids, ends or {}, NOW, check, client.sleep)


def writes(client):
    return [path for method, path in client.calls if method == "PUT"]


def test_a_list_that_is_not_there_is_made_and_one_that_has_all_is_left_alone():
    client = Client()
    assert revoke(client, "a", "b", "a") == (["a", "b"], [])
    assert client.ids == "a,b"
    assert client.calls == [(method, "/global-secrets/dataplane-token-revocations-default") for method in ("GET", "PUT", "GET", "GET")]
    assert client.body["type"] == "GlobalSecret"
    again = Client("a,b\n")
    assert revoke(again, "b", "a") == ([], [])
    assert (writes(again), again.waited) == ([], 0)


def test_nothing_is_asked_for_when_there_is_nothing_to_revoke():
    client = Client()
    assert revoke(client) == ([], [])
    assert revoke(client, "a", ends={"a": NOW - 1}) == ([], [])
    assert client.calls == []


def test_trap_60_what_others_put_there_stays_as_it_is():
    client = Client("  spaced ,x,,y", labels={"team": "a", "kuma.io/origin": "zone"})
    assert revoke(client, "a").added == ["a"]
    assert client.ids == "  spaced ,x,,y,a"
    # Those of the control plane are its own to set.
    assert client.body["labels"] == {"team": "a"}


def test_a_list_that_a_zone_has_from_its_global_control_plane_is_not_written_in_vain():
    """That one sends it again whenever it connects: a token that was revoked here would be valid once more."""
    client = Client("x", labels={"kuma.io/origin": "global"})
    for act in (lambda: revoke(client, "a"), lambda: revocations.allowed(client, "x")):
        with pytest.raises(errors.ApiError, match="comes from the global control plane"):
            act()
    assert client.ids == "x"
    assert revoke(client, "x").added == []
    client.mode = "global"
    assert revoke(client, "a").added == ["a"]


def test_a_check_writes_nothing_and_says_what_would_be_added():
    client = Client("x,old")
    assert revoke(client, "a", ends={"old": NOW - 4000}, check=True) == (["a"], ["old"])
    assert writes(client) == []


def test_a_write_of_somebody_else_that_undoes_ours_is_written_over_with_both():
    client = Client("x", meanwhile=["x,theirs", "x,theirs,more"])
    assert revoke(client, "a", "b").added == ["a", "b"]
    assert set(client.ids.split(",")) == {"x", "theirs", "more", "a", "b"}
    assert len(writes(client)) == 3


def test_who_read_the_list_before_our_write_and_writes_it_after_we_have_looked_undoes_nothing():
    """Two leaves at once, each a play of its own: the later one has seen its own ID and is gone."""
    client = Client("x", later=["x,theirs", "x,theirs,a,third"])
    assert revoke(client, "a").added == ["a"]
    assert client.ids == "x,theirs,a,third"
    assert (len(writes(client)), client.waited) == (2, 2)


def test_a_conflict_is_tried_again():
    client = Client("x", meanwhile=[errors.Conflict("somebody else wrote")])
    assert revoke(client, "a").added == ["a"]
    assert client.ids == "x,a"


def test_it_gives_up_on_somebody_who_undoes_it_always():
    client = Client("x", meanwhile=["x"] * 20)
    with pytest.raises(errors.ApiError, match="each time somebody else wrote it without what was added") as failed:
        revoke(client, "a")
    assert failed.value.kind == "conflict"
    assert len(writes(client)) == revocations.ATTEMPTS


def test_a_secret_that_is_no_list_is_left_alone():
    client = Client("x")
    client.body["data"] = "%%%"
    with pytest.raises(errors.ApiError, match="holds no list of IDs"):
        revoke(client, "a")
    assert writes(client) == []


@given(st.lists(FOREIGN, max_size=6), st.lists(IDS, max_size=4), ENDS)
def test_merging(held, wanted, ends):
    merged = revocations.merge(held, wanted, ends, NOW)
    assert len(merged) == len(set(merged))
    ended = {jti for jti, end in ends.items() if 0 < end < NOW - revocations.KEPT}
    # Nothing is lost but what has ended for certain, and nothing is there that nobody asked for.
    assert set(merged) == (set(held) | set(wanted)) - ended
    kept = [jti for jti in dict.fromkeys(held) if jti not in ended]
    assert merged[: len(kept)] == kept
    assert revocations.merge(merged, wanted, ends, NOW) == merged


@given(st.lists(IDS, min_size=1, max_size=6))
def test_a_list_is_read_as_it_is_written(ids):
    assert revocations.parse(",".join(ids)) == revocations.parse(",".join(ids) + "\n") == ids


@given(st.one_of(st.none(), st.integers(), st.text(), st.from_regex(r"[a-z],[a-z]", fullmatch=True)))
def test_what_is_no_id_can_never_reach_a_list(value):
    if not revocations.is_id(value):
        with pytest.raises(ValueError, match="is no ID of a token"):
            revocations.merge([], [value], {}, NOW)
    else:
        assert "," not in value
        assert value.split() == [value]


@pytest.fixture
def client(control_plane, connect):
    return connect(control_plane.https_url, token=control_plane.token, ca_path=control_plane.ca_file)


def test_a_control_plane_takes_and_keeps_the_list(client):
    mesh = f"revoked-{next(numbers)}"
    client.put(f"/meshes/{mesh}", {"type": "Mesh", "name": mesh})
    revocations.allowed(client, revocations.secret_of(mesh))
    assert revocations.revoke(client, revocations.secret_of(mesh), ["a"], {}, NOW, sleep=lambda _seconds: None).added == ["a"]
    assert revocations.revoke(client, revocations.secret_of(mesh), ["a", "b"], {}, NOW, sleep=lambda _seconds: None).added == ["b"]
    body = client.get(f"/global-secrets/{revocations.secret_of(mesh)}").body
    assert base64.b64decode(body["data"]).decode() == "a,b"


def test_who_is_no_administrator_is_told_before(control_plane, connect, client):
    token = client.post_text("/tokens/user", {"name": "ci", "groups": ["ops"], "validFor": "1h"})
    other = connect(control_plane.https_url, token=token, ca_path=control_plane.ca_file)
    with pytest.raises(errors.AccessDenied):
        revocations.allowed(other, revocations.ZONE)
