# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module proxy_restart on a VM whose systemd runs the restart machine at once, on a simulated proxy."""

from __future__ import annotations

import base64
import json
import os
import stat
import time
from unittest import mock

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._module import host
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files, order
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.machine import Machine
from tests.unit import module_runner
from tests.unit.restart import world as restart_world

DATAPLANE = {"type": "Dataplane", "mesh": "default", "name": "web-1-cover", "networking": {"address": "10.0.0.11"}}


def jwt(**claims):
    parts = [{"alg": "RS256"}, {"Name": "web-1-cover", "exp": time.time() + 3600, **claims}]
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "c2lnbmF0dXJl"])


class Systemd:
    """Obeys what the module asks for; starting the restart unit runs the machine to its end in virtual time."""

    def __init__(self, state_dir):
        self.state_dir = state_dir
        self.proxies = {}
        self.loaded = True
        self.active = False
        self.crashes = False
        self.busy = self.refuses = False
        self.until = "done"
        self.commands = []

    def vm(self, name):
        return self.proxies.setdefault(name, restart_world.Vm(request=None))

    def run(self, command):
        self.commands.append(list(command))
        verb, units = command[1] if len(command) > 1 else "", [item for item in command if item.endswith(".service")]
        if command[0] == "journalctl":
            return 0, "the journal of the machine\n", ""
        if verb == "show" and "--value" in command:
            return 0, "active\n" if self.active else "inactive\n", ""
        if verb == "show":
            state = "loaded" if self.loaded else "not-found"
            return (
                0,
                "\n\n".join(
                    f"Id={unit}\nLoadState={state}\nActiveState={'active' if self.busy else 'inactive'}\nMainPID=0" for unit in units
                ),
                "",
            )
        if verb == "is-active":
            return 3, "", ""
        if verb == "start" and self.refuses:
            return 1, "", "no"
        if verb == "start" and not self.crashes:
            self.machine(units[0].partition("@")[2][: -len(".service")])
        return 0, "", ""

    def machine(self, name):
        paths = files.Paths(name, state_dir=self.state_dir)
        vm = self.vm(name)
        vm.disk["request"] = json.dumps(files.read_json(paths.own("request.json")))
        vm.limit, vm.token = 300, True
        try:
            Machine(restart_world._World(vm)).run(self.until)
        except restart_world.Hangs:
            self.active = True
        os.unlink(paths.own("request.json"))
        files.write_json(paths.own("restart.json"), vm.load())


@pytest.fixture
def systemd(tmp_path):
    fake = Systemd(str(tmp_path / "lib"))
    (tmp_path / "etc/tokens").mkdir(parents=True)
    paths = files.Paths.__new__
    with (
        mock.patch.object(host, "runner_of", return_value=fake.run),
        mock.patch.object(
            files.Paths,
            "__new__",
            lambda cls, name, config="", install="/opt/kuma", **more: paths(cls, name, str(tmp_path / "etc"), install, fake.state_dir),
        ),
        mock.patch.object(os, "chown"),
        mock.patch.object(os, "fchown"),
        mock.patch.object(order, "_POLL", 0),
    ):
        yield fake


def wish(name="web-1", **more):
    return {"name": name, "cover": {"dataplane": DATAPLANE, "token": jwt()}, **more}


def run(*wishes, check=False, log=None, **options):
    return module_runner.run("proxy_restart", {"proxies": list(wishes), **options}, check=check, log=log)


def test_a_restart_under_cover_is_ordered_and_told(systemd, tmp_path):
    log = []
    given = wish()
    result = run(given, log=log, drain_time=8)
    (only,) = result["results"]
    assert (result["changed"], only["outcome"], only["strategy"], only["served_by"]) == (True, "restarted", "cover", "main")
    assert only["version"] == {"before": "good", "after": "target"}
    # What the unit needs is there, closed to others, and the token is nowhere else.
    check_laid(tmp_path, given)
    assert given["cover"]["token"] not in json.dumps(result) + json.dumps(log) + (tmp_path / "lib/web-1/restart.json").read_text()


def check_laid(tmp_path, given):
    token = tmp_path / "etc/tokens/.web-1.cover"
    assert json.loads((tmp_path / "lib/web-1/cover/dataplane.yaml").read_text()) == DATAPLANE
    assert token.read_text() == given["cover"]["token"]
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


