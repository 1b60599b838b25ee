# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Tokens that are signed on the controller, with a key of which the control plane knows the public half.

They claim what those of the control plane claim. cryptography, which ansible-core brings along, does the arithmetic; the key stays in this
process, and is in no message.
"""

from __future__ import annotations

import base64
import json
import time
import traceback
import typing as t
import uuid

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import parse_duration

CRYPTOGRAPHY_IMPORT_ERROR: t.Optional[str]
try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
except ImportError:
    CRYPTOGRAPHY_IMPORT_ERROR = traceback.format_exc()
else:
    CRYPTOGRAPHY_IMPORT_ERROR = None

# As the control plane does: clocks differ.
CLOCK_SKEW = 5
BITS = 2048

Json = t.Dict[str, t.Any]


class BadKey(Exception):
    """A key that cannot be used; the text says what it is and what was expected, after a name for it: ``is encrypted, expected ...``."""


class Missing(Exception):
    """There is no cryptography."""

    def __init__(self) -> None:
        reason = (CRYPTOGRAPHY_IMPORT_ERROR or "").strip().splitlines()[-1:]
        super().__init__(
            f"The Python that runs Ansible cannot import cryptography, which signs tokens ({''.join(reason)}). "
            "Install it: python3 -m pip install cryptography"
        )


class Signer:
    """Signs with ``pem``, an RSA key in PKCS#1 or PKCS#8, under the name ``kid``. Raises BadKey and Missing."""

    def __init__(self, pem: str, kid: str, clock: t.Callable[[], float] = time.time) -> None:
        self.kid, self._key, self._clock = kid, _private(pem), clock

    def __repr__(self) -> str:
        return f"Signer({self.kid!r})"

    def token(self, claims: t.Mapping[str, t.Any], valid_for: str) -> str:
        """A token with these claims beside those of its validity, from now for the duration ``valid_for``."""
        begin = int(self._clock()) - CLOCK_SKEW
        times = {"exp": begin + CLOCK_SKEW + int(parse_duration(valid_for)), "nbf": begin, "iat": begin, "jti": str(uuid.uuid4())}
        header = {"alg": "RS256", "kid": self.kid, "typ": "JWT"}
        signed = f"{_part(header)}.{_part({**claims, **times})}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encoded(signature)}"

    def public(self) -> str:
        """The public half, in the form that the configuration of a control plane takes."""
        form = serialization.PublicFormat.PKCS1
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def matches(self, public: str) -> t.Optional[bool]:
        """Whether ``public`` is the public half of this key; None when it is no PEM text of a public key."""
        try:
            found = serialization.load_pem_public_key(public.encode())
        except (ValueError, UnsupportedAlgorithm):
            return None
        return isinstance(found, rsa.RSAPublicKey) and found.public_numbers() == self._key.public_key().public_numbers()

    def private(self) -> str:
        """The key as a Secret of a control plane has to hold it: another form than PKCS#1 makes every request for a token fail."""
        return _pkcs1(self._key)


def dataplane_claims(body: t.Mapping[str, t.Any]) -> Json:
    """What a control plane makes of a request to /tokens/dataplane."""
    return {
        "Name": body.get("name") or "",
        "Mesh": body.get("mesh") or "",
        "Tags": body.get("tags") or {},
        "Type": body.get("type") or "",
        "Workload": body.get("workload") or "",
    }


def zone_claims(body: t.Mapping[str, t.Any]) -> Json:
    """The same of one to /tokens/zone."""
    return {"Zone": body.get("zone") or "", "Scope": body.get("scope") or []}


def generate() -> str:
    """A new signing key, as a Secret holds it. Raises Missing."""
    if CRYPTOGRAPHY_IMPORT_ERROR is not None:
        raise Missing
    return _pkcs1(rsa.generate_private_key(public_exponent=65537, key_size=BITS))


def _private(pem: str) -> rsa.RSAPrivateKey:
    if CRYPTOGRAPHY_IMPORT_ERROR is not None:
        raise Missing
    expected = "expected the PEM text of an RSA key, as `kumactl generate signing-key --format=pem` makes one"
    try:
        key = serialization.load_pem_private_key(pem.strip().encode(), password=None)
    except TypeError:
        raise BadKey("is encrypted, expected a key without a passphrase: let a lookup or a vault keep it") from None
    # `from None`: the causes may quote the text.
    except (ValueError, UnsupportedAlgorithm):
        what = "is a public key" if "PUBLIC KEY-----" in pem else "is no private key in PEM"
        raise BadKey(f"{what}, {expected}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadKey(f"is a key of another algorithm, {expected}")
    if key.key_size < BITS:
        raise BadKey(f"has {key.key_size} bits, expected {BITS} or more")
    return key


def _pkcs1(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _part(value: Json) -> str:
    return _encoded(json.dumps(value, separators=(",", ":")).encode())


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
