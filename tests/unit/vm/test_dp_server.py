# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM sees of control planes that are there, and of what else may be at an address: real servers with real certificates."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import certificates
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import dp_server
from tests.unit.sockets import read_request, sign

NAME = "cp.example.com"
INDEX = b'{"product": "Kuma", "version": "2.14.3", "hostname": "cp"}'


class Place:
    """Names that have addresses of this machine, and servers at them."""

    def __init__(self, directory, raw, monkeypatch):
        self.directory, self.raw = directory, raw
        self.authority = sign("authority", ca=True)
        self.addresses = ["127.0.0.1"]
        real = socket.getaddrinfo

        def getaddrinfo(host, port, *args, **options):
            if host != NAME:
                return real(host, port, *args, **options)
            return [found for address in self.addresses for found in real(address, port, *args, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def serve(self, signed=None, chain=(), talk=None, **where):
        """The dp-server, which knows no index; its port."""
        signed = signed or sign("cp", self.authority, names=[NAME])
        return self.raw(talk or answering(404, b"404 page not found"), context=signed.context(self.directory, chain), **where).port

    def look(self, port, ca=None, host=NAME, scheme="https", step=2.0):
        ca = self.authority.pem if ca is None else ca
        return dp_server.Looker(f"{scheme}://{host}:{port}", ca, step=step, whole=10 * step).look()

    def one(self, *args, **options):
        """What is found at the only address."""
        found = self.look(*args, **options)
        assert found["problem"] == ""
        (server,) = found["servers"]
        return server


@pytest.fixture
def place(tmp_path, raw, monkeypatch):
    return Place(tmp_path, raw, monkeypatch)


def answering(status, body):
    def talk(opened):
        if read_request(opened):
            opened.sendall(
                b"HTTP/1.1 %d Text\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
            )

    return talk


def digest(signed):
    return certificates.of_pem(signed.pem)[0].sha256


def test_a_control_plane_that_is_trusted(place):
    signed = sign("cp", place.authority, names=[NAME, "10.0.0.1"])
    server = place.one(place.serve(signed))
    assert (server["outcome"], server["trusted_by"]) == ("trusted", [digest(place.authority)])
    assert server["certificate"]["names"] == [NAME, "10.0.0.1"]
    assert server["certificate"]["not_after"] == signed.certificate.not_valid_after_utc.timestamp()


@pytest.mark.parametrize("around", ["# Für alle ✓\n{}", "{}\nBag Attributes: ä\n", "subject=CN=x\n{}"])
def test_what_stands_around_the_certificates_does_not_matter(place, around):
    assert place.one(place.serve(), around.format(place.authority.pem))["outcome"] == "trusted"
    assert place.one(place.serve(), place.authority.pem.replace("\n", "\r\n"))["outcome"] == "trusted"


@pytest.mark.parametrize(("host", "names"), [("127.0.0.1", ["127.0.0.1"]), ("localhost", ["localhost"]), (NAME, ["*.example.com"])])
def test_names_and_addresses(place, host, names):
    assert place.one(place.serve(sign("cp", place.authority, names=names)), host=host)["outcome"] == "trusted"


def test_a_certificate_that_is_its_own_authority(place):
    own = sign("kuma-cp", ca=True, names=[NAME])
    server = place.one(place.serve(own), own.pem)
    assert (server["outcome"], server["trusted_by"]) == ("trusted", [digest(own)])


def test_an_authority_in_the_file_is_one_whoever_signed_it(place):
    """Go and Envoy trust what they are given."""
    between = sign("between", place.authority, ca=True)
    port = place.serve(sign("cp", between, names=[NAME]))
    assert place.one(port, between.pem)["outcome"] == "trusted"


@pytest.mark.parametrize("begin", ["old", "new"])
def test_which_of_a_bundle_suffices(place, begin):
    old, new = place.authority, sign("new", ca=True)
    signer = {"old": old, "new": new}[begin]
    server = place.one(place.serve(sign("cp", signer, names=[NAME])), old.pem + new.pem)
    assert (server["outcome"], server["trusted_by"]) == ("trusted", [digest(signer)])


@pytest.mark.parametrize("position", [0, 17, 39])
def test_one_of_many_is_found_with_a_few_handshakes(place, monkeypatch, position):
    """Somebody gave the file of all public authorities."""
    many = [sign(f"public {number}", ca=True) for number in range(39)]
    many.insert(position, place.authority)
    dialled, dial = [], dp_server.network.dial
    monkeypatch.setattr(dp_server.network, "dial", lambda *args: dialled.append(args) or dial(*args))
    server = place.one(place.serve(), "".join(one.pem for one in many))
    assert (server["outcome"], server["trusted_by"]) == ("trusted", [digest(place.authority)])
    assert len(dialled) <= 8


def test_which_authority_it_is_does_not_cost_the_time_for_other_addresses(place, monkeypatch):
    place.addresses = ["127.0.0.1", "127.0.0.2"]
    port = place.serve()
    place.serve(sign("cp", sign("foreign", ca=True), names=[NAME]), address="127.0.0.2", port=port)
    looker = dp_server.Looker(f"https://{NAME}:{port}", place.authority.pem + sign("other", ca=True).pem)

    def over(_address, _pem):
        looker.end = 0.0
        return False

    monkeypatch.setattr(looker, "_suffices", over)
    assert [(server["outcome"], server["trusted_by"]) for server in looker.look()["servers"]] == [("trusted", []), ("foreign", [])]


def untrusted(place, signed, chain=(), ca=None):
    server = place.one(place.serve(signed, chain), ca)
    assert server["trusted_by"] == []
    assert server["certificate"]["sha256"] == digest(signed)
    return server["outcome"], server["detail"]


def test_why_a_certificate_is_not_trusted(place):
    authority = place.authority
    again, foreign = sign("authority", ca=True), sign("foreign", ca=True)
    between = sign("between", authority, ca=True)
    assert untrusted(place, sign("cp", authority, names=["other.example.com"]))[0] == "name"
    assert untrusted(place, sign(NAME, authority))[0] == "name", "the common name is no name"
    assert untrusted(place, sign("cp", authority, names=[NAME], begin=-10, end=-1)) == ("expired", "certificate has expired")
    assert untrusted(place, sign("cp", authority, names=[NAME], begin=1, end=10)) == ("not_yet", "certificate is not yet valid")
    assert untrusted(place, sign("cp", foreign, names=[NAME]))[0] == "foreign"
    assert untrusted(place, sign("cp", foreign, names=[NAME]), [foreign])[0] == "foreign"
    assert untrusted(place, sign("cp", again, names=[NAME]))[0] == "foreign", "of the same name, with another key"
    assert untrusted(place, sign("cp", ca=True, names=[NAME]))[0] == "foreign", "its own authority"
    assert untrusted(place, sign("cp", between, names=[NAME]))[0] == "foreign", "the one between is not shown"
    assert place.one(place.serve(sign("cp", between, names=[NAME]), [between]))["outcome"] == "trusted"


def test_an_authority_that_has_ended(place):
    ended = sign("authority", ca=True, begin=-10, end=-1, key=place.authority.key)
    assert untrusted(place, sign("cp", place.authority, names=[NAME]), ca=ended.pem)[0] == "expired"


def test_an_address_under_which_it_has_no_name(place):
    assert place.one(place.serve(), host="127.0.0.1")["outcome"] == "name"


def test_a_port_at_which_nobody_listens(place):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert place.one(port)["outcome"] == "refused"


def test_a_port_that_takes_no_connection(place, raw):
    server = raw(None, backlog=0)
    waiting = [socket.socket() for _each in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", server.port))
    assert place.one(server.port, step=0.3)["outcome"] == "timeout"
    for one in waiting:
        one.close()


@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
def test_several_control_planes_behind_one_name(place, address):
    """Each has a certificate of its own, so each is asked."""
    place.addresses = ["127.0.0.1", address]
    port = place.serve()
    (first, second) = place.look(port)["servers"]
    assert (first["outcome"], second["outcome"]) == ("trusted", "refused")
    assert (first["address"], second["address"]) == ("127.0.0.1", address)


def test_one_of_several_with_another_certificate(place):
    place.addresses = ["127.0.0.1", "127.0.0.2"]
    port = place.serve()
    place.serve(sign("cp", sign("foreign", ca=True), names=[NAME]), address="127.0.0.2", port=port)
    assert [server["outcome"] for server in place.look(port)["servers"]] == ["trusted", "foreign"]


def test_a_name_with_many_addresses(place):
    place.addresses = [f"127.0.0.{number}" for number in range(1, 30)]
    assert len(place.look(place.serve())["servers"]) == dp_server.MOST_ADDRESSES


def test_a_name_that_nobody_knows(place):
    found = place.look(5678, host="does-not-exist.invalid")
    assert found["servers"] == []
    assert found["problem"]


def test_a_resolver_that_does_not_answer(place, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: over.wait(30))
    assert place.look(5678, step=0.2)["problem"] == "it was not resolved in time"
    over.set()


def test_plain_text_where_tls_should_be(place, raw):
    server = raw(lambda opened: opened.sendall(b"220 mail.example.com ESMTP\r\n" + opened.recv(10)))
    assert place.one(server.port)["outcome"] == "no_tls"


def test_a_web_server_without_tls(place, raw):
    server = raw(lambda opened: opened.recv(1000) and opened.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
    assert place.one(server.port)["outcome"] == "no_tls"


def test_the_port_of_the_api_for_plain_http(place, raw):
    def talk(opened):
        request = opened.recv(1000)
        if request.startswith(b"GET / "):
            opened.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + INDEX)
        else:
            opened.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    assert place.one(raw(talk).port)["outcome"] == "api"


def test_the_port_of_the_api(place):
    assert place.one(place.serve(talk=answering(200, INDEX)))["outcome"] == "api"


@pytest.mark.parametrize(
    "talk", [answering(200, b'{"some": "thing"}'), answering(404, INDEX), lambda opened: None, lambda opened: opened.sendall(b"\0" * 100)]
)
def test_whatever_else_answers_is_not_taken_for_the_api(place, talk):
    assert place.one(place.serve(talk=talk))["outcome"] == "trusted"


def test_a_server_that_says_nothing(place, raw):
    server = raw(lambda opened: server.stopping.wait(30))
    assert place.one(server.port, step=0.3)["outcome"] == "silent"


def test_a_server_that_says_nothing_after_the_handshake(place):
    assert place.one(place.serve(talk=lambda opened: opened.recv(10000) and opened.recv(1)), step=0.5)["outcome"] == "trusted"


def test_a_server_that_trickles(place, raw):
    def talk(opened):
        server.trickle(opened, b"\x16\x03\x03\x40\x00\x02", b"\0")

    server = raw(talk)
    assert place.one(server.port, step=0.3)["outcome"] == "silent"


def test_an_index_without_end_is_left(place):
    def talk(opened):
        read_request(opened)
        opened.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            opened.sendall(b" " * 4096)

    assert place.one(place.serve(talk=talk))["outcome"] == "trusted"


def test_a_server_that_closes(place, raw):
    assert place.one(raw(lambda opened: opened.recv(10)).port)["outcome"] == "cut"


def test_a_server_that_wants_another_tls(place, raw, tmp_path):
    context = sign("cp", place.authority, names=[NAME]).context(tmp_path)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305")
    looker = dp_server.Looker(f"https://{NAME}:{raw(answering(404, b''), context=context).port}", place.authority.pem)
    wanted = looker._context

    def without(ca):
        own = wanted(ca)
        own.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        own.maximum_version = ssl.TLSVersion.TLSv1_2
        return own

    looker._context = without
    (server,) = looker.look()["servers"]
    assert server["outcome"] == "tls"
    assert "HANDSHAKE_FAILURE" in server["detail"]


def test_without_tls_a_connection_is_all_there_is_to_see(place, raw):
    server = raw(lambda opened: opened.recv(1))
    assert place.one(server.port, "", scheme="http")["outcome"] == "plain"


def test_the_time_for_all_addresses_is_limited(place, monkeypatch):
    place.addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]

    def dial(address, seconds, options=()):
        raise TimeoutError("timed out")

    monkeypatch.setattr(dp_server.network, "dial", dial)
    looker = dp_server.Looker(f"https://{NAME}:5678", place.authority.pem, step=1.0, whole=100.0)
    ends = iter([1.0, 1.0, 1.0, 0.0, 0.0])
    monkeypatch.setattr(looker, "_left", lambda: next(ends))
    assert [server["outcome"] for server in looker.look()["servers"]] == ["timeout", "skipped", "skipped"]
