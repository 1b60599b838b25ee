# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rolls as ansible-playbook runs them: many workers, one state; a failing host; a controller that is killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import journal as roll_journal
from tests.unit import return_docs
from tests.unit.roll.mesh import Mesh, restarted

PLAY = """\
- name: Plan
  hosts: fleet
  gather_facts: false
  tasks:
    - name: Plan
      meshfleet.kuma.rollout:
        state: start
        url: "{{ api_url }}"
        token: "{{ api_token }}"
        mesh: "{{ mesh }}"
        run_dir: "{{ run_dir }}"
        hosts: "{{ rolled_hosts }}"
        settings: "{{ roll_settings }}"
      register: roll
      run_once: true
    - ansible.builtin.debug:
        msg: "{{ roll.plan }}"
      run_once: true
    - name: Line up
      ansible.builtin.add_host:
        name: "{{ item }}"
        groups: rolled
      loop: "{{ roll.order }}"
      when: not ansible_check_mode

- name: Roll
  hosts: rolled
  gather_facts: false
  strategy: ansible.builtin.host_pinned
  ignore_unreachable: true
  tasks: &way
    - block:
      - name: Admit
        meshfleet.kuma.rollout:
          state: admit
          url: "{{ api_url }}"
          token: "{{ api_token }}"
          run: "{{ roll.run }}"
          run_dir: "{{ run_dir }}"
        register: admission
      - when: admission.admitted
        block:
          - name: Restart
            ansible.builtin.raw: >-
              touch {{ dir }}/{{ inventory_hostname }}.go;
              while [ ! -e {{ dir }}/{{ inventory_hostname }}.gone ]; do sleep 0.1; done;
              cat {{ dir }}/{{ inventory_hostname }}.gone
            register: said
            failed_when: false
        always:
          - name: Complete
            meshfleet.kuma.rollout:
              state: complete
              url: "{{ api_url }}"
              token: "{{ api_token }}"
              run: "{{ roll.run }}"
              run_dir: "{{ run_dir }}"
              result: "{{ said if said.unreachable | default(false) else said.stdout | from_json }}"
      when: put_off | default(true)
    - ansible.builtin.set_fact:
        put_off: "{{ admission.outcome | default('') == 'deferred' }}"

- name: Roll those that were put off
  hosts: rolled
  gather_facts: false
  strategy: ansible.builtin.host_pinned
  ignore_unreachable: true
  tasks: *way

- name: Finish
  hosts: fleet
  gather_facts: false
  tasks:
    - name: Finish
      meshfleet.kuma.rollout:
        state: finish
        url: "{{ api_url }}"
        token: "{{ api_token }}"
        run: "{{ roll.run }}"
        run_dir: "{{ run_dir }}"
      register: finished
      run_once: true
      when: not ansible_check_mode
    - ansible.builtin.raw: printf %s {{ finished | to_json | quote }} > {{ dir }}/finished.json
      delegate_to: localhost
      run_once: true
      when: not ansible_check_mode
"""
# Lies beside a play that is not about how often somebody looks. Workers are forks of the process that loads this.
QUICK = """\
from ansible.plugins.callback import CallbackBase
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import run

run.POLL, run.LEAST_AGE = 0.05, 0.1


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "quick"
"""


