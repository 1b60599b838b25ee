# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The VM itself, read from /proc and the standard library: processes, listening sockets, addresses, architecture."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.checks import is_ip

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_LISTEN = "0A"
_DELETED = " (deleted)"
# A documentation address: connecting a UDP socket to it sends nothing, but makes the kernel choose a source address.
_ANYWHERE = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))


def architecture(machine: str) -> str:
    """Kuma's name of an architecture as uname gives it; itself when Kuma has none."""
    return _ARCHITECTURES.get(machine, machine)


def lifecycle_of(environment: t.Mapping[str, str]) -> str:
    """``direct`` for a kuma-dp that is started with a Dataplane of its own, ``indirect`` for one that is given a name."""
    own = ("KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH", "KUMA_DATAPLANE_RUNTIME_RESOURCE")
    return "direct" if any(environment.get(key) for key in own) else "indirect"


class Processes:
    """The running processes. ``proc`` is the mount point of procfs, ``clock`` gives seconds since 1970."""

    def __init__(self, proc: str = "/proc", clock: t.Callable[[], float] = time.time) -> None:
        self.proc = proc
        self.clock = clock
        self._parents: t.Optional[t.Dict[int, t.List[int]]] = None

    def pids(self) -> t.List[int]:
        try:
            return [int(name) for name in os.listdir(self.proc) if name.isdigit()]
        except OSError:
            return []

    def _stat(self, pid: int) -> t.List[str]:
        """The fields of /proc/<pid>/stat after the name, which may hold blanks and brackets."""
        return self._read("%d/stat" % pid).rpartition(")")[2].split()

    def _read(self, name: str) -> str:
        try:
            with open(os.path.join(self.proc, name), encoding="utf-8", errors="replace") as handle:
                return handle.read()
        except OSError:
            return ""

    def children(self, pid: int) -> t.List[int]:
        if self._parents is None:
            parents: t.Dict[int, t.List[int]] = {}
            for process in self.pids():
                fields = self._stat(process)
                if len(fields) > 1:
                    parents.setdefault(int(fields[1]), []).append(process)
            self._parents = parents
        return self._parents.get(pid, [])

    def started(self, pid: int) -> t.Optional[float]:
        """When a process started, in seconds since 1970; None when it does not run."""
        fields = self._stat(pid)
        if len(fields) < 20:
            return None
        since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return round(self.clock() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot, 2)

    def boot(self) -> str:
        """What changes with each boot, also of a container, which may see the boot ID of its host."""
        return "%s-%s" % (self._read("sys/kernel/random/boot_id").strip(), (self._stat(1) + [""] * 20)[19])

    def program(self, pid: int) -> t.Tuple[str, bool]:
        """The program that a process runs, and whether that file is gone or replaced."""
        try:
            path = os.readlink(os.path.join(self.proc, str(pid), "exe"))
        except OSError:
            return "", False
        if path.endswith(_DELETED):
            return path[: -len(_DELETED)], True
        return path, False

    def listening(self) -> t.List[t.Dict[str, t.Any]]:
        """The listening TCP sockets: ``[{address, port, process}]``; the process is None where it cannot be seen."""
        sockets: t.Dict[t.Tuple[str, int], t.Optional[str]] = {}
        inodes: t.Dict[str, t.Tuple[str, int]] = {}
        for name in ("net/tcp", "net/tcp6"):
            for address, port, inode in parse_listening(self._read(name)):
                sockets.setdefault((address, port), None)
                inodes["socket:[%s]" % inode] = (address, port)
        for pid in self.pids() if inodes else []:
            for key in self._sockets(pid, inodes):
                sockets[key] = self._read("%d/comm" % pid).strip() or None
        return [{"address": key[0], "port": key[1], "process": process} for key, process in sorted(sockets.items(), key=_by_port)]

    def owned(self, pid: int) -> t.FrozenSet[t.Tuple[str, int]]:
        """Addresses and ports of the listening TCP sockets that a process holds."""
        inodes: t.Dict[str, t.Tuple[str, int]] = {}
        for name in ("net/tcp", "net/tcp6"):
            for address, port, inode in parse_listening(self._read(name)):
                inodes["socket:[%s]" % inode] = (address, port)
        return frozenset(self._sockets(pid, inodes))

    def owned_below(self, pid: int) -> t.FrozenSet[t.Tuple[str, int]]:
        """The same of all processes that descend from one."""
        # Whoever runs below a unit may be thousands of processes, each started by the one before.
        found: t.FrozenSet[t.Tuple[str, int]] = frozenset()
        left, seen = list(self.children(pid)), {pid}
        while left:
            child = left.pop()
            if child not in seen:
                seen.add(child)
                left.extend(self.children(child))
                found |= self.owned(child)
        return found

    def parent(self, pid: int) -> int:
        """The process that started it, or took it over; 0 when there is none."""
        fields = self._stat(pid)
        return int(fields[1]) if len(fields) > 1 else 0

    def environment(self, pid: int) -> t.Dict[str, str]:
        """What a process was started with; empty when that cannot be read."""
        pairs = (item.partition("=") for item in self._read("%d/environ" % pid).split("\0"))
        return {key: value for key, equals, value in pairs if equals}

    def resident(self, pid: int) -> int:
        """The memory that a process holds, in bytes."""
        return int(self._status(pid, "VmRSS") or 0) * 1024

    def user(self, pid: int) -> t.Optional[int]:
        """The effective UID of a process."""
        fields = self._read("%d/status" % pid).partition("\nUid:")[2].split("\n", 1)[0].split()
        return int(fields[1]) if len(fields) > 1 else None

    def _status(self, pid: int, key: str) -> str:
        value = self._read("%d/status" % pid).partition("\n%s:" % key)[2].split("\n", 1)[0]
        return (value.split() or [""])[0]

    def _sockets(self, pid: int, inodes: t.Mapping[str, t.Tuple[str, int]]) -> t.Iterator[t.Tuple[str, int]]:
        directory = os.path.join(self.proc, str(pid), "fd")
        try:
            descriptors = os.listdir(directory)
        except OSError:
            return
        for descriptor in descriptors:
            try:
                target = os.readlink(os.path.join(directory, descriptor))
            except OSError:
                continue
            if target in inodes:
                yield inodes[target]

    def memory_available(self) -> t.Optional[int]:
        for line in self._read("meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return None

    def addresses(self) -> t.List[str]:
        """The unicast addresses of this VM, loopback and link-local ones left out."""
        found = set()
        previous = ""
        for line in self._read("net/fib_trie").splitlines():
            # A local address is the line above "/32 host LOCAL".
            if line.strip().startswith("/32 host LOCAL"):
                found.add(previous.rpartition(" ")[2])
            previous = line
        for line in self._read("net/if_inet6").splitlines():
            digits = line.split(" ", 1)[0]
            if len(digits) == 32:
                found.add(str(ipaddress.IPv6Address(int(digits, 16))))
        usable = [ipaddress.ip_address(text) for text in found if is_ip(text)]
        usable = [address for address in usable if not (address.is_loopback or address.is_link_local or address.is_unspecified)]
        return [str(address) for address in sorted(usable, key=lambda address: (address.version, int(address)))]


def parse_listening(text: str) -> t.List[t.Tuple[str, int, str]]:
    """The listening sockets of /proc/net/tcp or tcp6: ``[(address, port, inode)]``."""
    result = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            address, _colon, port = fields[1].partition(":")
            result.append((_kernel_address(address), int(port, 16), fields[9]))
    return result


def _kernel_address(digits: str) -> str:
    """An address as the kernel prints it: words of 32 bits in the order of this machine."""
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    packed = struct.pack("=%dI" % len(words), *words)
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _by_port(item: t.Tuple[t.Tuple[str, int], t.Optional[str]]) -> t.Tuple[int, str]:
    return item[0][1], item[0][0]


def default_address(addresses: t.Sequence[str]) -> t.Optional[str]:
    """The address that this VM uses towards others: of its default route, else its first one, else None."""
    for target, family in _ANYWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                found = str(probe.getsockname()[0])
        except OSError:
            continue
        if found in addresses:
            return found
    return addresses[0] if addresses else None


def glibc_version() -> t.Optional[str]:
    try:
        name = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return None
    return name.split(" ")[-1] or None
