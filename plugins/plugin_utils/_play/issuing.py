# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Who makes tokens, by the options of the roles: the control plane, or a key of the controller; and the ledger that they are written into."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import preflight
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue, keys, sign, zone
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import Ledger
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import controller

Json = t.Dict[str, t.Any]

DP, ZONE = "kuma_dp", "kuma_zone_proxy"
# For the sort of tokens that the options of a role are about: their path, what the preflight calls them, and what these options begin with in
# ``options.ISSUING``. Zone proxies of 3.0 are Dataplanes, and so are their tokens.
_SORTS = {DP: (issue.PATH, preflight.DP, ""), ZONE: (zone.PATH, preflight.ZONE, "zone_")}


def ledger(told: Json) -> t.Optional[Ledger]:
    """The ledger of the values of ``options.ISSUING``; None where none is kept."""
    return Ledger(told["ledger"]) if told["ledger"] else None


class Issuing:
    """``told`` are the values of ``options.ISSUING``, ``directories`` where relative paths count from.

    Raises ItemsFailed with what is wrong with the keys.
    """

    def __init__(self, told: Json, directories: t.Sequence[str]) -> None:
        self.ledger = ledger(told)
        self.signers: t.Dict[str, sign.Signer] = {}
        for role, (path, _sort, prefix) in _SORTS.items():
            own = {key: told[prefix + key] for key in ("key", "key_file", "kid")}
            signer = _signer(role, own, directories)
            if signer is not None:
                self.signers[path] = signer

    def issuer(self, client: Client) -> issue.Issuer:
        return issue.Issuer(client, self.signers, self.ledger)

    @property
    def kids(self) -> t.Dict[str, str]:
        """The IDs of the keys that tokens are signed with here, by their path."""
        return {path: signer.kid for path, signer in self.signers.items()}

    def offline(self, mesh: str) -> preflight.Offline:
        """For the preflight: what speaks against tokens that are signed here."""
        found: t.Dict[str, t.Callable[[Client], t.List[str]]] = {}
        for role, (path, sort, _prefix) in _SORTS.items():
            if path in self.signers:
                found[sort] = functools.partial(_unknown, signer=self.signers[path], mesh=mesh if role == DP else "", role=role)
        return found


def _unknown(client: Client, signer: sign.Signer, mesh: str, role: str) -> t.List[str]:
    return keys.unknown(client, signer, mesh, role)


def _signer(role: str, told: Json, directories: t.Sequence[str]) -> t.Optional[sign.Signer]:
    names = {key: f"{role}_token_signing_{key}" for key in ("key", "key_file", "kid")}
    if told["key"] and told["key_file"]:
        raise ItemsFailed(f"{names['key']} and {names['key_file']} are both set, expected one of them")
    if not told["key"] and not told["key_file"]:
        if told["kid"]:
            raise ItemsFailed(
                f"{names['kid']} is {told['kid']}, and neither {names['key']} nor {names['key_file']} is set, expected one of them"
            )
        return None
    if not told["kid"]:
        raise ItemsFailed(f"{names['kid']} is not set, expected the ID under which the control plane knows the key")
    variable = names["key"] if told["key"] else names["key_file"]
    try:
        return sign.Signer(told["key"] or read(told["key_file"], variable, directories), told["kid"])
    except sign.BadKey as error:
        raise ItemsFailed(f"{variable} {error}") from None
    except sign.Missing as error:
        raise ItemsFailed(f"{variable} is set. {error}") from None


def read(path: str, variable: str, directories: t.Sequence[str]) -> str:
    """The text of a key in a file on the controller. Raises ItemsFailed, and shows nothing of it, also where it was given in place of its file."""
    found, told = controller.find(path, directories), controller.shown(path)
    if found is None:
        raise ItemsFailed(
            f"{variable} is {told}, expected a file on the controller that exists; relative paths count from {', '.join(directories)}"
        )
    try:
        with open(found, encoding="utf-8") as handle:
            return handle.read()
    except UnicodeDecodeError:
        raise ItemsFailed(f"{variable} is {told}, which is no text, expected a key in PEM") from None
    except OSError as error:
        raise ItemsFailed(f"{variable} is {told}, which cannot be read: {error.strerror}") from None
