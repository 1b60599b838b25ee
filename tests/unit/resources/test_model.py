# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When two Kuma resources are the same, what a control plane dropped, and what must not be shown. Pure."""

from __future__ import annotations

import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._resources import model

CONTRACT = pathlib.Path(__file__).parents[2] / "contract"
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-3, 3), st.text("abc1", max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)),
    max_leaves=8,
)
RESOURCES = st.dictionaries(st.sampled_from(["mtls", "logging", "spec", "conf"]), VALUES)


def served(resource):
    """What a control plane answers: with times and labels of its own."""
    labels = {**resource.get("labels", {}), "kuma.io/zone": "default", "kuma.io/env": "universal"}
    return {**resource, "labels": labels, "creationTime": "x", "modificationTime": "y", "kri": "kri_m", "status": {"a": 1}}


def fields(wanted, live):
    return [entry["field"] for entry in model.differences(wanted, live)]


@given(RESOURCES)
def test_a_resource_does_not_differ_from_what_is_served_for_it(resource):
    assert fields(resource, served(resource)) == []
    assert model.dropped(resource, served(resource)) == []
    assert model.added(resource, served(resource)) == []


@given(RESOURCES)
def test_a_body_that_was_read_can_be_written_back(resource):
    live = served(resource)
    assert fields(model.desired(live, live), live) == []


@given(RESOURCES, st.sampled_from(["mtls", "spec"]), VALUES.filter(bool))
def test_a_field_that_was_lost_or_removed_is_found(resource, key, value):
    without = {name: entry for name, entry in resource.items() if name != key}
    with_it = {**without, key: value}
    if fields(with_it, served(without)):
        assert all(field.startswith(key) for field in fields(with_it, served(without)))
        assert fields(without, served(with_it))


def test_a_difference_names_the_leaf():
    wanted = {"spec": {"to": [{"default": {"connectionTimeout": "2s", "idle": "1h"}}]}, "labels": {"team.example/x": "a"}}
    live = {"spec": {"to": [{"default": {"connectionTimeout": "3s"}}]}, "labels": {"team.example/x": "b"}}
    assert fields(wanted, live) == ['labels["team.example/x"]', "spec.to[0].default.connectionTimeout", "spec.to[0].default.idle"]
    assert fields({"mtls": {"backends": {"name": "a"}}}, {}) == ["mtls.backends.name"]
    assert fields({"spec": {"to": [1, 2]}}, {"spec": {"to": [1]}}) == ["spec.to"]


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ("90s", "1m30s", True),
        ("1h", "3600s", True),
        ("24h", "24h0m0s", True),
        ("90s", "91s", False),
        ("a", "b", False),
        (5, "5", True),
        (5, "6", False),
        (1, 1.0, True),
        (1, True, False),
        (True, True, True),
        ([], None, True),
        ({}, None, True),
        ({"a": {}}, {}, True),
    ],
)
def test_values_in_another_form(wanted, found, same):
    for head in ("conf", "spec"):
        assert (fields({head: {"x": wanted}}, {head: {"x": found}}) == []) is same


def test_zero_values_are_left_out_of_old_resources_only():
    for zero in (False, 0, ""):
        assert fields({"conf": {"x": zero}}, {"conf": {}}) == []
        assert fields({"conf": {}}, {"conf": {"x": zero}}) == []
        assert fields({"spec": {"x": zero}}, {"spec": {}}) == ["spec.x"]
        assert model.dropped({"spec": {"x": zero}}, {"spec": {}}) == []


def test_snake_case_is_answered_in_camel_case():
    assert fields({"mtls": {"enabled_backend": "ca-1"}}, {"mtls": {"enabledBackend": "ca-1"}}) == []
    assert fields({"mtls": {"enabled_backend": "ca-1"}}, {"mtls": {"enabledBackend": "ca-2"}}) == ["mtls.enabled_backend"]


def test_known_defaults_are_no_difference():
    wanted = {"spec": {"ports": [{"port": 80}]}}
    live = {"spec": {"ports": [{"port": 80, "appProtocol": "tcp"}]}}
    assert fields(wanted, live) == []
    live["spec"]["ports"][0]["appProtocol"] = "http"
    assert fields(wanted, live) == ["spec.ports[0].appProtocol"]
    assert model.added(wanted, live) == ["spec.ports[0].appProtocol"]


