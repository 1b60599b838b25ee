# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every play begins with: misspelt and missing variables, wrong values, impossible names and a missing library stop it before anything
is asked."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import sys

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.vocabulary import vocabulary
from tests.unit import http_server

ROOT = pathlib.Path(__file__).parents[2]
BAD_NAMES = {"web-1": "..", "web-2": ".", "web-3": "", "web-4": "a/b", "web-5": "-x", "web-6": "x" * 300}
# Names that roles give to values of their own: those that resemble no option, and those that do.
OWN = {name: verdict.options for name in sorted(vocabulary().own) for verdict in [vocabulary().judge(name)] if verdict}
STRANGE = next(name for name in OWN if not OWN[name])
NEAR, NEAREST = next((name, options[0]) for name, options in OWN.items() if len(options) == 1)
REFUSED = "Nothing was asked and nothing was written."


@pytest.fixture
def play(ansible_playbook, tmp_path):
    """``play(book, hosts, ...)`` runs a playbook over hosts that are this machine; ``play.asked()`` are the requests to the control plane."""
    with contextlib.closing(http_server.Server(lambda request: http_server.problem(403, "Access Denied"))) as server:

        def run(book, hosts, *arguments, common=None, zone=(), environment=None, book_text=""):
            inventory = {
                "all": {
                    "hosts": {"a-stranger": {"kuma_dp_strange": 1}},
                    "children": {
                        "mesh_fleet": {"hosts": hosts},
                        "mesh_zone_proxies": {"hosts": {host: {} for host in zone}},
                        "kuma_control_plane": {"hosts": {host: {} for host in hosts}},
                    },
                    "vars": {
                        "ansible_connection": "local",
                        "ansible_become": False,
                        "ansible_python_interpreter": sys.executable,
                        "kuma_dp_control_plane_url": server.url,
                        "kuma_dp_control_plane_ca": "ca.pem",
                        "kuma_dp_archive_cache": str(tmp_path / "cache"),
                        "kuma_dp_config_dir": str(tmp_path / "etc"),
                        "kuma_dp_install_dir": str(tmp_path / "opt"),
                        "kuma_dp_version": "2.14.3",
                        "kuma_dp_archive_checksum": "0" * 64,
                        "kuma_zone_proxy_type": "ingress",
                        "kuma_cp_version": "2.14.3",
                        "kuma_cp_archive_checksum": "0" * 64,
                        "kuma_maintenance": "fenced",
                        **(common or {}),
                    },
                }
            }
            (tmp_path / "inventory.json").write_text(json.dumps(inventory))
            path = ROOT / f"playbooks/{book}.yml"
            if book_text:
                path = tmp_path / "site.yml"
                path.write_text(book_text)
            variables = {"KUMA_API_TOKEN": "none", "COLUMNS": "10000", **(environment or {})}
            return ansible_playbook("-i", tmp_path / "inventory.json", path, *arguments, environment=variables, cwd=tmp_path)

        run.directory = tmp_path
        run.asked = lambda: list(server.requests)
        yield run


def problems(run):
    """The problems of a refused run, which the first task named, each of them once."""
    said = run.stdout + run.stderr
    assert run.returncode != 0, said
    assert REFUSED in said
    assert "Look at the VM" not in said
    assert "Group the hosts" not in said
    result = json.loads(re.search(r"FAILED! => (\{.*\})", run.stdout)[1])
    assert result.keys() == {"changed", "msg"}
    first, *found = re.split(r"\n  \d+\. ", result["msg"])
    assert first == f"{REFUSED} {len(found)} problem{'s were' if found[1:] else ' was'} found:"
    return found


def assert_untouched(play):
    assert play.asked() == []
    assert {path.name for path in play.directory.iterdir()} <= {"inventory.json", "site.yml", "group_vars", "host_vars", "none"}


