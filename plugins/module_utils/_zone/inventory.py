# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What the inventory says about the zone proxies of one VM, checked and brought into one shape. Pure functions."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.reader import Reader
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone.resource import EGRESS, INGRESS, KINDS, Json

DEFAULT_PORTS = {INGRESS: 10001, EGRESS: 10002}
# Stands for the address of a VM that only the VM itself could tell, when it did not.
UNKNOWN_ADDRESS = "unknown.invalid"

_PROXY_KEYS = {
    "name", "type", "address", "port", "advertised_address", "advertised_port", "admin_port", "readiness_port",
}  # fmt: skip


def read(host: str, variables: t.Mapping[str, t.Any], model: str) -> t.Tuple[t.List[Json], t.List[str]]:
    """The zone proxies of one VM and every fault in its variables.

    ``variables`` are those of the role without their prefix. With an empty ``proxies`` there is one, described by the flat variables.
    A proxy is ``{host, name, kind, zone, mesh, address, port, advertised_address, advertised_port, port_pins, field}``.
    """
    reader = Reader(host, model)
    explicit = variables.get("proxies")
    if not explicit:
        return [_proxy(reader, variables, variables, "kuma_zone_proxy_")], reader.problems
    proxies = []
    for index, value in enumerate(reader.items(explicit, "kuma_zone_proxy_proxies")):
        field = f"kuma_zone_proxy_proxies[{index}]"
        proxies.append(_proxy(reader, reader.mapping(value, field, _PROXY_KEYS), variables, field + "."))
    return proxies, reader.problems


def _proxy(reader: Reader, own: t.Mapping[str, t.Any], host: t.Mapping[str, t.Any], prefix: str) -> Json:
    kind = own.get("type")
    if kind not in KINDS:
        reader.fault(prefix + "type", kind, "ingress or egress")
        kind = INGRESS
    address = str(own.get("address") or host.get("address") or "")
    field = prefix + "address" if own.get("address") else "kuma_zone_proxy_address"
    if (address != UNKNOWN_ADDRESS and not checks.is_ip(address)) or checks.is_wildcard(address):
        reader.fault(field, address, "the IP address at which other VMs reach this one, not a wildcard")
    port = reader.port(own.get("port") or DEFAULT_PORTS[kind], prefix + "port")
    advertised = _advertised(reader, own, kind, prefix)
    pins = {}
    for which in ("admin", "readiness"):
        if own.get(which + "_port"):
            pin = reader.port(own[which + "_port"], f"{prefix}{which}_port")
            if pin is not None:
                pins[which] = pin
    return {
        "host": reader.host,
        "name": reader.name(own.get("name"), prefix + "name"),
        "kind": kind,
        "zone": reader.loose_name(host["zone"], "kuma_zone_proxy_zone") if host.get("zone") else "",
        "mesh": reader.loose_name(host.get("mesh") or "default", "kuma_dp_mesh"),
        "address": address,
        "port": port or 0,
        "advertised_address": advertised[0],
        "advertised_port": advertised[1],
        "port_pins": pins,
        "field": prefix,
    }


def _advertised(reader: Reader, own: t.Mapping[str, t.Any], kind: str, prefix: str) -> t.Tuple[str, t.Optional[int]]:
    """Where other zones reach an ingress. The control plane wants both or none, and does not know them for an egress (trap 41)."""
    address, number = str(own.get("advertised_address") or ""), own.get("advertised_port") or None
    port = reader.port(number, prefix + "advertised_port") if number is not None else None
    for what, value in (("advertised_address", address), ("advertised_port", number)):
        if value and kind == EGRESS:
            reader.fault(prefix + what, value, "nothing: only an ingress is called from other zones")
        elif value and reader.model == "v3":
            reader.fault(
                prefix + what, value, "nothing: from 3.0 on the control plane drops it, a MeshZoneAddress says where a zone is reached"
            )
    if bool(address) != (number is not None) and kind == INGRESS:
        missing = "advertised_port" if address else "advertised_address"
        reader.fault(prefix + missing, None, "both of advertised_address and advertised_port, or none")
    if address:
        reader.address(address, prefix + "advertised_address")
    return address, port
