# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boot and remove hosts by hand: `python -m tests.lab up N | down | status`. LAB_ID chooses one of ten labs."""

from __future__ import annotations

import argparse
import sys

from tests.lab import Lab, LabError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="boot hosts and leave them running")
    up.add_argument("count", type=int, help="how many hosts, 1 to 200")
    commands.add_parser("down", help="remove the hosts and everything that belongs to them")
    commands.add_parser("status", help="what exists; exit code 1 when the lab is not up")
    commands.add_parser("leftovers", help="exit code 1 and a list when something exists")
    arguments = parser.parse_args()
    try:
        lab = Lab(say=print)
        if arguments.command == "up":
            if not 1 <= arguments.count <= 200:
                parser.error("the count must be from 1 to 200")
            lab.up(arguments.count)
            print(f"inventory: {lab.state / 'inventory.yml'}")
            print(f"log in:    ssh -F {lab.state / 'ssh_config'} {lab.hosts[0].name}")
        elif arguments.command == "down":
            lab.down()
        elif arguments.command == "status":
            for host in lab.hosts:
                print(f"{host.name:12} {host.address:14} {'up' if host.answers() else 'down'}")
            return 0 if lab.hosts else 1
        else:
            found = lab.leftovers()
            print("\n".join(found), file=sys.stderr)
            return 1 if found else 0
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
