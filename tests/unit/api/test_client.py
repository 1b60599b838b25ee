# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against a real local server: requests, answers, errors and what it makes of them."""

from __future__ import annotations

import base64
import json
import threading
import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import client as api_client
from ansible_collections.meshfleet.kuma.plugins.module_utils._api import session
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import parse_release
from tests.unit.api.failures import OK, TOKEN, failure
from tests.unit.http_server import Answer, answer_json, problem


def jwt(**claims):
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


def test_a_request_carries_token_and_content_type(serve, connect):
    server = serve(OK)
    client = connect(server.url, token=f" {TOKEN}\n")
    client.get("/x", {"a": "b"})
    client.put("/x", {"name": "ü"})
    client.delete("/x")
    get, put, delete = server.requests
    assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {TOKEN}"}
    assert (get.target, get.headers["Content-Type"]) == ("/x?a=b", None)
    assert (put.headers["Content-Type"], put.json()) == ("application/json", {"name": "ü"})
    assert delete.method == "DELETE"
    assert client.requests == 3


def test_a_netrc_file_and_cookies_do_not_take_part(serve, connect, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(answer_json({}, 200, **{"Set-Cookie": "session=1"}))
    with_token, without = connect(server.url, token=TOKEN), connect(server.url)
    with_token.get("/")
    without.get("/")
    without.get("/")
    assert [request.headers["Authorization"] for request in server.requests] == [f"Bearer {TOKEN}", None, None]
    assert server.requests[2].headers["Cookie"] is None


def test_bodies_are_json_only_when_the_answer_says_so(serve, connect):
    client = connect(serve(answer_json([1]), Answer(200, '{"a": 1}', "text/plain"), Answer(200), Answer(200, "  ", "application/json")).url)
    assert [client.get("/").body for _each in range(4)] == [[1], '{"a": 1}', None, None]


def test_json_that_cannot_be_read_is_a_protocol_error(serve, connect):
    error = failure(connect(serve(Answer(200, '{"items": [', "application/json")).url).get, "/")
    assert error.kind == "protocol"
    assert "JSON that cannot be read" in str(error)


@pytest.mark.parametrize(
    ("status", "kind", "cls"),
    [
        (400, "invalid", api_client.Invalid),
        (401, "authentication", api_client.AuthenticationFailed),
        (403, "authorization", api_client.AccessDenied),
        (404, "not_found", api_client.NotFound),
        (405, "invalid", api_client.Invalid),
        (409, "conflict", api_client.Conflict),
        (415, "protocol", api_client.ProtocolFailed),
        (422, "invalid", api_client.Invalid),
        (500, "server", api_client.ServerError),
        (501, "server", api_client.ServerError),
    ],
)
def test_an_error_is_typed_and_never_tried_again(serve, connect, status, kind, cls):
    server = serve(problem(status, "A title", "a detail", [("networking.address", "is wrong")]))
    error = failure(connect(server.url).put, "/meshes/default/dataplanes/web-1", {})
    assert isinstance(error, cls)
    assert error.as_failure() == {
        "kind": kind,
        "status": status,
        "title": "A title",
        "detail": "a detail",
        "invalid_parameters": [{"field": "networking.address", "reason": "is wrong"}],
    }
    wanted = f"PUT {server.url}/meshes/default/dataplanes/web-1: {status} A title: a detail (networking.address: is wrong)."
    assert str(error).startswith(wanted)
    assert len(server.requests) == 1


def test_the_older_list_of_causes_is_read(serve, connect):
    body = {"title": "T", "details": "D", "causes": [{"field": "f", "message": "m"}]}
    error = failure(connect(serve(answer_json(body, 400)).url).get, "/")
    assert (error.detail, error.invalid_parameters) == ("D", [{"field": "f", "reason": "m"}])


def test_two_documents_in_one_error_body_are_tolerated(serve, connect):
    body = json.dumps({"title": "first", "status": 500}) + "\n" + json.dumps({"title": "second"})
    assert failure(connect(serve(Answer(500, body, "application/json")).url).put, "/x", {}).title == "first"


@pytest.mark.parametrize(
    ("answer", "title", "remedy"),
    [
        (Answer(404, "404: Page Not Found", "text/plain; charset=utf-8"), "Page Not Found", "check url"),
        (Answer(405, "405: Method Not Allowed", "text/plain"), "Method Not Allowed", "control plane of the zone"),
        (Answer(400, "", None), "Bad Request", ""),
        (Answer(400, "Client sent an HTTP request to an HTTPS server.\n"), "Client sent an HTTP request", "https://"),
        (Answer(500, "<html>oops</html>", "text/html"), "<html>oops</html>", "log of the control plane"),
        (Answer(500, "{", "application/json"), "{", "log of the control plane"),
    ],
)
def test_text_and_empty_error_bodies(serve, connect, answer, title, remedy):
    error = failure(connect(serve(answer).url).get, "/x")
    assert error.title.startswith(title)
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("method", "answer", "remedy"),
    [
        ("put", problem(404, "Failed to retrieve Mesh", "Not found"), "mesh does not exist: create it"),
        ("get", problem(404, "Failed to retrieve Mesh", "Not found"), "mesh does not exist: create it"),
        ("get", problem(404, "Could not retrieve a resource", "Not found"), ""),
        ("put", problem(404, "Signing Key not found", "no key"), "create the mesh first"),
        ("put", problem(500, "Failed to create a resource", "Internal Server Error"), "constraints.dataplaneProxy"),
    ],
)
def test_what_to_do_is_said(serve, connect, method, answer, remedy):
    client = connect(serve(answer).url)
    path = "/meshes/nope/dataplanes/web-1"
    error = failure(client.put, path, {}) if method == "put" else failure(client.get, path)
    assert remedy in error.remedy
    assert bool(remedy) == bool(error.remedy)


