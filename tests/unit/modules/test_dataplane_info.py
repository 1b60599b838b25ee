# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dataplane_info tells of one Dataplane."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.modules import dataplane_info

CONNECTED = [{"connectTime": "2026-11-23T10:00:00Z"}]
ENDED = [{"connectTime": "2026-11-23T10:00:00Z", "disconnectTime": "2026-11-23T11:00:00Z"}]


@pytest.mark.parametrize(
    ("subscriptions", "state", "online", "ready"),
    [(CONNECTED, "Ready", True, True), (CONNECTED, "NotReady", True, False), (ENDED, "Ready", False, False), ([], "Ready", False, False)],
)
def test_who_is_connected_and_who_gets_traffic(subscriptions, state, online, ready):
    overview = {
        "name": "web-1",
        "mesh": "default",
        "dataplane": {"networking": {"address": "10.0.0.1", "inbound": [{"port": 8080, "state": state}]}},
        "dataplaneInsight": {"subscriptions": subscriptions},
    }
    told = dataplane_info.describe(overview)
    assert (told["online"], told["ready"], told["fenced"]) == (online, ready, False)
    assert bool(told["reasons"]) is not ready
