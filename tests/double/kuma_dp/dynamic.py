# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kuma-dp asks its own Envoy for."""

from __future__ import annotations

import http.client
import threading
import time

from .connections import UnixConnection
from .sockets import socket_path

SOCKET = "kuma-mesh-metric-config"
EVERY = 1.0


class ConfigFetcher:
    """
    Asks for what MeshMetric policies say, every second over one connection that stays open: Envoy always counts it.

    Without such a policy there is no socket to connect to.
    """

    def __init__(self, work_dir):
        self.connection = UnixConnection(socket_path(work_dir, SOCKET), 5)

    def start(self):
        threading.Thread(target=self.keep, daemon=True).start()

    def keep(self):
        while True:
            self.ask()
            time.sleep(EVERY)

    def ask(self):
        try:
            self.connection.request("GET", "/meshmetric")
            self.connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
