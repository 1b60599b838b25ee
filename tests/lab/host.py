# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One host of the lab: an overlay over the shared root filesystem, booted by systemd-nspawn, reached by SSH."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab import cgroups
from tests.lab.processes import Process, spawn, wait_until
from tests.lab.settings import LabError, Settings

# A host that reboots makes nspawn leave with 133, and whoever started it is to start it again: here this loop, which
# lives outside the group of the host because a group with groups below it may not hold processes of its own.
SUPERVISOR = """
groups=$1 log=$2; shift 2
status=133
while [ $status = 133 ]; do
  for group in $groups; do rmdir "$group"/*/ 2>/dev/null; done
  sh -c 'for group in $0; do echo $$ > "$group/cgroup.procs"; done; exec "$@"' "$groups" "$@" </dev/null >>"$log" 2>&1
  status=$?
done
"""


@dataclass
class Host:
    """A host by its place in the lab (1 to N) and the name it goes by."""

    settings: Settings
    index: int
    name: str

    @property
    def address(self) -> str:
        return self.settings.address(self.index)

    @property
    def machine(self) -> str:
        return self.settings.machine(self.index)

    @property
    def state(self) -> Path:
        return self.settings.state / f"vm{self.index}"

    @property
    def root(self) -> Path:
        return self.state / "root"

    @property
    def console_log(self) -> Path:
        return self.state / "console.log"

    @property
    def cgroup(self) -> str:
        return f"meshfleet-{self.machine}"

    def prepare(self, base: Path, disk: Path) -> None:
        """Mount the overlay with this host's name, address and keys in it. `disk` holds what the host writes."""
        upper, work = disk / f"vm{self.index}" / "upper", disk / f"vm{self.index}" / "work"
        for path in (upper, work, self.root):
            path.mkdir(parents=True)
        prefix = "16"
        files = {
            "etc/hostname": f"{self.name}\n",
            "etc/hosts": f"127.0.0.1 localhost\n{self.address} {self.name}\n",
            "etc/machine-id": hashlib.sha256(self.machine.encode()).hexdigest()[:32] + "\n",
            "etc/systemd/network/10-host0.network": (
                "[Match]\nName=host0\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
                f"Address={self.address}/{prefix}\nGateway={self.settings.controller_address}\n"
            ),
            "root/.ssh/authorized_keys": (self.settings.state / "ssh_key.pub").read_text(),
            "etc/ssh/ssh_host_ed25519_key": (self.settings.state / "host_key").read_text(),
        }
        for name, content in files.items():
            path = upper / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        # Directories of the upper layer hide the modes of those below.
        (upper / "root").chmod(0o700)
        (upper / "root/.ssh").chmod(0o700)
        (upper / "etc/ssh/ssh_host_ed25519_key").chmod(0o600)
        options = f"lowerdir={base},upperdir={upper},workdir={work}"
        done = subprocess.run(
            ["mount", "-t", "overlay", self.cgroup, "-o", options, str(self.root)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise LabError(f"{self.machine}: cannot mount an overlay with its upper directory in {disk}: {done.stderr.strip()}")

    def start(self) -> Process:
        """Boot; returns the process that starts it again whenever it reboots."""
        groups = " ".join(str(path) for path in cgroups.create(self.cgroup))
        nspawn = ["systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}", f"--machine={self.machine}"]
        nspawn += [f"--network-bridge={self.settings.bridge}", "--register=no", "--keep-unit", "--link-journal=no"]
        nspawn += ["--resolv-conf=off", "--timezone=off", "--console=pipe"]
        command = ["sh", "-c", SUPERVISOR, f"{self.machine}-supervisor", groups, str(self.console_log), *nspawn]
        started = spawn(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return Process.of(started.pid)

    def kill(self) -> None:
        """Switch the host off, hard. What it wrote stays until the lab goes."""
        for group in cgroups.paths(self.cgroup):
            cgroups.remove(group)

    @contextlib.contextmanager
    def unplugged(self) -> Iterator[None]:
        """For others it is as if the host had lost its power: nothing comes from it any more, not even the end of a connection."""
        index = int(self.run("cat /sys/class/net/host0/iflink"))
        link = socket.if_indextoname(index)
        subprocess.run(["ip", "link", "set", link, "down"], check=True)
        try:
            yield
        finally:
            subprocess.run(["ip", "link", "set", link, "up"], check=True)

    def answers(self) -> bool:
        """Whether its SSH server greets."""
        try:
            with socket.create_connection((self.address, 22), timeout=1) as connection:
                connection.settimeout(1)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def wait(self, timeout: float = 60.0) -> None:
        """Until it can be logged in to and has finished booting."""
        try:
            wait_until(self.answers, timeout, f"SSH on {self.machine} ({self.address})")
        except TimeoutError as error:
            tail = self.console_log.read_text(errors="replace")[-2000:] if self.console_log.exists() else ""
            raise LabError(f"{error}; its console said:\n{tail}") from error
        self.run("systemctl is-system-running --wait || true", timeout=timeout)

    def ssh_command(self, command: str) -> list[str]:
        return ["ssh", "-F", str(self.settings.state / "ssh_config"), self.name, command]

    def run(self, command: str, check: bool = True, timeout: float = 60.0) -> str:
        """The output of a shell command run on the host as root. Raises LabError when it fails and `check` is set."""
        done = subprocess.run(self.ssh_command(command), capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: {command!r} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def script(self, source: str, *arguments: str, timeout: float = 120.0) -> str:
        """The output of a Python program run on the host."""
        command = " ".join(["python3", "-", *map(shlex.quote, arguments)])
        done = subprocess.run(self.ssh_command(command), input=source, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise LabError(f"{self.name}: the program ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def reboot(self, timeout: float = 90.0) -> None:
        """An orderly reboot, back when it has finished booting."""
        probe = "cat /proc/sys/kernel/random/boot_id"
        before = self.run(probe).strip()
        self.run("systemctl reboot", check=False)
        wait_until(
            lambda: self.answers() and self.run(probe, check=False).strip() not in ("", before),
            timeout,
            f"{self.name} to reboot",
            interval=0.2,
        )
        self.wait(timeout)
