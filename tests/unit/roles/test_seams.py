# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the roles meet: hosts that dropped out, and VMs that have more than one role."""

from __future__ import annotations

import json
import pathlib

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._join.plan import Fleet
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import removal as vm_removal
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone.plan import Zones
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import plan
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.settings import Settings
from tests.unit import parsed

ROLES = pathlib.Path(__file__).parents[3] / "roles"
VARS = parsed.file(ROLES / "kuma_dp/vars/main.yml")


def lost(renderer, role, **known):
    """The entry of a host that was unreachable, as the template of a role makes it. The fleet is this host alone."""
    variables = {
        "ansible_search_path": [str(ROLES / role)],
        "groups": {"mesh_fleet": ["web-1"], "mesh_zone_proxies": ["web-1"]},
        "hostvars": {"web-1": known},
        "ansible_play_hosts_all": ["web-1"],
        "ansible_play_hosts": [],
        "kuma_dp_ip_pattern": VARS["kuma_dp_ip_pattern"],
    }
    (host,) = json.loads(renderer("hosts.json.j2", variables))
    assert (host["in_play"], host["dropped_out"]) == (False, True)
    return host


@pytest.mark.parametrize(
    "known",
    [
        {"kuma_transparent_proxy_enabled": True},
        {
            "kuma_dp_lifecycle": "direct",
            "kuma_dp_proxies": [
                {"name": "a", "dataplane_template": "a.yaml", "dataplane_vars": {"x": "y"}, "services": [{"name": "a", "port": 80}]}
            ],
        },
    ],
    ids=["redirected", "direct"],
)
def test_a_vm_that_is_unreachable_does_not_stop_the_others_by_what_is_sound(renderer, known):
    fleet = Fleet([lost(renderer, "kuma_dp", ansible_host="10.0.0.1", **known)], [], "v2", (2, 14, 3))
    fleet.plan()
    assert fleet.problems == []


def test_a_vm_that_is_unreachable_and_wrong_stops_the_others(renderer):
    fleet = Fleet([lost(renderer, "kuma_dp", ansible_host="10.0.0.1")], [], "v2", (2, 14, 3))
    fleet.plan()
    assert "kuma_dp_services is not set" in fleet.problems[0] or "kuma_dp_services is []" in fleet.problems[0]


@pytest.mark.parametrize(
    ("known", "problems"),
    [
        ({"ansible_host": "gate-1.example.com"}, []),
        ({}, []),
        ({"ansible_host": "10.0.0.1"}, []),
        ({"kuma_zone_proxy_address": "gate-1.example.com"}, ["web-1: kuma_zone_proxy_address is 'gate-1.example.com', expected the IP"]),
    ],
)
def test_a_zone_proxy_that_is_unreachable_need_not_tell_its_address(renderer, known, problems):
    zones = Zones([lost(renderer, "kuma_zone_proxy", kuma_zone_proxy_type="ingress", **known)], [], "v2", "default")
    zones.plan()
    assert len(zones.problems) == len(problems)
    assert all(problem.startswith(wanted) for problem, wanted in zip(zones.problems, problems, strict=True))


def proxies(**environments):
    """Facts of the proxies of a VM: ``name=<KUMA_DATAPLANE_PROXY_TYPE>``, empty for one of the mesh."""
    return {
        name: {"environment": {"KUMA_DATAPLANE_PROXY_TYPE": kind} if kind else {}, "unit": {"state": "inactive", "enabled": False}}
        for name, kind in environments.items()
    }


def task_of(role, file, name):
    return next(task for task in parsed.file(ROLES / role / "tasks" / file) if task["name"] == name)