def test_a_refused_token_is_explained_by_its_own_end(serve, connect):
    url = serve(problem(401, "Invalid authentication data", "Unauthenticated")).url
    expired = failure(connect(url, token=jwt(Name="ci", exp=1000000000)).get, "/")
    assert "The token of ci expired at 2001-09-09T01:46:40Z." in str(expired)
    assert "was revoked" in str(failure(connect(url, token=jwt(exp=time.time() + 3600)).get, "/"))
    assert "is not a JWT" in str(failure(connect(url, token="nonsense").get, "/"))
    assert "No token was sent" in str(failure(connect(url).get, "/"))


def test_missing_rights_name_the_user_and_the_right(serve, connect):
    detail = 'user "mesh-system:anonymous/mesh-system:unauthenticated" cannot access generate dataplane token'
    url = serve(problem(403, "Access Denied", detail)).url
    assert detail in str(failure(connect(url).get, "/"))
    assert "set token" in str(failure(connect(url).get, "/"))
    assert "mesh-system:admin" in str(failure(connect(url, token=TOKEN).get, "/"))


def test_a_server_that_quotes_the_token_does_not_get_it_shown(serve, connect):
    url = serve(problem(400, f"bad {TOKEN}", f"for {TOKEN}", [(TOKEN, TOKEN)])).url
    assert "********" in str(failure(connect(url, token=TOKEN).get, "/"))


def test_a_redirect_is_not_followed(serve, connect):
    other = serve(OK)
    server = serve(Answer(302, headers={"Location": f"{other.url}/login?secret={TOKEN}"}))
    error = failure(connect(server.url, token=TOKEN).get, "/x")
    assert (error.kind, error.status) == ("protocol", 302)
    assert f"redirected to {other.url}/login" in str(error)
    assert other.requests == []


def test_warnings_of_the_control_plane_are_kept_once(serve, connect):
    server = serve(lambda request: answer_json({"warnings": ["old field", "old field", "other"]}))
    client = connect(server.url)
    assert client.put("/x", {}).warnings == ["old field", "old field", "other"]
    client.put("/y", {})
    assert client.warnings == ["old field", "other"]