class Fleet:
    """Hosts that are this machine, whose proxies are restarted by a thread of the test when the play says so."""

    def __init__(self, mesh, directory, names, ansible_playbook):
        self.mesh, self.directory, self.names, self.ansible_playbook = mesh, directory, names, ansible_playbook
        self.results = {}
        self.held = set()
        self.unreachable = set()
        self.in_flight, self.most = set(), 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.stop.wait(0.02):
            # Read before the files: what the play says while they are listed concerns the next look.
            held = self.held
            flying = {path.stem for path in self.directory.glob("*.go")} - {path.stem for path in self.directory.glob("*.gone")}
            self.most = max(self.most, len(flying))
            for name in sorted(flying - held):
                result = self.results.get(name) or restarted(name)
                if not result.get("failed"):
                    self.mesh.restart(name)
                new = self.directory / f"{name}.new"
                new.write_text(json.dumps(result))
                new.rename(self.directory / f"{name}.gone")

    def arguments(self, *arguments, cover=True, pending=None, forks=10, play=PLAY, **given):
        hosts = [
            {
                "host": name,
                "reachable": True,
                "target_version": "2.14.3",
                "proxies": [
                    {
                        "name": name,
                        "possible": cover,
                        "pending": ["version"] if pending is None or name in pending else [],
                        "claims": self.mesh.claims(name),
                    }
                ],
            }
            for name in self.names
        ]
        away = {"ansible_connection": "ssh", "ansible_host": "192.0.2.1", "ansible_ssh_timeout": 1}
        inventory = {"fleet": {"hosts": {name: away if name in self.unreachable else {} for name in self.names}}}
        inventory["fleet"]["vars"] = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        (self.directory / "inventory.json").write_text(json.dumps(inventory))
        (self.directory / "play.yml").write_text(play)
        variables = {
            "api_url": self.mesh.way.url,
            "api_token": self.mesh.control_plane.token,
            "mesh": self.mesh.name,
            "run_dir": str(self.directory / "runs"),
            "dir": str(self.directory),
            "rolled_hosts": hosts,
            "roll_settings": {"soak": 0, "propagation_delay": 0, "gate_timeout": 20, **given},
        }
        (self.directory / "variables.json").write_text(json.dumps(variables))
        local = [] if self.unreachable else ["-c", "local"]
        way = ["-i", self.directory / "inventory.json", "-f", forks, *local, self.directory / "play.yml"]
        return [*map(str, way), "-e", f"@{self.directory / 'variables.json'}", *arguments]

    def play(self, *arguments, **given):
        return self.ansible_playbook(*self.arguments(*arguments, **given))

    def begin(self, **given):
        """A play in a session of its own, which can be killed as a whole."""
        command, environment = ["ansible-playbook", *self.arguments(**given)], {**os.environ, "ANSIBLE_NOCOLOR": "1"}
        output = (self.directory / "output").open("w")
        with output:
            return subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)

    def finished(self):
        return json.loads((self.directory / "finished.json").read_text())

    def journals(self):
        return [roll_journal.Journal(str(path.parent)) for path in (self.directory / "runs").glob("*/*/head.json")]

    def close(self):
        self.stop.set()
        self.thread.join()


@pytest.fixture
def fleet(control_plane, ansible_playbook, tmp_path):
    with contextlib.ExitStack() as stack:

        def make(number, quick=True):
            names = [f"web-{index}" for index in range(1, number + 1)]
            mesh = Mesh(control_plane, dict.fromkeys(names, "web"))
            stack.callback(mesh.close)
            made = Fleet(mesh, tmp_path, names, ansible_playbook)
            stack.callback(made.close)
            if quick:
                (tmp_path / "callback_plugins").mkdir()
                (tmp_path / "callback_plugins/quick.py").write_text(QUICK)
            return made

        yield make


@pytest.mark.parametrize(
    ("number", "forks"), [(3, 1), (3, 10), pytest.param(6, 1, marks=pytest.mark.nightly), pytest.param(6, 10, marks=pytest.mark.nightly)]
)
def test_a_fleet_is_rolled_with_any_number_of_forks(fleet, number, forks):
    made = fleet(number, quick=number == 3)
    run = made.play("-vvv", forks=forks, limit="2")
    assert run.returncode == 0, run.stdout + run.stderr
    found = made.finished()
    assert found["counts"]["done"] == number, found
    assert made.most <= min(2, forks)
    assert len(re.findall(rf"^\[\d/{number}\] web-\d done in .* under cover", run.stdout, re.MULTILINE)) == number, run.stdout
    assert "about " in run.stdout
    journal = roll_journal.read_json(found["journal"])
    secrets = [made.mesh.control_plane.token, *made.mesh.tokens.values()]
    assert not any(secret in run.stdout + run.stderr + json.dumps(journal) for secret in secrets)
    assert "eyJ" not in run.stdout + run.stderr, "a token was printed"
    assert made.mesh.secrets() == set()
    own = {key: value for key, value in found.items() if not key.startswith("_")}
    return_docs.validate(own, "rollout")
    before = len(made.journals())
    again = made.play(pending=[])
    assert again.returncode == 0, again.stdout
    assert "skipped (nothing to do): web-1" in again.stdout
    assert len(made.journals()) == before, "a run was begun for nothing"


