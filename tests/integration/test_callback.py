# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ansible-playbook prints with the callback meshfleet.kuma.fleet: as much for 20 hosts as for 4."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.unit.sockets import sign

ROOT = pathlib.Path(__file__).parents[2]
FEW, MANY = 4, 20
UNREACHABLE = 4  # the exit code of ansible-playbook

NOBODY = "[WARNING]: Could not match supplied host pattern, ignoring: meshfleet_kuma_zone_join"

# What a rerun consists of: nothing is changed, and one task says so.
AS_IT_SHOULD_BE = """
- name: Find the fleet
  hosts: all
  gather_facts: false
  tasks:
    - {name: Check, ansible.builtin.assert: {that: ansible_play_hosts_all | length > 0, quiet: true}}
    - {name: Group, ansible.builtin.group_by: {key: fleet}, changed_when: false}
- name: Nobody is in this one
  hosts: all:!all
  tasks: []
- name: Join
  hosts: fleet
  gather_facts: false
  tasks:
    - {name: Publish, ansible.builtin.set_fact: {number: "{{ item }}"}, loop: [1, 2]}
    - {name: Skip, ansible.builtin.fail: {msg: never}, when: false}
    - {name: Include, ansible.builtin.include_tasks: included.yml}
    - name: Summary
      ansible.builtin.debug:
        msg: ["unchanged ({{ ansible_play_hosts | length }})", "outbound ports: backend=10001"]
      run_once: true
"""
PRINTED_OF_IT = """
PLAY [Find the fleet]

PLAY [Nobody is in this one]

PLAY [Join]

TASK [Summary]
unchanged (4)
outbound ports: backend=10001

PLAY RECAP
ok (4): vm1, vm2, vm3, vm4
"""
INCLUDED = """
- {name: Say nothing, ansible.builtin.set_fact: {number: 3}}
"""
# A play over hosts of which those with odd numbers have a problem.
WITH_PROBLEMS = """
- name: Join
  hosts: all
  gather_facts: false
  vars: {odd: "{{ inventory_hostname[2:] | int % 2 == 1 }}"}
  tasks:
    - {name: Write, ansible.builtin.set_fact: {written: true}, changed_when: true}
    - {name: Say hello, ansible.builtin.debug: {msg: hello}}
    - {name: Tolerate, ansible.builtin.fail: {msg: "{{ inventory_hostname }}: no matter"}, ignore_errors: true}
    - {name: Keep it, ansible.builtin.fail: {msg: "{{ 'a ' ~ 'secret' }}"}, no_log: true, ignore_errors: true}
    - {name: Loop, ansible.builtin.fail: {msg: "no {{ item }}"}, loop: [a, b], when: odd | bool, ignore_errors: true}
    - {name: Stop, ansible.builtin.fail: {msg: "{{ inventory_hostname }}: no port is free\\nexpected one"}, when: odd | bool}
"""
PRINTED_OF_PROBLEMS = """
PLAY [Join]

TASK [Write]
changed (4): vm1, vm2, vm3, vm4

TASK [Say hello]
vm1, vm2, vm3, vm4: hello

TASK [Tolerate]
failed, ignored on vm1, vm2, vm3, vm4:
  no matter

TASK [Keep it]
failed, ignored on vm1, vm2, vm3, vm4:
  the output has been hidden due to the fact that 'no_log: true' was specified for this result

TASK [Loop]
failed, ignored on vm1, vm3 (item=a):
  no a
failed, ignored on vm1, vm3 (item=b):
  no b

TASK [Stop]
FAILED on vm1, vm3:
  no port is free
  expected one

PLAY RECAP
changed (2): vm2, vm4
ignored (4): vm1, vm2, vm3, vm4
failed (2): vm1, vm3
"""


