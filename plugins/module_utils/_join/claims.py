# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Who listens on a VM, or will: ports that two want, and ports that somebody else has already. Pure functions."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks

Proxy = t.Mapping[str, t.Any]

# Programs whose listening sockets are the mesh's own.
OWN_PROCESSES = frozenset({"envoy", "kuma-dp", "coredns"})


class Claim(t.NamedTuple):
    """Somebody on a VM who listens, or will. Applications may share a socket with each other, nobody else may."""

    address: str
    port: int
    what: str
    application: bool = False

    def collides(self, other: Claim) -> bool:
        if self.port != other.port or (self.application and other.application):
            return False
        wildcard = checks.is_wildcard(self.address) or checks.is_wildcard(other.address)
        return wildcard or self.address == other.address


def of_applications(proxy: Proxy) -> t.List[Claim]:
    """Where the applications behind a proxy listen."""
    return [
        Claim(
            service.get("service_address") or "127.0.0.1",
            service.get("service_port") or service["port"],
            "the application behind %s" % service["name"],
            application=True,
        )
        for service in proxy["services"]
    ]


def of_proxy(proxy: Proxy) -> t.List[Claim]:
    """All that a proxy, whose ``outbounds`` are planned, and its applications listen on."""
    if proxy["transparent_proxy"]:
        # Envoy listens on two ports for everything; the ports of services are the application's own.
        return _of_redirection(proxy) + of_applications(proxy)
    inbounds = [
        Claim(
            service.get("address") or proxy["address"],
            service["port"],
            "inbound %s of %s" % (service["name"], proxy["name"]),
        )
        for service in proxy["services"]
    ]
    outbounds = [
        Claim(outbound["address"], outbound["port"], "outbound %s of %s" % (outbound["service"], proxy["name"]))
        for outbound in proxy["outbounds"]
    ]
    return inbounds + outbounds + of_applications(proxy)


def _of_redirection(proxy: Proxy) -> t.List[Claim]:
    wanted = proxy["transparent_proxy"]
    return [
        Claim(checks.ANY_ADDRESS, int(wanted[option]), "kuma_transparent_proxy_%s" % option)
        for option in ("redirect_inbound_port", "redirect_outbound_port")
        if checks.is_port(wanted.get(option))
    ]


def collisions(host: str, claims: t.Sequence[Claim]) -> t.Iterator[str]:
    """A sentence for each two claims of one VM that cannot both be had."""
    by_port: t.Dict[int, t.List[Claim]] = {}
    for claim in claims:
        for other in by_port.setdefault(claim.port, []):
            if claim.collides(other):
                yield (
                    "%s: port %d is claimed by %s and by %s, expected different ports: change one in kuma_dp_services, "
                    "kuma_dp_proxies or kuma_dp_outbound_pins" % (host, claim.port, other.what, claim.what)
                )
        by_port[claim.port].append(claim)


def taken(host: str, names: t.Collection[str], claims: t.Sequence[Claim], observed: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """A sentence for each claim of the proxies ``names`` whose port somebody else has on the VM. While one of them runs it may be its own."""
    running = {name for name, proxy in (observed.get("proxies") or {}).items() if (proxy.get("unit") or {}).get("active")}
    if running.intersection(names):
        return
    for socket in observed.get("listening") or []:
        if socket.get("process") in OWN_PROCESSES:
            continue
        listener = Claim(str(socket["address"]), int(socket["port"]), str(socket.get("process") or "another process"))
        for claim in claims:
            if not claim.application and claim.collides(listener):
                yield (
                    "%s: port %d of %s is taken by %s on %s, expected a free port: stop it, bind it to another address or "
                    "change the port" % (host, claim.port, claim.what, listener.what, listener.address)
                )
