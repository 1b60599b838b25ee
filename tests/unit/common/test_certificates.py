# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from certificates, beside a library that reads them as well, and from what is none."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import certificates
from tests.unit.sockets import sign

KEY = ec.generate_private_key(ec.SECP256R1())
AUTHORITY = sign("authority", ca=True, key=KEY)
hosts = st.one_of(
    st.ip_addresses().map(str), st.lists(st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\Z"), min_size=1, max_size=3).map(".".join)
)
texts = st.text(min_size=1, max_size=20)


def made(**options):
    return certificates.of_pem(sign("server", AUTHORITY, key=KEY, **options).pem)[0]


@given(
    names=st.lists(hosts, max_size=4, unique=True),
    begin=st.integers(-20000, -1),
    end=st.integers(1, 20000),
    ca=st.booleans(),
    plain=st.booleans(),
)
def test_it_says_what_was_put_into_it(names, begin, end, ca, plain):
    signed = sign("server", AUTHORITY, key=KEY, names=names, begin=begin, end=end, ca=ca, plain=plain)
    (found,) = certificates.of_pem(signed.pem)
    assert found.names == names
    assert found.not_before == signed.certificate.not_valid_before_utc.timestamp()
    assert found.not_after == signed.certificate.not_valid_after_utc.timestamp()
    assert (found.subject, found.issuer) == ("CN=server", "CN=authority")
    assert found.authority is (None if plain else ca)
    assert found.sha256 == signed.certificate.fingerprint(hashes.SHA256()).hex()
    assert not found.self_signed


@given(
    st.lists(
        st.tuples(
            st.sampled_from([NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.LOCALITY_NAME]),
            texts,
        ),
        max_size=4,
    )
)
def test_names_are_shown_to_people_and_never_to_a_terminal(parts):
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
    now = datetime.datetime.now(datetime.UTC)
    certificate = x509.CertificateBuilder(subject, subject, KEY.public_key(), 1, now, now + datetime.timedelta(days=1)).sign(
        KEY, hashes.SHA256()
    )
    found = certificates.of_der(certificate.public_bytes(serialization.Encoding.DER))
    labels = {NameOID.COMMON_NAME: "CN", NameOID.ORGANIZATION_NAME: "O", NameOID.ORGANIZATIONAL_UNIT_NAME: "OU"}
    shown = ", ".join(f"{labels[oid]}={certificates.printable(value)}" for oid, value in parts if oid in labels) or "no name"
    assert found.subject == (shown if len(shown) <= 120 else shown[:117] + "...")
    assert found.subject.isprintable()
    assert found.self_signed
    assert found.authority is None


def test_who_may_have_signed_whom():
    authority, again, foreign = AUTHORITY, sign("authority", ca=True), sign("foreign", ca=True)
    (leaf,) = certificates.of_pem(sign("server", authority).pem)
    signers = [certificates.of_pem(one.pem)[0].may_have_signed(leaf) for one in (authority, again, foreign)]
    assert signers == [True, False, False], "one of the same name with another key is another one"
    (plain,) = certificates.of_pem(sign("server", authority, plain=True).pem)
    assert certificates.of_pem(again.pem)[0].may_have_signed(plain), "it does not say which key"
    assert certificates.of_pem(authority.pem)[0].self_signed
    assert not leaf.self_signed


def test_when_it_is_valid():
    found = made(begin=-1, end=1)
    assert [found.valid_at(when) for when in (found.not_before - 1, found.not_before, found.not_after, found.not_after + 1)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_a_time_of_another_century():
    assert made(begin=-10, end=40000).not_after > 4e9
    assert made(begin=-25000, end=10).not_before < 0


@given(st.lists(st.integers(0, 3), max_size=6), st.text(max_size=5).filter(lambda text: "-----" not in text))
def test_a_bundle_has_each_once_in_the_order_in_which_they_come(chosen, between):
    texts = [POOL[index].pem for index in chosen]
    found = certificates.bundle(*texts[:2], between.join(["", *texts[2:], ""]))
    assert certificates.split(found) == [POOL[index].pem for index in dict.fromkeys(chosen)]
    assert certificates.bundle(found) == found
    assert certificates.bundle(found, *texts) == found


POOL = [sign(f"authority {number}", ca=True) for number in range(4)]


@given(st.binary(max_size=400))
def test_anything_is_read_or_refused(data):
    try:
        certificates.of_der(data)
    except ValueError:
        pass
    else:
        pytest.fail("that was no certificate")


DER = sign("server", AUTHORITY, key=KEY, names=["a.example.com", "10.0.0.1"]).certificate.public_bytes(serialization.Encoding.DER)


@given(st.data())
def test_a_certificate_with_a_byte_that_is_wrong_is_read_or_refused(data):
    der = bytearray(DER)
    place = data.draw(st.integers(0, len(der) - 1))
    der[place] = data.draw(st.integers(0, 255))
    cut = bytes(der[: data.draw(st.integers(len(der) - 3, len(der)))])
    try:
        found = certificates.of_der(cut)
    except ValueError:
        return
    assert found.subject.isprintable()
    assert all(name.isprintable() for name in found.names)


@pytest.mark.parametrize(
    "text", ["", "hello", "-----BEGIN CERTIFICATE-----\nMIIB\n", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----"]
)
def test_a_text_without_certificates_has_none(text):
    assert certificates.of_pem(text) == []
    assert certificates.bundle(text) == ""


@pytest.mark.parametrize("inner", ["MIIB", "AAAA", "no base64!", ""])
def test_what_cannot_be_read_is_told_by_its_number(inner):
    text = f"{AUTHORITY.pem}-----BEGIN CERTIFICATE-----\n{inner}\n-----END CERTIFICATE-----\n"
    for read in (certificates.of_pem, certificates.bundle, certificates.split):
        with pytest.raises(ValueError, match=r"^certificate 2 cannot be read$"):
            read(text)
