# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook of rolls with its role, after a join that is made up: hooks, hosts that are put off, lost and put back, and what is printed."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import threading

import pytest
import yaml

from tests.unit.roll.mesh import Mesh, restarted

ROOT = pathlib.Path(__file__).parents[2]
# In place of the join: what its tasks would have registered. It loses the hosts that cannot be reached.
JOIN = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.group_by: {key: "{{ item }}"}
      loop: "{{ joins }}"
      changed_when: false
    - ansible.builtin.set_fact:
        kuma_dp_look: {options: {version: "{{ target }}"}}
        kuma_dp_deployed: {state: "{{ state }}"}
    - ansible.builtin.raw: "true"
      changed_when: false
"""
# Lies beside the playbook. Workers are forks of the process that loads this. VMs are asked by way of files, and answered by the test.
VMS = """\
import json, os, time
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.callback import CallbackBase
from ansible_collections.meshfleet.kuma.plugins.action import rollout
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import handover
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import run

run.POLL, run.LEAST_AGE, handover.INTERVAL = 0.05, 0.1, 0.02
DIRECTORY = os.path.dirname(os.path.dirname(__file__))


def ask(self, module_name, module_args, task_vars):
    path = os.path.join(DIRECTORY, f"{self.host}.{time.monotonic_ns()}")
    with open(path + ".new", "w") as file:
        json.dump(module_args, file)
    os.rename(path + ".new", path + ".go")
    while not os.path.exists(path + ".gone"):
        time.sleep(0.01)
    with open(path + ".gone") as file:
        answer = json.load(file)
    if answer.get("unreachable"):
        raise AnsibleConnectionFailure("no route to host")
    return answer


