# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Connections that are there within a time, name and all. Standard library only."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
import typing as t

OUT_OF_TIME = "it was not resolved in time"


class Address(t.NamedTuple):
    """One place where a host may be: the family of its socket, and what that is connected to."""

    family: int
    where: t.Tuple[t.Any, ...]

    @property
    def text(self) -> str:
        return str(self.where[0])


def resolve(host: str, port: int, seconds: float) -> t.List[Address]:
    """Every address of ``host``, in the order of the resolver.

    Raises socket.gaierror when it has none, and socket.timeout when the resolver did not say so within ``seconds``.
    """
    answers: t.Any = queue.Queue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as exc:
            answers.put(exc)

    if is_address(host):
        ask()
    else:
        # Nothing ends a resolver that waits for its servers. The thread ends with it, or with the process.
        threading.Thread(target=ask, daemon=True).start()
    try:
        found = answers.get(timeout=max(seconds, 0.0))
    except queue.Empty:
        raise socket.timeout(OUT_OF_TIME) from None
    if isinstance(found, UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, "it is no name of a host")
    if isinstance(found, Exception):
        raise found
    return list(dict.fromkeys(Address(family, where) for family, _type, _proto, _name, where in found))


def dial(address: Address, seconds: float, options: t.Iterable[t.Tuple[int, int, int]] = ()) -> socket.socket:
    """A connection to one address. Raises OSError, of which socket.timeout is one."""
    opened = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        for option in options:
            opened.setsockopt(*option)
        # A time of zero would mean not to wait at all.
        opened.settimeout(max(seconds, 0.001))
        opened.connect(address.where)
    except BaseException:
        opened.close()
        raise
    return opened


def connect(host: str, port: int, seconds: float, options: t.Iterable[t.Tuple[int, int, int]] = ()) -> socket.socket:
    """A connection to the first address of ``host`` that takes one, all within ``seconds``: one that is silent leaves time for the next.

    Raises OSError.
    """
    end = time.monotonic() + seconds
    addresses = resolve(host, port, seconds)
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "it has no address")
    for index, address in enumerate(addresses):
        left = end - time.monotonic()
        if left <= 0:
            break
        try:
            return dial(address, left / (len(addresses) - index), options)
        except OSError as exc:
            failure = exc
    raise failure


def is_address(host: str) -> bool:
    """Whether there is nothing to resolve. An address of version 6 may name its interface, as in ``fe80::1%eth0``."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether what is sent there does not leave this machine."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    return is_address(host) and ipaddress.ip_address(host.partition("%")[0]).is_loopback