def test_the_cover_may_be_prepared_by_a_call_of_its_own(systemd, tmp_path):
    given = wish()
    result = run(given, until="prepared")
    assert (result["changed"], result["results"][0]["outcome"]) == (True, "untouched")
    check_laid(tmp_path, given)
    assert "web-1" not in systemd.proxies, "nothing is restarted"
    assert run({"name": "web-1"})["results"][0]["outcome"] == "restarted"
    check_laid(tmp_path, given)
    assert "found one without" in run({"name": "web-1"}, until="prepared")["msg"]


def test_a_cover_is_not_prepared_into_a_restart_that_is_under_way(systemd, tmp_path):
    systemd.busy = True
    result = run(wish(), until="prepared")
    assert (result["changed"], result["results"][0]["outcome"], result["results"][0]["cover_token"]) == (False, "busy", {})
    token = tmp_path / "etc/tokens/.web-1.cover"
    assert not token.exists()
    token.parent.mkdir(parents=True, exist_ok=True)
    token.write_text(jwt(Name="web-1-cover", jti="a-b-c", exp=1_900_000_000))
    again = run(wish(), until="prepared")
    # Whoever takes it over can have it revoked.
    assert again["results"][0]["cover_token"] == {"jti": "a-b-c", "exp": 1_900_000_000}
    assert "eyJ" not in json.dumps(again)
    token.unlink()
    state = systemd.vm("web-1").restart()
    (tmp_path / "lib/web-1").mkdir(parents=True)
    path = str(tmp_path / "lib/web-1/restart.json")
    files.write_json(path, {**state, "stage": "cover", "outcome": None})
    (found,) = run({"name": "web-1"}, until="free")["results"]
    assert (found["outcome"], found["request"], found["notes"]) == (
        "busy",
        state["request"]["id"],
        ["a restart of this proxy was already under way"],
    )
    # Decided: it only retires its cover, and ends.
    files.write_json(path, {**state, "stage": "retire"})
    assert run({"name": "web-1"}, until="free")["results"][0]["outcome"] == "untouched"
    systemd.busy = False
    assert run(wish(), until="prepared")["changed"]


def test_without_the_units_no_cover_is_prepared(systemd, tmp_path):
    systemd.loaded = False
    result = run(wish(), until="prepared")
    assert result["failed"]
    assert "run the playbook join_mesh" in result["msg"]
    assert not (tmp_path / "etc/tokens/.web-1.cover").exists()


def test_a_restart_that_cannot_be_started_leaves_no_token(systemd, tmp_path):
    systemd.refuses = True
    result = run(wish())
    assert "systemctl start kuma-dp-restart@web-1.service failed" in result["msg"]
    assert not (tmp_path / "etc/tokens/.web-1.cover").exists()


def test_a_check_says_what_would_be_restarted_and_touches_nothing(systemd, tmp_path):
    result = run(wish(), wish("web-2", strategy="drained", reasons=["asked for"]), check=True)
    assert result["changed"]
    assert [(item["name"], item["outcome"], item["reasons"]) for item in result["results"]] == [
        ("web-1", "untouched", []),
        ("web-2", "untouched", ["asked for"]),
    ]
    assert systemd.commands == []
    assert list(tmp_path.rglob("*")) == [tmp_path / "etc", tmp_path / "etc/tokens"]


def test_after_a_failure_the_following_proxies_are_not_begun(systemd):
    systemd.vm("web-1").cover_takes = restart_world.NEVER
    result = run(wish(), wish("web-2"), ready_timeout=5)
    assert result["failed"]
    assert result["msg"].startswith("web-1 was not restarted: the cover was not ready after 5 s; the proxy was not touched")
    assert not result["changed"]
    assert [(item["outcome"], item["problem"]) for item in result["results"][1:]] == [("untouched", "not begun")]
    assert result["results"][0]["journal"] == ["the journal of the cover"]
    assert "web-2" not in systemd.proxies


def test_a_failure_is_told_while_the_cover_goes_on_serving(systemd):
    vm = systemd.vm("web-1")
    vm.target_takes = vm.good_takes = restart_world.NEVER
    result = run(wish(), ready_timeout=5)
    assert (result["failed"], result["changed"], result["results"][0]["served_by"]) == (True, True, "cover")
    assert "with what it ran with before it was not ready either" in result["msg"]


