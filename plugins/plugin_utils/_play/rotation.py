# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The rollover of the CA of a control plane under a fleet: whom VMs trust meanwhile, when the control plane may change, and when it is over.

A proxy reads its CA when it starts, and its Envoy verifies each new connection with it, so a proxy has to be started with both before the
control plane shows the other certificate. How far a rollover is, is told by what control plane and VMs show: nothing is written down, and
whoever runs it again goes on. Pure functions.
"""

from __future__ import annotations

import hashlib
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import certificates
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some, together
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.trust import misfit
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import reasons

Json = t.Dict[str, t.Any]

NEW, CA = "kuma_rotate_ca_new", "kuma_dp_control_plane_ca"
# What the plays of rotate_ca.yml register: for the control plane, and for each host of the fleet.
PREPARED, BEGUN, CONFIRMED, READY, SERVED, ENDED = (
    "kuma_ca_prepared", "kuma_ca_begun", "kuma_ca_confirmed", "kuma_ca_ready", "kuma_ca_served", "kuma_ca_ended",
)  # fmt: skip


class Trust(t.NamedTuple):
    """PEM texts: ``old`` is what is trusted now, ``new`` what alone is to be in the end."""

    old: str
    new: str

    @property
    def both(self) -> str:
        return certificates.bundle(self.old, self.new)


def successor(prepared: t.Sequence[Json], given: str) -> str:
    """The CA that is to be trusted in the end. ``prepared`` are what control planes of role kuma_cp said, ``given`` the text of the option.

    Raises ItemsFailed.
    """
    if len(prepared) > 1:
        raise ItemsFailed(
            f"{len(prepared)} control planes are in the play, expected the one of this fleet: name it with -e kuma_control_plane_hosts=<host>, and "
            "its fleet with --limit"
        )
    if prepared and given:
        raise ItemsFailed(
            f"{NEW} is set, and role kuma_cp makes the CA of this control plane, or is given it with kuma_cp_tls_ca: leave {NEW} out"
        )
    found = str(prepared[0]["new"]) if prepared else given
    if not found.strip() and not prepared:
        raise ItemsFailed(
            f"{NEW} is not set, expected the CA that is to sign the certificate of the control plane, as PEM text or a file on the controller. A "
            "control plane that role kuma_cp runs makes its own: it has to be in the group kuma_control_plane and reachable"
        )
    return found


def trust(inventory: str, prepared: t.Sequence[Json], new: str) -> Trust:
    """Whom the VMs of a host's group trust: what the inventory says, and what its control plane does. Raises ItemsFailed."""
    texts = {CA: inventory, NEW: new}
    for variable, text in texts.items():
        try:
            found = certificates.of_pem(text)
        except ValueError as error:
            raise ItemsFailed(f"{variable}: {error}") from error
        if not found:
            raise ItemsFailed(f"{variable} holds no certificate in PEM form")
        if variable == NEW and found[0].authority is False:
            raise ItemsFailed(f"{variable}: {found[0].subject} is no certificate authority, which a control plane refuses")
        # It is laid down as it is in the end, hours later.
        fault = misfit(text) if variable == NEW else ""
        if fault:
            raise ItemsFailed(f"{variable}: {fault}")
    return Trust(certificates.bundle(inventory, *(one["trusted"] for one in prepared)), new)


def shows_new_alone(seen: Json, new: str) -> bool:
    """Whether each control plane behind the address shows a certificate that ``new`` alone makes trusted."""
    authorities = {one.sha256 for one in certificates.of_pem(new)}
    servers = seen["servers"]
    return bool(servers) and all(server["outcome"] == "trusted" and authorities & set(server["trusted_by"]) for server in servers)


def digest(text: str) -> str:
    """Of the file that a join lays down with this text."""
    return hashlib.sha256((text.strip() + "\n").encode()).hexdigest()


def unconfirmed(observed: Json, path: str, text: str) -> str:
    """Why a VM does not trust what it should, with all of its proxies; empty when it does. ``path`` is that of its CA."""
    laid = observed["paths"].get(path, {})
    if laid.get("sha256") != digest(text):
        return f"{path} is not what was to be laid down: see that -e does not set {CA}, and that nobody else writes there"
    old = sorted(name for name, proxy in observed["proxies"].items() if proxy["unit"]["active"] and reasons.CA in proxy["restart_codes"])
    return f"{some(old)} was started before the CA was laid down" if old else ""


def lacking(members: t.Iterable[str], found: t.Callable[[str], t.Optional[Json]]) -> t.Dict[str, t.List[str]]:
    """``{host: why}`` of those of the fleet that do not trust the new CA: ``found(host)`` is the last result about one, None without any."""
    why: t.Dict[str, t.List[str]] = {}
    for host in members:
        result = found(host)
        if result is None:
            why[host] = ["it is not in this play, or was lost on the way"]
        elif result.get("problem") or result.get("failed"):
            why[host] = [str(result.get("problem") or result.get("msg") or "failed")]
    return why


def not_ready(why: t.Mapping[str, t.Sequence[str]]) -> str:
    lines = "\n".join(f"  {line}" for line in together(why, 5))
    return (
        f"The control plane keeps its certificate: {len(why)} host{' does' if len(why) == 1 else 's do'} not trust the new CA yet, and would lose it.\n"
        f"{lines}\nRepair them, or take them out of the mesh with leave_mesh, and run this again for the whole fleet. Everything stays as it is "
        "until then, and works."
    )


def waiting(why: t.Mapping[str, t.Sequence[str]], by_role: bool) -> str:
    """What is said when the fleet is ready and the control plane still shows its certificate of before."""
    lines = "\n".join(f"  {line}" for line in together(why, 5))
    if by_role:
        return f"The fleet trusts both CAs, and the control plane does not show a certificate of the new one: see above why, and run this again.\n{lines}"
    return (
        "The fleet trusts both CAs. Now give the control plane its certificate of the new CA (KUMA_GENERAL_TLS_CERT_FILE and "
        "KUMA_GENERAL_TLS_KEY_FILE, on each of its instances), restart it where it is older than 3.0, and run this again, which ends the "
        f"rollover; kuma_rotate_ca_wait has it wait. Seen until now:\n{lines}"
    )


def over(new: str, by_role: bool) -> t.List[str]:
    """The last words."""
    subject = certificates.of_pem(new)[0].subject
    remedy = (
        "it is in kuma_cp_fetch_dir already" if by_role else f"now set {CA} to it in the inventory, and kuma_dp_api_ca where that is set"
    )
    return [f"The fleet trusts {subject} alone: {remedy}."]
