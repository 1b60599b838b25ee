# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows a fleet joining the mesh: `make demo`. Everything it starts on this machine is gone when it ends."""

from __future__ import annotations

import sys
import time
from typing import Any

from tests.lab import LabError
from tests.lab.ansible import Ansible, Run
from tests.lab.archive import kuma_bin
from tests.lab.recorder import Seen
from tests.lab.stage import Stage, stage
from tests.lab.traffic import ask, outbounds

HOSTS = ["shop-1", "web-1", "web-2", "web-3"]
GROUPS: dict[str, Any] = {
    "shop": {
        "hosts": {"shop-1": {}},
        "vars": {
            "kuma_dp_services": [{"name": "shop", "port": 8080, "service_port": 18080, "protocol": "http"}],
            "kuma_dp_upstreams": ["web"],
        },
    },
    "web": {
        "hosts": {"web-1": {}, "web-2": {}, "web-3": {}},
        "vars": {"kuma_dp_services": [{"name": "web", "port": 8080, "service_port": 18080, "protocol": "http"}]},
    },
}
REQUESTS = 60


class Failed(Exception):
    """The demo did not show what it is there to show."""


class Demo:
    def __init__(self) -> None:
        self.started = time.monotonic()
        self.rows: list[tuple[str, ...]] = []

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:6.1f} s  {text}", flush=True)

    def play(self, ansible: Ansible, set_up: Stage, name: str, what: str) -> Run:
        playbook = set_up.playbook(name)
        self.say(f"$ ansible-playbook -i inventory.yml {playbook.name}")
        with set_up.recorder.watch() as seen:
            run = ansible.playbook(playbook)
        if run.code != 0:
            raise Failed(f"{playbook.name} ended with {run.code}:\n{run.output[-4000:]}")
        self.say(f"  {sum(run.changed.values())} tasks changed something; asked the control plane {_asked(seen)}")
        self._row(what, run, seen)
        return run

    def _row(self, what: str, run: Run, seen: Seen) -> None:
        most = max(len(run.vm_tasks(host)) for host in HOSTS)
        counts = [len(seen.reads) + len(seen.lists), len(seen.writes), len(seen.tokens)]
        self.rows.append((what, f"{run.seconds:.1f}", str(most), str(sum(run.changed.values())), *map(str, counts)))

    def run(self) -> None:
        self.say(f"four systemd hosts, {'kuma-cp of ' + str(kuma_bin()) if kuma_bin() else 'a stand-in control plane'}, real Envoy")
        with stage(HOSTS, self.say) as set_up:
            inventory = set_up.inventory(GROUPS, kuma_dp_drain_time="5s")
            ansible = set_up.ansible(inventory)
            self.say("inventory: shop-1 calls the service web, which web-1, web-2 and web-3 offer")
            self.play(ansible, set_up, "join_mesh", "join")
            self.traffic(set_up)
            again = self.play(ansible, set_up, "join_mesh", "join again")
            if again.changed:
                raise Failed(f"the second join changed something: {again.changed}")
            self.play(ansible, set_up, "leave_mesh", "leave")
            if set_up.control_plane.dataplanes():
                raise Failed(f"Dataplanes are left: {', '.join(set_up.control_plane.dataplanes())}")
            self.say("clearing away")
        self.say("nothing left behind")

    def traffic(self, set_up: Stage) -> None:
        client = set_up.lab["shop-1"]
        port = outbounds(client)["WEB"]
        self.say(f"{REQUESTS} requests from shop-1 to its outbound port 127.0.0.1:{port}, through two Envoys each:")
        answers = ask(client, port, REQUESTS)
        for name, count in sorted(answers.by_host.items()):
            self.say(f"  {name:8} answered {count:3}  {'#' * count}")
        if answers.failures or len(answers.by_host) != 3:
            raise Failed(f"expected answers of three hosts and no failure: {answers}")

    def table(self) -> None:
        heads = ("", "seconds", "tasks a VM", "changed", "API reads", "writes", "tokens")
        rows = [heads, *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
        print()
        for row in rows:
            print(
                "  ".join(
                    cell.ljust(width) if column == 0 else cell.rjust(width)
                    for column, (cell, width) in enumerate(zip(row, widths, strict=True))
                )
            )
        print(f"\nEverything together took {time.monotonic() - self.started:.0f} s.")


def _asked(seen: Seen) -> str:
    return f"{len(seen.reads)} fixed reads, {len(seen.lists)} lists, {len(seen.writes)} writes, {len(seen.tokens)} tokens"


def main() -> int:
    demo = Demo()
    try:
        demo.run()
    except KeyboardInterrupt:
        print("demo: interrupted, everything it started is gone", file=sys.stderr)
        return 130
    except (Failed, LabError, TimeoutError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    demo.table()
    return 0


if __name__ == "__main__":
    sys.exit(main())
