# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Postgres of Debian's package on this machine, reached by the hosts of a lab over the network, with TLS."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from tests.lab import certificates
from tests.lab.fleet import Lab
from tests.lab.processes import spawn, wait_until
from tests.lab.settings import LabError

# A user that every Debian has; Postgres refuses to run as root.
USER = "nobody"


@dataclass(frozen=True)
class Database:
    host: str
    port: int
    user: str
    password: str
    name: str
    ca_file: Path
    bin: Path

    def query(self, sql: str) -> str:
        """The answer without decoration."""
        environment = {**os.environ, "PGPASSWORD": self.password, "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.ca_file)}
        command = [str(self.bin / "psql"), "-h", self.host, "-p", str(self.port), "-U", self.user, "-d", self.name, "-Atc", sql]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode != 0:
            raise LabError(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()


# The one of each lab, by its state.
_started: dict[Path, Database] = {}


def start(lab: Lab, password: str, name: str = "postgres") -> Database:
    """An empty database of this name, served until the lab goes. All of a lab are in one server, whose user has one password. Raises LabError."""
    server = _started.get(lab.state)
    if server is None:
        server = _started[lab.state] = _serve(lab, password)
    if name != server.name:
        server.query(f"CREATE DATABASE {name}")
    return replace(server, name=name)


def _serve(lab: Lab, password: str) -> Database:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise LabError("Postgres is missing; run: apt-get install -y postgresql")
    binaries, address, port = found[-1].parent, lab.settings.controller_address, lab.settings.port(5692)
    directory = lab.state / "postgres"
    directory.mkdir(mode=0o711)
    certificate, key = certificates.self_signed(directory, "postgres", address)
    secret = directory / "password"
    secret.write_text(password)
    for path in (directory, key, secret):
        shutil.chown(path, USER)
    data, as_user = directory / "data", ["setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups"]
    initdb = [str(binaries / "initdb"), "--no-sync", "-D", str(data), "-U", "kuma", "-A", "scram-sha-256", f"--pwfile={secret}"]
    done = subprocess.run([*as_user, *initdb], capture_output=True, text=True, cwd="/", check=False)
    if done.returncode != 0:
        raise LabError(f"initdb: {done.stderr.strip()}")
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("hostssl all all all scram-sha-256\n")
    options = {"listen_addresses": address, "port": port, "unix_socket_directories": "", "fsync": "off", "ssl": "on"}
    options |= {"ssl_cert_file": certificate, "ssl_key_file": key}
    command = [*as_user, str(binaries / "postgres"), "-D", str(data), *[f"--{name}={value}" for name, value in options.items()]]
    with (directory / "log").open("w") as log:
        process = spawn(command, stdout=log, stderr=log, cwd="/")
    lab.track(process.pid, "postgres")
    database = Database(address, port, "kuma", password, "postgres", certificate, binaries)

    def answers() -> bool:
        try:
            return database.query("SELECT 1") == "1"
        except LabError:
            if process.poll() is not None:
                raise LabError(f"postgres ended: {(directory / 'log').read_text()[-2000:]}") from None
            return False

    wait_until(answers, 30, f"postgres on {address}:{port}", interval=0.1)
    return database
