# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applies and removes the rules of transparent proxying. Laid down by Ansible; run by kuma-transparent-proxy.service.

    kuma_transparent_proxy.py apply      apply the settings that wait to be confirmed, else those that were
    kuma_transparent_proxy.py remove     take all rules away
    kuma_transparent_proxy.py rollback   undo settings that nobody confirmed

An operator who wants the rules away uses `systemctl stop kuma-transparent-proxy`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent.vm import Failed, Vm


def command(arguments):
    """Exit status, output and error output of a command; 127 for a program that does not exist."""
    environment = dict(os.environ, LC_ALL="C.UTF-8", SYSTEMD_COLORS="0", HOME="/root")
    try:
        done = subprocess.run(list(arguments), stdin=subprocess.DEVNULL, capture_output=True, env=environment, check=False)
    except OSError as error:
        return 127, "", str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["apply", "remove", "rollback"])
    vm = Vm(command, say)
    try:
        getattr(vm, parser.parse_args().verb)()
    except Failed as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
