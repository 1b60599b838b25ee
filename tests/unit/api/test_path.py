# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths of the API: each name is one segment of what is really sent, or nothing is sent."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests import PreparedRequest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Invalid
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.path import api_path, check_path
from tests.unit.http_server import answer_json

URL = "http://kuma.example.com:5681"
# Much of it is what libraries and servers read as something else.
TEXT = st.lists(
    st.sampled_from([".", "..", "/", "\\", "%2e", "%2E", "%2f", "%25", "%", "?", "#", ";", "a", "web-1", " ", "\n", "\0"]), max_size=4
)
SEGMENTS = TEXT.map("".join) | st.text(max_size=6)


def sent(path):
    """The segments of a request as they leave the HTTP library."""
    request = PreparedRequest()
    request.prepare(method="GET", url=URL + path)
    parts = urlsplit(request.url)
    assert (parts.query, parts.fragment, parts.netloc) == ("", "", "kuma.example.com:5681")
    return [unquote(segment) for segment in parts.path[1:].split("/")]


@given(st.lists(SEGMENTS, min_size=1, max_size=4))
def test_every_segment_arrives_as_one_or_is_refused(segments):
    try:
        path = api_path(*segments)
        check_path("GET", URL, path)
    except Invalid:
        return
    assert sent(path) == segments


@given(
    st.lists(st.from_regex(r"[a-z0-9][-a-z0-9_.]{0,8}", fullmatch=True) | st.from_regex(r"[A-Za-z ~!@]{1,5}", fullmatch=True), min_size=1)
)
def test_names_are_never_refused(segments):
    path = api_path(*segments)
    check_path("GET", URL, path)
    assert sent(path) == segments


@given(st.lists(SEGMENTS, max_size=4).map(lambda parts: "/" + "/".join(parts)) | SEGMENTS)
def test_any_path_is_sent_as_it_is_or_refused(path):
    try:
        check_path("DELETE", URL, path)
    except Invalid:
        return
    assert [unquote(segment) for segment in path[1:].split("/")] == sent(path)


HOSTILE = [
    "",
    "meshes",
    "//meshes",
    "/meshes/",
    "/meshes//dataplanes",
    "/meshes/default/dataplanes/..",
    "/meshes/default/dataplanes/.",
    "/meshes/../global-secrets",
    "/meshes/default/dataplanes/%2e%2e",
    "/meshes/default/dataplanes/%2E.",
    "/meshes/default/dataplanes/%252e%252e",
    "/meshes/default/dataplanes/%2e%",
    "/meshes/default/dataplanes/100%",
    "/meshes/default/dataplanes/%zz",
    "/meshes/default/dataplanes/..;/global-secrets",
    "/meshes/default/dataplanes/.;a=b",
    "/meshes/default/dataplanes/..%3Bx",
    "/meshes/default/dataplanes/%2e%2e;x",
    "/meshes/default/dataplanes/%252e.%253bx",
    "/meshes/default/dataplanes/;x",
    "/meshes/default/dataplanes/a%2fb",
    "/meshes/default/dataplanes/a%5Cb",
    "/meshes/default/dataplanes/a\\b",
    "/meshes/default?size=1",
    "/meshes/default#x",
    "/meshes/a\nb",
    "/meshes/a%0d%0ab",
    "/meshes/a\ud800",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_the_client_sends_no_path_that_could_be_another_one(serve, connect, path):
    server = serve(answer_json({}))
    client = connect(server.url)
    for call in (client.get, client.delete, client.list, lambda where: client.put(where, {}), lambda where: client.post_text(where, {})):
        with pytest.raises(Invalid, match="Nothing was sent") as refused:
            call(path)
        assert refused.value.kind == "invalid"
    assert (client.requests, server.requests) == (0, [])


@pytest.mark.parametrize(
    "path", ["/", "/config", "/meshes/default/dataplanes/_overview", "/meshes/default/dataplanes/a%20b/clusters", "/meshes/...;x"]
)
def test_what_the_collection_asks_for_is_sent(serve, connect, path):
    server = serve(answer_json({}))
    connect(server.url).get(path)
    assert [request.target for request in server.requests] == [path]


@pytest.mark.parametrize("name", ["", ".", "..", "..;", ".;a", ";a", "a/b", "a\\b", "a\nb", "a\0", "\x7f", None, 5])
def test_what_is_no_segment_is_named(name):
    with pytest.raises(Invalid) as refused:
        api_path("meshes", "default", "dataplanes", name)
    assert str(refused.value).startswith(repr(name) + " ")


def test_what_is_escaped_stays_escaped():
    assert api_path("meshes", "a b?c#d") == "/meshes/" + quote("a b?c#d", safe="")
