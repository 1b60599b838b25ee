# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said of a CA and an address by what VMs saw: each with its exact reason, and hosts of one reason together."""

from __future__ import annotations

import json
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import certificates
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_day
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import trust
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import dp_server
from tests.unit.sockets import read_request, sign

URL, HOST = "https://cp.example.com:5678", "cp.example.com"
DAY = 86400.0
NOW = time.time()
V213, V214 = Release(2, 13, 10), Release(2, 14, 3)
AUTHORITY, FOREIGN = sign("kuma-cp CA", ca=True, end=1000.5), sign("foreign CA", ca=True)
LEAF = sign("cp", AUTHORITY, names=[HOST], end=500.5)


def parsed(signed):
    return certificates.of_pem(signed.pem)[0]


def server(outcome="trusted", signed=LEAF, address="10.0.0.5", detail="", by=AUTHORITY):
    shown = dict(parsed(signed)._asdict()) if signed else None
    return {
        "address": address,
        "outcome": outcome,
        "detail": detail,
        "certificate": shown,
        "trusted_by": [parsed(by).sha256] if outcome == "trusted" else [],
    }


def seen(*servers, problem=""):
    return {"host": HOST, "port": 5678, "problem": problem, "servers": list(servers)}


def judge(*servers, url=URL, ca=AUTHORITY.pem, clocks=(NOW, NOW), release=V214, xds_host="", problem=""):
    return trust.judge(trust.Wish.of(url, ca, 0.0), seen(*servers, problem=problem), clocks, release, xds_host)


def reason(*servers, **options):
    (found,) = judge(*servers, **options).refused
    return found


def test_what_cannot_be_asked_for_at_all():
    def told(url=URL, ca=AUTHORITY.pem):
        return trust.judge(trust.Wish.of(url, ca, 0.0), None, (NOW, NOW), V214).refused

    assert told() == []
    assert told(ca="") == [f"kuma_dp_control_plane_ca is not set, expected {trust.MISSING}"]
    assert told(ca=" \n") == told(ca="")
    assert told("http://cp:5678", "") == []
    assert "holds no certificate in PEM form" in told(ca="hello")[0]
    assert "holds no certificate in PEM form" in told(ca=AUTHORITY.key_pem())[0]
    assert "certificate 1 cannot be read" in told(ca="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----")[0]
    assert "its first certificate (CN=cp) is no certificate authority" in told(ca=LEAF.pem + AUTHORITY.pem)[0]
    assert told(ca=sign("old", plain=True).pem) == [], "one that does not say is taken by control planes"
    for url in (
        "cp:5678",
        "ftp://cp:5678",
        "https://",
        "https://cp:port",
        "https://cp:0",
        "https://cp/x",
        "https://[::1",
    ):
        assert told(url)[0].startswith(f"kuma_dp_control_plane_dp_url is {url!r}, expected something like"), url
    for url, shown in (
        ("https://a:b@cp", "https://(hidden)@cp"),
        ("https://a:b/c@cp:port", "https://(hidden)@cp:port"),
        ("https://cp?x", "https://cp?..."),
    ):
        assert told(url)[0].startswith(f"kuma_dp_control_plane_dp_url is {shown!r}, expected something like"), url


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (AUTHORITY.pem.replace("\n", " "), 1),
        ("".join(f"  {line}\n" for line in f"x\n{AUTHORITY.pem}".splitlines()), 1),
        (AUTHORITY.pem + FOREIGN.pem.replace(" CERTIFICATE", " TRUSTED CERTIFICATE"), 2),
        (AUTHORITY.pem.replace(" CERTIFICATE", " X509 CERTIFICATE"), 1),
        (AUTHORITY.pem.strip() + FOREIGN.pem, 2),
        ("\ufeff" + AUTHORITY.pem, 1),
        (AUTHORITY.pem + "-----BEGIN CERTIFICATE-----\nMIIB\n", 2),
    ],
)
def test_what_kuma_dp_would_not_find_is_refused_where_openssl_may_find_it(text, number):
    (told,) = trust.judge(trust.Wish.of(URL, text, 0.0), None, (NOW, NOW), V214).refused
    assert told.startswith(f"kuma_dp_control_plane_ca: certificate {number} is in a form that kuma-dp does not read")


