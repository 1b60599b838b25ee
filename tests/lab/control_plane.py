# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A control plane for the lab: the stand-in, or the real kuma-cp when KUMA_BIN names its directory.

Nothing else in the tests may know which of the two is running.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.lab.archive import kuma_bin
from tests.lab.fleet import Lab
from tests.lab.processes import Process, spawn, wait_until
from tests.lab.settings import LabError, repository


@dataclass
class ControlPlane:
    """A running control plane, as its users reach it from the lab."""

    url: str
    https_url: str
    dp_url: str
    admin_token_file: Path
    ca_file: Path
    log: Path
    process: Process
    delays_file: Path | None = None

    def hurry(self, **delays: float) -> None:
        """Other delays than those that were measured, for tests that are not about them: `report`, `deregistration`, in seconds.

        None of them brings the measured ones back. A real control plane is as slow as it is. Proxies that are connected report as before.
        """
        if self.delays_file is not None:
            new = self.delays_file.with_suffix(".new")
            new.write_text(json.dumps(delays))
            new.replace(self.delays_file)

    @property
    def admin_token(self) -> str:
        return self.admin_token_file.read_text().strip()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A request of the tests' own, past the recorder; JSON or text. Raises requests.HTTPError."""
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        answer = requests.request(method, self.https_url + path, json=body, headers=headers, verify=str(self.ca_file), timeout=30)
        answer.raise_for_status()
        return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.text

    def dataplanes(self, mesh: str = "default") -> dict[str, Any]:
        """All Dataplanes of a mesh by name."""
        return {item["name"]: item for item in self.call("GET", f"/meshes/{mesh}/dataplanes?size=1000")["items"]}

    def token(self, path: str, **claims: Any) -> str:
        return str(self.call("POST", path, claims)).strip()

    def stop(self) -> None:
        self.process.end()


def start(lab: Lab, name: str = "control-plane") -> ControlPlane:
    """Start it on the lab's bridge and wait until it answers and has an administrator. Raises LabError with its log."""
    work = lab.state / name
    work.mkdir()
    directory = kuma_bin()
    started = _start_real(lab, work, directory) if directory else _start_double(lab, work)
    wait_until(lambda: _serves(started), 60, f"the mesh default of the control plane, see {started.log}")
    return started


def _spawn(lab: Lab, command: list[str], work: Path, environment: dict[str, str], **options: Any) -> tuple[subprocess.Popen[str], Path]:
    log = work / "log"
    with log.open("w") as output:
        process = spawn(command, stderr=output, text=True, cwd=repository(), env={**os.environ, **environment}, **options)
    lab.track(process.pid, f"control plane in {work}")
    return process, log


def _start_double(lab: Lab, work: Path) -> ControlPlane:
    settings = lab.settings
    command = [sys.executable, "-m", "tests.double.kuma_cp", "--bind", settings.controller_address, "--work-dir", str(work)]
    command += ["--emulate", os.environ.get("EMULATE", "2.14.3"), "--log-level", "WARNING"]
    delays_file = work / "delays.json"
    command += ["--delays-file", str(delays_file)]
    for option, base in (("--api-port", 5681), ("--api-tls-port", 5682), ("--dp-port", 5678)):
        command += [option, str(settings.port(base))]
    process, log = _spawn(lab, command, work, {}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:  # it says one line and nothing more
        line = process.stdout.readline()
    if not line:
        raise LabError(f"the control plane ended: {log.read_text()[-2000:]}")
    ready = json.loads(line)
    return ControlPlane(
        ready["url"],
        ready["https_url"],
        ready["dp_url"],
        Path(ready["admin_token_file"]),
        Path(ready["ca_file"]),
        log,
        Process.of(process.pid),
        delays_file,
    )


def _start_real(lab: Lab, work: Path, directory: Path) -> ControlPlane:
    settings = lab.settings
    http, https, data = settings.port(5681), settings.port(5682), settings.port(5678)
    environment = {
        "HOME": str(work),
        "KUMA_ENVIRONMENT": "universal",
        "KUMA_REPORTS_ENABLED": "false",
        "KUMA_GENERAL_WORK_DIR": str(work),
        "KUMA_API_SERVER_HTTP_PORT": str(http),
        "KUMA_API_SERVER_HTTPS_PORT": str(https),
        "KUMA_DP_SERVER_PORT": str(data),
        "KUMA_DIAGNOSTICS_SERVER_PORT": str(settings.port(5680)),
        "KUMA_MONITORING_ASSIGNMENT_SERVER_PORT": str(settings.port(5676)),
        "KUMA_INTER_CP_SERVER_PORT": str(settings.port(5683)),
    }
    process, log = _spawn(lab, [str(directory / "kuma-cp"), "run"], work, environment, stdout=subprocess.DEVNULL)
    token_file = work / "admin-token"

    def admin_token() -> bool:
        if process.poll() is not None:
            raise LabError(f"kuma-cp ended with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            # Over loopback everybody is the administrator; the secret is there some seconds after the start.
            with urllib.request.urlopen(f"http://127.0.0.1:{http}/global-secrets/admin-user-token", timeout=5) as answer:
                data = json.load(answer)["data"]
        except (urllib.error.URLError, OSError):
            return False
        import base64

        token_file.touch(mode=0o600)
        token_file.write_bytes(base64.b64decode(data))
        return True

    wait_until(admin_token, 60, f"the administrator's token of kuma-cp, see {log}", interval=0.2)
    address = settings.controller_address
    return ControlPlane(
        f"http://{address}:{http}",
        f"https://{address}:{https}",
        f"https://{address}:{data}",
        token_file,
        work / "kuma-cp.crt",
        log,
        Process.of(process.pid),
    )


def _serves(started: ControlPlane) -> bool:
    try:
        started.call("GET", "/meshes/default")
    except requests.RequestException:
        return False
    return True
