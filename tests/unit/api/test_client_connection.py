# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client and faulty connections: tries, timeouts, TLS, addresses that cannot be used."""

from __future__ import annotations

import email.utils
import threading
import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import client as api_client
from tests.unit.api.failures import OK, TOKEN, failure
from tests.unit.http_server import CUT, Answer, make_certificate, problem


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_unavailable_control_plane_is_asked_again(serve, connect, status):
    server = serve(problem(status, "later"), Answer(status), OK)
    client = connect(server.url)
    assert client.get("/").body == {"ok": True}
    assert (len(server.requests), client.requests, client.slept) == (3, 3, [0.25, 0.5])


def test_an_unavailable_control_plane_is_given_up_at_last(serve, connect):
    server = serve(problem(503, "Service Unavailable"))
    client = connect(server.url, retries=8)
    error = failure(client.get, "/")
    assert (error.kind, error.status, len(server.requests)) == ("unavailable", 503, 9)
    assert client.slept == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0], "grows, up to a limit"


def test_the_backoff_is_drawn_at_random(serve, connect):
    drawn = []
    client = connect(serve(Answer(503), Answer(503), OK).url, jitter=lambda low, high: drawn.append((low, high)) or 0.0)
    client.get("/")
    assert drawn == [(0.0, 0.25), (0.0, 0.5)]
    assert client.slept == [0.0, 0.0]


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [("3", 3, 3), (" 7 ", 7, 7), ("86400", 60, 60), ("soon", 0, 0), ("-5", 0, 0)]
    + [
        # Named without the time: processes that share the tests have to find the same names.
        pytest.param(email.utils.formatdate(time.time() + offset, usegmt=True), least, most, id=f"in {offset} s")
        for offset, least, most in [(-90, 0, 0), (9000, 60, 60)]
    ],
)
def test_retry_after_is_honoured_up_to_a_limit(serve, connect, value, least, most):
    client = connect(serve(Answer(429, headers={"Retry-After": value}), OK).url, jitter=lambda low, high: 0.0)
    client.get("/")
    assert len(client.slept) == 1
    assert least <= client.slept[0] <= most


def test_a_cut_connection_is_tried_again(serve, connect):
    server = serve(CUT, Answer(200, '{"items"', "application/json", declared=500), OK)
    client = connect(server.url)
    assert client.put("/x", {"a": 1}).body == {"ok": True}
    assert [request.json() for request in server.requests] == [{"a": 1}] * 3


def test_a_connection_that_is_always_cut_is_a_connection_failure(serve, connect):
    server = serve(CUT)
    error = failure(connect(server.url, token=TOKEN, retries=2).get, "/x", {"offset": "-1"})
    assert (error.kind, error.status, len(server.requests)) == ("connection", None, 3)
    assert "closed without a complete response" in str(error)


def test_a_delete_whose_answer_was_lost_is_not_missing(serve, connect):
    client = connect(serve(CUT, problem(404, "Could not delete a resource", "Not found")).url)
    assert client.delete("/x").status == 200
    assert failure(client.delete, "/x").kind == "not_found"


def test_a_slow_answer_is_not_asked_for_again(serve, connect):
    release = threading.Event()
    server = serve(lambda request: (release.wait(20), OK)[1])
    try:
        error = failure(connect(server.url, timeout=0.2, token=TOKEN).get, "/x")
    finally:
        release.set()
    assert (error.kind, len(server.requests)) == ("timeout", 1)
    assert "no complete answer within 0.2 s" in str(error)
    assert "Raise timeout" in str(error)


def test_an_unreachable_control_plane(serve, connect):
    server = serve(OK)
    server.close()
    client = connect(server.url, token=TOKEN, retries=2)
    error = failure(client.get, "/x")
    assert (error.kind, error.status, client.requests, len(client.slept)) == ("connection", None, 3, 2)
    assert f"GET {server.url}/x: cannot reach the control plane: Connection refused. Check url, its port" in str(error)
    unknown = failure(connect("http://does-not-exist.invalid:5681", retries=0).get, "/")
    assert unknown.kind == "connection"
    assert "does-not-exist.invalid" in str(unknown)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("control-plane:5681", "url is"),
        ("ftp://control-plane", "url is"),
        ("http://", "url is"),
        ("http://control-plane:port", "url is"),
        ("http://control-plane/?a=b", "url is"),
        ("http://control-plane/?", "url is"),
        ("http://control-plane/a/../b", "another one"),
        ("http://control-plane//b", "another one"),
        ("http://control-plane/%2e%2e/b", "another one"),
        ("http://control-plane/a%2fb", "another one"),
        ("http://[::1", "url is"),
        ("http://user:pass-word@control-plane", "url holds a user name"),
        # What ends the name of the host for whoever reads it, and what is no URL otherwise.
        ("http://user:pass-word/@control-plane:5681", "url holds a user name"),
        ("http://user:1/pass-word@control-plane:5681", "url holds a user name"),
        ("http://user:#pass-word@control-plane", "url holds a user name"),
        ("http://user:?pass-word@control-plane", "url holds a user name"),
        ("http://user:pass-word@control-plane:port", "url holds a user name"),
        ("http://user:pass-word@[::1", "url holds a user name"),
        ("user:pass-word@control-plane", "url holds a user name"),
        ("http:/user:pass-word@control-plane", "url holds a user name"),
        ("http://control-plane/?token=pass-word", "url is 'http://control-plane/?...'"),
        ("http://control-plane/#pass-word\nx", "url is 'http://control-plane/#...'"),
        # Some libraries leave it out, others do not.
        ("http://control-\nplane", "which holds '\\n'"),
        ("http://control plane", "which holds ' '"),
        ("http://control-plane\\.example.com", "which holds '\\\\'"),
        ("http://control-plane/.\t./b", "which holds '\\t'"),
        ("http://control-plane%2f.example.com", "url is"),
        ("http://" + "x" * 300 + "?", "url is"),
    ],
)
def test_a_url_that_cannot_be_used(connect, url, reason):
    error = failure(connect, url)
    assert error.kind == "invalid"
    assert reason in str(error)
    assert "pass-word" not in str(error)


