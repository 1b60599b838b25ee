# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where kuma-dp and its Envoy meet: files in the directory of the proxy, whose paths are cut without a word when they are long."""

from __future__ import annotations

import os
import socket

from .common import log

LONGEST = 98


def socket_path(work_dir, name):
    """Those of a long directory are one and the same, or outside of it."""
    return os.path.join(work_dir, name)[:LONGEST] + ".sock"


class Meeting:
    """The pipe of the access log and the socket of the metrics, which are made before Envoy runs. Here nothing comes through either."""

    def __init__(self, work_dir, name, mesh):
        self.pipe, self.metrics = (socket_path(work_dir, "kuma-%s-%s-%s" % (kind, name, mesh)) for kind in ("al", "mh"))
        self.listening = socket.socket(socket.AF_UNIX)

    def make(self):
        for what, make in (("access-log-streamer", self._pipe), ("metrics-hijacker", self._socket)):
            try:
                make()
            except OSError as error:
                # The real one tries again, with no other end.
                log("error", "component terminated with an error", logger="kuma-dp.run." + what, error=str(error))

    def _pipe(self):
        if os.path.lexists(self.pipe):
            os.unlink(self.pipe)
        os.mkfifo(self.pipe, 0o666)

    def _socket(self):
        if os.path.lexists(self.metrics):
            os.unlink(self.metrics)
        self.listening.bind(self.metrics)
        self.listening.listen()
