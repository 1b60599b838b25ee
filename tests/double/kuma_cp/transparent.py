# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Envoy listens on when the connections of its VM are redirected to it."""

from __future__ import annotations

from .xds import TYPES, Json, filter_of, listener, socket_address

# Where connections that no listener wants go.
REFUSED = "inbound:refused"
PASSTHROUGH = {"INBOUND": "inbound:passthrough", "OUTBOUND": "outbound:passthrough"}
# The rules leave alone what comes from here.
INBOUND_SOURCE = "127.0.0.6"


def insists(mesh: Json) -> bool:
    """Whether a mesh insists on mTLS by its own certificate authority. That alone is asked here, and no policy."""
    mtls = mesh.get("mtls") or {}
    enabled = [backend for backend in mtls.get("backends") or [] if backend.get("name") == mtls.get("enabledBackend")]
    return any(backend.get("mode", "STRICT") == "STRICT" for backend in enabled)


def configure(resources: dict[str, dict[str, Json]], redirect: Json, strict: bool) -> None:
    """Adds the two listeners that everything is redirected to; the others no longer listen themselves.

    `strict`: inbound connections get to declared ports alone, which is so from 2.13 on in a mesh that insists on mTLS.
    """
    inbound, outbound = redirect.get("redirectPortInbound", 0), redirect.get("redirectPortOutbound", 0)
    for name, found in resources["lds"].items() if inbound else []:
        if name.startswith("inbound:"):
            found["bind_to_port"] = False
    for port, name, cluster, direction in (
        (inbound, "inbound:transparent", REFUSED if strict else PASSTHROUGH["INBOUND"], "INBOUND"),
        (outbound, "outbound:transparent", PASSTHROUGH["OUTBOUND"], "OUTBOUND"),
    ):
        if not port:
            continue
        virtual = listener(name, socket_address("0.0.0.0", port), filter_of("tcp", name, cluster, "0s"), direction)
        resources["lds"][name] = {**virtual, "use_original_dst": True}
    resources["cds"][REFUSED] = {"@type": TYPES["cds"], "name": REFUSED, "type": "STATIC", "connect_timeout": "1s"}
    for name in PASSTHROUGH.values():
        resources["cds"][name] = {
            "@type": TYPES["cds"],
            "name": name,
            "type": "ORIGINAL_DST",
            "lb_policy": "CLUSTER_PROVIDED",
            "connect_timeout": "5s",
        }
    source = {"address": INBOUND_SOURCE, "port_value": 0}
    resources["cds"][PASSTHROUGH["INBOUND"]]["upstream_bind_config"] = {"source_address": source}