def leaving(renderer, expression, found, names, changed=None, **host):
    variables = {
        "kuma_dp_proxy_names": names,
        "kuma_dp_reachable": True,
        "kuma_dp_look": {"host": {"proxies": found, "transparent_proxy": True, "control_plane": False, **host}},
        "kuma_dp_config_dir": "/etc/kuma",
        "kuma_dp_install_dir": "/opt/kuma",
        "kuma_dp_version": "2.14.3",
        "kuma_dp_leave_purge": True,
        **{key: VARS[key] for key in ("kuma_dp_state_dir", "kuma_dp_sysctl_path", "kuma_dp_restart_dir")},
        **(changed or {}),
    }
    derived = {key: VARS[key] for key in ("kuma_dp_staying", "kuma_dp_ca_path", "kuma_dp_version_dir")}
    removal = task_of("kuma_dp", "clean_up.yml", "Remove the files")
    derived.update(removal["vars"], kuma_dp_unit_paths="{{ ['/etc/systemd/system/kuma-dp@.service'] }}")
    return renderer.evaluate(expression, variables, derived)


@pytest.mark.parametrize(
    ("found", "led_past"),
    [
        (proxies(a=""), True),
        # Nobody takes what is redirected once the proxy of the mesh has stopped.
        (proxies(a="", gate="ingress"), True),
        (proxies(a="", gate="dataplane"), True),
        (proxies(a="", other=""), False),
    ],
)
def test_a_zone_proxy_does_not_keep_the_rules_of_the_mesh(renderer, found, led_past):
    task = task_of("kuma_dp", "leave.yml", "Lead the connections of the VM past its proxy again")
    assert leaving(renderer, task["when"], found, ["a"]) is led_past


@pytest.mark.parametrize(
    ("found", "names", "removed"),
    [
        (proxies(a="", gate="ingress"), ["a"], True),
        (proxies(a="", gate="ingress"), ["gate"], False),
        (proxies(a="", b=""), ["a"], False),
        (proxies(gate="ingress"), ["gate"], True),
    ],
)
def test_the_file_of_outbounds_goes_with_the_last_proxy_of_the_mesh(renderer, found, names, removed):
    task = task_of("kuma_dp", "clean_up.yml", "Remove the files")
    paths = leaving(renderer, task["meshfleet.kuma.proxy_files"]["absent"], found, names)
    assert ("/etc/kuma/outbounds.env" in paths) is removed


def removal(renderer, option, found=None, names=("a",), variables=None, **host):
    """An option of the removal of the files, as a leave gives it."""
    options = task_of("kuma_dp", "clean_up.yml", "Remove the files")["meshfleet.kuma.proxy_files"]
    return leaving(renderer, options[option], found or proxies(**dict.fromkeys(names, "")), list(names), variables, **host)


def test_releases_stay_where_a_control_plane_runs_one_of_them(renderer):
    assert removal(renderer, "absent_releases") == ["/opt/kuma"]
    assert removal(renderer, "absent_releases", control_plane=True) == []
    assert removal(renderer, "absent_releases", proxies(a="", b="")) == []


def test_a_purge_takes_what_an_interrupted_join_unpacked(renderer):
    assert removal(renderer, "absent_unfinished") == ["/opt/kuma/2.14.3"]
    # A leave needs no version.
    assert removal(renderer, "absent_unfinished", variables={"kuma_dp_version": ""}) == []
    assert removal(renderer, "absent_unfinished", variables={"kuma_dp_leave_purge": False}) == []
    assert removal(renderer, "absent_unfinished", control_plane=True) == []
    assert removal(renderer, "absent_unfinished", proxies(a="", b="")) == []


def test_what_a_leave_removes_is_allowed_to_it(renderer):
    options = vm_removal.OPTIONS
    for found in (proxies(a=""), proxies(a="", b="")):
        given = {option: removal(renderer, option, found) for option in options}
        planned, problems = vm_removal.plan(given)
        assert problems == []
        assert {step.path for step in planned} >= set(given["absent"])
    slashes = {"kuma_dp_config_dir": "/etc/kuma/", "kuma_dp_install_dir": "/opt//kuma/"}
    plans = [vm_removal.plan({option: removal(renderer, option, variables=given) for option in options}) for given in (slashes, {})]
    assert plans[0] == plans[1]
    assert plans[0][1] == []


