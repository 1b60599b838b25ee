# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building Dataplanes, comparing them with what a control plane answers, and what a write carries over."""

from __future__ import annotations

import copy
import json
import pathlib

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.filter.dataplane import dataplane
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import go_seconds
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource, schema

RECORDINGS = pathlib.Path(__file__).parents[2] / "contract"
V214, V3, V213, V212 = (2, 14, 3), (3, 0, 0), (2, 13, 10), (2, 12, 14)
RELEASES = {"2.14.3": V214, "3.0-dev": V3, "2.13.10": V213, "2.12.14": V212}

WEB = {
    "name": "web-1",
    "mesh": "default",
    "address": "10.0.0.11",
    "services": [{"name": "web", "port": 8080, "service_port": 18080, "protocol": "http", "tags": {"version": "1"}}],
    "outbounds": [{"service": "backend", "address": "127.0.0.1", "port": 10001}],
    "workload": "web",
    "labels": {"team": "a"},
}


def recorded(version):
    """Each Dataplane that a control plane took, beside what it answered to the next read of it."""
    sent, pairs = {}, []
    for case in json.loads((RECORDINGS / f"kuma-{version}.json").read_text())["cases"]:
        request, response = case["request"], case["response"]
        path = request["path"]
        if "/dataplanes/" not in path or path.endswith("_overview"):
            continue
        if request["method"] == "PUT" and response.get("status") in (200, 201):
            sent[path] = request["json"]
        elif request["method"] == "GET" and response.get("status") == 200 and path in sent:
            pairs.append(pytest.param(sent[path], response["body"], RELEASES[version], id=f"{version} {case['case']}"))
    return pairs


def test_v2_has_tags():
    assert dataplane(WEB) == {
        "type": "Dataplane",
        "mesh": "default",
        "name": "web-1",
        "labels": {"kuma.io/workload": "web", "team": "a"},
        "networking": {
            "address": "10.0.0.11",
            "inbound": [
                {
                    "port": 8080,
                    "servicePort": 18080,
                    "serviceAddress": "127.0.0.1",
                    "tags": {"kuma.io/protocol": "http", "kuma.io/service": "web", "version": "1"},
                }
            ],
            "outbound": [{"address": "127.0.0.1", "port": 10001, "tags": {"kuma.io/service": "backend"}}],
        },
    }


def test_v3_has_labels_protocol_and_backend_ref():
    proxy = copy.deepcopy(WEB)
    proxy["outbounds"][0]["backend_ref"] = {"port": 80}
    built = dataplane(proxy, "v3")
    assert built["labels"] == {"kuma.io/workload": "web", "team": "a", "version": "1"}
    assert built["networking"]["inbound"][0]["protocol"] == "http"
    assert "tags" not in json.dumps(built)
    assert built["networking"]["outbound"][0]["backendRef"] == {"port": 80, "kind": "MeshService", "name": "backend"}
    assert schema.dropped_fields(built, V3) == []


def test_a_probe_always_has_interval_and_timeout():
    proxy = copy.deepcopy(WEB)
    proxy["services"][0]["probe"] = {"interval": "5s"}
    assert dataplane(proxy)["networking"]["inbound"][0]["serviceProbe"] == {
        "interval": "5s",
        "timeout": "2s",
        "tcp": {},
    }


@pytest.mark.parametrize(
    ("proxy", "model", "message"),
    [
        ("x", "v2", "expected a mapping"),
        ({}, "v2", "name and address is missing"),
        (WEB, "v9", "expected v2 or v3"),
        ({**WEB, "services": [{"name": "web"}]}, "v2", "proxy web-1"),
    ],
)
def test_the_filter_says_what_is_wrong(proxy, model, message):
    with pytest.raises(AnsibleFilterError, match=message):
        dataplane(proxy, model)


@pytest.mark.parametrize(("sent", "answered", "release"), [pair for version in RELEASES for pair in recorded(version)])
def test_exactly_the_dropped_fields_are_missing_from_what_a_control_plane_answers(sent, answered, release):
    # The recorder kept one object for several requests on rec-2, so the labels recorded as sent are not the ones sent.
    labels = sent["name"] != "rec-2"
    dropped = schema.dropped_fields(sent, release)
    assert bool(resource.difference(sent, answered, release, labels)) == bool(dropped)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda dp: dp["networking"].update(address="10.0.0.12"), "networking.address"),
        (lambda dp: dp["networking"]["inbound"][0].update(servicePort=1), "networking.inbound[0].servicePort"),
        (lambda dp: dp["networking"]["inbound"][0]["tags"].update(version="2"), "networking.inbound[0].tags.version"),
        (lambda dp: dp["networking"]["outbound"].append({"port": 1}), "networking.outbound"),
        (lambda dp: dp["labels"].update(team="b"), 'labels["team"]'),
        (lambda dp: dp["labels"].pop("team"), 'labels["team"]'),
    ],
)
def test_a_difference_is_named(change, field):
    live = copy.deepcopy(dataplane(WEB))
    change(live)
    assert resource.difference(dataplane(WEB), live, V214) == [field]


@pytest.mark.parametrize(
    "change",
    [
        lambda dp: dp["networking"]["inbound"][0].update(state="NotReady", health={}),
        lambda dp: dp["networking"]["inbound"][0]["tags"].update({"kuma.io/zone": "east"}),
        lambda dp: dp["labels"].update({"kuma.io/zone": "east", "somebody": "else"}),
        lambda dp: dp["networking"]["outbound"][0].pop("address"),
        lambda dp: dp.update(creationTime="x", modificationTime="y", kri="z"),
    ],
)
def test_what_the_control_plane_adds_or_drops_is_no_difference(change):
    live = copy.deepcopy(dataplane(WEB))
    change(live)
    assert resource.difference(dataplane(WEB), live, V214) == []