@pytest.fixture
def play(ansible_playbook, tmp_path):
    """``play(text, hosts, ...)`` runs a playbook over so many hosts that are this machine."""
    (tmp_path / "ansible.cfg").write_text("[defaults]\nstdout_callback = meshfleet.kuma.fleet\n")
    (tmp_path / "included.yml").write_text(INCLUDED)

    def run(text, number, *arguments, path=None, common=None, **hosts):
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **(common or {})}
        machines = {f"vm{index}": hosts.get(f"vm{index}", {}) for index in range(1, number + 1)}
        inventory = {"all": {"children": {"mesh_fleet": {"hosts": machines}}, "vars": local}}
        (tmp_path / "inventory.json").write_text(json.dumps(inventory))
        if path is None:
            path = tmp_path / "site.yml"
            path.write_text(text)
        environment = {"ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "COLUMNS": "1"}
        return ansible_playbook("-i", tmp_path / "inventory.json", path, *arguments, environment=environment, cwd=tmp_path)

    run.directory = tmp_path
    return run


def lines(run):
    """What was printed, without the stars behind the names of plays and tasks."""
    assert " ".join(run.stderr.split()) in ("", NOBODY), run.stderr
    return [line.rstrip("* ") for line in run.stdout.splitlines()]


def test_a_fleet_that_is_as_it_should_be_prints_as_much_whatever_its_size(play):
    few, many = (play(AS_IT_SHOULD_BE, number) for number in (FEW, MANY))
    assert (few.returncode, many.returncode) == (0, 0), few.stdout + many.stdout
    assert "\n".join(lines(few)).strip() == PRINTED_OF_IT.strip()
    assert len(lines(few)) == len(lines(many)) < 40
    assert "ok (20): vm1, vm2, vm3, vm4, vm5, vm6, vm7, vm8, vm9, vm10 ... and 10 more" in lines(many)


def test_problems_are_printed_once_whatever_the_size_of_the_fleet(play):
    few, many = (play(WITH_PROBLEMS, number) for number in (FEW, MANY))
    assert "\n".join(lines(few)).strip() == PRINTED_OF_PROBLEMS.strip()
    assert len(lines(few)) == len(lines(many))
    assert "FAILED on vm1, vm3, vm5, vm7, vm9, vm11, vm13, vm15, vm17, vm19:" in lines(many)
    assert "a secret" not in few.stdout + play(WITH_PROBLEMS, 1, "-v").stdout


def test_hosts_that_do_not_wait_for_each_other_print_each_problem_at_most_twice(play):
    free = WITH_PROBLEMS.replace("gather_facts:", "strategy: ansible.builtin.free\n  gather_facts:")
    few, many = (lines(play(free, number)) for number in (FEW, MANY))
    for found in (few, many):
        assert 1 <= found.count("  expected one") <= 2
        assert 1 <= sum(line.endswith(": hello") for line in found) <= 2
    assert "failed (2): vm1, vm3" in few
    assert "failed (10): vm1, vm3, vm5, vm7, vm9, vm11, vm13, vm15, vm17, vm19" in many


REQUIRED = {
    "kuma_dp_control_plane_url": "http://127.0.0.1:1",
    "kuma_dp_control_plane_ca": sign("a CA", ca=True).pem,
    "kuma_dp_version": "2.14.3",
}


def test_a_fleet_that_cannot_be_reached_is_one_problem_of_a_join(play):
    """Although SSH names another address for each of its hosts."""
    said = []
    for number in (FEW, MANY):
        hosts = {f"vm{index}": {"ansible_host": f"127.0.0.{index}"} for index in range(1, number + 1)}
        common = {
            "ansible_connection": "ssh",
            "ansible_port": 1,
            "ansible_become": False,
            "kuma_dp_archive_checksum": "0" * 64,
            **REQUIRED,
        }
        run = play("", number, path=ROOT / "playbooks/join_mesh.yml", common=common, **hosts)
        assert run.returncode == UNREACHABLE, run.stdout
        said.append(lines(run))
    few, many = said
    at = few.index("UNREACHABLE: vm1, vm2, vm3, vm4")
    assert few[at - 1].startswith("TASK [meshfleet.kuma.kuma_dp : Look at the VM")
    assert few[at + 1].endswith("ssh: connect to host <host> port 1: Connection refused")
    assert len(few) == len(many) < 40


def test_a_misspelt_option_is_printed_as_text(play):
    run = play("", FEW, path=ROOT / "playbooks/join_mesh.yml", common={**REQUIRED, "kuma_dp_upstream": [], "kuma_dp_srevices": []})
    said = lines(run)
    at = said.index("FAILED on vm1:")
    assert said[at + 1] == "  Nothing was asked and nothing was written. 2 problems were found:"
    assert [line[:5] for line in said[at + 2 : at + 4]] == ["    1", "    2"]
    assert run.stdout.count("kuma_dp_srevices is set") == 1


def test_diffs_stand_below_the_name_of_their_host(play):
    text = """
- name: Write
  hosts: all
  gather_facts: false
  tasks:
    - name: A file
      ansible.builtin.copy: {content: "{{ inventory_hostname }}\\n", dest: "{{ playbook_dir }}/{{ inventory_hostname }}", mode: "0600"}
"""
    said = lines(play(text, 2, "--diff"))
    for name in ("vm1", "vm2"):
        at = said.index(f"{name}:")
        assert said[at + 1].startswith("--- before")
        assert f"+{name}" in said[at : at + 6]
    assert said.count("TASK [A file]") == 1
    assert "changed (2): vm1, vm2" in said
    assert not any(line.startswith(("---", "changed (2): vm1, vm2", "TASK")) for line in lines(play(text, 2, "--diff")))


def test_what_was_collected_is_printed_when_a_play_is_interrupted(play):
    text = """
- name: Long
  hosts: all
  gather_facts: false
  tasks:
    - name: Wait
      ansible.builtin.shell: "{{ 'echo why >&2; exit 1' if inventory_hostname == 'vm1' else 'until test -e ' ~ playbook_dir ~ '/end; do sleep 0.1; done' }}"
"""
    play(text, 2, "--list-hosts")
    events = play.directory / "events"
    # The journal of the tests tells when the callback has heard of the failure.
    journal = {"ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/lab/callback_plugins"), "ANSIBLE_CALLBACKS_ENABLED": "lab_events"}
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(play.directory / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "LAB_EVENTS": str(events),
        **journal,
    }
    command = ["ansible-playbook", "-i", "inventory.json", "site.yml"]
    process = subprocess.Popen(command, cwd=play.directory, env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (events.exists() and '"status": "failed"' in events.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, _errors = process.communicate(timeout=60)
    finally:
        (play.directory / "end").touch()
        process.kill()
        process.wait()
    assert "FAILED on vm1:\n  non-zero return code\n  rc: 1\n" in said
    assert "  stderr:\n    why\n" in said
    assert "PLAY RECAP" not in said
