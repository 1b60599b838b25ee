# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action rollout: what a task of role kuma_roll says nothing about is found out, and what a task does say is done."""

from __future__ import annotations

import json
import pathlib

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import handover
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import journal as roll_journal
from tests.unit.action.roll import Play
from tests.unit.roll.mesh import restarted

GATE = {"proxy": "web-1", "service": "web", "port": 18080}


@pytest.fixture
def play(make_mesh, tmp_path, _short_waits):
    """``play(web_1="web", ...)``: these proxies are registered and connected; who joins is for the test."""

    def make(variables=None, **services):
        return Play(make_mesh(**services), tmp_path, **(variables or {}))

    return make


@pytest.fixture
def pair(play):
    """Two hosts that have joined."""
    made = play(web_1="web", web_2="web")
    for name in ("web-1", "web-2"):
        made.join(name, name)
    return made


def records(play):
    (path,) = (play.directory / "rolls" / play.mesh.name).glob("*/head.json")
    return roll_journal.Journal(str(path.parent)).records()


def settings_of(play):
    (path,) = (play.directory / "rolls" / play.mesh.name).glob("*/head.json")
    return json.loads(path.read_text())["settings"]


def test_a_roll_of_a_fleet_that_has_joined(pair):
    began = pair.task("start")
    assert began["order"] == ["web-1", "web-2"]
    assert began["plan"][0].startswith("2 hosts to roll")
    for name in began["order"]:
        completed, put_back = pair.through(name)
        assert (completed["outcome"], completed["changed"]) == ("done", True), completed
        assert put_back == {"changed": False}
    finished = pair.task("finish")
    assert (finished["status"], finished["counts"]["done"]) == ("done", 2)
    assert pair.mesh.secrets() == set()


def test_a_vm_is_told_how_it_is_restarted_and_what_its_applications_have_to_answer(play):
    made = play(web_1="web", variables={"kuma_dp_drain_time": "8s", "kuma_dp_config_dir": "/etc/k", "kuma_dp_wait_timeout": "45"})
    made.join("web-1", "web-1", gates=[GATE])
    made.task("start")
    made.through("web-1")
    told = {key: value for key, value in made.vm.arguments[-1].items() if key != "proxies"}
    assert told == {
        "drain_time": "8s",
        "ready_timeout": 45,
        "config_dir": "/etc/k",
        "install_dir": "/opt/kuma",
        "user": "kuma-dp",
        "group": "kuma-dp",
        "gates": [GATE],
    }


def test_no_token_is_in_a_result_or_a_fact(pair):
    pair.task("start")
    admitted = pair.task("admit", "web-1")
    found = pair.task("restart", "web-1")
    handed = [each for each in pair.vm.arguments if each.get("until") == "prepared"]
    assert handed[0]["proxies"][0]["cover"]["token"].startswith("eyJ")
    assert "eyJ" not in json.dumps([admitted, found, records(pair)])
    secrets = {pair.mesh.control_plane.token, *pair.mesh.tokens.values()}
    facts = {key: value for key, value in pair.hosts["web-1"].items() if key != "kuma_dp_api_token"}
    assert not [secret for secret in secrets if secret in json.dumps(facts)]


def test_the_rules_are_those_of_the_options(play):
    given = {
        "kuma_dp_roll_limit": 3,
        "kuma_dp_roll_stages": [1, "50%"],
        "kuma_dp_roll_max_failures": "1",
        "kuma_dp_roll_force": "yes",
        "kuma_dp_roll_min_healthy": "2.5",
        "kuma_dp_roll_before": "{{ 'hook' }}.yml",
    }
    made = play(web_1="web", variables=given)
    (made.directory / "hook.yml").write_text("[]")
    made.join("web-1", {"name": "web-1", "pending": []})
    assert made.task("start")["order"] == ["web-1"], "it is forced"
    found = settings_of(made)
    assert (found["limit"], found["stages"], found["max_failures"], found["min_healthy"]) == ("3", ["1", "50%"], "1", 2.5)
    assert (found["force"], found["hooked"], found["soak"], found["budget"]) == (True, True, 0, "25%")


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("kuma_dp_roll_kind", "leave it", "kuma_dp_roll_kind is 'leave it', expected one of restart, upgrade, leave"),
        ("kuma_dp_roll_resume", "no", "kuma_dp_roll_resume is 'no', expected one of auto, never"),
        ("kuma_dp_roll_limit", "some", "settings.limit: found 'some', expected a count"),
        ("kuma_dp_roll_after", "smoke.yml", "kuma_dp_roll_after is smoke.yml, expected a file with tasks on the controller that exists"),
        ("kuma_dp_api_ca", "none.pem", "kuma_dp_api_ca is none.pem, expected PEM text, or a file"),
    ],
)
def test_an_option_that_cannot_be_is_told_before_anything_is_begun(pair, variable, value, problem):
    for facts in pair.hosts.values():
        facts[variable] = value
    found = pair.task("start")
    assert found["failed"]
    assert problem in found["msg"]
    assert not (pair.directory / "rolls").exists()


