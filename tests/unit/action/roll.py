# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks of role kuma_roll as Ansible runs them, one by one, in a play run whose join is over. The VMs are proxies of a stand-in mesh."""

from __future__ import annotations

import types

import jinja2
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.meshfleet.kuma.plugins.action.rollout import ActionModule
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.action import defaults
from tests.unit.roll.mesh import restarted

# What the tasks register, for the host or, once, for all of them.
REGISTERED = {"admit": "kuma_roll_admission", "restart": "kuma_roll_restarted", "problem": "kuma_roll_problem"}


class Hostvars(dict):
    def raw_get(self, host):
        return self[host]


def filled(variables, name):
    found = variables[name]
    return jinja2.Template(found, autoescape=False).render(variables) if isinstance(found, str) else found


class Play:
    """``hosts`` are the variables of every host, ``lost`` those that a play has lost; ``vm`` may be another proxy_restart."""

    def __init__(self, mesh, directory, **variables):
        self.mesh, self.directory = mesh, directory
        self.variables = {
            "kuma_dp_control_plane_url": mesh.way.url,
            "kuma_dp_api_token": mesh.control_plane.token,
            "kuma_dp_mesh": mesh.name,
            "kuma_dp_archive_cache": str(directory / "cache"),
            "kuma_dp_roll_dir": str(directory / "rolls"),
            "kuma_dp_token_ledger": str(directory / "tokens.jsonl"),
            "kuma_dp_roll_soak": 0,
            "kuma_dp_roll_gate_timeout": 5,
            "playbook_dir": str(directory),
            **variables,
        }
        self.hosts = Hostvars()
        self.groups = {"meshfleet_kuma_join": [], "meshfleet_kuma_zone_join": []}
        self.lost = set()
        self.vm = Vm(self)

    def join(self, host, *proxies, role="kuma_dp", moving=(), gates=(), version="2.14.3", **more):
        """What a join registers; each proxy has a version pending and can be covered, but for what is said in its place."""
        facts = self.hosts.setdefault(host, {"inventory_hostname": host, **self.variables, **more})
        self.groups["meshfleet_kuma_zone_join" if role == "kuma_zone_proxy" else "meshfleet_kuma_join"].append(host)
        proxies = [{"name": each} if isinstance(each, str) else each for each in proxies]
        own = {"possible": True, "reasons": [], "pending": ["version"], "version": "2.14.3"}
        roll = [{**own, "claims": self.mesh.claims(each["name"]), **each} for each in proxies]
        dataplanes = {name: self.written(name) for name in moving}
        state = {"roll": roll, "gates": list(gates), "moving": list(moving), "dataplanes": dataplanes}
        facts[f"{role}_look"] = {"options": {"version": version}}
        facts[f"{role}_deployed"] = {"state": state}

    def written(self, name):
        return {
            key: value for key, value in self.mesh.get(name).items() if key not in ("creationTime", "modificationTime", "kri", "labels")
        }

    def task(self, state, host="", check=False, **given):
        """The result of a task, which is registered as the role does it."""
        host = host or next(iter(self.hosts), "")
        action = ActionModule.__new__(ActionModule)
        action._task = types.SimpleNamespace(check_mode=check, async_val=0, args={"state": state, **given})
        action._connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir="/tmp/of-the-vm"))
        play_hosts = [each for each in self.hosts if each not in self.lost]
        magic = {"hostvars": self.hosts, "groups": self.groups, "ansible_forks": 50, "ansible_play_hosts": play_hosts}
        variables = {**magic, **self.hosts.get(host, {})}
        # Ansible's own engine wants plugins that only its programs find.
        action.value = lambda variable: filled({**defaults(), **variables}, variable)
        action._execute_module = lambda module_name, module_args, task_vars: self.vm(module_name, module_args)
        action._remove_tmp_path = lambda path: self.vm.calls.append(("removed", path))
        result = action.run(task_vars=variables)
        if state == "start":
            for facts in self.hosts.values():
                facts["kuma_roll_plan"] = result
        elif state in REGISTERED and host:
            self.hosts[host][REGISTERED[state]] = result
        return result

    def fails(self, host, task, message):
        """What Ansible tells the rescue of a block."""
        self.hosts[host].update(ansible_failed_task={"name": task}, ansible_failed_result={"failed": True, "msg": message})
        return self.task("problem", host)

    def through(self, host):
        """A host on the whole way of the role; what became of it, and what was said of putting it back."""
        self.task("admit", host)
        found = self.task("restart", host)
        if found.get("failed"):
            self.fails(host, "Restart the proxies", found["msg"])
        return self.task("complete", host), self.task("put_back", host)


class Vm:
    """proxy_restart of VMs that restart what they are told; ``unreachable`` are proxies whose VM does not answer."""

    def __init__(self, play):
        self.mesh = play.mesh
        self.calls, self.arguments, self.unreachable = [], [], set()

    def __call__(self, module_name, arguments):
        assert module_name == "meshfleet.kuma.proxy_restart"
        (proxy,) = arguments["proxies"]
        until, name = arguments.get("until", "done"), proxy["name"]
        until = "waited" if proxy.get("request") else until
        self.calls.append((until, name))
        self.arguments.append(arguments)
        if name in self.unreachable:
            raise AnsibleConnectionFailure("no route to host")
        return getattr(self, until)(name)

    def prepared(self, name):
        return {"changed": True, "results": [{"name": name, "outcome": "untouched"}]}

    def done(self, name):
        self.mesh.restart(name)
        return restarted(name)

    def stopped(self, name):
        """The control plane deletes the Dataplane of a Direct proxy when it has left."""
        self.mesh.disconnect(name)
        self.mesh.admin.delete(self.mesh.path(name))
        return restarted(name, outcome="stopped", request="r-1")

    def waited(self, name):
        """An Indirect proxy is refused without its Dataplane."""
        self.mesh.connect(name)
        return restarted(name)
