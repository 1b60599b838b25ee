# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The VM itself: sockets, addresses and processes as procfs shows them."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import host

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def kernel(address):
    """An address as /proc/net/tcp prints it on this machine."""
    packed = ipaddress.ip_address(address).packed
    words = [packed[start : start + 4] for start in range(0, len(packed), 4)]
    return "".join("%08X" % int.from_bytes(word, sys.byteorder) for word in words)


def row(address, port, state="0A", inode=1):
    return (
        f"   0: {kernel(address)}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 100\n"
    )


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_listening_socket_is_read_as_the_kernel_prints_it(address, port):
    expected = str(getattr(address, "ipv4_mapped", None) or address)
    assert host.parse_listening(HEADER + row(str(address), port, inode=77)) == [(expected, port, "77")]


def test_established_connections_do_not_listen():
    assert host.parse_listening(HEADER + row("10.0.0.1", 8080, state="01")) == []


def test_own_listening_socket_is_found_with_the_name_of_its_process():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = [entry for entry in host.Processes().listening() if entry["port"] == port]
    with open("/proc/self/comm") as handle:
        assert found == [{"address": "127.0.0.1", "port": port, "process": handle.read().strip()}]


def test_the_listening_sockets_of_a_process_are_its_own():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child,
    ):
        own = server.getsockname()[:2]
        processes = host.Processes()
        assert own in processes.owned(os.getpid())
        assert own not in processes.owned(child.pid)
        child.communicate(b"\n")
    assert own not in host.Processes().owned(os.getpid())


class Chain(host.Processes):
    """Processes that were each started by the one before; the last one seems to have started the first."""

    def __init__(self, length):
        super().__init__()
        self.length = length

    def children(self, pid):
        return [pid + 1] if pid < self.length else [1]

    def owned(self, pid):
        return frozenset([("127.0.0.1", pid)])


def test_sockets_are_found_below_as_many_processes_as_somebody_starts():
    assert Chain(5000).owned_below(1) == {("127.0.0.1", pid) for pid in range(2, 5001)}


def test_a_process_tells_its_environment_its_memory_and_its_user():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"A": "1=2", "B": ""}) as child:
        processes = host.Processes()
        deadline = time.monotonic() + 10
        # Right after it was started it may have no memory yet.
        while "A" not in processes.environment(child.pid) or processes.resident(child.pid) <= 1 << 20:
            assert time.monotonic() < deadline
        assert processes.environment(child.pid) == {"A": "1=2", "B": ""}
        assert processes.user(child.pid) == os.geteuid()
        pid = child.pid
        child.communicate(b"\n")
    assert (processes.environment(pid), processes.resident(pid), processes.user(pid), processes.owned(pid)) == ({}, 0, None, frozenset())


def test_addresses_leave_out_loopback_and_link_local_ones(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net/fib_trie").write_text(
        "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.77.0.11\n        /32 host LOCAL\n     |-- 10.77.255.255\n        /32 link BROADCAST\n"
        "     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 169.254.1.1\n        /32 host LOCAL\n"
    )
    (tmp_path / "net/if_inet6").write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\nfe800000000000000000000000000001 02 40 20 80     eth0\n"
        "20010db8000000000000000000000005 02 40 00 80     eth0\n"
    )
    assert host.Processes(str(tmp_path)).addresses() == ["10.77.0.11", "2001:db8::5"]


def test_the_start_of_a_process_is_told_in_seconds_since_1970():
    before = time.time()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        processes = host.Processes()
        started = processes.started(child.pid)
        assert child.pid in processes.children(os.getpid())
        child.communicate(b"\n")
    # The kernel counts in hundredths.
    assert before - 0.02 <= started <= time.time() + 0.02


def test_a_process_that_is_gone_has_no_start_and_no_program():
    processes = host.Processes()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert processes.started(child.pid) is None
    assert processes.program(child.pid) == ("", False)


def test_a_replaced_program_is_noticed(tmp_path):
    program = tmp_path / "sleep"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([str(program), "60"]) as child:
        try:
            processes = host.Processes()
            deadline = time.monotonic() + 10
            while processes.program(child.pid) != (str(program), False):
                assert time.monotonic() < deadline
            program.unlink()
            assert processes.program(child.pid) == (str(program), True)
        finally:
            child.kill()


@pytest.mark.parametrize(("machine", "expected"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")])
def test_architectures_have_the_names_of_kuma(machine, expected):
    assert host.architecture(machine) == expected
