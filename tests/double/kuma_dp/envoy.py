# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Envoy as a child that does not outlive its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading

from .common import log

KILL_AFTER = 5.0
LOGGER = "kuma-dp.run.envoy"
PR_SET_PDEATHSIG = 1


def child_setup():
    """In the child: dies with its parent and stays out of its process group."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setpgid(0, 0)


class Envoy:
    """Starts it; `ended` is called with its status, in another thread. Only for threads that live as long as the process."""

    def __init__(self, settings, binary, config, ended):
        level = settings["envoy_log_level"] or settings["log_level"]
        command = [binary, "--config-path", config, "--drain-time-s", str(int(settings["drain_time"]))]
        command += ["--drain-strategy", "immediate", "--disable-hot-restart", "--log-level", level]
        if settings["concurrency"] > 0:
            command += ["--concurrency", str(settings["concurrency"])]
        else:
            command.append("--cpuset-threads")
        if settings["envoy_component_log_level"]:
            command += ["--component-log-level", settings["envoy_component_log_level"]]
        log("info", "starting Envoy", logger=LOGGER, path=binary, args=command[1:])
        # The order to die with the parent holds for the thread that starts the child.
        self.process = subprocess.Popen(command, preexec_fn=child_setup)
        threading.Thread(target=lambda: ended(self.process.wait()), daemon=True).start()

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        if not self.alive():
            return
        log("info", "stopping Envoy", logger=LOGGER)
        self.process.terminate()
        try:
            self.process.wait(KILL_AFTER)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        log("info", "Envoy terminated successfully", logger=LOGGER)