def test_misspelt_variables_are_refused_wherever_they_are_set(play):
    for place, name in (("group_vars/mesh_fleet", "kuma_dp_upstream"), ("host_vars/web-2", "kuma_dp_srevices")):
        (play.directory / place).parent.mkdir()
        (play.directory / f"{place}.yml").write_text(f"{name}: []\nkuma_dp_favourite: 1\nnginx_upstream: 2\n")
    run = play(
        "join_mesh",
        {
            "web-1": {"uma_dp_name": 1, STRANGE: []},
            "web-2": {"kuma_dp_control_plane_url_east": "x", NEAR: 1},
            "web-3": {"kuma_dp_service": []},
        },
        *("-e", "kuma_dp_vresion=2", "-e", json.dumps({"kuma_flet": "web", "kuma_dp_name_": "{{ nobody }}"})),
        common={"kuma_cp_zon": 1, "kuma_dp_drain_timeout": "1s"},
        zone=["zone-1"],
        book_text=f"- import_playbook: {ROOT}/playbooks/join_mesh.yml\n  vars: {{kuma_dp_labls: 1}}\n",
    )
    found = {re.search(r": (\S+) is set and is no option, expected (.*)\. Correct", problem).groups() for problem in problems(run)}
    assert found == {
        ("kuma_cp_zon", "kuma_cp_zone"),
        ("kuma_dp_drain_timeout", "kuma_dp_drain_time"),
        ("kuma_dp_labls", "kuma_dp_labels"),
        ("kuma_dp_name_", "kuma_dp_name"),
        ("kuma_dp_service", "kuma_dp_services"),
        ("kuma_dp_srevices", "kuma_dp_services"),
        ("kuma_dp_upstream", "kuma_dp_upstreams"),
        ("kuma_dp_vresion", "kuma_dp_version"),
        ("kuma_flet", "kuma_fleet"),
        ("uma_dp_name", "kuma_dp_name"),
    }
    assert any(problem.startswith("web-1, web-2, web-3: kuma_dp_upstream is") for problem in problems(run))
    assert "web-1, web-2, web-3: kuma_dp_favourite is set and is no option of any role" in " ".join((run.stdout + run.stderr).split())
    said = " ".join((run.stdout + run.stderr).split())
    # Names that roles give to values of their own, one of a host that runs the task and one of another; and a helper.
    for warning in (
        f"web-1: {STRANGE} is set and is no option of any role, but a name",
        f"web-2: {NEAR} is set and is no option of any role (the nearest is {NEAREST}), but a name",
        "web-2: kuma_dp_control_plane_url_east is set and is no option of any role (the nearest is kuma_dp_control_plane_url), so",
    ):
        assert warning in said
    assert said.count("but a name") == 2, "what the role sets for its tasks is its own"
    assert "kuma_dp_strange" not in run.stdout + run.stderr, "it is set for a host outside of the fleet"
    assert_untouched(play)


@pytest.mark.parametrize("book", ["join_mesh", "rotate_ca", "leave_mesh", "maintenance", "migration_report"])
def test_names_and_meshes_that_are_none_are_refused(play, book):
    hosts = {host: {"kuma_dp_name": name, "kuma_dp_mesh": name} for host, name in BAD_NAMES.items()}
    hosts["web-7"] = {"kuma_dp_name": "{{ 'c/' ~ inventory_hostname }}"}
    hosts["web-8"] = {"kuma_dp_name": "{{ nobody }}"}
    hosts["web-9"] = {"kuma_dp_proxies": [{"name": "good"}, {"name": "d/{{ inventory_hostname }}"}]}
    found = problems(play(book, hosts))
    shown = ", ".join(f"'{name}' ({host})" for host, name in list(BAD_NAMES.items())[:5])
    assert found[0].startswith("web-9: a name in kuma_dp_proxies is 'd/web-9', expected")
    assert found[1].startswith(f"kuma_dp_mesh is {shown} and something else on 1 more, expected")
    assert found[2].startswith(f"kuma_dp_name is {shown} and something else on 2 more, expected"), "those of web-6 and web-7"
    assert len(found) == 3
    assert_untouched(play)


def test_a_name_on_the_command_line_takes_nothing_away(play):
    (found,) = problems(play("leave_mesh", {"web-1": {}, "web-2": {}}, "-e", "kuma_dp_name=.."))
    assert found.startswith("web-1, web-2: kuma_dp_name is '..', expected a lower-case DNS name")
    assert_untouched(play)


