# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a preflight wants tokens from: the control plane and the rights of the user, or a key of the controller that the control plane knows."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.capabilities import Capabilities
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Response
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import preflight

NOBODY = {"name": "ci", "groups": ["ops"]}
ADMIN = {"name": "mesh-system:admin", "groups": ["mesh-system:admin"]}


class Asked:
    """A control plane as the preflight sees it; ``tokens`` is what it says of both sorts of tokens."""

    def __init__(self, who=None, release=(2, 14, 3), tokens=None):
        self.who, self.release, self.tokens = who or ADMIN, release, tokens or {}

    def capabilities(self):
        return Capabilities("Kuma", "x", "x", self.release)

    def get(self, path):
        return Response(200, self.who if path == "/who-am-i" else {})

    def as_anybody(self, path):
        return None

    def control_plane(self, places=None):
        if places is None:
            return {"mode": "zone", "store": "postgres", "hds_enabled": True}
        return self.tokens

    def mesh(self, **offline):
        return preflight.look(self, "default", {}, "NotReady", offline).problems

    def zone(self, **offline):
        return preflight.look_for_zone(self, "default", {}, offline).problems


def unknown(_client):
    return ["the key is unknown"]


@pytest.mark.parametrize("look", [Asked.mesh, Asked.zone], ids=["mesh", "zone"])
def test_who_may_not_issue_is_refused_unless_a_key_signs(look):
    (found,) = look(Asked(NOBODY))
    assert found.startswith("kuma_dp_api_token belongs to ci (ops), which may not issue ")
    both = {"dp": lambda _client: [], "zone": lambda _client: []}
    assert look(Asked(NOBODY), **both) == []


def test_each_sort_of_tokens_has_its_own_key():
    only = {"dp": lambda _client: []}
    assert Asked(NOBODY).mesh(**only) == []
    assert len(Asked(NOBODY).zone(**only)) == 1
    # Zone proxies of 3.0 have tokens of Dataplanes.
    assert Asked(NOBODY, (3, 0, 0)).zone(**only) == []


def test_a_key_that_the_control_plane_does_not_know_is_refused():
    assert Asked().mesh(dp=unknown) == ["the key is unknown"]
    assert Asked().zone(zone=unknown) == ["the key is unknown"]


def test_a_control_plane_that_issues_nothing_wants_a_key():
    (found,) = Asked(tokens={"issuer": False}).mesh()
    assert found == (
        "the control plane issues no dataplane tokens, for its enableIssuer is false: have them signed on the controller, with "
        "kuma_dp_token_signing_key_file and kuma_dp_token_signing_kid"
    )
    assert "kuma_zone_proxy_token_signing_key_file" in Asked(tokens={"issuer": False}).zone()[0]
    assert Asked(tokens={"issuer": False}).mesh(dp=lambda _client: []) == []
