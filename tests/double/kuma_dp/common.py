# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every part needs: the release, errors, the log."""

from __future__ import annotations

import json
import re
import sys
import time

from .version import VERSION

RELEASE = tuple(int(part) for part in re.findall(r"\d+", VERSION)[:3])


class Fatal(Exception):
    """Ends the command with exit code 1 and this message."""


def log(level, message, **details):
    line = "%s\t%s\tkuma-dp\t%s" % (time.strftime("%Y-%m-%dT%H:%M:%S"), level, message)
    sys.stdout.write(line + ("\t" + json.dumps(details) if details else "") + "\n")
    sys.stdout.flush()