# Of each kind one that is none, and what is expected of it.
NO_PARTS = {
    "kuma_dp_config_dir": ("/etc/kuma/..", naming.PATH),
    "kuma_dp_install_dir": ("/opt/kuma %i", naming.PATH),
    "kuma_dp_version": ("../2.14.3", naming.VERSION),
    "kuma_dp_user": ("-r", naming.ACCOUNT),
    "kuma_dp_group": ("a\nb", naming.ACCOUNT),
    "kuma_dp_archive_cache": ("x" * 300, naming.PLACE),
    "kuma_dp_roll_dir": ("a\x07", naming.PLACE),
    "kuma_dp_application_units[0]": ("a b", naming.UNIT),
}


def parts(prefix="kuma_dp_"):
    """Hosts of which each has another of them, and what has to be told."""
    chosen = {f"web-{index}": entry for index, entry in enumerate(NO_PARTS.items(), 1)}
    hosts, told = {}, set()
    for host, (place, (value, rule)) in chosen.items():
        variable, list_of, _rest = place.replace("kuma_dp_", prefix).partition("[0]")
        hosts[host] = {variable: [value] if list_of else value}
        told.add(f"{host}: {variable}{list_of} is {naming.shown(value)}, expected {naming.expected(rule)}")
    return hosts, told


@pytest.mark.parametrize("book", ["join_mesh", "leave_mesh", "maintenance", "rolling_restart", "upgrade"])
def test_what_cannot_be_part_of_a_path_is_refused(play, book):
    hosts, told = parts()
    hosts["web-0"] = {"kuma_dp_proxies": [{"name": "a"}, {"name": "%2e%2e"}]}
    told.add(f"web-0: a name in kuma_dp_proxies is '%2e%2e', expected {naming.EXPECTED_PROXY}")
    zone = []
    if book != "maintenance":
        zone, hosts["gate-1"] = ["gate-1"], {"kuma_zone_proxy_name": "a/b", "kuma_zone_proxy_zone": "../x"}
        told.add(f"gate-1: kuma_zone_proxy_name is 'a/b', expected {naming.EXPECTED_PROXY}")
        told.add(f"gate-1: kuma_zone_proxy_zone is '../x', expected {naming.EXPECTED_LOOSE}")
    run = play(book, hosts, zone=zone, common={"kuma_dp_services": [{"name": "web", "port": 80}]})
    assert set(problems(run)) == told
    assert_untouched(play)


def test_what_cannot_be_part_of_a_path_of_a_control_plane_is_refused(play):
    hosts, told = parts("kuma_cp_")
    hosts = {host: own for host, own in hosts.items() if not {"kuma_cp_roll_dir", "kuma_cp_application_units"} & set(own)}
    told = {problem for problem in told if problem.split(":")[0] in hosts}
    assert len(told) == 6
    run = play("control_plane", hosts)
    assert set(problems(run)) == told
    assert_untouched(play)


def test_values_of_another_type_and_missing_options_are_told_at_once(play):
    hosts = {
        "web-1": {"kuma_dp_concurrency": "many", "kuma_transparent_proxy_vnet": "docker0"},
        "web-2": {"kuma_dp_concurrency": "{{ 'many' }}", "kuma_dp_lifecycle": "Direct", "kuma_dp_wait_timeout": 5},
        "web-3": {"kuma_dp_services": "{{ mine }}", "mine": {"name": "web"}, "kuma_dp_upstreams": "{{ nobody }}"},
        "web-4": {"kuma_dp_environment": "PASSWORD=geheim", "kuma_dp_api_token": ["geheim"], "kuma_zone_proxy_port": "of no use here"},
    }
    run = play(
        "",
        hosts,
        *("-e", "kuma_dp_roll_max_failures=2"),
        common={"kuma_dp_version": "", "kuma_zone_proxy_leave_last": "perhaps"},
        zone=["gate-1"],
        book_text=f"- import_playbook: {ROOT}/playbooks/join_mesh.yml\n  vars: {{kuma_dp_wait_timeout: soon, kuma_dp_restart: '{{{{ nobody }}}}'}}\n",
    )
    assert problems(run) == [
        "web-1, web-2, web-3 and 2 more: kuma_dp_version is not set, expected the release that runs, without v, such as 2.14.3",
        "web-4: kuma_dp_api_token is a list, expected a text",
        "web-1, web-2: kuma_dp_concurrency is 'many', expected a whole number",
        "web-4: kuma_dp_environment is a text, expected a mapping",
        "web-2: kuma_dp_lifecycle is 'Direct', expected indirect or direct",
        "web-3: kuma_dp_services is a mapping, expected a list",
        "all hosts of the play: kuma_dp_wait_timeout is 'soon', expected a whole number",
        "web-1: kuma_transparent_proxy_vnet is 'docker0', expected a list",
        "gate-1: kuma_zone_proxy_leave_last is 'perhaps', expected true or false",
    ]
    said = run.stdout + run.stderr
    assert "geheim" not in said
    assert len(said) < 5000, "the options of a role are not printed"
    assert_untouched(play)