@pytest.mark.parametrize(
    "url", ["https://[fe80::1%25eth0]:5682", "http://[::1]/kuma", "https://kuma.example.com./a-b_c/%40x", "https://b\u00fcro"]
)
def test_a_url_that_can(connect, url):
    assert connect(url + "/").url == url


def test_https_in_capitals_is_verified_like_any_other(connect, tmp_path):
    nowhere = tmp_path / "nowhere.pem"
    assert "ca_path" in str(failure(lambda: connect("HTTPS://control-plane", ca_path=str(nowhere))))
    client = connect("HTTPS://Control-Plane/Kuma", token=TOKEN, validate_certs=False)
    assert client.url == "https://Control-Plane/Kuma"
    assert ["is not verified" in warning for warning in client.warnings] == [True]


@pytest.mark.parametrize("url", ["http://.", "http://*", "http://b\u00fc\u202ero"])
def test_a_host_that_only_the_library_refuses(connect, url):
    assert "no request can be made" in str(failure(connect(url, token=TOKEN).get, "/x"))


@pytest.mark.parametrize("proxy", ["http://user:x/pass-word@proxy", "http://user:pass-word@[::1", "ftp://user:pass-word@proxy", "http://"])
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(connect, monkeypatch, proxy):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy)
    error = failure(connect("http://control-plane.example.com", token=TOKEN).get, "/x")
    assert "that of the HTTP proxy of the environment cannot be used" in str(error)
    assert "pass-word" not in str(error)


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "tôken"])
def test_a_token_that_cannot_be_sent_is_not_quoted(connect, token):
    with pytest.raises(api_client.Invalid) as caught:
        connect("http://control-plane", token=token)
    assert token not in str(caught.value)


def test_a_trusted_certificate(serve, connect, tmp_path, monkeypatch):
    pem = make_certificate(tmp_path / "cp.pem")
    url = serve(OK, certificate=pem).url
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", make_certificate(tmp_path / "other.pem"))
    client = connect(url, token=TOKEN, ca_path=pem)
    assert client.get("/").body == {"ok": True}
    assert client.warnings == []
    assert connect(url, validate_certs=False).get("/").body == {"ok": True}


def test_certificates_that_do_not_match(serve, connect, tmp_path):
    pem, other = make_certificate(tmp_path / "cp.pem"), make_certificate(tmp_path / "other.pem")
    server = serve(OK, certificate=pem)
    error = failure(connect(server.url, token=TOKEN, ca_path=other).get, "/x")
    assert (error.kind, error.status) == ("tls", None)
    assert server.url in str(error)
    assert other in str(error)
    assert "set ca_path (or KUMA_CA)" in str(error)
    assert "the authorities of this system" in str(failure(connect(server.url).get, "/x"))
    assert server.requests == [], "nothing was sent, least of all the token"


def test_certificates_for_other_names_and_times(serve, connect, tmp_path):
    named = make_certificate(tmp_path / "named.pem", names=("control-plane.example.com",))
    error = failure(connect(serve(OK, certificate=named).url, ca_path=named).get, "/")
    assert error.kind == "tls"
    assert "for other names" in str(error)
    old = make_certificate(tmp_path / "old.pem", days=-1)
    error = failure(connect(serve(OK, certificate=old).url, ca_path=old).get, "/")
    assert "expired" in str(error)
    assert "Renew the certificate" in str(error)


def test_https_to_a_port_that_speaks_http(serve, connect):
    server = serve(OK)
    error = failure(connect(server.url.replace("http:", "https:")).get, "/")
    assert error.kind == "tls"
    assert "does not speak HTTPS" in str(error)


def test_a_ca_file_that_cannot_be_used_is_named(connect, tmp_path):
    missing, text, broken = tmp_path / "missing.pem", tmp_path / "text.pem", tmp_path / "broken.pem"
    text.write_text("hello")
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for path, reason in ((missing, "No such file"), (text, "no certificate in PEM form"), (broken, "cannot be read")):
        with pytest.raises(api_client.ConnectionFailed) as caught:
            connect("https://control-plane", ca_path=str(path))
        assert caught.value.kind == "tls"
        assert f"ca_path {path}: " in str(caught.value)
        assert reason in str(caught.value)