def test_a_key_beside_the_certificate_is_not_laid_down_for_everybody():
    text = AUTHORITY.pem + AUTHORITY.key_pem()
    (told,) = trust.judge(trust.Wish.of(URL, text, 0.0), None, (NOW, NOW), V214).refused
    assert told.startswith("kuma_dp_control_plane_ca: a private key is among the certificates")
    assert not any(line in told for line in AUTHORITY.key_pem().splitlines())


@pytest.mark.parametrize(
    "text",
    [
        AUTHORITY.pem.replace("\n", "\r\n"),
        f"# Für alle ✓\nsubject=CN=x\n{AUTHORITY.pem}\nand\n{FOREIGN.pem}",
        AUTHORITY.pem.strip(),
        f"\n  {AUTHORITY.pem}",
        AUTHORITY.pem.replace("-----\n", "----- \t\n"),
    ],
)
def test_what_kuma_dp_reads_as_well_is_taken(text):
    assert judge(server(), ca=text).refused == []


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("refused", "nothing listens at 10.0.0.5:5678 (Connection refused)"),
        ("timeout", "there is no connection to 10.0.0.5:5678 in time: open the port in firewalls"),
        ("unreachable", "10.0.0.5:5678 cannot be reached"),
        ("silent", "what listens at 10.0.0.5:5678 does not begin TLS"),
        ("cut", "10.0.0.5:5678 closes the connection while TLS begins"),
        ("no_tls", "10.0.0.5:5678 speaks no TLS"),
        ("api", "10.0.0.5:5678 is the API of the control plane, and not its dp-server"),
        ("tls", "TLS does not come about with 10.0.0.5:5678"),
        ("untrusted", "the certificate at 10.0.0.5:5678 is not trusted (Connection refused)"),
        ("skipped", "no time left to ask 10.0.0.5:5678"),
    ],
)
def test_each_reason_names_variable_place_and_remedy(outcome, said):
    told = reason(server(outcome, LEAF if outcome == "untrusted" else None, detail="Connection refused"))
    assert told.startswith(f"kuma_dp_control_plane_dp_url is {URL}, and ")
    assert said in told
    assert ": " in told


def test_a_name_without_address():
    assert "the VM finds no address of cp.example.com (Name or service not known): correct the name" in reason(
        problem="Name or service not known"
    )
    assert "(it has none)" in reason()


def test_a_certificate_for_other_names():
    other = sign("cp", AUTHORITY, names=["a.example.com", "10.0.0.5"])
    told = reason(server("name", other))
    assert "the certificate at 10.0.0.5:5678 is for a.example.com, 10.0.0.5: use one of its names" in told
    assert "for no name at all" in reason(server("name", sign("cp", AUTHORITY)))


def test_who_else_signed_it():
    again = sign("kuma-cp CA", ca=True)
    assert "another key: the CA was replaced. Set kuma_dp_control_plane_ca to the new one" in reason(server("foreign", sign("cp", again)))
    told = reason(server("foreign", sign("cp", FOREIGN)))
    assert "was signed by CN=foreign CA, while kuma_dp_control_plane_ca holds CN=kuma-cp CA" in told
    assert "have the control plane show its certificate as well" in told
    own = sign("kuma-cp", ca=True, names=[HOST])
    assert "(CN=kuma-cp) is its own authority, and not in kuma_dp_control_plane_ca (CN=kuma-cp CA)" in reason(server("foreign", own))


