# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of the client: shown to who asks for one, and refused with a reason that never holds the key."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import client as api_client
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import api_argument_spec, new_client
from tests.unit import module_runner
from tests.unit.api.failures import TOKEN, failure
from tests.unit.sockets import read_request, sign

PASSPHRASE = b"open sesame"


class Files:
    """What a client needs, in files, and a server that wants it."""

    def __init__(self, directory, raw):
        self.directory, self.raw = directory, raw
        self.authority, self.clients = sign("authority", ca=True), sign("of clients", ca=True)
        self.own = sign("admin", self.clients)
        self.ca = self.write("ca.pem", self.authority.pem)
        self.cert, self.key = self.write("client.pem", self.own.pem), self.write("client.key", self.own.key_pem())

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def server(self, talk=None):
        def answer(opened):
            subjects.append(opened.getpeercert()["subject"])
            if read_request(opened):
                opened.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

        subjects = []
        context = sign("cp", self.authority, names=["127.0.0.1"]).context(self.directory, clients=self.clients)
        server = self.raw(talk or answer, context=context)
        server.subjects, server.url = subjects, f"https://127.0.0.1:{server.port}"
        return server


@pytest.fixture
def files(tmp_path, raw):
    return Files(tmp_path, raw)


def test_a_certificate_is_shown_to_a_server_that_wants_one(files, connect):
    server = files.server()
    assert connect(server.url, token=TOKEN, ca_path=files.ca, client_cert=files.cert, client_key=files.key).get("/x").body == {}
    both = files.write("both.pem", files.own.key_pem() + files.own.pem)
    assert connect(server.url, ca_path=files.ca, client_cert=both).get("/x").body == {}
    assert server.subjects == [((("commonName", "admin"),),)] * 2


def test_a_server_that_wants_one_says_so(files, connect):
    """With TLS 1.3 it does after the handshake, so that the reason may get lost together with the connection."""
    server = files.server()
    error = failure(connect(server.url, token=TOKEN, ca_path=files.ca, retries=2).get, "/x")
    assert error.kind in ("tls", "connection")
    if error.kind == "tls":
        assert "set client_cert and client_key" in str(error)
    foreign = sign("admin", sign("somebody else", ca=True))
    wrong = files.write("wrong.pem", foreign.pem + foreign.key_pem())
    assert failure(connect(server.url, ca_path=files.ca, client_cert=wrong, retries=0).get, "/x").kind in ("tls", "connection")
    assert server.subjects == []


def test_nobody_is_without_certificate(files, connect):
    server = files.server()
    client = connect(server.url, token=TOKEN, ca_path=files.ca, client_cert=files.cert, client_key=files.key)
    assert client.get("/x").body == {}
    assert client.as_anybody("/x") is None
    assert client.requests == 2


def refused(files, **options):
    with pytest.raises(api_client.ConnectionFailed) as caught:
        api_client.Client("https://127.0.0.1:1", ca_path=files.ca, **options)
    error = caught.value
    text = str(error) + repr(error.as_failure())
    for part in (files.own.key_pem().splitlines()[1], PASSPHRASE.decode()):
        assert part not in text
    assert error.kind == "tls"
    return text


def test_an_encrypted_key_is_refused_with_what_to_do(files):
    encrypted = files.write("encrypted.key", files.own.key_pem(PASSPHRASE))
    text = refused(files, client_cert=files.cert, client_key=encrypted)
    assert f"client_key {encrypted}: it is encrypted" in text
    assert "openssl pkey" in text
    both = files.write("both.pem", files.own.pem + files.own.key_pem(PASSPHRASE))
    assert f"client_cert {both}: it is encrypted" in refused(files, client_cert=both)


def test_files_that_cannot_be_used_are_named(files):
    other = files.write("other.key", sign("other").key_pem())
    text = files.write("text.pem", "hello")
    missing = str(files.directory / "missing.pem")
    assert f"client_key {other}: it is not the key of the certificate {files.cert}" in refused(
        files, client_cert=files.cert, client_key=other
    )
    assert f"client_cert {files.cert}: there is no certificate with its key in it" in refused(files, client_cert=files.cert)
    assert f"client_cert {text}: there is no certificate" in refused(files, client_cert=text)
    assert f"client_key {text}: there is no certificate" in refused(files, client_cert=files.cert, client_key=text)
    assert f"client_cert {missing}: No such file" in refused(files, client_cert=missing, client_key=files.key)
    assert f"client_key {missing}: No such file" in refused(files, client_cert=files.cert, client_key=missing)
    assert "client_cert is not set" in refused(files, client_key=files.key)


@pytest.mark.parametrize("option", ["client_cert", "client_key", "ca_path"])
def test_a_key_in_place_of_its_file_is_not_shown(files, option):
    key = files.own.key_pem()
    for text in (key, key.replace("\n", ""), "\n".join(key.splitlines()[1:-1])):
        with pytest.raises(api_client.Invalid) as caught:
            api_client.Client("https://127.0.0.1:1", **{option: text})
        assert f"{option} is no name of a file (not shown)" in str(caught.value)
        told = module_runner.run("control_plane_info", {"url": "https://127.0.0.1:1", option: text})
        assert told["failure"]["kind"] == "invalid"
        assert told["requests"] == 0
        if option != "ca_path" or "BEGIN" in text:
            assert files.own.key_pem().splitlines()[1] not in str(told) + str(caught.value)


def test_a_password_in_a_url_is_not_among_the_options_of_a_result():
    told = module_runner.run("control_plane_info", {"url": "https://admin:pass-word@127.0.0.1:1"})
    assert "url holds a user name" in told["msg"]
    assert "invocation" in told
    assert "pass-word" not in str(told)


def test_without_tls_it_has_no_effect(files, connect):
    client = connect("http://127.0.0.1:5681", client_cert=files.cert, client_key=files.key)
    assert client.warnings == [
        "client_cert has no effect: http://127.0.0.1:5681 is without TLS, use the HTTPS port of the control plane (5682)."
    ]


def test_modules_take_it_from_their_options(files):
    defaults = {name: option.get("default") for name, option in api_argument_spec().items()}
    server = files.server()
    client = new_client({**defaults, "url": server.url, "ca_path": files.ca, "client_cert": files.cert, "client_key": files.key})
    assert client.get("/x").body == {}
    client.close()
