# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of the modules on the VM."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._module import host


@pytest.mark.parametrize(("given", "found"), [("45s", 45.0), ("1m30s", 90.0), ("45", 45.0), (" 0.5 ", 0.5)])
def test_an_option_is_a_duration_or_a_number_of_seconds(given, found):
    assert host.seconds("drain_time", given) == found


def test_an_option_that_is_no_duration_is_named():
    with pytest.raises(ModuleFailed, match="drain_time: found 'soon', expected a duration"):
        host.seconds("drain_time", "soon")


def test_options_are_shown_without_the_contents_of_files():
    given = {"files": [{"path": "/a", "content": "secret"}, {"path": "/b", "content": None}], "content": 7, "check": True}
    assert host.without_contents(given) == {
        "files": [{"path": "/a", "content": "(6 characters)"}, {"path": "/b", "content": None}],
        "content": 7,
        "check": True,
    }


class Module:
    """As much of AnsibleModule as a runner needs."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def run_command(self, command, **options):
        self.asked.append((command, options))
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


def test_a_command_runs_in_one_language_and_its_failure_is_an_answer():
    module = Module((1, "out", "err"))
    assert host.runner_of(module)(("systemctl", "start")) == (1, "out", "err")
    ((command, options),) = module.asked
    assert command == ["systemctl", "start"]
    assert options["environ_update"]["LC_ALL"] == "C.UTF-8"
    assert options["check_rc"] is False
    # Also where su left them out.
    assert options["environ_update"]["PATH"].endswith(":/usr/sbin:/sbin")


def test_a_program_that_does_not_exist_is_status_127():
    assert host.runner_of(Module(FileNotFoundError("no openssl")))(["openssl"]) == (127, "", "no openssl")
