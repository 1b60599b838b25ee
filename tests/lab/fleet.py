# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of real systemd hosts on this machine: up, down, and what is left of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.lab import cgroups, machine, occupied, rootfs
from tests.lab.archive import kuma_bin
from tests.lab.choice import first_free, locked
from tests.lab.host import Host
from tests.lab.processes import Process, command_lines, wait_until, with_environment
from tests.lab.settings import LABS, LabError, Settings, cache

COMMANDS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
# What a host writes (mostly the unpacked archive and its journal), with a margin.
MEMORY_PER_HOST = 1024**3


@contextlib.contextmanager
def claim(say: Callable[[str], None] = lambda text: None) -> Iterator[Lab]:
    """The lab of LAB_ID, or the first free one, to be set up inside the `with` block; others cannot get it meanwhile.

    What a dead process left of it is gone by then, and nothing else of this machine is in its way. Raises LabError when there is none.
    """
    _require()
    wanted = Settings.wanted()
    labs = [wanted] if wanted else [Settings(number) for number in LABS]
    with contextlib.ExitStack() as stack:
        yield Lab(stack.enter_context(first_free(labs, _objections, wait=wanted is not None)), say)


def existing() -> list[Lab]:
    """The labs of which anything is on this machine."""
    return [lab for number in LABS if (lab := Lab(Settings(number))).leftovers()]


def _require() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it mounts file systems and boots containers")
    missing = sorted({package for command, package in COMMANDS.items() if not shutil.which(command)})
    if missing:
        raise LabError(f"commands are missing; run: apt-get install -y {' '.join(missing)}")


def _objections(settings: Settings) -> list[str]:
    lab = Lab(settings)
    holder = lab.holder()
    if holder:
        return [holder]
    try:
        # First: what a dead process left of this lab uses the same addresses and ports.
        lab.clear()
    except (LabError, TimeoutError) as error:
        return [f"what is left of an earlier one cannot be removed: {error}"]
    return occupied.conflicts(settings, machine.look(), kuma_bin() is not None, machine.process)


