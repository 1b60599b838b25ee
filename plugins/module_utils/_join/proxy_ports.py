# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Ports that each kuma-dp of a VM needs for itself: admin, readiness and DNS. Pure functions."""

from __future__ import annotations

import typing as t

# What kuma-dp uses when nothing is set. A second proxy on the VM needs others (trap 35).
DEFAULT_PORTS: t.Dict[str, int] = {
    "admin": 9901,
    "readiness": 9902,
    "coredns": 15053,
    "envoy_dns": 15054,
    "dns_prometheus": 19153,
}

STEP = 10


def allocate(
    proxies: t.Sequence[t.Mapping[str, t.Any]],
    taken: t.AbstractSet[int] = frozenset(),
    series: t.Optional[t.Mapping[str, int]] = None,
) -> t.Dict[str, t.Dict[str, int]]:
    """Give every proxy of one VM its own ports.

    ``proxies`` are ``{name, pins: {kind: port}, current: {kind: port}}``; a pin wins over what the proxy uses now, which
    wins over the first free port of the series default, default + 10, ... of ``series`` (those of a Dataplane). ``taken`` are ports used by others.
    Returns ``{name: {kind: port}}``. Ports never depend on the order of the proxies once they are in use.
    """
    defaults = DEFAULT_PORTS if series is None else series
    result: t.Dict[str, t.Dict[str, int]] = {proxy["name"]: {} for proxy in proxies}
    used = set(taken)
    for source in ("pins", "current"):
        for proxy in proxies:
            for kind, port in sorted((proxy.get(source) or {}).items()):
                mine = result[proxy["name"]]
                if kind in defaults and kind not in mine and (source == "pins" or port not in used):
                    mine[kind] = int(port)
                    used.add(int(port))
    for proxy in proxies:
        for kind, default in defaults.items():
            if kind not in result[proxy["name"]]:
                port = default
                while port in used:
                    port += STEP
                result[proxy["name"]][kind] = port
                used.add(port)
    return result