def test_labels():
    live = {"labels": {"team": "a", "kuma.io/zone": "z", "kuma.io/effect": "shadow"}}
    assert model.desired({"type": "X"}, live) == {"type": "X", "labels": {"team": "a"}}
    assert model.desired({"type": "X", "labels": {}}, live) == {"type": "X", "labels": {}}
    assert fields({"labels": {}}, live) == ["labels.team"]
    assert fields({"labels": {"team": "a"}}, live) == []
    assert fields({"labels": {"team": "a", "kuma.io/effect": "shadow"}}, live) == []
    assert fields({"labels": {"team": "a", "kuma.io/effect": "none"}}, live) == ['labels["kuma.io/effect"]']


def test_every_recorded_resource_is_unchanged_by_what_made_it():
    compared = 0
    for path in CONTRACT.glob("kuma-*.json"):
        cases = json.loads(path.read_text())["cases"]
        puts = {case["request"]["path"]: case["request"].get("json") for case in cases if case["case"] in ("create policy", "create mesh")}
        for case in cases:
            body = case["response"].get("body")
            wanted = puts.get(case["request"]["path"])
            if case["case"] in ("read policy", "read mesh") and wanted and isinstance(body, dict):
                # 3.0 has no mtls in a Mesh any more.
                lost = ["mtls.backends", "mtls.enabledBackend"] if "3.0" in path.name and case["case"] == "read mesh" else []
                assert fields(wanted, body) == lost, f"{path.name}: {case['case']}"
                compared += 1
    assert compared >= 6


@pytest.mark.parametrize(
    ("name", "path", "in_mesh"),
    [
        ("Mesh", "meshes", False),
        ("GlobalSecret", "global-secrets", False),
        ("Secret", "secrets", True),
        ("MeshTimeout", "meshtimeouts", True),
        ("MeshIdentity", "meshidentities", True),
        ("MeshProxyPatch", "meshproxypatches", True),
        ("ZoneEgress", "zoneegresses", False),
        ("MeshGateway", "meshgateways", True),
    ],
)
def test_paths_without_a_listing(name, path, in_mesh):
    assert model.kind_of(name, None) == (name, path, in_mesh)


def test_paths_by_the_listing_of_the_control_plane():
    listing = {
        "resources": [{"name": "Odd", "path": "oddities", "scope": "Global"}, {"name": "MeshTimeout", "path": "mt", "scope": "Mesh"}]
    }
    assert model.kind_of("Odd", listing) == ("Odd", "oddities", False)
    kind = model.kind_of("MeshTimeout", listing)
    assert kind.segments("default", "slow") == ["meshes", "default", "mt", "slow"]
    assert kind.segments(None) == ["mt"]
    assert model.similar("meshtimeouts", listing) == ["MeshTimeout"]


def test_recorded_listings_agree_with_the_rule():
    for path in CONTRACT.glob("kuma-*.json"):
        listing = next(case for case in json.loads(path.read_text())["cases"] if case["case"] == "resources")["response"]["body"]
        for entry in listing["resources"]:
            if not entry["name"].endswith("Insight"):
                assert model.kind_of(entry["name"], None) == model.kind_of(entry["name"], listing)


def test_what_is_secret_is_replaced_by_its_size():
    secret = {"type": "Secret", "name": "x", "data": "c2VjcmV0"}
    assert model.masked(secret)["data"] == "(secret, 8 characters)"
    assert model.masked(secret, {"data": "b2xkb25l"})["data"] == "(secret, 8 characters, new value)"
    assert model.masked(secret, secret)["data"] == "(secret, 8 characters)"
    assert model.secrets_of(secret) == ["c2VjcmV0"]
    mesh = {"type": "Mesh", "data": "plain", "mtls": {"backends": [{"conf": {"key": {"inlineString": "PRIVATE"}}}]}}
    assert "PRIVATE" not in str(model.masked(mesh))
    assert model.masked(mesh)["data"] == "plain"
    assert model.secrets_of(mesh) == ["PRIVATE"]
