# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boot and remove hosts by hand: `python -m tests.lab up N | down | status`.

LAB_ID chooses one of ten labs. Without it `up` takes the first free one, and the others mean the only one there is.
"""

from __future__ import annotations

import argparse
import sys

from tests.lab import Lab, LabError, Settings, claim, existing
from tests.lab.choice import only


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="boot hosts and leave them running")
    up.add_argument("count", type=int, help="how many hosts, 1 to 200")
    commands.add_parser("down", help="remove the hosts and everything that belongs to them")
    commands.add_parser("status", help="what exists; exit code 1 when the lab is not up")
    commands.add_parser("leftovers", help="exit code 1 and a list when something exists")
    arguments = parser.parse_args()
    if arguments.command == "up" and not 1 <= arguments.count <= 200:
        parser.error("the count must be from 1 to 200")
    try:
        if arguments.command == "up":
            return _up(arguments.count)
        lab = _meant()
        if lab is None:
            print("there is no lab on this machine")
            return 1 if arguments.command == "status" else 0
        return {"down": _down, "status": _status, "leftovers": _leftovers}[arguments.command](lab)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def _meant() -> Lab | None:
    """The lab of LAB_ID, or the only one there is."""
    wanted = Settings.wanted()
    if wanted:
        return Lab(wanted, print)
    number = only({lab.settings.lab_id: lab.holder() or "it is left of a process that has ended" for lab in existing()})
    return None if number is None else Lab(Settings(number), print)


def _up(count: int) -> int:
    with claim(print) as lab:
        lab.up(count)
    number = lab.settings.lab_id
    alone = all(other.settings.lab_id == number for other in existing())
    print(f"inventory: {lab.state / 'inventory.yml'}")
    print(f"log in:    ssh -F {lab.state / 'ssh_config'} {lab.hosts[0].name}")
    print(f"its hosts reach this machine at {lab.settings.controller_address}")
    print(f"take down: {'' if alone else f'LAB_ID={number} '}make lab-down")
    return 0


def _down(lab: Lab) -> int:
    if lab.owner and not Settings.wanted():
        # Somebody who means a lab of their own, which is gone already, must not end the tests of another.
        raise LabError(f"lab {lab.settings.lab_id} belongs to the running process {lab.owner.pid}; set LAB_ID to take it down all the same")
    lab.down()
    return 0


def _status(lab: Lab) -> int:
    for host in lab.hosts:
        print(f"{host.name:12} {host.address:14} {'up' if host.answers() else 'down'}")
    return 0 if lab.hosts else 1


def _leftovers(lab: Lab) -> int:
    found = lab.leftovers()
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