def test_the_token_of_a_cover_goes_to_the_module_alone(fleet, tmp_path):
    """On this machine there is no such proxy, so the module refuses; it has got the token all the same. Without pipelining it was in a file."""
    made = fleet(1)
    raw = PLAY[PLAY.index("          - name: Restart\n") : PLAY.index("        always:\n")]
    task = """          - name: Restart
            meshfleet.kuma.rollout:
              state: restart
              url: "{{ api_url }}"
              token: "{{ api_token }}"
              run: "{{ roll.run }}"
              run_dir: "{{ run_dir }}"
              restart: {drain_time: 10s, ready_timeout: 5}
            register: said
"""
    judged = PLAY.replace(raw, task).replace("said if said.unreachable | default(false) else said.stdout | from_json", "said")
    run = made.play("-vvv", "--diff", "-e", f"ansible_remote_tmp={tmp_path / 'remote'}", play=judged, gate_timeout=1)
    assert run.returncode == 2, run.stdout
    assert "kuma-dp@web-1.service" in run.stdout
    assert "run the playbook join_mesh on this VM first" in run.stdout
    assert "web-1-cover" in run.stdout, "the invocation shows the Dataplane of the cover"
    assert made.mesh.way.count("POST", "/tokens/") == 1
    assert "eyJ" not in run.stdout + run.stderr
    assert (tmp_path / "remote").is_dir(), "nothing was put there at all"
    assert [path for path in (tmp_path / "remote").rglob("*") if path.is_file()] == []
    assert made.mesh.serves("web-1")


def test_check_mode_shows_the_plan_and_writes_nothing(fleet):
    made = fleet(4)
    run = made.play("--check", cover=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "4 hosts to roll" in run.stdout
    assert "canaries, the first alone: web-1" in run.stdout
    assert not (made.directory / "runs").exists()
    assert {method for method, _target in made.mesh.way.seen} == {"GET"}


def test_a_failure_stops_the_roll_and_the_play_names_each_host(fleet):
    made = fleet(3)
    made.results["web-1"] = {"failed": True, "msg": "kuma-dp does not start", "results": []}
    run = made.play(cover=False)
    assert run.returncode == 2, run.stdout
    text = " ".join(run.stdout.split())
    assert "web-1 (failed): kuma-dp does not start" in text
    assert "web-3 (refused): the roll was stopped: 1 failed (web-1), max_failures is 0" in text
    assert all(made.mesh.serves(name) for name in made.names)


def test_an_unreachable_host_counts_and_the_others_are_refused(fleet):
    made = fleet(3)
    made.unreachable = {"web-1"}
    run = made.play(gate_timeout=1)
    assert run.returncode == 2, run.stdout
    text = " ".join(run.stdout.split())
    assert "web-1 (unreachable): the host could not be reached" in text
    assert "web-3 (refused): the roll was stopped" in text


def until(what, seconds=60):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_killed_controller_leaves_nobody_behind_and_is_continued(fleet):
    made = fleet(3)
    made.held = {"web-2"}
    first = made.begin(cover=False, forks=6, canaries=1)
    try:
        until((made.directory / "web-2.go").exists)
        assert not made.mesh.serves("web-2")
        # A second roller meanwhile.
        second = made.play(cover=False)
        assert second.returncode == 2
        assert "rolls mesh" in second.stdout
        assert "already (run" in second.stdout
        (journal,) = made.journals()
        # The main process alone: its workers find out by themselves that it is gone.
        os.kill(first.pid, signal.SIGKILL)
        first.wait()

        def workers():
            return [pid for pid in pathlib.Path("/proc").glob("[0-9]*") if in_session(pid, first.pid)]

        until(lambda: not [pid for pid in workers() if b"ansible-playbook" in command_line(pid)])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)
    done = {host for host, record in journal.records().items() if record["status"] == "done"}
    assert "web-1" in done
    (made.directory / "web-2.go").unlink()
    made.held = set()
    run = made.play(cover=False, pending=set(made.names) - done)
    assert run.returncode == 0, run.stdout + run.stderr
    found = made.finished()
    assert found["run"] == journal.run
    assert found["counts"]["done"] == 3, found
    assert "continues an earlier run" in run.stdout
    records = journal.records()
    rest = [host for host in records if host not in done]
    assert len(rest) == 2
    assert min(rest, key=lambda host: records[host]["admitted"]) == "web-2", "the leftover did not go first"
    assert all(made.mesh.serves(name) for name in made.names)
    assert made.mesh.secrets() == set()


def in_session(process, session):
    with contextlib.suppress(OSError):
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return int(fields[3]) == session and fields[0] != "Z"
    return False


def command_line(process):
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_bytes()
    return b""
