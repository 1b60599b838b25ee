# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting, stopping and restarting proxies: which commands, and what a failure says."""

from __future__ import annotations

import http.server
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import service
from tests.unit.vm.test_proxy import jwt

STATES = st.sampled_from(["active", "inactive", "failed", "activating", "deactivating"])
FILES = st.sampled_from(["enabled", "disabled", ""])
UNITS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.fixed_dictionaries({"ActiveState": STATES, "UnitFileState": FILES}), min_size=1
)


class Systemd:
    """Units that obey systemctl; `broken` is a command that fails."""

    def __init__(self, units, broken=None):
        self.units = {name: dict(unit) for name, unit in units.items()}
        self.broken = broken
        self.commands = []

    def run(self, command):
        self.commands.append(list(command))
        if command[0] == "journalctl":
            return 0, f"refused {jwt()}\nauthentication failed", ""
        verb, names = command[1], [argument[len("kuma-dp@") : -len(".service")] for argument in command[2:]]
        if verb == self.broken:
            return 1, "", "Job failed. See the journal."
        for name in names:
            if verb in ("start", "restart"):
                self.units[name]["ActiveState"] = "active"
            elif verb == "stop":
                self.units[name]["ActiveState"] = "failed"
            elif verb == "reset-failed":
                self.units[name]["ActiveState"] = "inactive"
            elif verb in ("enable", "disable"):
                self.units[name]["UnitFileState"] = verb + "d"
        return 0, "", ""

    @property
    def verbs(self):
        return [command[1] for command in self.commands]


@given(UNITS, st.sampled_from(["started", "stopped"]), st.sampled_from([True, False, None]))
def test_the_steps_lead_to_the_state_and_then_nothing_is_left_to_do(units, state, enabled):
    systemd = Systemd(units)
    service.carry_out(service.steps_to(state, enabled, systemd.units), False, systemd.run)
    assert not any(service.steps_to(state, enabled, systemd.units))
    for name, unit in systemd.units.items():
        assert unit["ActiveState"] == (
            "active" if state == "started" else units[name]["ActiveState"].replace("failed", unit["ActiveState"])
        ) or (state == "stopped" and unit["ActiveState"] == "inactive")


@given(UNITS)
def test_each_kind_of_step_is_one_command_for_all_proxies(units):
    systemd = Systemd(units)
    service.carry_out(service.steps_to("started", True, systemd.units), True, systemd.run)
    assert len(systemd.verbs) == len(set(systemd.verbs))
    assert systemd.verbs[0] == "daemon-reload"


def test_a_unit_that_systemd_does_not_know_yet_is_enabled_and_started():
    steps = service.steps_to("started", True, {"web-1": {}})
    assert steps.actions(["web-1"]) == [{"name": "web-1", "actions": ["enabled", "started"]}]
    assert not any(service.steps_to("stopped", False, {"web-1": {}}))


def test_one_that_waits_for_its_next_start_is_stopped_too():
    assert service.steps_to("stopped", None, {"web-1": {"ActiveState": "activating"}}).stop == ["web-1"]


def test_a_stopped_proxy_is_not_left_as_failed():
    systemd = Systemd({"web-1": {"ActiveState": "active", "UnitFileState": "enabled"}})
    service.carry_out(service.steps_to("stopped", False, systemd.units), False, systemd.run)
    assert systemd.verbs == ["stop", "disable", "reset-failed"]
    assert systemd.units["web-1"]["ActiveState"] == "inactive"


class Helpers:
    """Units that run beside those of the proxies."""

    def __init__(self, *active):
        self.active = active
        self.commands = []

    def run(self, command):
        self.commands.append(list(command))
        shown = [
            f"Id={unit}\nActiveState={'active' if unit in self.active else 'inactive'}" for unit in command if unit.endswith(".service")
        ]
        return 0, "\n\n".join(shown), ""


def test_what_restarts_a_proxy_is_stopped_before_its_cover_which_drains_meanwhile():
    fake = Helpers("kuma-dp-restart@web-1.service", "kuma-dp-cover@web-1.service")
    helpers = service.helpers_of(["web-1", "web-2"], fake.run)
    assert helpers == list(fake.active)
    covers = service.stop_helpers(helpers, fake.run)
    service.wait_for_covers(covers, fake.run)
    assert [command[1:] for command in fake.commands[1:]] == [
        ["stop", "kuma-dp-restart@web-1.service"],
        ["stop", "--no-block", "kuma-dp-cover@web-1.service"],
        ["stop", "kuma-dp-cover@web-1.service"],
        ["reset-failed", "kuma-dp-cover@web-1.service"],
    ]


def test_without_a_restart_under_way_nothing_is_stopped_beside_the_proxies():
    fake = Helpers()
    covers = service.stop_helpers(service.helpers_of(["web-1"], fake.run), fake.run)
    service.wait_for_covers(covers, fake.run)
    assert len(fake.commands) == 1


def test_a_failure_brings_the_journal_without_tokens():
    systemd = Systemd({"web-1": {}}, broken="start")
    with pytest.raises(ModuleFailed) as caught:
        service.carry_out(service.steps_to("started", None, systemd.units), False, systemd.run)
    assert caught.value.msg == "systemctl start failed for web-1: Job failed. See the journal."
    assert caught.value.result["journals"] == {"web-1": ["refused (hidden)", "authentication failed"]}


class Ready(http.server.BaseHTTPRequestHandler):
    """Answers 503 to the first two requests, 200 to the others."""

    asked = 0

    def do_GET(self):
        type(self).asked += 1
        self.send_response(200 if self.path == "/ready" and self.asked > 2 else 503)
        self.end_headers()

    def log_message(self, *arguments):
        pass


def test_readiness_is_polled_until_it_is_there():
    Ready.asked = 0
    with http.server.HTTPServer(("127.0.0.1", 0), Ready) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert not service.wait_ready("127.0.0.1", server.server_port, 0)
            assert service.wait_ready("127.0.0.1", server.server_port, 60)
        finally:
            server.shutdown()
            thread.join()
        port = server.server_port
    assert not service.wait_ready("127.0.0.1", port, 0)