def test_certificates_that_have_ended_or_not_begun():
    old, new = sign("cp", AUTHORITY, names=[HOST], end=-1), sign("cp", AUTHORITY, names=[HOST], begin=1)
    assert f"(CN=cp) ended on {format_day(parsed(old).not_after)}: renew it there" in reason(server("expired", old))
    assert f"(CN=cp) is not valid before {format_day(parsed(new).not_before)}" in reason(server("not_yet", new))
    ended = sign("kuma-cp CA", ca=True, end=-1)
    told = reason(server("expired"), ca=ended.pem)
    assert told.startswith("kuma_dp_control_plane_ca: CN=kuma-cp CA ended on ")
    assert "an authority between CN=cp at 10.0.0.5:5678 and kuma_dp_control_plane_ca has ended" in reason(server("expired"))


@pytest.mark.parametrize(
    ("outcome", "off", "said"), [("expired", 4 * 365 * DAY, "about 4 years ahead"), ("not_yet", -30 * DAY, "about 30 days behind")]
)
def test_a_clock_that_is_wrong_is_the_reason(outcome, off, said):
    told = reason(server(outcome), clocks=(NOW + off, NOW))
    assert told.startswith(f"the clock of the VM is {said}, so that for it CN=")
    assert "set the clock" in told
    assert "kuma_dp" not in told


def test_a_clock_is_not_blamed_for_what_has_ended_everywhere():
    old = sign("cp", AUTHORITY, names=[HOST], end=-1)
    assert "renew it there" in reason(server("expired", old), clocks=(NOW + 3600, NOW))


@given(st.floats(-2e9, 2e9))
def test_how_far_a_clock_is_off_is_said_so_that_clocks_that_are_alike_are_told_together(seconds):
    told = trust.apart(seconds)
    assert ("ahead" in told) is (seconds >= 60)
    assert ("behind" in told) is (seconds <= -60)


@pytest.mark.parametrize(
    ("names", "url", "fine"),
    [
        (["*.example.com"], URL, False),
        ([HOST], URL, True),
        ([HOST], "https://CP.example.com:5678", False),
        (["10.0.0.5"], "https://10.0.0.5:5678", True),
        (["2001:db8::1"], "https://[2001:db8::1]:5678", True),
        (["2001:db8::1"], "https://[2001:db8:0::1]:5678", False),
    ],
)
def test_trap_32_before_2_14_the_host_is_among_the_names_letter_by_letter(names, url, fine):
    signed = sign("cp", AUTHORITY, names=names)
    assert judge(server(signed=signed), url=url, release=V214).refused == []
    assert judge(server(signed=signed), url=url, release=V213, xds_host="elsewhere").refused == [], "it does not look at the host then"
    refused = judge(server(signed=signed), url=url, release=V213).refused
    assert (refused == []) is fine
    assert fine or "before 2.14 a control plane wants this host literally among them" in refused[0]


def test_of_several_control_planes_one_that_is_away_is_told_and_one_that_is_not_trusted_is_refused():
    away = judge(server(), server("refused", None, "10.0.0.6", "Connection refused"))
    assert away.refused == []
    (warning,) = away.warnings
    assert "nothing listens at 10.0.0.6:5678" in warning
    assert "Proxies go to the other addresses" in warning
    assert "10.0.0.6:5678 was signed by CN=foreign CA" in reason(server(), server("foreign", sign("cp", FOREIGN), "10.0.0.6"))
    assert "nothing listens at 10.0.0.5:5678 and 10.0.0.6:5678" in reason(server("refused", None), server("refused", None, "10.0.0.6"))
    both = judge(server("refused", None), server("timeout", None, "10.0.0.6"))
    assert len(both.refused) == 2
    assert judge(server(), server("unreachable", None, "2001:db8::1")).warnings == [], "many a VM has no way to addresses of version 6"
    assert "[2001:db8::1]:5678 cannot be reached" in reason(server("unreachable", None, "2001:db8::1"))


def host(name, *servers, in_play=True, wish=None, there=NOW, **more):
    wish = wish or trust.Wish.of(URL, AUTHORITY.pem, 60 * DAY)
    observed = {"dp_server": seen(*servers), "time": there, "clock": NOW} if servers else {}
    return {"host": name, "in_play": in_play, "variables": {"trust": dict(wish._asdict()), **more}, "observed": observed}


