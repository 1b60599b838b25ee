# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line."""

from __future__ import annotations

import os
import sys
import traceback

from .common import VERSION, Fatal
from .readiness import wait_ready
from .run import Run
from .settings import read_settings


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print("Usage: kuma-dp run|version|wait")
        return 0
    command, rest = arguments[0], arguments[1:]
    if command == "version":
        unknown = [flag for flag in rest if flag not in ("-a", "--detailed")]
        if unknown:
            raise Fatal("unknown flag: %s" % unknown[0])
        if rest:
            for line in (
                ("Product", "Kuma"),
                ("Version", VERSION),
                ("Git Tag", VERSION),
                ("Git Commit", "0" * 40),
                ("Build Date", "local-build"),
            ):
                print("%-15s%s" % (line[0] + ":", line[1]))
        else:
            print("Kuma: %s" % VERSION)
        return 0
    if command == "wait":
        return wait_ready(rest)
    if command == "run":
        return Run(read_settings(rest, os.environ)).main()
    raise Fatal('unknown command "%s" for "kuma-dp"' % command)


def start():
    """Runs the command line and ends the process."""
    try:
        code = main(sys.argv[1:])
    except Fatal as error:
        sys.stderr.write("Error: %s\n" % error)
        code = 1
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    # Threads may hold locks of the interpreter; there is nothing left to wait for.
    os._exit(code)


if __name__ == "__main__":
    start()
