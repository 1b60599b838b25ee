# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zone proxies of 2.x: ZoneIngress and ZoneEgress, which belong to no mesh and prove themselves with the token of their zone."""

from __future__ import annotations

import json
from typing import Any

from .schema import Reader, listing, mapping, message, number, text
from .validation import Violations, address_violations, port_violations

# The stream of a zone proxy is kept like that of a Dataplane, under a mesh that no Mesh can be called.
MESHES = {"!ingress": "ZoneIngress", "!egress": "ZoneEgress"}
SCOPES = {"ZoneIngress": "ingress", "ZoneEgress": "egress"}
# The lists of overviews have older names too, each after rules of its own.
OLD_OVERVIEWS = {"zoneingresses+insights": "ZoneIngress", "zoneegressoverviews": "ZoneEgress"}
_FIELDS = {"ZoneIngress": ("zoneIngress", "zoneIngressInsight"), "ZoneEgress": ("zoneEgress", "zoneEgressInsight")}


def mesh_of(kind: str) -> str:
    """The mesh under which the stream of such a proxy is kept; empty for other kinds."""
    return next((mesh for mesh, name in MESHES.items() if name == kind), "")


def fields(kind: str) -> tuple[str, str]:
    """The names of the resource and of its insight in an overview."""
    return _FIELDS.get(kind, ("dataplane", "dataplaneInsight"))


def reader(kind: str) -> Reader:
    """What of such a resource is kept."""
    networking: dict[str, Reader] = {"address": text}
    if kind == "ZoneIngress":
        networking.update(advertisedAddress=text, port=number, advertisedPort=number)
    networking.update(port=number, admin=message({"port": number}))
    known: dict[str, Reader] = {"zone": text, "networking": message(networking)}
    if kind == "ZoneIngress":
        service = {"tags": mapping(text), "instances": number, "mesh": text}
        known["availableServices"] = listing(message(service))
    return message(known)


def violations(kind: str, spec: dict[str, Any]) -> Violations:
    networking = spec.get("networking") or {}
    found: Violations = []
    address, port = networking.get("address", ""), networking.get("port", 0)
    if "admin" in networking and networking["admin"].get("port", 0) == port and address in ("127.0.0.1", "0.0.0.0", "::"):
        found.append(("networking.admin.port", "must differ from port"))
    advertised, advertised_port = networking.get("advertisedAddress", ""), networking.get("advertisedPort", 0)
    if advertised_port and not advertised:
        found.append(("networking.advertisedAddress", "has to be defined with advertisedPort"))
    if advertised and not advertised_port:
        found.append(("networking.advertisedPort", "has to be defined with advertisedAddress"))
    if address:
        found += address_violations("networking.address", address)
    if advertised:
        found += address_violations("networking.advertisedAddress", advertised)
    found += port_violations("networking.port", port)
    if advertised_port:
        found += port_violations("networking.advertisedPort", advertised_port)
    return found


def token_fault(kind: str, claims: dict[str, Any], zone: str) -> str:
    """Why a token with these claims does not admit such a proxy to `zone`; empty when it does."""
    scope, given = SCOPES[kind], claims.get("Scope") or []
    if scope not in given:
        return f"token cannot be used to authenticate zone entity ({scope} is out of token's scope: {json.dumps(given)})"
    if claims.get("Zone") and claims["Zone"] != zone:
        return f"zone from requestor: {zone} is different than in token: {claims['Zone']}"
    return ""
