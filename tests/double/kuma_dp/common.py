# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every part needs: the release, errors, the log."""

from __future__ import annotations

import json
import os
import re
import sys
import time

from .version import VERSION

RELEASE = tuple(int(part) for part in re.findall(r"\d+", VERSION)[:3])


class Fatal(Exception):
    """Ends the command with exit code 1 and this message."""


def log(level, message, logger="kuma-dp.run", **details):
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + ".%03dZ" % (now % 1 * 1000)
    fields = [stamp, level.upper(), logger, message]
    if details:
        fields.append(json.dumps(details))
    sys.stderr.write("\t".join(fields) + "\n")
    sys.stderr.flush()


def log_as_envoy(level, component, message):
    """A line that in the real thing is Envoy's, which writes to the same stream."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)) + ".%03d" % (now % 1 * 1000)
    sys.stderr.write("[%s][%d][%s][%s] %s\n" % (stamp, os.getpid(), level, component, message))
    sys.stderr.flush()