def test_a_join_removes_what_an_older_release_laid_down_in_one_folder_and_nothing_that_it_lays_down(renderer):
    task = task_of("kuma_dp", "lay_down.yml", "Write all files")
    known = {
        "kuma_dp_proxy_names": ["a"],
        **{key: value for key, value in VARS.items() if key.startswith(("kuma_dp_restart_", "kuma_dp_state_"))},
    }
    given = {key: renderer.evaluate(task["meshfleet.kuma.proxy_files"][key], known, task["vars"]) for key in ("absent",)}
    given["below"] = [renderer.evaluate(path, known, {}) for path in task["meshfleet.kuma.proxy_files"]["below"]]
    planned, problems = vm_removal.plan(given)
    assert problems == []
    package = "/usr/local/lib/kuma-dp-restart/ansible_collections/meshfleet/kuma/plugins/module_utils/"
    paths = {step.path for step in planned}
    assert paths == {"/var/lib/kuma-dp/a/cover/token", *(f"{package}{name}.py" for name in VARS["kuma_dp_restart_old_sources"])}
    assert not paths & {f"{package}{name}.py" for name in VARS["kuma_dp_restart_sources"]}


@pytest.mark.parametrize("found", [proxies(a=""), proxies(a="", b="")])
def test_a_leave_takes_all_files_that_a_proxy_has(renderer, found):
    paths = files.Paths("a")
    absent = removal(renderer, "absent", found, names=["a"])
    own = [path for path in paths.started_with() if path not in (paths.unit, "/etc/kuma/control-plane-ca.pem")]
    assert set(absent) >= {*own, paths.directory, *(paths.kept_token(name) for name in ("started", "good", "cover"))}
    assert [path for path in absent if "b" in path.split("/")[-1].split(".")] == []


@pytest.mark.parametrize(
    ("names", "variables"),
    [
        ([".."], {}),
        ([""], {}),
        (["."], {}),
        (["../../passwd"], {}),
        (["a"], {"kuma_dp_config_dir": "/etc/kuma/.."}),
        (["a"], {"kuma_dp_config_dir": ""}),
        (["a"], {"kuma_dp_config_dir": "/etc/systemd"}),
        (["a"], {"kuma_dp_install_dir": "/"}),
        (["a"], {"kuma_dp_install_dir": "/opt/kuma/.."}),
        (["a"], {"kuma_dp_version": ".."}),
        (["a"], {"kuma_dp_version": "2.14/3"}),
    ],
)
def test_a_leave_with_a_typing_error_removes_nothing(renderer, names, variables):
    given = {option: removal(renderer, option, names=names, variables=variables) for option in vm_removal.OPTIONS}
    planned, problems = vm_removal.plan(given)
    assert planned == []
    assert problems != []


@pytest.mark.parametrize("directory", ["/etc", "/opt", "/usr/local", "/etc/default", "/usr/share/kuma-test", "/etc/ssl/kuma-test"])
def test_a_leave_takes_its_own_from_directories_of_others(renderer, directory):
    variables = {"kuma_dp_config_dir": directory, "kuma_dp_install_dir": directory}
    given = {option: removal(renderer, option, variables=variables) for option in vm_removal.OPTIONS}
    planned, problems = vm_removal.plan(given)
    assert problems == []
    assert {step.path for step in planned} == set(given["absent"])


@pytest.mark.parametrize(
    ("name", "host", "user", "group"),
    [
        ("kuma-dp", {"user_exists": True, "user_comment": "Kuma data plane proxies", "group_exists": True}, True, True),
        ("kuma-dp", {"user_exists": True, "user_comment": "Kuma data plane proxies", "group_exists": False}, True, False),
        # The role made the user, and nobody knows who made this group.
        ("ssl-cert", {"user_exists": True, "user_comment": "Kuma data plane proxies", "group_exists": True}, True, False),
        # www-data, say, or one that somebody else manages.
        ("kuma-dp", {"user_exists": True, "user_comment": "www-data", "group_exists": True}, False, False),
        ("kuma-dp", {"user_exists": False, "user_comment": "", "group_exists": True}, False, False),
        ("kuma-dp", {"user_exists": False, "user_comment": "", "group_exists": False}, False, False),
    ],
)
def test_a_purge_removes_the_user_that_the_role_made_and_its_group_and_no_other(renderer, name, host, user, group):
    changed = {"kuma_dp_user": "kuma-dp", "kuma_dp_group": name, "kuma_dp_user_comment": VARS["kuma_dp_user_comment"]}
    for task, removed in (("Remove the user", user), ("Remove the group", group)):
        condition = task_of("kuma_dp", "clean_up.yml", task)["when"]
        assert leaving(renderer, condition, proxies(a=""), ["a"], changed, **host) is removed, task