class Lab:
    """The hosts of one LAB_ID. All state is on disk, so that `down` works in another process and after a crash."""

    def __init__(self, settings: Settings, say: Callable[[str], None] = lambda text: None) -> None:
        self.settings = settings
        self.say = say
        self.hosts = self._recorded_hosts()

    def __getitem__(self, name: str) -> Host:
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    @property
    def state(self) -> Path:
        return self.settings.state

    def up(self, names: int | Sequence[str], owned: bool = False) -> None:
        """Boot hosts named by the caller, or vm1 to vmN. Only for whoever has claimed the lab.

        An owned lab belongs to this process: when it has died, the next claim clears away what it left.
        """
        if isinstance(names, int):
            names = [f"vm{index}" for index in range(1, names + 1)]
        base = rootfs.ensure(self.say)
        started = time.monotonic()
        try:
            self._up(base, names, owned)
        except BaseException:
            self.clear()
            raise
        self.say(f"lab {self.settings.lab_id}: {len(self.hosts)} hosts up in {time.monotonic() - started:.1f} s")

    def down(self) -> None:
        """Remove everything that belongs to this LAB_ID, whoever started it. Harmless when there is nothing."""
        with locked(self.settings):
            self.clear()

    def release(self) -> list[str]:
        """Remove it, unless it is somebody else's: one that could not be set up may be claimed by another process already.

        Returns what is left all the same, looked for before anybody else can get the lab.
        """
        with locked(self.settings):
            if self.owner != Process.of(os.getpid()) and self.holder():
                return []
            self.clear()
            return self.leftovers()

    def track(self, pid: int, what: str) -> None:
        """Remember a process outside the hosts, so that `down` ends it even after a crash of whoever started it."""
        with (self.state / "processes.jsonl").open("a") as file:
            file.write(json.dumps({**Process.of(pid).as_json(), "what": what}) + "\n")

    def inventory(self, tree: dict[str, Any], path: Path | None = None) -> Path:
        """Write an inventory in YAML: the groups of `tree` (name -> inventory group) and how to reach every host."""
        import yaml

        hosts = {host.name: {"ansible_host": host.address} for host in self.hosts}
        variables = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.state / "ssh_key"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.state / 'known_hosts'}",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        inventory = {"all": {"hosts": hosts, "vars": variables, "children": tree}}
        path = path or self.state / "inventory.yml"
        path.write_text(yaml.safe_dump(inventory, sort_keys=False))
        return path

    def leftovers(self) -> list[str]:
        """What of this LAB_ID exists on the machine, one line each; empty after `down`."""
        settings = self.settings
        found = [f"process {process.pid} ({what})" for process, what in self._tracked() if process.alive]
        found += [f"process {pid} ({words})" for pid, words in self._processes()]
        found += [f"mount {path}" for path in self._mounts()]
        found += [f"cgroup {path}" for path in cgroups.existing(f"meshfleet-{settings.machine_prefix}")]
        links = [path.name for path in Path("/sys/class/net").iterdir()]
        found += [f"network device {name}" for name in links if name == settings.bridge or name.startswith(f"vb-{settings.machine_prefix}")]
        found += [f"directory {path}" for path in (settings.state, *self._nspawn_paths()) if path.exists()]
        return found

    @property
    def owner(self) -> Process | None:
        """The running process that the lab belongs to. None for one that stays until it is taken down, and for what a dead process left."""
        owner = self._recorded()["owner"]
        process = Process(owner["pid"], owner["started"]) if owner else None
        return process if process and process.alive else None

    def holder(self) -> str | None:
        """Why nobody else may have this lab, for people; None when nothing runs in it that anybody still wants."""
        if self.owner:
            return f"it belongs to the running process {self.owner.pid}"
        stays, hosts = self._recorded()["owner"] is None, self._recorded_hosts()
        if stays and any(cgroups.processes(path) for host in hosts for path in cgroups.paths(host.cgroup)):
            return f"it is up until somebody takes it down with `LAB_ID={self.settings.lab_id} make lab-down`"
        return None

    def _recorded(self) -> dict[str, Any]:
        try:
            recorded: dict[str, Any] = json.loads((self.state / "lab.json").read_text())
        except FileNotFoundError:
            return {"owner": None, "hosts": []}
        return recorded

    def _recorded_hosts(self) -> list[Host]:
        return [Host(self.settings, item["index"], item["name"]) for item in self._recorded()["hosts"]]

    def _up(self, base: Path, names: Sequence[str], owned: bool) -> None:
        settings = self.settings
        self.state.mkdir(mode=0o711, parents=True)
        self.hosts = [Host(settings, index, name) for index, name in enumerate(names, 1)]
        owner = Process.of(os.getpid()).as_json() if owned else None
        recorded = {"owner": owner, "hosts": [{"index": host.index, "name": host.name} for host in self.hosts]}
        new = self.state / "lab.json.new"
        new.write_text(json.dumps(recorded))
        new.replace(self.state / "lab.json")  # others read it at any time
        self._keys()
        disk = self._disk(len(names))
        _run("ip", "link", "add", settings.bridge, "type", "bridge")
        _run("ip", "address", "add", f"{settings.controller_address}/16", "dev", settings.bridge)
        _run("ip", "link", "set", settings.bridge, "up")
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            for host in self.hosts:
                host.prepare(base, disk)
                self.track(host.start().pid, f"supervisor of {host.machine}")
            list(pool.map(Host.wait, self.hosts))
        self.inventory({})

    def _keys(self) -> None:
        settings = self.settings
        for name in ("ssh_key", "host_key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {settings.lab_id}", "-f", str(self.state / name))
        public = (self.state / "host_key.pub").read_text()
        (self.state / "known_hosts").write_text("".join(f"{host.address} {public}" for host in self.hosts))
        common = f"User root\nIdentityFile {self.state / 'ssh_key'}\nIdentitiesOnly yes\nUserKnownHostsFile {self.state / 'known_hosts'}\n"
        common += "ConnectTimeout 10\nLogLevel ERROR\nBatchMode yes\n"
        hosts = "".join(f"Host {host.name}\nHostName {host.address}\n" for host in self.hosts)
        (self.state / "ssh_config").write_text(f"{hosts}Host *\n{common}")

    def _disk(self, count: int) -> Path:
        """Where the hosts write: memory when there is plenty, else the cache's disk."""
        available = next(int(line.split()[1]) * 1024 for line in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in line)
        disk = self.state / "disk"
        disk.mkdir()
        if available > 2 * count * MEMORY_PER_HOST and not os.environ.get("MESHFLEET_LAB_ON_DISK"):
            _run(
                "mount",
                "-t",
                "tmpfs",
                "-o",
                f"size={count * MEMORY_PER_HOST},mode=755",
                f"meshfleet-{self.settings.machine_prefix}",
                str(disk),
            )
            return disk
        self._disk_in_cache.mkdir()
        return self._disk_in_cache

    @property
    def _disk_in_cache(self) -> Path:
        return cache() / f"lab-{self.settings.lab_id}"

    def clear(self) -> None:
        """Remove everything that belongs to this LAB_ID. Only for whoever holds its lock."""
        for process, _what in self._tracked():
            process.end(patience=15)
        for group in cgroups.existing(f"meshfleet-{self.settings.machine_prefix}"):
            cgroups.remove(group)
        while found := self._processes():
            # At once and again: a worker of Ansible opens its connection anew when it is lost.
            for pid, _words in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for path in self._mounts():
            # A process that has just been killed may hold it for a moment.
            wait_until(
                lambda path=path: subprocess.run(["umount", path], capture_output=True, check=False).returncode == 0, 10, f"umount {path}"
            )
        for name in [path.name for path in Path("/sys/class/net").iterdir()]:
            if name == self.settings.bridge or name.startswith(f"vb-{self.settings.machine_prefix}"):
                # The devices of the hosts also go by themselves, with the name space they lead to.
                subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)
        for path in [self._disk_in_cache, self.state, *self._nspawn_paths()]:
            if path.is_dir():
                shutil.rmtree(path)
        self.hosts = []

    def _tracked(self) -> list[tuple[Process, str]]:
        try:
            lines = (self.state / "processes.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        records = [json.loads(line) for line in lines]
        return [(Process(record["pid"], record["started"]), record["what"]) for record in records]

    def _processes(self) -> list[tuple[int, str]]:
        """Processes that name this lab: nspawn with its machine, ansible-playbook and the SSH connections it keeps open."""
        machine, state = f"--machine={self.settings.machine_prefix}", f"{self.state}/"
        found = dict.fromkeys(with_environment(f"LAB_EVENTS={state}"), "ansible")
        for pid, words in command_lines():
            is_ssh = words[0].startswith("ssh") and any(state in word for word in words)
            if is_ssh or any(word.startswith(machine) for word in words):
                found[pid] = words[0]
        found.pop(os.getpid(), None)
        return sorted(found.items())

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mounts").read_text().splitlines()
        points = [line.split()[1] for line in lines]
        return sorted((point for point in points if point.startswith(f"{self.state}/")), reverse=True)

    def _nspawn_paths(self) -> list[Path]:
        """Directories systemd-nspawn makes for a machine and forgets when it is killed."""
        base = Path("/run/systemd/nspawn")
        return sorted(path for name in ("propagate", "unix-export") for path in base.glob(f"{name}/{self.settings.machine_prefix}*"))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
