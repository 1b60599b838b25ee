# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of the roles kuma_cp and kuma_transparent_proxy in a real play, as far as they need no VM."""

from __future__ import annotations

import json
import pathlib
import stat
import sys
import urllib.parse

import pytest

LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_host": "10.0.0.5"}


@pytest.fixture
def play(ansible_playbook, tmp_path):
    """``play(tasks, variables, *arguments)`` on the host cp."""

    def run(tasks, variables, *arguments):
        inventory, book = tmp_path / "inventory.json", tmp_path / "play.json"
        inventory.write_text(json.dumps({"all": {"hosts": {"cp": variables}}}))
        book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        return ansible_playbook("-i", inventory, book, *arguments, cwd=tmp_path)

    return run


@pytest.fixture
def handing(control_plane, tmp_path, play):
    """``handing(*arguments)`` has the stand-in handed over, whose token lies on the VM as the role keeps it, and prints all variables."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/admin-token").write_text(control_plane.token)
    variables = {
        **LOCAL,
        "kuma_cp_version": control_plane.version,
        "kuma_cp_config_dir": str(tmp_path / "config"),
        "kuma_cp_localhost_is_admin": False,
        "kuma_cp_http_port": urllib.parse.urlsplit(control_plane.url).port,
        "kuma_cp_fetch_dir": str(tmp_path / "kept/cp"),
        "kuma_cp_deployed": {"ca": pathlib.Path(control_plane.ca_file).read_text(), "actions": []},
    }
    tasks = [
        {"meshfleet.kuma.control_plane_hand_over": None, "register": "handed"},
        {"ansible.builtin.debug": {"var": "handed"}},
        {"ansible.builtin.debug": {"var": "vars"}},
        {"ansible.builtin.debug": {"var": "hostvars"}},
    ]
    return lambda *arguments: play(tasks, variables, *arguments)


def test_the_token_goes_to_its_file_and_is_printed_nowhere(handing, control_plane, tmp_path):
    run = handing("-vvvv", "--diff")
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    assert (tmp_path / "kept/cp/admin-token").read_text() == control_plane.token
    assert (tmp_path / "kept/cp/ca.pem").read_text() == pathlib.Path(control_plane.ca_file).read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "kept/cp", tmp_path / "kept")} == {0o700}
    for part in (control_plane.token, control_plane.token.rpartition(".")[2]):
        assert part not in said
    assert "https://10.0.0.5:5682" in said
    again = handing("--diff")
    assert "changed=0" in again.stdout, again.stdout + again.stderr


def test_a_check_keeps_nothing_on_the_controller(handing, control_plane, tmp_path):
    run = handing("--check", "--diff", "-vvvv")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "changed=1" in run.stdout
    assert control_plane.token not in run.stdout + run.stderr
    assert not (tmp_path / "kept").exists()


def test_what_speaks_against_a_control_plane_comes_in_one_message_from_the_controller(play):
    variables = {
        **LOCAL,
        "kuma_cp_version": "2.14.3",
        "kuma_cp_names": ["https://kuma"],
        "kuma_cp_store": "etcd",
        "kuma_cp_archive": "nowhere.tar.gz",
        "kuma_cp_archive_checksum": "0" * 64,
        "kuma_cp_postgres_password": "geheim",
    }
    run = play([{"ansible.builtin.import_role": {"name": "meshfleet.kuma.kuma_cp"}}], variables, "-vvvv")
    assert run.returncode != 0
    for problem in ("3 problems were found", "cp: kuma_cp_names has", "cp: kuma_cp_store is", "cp: kuma_cp_archive is nowhere.tar.gz"):
        assert problem in run.stdout + run.stderr
    assert "geheim" not in run.stdout + run.stderr


def test_a_vm_whose_connections_are_not_redirected_is_not_visited(play):
    """Nothing is said of it either, such as that a task was skipped."""
    role = {"name": "meshfleet.kuma.kuma_transparent_proxy"}
    run = play([{"ansible.builtin.import_role": role}], {"ansible_host": "127.0.0.1", "ansible_port": 1})
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipping" not in run.stdout
    assert "unreachable=0" in run.stdout
