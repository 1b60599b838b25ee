# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of this machine is in the way of a lab: networks that overlap its own, and ports that others listen on. Looks at nothing itself."""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.lab.settings import PORTS, Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# The state of a socket in /proc/net/tcp.
LISTEN = "0A"
# As wide as the network of a lab. A wider one leads to many places, of which a lab hides a part; the lab itself works.
WIDTH = 16


@dataclass(frozen=True)
class Used:
    """Addresses that a device or a route of this machine uses."""

    network: ipaddress.IPv4Network
    what: str


@dataclass(frozen=True)
class Listener:
    """A TCP socket that waits for connections. The kernel knows it by its inode, which leads to its process."""

    address: Address
    port: int
    inode: int


@dataclass(frozen=True)
class Machine:
    """Everything of a machine that labs can collide with."""

    networks: list[Used] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)


def devices(text: str) -> list[Used]:
    """The networks of `ip -json address`, of wide ones the device's own address. The two ends of a tunnel need not be in one network; both are used."""
    found = []
    for device in json.loads(text):
        for item in device.get("addr_info", []):
            if item.get("family") != "inet":
                continue
            what = f"network device {device['ifname']} has {item['local']}/{item['prefixlen']}"
            narrow = "address" not in item and item["prefixlen"] >= WIDTH
            found.append(Used(_network(item["local"], item["prefixlen"] if narrow else 32), what))
            if "address" in item:
                found.append(Used(_network(item["address"], item["prefixlen"]), f"{what} with {item['address']} at its other end"))
    return found


def routes(text: str) -> list[Used]:
    """The networks of `ip -4 -json route`, without those of the kernel, which `devices` finds, and wider ones."""
    found = []
    for item in json.loads(text):
        if item.get("protocol") == "kernel" or item["dst"] == "default":
            continue
        network = ipaddress.IPv4Network(item["dst"])
        if network.prefixlen >= WIDTH:
            found.append(Used(network, f"there is a route to {item['dst']}{_way(item)}"))
    return found


def listeners(text: str) -> list[Listener]:
    """The sockets of /proc/net/tcp or /proc/net/tcp6 that listen."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if fields[3] == LISTEN:
            address, port = fields[1].split(":")
            found.append(Listener(_address(address), int(port, 16), int(fields[9])))
    return found


def conflicts(settings: Settings, machine: Machine, everywhere: bool, process: Callable[[Listener], str]) -> list[str]:
    """What is in the way of this lab, one line each.

    A port that is taken on another address is in the way only if the control plane listens `everywhere`. `process` names who
    listens; it is asked for those alone that are in the way.
    """
    found = [f"{used.what}, where the lab wants {settings.network}" for used in machine.networks if used.network.overlaps(settings.network)]
    wanted, own = {settings.port(base): what for base, what in PORTS.items()}, ipaddress.ip_address(settings.controller_address)
    for listener in machine.listeners:
        if listener.port in wanted and (everywhere or listener.address.is_unspecified or listener.address == own):
            place = f"[{listener.address}]" if listener.address.version == 6 else listener.address
            found.append(f"{process(listener)} listens on {place}:{listener.port}, which the lab wants for {wanted[listener.port]}")
    return list(dict.fromkeys(found))


def _network(address: str, prefix: int) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(f"{address}/{prefix}", strict=False)


def _way(route: dict[str, Any]) -> str:
    words = [f" through {route['gateway']}"] if "gateway" in route else []
    words += [f" on {route['dev']}"] if "dev" in route else []
    words += [f" in table {route['table']}"] if "table" in route else []
    return "".join(words)


def _address(text: str) -> Address:
    """The kernel writes words of 32 bits as numbers of this machine."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))
    return getattr(address, "ipv4_mapped", None) or address
