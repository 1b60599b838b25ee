# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger of tokens: what is in it, that it survives a crash, and that many can write it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import ledger
from tests.unit.common.test_jwt import jwt

CLAIMS = {"jti": "one", "Name": "web-1", "Mesh": "default", "exp": 1_900_000_000, "iat": 1}
ENTRY = ledger.entry(CLAIMS, "web-1", "default", "vm1", 1_800_000_000.7, "2")
TEXTS = st.text(max_size=8)
ENTRIES = st.builds(
    ledger.Entry, jti=st.text(min_size=1, max_size=8), sort=st.sampled_from([ledger.DATAPLANE, ledger.ZONE]), name=TEXTS, mesh=TEXTS,
    end=st.integers(0, 10**10), host=TEXTS, time=st.integers(0, 10**10), kid=TEXTS,
)  # fmt: skip


@pytest.fixture
def book(tmp_path):
    return ledger.Ledger(str(tmp_path / "state/of/tokens.jsonl"))


def lines(book):
    with open(book.path, "rb") as handle:
        return handle.read().splitlines()


def test_a_line_says_who_has_which_token_until_when_and_never_the_token(book):
    book.append([ENTRY])
    assert [json.loads(line) for line in lines(book)] == [
        {
            "jti": "one",
            "sort": "dataplane",
            "name": "web-1",
            "mesh": "default",
            "end": 1_900_000_000,
            "host": "vm1",
            "time": 1_800_000_000,
            "kid": "2",
        }
    ]
    assert jwt(CLAIMS).split(".")[1] not in "".join(map(str, lines(book)))
    assert book.read() == [ENTRY]
    zone = ledger.entry({"jti": "two", "Zone": "z1", "Scope": ["ingress"]}, "gate", "", "vm9", 5, "")
    assert (zone.sort, zone.end) == (ledger.ZONE, 0)


def test_nobody_else_may_read_it_also_where_it_was_there_before(book):
    book.append([ENTRY])
    assert stat.S_IMODE(os.stat(book.path).st_mode) == 0o600
    os.chmod(book.path, 0o644)
    book.append([ENTRY])
    assert stat.S_IMODE(os.stat(book.path).st_mode) == 0o600
    assert len(book.read()) == 2


def test_it_is_made_before_it_is_needed_so_that_what_is_wrong_shows_early(book, tmp_path):
    book.prepare()
    assert (book.read(), stat.S_IMODE(os.stat(book.path).st_mode)) == ([], 0o600)
    book.append([ENTRY])
    book.prepare()
    assert book.read() == [ENTRY]
    with pytest.raises(ledger.LedgerFailed):
        ledger.Ledger(str(tmp_path)).prepare()


def test_where_there_is_none_nothing_was_issued_and_nothing_is_made(book):
    assert book.read() == []
    book.append([])
    assert not os.path.exists(os.path.dirname(book.path))


@given(st.lists(st.lists(ENTRIES, max_size=4), max_size=4), st.integers(0, 400))
def test_whatever_is_cut_off_what_is_whole_is_read_and_what_follows_is_kept(tmp_path_factory, batches, cut):
    book = ledger.Ledger(str(tmp_path_factory.mktemp("ledger") / "tokens.jsonl"))
    for batch in batches:
        book.append(batch)
    whole = [entry for batch in batches for entry in batch]
    assert book.read() == whole
    size = os.path.getsize(book.path) if whole else 0
    if not size:
        return
    os.truncate(book.path, max(size - cut, 0))
    left = book.read()
    assert left == whole[: len(left)]
    assert len(left) in (len(lines(book)), len(lines(book)) - 1)
    book.append([ENTRY])
    # A line without its end may be whole or none. Either way it takes nothing with it.
    assert book.read() == [*left, ENTRY]


@given(
    st.one_of(
        st.binary(max_size=40),
        st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(
            lambda value: json.dumps(value).encode()
        ),
    )
)
def test_lines_that_are_none_are_passed_over(line):
    found = ledger.parse(line)
    assert found is None or found.jti


def test_fields_of_another_type_do_no_harm():
    found = ledger.parse(b'{"jti": "a", "end": 1e300, "time": "x", "name": null, "more": 1}')
    assert found == ledger.Entry("a", ledger.DATAPLANE, "", "", 0, "", 0, "")


WRITER = """
import sys
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import ledger
book = ledger.Ledger(sys.argv[1])
for number in range(40):
    book.append([ledger.Entry(f"{sys.argv[2]}-{number}-{part}", "dataplane", "n" * 200, "default", 1, "h", 2) for part in range(5)])
"""


def test_many_write_at_once_and_lose_nothing(book):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, book.path, str(number)], env=environment) for number in range(4)]
    assert [writer.wait(timeout=120) for writer in writers] == [0] * 4
    found = [entry.jti for entry in book.read()]
    assert len(found) == len(set(found)) == 4 * 40 * 5 == len(lines(book))
    for writer in "0123":
        own = [jti for jti in found if jti.startswith(writer)]
        assert own == [f"{writer}-{number}-{part}" for number in range(40) for part in range(5)]


def test_a_write_that_fails_half_way_leaves_nothing(book, monkeypatch):
    book.append([ENTRY])
    before = lines(book)
    real, room = os.write, [10]

    def full(descriptor, data):
        if not room[0]:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(ledger.os, "write", full)
    with pytest.raises(ledger.LedgerFailed, match=r"kuma_dp_token_ledger .*cannot be used: No space left on device"):
        book.append([ENTRY])
    monkeypatch.undo()
    assert lines(book) == before


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, make):
    path = tmp_path / "odd"
    make(path)
    book = ledger.Ledger(str(path))
    for attempt in (book.read, lambda: book.append([ENTRY])):
        with pytest.raises(ledger.LedgerFailed, match="kuma_dp_token_ledger"):
            attempt()


def test_a_place_where_nothing_can_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ledger.LedgerFailed, match="File exists"):
        ledger.Ledger(str(tmp_path / "file/tokens.jsonl")).append([ENTRY])
