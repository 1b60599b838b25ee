# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM in a directory: modules run as they are, with directories of the system that are their own, and a systemd that is a small program.

Their Python is started in a namespace of mounts, for which one has to be root. What they write to the journal is in a file.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal

# What a VM has for its own of this machine.
PLACES = ("etc", "opt", "var/lib", "usr/local", "run")
PYTHON = """#!/bin/sh
VM={directory} exec unshare --mount --propagation private /bin/sh -ec '
  for place in {places}; do mount --bind "$VM/$place" "/$place"; done
  PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=$VM/python exec /usr/bin/python3 "$@"' python "$@"
"""
# Takes the place of systemd's own for Ansible, which sends each option in a field beside the message.
JOURNAL = """
import json, os
def sendv(*fields): pass
def send(MESSAGE, **fields):
    with open(os.environ["VM"] + "/journal", "a") as file:
        file.write(json.dumps({"MESSAGE": MESSAGE, **fields}, default=str) + "\\n")
"""
# A unit is active with a process of its own. What is started before it is started.
SYSTEMCTL = r"""#!/usr/bin/python3
import fcntl, json, os, re, signal, subprocess, sys
vm = os.environ["VM"]
lock = open(vm + "/units.lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
path = vm + "/units.json"
units = json.load(open(path)) if os.path.exists(path) else {}
status, verb, options = 0, sys.argv[1], [word for word in sys.argv[2:] if word.startswith("-")]
names = [word for word in sys.argv[2:] if not word.startswith("-")]
if verb == "--version":
    print("systemd 252 (252.30)")


def read(name):
    # Its file, and the lines of it for this instance.
    file = "/etc/systemd/system/" + re.sub("@.*[.]", "@.", name)
    text = open(file).read() if os.path.exists(file) else ""
    return file, text.replace("%i", name.partition("@")[2].rpartition(".")[0])


def start(name):
    for command in re.findall("^ExecStartPre=-?[+]?(.*)$", read(name)[1], re.MULTILINE):
        subprocess.run(command.split(), check=True)
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(["sleep", "3600"], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
    units.setdefault(name, {})["pid"] = process.pid


def stop(name):
    pid = units.setdefault(name, {}).pop("pid", 0)
    if pid:
        os.kill(pid, signal.SIGKILL)


def show(name):
    unit, (file, text) = units.get(name, {}), read(name)
    wanted = next(word.partition("=")[2] for word in options if word.startswith("--property")).split(",")
    environment = [each + " (ignore_errors=no)" for each in re.findall("^EnvironmentFile=-?(.*)$", text, re.MULTILINE)]
    known = {
        "Id": name,
        "LoadState": "loaded" if text else "not-found",
        "ActiveState": "active" if unit.get("pid") else "inactive",
        "UnitFileState": "enabled" if unit.get("enabled") else "disabled",
        "MainPID": str(unit.get("pid", 0)),
        "FragmentPath": file if text else "",
        "NeedDaemonReload": "no",
        "NRestarts": "0",
        "EnvironmentFiles": "\n".join(environment),
    }
    return "\n".join(known[key] if "--value" in options else key + "=" + known[key] for key in wanted if key in known) + "\n"


for name in names:
    if verb == "show":
        print(show(name))
    elif os.path.exists(vm + "/fails-" + verb):
        print("Job for %s failed" % name, file=sys.stderr)
        status = 1
    elif verb in ("start", "restart", "stop"):
        stop(name)
        if verb != "stop":
            start(name)
    elif verb in ("enable", "disable"):
        units.setdefault(name, {})["enabled"] = verb == "enable"
    elif verb == "is-active" and not units.get(name, {}).get("pid"):
        status = 3
with open(path + ".new", "w") as file:
    json.dump(units, file)
os.rename(path + ".new", path)
sys.exit(status)
"""


class Machine:
    """It has the network of this machine, where a control plane listens on loopback."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        shutil.copytree("/etc", directory / "etc", symlinks=True)
        for place in PLACES[1:]:
            (directory / place).mkdir(parents=True)
        for place in ("run/systemd/system", "usr/local/lib"):
            (directory / place).mkdir(parents=True)
        self._write("usr/local/bin/systemctl", SYSTEMCTL)
        # What every unit has logged.
        self.logged = self._write("logged", "")
        self._write("usr/local/bin/journalctl", '#!/bin/sh\ncat "$VM/logged"\n')
        self._write("python/systemd/__init__.py", "")
        self._write("python/systemd/daemon.py", "def booted():\n    return True\n")
        self._write("python/systemd/journal.py", JOURNAL)
        self.python = self._write("python3", PYTHON.format(directory=directory, places=" ".join(PLACES)))
        self.made = self.python.stat().st_ctime_ns

    def _write(self, name, text):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    @property
    def variables(self):
        """Of a host that is this VM."""
        return {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": str(self.python),
            "ansible_remote_tmp": str(self.directory / "tmp"),
        }

    @property
    def journal_path(self):
        """What modules have logged, a JSON object in each line."""
        return self.directory / "journal"

    @contextlib.contextmanager
    def failing(self, verb):
        """While ``systemctl verb`` fails."""
        path = self.directory / f"fails-{verb}"
        path.touch()
        try:
            yield
        finally:
            path.unlink()

    def active(self):
        """The units that run."""
        path = self.directory / "units.json"
        units = json.loads(path.read_text()) if path.exists() else {}
        return {name for name, unit in units.items() if unit.get("pid")}

    def files(self):
        """What has come to it or changed there, by its path."""
        found = {}
        for place in PLACES:
            for path in (self.directory / place).rglob("*"):
                if path.is_file() and not path.is_symlink() and path.stat().st_ctime_ns > self.made:
                    found[f"/{path.relative_to(self.directory)}"] = path
        return found

    def close(self):
        path = self.directory / "units.json"
        for unit in (json.loads(path.read_text()) if path.exists() else {}).values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(unit.get("pid") or 0x7FFFFFFF, signal.SIGKILL)