def fleet(*hosts, release=V214):
    return trust.of_fleet(hosts, release, "", NOW)


def test_hosts_are_refused_one_by_one_and_told_with_one_reason():
    down = server("refused", None)
    found = fleet(host("a", server()), host("b", down), host("c", down), host("d", down, in_play=False))
    assert sorted(found.refused) == ["b", "c"]
    assert found.refused["b"] == found.refused["c"]
    found = fleet(host("a", server(), server("refused", None, "10.0.0.6")), host("b", server(), server("refused", None, "10.0.0.6")))
    assert found.refused == {}
    assert [warning for warning in found.warnings if warning.startswith("a, b: kuma_dp_control_plane_dp_url is")] == found.warnings
    assert fleet({"host": "e", "in_play": True, "variables": {}}) == ({}, [], [])


def test_the_days_that_are_left_are_told_of_what_is_in_use():
    found = fleet(host("a", server()), host("b", server()))
    assert found.warnings == []
    assert trust.lines(found.ends, NOW) == [
        f"CA of the control plane (CN=kuma-cp CA): until {format_day(parsed(AUTHORITY).not_after)}, 1000 days left",
        f"certificate of the control plane: until {format_day(parsed(LEAF).not_after)}, 500 days left",
    ]
    bundle = trust.Wish.of(URL, AUTHORITY.pem + FOREIGN.pem, 0.0)
    assert [end["subject"] for end in fleet(host("a", server(), wish=bundle)).ends] == ["CN=kuma-cp CA", ""]


def test_what_ends_soon_is_warned_of():
    authority = sign("short CA", ca=True, end=50.5)
    signed = sign("cp", authority, names=[HOST], begin=-400, end=40.5)
    wish = trust.Wish.of(URL, authority.pem, 60 * DAY)
    (ca, certificate) = fleet(host("a", server(signed=signed, by=authority), wish=wish)).warnings
    assert "The CA of the control plane (CN=short CA) ends on" in ca
    assert "in 50 days: every proxy loses the control plane then. Run meshfleet.kuma.rotate_ca before." in ca
    assert "The certificate of the control plane ends on" in certificate
    assert fleet(host("a", server(signed=signed, by=authority), wish=wish._replace(warn_before=10 * DAY))).warnings == []


def test_a_certificate_that_lives_for_weeks_is_not_warned_of_from_its_first_day_on():
    brief = sign("cp", AUTHORITY, names=[HOST], begin=-30, end=60)
    assert fleet(host("a", server(signed=brief))).warnings == []
    assert len(fleet(host("a", server(signed=sign("cp", AUTHORITY, names=[HOST], begin=-61, end=29)))).warnings) == 1


def test_an_authority_that_has_ended_and_is_not_needed_may_go():
    ended = sign("former CA", ca=True, end=-1)
    (warning,) = fleet(host("a", server(), wish=trust.Wish.of(URL, AUTHORITY.pem + ended.pem, 0.0))).warnings
    assert "kuma_dp_control_plane_ca holds CN=former CA as well, which ended on" in warning


@pytest.mark.parametrize("signer", [AUTHORITY, FOREIGN], ids=["trusted", "foreign"])
def test_what_a_vm_sees_is_what_is_judged(raw, tmp_path, monkeypatch, signer):
    """Across the wire: the module's answer has gone through JSON."""
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, *args, **options: real("127.0.0.1", *args, **options))
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    served = raw(lambda opened: read_request(opened) and opened.sendall(answer), context=sign("cp", signer, names=[HOST]).context(tmp_path))
    url = f"https://{HOST}:{served.port}"
    looked = json.loads(json.dumps(dp_server.Looker(url, AUTHORITY.pem).look()))
    found = trust.judge(trust.Wish.of(url, AUTHORITY.pem, 0.0), looked, (NOW, NOW), V214)
    assert [text for text in found.refused if "was signed by CN=foreign CA" in text] == found.refused
    assert bool(found.refused) is (signer is FOREIGN)
    assert found.used == (set() if found.refused else {parsed(AUTHORITY).sha256})
