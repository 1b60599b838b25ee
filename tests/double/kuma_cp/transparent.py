# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Envoy listens on when the connections of its VM are redirected to it."""

from __future__ import annotations

from .xds import TYPES, Json, filter_of, listener, socket_address

# Where connections that no listener wants go. From 2.13 on inbound ones go nowhere: only declared ports are let in.
REFUSED = "inbound:refused"
PASSTHROUGH = "outbound:passthrough"


def configure(resources: dict[str, dict[str, Json]], redirect: Json) -> None:
    """Adds the two listeners that everything is redirected to; the others no longer listen themselves."""
    inbound, outbound = redirect.get("redirectPortInbound", 0), redirect.get("redirectPortOutbound", 0)
    for name, found in resources["lds"].items() if inbound else []:
        if name.startswith("inbound:"):
            found["bind_to_port"] = False
    for port, name, cluster, direction in (
        (inbound, "inbound:transparent", REFUSED, "INBOUND"),
        (outbound, "outbound:transparent", PASSTHROUGH, "OUTBOUND"),
    ):
        if not port:
            continue
        virtual = listener(name, socket_address("0.0.0.0", port), filter_of("tcp", name, cluster, "0s"), direction)
        resources["lds"][name] = {**virtual, "use_original_dst": True}
    resources["cds"][REFUSED] = {"@type": TYPES["cds"], "name": REFUSED, "type": "STATIC", "connect_timeout": "1s"}
    resources["cds"][PASSTHROUGH] = {
        "@type": TYPES["cds"],
        "name": PASSTHROUGH,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "5s",
    }
