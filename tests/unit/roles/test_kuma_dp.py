# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the role, where it says them and where it describes them."""

from __future__ import annotations

import pathlib

from tests.unit import parsed

ROLE = pathlib.Path(__file__).parents[3] / "roles/kuma_dp"
DEFAULTS = parsed.file(ROLE / "defaults/main.yml")
SPECS = parsed.file(ROLE / "meta/argument_specs.yml")["argument_specs"]


def test_every_option_has_a_default_or_is_required_and_is_described_in_the_readme():
    readme = (ROLE / "README.md").read_text()
    options = {name: option for entry in SPECS.values() for name, option in entry.get("options", {}).items()}
    required = {name for name, option in SPECS["main"]["options"].items() if option.get("required")}
    assert set(DEFAULTS) | required == set(options)
    for name, option in options.items():
        assert option["description"]
        assert option["type"]
        assert f"| `{name}` |" in readme
        if "default" in option:
            assert DEFAULTS[name] == option["default"]
