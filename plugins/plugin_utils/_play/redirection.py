# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What is redirected to the proxy of a VM, by the options of role kuma_transparent_proxy. Pure functions."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._zone.inventory import DEFAULT_PORTS

Json = t.Dict[str, t.Any]


def options(own: Json, gateways: t.Iterable[t.Any], zone_proxies: t.Sequence[Json]) -> Json:
    """The options as the plan of a join and module transparent_proxy take them.

    ``own`` are ``options.TRANSPARENT``, ``gateways`` what the proxies of the VM say about theirs, ``zone_proxies`` ``[{type, port}]`` of those
    that the VM has. Clients call the program of a gateway, not its Envoy; other zones call a zone proxy directly.
    """
    return {
        **own,
        "redirect_inbound": own["redirect_inbound"] and not any(gateways),
        "exclude_inbound_ports": [*own["exclude_inbound_ports"], *_zone_ports(zone_proxies)],
    }


def _zone_ports(zone_proxies: t.Sequence[Json]) -> t.List[str]:
    known = [proxy for proxy in zone_proxies if proxy.get("type") in DEFAULT_PORTS]
    unset = [DEFAULT_PORTS[proxy["type"]] for proxy in known if not proxy.get("port")]
    return [str(port) for port in [*unset, *(proxy["port"] for proxy in known if proxy.get("port"))]]


def undone(host: str, why: str, reachable: bool) -> str:
    """What is said of a VM whose rules nobody could confirm, because of ``why``."""
    return (
        f"{host}: the VM has undone the rules of the transparent proxy by itself: {why}{'' if reachable else '. It cannot be reached yet'}. "
        "Name every port of sshd in kuma_transparent_proxy_ssh_ports, and look for rules of others on this VM "
        "(journalctl -u kuma-transparent-proxy-rollback)."
    )