def test_a_token_over_http_is_warned_about_unless_it_stays_on_this_machine(connect):
    for host in ("10.0.0.5", "kuma.example.com", "[2001:db8::1]", "0.0.0.0", "localhost.example.com"):
        assert connect(f"http://{host}:5681").warnings == []
        assert "unencrypted" in connect(f"http://{host}:5681", token=TOKEN).warnings[0], host
    for host in ("127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST", "a.localhost", "[::1]"):
        assert connect(f"http://{host}:5681", token=TOKEN).warnings == [], host
    assert "not verified" in connect("https://control-plane:5682", validate_certs=False, token=TOKEN).warnings[0]


def test_nothing_shows_the_token(connect):
    client = connect("https://control-plane:5682", token=TOKEN)
    assert repr(client) == "Client('https://control-plane:5682')"


@pytest.mark.parametrize(
    ("body", "kuma", "model", "survive"),
    [
        ({"product": "Kuma", "version": "2.12.14"}, "2.12.14", "v2", False),
        ({"product": "Kuma", "version": "2.14.3"}, "2.14.3", "v2", True),
        ({"product": "Kong Mesh", "version": "2.14.1", "basedOnKuma": "v2.12.9"}, "2.12.9", "v2", False),
        ({"product": "Kuma", "version": "0.0.0-preview.v8f6a1"}, "0.0.0-preview.v8f6a1", "v3", True),
        ({"product": "Kuma", "version": "3.0.0-preview.vlocal"}, "3.0.0-preview.vlocal", "v3", True),
    ],
)
def test_capabilities_come_from_the_index_and_are_asked_once(serve, connect, body, kuma, model, survive):
    server = serve(answer_json(body))
    client = connect(server.url)
    found = client.capabilities()
    assert client.capabilities() is found
    assert (found.version, found.kuma_version, found.model, found.labels_survive) == (body["version"], kuma, model, survive)
    assert len(server.requests) == 1


def test_releases():
    assert [parse_release(version) for version in ("2.14.3", "v2.7", "2.13.0-rc.1", "dev")] == [
        (2, 14, 3),
        (2, 7, 0),
        (2, 13, 0),
        (3, 0, 0),
    ]


def test_an_index_of_something_else_is_a_protocol_error(serve, connect):
    assert failure(connect(serve(Answer(200, "<html>hello", "text/html")).url).capabilities).kind == "protocol"


def test_the_configuration_may_be_forbidden(serve, connect):
    config = {"mode": "zone", "store": {"type": "memory"}, "dpServer": {"hds": {"enabled": True}, "authn": {}}}
    assert connect(serve(answer_json(config)).url).control_plane() == {"mode": "zone", "store": "memory", "hds_enabled": True}
    for status in (403, 404):
        assert connect(serve(problem(status, "no")).url).control_plane() == {}


def test_a_token_is_a_text(serve, connect):
    server = serve(Answer(200, f"{TOKEN}\n", "text/plain"), Answer(200, "", "text/plain"), Answer(200, "x{", "application/json"))
    client = connect(server.url)
    assert client.post_text("/tokens/dataplane", {"name": "web-1"}) == TOKEN
    assert server.requests[0].headers["Content-Type"] == "application/json"
    assert failure(client.post_text, "/tokens/dataplane", {}).kind == "protocol"
    assert "x{" not in str(failure(client.post_text, "/tokens/dataplane", {}))


def test_eight_threads_share_a_client(serve, connect):
    server = serve(lambda request: answer_json({"path": request.path}))
    client = connect(server.url)
    wrong = []

    def work(number):
        for step in range(20):
            path = f"/{number}/{step}"
            if client.get(path).body != {"path": path}:
                wrong.append(path)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert client.requests == len(server.requests) == 160


def test_names_are_escaped_in_paths():
    assert api_client.api_path("meshes", "default", "dataplanes", "a b?c") == "/meshes/default/dataplanes/a%20b%3Fc"


@pytest.mark.parametrize(
    ("version", "fine"), [("2.24.0", False), ("2.9.1", False), ("1.99.99", False), ("2.25.0", True), ("2.32.3", True), ("3.0", True)]
)
def test_requests_is_new_enough_or_told(version, fine):
    told = session.too_old(version)
    assert (told is None) is fine
    assert fine or told == f"ImportError: requests {version} is installed, expected {session.REQUESTS} or later"
