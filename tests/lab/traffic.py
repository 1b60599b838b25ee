# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests that an application on a host sends through its sidecar."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.lab.host import Host
from tests.lab.settings import LabError

# Runs on the host until COUNT requests are done or its standard input ends. A connection of its own for each request:
# whoever balances has to choose again every time, and nothing of an earlier success is left over.
CLIENT = """
import collections, http.client, json, select, sys, time
port, path, count, pause = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
answers, failures, sent = collections.Counter(), [], 0
print("started", flush=True)
while count == 0 or sent < count:
    if count == 0 and select.select([sys.stdin], [], [], pause)[0]:
        break
    sent += 1
    began = time.time()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace").strip()
        if answer.status == 200:
            answers[body] += 1
        else:
            failures.append("%.2f %d %s" % (began, answer.status, body[:80]))
        connection.close()
    except OSError as error:
        failures.append("%.2f %s" % (began, error))
    except http.client.HTTPException as error:
        failures.append("%.2f %r" % (began, error))
print(json.dumps({"answers": answers, "failures": failures}))
"""


@dataclass
class Answers:
    """Who answered how often, and what failed (epoch seconds and reason)."""

    by_host: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def read(self, text: str) -> None:
        result = json.loads(text)
        self.by_host = Counter(result["answers"])
        self.failures = result["failures"]


def ask(host: Host, port: int, count: int = 30, path: str = "/") -> Answers:
    """Send that many requests, one after the other."""
    answers = Answers()
    answers.read(host.script(CLIENT, str(port), path, str(count), "0").splitlines()[-1])
    return answers


@contextlib.contextmanager
def polling(host: Host, port: int, path: str = "/", pause: float = 0.02) -> Iterator[Answers]:
    """Send requests all the time inside the `with` block; the answers are complete when it ends."""
    command = " ".join(["python3", "-c", *map(shlex.quote, [CLIENT, str(port), path, "0", str(pause)])])
    answers = Answers()
    client = subprocess.Popen(host.ssh_command(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    try:
        if client.stdout.readline() != "started\n":
            raise LabError(f"{host.name}: the client did not start")
        yield answers
        output, _nothing = client.communicate("\n", timeout=60)
        answers.read(output.splitlines()[-1])
    finally:
        client.kill()
        client.communicate()


def outbounds(host: Host) -> dict[str, int]:
    """The ports of /etc/kuma/outbounds.env, by the name they have there (WEB for KUMA_OUTBOUND_WEB_PORT)."""
    lines = host.run("cat /etc/kuma/outbounds.env").splitlines()
    pairs = [line.split("=", 1) for line in lines if line.startswith("KUMA_OUTBOUND_") and "_PORT=" in line]
    return {name.removeprefix("KUMA_OUTBOUND_").removesuffix("_PORT"): int(port) for name, port in pairs}
