# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a token of a Dataplane is bound to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import claims, fence, resource

V212, V214, V3 = (2, 12, 14), (2, 14, 3), (3, 0, 0)
LABELS = {"kuma.io/workload": "web", "team": "a", "kuma.io/zone": "z1", resource.OWNER_LABEL: "me", fence.REASON_LABEL: "x"}
WEB = {"port": 8080, "tags": {"kuma.io/service": "web", "kuma.io/protocol": "http", "kuma.io/zone": "z1"}}
API = {"port": 8090, "tags": {"kuma.io/service": "api", "kuma.io/protocol": "grpc", "team": "b"}}
TAGS = st.dictionaries(st.sampled_from(["kuma.io/service", "kuma.io/protocol", "team", "version"]), st.sampled_from(["a", "b", "c"]))


def dataplane(*inbounds, labels=None, **networking):
    return {"name": "web-1", "labels": labels or {}, "networking": {"inbound": list(inbounds), **networking}}


@pytest.mark.parametrize(
    ("given", "release", "expected"),
    [
        (dataplane(WEB), V214, {"tags": {"kuma.io/protocol": ["http"], "kuma.io/service": ["web"]}}),
        (dataplane(WEB, API, labels=LABELS), V214, {
            "tags": {"kuma.io/protocol": ["grpc", "http"], "kuma.io/service": ["api", "web"], "team": ["b"]}, "workload": "web",
        }),
        (dataplane(gateway={"type": "DELEGATED", "tags": {"kuma.io/service": "edge"}}), V214, {"tags": {"kuma.io/service": ["edge"]}}),
        # It only calls others.
        (dataplane(labels=LABELS), V214, {"workload": "web"}),
        (dataplane(), V214, {}),
        # Workloads are unknown, and no tags are known in 3.0, where labels count; those of others and of ourselves say nothing of the proxy.
        (dataplane(WEB, labels=LABELS), V212, {"tags": {"kuma.io/protocol": ["http"], "kuma.io/service": ["web"]}}),
        (dataplane(WEB, labels=LABELS), V3, {"tags": {"team": ["a"]}, "workload": "web"}),
        (dataplane(WEB), V3, {}),
        # A label that is to go is none.
        (dataplane(labels={"team": None}), V3, {}),
    ],
)  # fmt: skip
def test_what_a_token_is_bound_to(given, release, expected):
    assert claims.of_dataplane(given, release) == expected


def test_it_is_bound_to_what_is_asked_for():
    given = dataplane(WEB, labels=LABELS)
    assert set(claims.of_dataplane(given, V214, ["workload"])) == {"workload"}
    assert set(claims.of_dataplane(given, V214, ["tags"])) == {"tags"}
    assert claims.of_dataplane(given, V214, []) == {}


def accepted(tags, held):
    """As a control plane of 2.x compares them."""
    found = {}
    for inbound in held["networking"]["inbound"]:
        for key, value in inbound["tags"].items():
            found.setdefault(key, set()).add(value)
    return all(key in found and found[key] <= set(allowed) for key, allowed in tags.items())


@given(st.lists(TAGS, max_size=3), TAGS)
def test_a_control_plane_accepts_it_for_this_dataplane_and_not_for_one_that_claims_more(inbounds, more):
    own = dataplane(*({"tags": tags} for tags in inbounds))
    tags = claims.of_dataplane(own, V214).get("tags", {})
    assert accepted(tags, own)
    held = {(key, value) for inbound in inbounds for key, value in inbound.items()}
    foreign = {key: value for key, value in more.items() if (key, value) not in held and key in tags}
    other = dataplane(*({"tags": tags} for tags in [*inbounds, more]))
    assert accepted(tags, other) is not bool(foreign)
