# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""On which address a control plane offers its API by HTTPS: the one that its clients use, and all only where they use several. Pure functions.

Whoever verifies its certificate comes by one of its names, so these say which addresses are needed.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks, network

# The addresses of the names that are none themselves, as the controller resolves them, which is a client as well.
Resolved = t.Mapping[str, t.Sequence[str]]

_EVERY = {4: checks.ANY_ADDRESS, 6: "::"}


class Choice(t.NamedTuple):
    """The address to listen on, and what its user should know about it."""

    address: str
    warnings: t.List[str]


def needed(names: t.Sequence[str], own: t.Sequence[str], default: t.Optional[str], resolved: Resolved) -> t.List[str]:
    """Those of its ``own`` addresses by which clients come. Where the names mean none of them, as behind a translation, its ``default`` one."""
    found: t.List[str] = []
    for name in names:
        if checks.is_ip(name):
            found += [name] if name in own or network.is_loopback(name) else []
            continue
        for address in resolved.get(name, ()):
            if address in own or name == "localhost":
                found.append(address)
            elif network.is_loopback(address) and default:
                # The name that a machine has for itself. Others come by another address.
                found += [address, default]
    found = found or ([default] if default else [])
    return list(dict.fromkeys(str(ipaddress.ip_address(address)) for address in found))


def choose(variables: t.Mapping[str, t.Any], observed: t.Mapping[str, t.Any], resolved: Resolved) -> Choice:
    """``variables`` are those of role kuma_cp without their prefix, ``observed`` is the ``host`` of proxy_info."""
    wish, port = str(variables["https_address"]), variables["https_port"]
    names = [str(name) for name in variables["names"]]
    own = list(observed.get("addresses") or [])
    wanted = needed(names, own, observed.get("default_address"), resolved)
    if wish:
        return Choice(wish, [_without_need(wish, wanted[0])] if checks.is_wildcard(wish) and len(wanted) == 1 else [])
    if len(wanted) != 1:
        return Choice(_EVERY[max((ipaddress.ip_address(address).version for address in wanted), default=4)], [])
    address = wanted[0]
    was_open = any(one["port"] == port and checks.is_wildcard(one["address"]) for one in observed.get("listening") or [])
    return Choice(address, [_closed(address, [other for other in own if other != address])] if was_open else [])


def _without_need(wish: str, address: str) -> str:
    return (
        f"kuma_cp_https_address is {wish}, so that the API is offered on all addresses, while kuma_cp_names need {address} alone: leave it out, "
        "unless you want that"
    )


def _closed(address: str, others: t.Sequence[str]) -> str:
    lost = f" Whoever reaches it at {', '.join(others)} is refused from now on." if others else ""
    return (
        f"kuma_cp_https_address is not set, and the API was offered on all addresses: now it is on {address} alone, which kuma_cp_names mean.{lost} "
        "Programs on this VM have to use that address as well. To have it as it was, set kuma_cp_https_address to 0.0.0.0, or name what else is "
        "used in kuma_cp_names"
    )
