# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing keys, tokens and who a request comes from."""

from __future__ import annotations

import base64
import functools
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .errors import Problem
from .store import Store

TEN_YEARS = 10 * 365 * 24 * 3600
CLOCK_SKEW = 5
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}/{','.join(self.groups)}"

    @property
    def is_admin(self) -> bool:
        return "mesh-system:admin" in self.groups


ANONYMOUS = User("mesh-system:anonymous", ("mesh-system:unauthenticated",))
ADMIN = User("mesh-system:admin", ("mesh-system:admin",))


@functools.lru_cache(maxsize=1000)
def _kid(token: str) -> str | None:
    return jwt.get_unverified_header(token).get("kid")


def _words(error: jwt.PyJWTError, says_not_yet: bool) -> str:
    """What the real one says of a token that cannot be used."""
    if isinstance(error, jwt.ImmatureSignatureError):
        text = "token has invalid claims: token is not valid yet"
        hint = "'valid_from' date is in the future. Check if the system clock on the instance that issued the token is set correctly"
        return f"token is not yet valid: {hint}: {text}" if says_not_yet else f"could not parse token: {text}"
    if isinstance(error, jwt.ExpiredSignatureError):
        return "could not parse token: token has invalid claims: token is expired"
    if isinstance(error, jwt.InvalidSignatureError) or "crypto padding" in str(error):
        return "could not parse token: token signature is invalid: crypto/rsa: verification error"
    return f"could not parse token: token is malformed: {error}"


class BadToken(Exception):
    """A token that is not accepted, with the reason."""


def go_duration(text: str) -> float:
    """Seconds of a Go duration; raises ValueError with Go's words."""
    if re.fullmatch(r"[+-]?0", text):
        return 0.0
    match = re.fullmatch(r"([+-]?)((?:\d+(?:\.\d*)?|\.\d+)[a-zµ]+)+", text)
    if not match:
        raise ValueError(f'time: invalid duration "{text}"')
    seconds = 0.0
    for amount, unit in re.findall(r"(\d+(?:\.\d*)?|\.\d+)([a-zµ]+)", text):
        if unit not in _UNITS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        seconds += float(amount) * _UNITS[unit]
    return -seconds if match[1] == "-" else seconds


def _new_keys() -> Iterator[rsa.RSAPrivateKey]:
    """Keys without end. A prime takes a long time to find and every mesh wants a key: each pair of primes makes one."""
    primes: list[int] = []
    while True:
        numbers = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_numbers()
        for prime in (numbers.p, numbers.q):
            for other in primes:
                d = pow(65537, -1, (prime - 1) * (other - 1))
                public = rsa.RSAPublicNumbers(65537, prime * other)
                parts = (rsa.rsa_crt_dmp1(d, prime), rsa.rsa_crt_dmq1(d, other), rsa.rsa_crt_iqmp(prime, other))
                yield _key(rsa.RSAPrivateNumbers(prime, other, d, *parts, public))
            primes.append(prime)


def _key(numbers: rsa.RSAPrivateNumbers) -> rsa.RSAPrivateKey:
    """Without looking for prime factors again, which the library of Debian 12 does always."""
    try:
        return numbers.private_key(unsafe_skip_rsa_key_validation=True)
    except TypeError:
        return numbers.private_key()


_KEYS = _new_keys()


