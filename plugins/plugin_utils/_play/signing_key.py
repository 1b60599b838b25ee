# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The rotation of the key that Dataplane tokens of a mesh are signed with: add a new one, reissue tokens, roll, remove the old ones.

Where it stands is told by what is there: with one key a rotation begins, and with two or more one is under way to the newest. Reissuing and
rolling are a join and a roll. Pure but for what it is handed.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.capabilities import DP_TOKENS
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import held, keys, sign
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import DATAPLANE

Json = t.Dict[str, t.Any]

ALL, ADD, REISSUE, ROLL, REMOVE = "all", "add", "reissue", "roll", "remove"
STEPS = (ALL, ADD, REISSUE, ROLL, REMOVE)
_SHOWN = 10


def step(told: Json) -> str:
    """Which step is asked for. Raises ItemsFailed."""
    if told["step"] not in STEPS:
        raise ItemsFailed(f"kuma_signing_key_step is {told['step']}, expected one of {', '.join(STEPS)}")
    return str(told["step"])


class Rotation:
    """Of the key of one ``mesh``. ``signer`` is the key of the controller, where tokens are signed there."""

    def __init__(self, client: Client, mesh: str, signer: t.Optional[sign.Signer], check: bool) -> None:
        self.client, self.mesh, self.signer, self.check = client, mesh, signer, check
        self._keys = keys.Keys(client, mesh)

    def add(self, given: str) -> t.Tuple[bool, str]:
        """``(changed, line)``: have a key beside the one that is used. ``given`` is the user's, in PEM; without it one is made here.

        Where tokens are signed on the controller, the new key is its, and the control plane has to know it already. Raises ItemsFailed,
        ApiError, sign.BadKey and sign.Missing.
        """
        if self.signer is not None:
            problems = keys.unknown(self.client, self.signer, self.mesh, "kuma_dp")
            if problems:
                raise ItemsFailed(f"{problems[0]}. The public half of key {self.signer.kid}:\n{self.signer.public()}")
            return False, f"tokens are signed on the controller with key {self.signer.kid}, which the control plane knows"
        if self.client.control_plane(DP_TOKENS).get("use_secrets") is False:
            raise ItemsFailed(
                "The control plane takes the keys of its configuration alone (useSecrets is false): sign tokens on the controller, with "
                "kuma_dp_token_signing_key_file and kuma_dp_token_signing_kid, and let these name the new key."
            )
        kids = self._keys.held()
        if not kids:
            raise ItemsFailed(f"Mesh {self.mesh} has no signing key: create the mesh, or correct kuma_dp_mesh.")
        if len(kids) > 1:
            return False, f"key {kids[-1]} was added before; still there: {', '.join(kids[:-1])}"
        kid = str(int(kids[-1]) + 1)
        # Made in a check as well, where a bad key has to fail.
        pem = sign.Signer(given, kid).private() if given else "" if self.check else sign.generate()
        if not self.check:
            self._keys.add(kid, pem)
        return True, f"key {kid} {'would be' if self.check else 'was'} added, which the control plane issues tokens with from then on"

    def remove(self, registered: t.Iterable[str], holders: t.Sequence[held.Holder], book: held.Book, force: bool) -> t.Tuple[bool, str]:
        """``(changed, line)``: delete the keys that no proxy uses any more. ``registered`` are all Dataplanes of the mesh.

        Raises ItemsFailed with every proxy that may still use one, unless ``force``, and ApiError.
        """
        kids = self._keys.held() if self.signer is None else []
        kid = self.signer.kid if self.signer is not None else "".join(kids[-1:])
        doomed = kids[:-1]
        if self.signer is None and not doomed:
            return False, f"nothing to remove: key {kid} is the only one" if kid else f"mesh {self.mesh} has no signing key"
        found = users(self.mesh, registered, holders, book, kid)
        if found and not force:
            raise ItemsFailed(_refusal(self.mesh, found, kid, doomed))
        if self.signer is not None:
            return False, f"no proxy needs another key than {kid}: take the others out of the publicKeys of the control plane"
        synced = self._keys.from_global(doomed)
        if synced:
            secrets = ", ".join(keys.secret_of(self.mesh, old) for old in synced)
            return (
                False,
                f"no proxy of this zone needs another key than {kid}: delete {secrets} at the global control plane, which sends it here",
            )
        for old in doomed:
            if not self.check:
                self._keys.remove(old)
        return True, f"removed{' in a check' if self.check else ''}: key {', '.join(doomed)}; tokens of key {kid} alone are accepted"


def users(mesh: str, registered: t.Iterable[str], holders: t.Sequence[held.Holder], book: held.Book, kid: str) -> t.Dict[str, str]:
    """Why a proxy of ``mesh`` may still need another key than ``kid``, by name. One that nobody has looked at may, whatever the ledger says."""
    known = {holder.name: holder for holder in holders if not holder.zone}
    found = {}
    for name in sorted({*registered, *known}):
        why = _why(known.get(name), kid)
        last = book.of((DATAPLANE, mesh, name))[-1:]
        if why and last and not (name in known and known[name].seen):
            why += f"; its last token in the ledger is of key {last[0].kid or 'of an unknown ID'}"
        if why:
            found[name] = why
    return found


def _why(holder: t.Optional[held.Holder], kid: str) -> str:
    if holder is None:
        return "is on no VM of this play"
    if not holder.seen:
        return f"is on {holder.host}, which was not looked at"
    if holder.claims and holder.kid != kid:
        return f"holds a token of key {holder.kid or 'of an unknown ID'}"
    # One that is not connected at the moment comes back by itself, with the token that it was started with.
    if (holder.active or holder.connected) and not holder.running:
        return "runs with an earlier token, and has to be restarted"
    if (holder.active or holder.connected) and not holder.claims:
        return "runs with a token that is not on its VM any more, and has to be restarted"
    return ""


def _refusal(mesh: str, found: t.Mapping[str, str], kid: str, doomed: t.Sequence[str]) -> str:
    what = f"key {', '.join(doomed)}" if doomed else f"another key than {kid}"
    shown = [f"  {name} {why}" for name, why in list(found.items())[:_SHOWN]]
    rest = [f"  and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    head = f"Nothing was removed: {len(found)} {'proxy' if len(found) == 1 else 'proxies'} of mesh {mesh} may still use {what}."
    tail = (
        f"Give them tokens of key {kid} and restart them (run this for all hosts), delete the Dataplanes of those that are gone, or remove it "
        "nevertheless with -e kuma_signing_key_force=true: they are refused when they connect again."
    )
    return "\n".join([head, *shown, *rest, tail])
