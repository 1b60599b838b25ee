# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing keys, tokens and who a request comes from."""

from __future__ import annotations

import base64
import functools
import json
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


class Broken(Exception):
    """A key in a Secret that cannot be read; who asks for a token gets an internal error."""


@dataclass(frozen=True)
class PublicKey:
    """Of tokens that were signed elsewhere, as the configuration says it; without a mesh it counts for all."""

    kid: str
    pem: str
    mesh: str = ""

    def load(self) -> rsa.RSAPublicKey:
        key = serialization.load_pem_public_key(self.pem.encode())
        assert isinstance(key, rsa.RSAPublicKey)
        return key


@dataclass(frozen=True)
class Validation:
    """The settings enableIssuer, validator.useSecrets and validator.publicKeys of a sort of tokens."""

    issuer: bool = True
    use_secrets: bool = True
    public_keys: tuple[PublicKey, ...] = ()

    def config(self, meshed: bool) -> dict[str, Any]:
        keys = [{"kid": key.kid, "key": key.pem, **({"mesh": key.mesh} if meshed else {})} for key in self.public_keys]
        return {"enableIssuer": self.issuer, "validator": {"publicKeys": keys, "useSecrets": self.use_secrets}}


def _private(pem: bytes) -> rsa.RSAPrivateKey:
    """Real ones know no PEM but that of PKCS#1, and take anything else for DER."""
    if not pem.lstrip().startswith(b"-----BEGIN RSA PRIVATE KEY-----"):
        raise Broken
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


class Issuer:
    """Issues and checks the tokens of one kind with keys that are kept as secrets, or that the configuration names."""

    def __init__(self, store: Store, kind: str, key_prefix: str, revocations: str, validation: Validation) -> None:
        self.store, self.kind, self.key_prefix, self.revocations = store, kind, key_prefix, revocations
        self.validation = validation
        self._loaded: dict[str, rsa.RSAPrivateKey] = {}
        self._checked: dict[str, tuple[rsa.RSAPublicNumbers, dict[str, Any]]] = {}
        self._public = [(key, key.load()) for key in validation.public_keys]

    def _name(self, mesh: str, kid: str) -> str:
        prefix = self.key_prefix.format(mesh=mesh)
        return prefix if kid == "0" else f"{prefix}-{kid}"

    def create_key(self, mesh: str = "", kid: int = 1) -> None:
        kind = self.store.kinds[self.kind]
        name = self._name(mesh, str(kid))
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
        secret = self.store.get(self.kind, mesh, self._name(mesh, kid))
        if secret is None:
            return None
        data = str(secret.spec.get("data", ""))
        if data not in self._loaded:
            self._loaded[data] = _private(base64.b64decode(data))
        return self._loaded[data]

    def _verifying(self, mesh: str, kid: str) -> rsa.RSAPublicKey:
        """The key that a token of this ID is checked with; raises BadToken."""
        for configured, key in self._public:
            if configured.kid == kid and configured.mesh in ("", mesh):
                return key
        if not self.validation.use_secrets:
            raise BadToken(_missing(kid, f"GlobalSecret of name {json.dumps('-' + kid)}"))
        try:
            found = self._key(mesh, kid)
        except Broken:
            raise BadToken("could not parse token: token is unverifiable: error while executing keyfunc: asn1: structure error") from None
        if found is None:
            raise BadToken(_missing(kid, self._where(mesh, kid)))
        return found.public_key()

    def _where(self, mesh: str, kid: str) -> str:
        name = json.dumps(self._name(mesh, kid))
        return f"Secret of name {name} in mesh {json.dumps(mesh)}" if mesh else f"GlobalSecret of name {name}"

    def _newest(self, mesh: str) -> tuple[str, str]:
        """The ID of the key with the highest number, and the name of its Secret. What follows the name and is no number counts as 0."""
        prefix = self.key_prefix.format(mesh=mesh)
        found = [secret.name for secret in self.store.tables[self.kind].within(mesh) if secret.name.startswith(prefix)]
        ids = {name: name.replace(prefix + "-", "") for name in found}
        newest = max(found, key=lambda name: int(ids[name]) if ids[name].isdigit() else 0, default="")
        return (ids[newest] if ids[newest].isdigit() else "0", newest) if newest else ("", "")

    def issue(self, claims: dict[str, Any], seconds: float, mesh: str = "") -> str:
        """A token that ends `seconds` from now."""
        if not self.validation.issuer:
            raise Problem(400, "Could not issue a token", "issuing tokens using the control plane is disabled.")
        kid, name = self._newest(mesh)
        if not name:
            raise Problem(404, "Signing Key not found", _missing("1", self._where(mesh, "1")))
        secret = self.store.get(self.kind, mesh, name)
        assert secret is not None
        try:
            key = self._loaded.get(str(secret.spec.get("data", ""))) or _private(base64.b64decode(str(secret.spec.get("data", ""))))
        except Broken:
            raise Problem(500, "Could not issue a token", "Internal Server Error") from None
        now = int(time.time())
        payload = {**claims, "exp": int(now + seconds), "nbf": now - CLOCK_SKEW, "iat": now - CLOCK_SKEW, "jti": str(uuid.uuid4())}
        return jwt.encode(payload, key, algorithm="RS256", headers={"kid": kid})

    def _claims(self, token: str, key: rsa.RSAPublicKey) -> dict[str, Any]:
        """The same few tokens come with thousands of requests: a signature that was good stays so, times are looked at anew."""
        numbers = key.public_numbers()
        by, claims = self._checked.get(token, (None, {}))
        if by != numbers or not claims.get("nbf", 0) <= time.time() < claims.get("exp", 0):
            claims = jwt.decode(token, key, algorithms=["RS256"], options={"verify_iat": False})
            self._checked[token] = numbers, claims
        return claims

    def check(self, token: str, mesh: str = "") -> dict[str, Any]:
        """The claims of a token that is accepted, else raises BadToken."""
        try:
            kid = _kid(token)
            if kid is None:
                unverifiable = "token is unverifiable: error while executing keyfunc: JWT token must have kid header"
                raise BadToken(f"could not parse token: {unverifiable}")
            claims = self._claims(token, self._verifying(mesh, kid))
        except jwt.PyJWTError as error:
            raise BadToken(_words(error, self.store.release.says_not_yet_valid)) from error
        if claims.get("jti", "") in self._revoked(mesh):
            raise BadToken("token is revoked")
        return claims

    def _revoked(self, mesh: str) -> list[str]:
        """Also of a mesh it is a GlobalSecret; a Secret of this name is looked into by nobody."""
        secret = self.store.get("GlobalSecret", "", self.revocations.format(mesh=mesh))
        text = base64.b64decode(str(secret.spec.get("data", ""))).decode("utf-8", "replace") if secret is not None else ""
        return text.removesuffix("\n").split(",") if text else []


def _missing(kid: str, where: str) -> str:
    return f"there is no signing key with KID {kid}. {where} is not found. If signing key was rotated, regenerate the token"


class Tokens:
    """All issuers of a control plane and the answers of the token endpoints."""

    def __init__(self, store: Store, dataplane: Validation | None = None, zone: Validation | None = None) -> None:
        self.store = store
        settings = [dataplane or Validation(), Validation(), zone or Validation()]
        self.dataplane = Issuer(store, "Secret", "dataplane-token-signing-key-{mesh}", "dataplane-token-revocations-{mesh}", settings[0])
        self.user = Issuer(store, "GlobalSecret", "user-token-signing-key", "user-token-revocations", settings[1])
        self.zone = Issuer(store, "GlobalSecret", "zone-token-signing-key", "zone-token-revocations", settings[2])
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
