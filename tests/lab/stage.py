# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet ready to be joined: hosts, a control plane behind the recorder, a release archive and an inventory."""

from __future__ import annotations

import contextlib
import signal
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab import archive, certificates, control_plane
from tests.lab.ansible import Ansible
from tests.lab.fleet import Lab, claim
from tests.lab.recorder import Recorder
from tests.lab.settings import LabError


@dataclass
class Stage:
    """Everything a test of a fleet needs. `directory` is where a user would keep inventory and playbooks."""

    lab: Lab
    control_plane: control_plane.ControlPlane
    recorder: Recorder
    recorder_ca: Path
    archive: archive.Archive
    directory: Path

    def variables(self) -> dict[str, Any]:
        """What a user writes once for the whole fleet."""
        return {
            "kuma_dp_control_plane_url": self.recorder.url,
            "kuma_dp_control_plane_dp_url": self.control_plane.dp_url,
            "kuma_dp_control_plane_ca": str(self.control_plane.ca_file),
            "kuma_dp_api_ca": str(self.recorder_ca),
            "kuma_dp_api_token": "{{ lookup('ansible.builtin.file', '" + str(self.control_plane.admin_token_file) + "') }}",
            "kuma_dp_version": self.archive.version,
            "kuma_dp_archive": str(self.archive.path),
            "kuma_dp_archive_checksum": {self.archive.architecture: f"sha256:{self.archive.sha256}"},
            "kuma_dp_token_ledger": str(self.directory / "tokens.jsonl"),
            "kuma_dp_application_units": ["kuma-lab-app.service"],
        }

    def inventory(self, groups: dict[str, Any], name: str = "inventory.yml", **variables: Any) -> Path:
        """An inventory whose group mesh_fleet has these groups as children."""
        fleet = {"vars": {**self.variables(), **variables}, "children": groups}
        return self.lab.inventory({"mesh_fleet": fleet}, self.directory / name)

    def ansible(self, inventory: Path) -> Ansible:
        return Ansible(self.directory, inventory)

    def playbook(self, name: str) -> Path:
        """A user's playbook of three lines."""
        path = self.directory / f"{name.replace('_', '-')}.yml"
        if not path.exists():  # several runs may be reading it
            path.write_text(yaml.safe_dump([{"name": name, "ansible.builtin.import_playbook": f"meshfleet.kuma.{name}"}], sort_keys=False))
        return path


@contextlib.contextmanager
def stage(names: int | Sequence[str], say: Callable[[str], None] = lambda text: None) -> Iterator[Stage]:
    """Set the stage in the lab of LAB_ID or the first free one; clear it away again, also after an error, Ctrl-C or a polite kill.

    Raises LabError when something of it is left on this machine at the end.
    """
    with _exit_on_signals(), contextlib.ExitStack() as stack:
        package = archive.build()
        with claim(say) as lab:
            stack.callback(_down, lab)
            lab.up(names, owned=True)
        served = control_plane.start(lab)
        say(f"control plane at {served.url}")
        certificate = certificates.self_signed(lab.state, "recorder", lab.settings.controller_address)
        recorder = Recorder(served.https_url, served.ca_file, certificate)
        recorder.start(lab.settings.controller_address, lab.settings.port(5690))
        stack.callback(recorder.stop)
        directory = lab.state / "user"
        directory.mkdir()
        yield Stage(lab, served, recorder, certificate[0], package, directory)


def _down(lab: Lab) -> None:
    # A second Ctrl-C must not leave mounts behind.
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        left = lab.release()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if left:
        raise LabError(f"left behind: {'; '.join(left)}")


@contextlib.contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Turn a polite kill into an exception, so that everything above is cleared away."""

    def leave(number: int, frame: types.FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