def test_fewer_forks_than_hosts_that_may_be_restarted_at_once_are_told(pair):
    assert not [line for line in pair.task("start", check=True)["plan"] if "forks" in line]
    pair.hosts["web-1"]["ansible_forks"] = 1
    assert pair.task("start", check=True)["plan"][-1] == (
        "forks is 1, and up to 10 hosts may be restarted at once (kuma_dp_roll_max_in_flight): with more forks than that the roll is faster. "
        "Set forks in ansible.cfg, or --forks."
    )


def test_a_host_that_a_play_has_lost_counts_as_unreachable(pair):
    pair.lost = {"web-2"}
    began = pair.task("start")
    assert began["order"] == ["web-1"]
    assert began["refused"] == {"web-2": "it could not be reached when the roll began"}
    assert records(pair)["web-2"]["status"] == "unreachable"
    assert pair.task("admit", "web-1")["reason"] == "the roll was stopped: 1 failed (web-2), max_failures is 0"
    finished = pair.task("finish")
    assert finished["failed"]
    assert list(finished["unreachable_hosts"]) == ["web-2"]


def test_a_host_of_both_groups_is_restarted_with_all_its_proxies(play):
    made = play(web_1="web", gate="gate")
    made.join("vm-1", "web-1", gates=[GATE])
    made.join("vm-1", {"name": "gate", "zone_proxy": ""}, role="kuma_zone_proxy")
    made.task("start")
    completed, _put_back = made.through("vm-1")
    assert completed["outcome"] == "done", completed
    assert [call for call in made.vm.calls if call[0] == "done"] == [("done", "web-1"), ("done", "gate")]


def test_check_mode_plans_and_lets_nobody_in(pair):
    began = pair.task("start", check=True)
    assert (began["run"], began["order"], began["changed"]) == ("", ["web-1", "web-2"], True)
    assert pair.task("admit", "web-1", check=True)["outcome"] == "refused"
    assert pair.task("finish", check=True) == {"changed": False}
    assert pair.task("finish") == {"changed": False}
    assert pair.mesh.secrets() == set()


def test_to_a_host_that_is_not_admitted_nothing_is_done(pair):
    pair.task("start")
    run = pair.hosts["web-1"]["kuma_roll_plan"]["run"]
    pair.task("abort", run=run, run_dir=str(pair.directory / "rolls"))
    completed, put_back = pair.through("web-1")
    assert pair.hosts["web-1"]["kuma_roll_restarted"] == put_back == {"changed": False}
    assert (completed["outcome"], completed["changed"]) == ("refused", False)
    assert "the roll was stopped" in completed["reason"]
    assert pair.vm.calls == []


def test_a_host_that_did_not_ask_is_not_restarted(pair):
    pair.task("start")
    assert pair.task("restart", "web-1") == {"changed": False}
    assert pair.task("complete", "web-1")["outcome"] == "refused"
    assert pair.vm.calls == []


def test_one_that_is_put_off_is_asked_again_once(play):
    made = play(web_1="web", web_2="web", web_3="web")
    for name in ("web-1", "web-2", "web-3"):
        made.join(name, {"name": name, "possible": False, "strategy": "drained"})
    for facts in made.hosts.values():
        facts.update(kuma_dp_roll_canaries=0)
    made.mesh.write("web-3", health={"ready": False})
    made.task("start")
    found = made.task("admit", "web-1")
    assert (found["outcome"], found["changed"]) == ("deferred", False)
    assert made.task("admit", "web-1")["outcome"] == "refused"


