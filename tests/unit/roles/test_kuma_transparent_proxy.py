# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role kuma_transparent_proxy: its options say the same everywhere, and its program is what the modules use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.meshfleet.kuma.plugins.modules import transparent_proxy

ROLE = Path(__file__).parents[3] / "roles" / "kuma_transparent_proxy"
PREFIX = "kuma_transparent_proxy_"


@pytest.fixture(scope="module")
def options():
    return yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]


def test_options_and_their_defaults_are_the_same_everywhere(options):
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    assert {name: option["default"] for name, option in options.items()} == defaults
    rows = re.findall(r"^\| `(kuma_\w+)` \| `(.*?)` \|", (ROLE / "README.md").read_text(), re.MULTILINE)
    assert {name: yaml.safe_load(default) for name, default in rows} == defaults


def test_every_option_of_the_role_arrives_at_the_module_with_the_same_default(options):
    (task,) = [task for task in yaml.safe_load((ROLE / "tasks/main.yml").read_text()) if "meshfleet.kuma.transparent_proxy" in task]
    given = {key for key, value in task["meshfleet.kuma.transparent_proxy"].items() if PREFIX + key in str(value)}
    assert {name[len(PREFIX) :] for name in options} - given == {"enabled"}
    documented = yaml.safe_load(transparent_proxy.DOCUMENTATION)["options"]
    for key in given & {name[len(PREFIX) :] for name in options}:
        assert documented[key]["default"] == options[PREFIX + key]["default"], key


def test_the_boot_unit_comes_before_the_proxy():
    assert "After=kuma-transparent-proxy.service" in (ROLE / "templates/kuma-dp@.conf.j2").read_text()
    unit = (ROLE / "templates/kuma-transparent-proxy.service.j2").read_text()
    for line in ("Type=oneshot", "RemainAfterExit=yes", "WantedBy=multi-user.target"):
        assert line in unit.splitlines()
    assert [line.split()[-1] for line in unit.splitlines() if line.startswith("Exec")] == ["apply", "apply", "remove"]
