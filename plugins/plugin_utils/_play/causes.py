# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Why a proxy is not connected, in words: what is wrong, the variable or clock that it comes from, and what to do. Pure functions."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_duration, format_time
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.renewal import number
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import refusals

Json = t.Mapping[str, t.Any]

AGAIN = "Join again: it gets a new token and is restarted with it."
CLOCKS = "Set the clocks of the control plane, of the VM and of whoever signs tokens by the same time servers, and join again."
# How much two clocks may differ before anybody is told.
_SKEW = 30.0


class Cause(t.NamedTuple):
    """``what`` is wrong, as the end of a sentence; ``remedy`` are sentences."""

    what: str
    remedy: str


@dataclass(frozen=True)
class Situation:
    """A proxy that is not connected. ``seen`` is what proxy_info says of it, ``planned`` what a plan does; ``dp_url`` is where it asks.

    ``vm_time`` and ``time`` are the clocks of its VM and of the controller at the same moment, in epoch seconds. With ``earlier`` it was started
    before the variables of now were laid down, which may be right by now.
    """

    seen: Json
    planned: Json
    dp_url: str
    vm_time: float
    time: float
    earlier: bool = False

    @property
    def address(self) -> str:
        return f"the address that it was started with, {self.dp_url}" if self.earlier else f"kuma_dp_control_plane_dp_url, {self.dp_url}"

    @property
    def authority(self) -> str:
        return "the CA that it was started with" if self.earlier else "kuma_dp_control_plane_ca"

    @property
    def claims(self) -> Json:
        return (self.seen.get("token") or {}).get("claims") or {}

    @property
    def said(self) -> str:
        return str((self.seen.get("refusal") or {}).get("said") or "")

    def moment(self, claim: str) -> t.Optional[float]:
        """A time in the token."""
        return number(self.claims.get(claim))


def of(situation: Situation) -> t.Optional[Cause]:
    """None where the proxy logged no reason."""
    refusal = situation.seen.get("refusal")
    if not refusal:
        return None
    cause = _CAUSES.get(_sharper(str(refusal["code"]), situation), _other)(situation)
    skew = situation.vm_time - situation.time
    if abs(skew) <= _SKEW:
        return cause
    side = "ahead of" if skew > 0 else "behind"
    return cause._replace(
        remedy=f"The clock of the VM is {format_duration(abs(round(skew)))} {side} that of the controller. {cause.remedy}"
    )


def _sharper(code: str, situation: Situation) -> str:
    """Meshes have keys of their own, all by the same name: the token of another one is told by its claims alone."""
    own, wanted = str(situation.claims.get("Mesh") or ""), str(situation.planned.get("mesh") or "")
    if code in (refusals.SIGNATURE, refusals.KEY) and own and wanted and own != wanted:
        return refusals.MESH
    return code


def _expired(situation: Situation) -> Cause:
    end = situation.moment("exp")
    if end is not None and end > max(situation.vm_time, situation.time):
        return Cause(f"the control plane takes its token for expired, which ends at {format_time(end)}: clocks differ", CLOCKS)
    return Cause(f"its token expired at {format_time(end)}" if end is not None else "its token is expired", AGAIN)


def _early(situation: Situation) -> Cause:
    begin = situation.moment("nbf")
    since = f", which is valid from {format_time(begin)}" if begin is not None else ""
    return Cause(f"the control plane takes its token for one of the future{since}: clocks differ", CLOCKS)


def _foreign(situation: Situation) -> Cause:
    if situation.planned.get("zone_proxy"):
        return Cause(f"its token is one of zone {situation.claims.get('Zone') or 'none'} ({situation.said})", AGAIN)
    return Cause(f"its token is one of {situation.claims.get('Name') or 'no proxy'}, expected {situation.planned['name']}", AGAIN)


def _mesh(situation: Situation) -> Cause:
    mesh, wanted = situation.claims.get("Mesh") or "no mesh", situation.planned.get("mesh")
    return Cause(f"its token is one of mesh {mesh}, expected {wanted} (kuma_dp_mesh)", AGAIN)


