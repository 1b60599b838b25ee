# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of five hosts that the tests join to a mesh, and what they look at."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.ansible import Ansible, Run
from tests.lab.host import Host
from tests.lab.processes import wait_until
from tests.lab.recorder import Seen
from tests.lab.stage import Stage

# How long a proxy drains. Long enough for the control plane to take it out of traffic first, which takes 4 s.
DRAIN = "8s"


def service(name: str, port: int = 8080, service_port: int = 18080, **more: Any) -> dict[str, Any]:
    return {"name": name, "port": port, "service_port": service_port, "protocol": "http", **more}


# vm1 calls; vm2 and vm3 answer; vm4 runs two proxies; vm5 is of the service web too and often joins after the others.
GROUPS: dict[str, Any] = {
    "shop": {
        "hosts": {"vm1": {}},
        "vars": {"kuma_dp_services": [service("shop")], "kuma_dp_upstreams": ["web", "orders", "cache"]},
    },
    "web": {
        "hosts": {"vm2": {}, "vm3": {}, "vm5": {}},
        "vars": {"kuma_dp_services": [service("web", probe={"interval": "1s", "timeout": "1s"})], "kuma_dp_upstreams": ["cache"]},
    },
    "pair": {
        "hosts": {"vm4": {}},
        "vars": {
            "kuma_dp_proxies": [
                {"name": "vm4-orders", "services": [service("orders")], "upstreams": ["cache"]},
                {"name": "vm4-cache", "services": [service("cache", 8090, 18081)]},
            ]
        },
    },
}
PROXIES = {"vm1": ["vm1"], "vm2": ["vm2"], "vm3": ["vm3"], "vm4": ["vm4-cache", "vm4-orders"], "vm5": ["vm5"]}
NAMES = sorted(name for names in PROXIES.values() for name in names)

# Everything that a join may touch on a host, with what would show that it was touched: a file that is written again gets
# another inode or change time, a service that is restarted another process.
SNAPSHOT = """
find /etc /opt /usr/local /var/lib/systemd/linger -xdev -printf '%p %y %m %U:%G %s %i %C@ %l\\n' 2>/dev/null | grep -v '^/etc/systemd/network' | sort
for unit in $(systemctl list-units --all --plain --no-legend 'kuma-dp@*' | awk '{print $1}'); do
  systemctl show -p Id,ActiveState,MainPID,UnitFileState,NRestarts "$unit"
done
"""


@dataclass
class Fleet:
    """The hosts, the control plane behind its recorder, and ansible-playbook with the fleet's inventory."""

    stage: Stage
    ansible: Ansible
    variables: dict[str, Any] = field(default_factory=lambda: {"kuma_dp_drain_time": DRAIN})

    def host(self, name: str) -> Host:
        return self.stage.lab[name]

    @property
    def hosts(self) -> list[Host]:
        return self.stage.lab.hosts

    def inventory(self, change: Callable[[dict[str, Any]], None] = lambda groups: None, **variables: Any) -> Path:
        """Another inventory for one run: `change` gets the groups to edit, variables are the fleet's."""
        groups = copy.deepcopy(GROUPS)
        change(groups)
        self.stage.inventory(groups, "changed.yml", **{**self.variables, **variables})
        return self.stage.directory / "changed.yml"

    def play(self, name: str, *arguments: str, inventory: Path | None = None, **options: Any) -> tuple[Run, Seen]:
        """Run the playbook `name`; the run and what was asked of the control plane meanwhile."""
        ansible = Ansible(self.ansible.directory, inventory) if inventory else self.ansible
        with self.stage.recorder.watch() as seen:
            run = ansible.playbook(self.stage.playbook(name), *arguments, **options)
        return run, seen

    def join(self, *arguments: str, **options: Any) -> tuple[Run, Seen]:
        return self.play("join_mesh", *arguments, **options)

    def leave(self, *arguments: str, **options: Any) -> tuple[Run, Seen]:
        return self.play("leave_mesh", *arguments, **options)

    def snapshot(self, *names: str) -> dict[str, list[str]]:
        """What is on the hosts, by host; two of these are equal when nothing was touched in between."""
        hosts = [host for host in self.hosts if not names or host.name in names]
        with ThreadPoolExecutor(len(hosts)) as pool:
            found = pool.map(lambda host: host.run(SNAPSHOT).splitlines(), hosts)
            return {host.name: lines for host, lines in zip(hosts, found, strict=True)}

    def dataplanes(self) -> dict[str, Any]:
        return self.stage.control_plane.dataplanes()

    def inbounds(self, name: str) -> list[dict[str, Any]]:
        """Of a Dataplane as the control plane has it."""
        found: list[dict[str, Any]] = self.dataplanes()[name]["networking"]["inbound"]
        return found

    def set_inbounds(self, name: str, **fields: Any) -> None:
        """Write fields of all inbounds, as an operator with the API would."""
        dataplane = self.dataplanes()[name]
        for inbound in dataplane["networking"]["inbound"]:
            inbound.update(fields)
        self.stage.control_plane.call("PUT", f"/meshes/default/dataplanes/{name}", dataplane)

    def ready(self, name: str) -> bool:
        """Whether clients get this proxy as an endpoint."""
        return all(
            inbound.get("state", "Ready") == "Ready" and inbound.get("health", {"ready": True}).get("ready", False)
            for inbound in self.inbounds(name)
        )

    def wait_ready(self, name: str, wanted: bool = True, timeout: float = 60.0) -> None:
        wait_until(lambda: self.ready(name) == wanted, timeout, f"{name} to be {'ready' if wanted else 'not ready'}", interval=0.2)

    def strip(self, name: str) -> None:
        """Make a host forget the mesh, faster and harder than a leave, and the control plane forget the host."""
        self.host(name).run(
            "systemctl list-units --all --plain --no-legend 'kuma-dp-restart@*' 'kuma-dp-cover@*' 'kuma-dp@*' | awk '{print $1}' | while read unit; do"
            " systemctl kill --signal=KILL $unit; systemctl disable --now $unit; systemctl reset-failed $unit; done 2>/dev/null;"
            " rm -rf /etc/kuma /opt/kuma /var/lib/kuma-dp /usr/local/lib/kuma-dp-restart /etc/systemd/system/kuma-dp@.service"
            " /etc/systemd/system/kuma-dp-cover@.service /etc/systemd/system/kuma-dp-restart@.service /etc/systemd/system/kuma-dp@.service.d"
            " /etc/needrestart/conf.d/kuma-dp.conf /etc/sysctl.d/60-kuma-dp.conf;"
            " userdel kuma-dp 2>/dev/null; groupdel kuma-dp 2>/dev/null; systemctl daemon-reload"
        )
        for proxy in PROXIES[name]:
            if proxy in self.dataplanes():
                self.stage.control_plane.call("DELETE", f"/meshes/default/dataplanes/{proxy}")

    def clear(self, *names: str) -> None:
        """Take everything off these hosts, and every Dataplane from the mesh, whatever inventory it was registered from."""
        for name in names:
            self.strip(name)
        for name in self.dataplanes():
            self.stage.control_plane.call("DELETE", f"/meshes/default/dataplanes/{name}")
