# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked for with the variables of a maintenance."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import maintaining, options


def told(**variables):
    """As the table reads variables without their prefix."""
    given = {f"kuma_maintenance_{key}" if key != "state" else "kuma_maintenance": value for key, value in variables.items()}
    return options.read_elsewhere(options.MAINTENANCE, given.get)


def test_a_fence_without_more_has_no_end_and_is_called_maintenance():
    wish = maintaining.wish(told(state="fenced"))
    assert (wish.fence, wish.reason, wish.duration, wish.force) == (True, "maintenance", None, False)
    assert maintaining.wish(told(state="in_traffic")).fence is False


def test_variables_may_come_from_the_command_line_or_be_empty():
    wish = maintaining.wish(told(state="fenced", reason="disk swap", duration="2h", force="yes"))
    assert (wish.reason, wish.duration, wish.force) == ("disk swap", 7200, True)
    wish = maintaining.wish(told(state="fenced", reason="", duration="", force="no"))
    assert (wish.reason, wish.duration, wish.force) == ("maintenance", None, False)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "kuma_maintenance is not set, expected fenced (out of traffic) or in_traffic: set it with -e kuma_maintenance=fenced."),
        ({"state": "drained"}, "kuma_maintenance is drained, expected fenced"),
        ({"state": True}, "kuma_maintenance is True, expected fenced"),
        ({"state": "fenced", "duration": "2 hours"}, "kuma_maintenance_duration: found '2 hours', expected a duration such as"),
    ],
)
def test_what_makes_no_sense_is_refused(variables, message):
    with pytest.raises(ItemsFailed) as refused:
        maintaining.wish(told(**variables))
    assert refused.value.msg.startswith(message)