def test_options_of_control_planes_are_told_of_all_at_once(play):
    hosts = {"one": {"kuma_cp_version": "2.14.3"}, "two": {"kuma_cp_http_port": "http"}, "three": {"kuma_cp_http_port": "http"}}
    assert problems(play("control_plane", hosts, common={"kuma_cp_version": None, "kuma_cp_tls_key": {"key": 1}})) == [
        "two, three: kuma_cp_version is not set, expected the release that runs, without v, such as 2.14.3",
        "two, three: kuma_cp_http_port is 'http', expected a whole number",
        "one, two, three: kuma_cp_tls_key is a mapping, expected a text",
    ]
    assert_untouched(play)


@pytest.mark.parametrize(
    ("role", "entry", "said"),
    [
        ("kuma_dp", "main", ["all hosts of the play: kuma_dp_upstream is", "web-1, web-2: kuma_dp_mesh is '../x'"]),
        ("kuma_dp", "leave", ["all hosts of the play: kuma_dp_upstream is", "web-1, web-2: kuma_dp_mesh is '../x'"]),
        ("kuma_zone_proxy", "main", ["all hosts of the play: kuma_dp_upstream is", "web-1, web-2: kuma_dp_mesh is '../x'"]),
        ("kuma_zone_proxy", "leave", ["all hosts of the play: kuma_dp_upstream is", "web-1, web-2: kuma_dp_mesh is '../x'"]),
        ("kuma_cp", "main", ["all hosts of the play: kuma_dp_upstream is", "all hosts of the play: kuma_cp_config_dir is '/etc/..'"]),
    ],
)
def test_a_role_on_its_own_begins_with_the_check_and_stops_all_hosts(play, role, entry, said):
    task = (
        f"{{import_role: {{name: meshfleet.kuma.{role}, tasks_from: {entry}}}, "
        "vars: {kuma_dp_upstream: [], kuma_dp_mesh: ../x, kuma_cp_config_dir: /etc/..}}"
    )
    run = play("", {"web-1": {}, "web-2": {}}, book_text=f"- hosts: mesh_fleet\n  gather_facts: false\n  tasks: [{task}]\n")
    found = problems(run)
    assert len(found) == len(said)
    for problem, wanted in zip(found, said, strict=True):
        assert problem.startswith(wanted)
    assert_untouched(play)


def test_a_controller_without_requests_is_told_the_command(play):
    (play.directory / "none").mkdir()
    (play.directory / "none/requests.py").write_text("raise ImportError('No module named requests')\n")
    path = os.pathsep.join([str(play.directory / "none"), os.environ["PYTHONPATH"]])
    (found,) = problems(play("join_mesh", {"web-1": {}}, environment={"PYTHONPATH": path}))
    (python,) = re.findall(r"(\S+) -m pip install 'requests>=2", found)
    assert pathlib.Path(python).samefile(sys.executable)
    assert_untouched(play)


def test_a_correct_inventory_passes_without_a_word(play):
    hosts = {
        "web_1": {"kuma_dp_name": "web-1", "kuma_dp_upstreams": [], "nginx_upstream": 1},
        "web-2": {"kuma_dp_name": "{{ name_of_mine }}"},
    }
    run = play("leave_mesh", hosts, "-e", "name_of_mine=two", "--check")
    assert "Look at the VM" in run.stdout
    assert "Validating arguments" not in run.stdout, "Ansible's own check of a role, once more for each host"
    assert REFUSED not in run.stdout
    assert "is no option" not in run.stdout + run.stderr
