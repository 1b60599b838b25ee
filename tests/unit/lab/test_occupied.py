# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in the way of a lab is found in what `ip` and the kernel say, and nothing else is."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import sys

import pytest

from tests.lab import machine, occupied, settings
from tests.lab.occupied import Listener, Machine, Used
from tests.lab.settings import Settings

# What `ip -4 -json` says; devices without an address are empty objects in some versions of it.
ADDRESSES = json.dumps(
    [
        {},
        {"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
        {"ifname": "eth0", "addr_info": [{"family": "inet", "local": "10.78.3.4", "prefixlen": 20}]},
        {"ifname": "eth1", "addr_info": [{"family": "inet6", "local": "fd00::2", "prefixlen": 64}]},
        {"ifname": "tun0", "addr_info": [{"family": "inet", "local": "10.79.0.2", "address": "10.80.0.1", "prefixlen": 24}]},
    ]
)
ROUTES = json.dumps(
    [
        {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0", "flags": []},
        {"dst": "default", "flags": [], "nexthops": [{"gateway": "192.0.2.1", "dev": "eth0", "weight": 1, "flags": []}]},
        {"dst": "0.0.0.0/1", "gateway": "192.0.2.2", "dev": "tun0", "flags": []},
        {"dst": "10.78.0.0/20", "dev": "eth0", "protocol": "kernel", "scope": "link", "prefsrc": "10.78.3.4", "flags": []},
        {"type": "broadcast", "dst": "10.78.15.255", "dev": "eth0", "table": "local", "protocol": "kernel", "flags": []},
        {"dst": "10.81.0.5", "gateway": "192.0.2.3", "dev": "tun0", "table": "52", "flags": []},
        {"type": "blackhole", "dst": "10.82.0.0/16", "flags": []},
    ]
)
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 04034D0A:1631 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3746055 1 0000000086a41f76 100 0 0 10 0
   1: 0100007F:1632 0100007F:A1B2 01 00000000:00000000 00:00000000 00000000     0        0 3746058 1 0000000086a41f76 100 0 0 10 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0000000000000000FFFF000004034D0A:1633 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 3746057 1
   1: 00000000000000000000000000000000:1632 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 3746056 1
"""


def conflicts(number: int, *networks: Used, listening: tuple[tuple[str, int], ...] = (), everywhere: bool = False) -> list[str]:
    sockets = [Listener(ipaddress.ip_address(address), port, inode) for inode, (address, port) in enumerate(listening, 1)]
    return occupied.conflicts(Settings(number), Machine(list(networks), sockets), everywhere, lambda listener: f"process {listener.inode}")


def used(network: str) -> Used:
    return Used(ipaddress.IPv4Network(network), "somebody")


def test_networks_of_devices_are_read() -> None:
    found = {used.what: str(used.network) for used in occupied.devices(ADDRESSES)}
    assert found == {
        "network device lo has 127.0.0.1/8": "127.0.0.1/32",
        "network device eth0 has 10.78.3.4/20": "10.78.0.0/20",
        "network device tun0 has 10.79.0.2/24": "10.79.0.2/32",
        "network device tun0 has 10.79.0.2/24 with 10.80.0.1 at its other end": "10.80.0.0/24",
    }


def test_routes_are_read_without_those_that_devices_have_and_wider_ones() -> None:
    assert [(str(used.network), used.what) for used in occupied.routes(ROUTES)] == [
        ("10.81.0.5/32", "there is a route to 10.81.0.5 through 192.0.2.3 on tun0 in table 52"),
        ("10.82.0.0/16", "there is a route to 10.82.0.0/16"),
    ]


@pytest.mark.skipif(sys.byteorder != "little", reason="the kernel would have written the addresses the other way round")
def test_listening_sockets_are_read() -> None:
    found = [(str(item.address), item.port, item.inode) for item in occupied.listeners(TCP) + occupied.listeners(TCP6)]
    assert found == [("10.77.3.4", 5681, 3746055), ("10.77.3.4", 5683, 3746057), ("::", 5682, 3746056)]


def test_networks_are_in_the_way_of_every_lab_that_they_overlap() -> None:
    networks = occupied.devices(ADDRESSES) + occupied.routes(ROUTES)
    taken = {number: conflicts(number, *networks) for number in range(10)}
    assert [number for number, found in taken.items() if not found] == [0, 6, 7, 8, 9]
    assert taken[1] == ["network device eth0 has 10.78.3.4/20, where the lab wants 10.78.0.0/16"]
    assert len(taken[5]) == 1


def test_a_network_wider_than_that_of_a_lab_leaves_room_for_it() -> None:
    networks = occupied.routes(json.dumps([{"dst": "10.0.0.0/8", "dev": "tun0"}]))
    wide = {"ifname": "eth0", "addr_info": [{"family": "inet", "local": "10.78.3.4", "prefixlen": 8}]}
    networks += occupied.devices(json.dumps([wide]))
    assert [number for number in range(10) if conflicts(number, *networks)] == [1], "the address itself is in the way"


def test_a_neighbouring_network_is_not_in_the_way() -> None:
    assert conflicts(1, used("10.77.0.0/16"), used("10.79.0.0/16")) == []


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.78.0.1"])
def test_a_port_of_the_lab_is_in_the_way(address: str) -> None:
    [found] = conflicts(1, listening=((address, 5781),))
    shown = f"[{address}]" if ":" in address else address
    assert found == f"process 1 listens on {shown}:5781, which the lab wants for the API over HTTP"


def test_ports_of_others_are_not_in_the_way() -> None:
    others = (("127.0.0.1", 5781), ("10.77.0.1", 5781), ("0.0.0.0", 5681), ("::", 5784))
    assert conflicts(1, listening=others) == []


def test_a_real_control_plane_wants_its_ports_on_all_addresses() -> None:
    [found] = conflicts(1, listening=(("127.0.0.1", 5781),), everywhere=True)
    assert "127.0.0.1:5781" in found


def test_every_port_of_a_lab_is_looked_after() -> None:
    listening = tuple(("0.0.0.0", Settings(3).port(base)) for base in settings.PORTS)
    assert len(conflicts(3, listening=listening)) == len(settings.PORTS) == 8
    with pytest.raises(ValueError, match="5699"):
        Settings(0).port(5699)


def test_this_machine_can_be_looked_at() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        found = machine.look()
        [own] = [item for item in found.listeners if item.port == listening.getsockname()[1] and str(item.address) == "127.0.0.1"]
        assert machine.process(own).startswith(f"process {os.getpid()} (")
    assert "127.0.0.1/32" in {str(item.network) for item in found.networks}