def test_a_vm_without_the_units_says_what_to_do(systemd):
    systemd.loaded = False
    result = run(wish())
    assert result["failed"]
    assert "kuma-dp@web-1.service is not-found, expected the files of the role kuma_dp: run the playbook join_mesh" in result["msg"]


def test_a_restart_is_left_when_the_old_process_is_gone_and_waited_for_later(systemd, tmp_path):
    systemd.until, systemd.active = "start", True
    (first,) = run(wish(), until="stopped")["results"]
    assert (first["outcome"], systemd.vm("web-1").main.pid, systemd.vm("web-1").cover.pid > 0) == ("stopped", 0, True)
    began = len([command for command in systemd.commands if command[1] == "start"])
    (again,) = run(wish(request=first["request"]), until="stopped")["results"]
    assert (first["taken_over"], again["outcome"], again["request"]) == (False, "stopped", first["request"]), (
        "another controller takes it over"
    )
    vm = systemd.vm("web-1")
    Machine(restart_world._World(vm)).run()
    files.write_json(str(tmp_path / "lib/web-1/restart.json"), vm.load())
    (second,) = run(wish(request=first["request"]))["results"]
    assert (second["outcome"], second["request"], second["notes"]) == ("restarted", first["request"], [])
    assert len([command for command in systemd.commands if command[1] == "start"]) == began, "no other restart is begun"


def test_one_proxy_at_a_time_is_left_when_it_is_stopped(systemd):
    assert run(wish(), wish("web-2"), until="stopped")["msg"] == "until: stopped is for one proxy at a time, found 2 in proxies"


def test_a_machine_that_ends_without_a_result_is_a_failure_with_its_journal(systemd):
    systemd.crashes = True
    result = run(wish())
    assert result["failed"]
    assert "kuma-dp-restart@web-1.service ended or hangs without a result (it did not begin)" in result["msg"]
    assert (result["results"][0]["outcome"], result["results"][0]["journal"]) == ("failed", ["the journal of the machine"])


def test_a_proxy_is_named_once(systemd):
    assert "web-1 is given twice" in run(wish(), wish())["msg"]


def test_the_start_of_a_proxy_is_remembered_and_can_be_put_back(tmp_path):
    paths = files.Paths("web-1", str(tmp_path / "etc"), str(tmp_path / "opt"), str(tmp_path / "lib"), str(tmp_path / "unit"))
    for directory in ("etc/env", "etc/tokens", "opt"):
        (tmp_path / directory).mkdir(parents=True)
    token, environment = tmp_path / "etc/tokens/web-1", tmp_path / "etc/env/web-1.env"
    token.write_text("old")
    token.chmod(0o600)
    environment.write_text("A=1\n")
    (tmp_path / "unit").write_text("[Unit]\n")
    (tmp_path / "opt/current").symlink_to("2.13.10")
    with mock.patch.object(os, "chown"):
        files.remember_start(paths)
    token.write_text("new")
    (tmp_path / "opt/current").unlink()
    (tmp_path / "opt/current").symlink_to("2.14.3")
    (tmp_path / "unit").unlink()
    kept = environment.stat()
    with mock.patch.object(os, "chown"):
        assert files.remember_good(paths, time.time())
    files.restore(paths, files.read_json(paths.own("good.json")))
    assert (token.read_text(), stat.S_IMODE(token.stat().st_mode)) == ("old", 0o600)
    assert os.readlink(tmp_path / "opt/current") == "2.13.10"
    assert (tmp_path / "unit").read_text() == "[Unit]\n"
    # What is as it was keeps its time, or every proxy would wait for a restart.
    assert environment.stat().st_mtime_ns == kept.st_mtime_ns
    assert stat.S_IMODE(os.stat(paths.own("good.json")).st_mode) == 0o600


def test_without_a_remembered_start_only_old_files_count(tmp_path):
    paths = files.Paths("web-1", str(tmp_path), str(tmp_path), str(tmp_path / "lib"), unit=str(tmp_path / "unit"))
    (tmp_path / "env").mkdir()
    (tmp_path / "env/web-1.env").write_text("A=1\n")
    with mock.patch.object(os, "chown"):
        assert not files.remember_good(paths, time.time() - 3600)
        assert not os.path.exists(paths.own("good.json"))
        assert files.remember_good(paths, time.time() + 3600)
