# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Outbound port allocation: which local port an application uses to call a service.

An application calls ``127.0.0.1:<port>``, so a port that exists must never move. Pure functions.
"""

from __future__ import annotations

import hashlib
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some

LOOPBACK = "127.0.0.1"

# Ports that Kuma's own components and agents found on many VMs listen on. They are never handed out, whatever the range.
RESERVED_PORTS: t.FrozenSet[int] = frozenset(
    {
        # Kuma and Envoy: admin, readiness, transparent proxy, DNS, CoreDNS metrics, probe proxy of 2.9
        9901, 9902, 9001, 15000, 15001, 15006, 15010, 15020, 15021, 15053, 15054, 15090, 19153,
        # monitoring and log agents
        5666, 8125, 8126, 9090, 9100, 10050, 10051, 13133, 14250, 14268, 14269, 16686, 19999, 24224, 4317, 4318,
        # common local services
        22, 53, 2375, 2376, 4789, 5432, 5672, 6379, 8500, 8600, 10250, 10255, 10256, 11211, 15672, 27017,
    }
)  # fmt: skip


class OutboundError(ValueError):
    """The services cannot all get a port. ``problems`` holds one sentence each, all of them."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


class PortPool:
    """The free ports of an inclusive range.

    Finding the next free port follows links that are shortened as they are used, so that filling a whole range stays
    linear; probing port by port would be quadratic when the range is nearly full.
    """

    def __init__(self, low: int, high: int, blocked: t.Iterable[int]) -> None:
        self.low, self.high = low, high
        self._next: t.Dict[int, int] = {}
        self.free = high - low + 1
        for port in blocked:
            self.take(port)

    def is_free(self, port: int) -> bool:
        return self.low <= port <= self.high and port not in self._next

    def take(self, port: int) -> None:
        if self.is_free(port):
            self._next[port] = port + 1
            self.free -= 1

    def first_free(self, start: int) -> int:
        """The first free port at or after ``start``, wrapping around once. The caller checks ``free`` first."""
        port = self._follow(start)
        return port if port <= self.high else self._follow(self.low)

    def _follow(self, port: int) -> int:
        path = []
        while port in self._next:
            path.append(port)
            port = self._next[port]
        for passed in path:
            self._next[passed] = port
        return port


def parse_range(value: t.Union[str, t.Sequence[int]]) -> t.Tuple[int, int]:
    """``'10001-19999'`` or ``[10001, 19999]`` to ``(low, high)``, both inclusive. Raises OutboundError."""
    try:
        if isinstance(value, str):
            low_text, high_text = value.split("-")
            low, high = int(low_text), int(high_text)
        else:
            low, high = (int(port) for port in value)
    except (TypeError, ValueError):
        raise OutboundError(["the outbound range is %r, expected two ports such as '10001-19999'" % (value,)]) from None
    if not 1 <= low <= high <= 65535:
        raise OutboundError(["the outbound range %d-%d is not within 1-65535 with the lower port first" % (low, high)])
    return low, high


def hashed_start(service: str, low: int, high: int) -> int:
    """Where probing for ``service`` starts. Depends on the name and the range alone."""
    digest = hashlib.sha256(service.encode("utf-8")).digest()
    return low + int.from_bytes(digest[:8], "big") % (high - low + 1)


def allocate(
    services: t.Iterable[str],
    port_range: t.Union[str, t.Sequence[int]] = "10001-19999",
    existing: t.Sequence[t.Mapping[str, int]] = (),
    pins: t.Optional[t.Mapping[str, int]] = None,
    reserved: t.Iterable[int] = (),
) -> t.Dict[str, int]:
    """Give every service a port of its own.

    ``services`` are names, in any order. ``existing`` is a sequence of ``{service: port}`` in falling precedence (what
    this VM uses now, what the fleet uses). ``pins`` are the user's choices and come before both; ``reserved`` adds to
    RESERVED_PORTS. Ports of services that are not asked for stay taken, so that they can come back.

    Returns ``{service: port}``. Raises OutboundError with every problem found: a pin outside the range or on a reserved
    port, two services pinned to one port, a range without enough ports.
    """
    wanted = sorted(set(services))
    pinned = {service: int(port) for service, port in (pins or {}).items()}
    low, high = parse_range(port_range)
    blocked = RESERVED_PORTS.union(int(port) for port in reserved)
    problems = _pin_problems(pinned, low, high, blocked)
    if problems:
        raise OutboundError(problems)

    pool = PortPool(low, high, blocked)
    ports: t.Dict[str, int] = {}
    for layer in (pinned, *existing):
        for service in sorted(layer):
            port = int(layer[service])
            if service not in ports and pool.is_free(port):
                ports[service] = port
                pool.take(port)
    missing = [service for service in wanted if service not in ports]
    if len(missing) > pool.free:
        raise OutboundError([_full_range(missing, pool, low, high)])
    for service in missing:
        ports[service] = pool.first_free(hashed_start(service, low, high))
        pool.take(ports[service])
    return {service: ports[service] for service in wanted}