def test_labels_are_not_compared_where_they_do_not_survive():
    live = copy.deepcopy(dataplane(WEB))
    del live["labels"]
    assert resource.difference(dataplane(WEB), live, V212, labels=False) == []
    assert "labels" not in resource.body_for_update(dataplane(WEB), live, "NotReady", labels=False)


def test_a_label_with_null_is_removed_and_others_stay():
    desired = {**dataplane(WEB), "labels": {"team": None}}
    live = {**dataplane(WEB), "labels": {"team": "a", "somebody": "else", "kuma.io/zone": "default"}}
    assert resource.difference(desired, live, V214) == ['labels["team"]']
    assert resource.body_for_update(desired, live, "NotReady")["labels"] == {"somebody": "else"}


def test_both_spellings_of_a_field_are_the_same():
    snake = json.loads(json.dumps(dataplane(WEB)).replace("servicePort", "service_port"))
    assert resource.difference(snake, dataplane(WEB), V214) == []
    assert schema.dropped_fields(schema.canonical(snake, schema.known_fields(V214)), V214) == []


@pytest.mark.parametrize(("left", "right"), [("60s", "1m"), ("1m30s", "90s"), ("1500ms", "1.5s")])
def test_durations_compare_by_length(left, right):
    assert go_seconds(left) == go_seconds(right)
    assert go_seconds("soon") == "soon"


def test_a_new_inbound_starts_not_ready_and_a_users_state_is_kept():
    body = resource.body_for_create(dataplane(WEB), "NotReady")
    assert body["networking"]["inbound"][0]["state"] == "NotReady"
    assert body["networking"]["inbound"][0]["health"] == {"ready": False}
    assert "state" not in resource.body_for_create(dataplane(WEB), "Ready")["networking"]["inbound"][0]
    ignored = dataplane(WEB)
    ignored["networking"]["inbound"][0]["state"] = "Ignored"
    assert resource.body_for_create(ignored, "NotReady")["networking"]["inbound"][0]["state"] == "Ignored"


HEALTH = st.fixed_dictionaries({}, optional={"ready": st.booleans()})
LIVE = st.fixed_dictionaries({}, optional={"state": st.sampled_from(["NotReady", "Ignored"]), "health": HEALTH})
CLAIMED = st.fixed_dictionaries({}, optional={"state": st.just("Ready"), "health": st.just({"ready": True})})


@given(LIVE, CLAIMED, st.integers(1, 65535))
def test_an_update_never_changes_state_or_health(live_inbound, claimed, service_port):
    live = dataplane(WEB)
    live["networking"]["inbound"][0].update(copy.deepcopy(live_inbound))
    desired = dataplane(WEB)
    desired["networking"]["inbound"][0].update(claimed, servicePort=service_port)
    sent = resource.body_for_update(desired, live, "NotReady")["networking"]["inbound"][0]
    assert {key: sent[key] for key in ("state", "health") if key in sent} == live_inbound
    assert sent["servicePort"] == service_port


def test_an_inbound_that_moved_starts_not_ready():
    desired = dataplane(WEB)
    desired["networking"]["inbound"][0]["port"] = 8081
    assert resource.body_for_update(desired, dataplane(WEB), "NotReady")["networking"]["inbound"][0]["state"] == "NotReady"


@pytest.mark.parametrize(
    ("change", "release", "field", "advice"),
    [
        (lambda dp: dp.update(bogus=True), V214, "bogus", "one of creationTime"),
        (
            lambda dp: dp["networking"]["inbound"][0].update(servisePort=1),
            V214,
            "networking.inbound[0].servisePort",
            "servicePort",
        ),
        (lambda dp: None, V3, "networking.inbound[0].tags", "labels of the Dataplane"),
        (
            lambda dp: dp["networking"].update(advertisedAddress="1.2.3.4"),
            V3,
            "networking.advertisedAddress",
            "removed in 3.0",
        ),
        (
            lambda dp: dp["networking"]["inbound"][0].update(protocol="http"),
            V212,
            "networking.inbound[0].protocol",
            "kuma.io/protocol",
        ),
        (lambda dp: dp["networking"].update(listeners=[{}]), V212, "networking.listeners", "ZoneIngress"),
        (
            lambda dp: dp["networking"]["outbound"][0].update(backendRef={"kind": "MeshService", "namespace": "x"}),
            V214,
            "networking.outbound[0].backendRef.namespace",
            "one of kind, labels, name, port",
        ),
    ],
)
def test_a_field_that_would_be_dropped_is_named_with_advice(change, release, field, advice):
    built = dataplane(WEB)
    change(built)
    problems = {problem["field"]: problem for problem in schema.dropped_fields(built, release)}
    assert advice in problems[field]["expected"]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["networking", "inbound", "tags", "labels", "port", "x"]), inner, max_size=4)
        ),
        max_leaves=10,
    )
)
def test_nothing_makes_the_schema_walk_fail(value):
    document = value if isinstance(value, dict) else {"networking": value}
    schema.dropped_fields(document, V214)
    schema.misread_probes(document)
    schema.canonical(document, schema.known_fields(V214))