@pytest.mark.parametrize("covered", [False, True])
def test_the_cover_of_a_zone_proxy_that_has_ended_is_stopped_when_it_leaves(renderer, covered):
    (block,) = [task for task in parsed.file(ROLES / "kuma_zone_proxy/tasks/leave.yml") if "block" in task]
    (task,) = [task for task in block["block"] if task["name"] == "Drain, stop and disable the proxies"]
    seen = {"gate": {"unit": {"state": "inactive", "enabled": False}, "cover_active": covered}}
    variables = {"kuma_zone_proxy_proxy_names": ["gate"], "kuma_dp_reachable": True, "kuma_dp_look": {"host": {"proxies": seen}}}
    derived = {"kuma_zone_proxy_units": task["vars"]["kuma_zone_proxy_units"]}
    assert renderer.evaluate(task["when"], variables, derived) is covered


def test_a_roll_knows_that_the_name_of_a_zone_proxy_stays_busy(renderer):
    seen = {"gate": {"lifecycle": "direct", "version": "2.14.3", "cover": {"possible": True}}}
    variables = {
        "ansible_search_path": [str(ROLES / "kuma_zone_proxy")],
        "kuma_dp_planned": [{"name": "gate", "zone_proxy": "ingress", "address": "10.0.0.1"}],
        "kuma_dp_look": {"host": {"proxies": seen}},
        "kuma_zone_proxy_pending": [],
        "kuma_dp_roll_strategy": "auto",
    }
    (proxy,) = json.loads(renderer("roll.json.j2", variables))
    assert proxy["direct"] is True
    plans = [
        plan.make("restart", [{"host": "gate", "proxies": [{**proxy, "pending": ["x"], "direct": direct}]}], Settings(), {})
        for direct in (False, True)
    ]
    assert plans[0].seconds < plans[1].seconds


def test_who_leaves_is_named_also_when_the_control_plane_was_faster(renderer):
    task = parsed.file(ROLES / "kuma_zone_proxy/tasks/leave.yml")[-1]
    known = {"kuma_zone_proxy_judged": {"deleted": ["b", "a"]}, "kuma_zone_proxy_deleted": {"deleted": ["b"]}, "ansible_check_mode": False}
    assert renderer.evaluate(task["ansible.builtin.debug"]["msg"], known, {}) == "these zone proxies left: a, b"


@pytest.mark.parametrize(
    ("action", "held", "refused"),
    [
        ("failed", False, True),
        ("failed", True, True),
        # A failure is shown in full, so that no token is in its result.
        ("issued", False, True),
        ("issued", True, False),
        ("kept", True, False),
    ],
)
def test_a_vm_that_was_given_no_token_is_not_started_with_a_placeholder(renderer, action, held, refused):
    task = task_of("kuma_dp", "main.yml", "Stop where the control plane refused")
    results = [{"name": "web-1", "action": action}, {"name": "web-2", "action": "failed"}]
    known = {
        "kuma_dp_proxy_names": ["web-1"],
        "kuma_dp_registered": {"skipped": True},
        "kuma_dp_tokens": {"msg": "1 of 2 tokens could not be issued.", "results": results},
        "kuma_dp_look": {"host": {"proxies": {"web-1": {"token": {"present": held}}}}},
    }
    assert renderer.evaluate([task["when"]], known, task["vars"]) is refused
    assert renderer.evaluate([task["when"]], {**known, "kuma_dp_tokens": {"results": results[:1]}}, task["vars"]) is False
