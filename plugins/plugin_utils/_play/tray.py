# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""New tokens on their way from the task that has them issued to the tasks that bring each to its VM.

Results and facts are seen by callbacks and by whoever prints the variables of a host. So each host finds its own in a file of the
directory that Ansible makes for one run, which nobody else may enter, and which goes with the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import typing as t

_FOLDER = "meshfleet.kuma-tokens"


class Tray:
    """``directory`` is Ansible's local temporary one; ``role`` keeps apart what two roles of a play hand to one host, and other secrets."""

    def __init__(self, directory: str, role: str) -> None:
        self._directory = os.path.join(directory, _FOLDER, role)

    def lay(self, tokens: t.Mapping[str, t.Mapping[str, str]]) -> None:
        """``{host: {proxy: token}}``; what was there before is gone."""
        self._make()
        for name in os.listdir(self._directory):
            os.unlink(os.path.join(self._directory, name))
        for host, own in tokens.items():
            self.keep(host, own)

    def keep(self, host: str, own: t.Mapping[str, str]) -> None:
        """What one host has from now on; what others have stays."""
        self._make()
        self.clear(host)
        descriptor = os.open(self._path(host), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            json.dump(own, handle)

    def _make(self) -> None:
        for directory in (os.path.dirname(self._directory), self._directory):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, mode=0o700)

    def take(self, host: str) -> t.Dict[str, str]:
        """The tokens of one host; it still finds them when it asks again."""
        try:
            with open(self._path(host), encoding="utf-8") as handle:
                return t.cast(t.Dict[str, str], json.load(handle))
        except FileNotFoundError:
            return {}

    def clear(self, host: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(host))

    def _path(self, host: str) -> str:
        # The name of a host may be anything, also a path.
        return os.path.join(self._directory, host.encode("utf-8").hex())
