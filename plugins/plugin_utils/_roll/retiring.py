# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The tokens of covers, without the tokens: written down when they are made, and refused by the control plane once their covers are gone.

A token of which nobody says that its cover is gone, because its VM is lost or its controller was killed for good, ends by itself.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import ApiError, Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import revocations
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.renewal import number
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.journal import Journal
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.run import Json, Roll

DATAPLANE, ZONE = "dataplane", "zone"
# So often the control plane is told of those that are gone while a roll goes on, in seconds: all of them in one write.
EVERY = 60.0
# Clocks differ: so long after its end a token is not worth a place among the revoked ones.
SKEW = 300.0
# What the issuers of Kuma make. A VM names the token of a restart that is taken over, and the list of the revoked ones has commas.
_JTI = re.compile(r"[A-Za-z0-9_-]{8,64}\Z")


class Token(t.NamedTuple):
    """``name`` is the proxy whose cover has it, ``sort`` dataplane or zone, ``exp`` its end in epoch seconds.

    ``told`` is whether a VM says so, whose word for the end of a token takes none off the list of the revoked ones.
    """

    jti: str
    host: str
    name: str
    sort: str
    exp: float
    revoked: bool = False
    told: bool = False


def revoke(client: Client, mesh: str, gone: t.Sequence[Token], over: t.Sequence[Token], now: float) -> None:
    """Have the control plane refuse the tokens ``gone`` from now on, beside those that it refuses already. Raises ApiError.

    ``over`` were revoked before and have ended since, so that they need not be on its list any more.
    """
    for sort, secret in ((DATAPLANE, revocations.secret_of(mesh)), (ZONE, revocations.ZONE)):
        ends = {token.jti: token.exp for token in [*gone, *over] if token.sort == sort and not token.told}
        revocations.revoke(client, secret, [token.jti for token in gone if token.sort == sort], ends, now)


def note(journal: Journal, host: str, name: str, claims: t.Mapping[str, t.Any], told: bool = False) -> None:
    """Write down the token with these claims, which a VM has ``told`` or not. One that cannot be told from others is left to its end."""
    jti, exp = claims.get("jti"), number(claims.get("exp"))
    if not isinstance(jti, str) or not _JTI.match(jti) or exp is None:
        return
    token = Token(jti, host, name, ZONE if claims.get("Zone") else DATAPLANE, exp, told=told)
    with journal.locked():
        kept = journal.covers()
        kept["tokens"].setdefault(jti, token._asdict())
        journal.save_covers(kept)


def adopt(journal: Journal, earlier: Journal) -> None:
    """Take over what an earlier run wrote down: its controller died, or its tokens had not ended when it did."""
    with earlier.locked():
        found = earlier.covers()
        earlier.save_covers({**found, "tokens": {}})
    if found["tokens"]:
        with journal.locked():
            kept = journal.covers()
            journal.save_covers({**kept, "tokens": {**found["tokens"], **kept["tokens"]}})


def sweep(roll: Roll) -> None:
    """Now and then, while a roll goes on: revoke what is over. What goes wrong is done again at the end."""
    with roll.journal.retiring() as mine:
        kept = roll.kept()
        if mine and "covers" in kept and not kept.get("outage") and roll.clock() - roll.journal.covers()["swept"] >= EVERY:
            try:
                retire(roll, kept["covers"], float(kept["at"]))
            except ApiError:
                return


def retire(roll: Roll, connected: t.Container[str], at: float) -> t.List[Token]:
    """Revoke the tokens whose covers are gone; ``connected`` are the covers that were at ``at``. Returns what was revoked. Raises ApiError."""
    tokens = read(roll.journal)
    now = roll.clock()
    gone = [token for token in tokens if not token.revoked and token.exp > now and _is_gone(roll, token, connected, at)]
    over = [token for token in tokens if token.revoked and token.exp + SKEW < now]
    if gone:
        revoke(roll.client, roll.mesh, gone, over, now)
    with roll.journal.locked():
        kept = roll.journal.covers()
        for token in gone:
            kept["tokens"][token.jti]["revoked"] = True
        for token in [*(over if gone else ()), *(token for token in tokens if not token.revoked and token.exp <= now)]:
            kept["tokens"].pop(token.jti, None)
        roll.journal.save_covers({**kept, "swept": now})
    return gone


def read(journal: Journal) -> t.List[Token]:
    return [Token(**entry) for entry in journal.covers()["tokens"].values()]


def _is_gone(roll: Roll, token: Token, connected: t.Container[str], at: float) -> bool:
    """Whether nobody needs it any more.

    On a VM that cannot be reached, or whose proxy did not come back, the cover may serve, and may have to connect again.
    """
    if naming.cover_name(token.name) in connected:
        return False
    record: t.Optional[Json] = roll.journal.record(token.host)
    if record is None:
        return True
    over = record["status"] in ("done", "failed", "refused", "skipped") and (record.get("completed") or at) <= at
    return over and (record["status"] == "done" or record.get("served_by") in ("", "main"))
