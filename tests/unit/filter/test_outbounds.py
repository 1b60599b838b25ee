# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Outbound ports never move, never collide and never depend on the order of anything."""

from __future__ import annotations

import random

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.filter.outbounds import outbounds
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import outbound_ports

NAMES = st.text("abcdefghijklmnop-_.", min_size=1, max_size=8)
SERVICES = st.lists(NAMES, max_size=30)
PORTS = st.integers(10001, 10099)


def ports(result):
    return {item["service"]: item["port"] for item in result}


@st.composite
def situations(draw):
    """Services with existing ports and pins that do not contradict each other."""
    pins = draw(st.dictionaries(NAMES, PORTS, max_size=5))
    pins = {service: port for port, service in {port: service for service, port in pins.items()}.items()}
    free = {service: port for service, port in pins.items() if port not in outbound_ports.RESERVED_PORTS}
    return draw(SERVICES), draw(st.dictionaries(NAMES, st.integers(1, 65535), max_size=20)), free


@given(situations(), st.sets(PORTS, max_size=5))
def test_ports_are_distinct_in_range_and_off_reserved_ports(situation, reserved):
    services, existing, pins = situation
    reserved -= set(pins.values())
    result = outbounds(services, "10001-10099", existing, pins, sorted(reserved))
    assert [item["service"] for item in result] == sorted(set(services))
    found = [item["port"] for item in result]
    assert len(set(found)) == len(found)
    assert all(10001 <= port <= 10099 for port in found)
    assert not set(found) & (reserved | outbound_ports.RESERVED_PORTS)
    assert all(set(item) == {"service", "address", "port"} and item["address"] == "127.0.0.1" for item in result)


@given(situations(), st.randoms())
def test_the_order_of_the_input_does_not_matter(situation, shuffler: random.Random):
    services, existing, pins = situation
    before = outbounds(services, "10001-10099", existing, pins)
    shuffled = list(services)
    shuffler.shuffle(shuffled)
    items = list(existing.items())
    shuffler.shuffle(items)
    assert outbounds(shuffled, "10001-10099", dict(items), dict(reversed(list(pins.items())))) == before


@given(situations(), SERVICES, st.data())
def test_adding_and_removing_services_moves_no_other(situation, added, data):
    services, existing, pins = situation
    held = ports(outbounds(services, "10001-10099", existing, pins))
    removed = data.draw(st.sets(st.sampled_from(sorted(held)))) if held else set()
    after = ports(outbounds([*(set(services) - removed), *added], "10001-10099", held, pins))
    assert {service: port for service, port in after.items() if service in held} == {
        service: held[service] for service in after if service in held
    }


@given(situations())
def test_pins_come_first_and_existing_ports_second(situation):
    services, existing, pins = situation
    result = ports(outbounds(services, "10001-10099", existing, pins))
    for service, port in result.items():
        if service in pins:
            assert port == pins[service]
        elif list(existing.values()).count(existing.get(service)) == 1 and existing[service] not in pins.values():
            usable = 10001 <= existing[service] <= 10099 and existing[service] not in outbound_ports.RESERVED_PORTS
            assert not usable or port == existing[service]


@given(st.integers(1, 40))
def test_a_range_can_be_filled_to_the_last_port_and_no_further(size):
    names = ["s%d" % number for number in range(size)]
    assert len(outbounds(names, [20001, 20000 + size])) == size
    with pytest.raises(AnsibleFilterError, match=r"full: %d services need a port, %d are free, none is left for zz" % (size + 1, size)):
        outbounds([*names, "zz"], [20001, 20000 + size])


def test_two_pins_on_one_port_name_both_services():
    with pytest.raises(AnsibleFilterError, match="services a and b are both pinned to port 10005"):
        outbounds(["a"], pins={"b": 10005, "a": 10005})


@pytest.mark.parametrize("port", sorted(port for port in outbound_ports.RESERVED_PORTS if 10001 <= port <= 19999))
def test_a_pin_on_a_reserved_port_is_refused(port):
    with pytest.raises(AnsibleFilterError, match="pinned to port %d, which is reserved" % port):
        outbounds(["a"], pins={"a": port})


def test_a_pin_outside_the_range_is_refused():
    with pytest.raises(AnsibleFilterError, match="pinned to port 20000, outside the outbound range 10001-19999"):
        outbounds(["a"], pins={"a": 20000})


@pytest.mark.parametrize("bad", ["10001", "2-1", "0-5", "1-70000", "a-b", [1], None])
def test_a_bad_range_is_named(bad):
    with pytest.raises(AnsibleFilterError, match="the outbound range"):
        outbounds(["a"], bad)


@pytest.mark.parametrize("bad", ["web", None, 5])
def test_services_must_be_a_list(bad):
    with pytest.raises(AnsibleFilterError, match="expected a list of services"):
        outbounds(bad)


def test_mappings_pin_and_hand_on():
    result = outbounds(
        [{"service": "b", "port": 12345, "tags": {"version": "2"}}, {"service": "a", "backend_ref": {"port": 80}}, "c"],
        existing={"b": 10001},
    )
    assert [item["service"] for item in result] == ["a", "b", "c"]
    assert result[0]["backend_ref"] == {"port": 80}
    assert result[1] == {"service": "b", "address": "127.0.0.1", "port": 12345, "tags": {"version": "2"}}


def test_contradicting_mappings_are_all_reported():
    with pytest.raises(AnsibleFilterError) as failure:
        outbounds([{"service": "a", "port": 10010}, {"service": "a", "port": 10011}, {"port": 5}, 7])
    assert "both port 10010 and port 10011" in str(failure.value)
    assert "{'port': 5}" in str(failure.value)
    assert "7 is neither" in str(failure.value)


def test_the_majority_decides_and_the_lower_port_breaks_a_tie():
    assert outbound_ports.majority([{"a": 2, "b": 9}, {"a": 1, "b": 9}, {"b": 3}]) == {"a": 1, "b": 9}


def test_ports_are_the_same_in_every_release():
    assert ports(outbounds(["backend", "redis", "web"])) == {"backend": 19524, "redis": 10065, "web": 19301}