def _claims(situation: Situation) -> Cause:
    what = "kuma_zone_proxy_type" if situation.planned.get("zone_proxy") else "kuma_dp_services or kuma_dp_workload"
    return Cause(f"its token does not allow what it is by {what}: {situation.said}", AGAIN)


def _broken(situation: Situation) -> Cause:
    problem = (situation.seen.get("token") or {}).get("problem") or situation.said
    return Cause(f"its token is none: {problem}", AGAIN)


def _signature(situation: Situation) -> Cause:
    return Cause(
        f"its token was signed with a key that the control plane does not have, as after its signing key was replaced ({situation.said})",
        AGAIN,
    )


def _authority(situation: Situation) -> Cause:
    return Cause(
        f"{situation.authority} is not the CA of the control plane at {situation.dp_url} ({situation.said})",
        "Set kuma_dp_control_plane_ca to the CA that signed its certificate, and join again.",
    )


def _dates(situation: Situation) -> Cause:
    return Cause(
        f"the certificate of the control plane at {situation.dp_url} is expired, or not valid yet by the clock of the VM ({situation.said})",
        "Renew the certificate or set the clock of the VM, and join again.",
    )


def _host(situation: Situation) -> Cause:
    return Cause(
        f"the certificate of the control plane is not for the host in {situation.address} ({situation.said})",
        "Set kuma_dp_control_plane_dp_url to a host that the certificate names, or have the control plane get one for this host, and join again.",
    )


def _port(situation: Situation) -> Cause:
    return Cause(
        f"{situation.address}, has a wrong port: no dp-server is there ({situation.said})",
        "Set it to the dp-server, which has port 5678 unless the control plane was told another one, and join again.",
    )


def _unreachable(situation: Situation) -> Cause:
    return Cause(
        f"the control plane cannot be reached at {situation.address} ({situation.said})",
        "Set it to the dp-server, which has port 5678 unless the control plane was told another one; see that the VM may connect there; join again.",
    )


def _unregistered(_situation: Situation) -> Cause:
    return Cause("the control plane does not hold its Dataplane", "See who deletes it, and join again.")


def _busy(_situation: Situation) -> Cause:
    return Cause(
        "another proxy is connected by its name",
        "Find it, and give it a name of its own. One that was killed counts as connected for up to five minutes: then join again.",
    )


def _other(situation: Situation) -> Cause:
    return Cause(f"the control plane refuses it: {situation.said}", "See the journal of the control plane as well, and join again.")


_CAUSES: t.Dict[str, t.Callable[[Situation], Cause]] = {
    refusals.EXPIRED: _expired,
    refusals.REVOKED: lambda _situation: Cause("its token is revoked", AGAIN),
    refusals.FOREIGN: _foreign,
    refusals.MESH: _mesh,
    refusals.CLAIMS: _claims,
    refusals.SIGNATURE: _signature,
    refusals.KEY: _signature,
    refusals.EARLY: _early,
    refusals.BROKEN: _broken,
    refusals.AUTHORITY: _authority,
    refusals.DATES: _dates,
    refusals.HOST: _host,
    refusals.PORT: _port,
    refusals.UNREACHABLE: _unreachable,
    refusals.UNREGISTERED: _unregistered,
    refusals.BUSY: _busy,
}


def late(host: str, situation: Situation, timeout: object, reason: str) -> str:
    """What is said of a proxy that did not come into traffic, or was not connected, within ``timeout``; ``reason`` is the control plane's."""
    unit, cause = situation.seen["unit"], of(situation)
    what = "connected" if situation.planned.get("zone_proxy") else "in traffic"
    restarts = f", restarted {unit['restarts']} times" if unit["restarts"] else ""
    why = f"{cause.what} ({reason}). {cause.remedy}" if cause is not None else f"{reason}."
    serving = " It still serves with the configuration that it has." if cause is not None and situation.seen.get("serves") else ""
    return f"{host}: {situation.planned['name']} is not {what} after {timeout} s: {why}{serving} Its unit is {unit['state']}{restarts}."