def test_a_run_that_was_interrupted_goes_on(pair):
    first = pair.task("start")
    assert pair.through("web-1")[0]["outcome"] == "done"
    pair.join("web-1", {"name": "web-1", "pending": []})
    again = pair.task("start")
    assert (again["resumed"], again["run"]) == (True, first["run"])
    assert again["order"] == ["web-2"]


# -- hooks


def test_hooks_are_found_where_relative_paths_count_from(play):
    made = play(web_1="web", variables={"kuma_dp_roll_before": "hooks/{{ inventory_hostname }}.yml"})
    (made.directory / "hooks").mkdir()
    (made.directory / "hooks/web-1.yml").write_text("[]")
    made.join("web-1", "web-1")
    made.task("start")
    found = made.task("admit")
    assert (found["tasks"], found["before"], found["after"]) == ("hooked", str(made.directory / "hooks/web-1.yml"), "")


def test_without_hooks_there_is_nothing_to_include(pair):
    pair.task("start")
    found = pair.task("admit", "web-1")
    assert (found["tasks"], found["before"], found["after"]) == ("restart", "", "")


def test_a_hook_that_fails_before_the_restart_is_a_failure_of_the_host_which_is_as_it_was(pair):
    pair.task("start")
    pair.task("admit", "web-1")
    pair.fails("web-1", "Ask the load balancer", "it says no")
    completed = pair.task("complete", "web-1")
    assert (completed["outcome"], completed["reason"].split(";")[0]) == ("failed", "Ask the load balancer: it says no")
    assert pair.vm.calls == []
    assert pair.task("admit", "web-2")["reason"] == "the roll was stopped: 1 failed (web-1), max_failures is 0"


def test_a_hook_that_fails_after_the_restart_is_a_failure_of_the_host(pair):
    pair.task("start")
    pair.task("admit", "web-1")
    pair.task("restart", "web-1")
    pair.fails("web-1", "Smoke test", "500")
    assert pair.task("complete", "web-1")["outcome"] == "failed"
    record = records(pair)["web-1"]
    assert (record["reason"], record["served_by"]) == ("Smoke test: 500", "main")


def test_a_problem_is_one_of_a_rescue(pair):
    found = pair.task("problem")
    assert (found["failed"], found["msg"]) == (True, "state=problem is for the rescue of a block, and no task has failed")


# -- restarts that go wrong, and moves


def test_a_vm_that_gets_unreachable_is_told_as_such(play):
    made = play(web_1="web", variables={"kuma_dp_roll_gate_timeout": 0})
    made.join("web-1", "web-1")
    made.task("start")
    made.vm.unreachable = {"web-1"}
    completed, _put_back = made.through("web-1")
    assert made.hosts["web-1"]["kuma_roll_restarted"]["unreachable"]
    assert completed["outcome"] == "unreachable"
    assert completed["reason"].startswith("the host could not be reached: no route to host")


def test_one_of_several_proxies_becomes_indirect(play, monkeypatch):
    monkeypatch.setattr(handover, "INTERVAL", 0.01)
    made = play(web_1="web", api_1="api")
    made.join("vm-1", "web-1", {"name": "api-1", "direct": True}, moving=["api-1"])
    made.task("start")
    completed, _put_back = made.through("vm-1")
    assert completed["outcome"] == "done", completed
    done = [call for call in made.vm.calls if call[0] not in ("prepared", "removed")]
    assert done == [("done", "web-1"), ("stopped", "api-1"), ("waited", "api-1")]
    assert [entry["name"] for entry in made.hosts["vm-1"]["kuma_roll_restarted"]["results"]] == ["web-1", "api-1"]


# -- back to what ran before


@pytest.fixture
def upgrade(play):
    """One whose VM restarts it with something else than what is wanted."""
    made = play(web_1="web", web_2="web", variables={"kuma_dp_roll_kind": "upgrade", "kuma_dp_roll_gate_timeout": 1})
    for name in ("web-1", "web-2"):
        made.join(name, name, version="2.14.4")
    made.task("start")
    return made


def test_an_upgrade_that_failed_is_put_back_and_said_so(upgrade):
    completed, put_back = upgrade.through("web-1")
    assert "the control plane sees kuma-dp 2.14.3, expected 2.14.4" in completed["reason"]
    assert put_back == {"changed": True, "msg": "web-1 was put back to what it ran with before", "_ansible_verbose_always": True}
    assert [each.get("restore", False) for each in upgrade.vm.arguments if each.get("until", "done") == "done"] == [False, True]
    assert "gates" not in upgrade.vm.arguments[-1], "what it ran with before need not answer"


