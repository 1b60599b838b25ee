# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarts a proxy without a failed request. Laid down by Ansible; systemd runs it as kuma-dp-restart@<name>.service.

    kuma_dp_restart.py run NAME       restart the proxy, or go on where an earlier process was killed
    kuma_dp_restart.py started NAME   remember what the proxy is started with (called by kuma-dp@NAME.service)

An operator starts it with `systemctl start kuma-dp-restart@NAME`, without a cover, and follows it with `journalctl -fu kuma-dp-restart@NAME`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.host import Processes

# The unit does not start it again after this one: it has ended, and the journal says how.
FAILED = 3


def command(arguments):
    """Exit status, output and error output of a command; 127 for a program that does not exist."""
    environment = dict(os.environ, LC_ALL="C.UTF-8", SYSTEMD_COLORS="0")
    try:
        done = subprocess.run(list(arguments), stdin=subprocess.DEVNULL, capture_output=True, env=environment, check=False)
    except OSError as error:
        return 127, "", str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def restart(paths, user):
    # Only a restart needs these, and it imports nothing later: a join may replace the files while it goes on.
    from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.machine import Machine
    from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.vm import Vm
    from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import UNIT

    try:
        files.make_directories(paths)
    except OSError as error:
        # Started by hand before the proxy ever was: nothing of that is writable then.
        say("%s: start %s first, or run the playbook join_mesh" % (error, UNIT % paths.name))
        return FAILED
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(safely.locked(paths.own("lock"), wait=False))
        except BlockingIOError:
            say("another process restarts %s already" % paths.name)
            return FAILED
        state = Machine(Vm(paths, user, command, say=say)).run()
    say("%s in %.1f s, served by %s" % (state["outcome"], state["seconds"], state["served_by"]))
    return 0 if state["outcome"] == "restarted" else FAILED


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["run", "started"])
    parser.add_argument("name")
    parser.add_argument("--config-dir", default="/etc/kuma")
    parser.add_argument("--install-dir", default="/opt/kuma")
    parser.add_argument("--user", default="kuma-dp")
    given = parser.parse_args()
    try:
        paths = files.Paths(given.name, given.config_dir, given.install_dir)
    except ValueError as error:
        parser.error(str(error))
    if given.verb == "started":
        # The start of the first process is the boot, also of a container.
        files.remember_start(paths, Processes().started(1) or 0.0)
        return 0
    return restart(paths, given.user)


if __name__ == "__main__":
    sys.exit(main())
