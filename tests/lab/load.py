# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Load that an application on a host sends through its sidecar, by clients that forgive nothing.

A request fails when it is refused, cut, reset, too late or answered with anything but success; it is never sent again. The
clients do what a pool of connections does: one that the other side closed, or said it would close, is not used any more.
Requests are sent when they are due, whatever became of those before, up to a number of them under way at a time.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.host import Host
from tests.lab.settings import LabError

WORKER = (Path(__file__).parent / "load_worker.py").read_text()


@dataclass(frozen=True)
class Profile:
    """A way to use a service. `connections` 0 is a new connection for each request; `most` requests are under way at a time."""

    name: str
    kind: str
    port: int
    rate: float
    connections: int
    path: str = "/"
    timeout: float = 20.0  # longer than the sidecar's own 15 s, which then says so
    most: int = 120  # all profiles of a test together stay below the 1,024 that Envoy allows a cluster


def new(port: int, rate: float = 500.0) -> Profile:
    """A connection of its own for each request."""
    return Profile("new", "http1", port, rate, 0)


def keepalive(port: int, rate: float = 300.0, connections: int = 30) -> Profile:
    """Few busy connections."""
    return Profile("keepalive", "http1", port, rate, connections)


def pooled(port: int, rate: float = 200.0, connections: int = 400) -> Profile:
    """Many connections that are mostly idle: a proxy cannot tell them to go away before their next request."""
    return Profile("pooled", "http1", port, rate, connections)


def slow(port: int, rate: float = 4.0, seconds: float = 5.0) -> Profile:
    """Requests that take long, so that some are always under way."""
    return Profile("slow", "http1", port, rate, 0, f"/slow?t={seconds:g}", seconds + 15)


def http2(port: int, rate: float = 100.0, connections: int = 4) -> Profile:
    """HTTP/2 with prior knowledge."""
    return Profile("http2", "http2", port, rate, connections)


def slow_http2(port: int, rate: float = 4.0, connections: int = 2, seconds: float = 5.0) -> Profile:
    """Streams that take long on connections that are shared, as those of gRPC are."""
    return Profile("slow-http2", "http2", port, rate, connections, f"/slow?t={seconds:g}", seconds + 15)


def tcp(port: int, rate: float = 10.0, connections: int = 2) -> Profile:
    """Connections that stay; one that is cut is a failure, whether or not it waits for an answer. To the application's ECHO_PORT."""
    return Profile("tcp", "tcp", port, rate, connections, "line")


@dataclass(frozen=True)
class Failure:
    """A failed request: epoch seconds when it was sent, how long it took, and the client's port to look for in logs (0: none)."""

    at: float
    seconds: float
    reason: str
    local_port: int

    @property
    def ended(self) -> float:
        return self.at + self.seconds

    def __str__(self) -> str:
        return f"failed at {self.ended:.3f} after {self.seconds:.3f} s, port {self.local_port}: {self.reason}"


@dataclass
class Result:
    """What became of one profile. `latencies` in seconds, ascending, from when a request was due."""

    by_host: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    opened: int = 0
    late: float = 0.0
    held: int = 0

    @property
    def sent(self) -> int:
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Requests a second, as achieved."""
        return self.sent / self.seconds if self.seconds else 0.0

    def latency(self, share: float) -> float:
        """The latency that this share of the requests did not exceed; seconds."""
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)] if self.latencies else 0.0

    def reasons(self) -> Counter[str]:
        return Counter(failure.reason for failure in self.failures)


@dataclass
class Load:
    """The results by name of profile, complete when the `with` block has ended."""

    results: dict[str, Result] = field(default_factory=dict)
    began: float = 0.0

    def __getitem__(self, name: str) -> Result:
        return self.results[name]

    @property
    def failures(self) -> list[str]:
        """Of all profiles, in the order they failed, with the seconds since the `with` block began."""
        found = [(failure, name) for name, result in self.results.items() for failure in result.failures]
        found.sort(key=lambda item: item[0].ended)
        return [f"{name} {failure.ended - self.began:+.3f} s: {failure}" for failure, name in found]

    def __str__(self) -> str:
        lines = ["profile      sent   rate/s  failed opened   p50 ms   p99 ms   max ms  late ms  held  answered by"]
        for name, result in self.results.items():
            times = "".join(f"{1000 * value:9.1f}" for value in (*map(result.latency, (0.5, 0.99, 1)), result.late))
            hosts = ", ".join(f"{host} {count}" for host, count in sorted(result.by_host.items()))
            lines.append(
                f"{name:10} {result.sent:6} {result.rate:8.1f} {len(result.failures):7} {result.opened:6}{times}{result.held:6}  {hosts}"
            )
        return "\n".join(lines)

    def read(self, text: str) -> None:
        for name, found in json.loads(text).items():
            failures = [Failure(*values) for values in found.pop("failures")]
            self.results[name] = Result(by_host=Counter(found.pop("answers")), failures=failures, **found)


@contextlib.contextmanager
def load(host: Host, *profiles: Profile) -> Iterator[Load]:
    """Send all the time inside the `with` block, which starts when every profile has had its first answer.

    Raises LabError when the clients do not run. What is on its way at the end of the block is waited for.
    """
    names = Counter(profile.name for profile in profiles)
    if max(names.values()) > 1:
        raise ValueError(f"two profiles of one name: {names}")
    source = f"import sys; exec(compile(sys.stdin.read({len(WORKER)}), 'load_worker', 'exec'))"
    client = subprocess.Popen(
        host.ssh_command(f"python3 -c {shlex.quote(source)}"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        given: list[dict[str, Any]] = [asdict(profile) for profile in profiles]
        client.stdin.write(WORKER + json.dumps(given) + "\n")
        client.stdin.flush()
        line = client.stdout.readline()
        if line != "started\n":
            raise LabError(f"{host.name}: the clients did not start: {line}{client.communicate()[1][-2000:]}")
        running = Load(began=time.time())
        yield running
        output, errors = client.communicate("\n", timeout=60)
        if client.returncode != 0:
            raise LabError(f"{host.name}: the clients ended with {client.returncode}: {errors[-2000:]}")
        running.read(output.splitlines()[-1])
    finally:
        client.kill()
        client.communicate()
