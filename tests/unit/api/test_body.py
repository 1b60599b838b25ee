# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies of answers: in whatever pieces they come, packed or not, no more of them is held than they may have."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import body

PACK = {"": bytes, "identity": bytes, "gzip": gzip.compress, " X-GZIP ": gzip.compress, "deflate": zlib.compress}
encodings = st.sampled_from(sorted(PACK))
texts = st.one_of(st.binary(max_size=300), st.integers(0, 5000).map(lambda size: b"a" * size))


def pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(text=texts, encoding=encodings, size=st.integers(1, 50), room=st.integers(0, 10))
def test_what_fits_comes_out_as_it_went_in(text, encoding, size, room):
    assert body.collect(pieces(PACK[encoding](text), size), encoding, len(text) + room) == text


@given(text=texts.filter(len), encoding=encodings, size=st.integers(1, 50), data=st.data())
def test_what_does_not_fit_is_refused_or_cut(text, encoding, size, data):
    most = data.draw(st.integers(0, len(text) - 1))
    packed = pieces(PACK[encoding](text), size)
    with pytest.raises(body.TooLarge):
        body.collect(packed, encoding, most)
    assert body.collect(packed, encoding, most, cut=True) == text[:most]


@given(size=st.integers(1, 1000), encoding=encodings)
def test_no_more_is_taken_than_is_needed(size, encoding):
    taken = []

    def endless():
        packed = PACK[encoding](b"a" * 100000)
        yield from pieces(packed, 7)
        while True:
            taken.append(1)
            yield b"a"

    with pytest.raises(body.TooLarge):
        body.collect(endless(), encoding, size)
    assert taken == []


@given(text=st.binary(min_size=1, max_size=300), encoding=st.sampled_from(["gzip", "deflate"]), size=st.integers(1, 50))
def test_what_is_packed_and_broken_is_unreadable(text, encoding, size):
    with pytest.raises(body.Unreadable, match=encoding):
        body.collect(pieces(PACK[encoding](text)[:-1], size), encoding, 1 << 20)


@given(st.sampled_from(["br", "zstd", "gzip, gzip", "compress", "x" * 1000]))
def test_an_encoding_that_is_not_known_is_told_in_short(encoding):
    with pytest.raises(body.Unreadable, match="not asked for"):
        body.collect([b"{}"], encoding, 10)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(json_values, st.text(max_size=5).filter(lambda text: not text.strip("\ufeff \t\r\n")), json_values)
def test_the_first_document_of_a_text(value, blanks, other):
    assert body.first_json(blanks + json.dumps(value)) == value
    assert body.first_json(json.dumps([value]) + "\n" + json.dumps(other)) == [value]


@pytest.mark.parametrize("text", ["", "{", "[" * 100000, "[" * 100000 + "]" * 100000, '{"a":' * 101 + "1" + "}" * 101])
def test_what_nobody_can_look_into_is_no_document(text):
    assert body.first_json(text) is None