def _pin_problems(pinned: t.Mapping[str, int], low: int, high: int, blocked: t.AbstractSet[int]) -> t.List[str]:
    problems = []
    holder: t.Dict[int, str] = {}
    for service in sorted(pinned):
        port = pinned[service]
        if not low <= port <= high:
            problems.append(
                "service %s is pinned to port %d, outside the outbound range %d-%d: widen the range or move the pin"
                % (service, port, low, high)
            )
        elif port in blocked:
            problems.append("service %s is pinned to port %d, which is reserved: choose another" % (service, port))
        elif port in holder:
            problems.append("services %s and %s are both pinned to port %d" % (holder[port], service, port))
        else:
            holder[port] = service
    return problems


def _full_range(missing: t.Sequence[str], pool: PortPool, low: int, high: int) -> str:
    unserved = missing[pool.free :]
    named = some(unserved, 5)
    return "the outbound range %d-%d is full: %d services need a port, %d are free, none is left for %s: widen the range" % (
        low,
        high,
        len(missing),
        pool.free,
        named,
    )


def majority(maps: t.Iterable[t.Mapping[str, int]]) -> t.Dict[str, int]:
    """The port most maps use for each service; the lower port wins a tie."""
    votes: t.Dict[str, t.Dict[int, int]] = {}
    for ports in maps:
        for service, port in ports.items():
            counts = votes.setdefault(service, {})
            counts[port] = counts.get(port, 0) + 1
    return {service: min(counts, key=lambda port: (-counts[port], port)) for service, counts in sorted(votes.items())}


def outbounds(
    services: t.Iterable[t.Union[str, t.Mapping[str, t.Any]]],
    port_range: t.Union[str, t.Sequence[int]] = "10001-19999",
    existing: t.Optional[t.Mapping[str, int]] = None,
    pins: t.Optional[t.Mapping[str, int]] = None,
    reserved: t.Iterable[int] = (),
) -> t.List[t.Dict[str, t.Any]]:
    """The outbound list of one VM, sorted by service.

    ``services`` are names or ``{service, port, tags, backend_ref}``, where ``port`` pins the local port. Each result is
    ``{service, address, port}``, with ``tags`` and ``backend_ref`` handed on where they were given. Raises OutboundError.
    """
    extras, merged_pins = _requests(services, pins or {})
    ports = allocate(extras, port_range, [existing or {}], merged_pins, reserved)
    return [{"service": service, "address": LOOPBACK, "port": port, **extras[service]} for service, port in ports.items()]


def _requests(
    services: t.Iterable[t.Union[str, t.Mapping[str, t.Any]]], pins: t.Mapping[str, int]
) -> t.Tuple[t.Dict[str, t.Dict[str, t.Any]], t.Dict[str, int]]:
    extras: t.Dict[str, t.Dict[str, t.Any]] = {}
    merged = dict(pins)
    problems = []
    for item in services:
        if isinstance(item, str):
            item = {"service": item}
        if not isinstance(item, t.Mapping) or not item.get("service"):
            problems.append("%r is neither the name of a service nor a mapping with the key service" % (item,))
            continue
        service = str(item["service"])
        if item.get("port") is not None:
            port = int(item["port"])
            if merged.setdefault(service, port) != port:
                problems.append("service %s is pinned to both port %d and port %d" % (service, merged[service], port))
        handed_on = {key: item[key] for key in ("tags", "backend_ref") if item.get(key)}
        if extras.setdefault(service, handed_on) != handed_on:
            problems.append("service %s is listed twice with different tags or backend_ref" % service)
    if problems:
        raise OutboundError(problems)
    return extras, merged