class Issuer:
    """Issues and checks the tokens of one kind with keys that are kept as secrets."""

    def __init__(self, store: Store, kind: str, key_prefix: str, revocations: str) -> None:
        self.store, self.kind, self.key_prefix, self.revocations = store, kind, key_prefix, revocations
        self._loaded: dict[str, rsa.RSAPrivateKey] = {}
        self._checked: dict[tuple[str, rsa.RSAPrivateKey], dict[str, Any]] = {}

    def _prefix(self, mesh: str) -> str:
        return self.key_prefix.format(mesh=mesh)

    def create_key(self, mesh: str = "", kid: int = 1) -> None:
        kind = self.store.kinds[self.kind]
        name = f"{self._prefix(mesh)}{kid}"
        made = next(_KEYS)
        pem = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        data = base64.b64encode(pem).decode()
        self._loaded[data] = made
        self.store.put(kind, mesh, name, {"data": data}, {})
        key = self.store.get(self.kind, mesh, name)
        assert key is not None
        # It is the API that adds labels, not the control plane to what it makes itself.
        key.labels = {}

    def _key(self, mesh: str, kid: str) -> rsa.RSAPrivateKey | None:
        secret = self.store.get(self.kind, mesh, f"{self._prefix(mesh)}{kid}")
        if secret is None:
            return None
        data = str(secret.spec.get("data", ""))
        if data not in self._loaded:
            key = serialization.load_pem_private_key(base64.b64decode(data), None)
            assert isinstance(key, rsa.RSAPrivateKey)
            self._loaded[data] = key
        return self._loaded[data]

    def _newest(self, mesh: str) -> str:
        prefix = self._prefix(mesh)
        found = [secret.name[len(prefix) :] for secret in self.store.tables[self.kind].within(mesh) if secret.name.startswith(prefix)]
        return max((kid for kid in found if kid.isdigit()), key=int, default="")

    def issue(self, claims: dict[str, Any], seconds: float, mesh: str = "") -> str:
        """A token that ends `seconds` from now."""
        kid = self._newest(mesh)
        key = self._key(mesh, kid) if kid else None
        if key is None:
            where = f' in mesh "{mesh}"' if mesh else ""
            raise Problem(
                404,
                "Signing Key not found",
                f'there is no signing key with KID 1. Secret of name "{self._prefix(mesh)}1"{where} is not found. '
                "If signing key was rotated, regenerate the token",
            )
        now = int(time.time())
        payload = {**claims, "exp": int(now + seconds), "nbf": now - CLOCK_SKEW, "iat": now - CLOCK_SKEW, "jti": str(uuid.uuid4())}
        return jwt.encode(payload, key, algorithm="RS256", headers={"kid": kid})

    def _claims(self, token: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
        """The same few tokens come with thousands of requests: a signature that was good stays so, times are looked at anew."""
        claims = self._checked.get((token, key))
        if claims is None or not claims.get("nbf", 0) <= time.time() < claims.get("exp", 0):
            claims = jwt.decode(token, key.public_key(), algorithms=["RS256"], options={"verify_iat": False})
            self._checked[token, key] = claims
        return claims

    def check(self, token: str, mesh: str = "") -> dict[str, Any]:
        """The claims of a token that is accepted, else raises BadToken."""
        try:
            kid = _kid(token)
            if kid is None:
                unverifiable = "token is unverifiable: error while executing keyfunc: JWT token must have kid header"
                raise BadToken(f"could not parse token: {unverifiable}")
            key = self._key(mesh, kid)
            if key is None:
                where = f'{self.kind} of name "{self._prefix(mesh)}{kid}"' + (f' in mesh "{mesh}"' if mesh else "")
                raise BadToken(
                    f"there is no signing key with KID {kid}. {where} is not found. If signing key was rotated, regenerate the token"
                )
            claims = self._claims(token, key)
        except jwt.PyJWTError as error:
            raise BadToken(_words(error, self.store.release.says_not_yet_valid)) from error
        # A secret of a mesh by that name is accepted, and not looked at.
        revoked = self.store.get("GlobalSecret", "", self.revocations.format(mesh=mesh))
        if revoked is not None:
            listed = base64.b64decode(str(revoked.spec.get("data", ""))).decode("utf-8", "replace").replace(" ", "").split(",")
            if claims.get("jti") in listed:
                raise BadToken("token is revoked")
        return claims


class Tokens:
    """All issuers of a control plane and the answers of the token endpoints."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.dataplane = Issuer(store, "Secret", "dataplane-token-signing-key-{mesh}-", "dataplane-token-revocations-{mesh}")
        self.user = Issuer(store, "GlobalSecret", "user-token-signing-key-", "user-token-revocations")
        self.zone = Issuer(store, "GlobalSecret", "zone-token-signing-key-", "zone-token-revocations")
        self.user.create_key()
        self.zone.create_key()
        store.on_mesh_created.append(self.dataplane.create_key)

    def admin_token(self) -> str:
        """The first administrator's token, kept as a secret too."""
        token = self.user.issue({"Name": ADMIN.name, "Groups": list(ADMIN.groups)}, TEN_YEARS)
        data = base64.b64encode(token.encode()).decode()
        self.store.put(self.store.kinds["GlobalSecret"], "", "admin-user-token", {"data": data}, {})
        return token

    def user_of(self, token: str) -> User:
        """The user whose token this is; raises BadToken."""
        claims = self.user.check(token)
        return User(str(claims.get("Name", "")), (*(claims.get("Groups") or ()), "mesh-system:authenticated"))

    @staticmethod
    def _validity(body: dict[str, Any], required: bool) -> tuple[float, list[tuple[str, str]]]:
        given = body.get("validFor") or ""
        if not given:
            return (0, [("validFor", "cannot be empty")]) if required else (TEN_YEARS, [])
        try:
            seconds = go_duration(given)
        except ValueError as error:
            return 0, [("validFor", f"is invalid: {error}")]
        if required and not seconds:
            return 0, [("validFor", "cannot be empty or nil")]
        return seconds or TEN_YEARS, []

    def _allow(self, user: User, what: str) -> None:
        if not user.is_admin:
            raise Problem(403, "Access Denied", f'user "{user}" cannot access generate {what} token')

    def issue_dataplane(self, body: dict[str, Any], user: User) -> str:
        found = []
        if not body.get("mesh"):
            found.append(("mesh", "cannot be empty"))
        kind = body.get("type") or ""
        known = ("dataplane",) if self.store.release.v3 else ("dataplane", "ingress", "egress")
        if kind and kind not in known:
            found.append(("type", f"{kind} is not a valid proxy type"))
        seconds, bad = self._validity(body, required=False)
        _refuse(found + bad)
        self._allow(user, "dataplane")
        mesh = str(body["mesh"])
        claims = {"Name": body.get("name") or "", "Mesh": mesh, "Tags": body.get("tags") or {}, "Type": kind}
        if self.store.release.workload:
            claims["Workload"] = body.get("workload") or ""
        return self.dataplane.issue(claims, seconds, mesh)

    def issue_zone(self, body: dict[str, Any], user: User) -> str:
        found = []
        if not body.get("scope") and not self.store.release.v3:
            found.append(("scope", "cannot be empty"))
        seconds, bad = self._validity(body, required=False)
        _refuse(found + bad)
        self._allow(user, "zone")
        return self.zone.issue({"Zone": body.get("zone") or "", "Scope": body.get("scope") or []}, seconds)

    def issue_user(self, body: dict[str, Any], user: User) -> str:
        found = []
        if not body.get("name"):
            found.append(("name", "cannot be empty"))
        seconds, bad = self._validity(body, required=True)
        _refuse(found + bad)
        self._allow(user, "user")
        return self.user.issue({"Name": body["name"], "Groups": body.get("groups") or []}, seconds)


def _refuse(found: list[tuple[str, str]]) -> None:
    if found:
        raise Problem(400, "Invalid request", "Resource is not valid", found)
