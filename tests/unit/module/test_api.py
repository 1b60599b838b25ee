# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of the modules that talk to the control plane."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.meshfleet.kuma.plugins.doc_fragments.api import ModuleDocFragment
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import ApiError, Invalid
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._module import api

GIVEN = {"url": "http://127.0.0.1:9", "token": None, "ca_path": None, "validate_certs": True, "timeout": 3.0, "retries": 0}


def test_the_options_are_those_of_the_documentation():
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    options = api.api_argument_spec()
    assert set(documented) == set(options)
    for name, option in documented.items():
        assert (option["type"], option.get("default"), option.get("required", False)) == (
            options[name]["type"],
            options[name].get("default"),
            options[name].get("required", False),
        )


def test_all_options_that_are_no_names_are_told():
    with pytest.raises(Invalid) as error:
        api.check_names({"mesh": "..", "names": ["a", "A"]}, {"mesh": naming.LOOSE, "names[]": naming.NAME})
    assert [parameter["field"] for parameter in error.value.invalid_parameters] == ["mesh", "names[1]"]
    assert "2 options are refused" in str(error.value)
    assert "Nothing was sent" in str(error.value)


@pytest.mark.parametrize(("name", "value"), [("timeout", 0), ("timeout", -1), ("retries", -1)])
def test_a_client_is_not_made_of_numbers_that_make_no_sense(name, value):
    with pytest.raises(ApiError, match=f"{name} is {value}, expected a positive number"):
        api.new_client({**GIVEN, name: value})