def test_one_that_cannot_be_put_back_is_said_so_and_fails_nothing(upgrade):
    def done(name):
        found = type(upgrade.vm).done(upgrade.vm, name)
        restored = upgrade.vm.arguments[-1].get("restore")
        return {"failed": True, "msg": "what it ran with before is not known", "results": []} if restored else found

    upgrade.vm.done = done
    _completed, put_back = upgrade.through("web-1")
    assert not put_back.get("failed")
    assert put_back["msg"] == (
        "web-1 runs with what failed, for it could not be put back to what it ran with before: what it ran with before is not known"
    )


@pytest.mark.parametrize("result", [restarted("web-1", fell_back=True), {"failed": True, "msg": "no", "results": []}])
def test_what_is_not_new_is_not_put_back(upgrade, result):
    upgrade.vm.done = lambda name: result
    _completed, put_back = upgrade.through("web-1")
    assert put_back == {"changed": False}


def test_only_an_upgrade_is_put_back(play):
    made = play(web_1="web", variables={"kuma_dp_roll_gate_timeout": 1})
    made.join("web-1", "web-1", version="2.14.4")
    made.task("start")
    completed, put_back = made.through("web-1")
    assert (completed["outcome"], put_back) == ("failed", {"changed": False})


# -- by hand


def hand(play, **more):
    return {"url": play.mesh.way.url, "token": play.mesh.control_plane.token, "run_dir": str(play.directory / "by-hand"), **more}


def test_what_a_task_says_itself_is_done_whatever_the_options_are(pair):
    for facts in pair.hosts.values():
        facts.update(kuma_dp_mesh="another", kuma_dp_control_plane_url="http://127.0.0.1:1", kuma_dp_roll_limit="nonsense")
    proxy = {"name": "web-1", "possible": True, "pending": ["x"], "claims": pair.mesh.claims("web-1")}
    hosts = [{"host": "web-1", "reachable": True, "proxies": [proxy]}]
    began = pair.task("start", **hand(pair, mesh=pair.mesh.name, hosts=hosts, settings={"soak": 0, "gate_timeout": 5}))
    assert began["order"] == ["web-1"], began
    own = hand(pair, run=began["run"])
    assert pair.task("admit", "web-1", **own)["admitted"]
    found = pair.task("restart", "web-1", **own, restart={"drain_time": "3s"}, names=["web-1"])
    assert found["results"][0]["outcome"] == "restarted"
    assert pair.vm.arguments[-1].keys() == {"drain_time", "proxies"}
    pair.vm.waited = restarted
    waited = pair.task("restart", "web-1", **own, names=["web-1"], request="r-1")
    assert pair.vm.arguments[-1] == {"proxies": [{"name": "web-1", "request": "r-1"}]}
    assert waited["results"][0]["outcome"] == "restarted"
    assert "result" in pair.task("complete", "web-1", **own)["msg"]
    assert pair.task("complete", "web-1", **own, result=restarted("web-1"))["outcome"] == "done"
    assert pair.task("status", run=began["run"], run_dir=own["run_dir"])["counts"]["done"] == 1
    assert pair.task("finish", **own)["status"] == "done"


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ("start", "hosts is missing, and no host has joined in this play run"),
        ("admit", "run is missing, and no roll was begun in this play run"),
        ("finish", "run is missing, and no roll was begun in this play run"),
    ],
)
def test_what_is_said_by_nobody_is_missing(play, state, problem):
    made = play(web_1="web")
    made.groups = {}
    found = made.task(state, **hand(made))
    assert (found["failed"], found["msg"]) == (True, problem)


def test_without_an_address_of_the_control_plane_nothing_is_asked(play):
    made = play(web_1="web")
    found = made.task("finish", run="20261125T171314Z-ab12")
    assert (found["failed"], found["msg"]) == (True, "missing required arguments: url")


def test_the_names_of_registered_results_are_those_of_the_tasks():
    tasks = "".join(path.read_text() for path in (pathlib.Path(__file__).parents[3] / "roles/kuma_roll/tasks").glob("*.yml"))
    for name in ("kuma_roll_plan", "kuma_roll_admission", "kuma_roll_restarted", "kuma_roll_problem"):
        assert f"register: {name}\n" in tasks
