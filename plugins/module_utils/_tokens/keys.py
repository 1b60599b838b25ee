# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Signing keys of a control plane: those that it holds in Secrets, and whether it knows the one that the controller signs with.

A key has an ID, a number, and the control plane issues with the highest. Whoever may read Secrets sees the keys themselves, so what is read
here goes no further than its name.
"""

from __future__ import annotations

import base64
import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.capabilities import CONFIGURATION, DP_TOKENS, ZONE_TOKENS
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import AccessDenied, ApiError, Client, NotFound, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.revocations import ORIGIN
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.sign import BadKey, Signer

_ZONE_PREFIX = "zone-token-signing-key"
# As large as the control plane reads them: some number their keys by the time.
_NUMBER = re.compile(r"-(0|[1-9][0-9]{0,17})\Z")


def secret_of(mesh: str, kid: str) -> str:
    """The name of the Secret with a key for Dataplane tokens. That with the ID 0 has none in its name."""
    return f"dataplane-token-signing-key-{mesh}" + ("" if kid == "0" else f"-{kid}")


def kid_of(mesh: str, secret: str) -> t.Optional[str]:
    """The ID of the key in a Secret of this name; None for any other Secret. The control plane counts on numbers alone."""
    base = secret_of(mesh, "0")
    if secret == base:
        return "0"
    match = _NUMBER.match(secret[len(base) :]) if secret.startswith(base) else None
    return match.group(1) if match and match.group(1) != "0" else None


class Keys:
    """The signing keys of one mesh that its control plane holds. Each method raises ApiError, AccessDenied without the rights to Secrets."""

    def __init__(self, client: Client, mesh: str) -> None:
        self.client, self.mesh = client, mesh

    def held(self) -> t.List[str]:
        """The IDs, lowest first."""
        return sorted(self._listed(), key=int)

    def from_global(self, kids: t.Sequence[str]) -> t.List[str]:
        """Those of ``kids`` that this control plane of a zone has from its global one, and gets again from there when it is deleted here."""
        if self.client.control_plane(CONFIGURATION).get("mode") != "zone":
            return []
        listed = self._listed()
        return [kid for kid in kids if (listed.get(kid) or {}).get(ORIGIN) == "global"]

    def _listed(self) -> t.Dict[str, t.Mapping[str, str]]:
        """The labels of the keys by their IDs."""
        found = {}
        for item in self.client.list(api_path("meshes", self.mesh, "secrets")):
            kid = kid_of(self.mesh, str(item.get("name")))
            if kid is not None:
                found[kid] = item.get("labels") or {}
        return found

    def add(self, kid: str, pem: str) -> None:
        """Have a key, in PKCS#1, under a new ID. A key that is there is never replaced, for tokens of it would be refused."""
        path, secret = self._path(kid)
        found = self._data(path)
        if found is None:
            data = base64.b64encode(pem.encode()).decode()
            self.client.put(path, {"type": "Secret", "mesh": self.mesh, "name": secret, "data": data})
            found = self._data(path)
        if found != pem.encode():
            raise ApiError(
                f"Secret {secret} of mesh {self.mesh} holds another key", remedy="Nothing was replaced. Choose another ID.", kind="conflict"
            )

    def remove(self, kid: str) -> None:
        """Delete a key. Every token that it signed is refused from then on."""
        try:
            self.client.delete(self._path(kid)[0])
        except NotFound:
            return

    def _path(self, kid: str) -> t.Tuple[str, str]:
        secret = secret_of(self.mesh, kid)
        return api_path("meshes", self.mesh, "secrets", secret), secret

    def _data(self, path: str) -> t.Optional[bytes]:
        return _data(self.client, path)


def _data(client: Client, path: str) -> t.Optional[bytes]:
    try:
        body = client.get(path).body
    except NotFound:
        return None
    return base64.b64decode(str((body or {}).get("data") or ""))


def unknown(client: Client, signer: Signer, mesh: str, prefix: str) -> t.List[str]:
    """Why the control plane would refuse tokens of ``signer``, as far as it lets this user know; nothing where it would not.

    ``mesh`` is empty for tokens of zone proxies. ``prefix`` is what the variables of the role begin with, for the message. Raises ApiError.
    """
    told = client.control_plane(DP_TOKENS if mesh else ZONE_TOKENS)
    what = f"{prefix}_token_signing_kid is {signer.kid}"
    known = [key for key in told.get("public_keys") or [] if isinstance(key, dict) and key.get("mesh") in (None, "", mesh)]
    ours = [signer.matches(str(key.get("key") or "")) for key in known if str(key.get("kid")) == signer.kid]
    # A key in a file of the control plane is not shown.
    if True in ours or None in ours:
        return []
    if ours:
        return [
            f"{what}, and the control plane knows another key of this ID, so it would refuse each token: use the key that it knows, or another ID"
        ]
    if told.get("use_secrets") is False:
        names = ", ".join(sorted(str(key.get("kid")) for key in known)) or "none"
        return [
            f"{what}, and the control plane knows no such key (its publicKeys{f' of mesh {mesh}' if mesh else ''}: {names}): add the public half there"
        ]
    path = (
        api_path("meshes", mesh, "secrets", secret_of(mesh, signer.kid))
        if mesh
        else api_path("global-secrets", f"{_ZONE_PREFIX}-{signer.kid}")
    )
    try:
        data = _data(client, path)
    except AccessDenied:
        return []
    if data is None:
        return [
            f"{what}, and the control plane knows no such key, neither in its publicKeys nor in a Secret: add the public half to its configuration"
        ]
    try:
        same = Signer(data.decode("utf-8", "replace"), signer.kid).public() == signer.public()
    except BadKey:
        return []
    return (
        []
        if same
        else [f"{what}, and the Secret of this ID holds another key, so each token would be refused: use that key, or another ID"]
    )