rollout.ActionModule._execute_module = ask


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "vms"
"""


class Fleet:
    """VMs that a thread of the test stands in for. ``answers`` maps a proxy to what its restart says in place of having gone well."""

    def __init__(self, mesh, directory, ansible_playbook):
        self.mesh, self.directory, self.ansible_playbook = mesh, directory, ansible_playbook
        self.hosts, self.answers, self.asked = {}, {}, []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def host(self, name, *proxies, moving=(), **variables):
        """A host that has joined; the proxy of its own name unless it is told others, each with a version pending."""
        found = [{"name": name, **each} for each in proxies or ({},)]
        own = {"possible": True, "reasons": [], "pending": ["version"], "version": "2.14.3"}
        roll = [{**own, "claims": self.mesh.claims(each["name"]), **each} for each in found]
        dataplanes = {each: self.written(each) for each in moving}
        state = {"roll": roll, "gates": [], "moving": list(moving), "dataplanes": dataplanes}
        self.hosts[name] = {"state": state, **variables}

    def written(self, name):
        return {
            key: value for key, value in self.mesh.get(name).items() if key not in ("creationTime", "modificationTime", "kri", "labels")
        }

    def watch(self):
        while not self.stop.wait(0.01):
            for path in self.directory.glob("*.go"):
                arguments = json.loads(path.read_text())
                answer = self.answer(arguments)
                self.asked.append((path.name.split(".")[0], arguments))
                new = path.with_suffix(".answer")
                new.write_text(json.dumps(answer))
                path.unlink()
                new.rename(path.with_suffix(".gone"))

    def answer(self, arguments):
        (proxy,) = arguments["proxies"]
        name, until = proxy["name"], arguments.get("until", "done")
        if name in self.answers and until == "done":
            return self.answers[name]
        if until == "prepared":
            return {"changed": True, "results": [{"name": name, "outcome": "untouched"}]}
        if until == "stopped":
            self.mesh.disconnect(name)
            self.mesh.admin.delete(self.mesh.path(name))
            return restarted(name, outcome="stopped", request="r-1")
        if proxy.get("request"):
            self.mesh.connect(name)
        else:
            self.mesh.restart(name)
        return restarted(name)

    def play(self, *arguments, callbacks="default", forks=10, twice=False, **variables):
        """With ``twice`` the playbook rolls a second time, with what a second join would say: the variable ``after`` of each host."""
        (self.directory / "callback_plugins").mkdir(exist_ok=True)
        (self.directory / "callback_plugins/vms.py").write_text(VMS)
        joined, roll = yaml.safe_load(JOIN), plays_of_a_roll()
        book = joined + roll
        if twice:
            again = yaml.safe_load(JOIN.replace("{{ state }}", "{{ after }}"))
            book = joined + of_pass(roll, "_first") + again + of_pass(roll, "_last")
        (self.directory / "roll.yml").write_text(yaml.safe_dump(book, sort_keys=False))
        common = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "joins": ["meshfleet_kuma_join"],
            "target": "2.14.3",
            "kuma_dp_control_plane_url": self.mesh.control_plane.https_url,
            "kuma_dp_api_ca": self.mesh.control_plane.ca_file,
            "kuma_dp_api_token": self.mesh.control_plane.token,
            "kuma_dp_mesh": self.mesh.name,
            "kuma_dp_roll_dir": str(self.directory / "rolls"),
            "kuma_dp_roll_soak": 0,
            "kuma_dp_roll_gate_timeout": 10,
            **variables,
        }
        inventory = {"all": {"hosts": self.hosts, "vars": common}}
        (self.directory / "inventory.json").write_text(json.dumps(inventory))
        return self.ansible_playbook("-i", self.directory / "inventory.json", "-f", forks, self.directory / "roll.yml", *arguments)

    def statuses(self):
        path = max(self.directory.glob("rolls/*/*/journal.json"), key=lambda path: path.stat().st_mtime_ns)
        return {name: record["status"] for name, record in json.loads(path.read_text())["hosts"].items()}

    def restarts(self):
        """The hosts whose proxies were restarted, in this order."""
        return [host for host, arguments in self.asked if arguments.get("until", "done") == "done"]

    def close(self):
        self.stop.set()
        self.thread.join()


@pytest.fixture
def fleet(control_plane, ansible_playbook, tmp_path):
    with contextlib.ExitStack() as stack:

        def make(**services):
            mesh = Mesh(control_plane, {name.replace("_", "-"): service for name, service in services.items()})
            stack.callback(mesh.close)
            made = Fleet(mesh, tmp_path, ansible_playbook)
            stack.callback(made.close)
            return made

        yield make


def plays_of_a_roll():
    """What comes after the join."""
    _join, roll, *rest = yaml.safe_load((ROOT / "playbooks/rolling_restart.yml").read_text())
    return yaml.safe_load((ROOT / "playbooks" / roll["ansible.builtin.import_playbook"]).read_text()) + rest


def of_pass(plays, name):
    """As a playbook imports them that rolls twice."""
    return [{**play, "vars": {**play.get("vars", {}), "meshfleet_kuma_pass": name}} for play in plays]


def roll_of(output):
    """What is printed from the plan on."""
    return output[output.index("PLAY [Plan the roll]") :]


def test_a_fleet_with_a_lost_host_a_second_pass_and_hooks(fleet):
    """One of three is away; hooks run before and after."""
    made = fleet(web_1="web", web_2="web", api_1="api")
    for name in ("web-1", "web-2", "api-1"):
        made.host(name)
    made.host("web-9", ansible_connection="ssh", ansible_host="192.0.2.1", ansible_ssh_timeout=1)
    for name, word in (("before", "out of"), ("after", "back in")):
        task = {"name": f"Tell the load balancer {name}", "ansible.builtin.debug": {"msg": f"{{{{ kuma_dp_name }}}} goes {word}"}}
        (made.directory / f"{name}.yml").write_text(yaml.safe_dump([task]))
    hooks = {"kuma_dp_roll_before": "before.yml", "kuma_dp_roll_after": "after.yml"}
    run = made.play("-vvv", kuma_dp_roll_max_failures=1, **hooks)
    assert run.returncode != 0, run.stdout
    assert made.statuses() == {"web-1": "done", "web-2": "done", "api-1": "done", "web-9": "unreachable"}
    text = " ".join(run.stdout.split())
    assert "web-9 (unreachable): it could not be reached when the roll began" in text
    for name in ("web-1", "web-2", "api-1"):
        assert text.index(f"{name} goes out of") < text.index(f"{name} goes back in")
    assert "eyJ" not in (run.stdout + run.stderr).replace(made.mesh.control_plane.token, ""), "a token was printed"
    assert made.mesh.control_plane.token not in roll_of(run.stdout)
    assert [arguments for _host, arguments in made.asked if "token" in str(arguments) and arguments.get("until") != "prepared"] == []
    assert made.mesh.secrets() == set()


def test_nothing_of_a_roll_is_skipped_and_a_rerun_does_nothing(fleet):
    made = fleet(web_1="web", web_2="web")
    made.host("web-1")
    made.host("web-2")
    run = made.play(forks=1)
    assert run.returncode == 0, run.stdout + run.stderr
    told = roll_of(run.stdout)
    assert "skipping: [" not in told, told
    assert "forks is 1, and up to 10 hosts may be restarted at once (kuma_dp_roll_max_in_flight)" in told
    assert "WARNING" not in run.stdout + run.stderr
    assert len(re.findall(r"^\[\d/2\] web-\d done in .* under cover", run.stdout, re.MULTILINE)) == 2
    tasks = re.findall(r"^TASK \[(.*)\] \*", told, re.MULTILINE)
    assert [name.rpartition(" : ")[2] for name in dict.fromkeys(tasks)] == [
        "Decide who is restarted, how and in which order",
        "The plan",
        "Line the hosts up",
        "Wait for admission",
        "Group the host by what was decided",
        "Restart this host",
        "Restart the proxies",
        "Check that it serves, and let it back in",
        "Put the proxies back to what they ran with before",
        "Finish the roll",
    ]
    for host in made.hosts.values():
        host["state"]["roll"][0]["pending"] = []
    made.asked.clear()
    again = made.play()
    assert again.returncode == 0, again.stdout
    assert "skipped (nothing to do): web-1, web-2" in " ".join(again.stdout.split())
    assert made.asked == []
    assert re.findall(r"changed=(\d+)", again.stdout) == ["0", "0"]


def test_a_check_shows_the_plan_and_lets_nobody_in(fleet):
    made = fleet(web_1="web")
    made.host("web-1")
    run = made.play("--check")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 hosts to roll" in run.stdout
    assert not (made.directory / "rolls").exists()
    assert made.asked == []
    assert "WARNING" not in run.stdout + run.stderr


def test_a_hook_that_fails_keeps_its_host_as_it_is_and_ends_the_roll(fleet):
    made = fleet(web_1="web", web_2="web")
    made.host("web-1")
    made.host("web-2")
    (made.directory / "hook.yml").write_text(yaml.safe_dump([{"name": "Ask", "ansible.builtin.fail": {"msg": "it says no"}}]))
    run = made.play(kuma_dp_roll_before="hook.yml", kuma_dp_roll_gate_timeout=1)
    assert run.returncode == 2, run.stdout
    text = " ".join(run.stdout.split())
    assert "web-1 (failed): Ask: it says no" in text
    assert "web-2 (refused): the roll was stopped: 1 failed (web-1), max_failures is 0" in text
    assert made.asked == []
    missing = made.play(kuma_dp_roll_after="none.yml")
    assert missing.returncode == 2
    assert "kuma_dp_roll_after is none.yml, expected a file with tasks on the controller that exists" in " ".join(missing.stdout.split())


def test_hosts_that_are_put_off_are_asked_again_and_no_others(fleet):
    """web-3 does not serve, so that the others, which are drained, are at their budget, and still are in the second pass."""
    made = fleet(web_1="web", web_2="web", web_3="web", api_1="api")
    drained = {"possible": False, "strategy": "drained"}
    for name in ("web-1", "web-2"):
        made.host(name, drained)
    made.host("api-1")
    made.mesh.write("web-3", health={"ready": False})
    run = made.play()
    assert run.returncode == 2, run.stdout
    statuses = made.statuses()
    assert statuses == {"web-1": "refused", "web-2": "refused", "api-1": "done"}
    second = run.stdout[run.stdout.index("PLAY [Roll the hosts that had to wait for others]") :]
    assert "web-1" in second
    assert "api-1" not in second[: second.index("PLAY [Finish the roll]")]
    assert made.restarts() == ["api-1"]
    changed = dict(re.findall(r"^(\S+) +: ok=\d+ +changed=(\d)", run.stdout, re.MULTILINE))
    assert (changed["web-1"], changed["web-2"]) == ("0", "0")


def test_an_upgrade_that_fails_is_put_back_and_an_unreachable_vm_is_told_as_such(fleet):
    made = fleet(web_1="web", api_1="api")
    made.host("web-1")
    made.host("api-1")
    made.answers["api-1"] = {"unreachable": True}
    options = {"kuma_dp_roll_kind": "upgrade", "kuma_dp_roll_gate_timeout": 1, "kuma_dp_roll_max_failures": 2}
    run = made.play(target="2.14.4", **options)
    assert run.returncode == 2, run.stdout
    assert made.statuses() == {"web-1": "failed", "api-1": "unreachable"}, run.stdout
    assert "web-1 was put back to what it ran with before" in run.stdout
    assert "api-1 was put back" not in run.stdout
    assert [arguments.get("restore", False) for host, arguments in made.asked if host == "web-1" and "until" not in arguments] == [
        False,
        True,
    ]
    assert "api-1 (unreachable): the host could not be reached: no route to host" in " ".join(run.stdout.split())


def test_one_of_the_proxies_of_a_host_becomes_indirect(fleet):
    made = fleet(web_1="web", api_1="api")
    made.host("vm-1", {"name": "web-1"}, {"name": "api-1", "direct": True}, moving=["api-1"])
    run = made.play()
    assert run.returncode == 0, run.stdout + run.stderr
    assert made.statuses() == {"vm-1": "done"}
    untils = [(arguments["proxies"][0]["name"], arguments.get("until", "done")) for _host, arguments in made.asked]
    assert [each for each in untils if each[1] != "prepared"] == [("web-1", "done"), ("api-1", "stopped"), ("api-1", "done")]
    assert made.mesh.serves("api-1")


@pytest.mark.parametrize("pending", [[], ["CA"]], ids=["nothing left to do", "one host again"])
def test_a_playbook_that_rolls_twice_rolls_those_of_the_second_plan_alone(fleet, pending):
    """The groups of the first roll are still there in the second one."""
    made = fleet(web_1="web", web_2="web")
    for name, left in (("web-1", []), ("web-2", pending)):
        made.host(name)
        after = json.loads(json.dumps(made.hosts[name]["state"]))
        after["roll"][0]["pending"] = left
        made.hosts[name]["after"] = after
    run = made.play(twice=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert sorted(made.restarts()) == sorted(["web-1", "web-2", *(["web-2"] if pending else [])])
    assert "is no part of run" not in run.stdout
