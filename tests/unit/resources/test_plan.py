# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of many resources: order, checks, differences and what is pruned. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._resources import model, plan
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources.documents import Document

RELEASE = (2, 14, 3)
OWNER = "meshfleet.kuma/owner"
GLOBAL = ["Mesh", "GlobalSecret", "HostnameGenerator"]
IN_MESH = ["Secret", "MeshIdentity", "MeshTrust", "MeshService", "MeshHTTPRoute", "MeshTimeout", "MeshTrafficPermission"]
LISTING = {"resources": [{"name": name, "path": name.lower() + "s", "scope": "Global"} for name in GLOBAL]}
LISTING["resources"] += [{"name": name, "path": name.lower() + "s", "scope": "Mesh"} for name in [*IN_MESH, "Dataplane", "MeshInsight"]]
NAMES = st.sampled_from(["a", "b", "c"])
KEYS = st.one_of(st.tuples(st.sampled_from(GLOBAL), st.just(""), NAMES), st.tuples(st.sampled_from(IN_MESH), NAMES, NAMES))


def kind_of(name):
    return model.kind_of(name, LISTING)


def document(key, index=0, **fields):
    body = {"type": key[0], "name": key[2], **({"mesh": key[1]} if key[1] else {}), **fields}
    if key[0] in ("Secret", "GlobalSecret"):
        body.setdefault("data", "eA==")
    return Document(f"f.yml, document {index + 1}", body)


def checked(documents, **options):
    return plan.check(documents, LISTING, options.get("mesh"), options.get("release", RELEASE), options.get("deleting", False))


def faults(body, **options):
    return [problem.partition(": ")[2] for problem in checked([Document("x", body)], **options)[1]]


@st.composite
def worlds(draw):
    """Documents, and resources that a control plane holds with owners ours, theirs and none."""
    keys = draw(st.lists(KEYS, unique=True, max_size=8))
    held = draw(st.dictionaries(KEYS, st.sampled_from(["us", "them", None]), max_size=10))
    live = {key: document(key).body | ({"labels": {OWNER: owner}} if owner else {}) for key, owner in held.items()}
    return [document(key, index) for index, key in enumerate(keys)], live


@given(worlds())
def test_whatever_is_referred_to_is_written_before_and_deleted_after(world):
    items, problems = checked(world[0])
    assert problems == []
    for deletions in (False, True):
        order = [item for group in plan.by_level(items, deletions) for item in group]
        assert sorted(item.key for item in order) == sorted(item.key for item in items)
        if deletions:
            order.reverse()
        place = {item.key: index for index, item in enumerate(order)}
        for item in items:
            mesh = ("Mesh", "", item.key[1])
            assert mesh not in place or place[mesh] < place[item.key]
            for other in items:
                if item.key[0] == "Secret" and other.key[0] in ("MeshIdentity", "MeshTimeout"):
                    assert place[item.key] < place[other.key]


@given(worlds())
def test_what_was_carried_out_is_unchanged_afterwards(world):
    documents, live = world
    labels = {OWNER: "us"}
    items, _problems = checked(documents)
    after = dict(live)
    after.update({item.key: dict(plan.decide(item, live, labels).after, creationTime="now") for item in items})
    assert all(plan.decide(item, after, labels).action == plan.UNCHANGED for item in items)
    actions = {item.key: plan.decide(item, live, labels).action for item in items}
    assert all((action == plan.CREATED) is (key not in live) for key, action in actions.items())


@given(worlds(), st.integers(0, 5))
def test_only_what_is_ours_and_left_out_is_pruned(world, limit):
    documents, live = world
    items, _problems = checked(documents)
    doomed, problems = plan.prune(items, live, "us", limit, kind_of)
    expected = {key for key, resource in live.items() if plan.owner_of(resource) == "us"} - {item.key for item in items}
    assert {item.key for item in doomed} == expected
    assert any("more than prune_limit" in problem for problem in problems) is (len(doomed) > limit)
    meshes = {key[2] for key in expected if key[0] == "Mesh"}
    strangers = {key[1] for key in live if key not in expected and key[1] in meshes and key[0] != "MeshService"}
    assert {mesh for mesh in meshes if any(f"delete Mesh {mesh} and with it" in problem for problem in problems)} == strangers


def test_pruning_leaves_proxies_and_what_came_from_the_global_control_plane():
    owned = {"labels": {OWNER: "us"}}
    live = {(name, "", "x"): dict(owned) for name in ("ZoneIngress", "ZoneEgress", "Dataplane")}
    assert plan.prune([], live, "us", 10, kind_of) == ([], [])
    synced = {("MeshTimeout", "m", "x"): {"labels": {OWNER: "us", "kuma.io/origin": "global"}}}
    assert plan.prune([], synced, "us", 10, kind_of, from_global=True) == ([], [])
    assert len(plan.prune([], synced, "us", 10, kind_of)[0]) == 1


def test_a_mesh_goes_with_what_the_control_plane_made_in_it():
    live = {
        ("Mesh", "", "m"): {"labels": {OWNER: "us"}},
        ("Secret", "m", "dataplane-token-signing-key-m-1"): {},
        ("Secret", "m", "m.ca-builtin-cert-ca-1"): {},
        ("MeshTimeout", "m", "mesh-timeout-all-m"): {},
        ("MeshService", "m", "web"): {},
        ("MeshInsight", "m", "m"): {},
        ("Secret", "other", "password"): {},
    }
    assert plan.prune([], live, "us", 10, kind_of)[1] == []
    live["Secret", "m", "password"] = {}
    assert "with it 1 resources that are not us's: Secret m/password" in plan.prune([], live, "us", 10, kind_of)[1][0]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"name": "x"}, "type is missing"),
        ({"type": "MeshTimeout", "mesh": "m"}, "name is missing"),
        ({"type": "MeshTimeout", "mesh": "m", "name": 5}, "name is a int, expected text: put it in quotes"),
        ({"type": "MeshTimeout", "name": "x"}, "mesh is missing: write it down, or set the option mesh for all that name none"),
        (
            {"type": "MeshTimeuot", "mesh": "m", "name": "x"},
            "type is MeshTimeuot, which the control plane does not know, did you mean MeshTimeout?",
        ),
        ({"type": "Dataplane", "mesh": "m", "name": "x"}, "type is Dataplane, which meshfleet.kuma.dataplanes manages"),
        ({"type": "MeshInsight", "mesh": "m", "name": "x"}, "type is MeshInsight, which only the control plane writes"),
        ({"type": "Secret", "mesh": "m", "name": "x"}, "data is missing, expected the value in Base64"),
        ({"type": "Mesh", "name": "x", "labels": {"a": 1}}, 'labels["a"] is a int, expected text: put it in quotes'),
        ({"type": "Mesh", "name": "x", "labels": ["a"]}, "labels is a list, expected a mapping"),
        ({"apiVersion": "kuma.io/v1alpha1", "kind": "MeshTimeout"}, "is in the form for Kubernetes"),
    ],
)
def test_a_fault_is_named(body, fault):
    found = faults(body)
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_all_faults_of_all_documents_come_together():
    bodies = [{"type": 1}, {"type": "Mesh", "name": "m"}, {"type": "Nonsense", "name": "a"}, {"type": "Mesh", "name": "m"}]
    items, problems = checked([Document(f"f, document {index + 1}", body) for index, body in enumerate(bodies)])
    assert [item.key for item in items] == [("Mesh", "", "m")]
    assert len(problems) == 4
    assert problems[-1] == "f, document 4: Mesh m is in f, document 2 as well, expected each resource once"


def test_fields_of_a_mesh_that_3_0_drops_are_refused_there():
    mesh = {"type": "Mesh", "name": "m", "mtls": {}, "routing": {}}
    assert faults(mesh) == []
    assert [fault.partition(" ")[0] for fault in faults(mesh, release=(3, 0, 0))] == ["mtls", "routing"]
    assert faults(mesh, release=(3, 0, 0), deleting=True) == []


def test_types_are_not_checked_when_they_cannot_be_listed():
    items, problems = plan.check([Document("x", {"type": "Odd", "name": "x", "mesh": "m"})], None, None, RELEASE)
    assert (items[0].kind.path, problems) == ("odds", [])


def test_the_mesh_of_a_document():
    items, _problems = checked([Document("x", {"type": "MeshTimeout", "name": "x"})], mesh="m")
    assert items[0].definition == {"type": "MeshTimeout", "name": "x", "mesh": "m"}
    items, _problems = checked([Document("x", {"type": "Mesh", "name": "x", "mesh": "ignored"})])
    assert items[0].key == ("Mesh", "", "x")
    assert "mesh" not in items[0].definition


def test_a_mesh_has_to_exist_or_be_in_the_call():
    items, _problems = checked(
        [document(("MeshTimeout", "a", "x")), document(("MeshTimeout", "b", "x"), 1), document(("Mesh", "", "a"), 2)]
    )
    assert plan.missing_meshes(items, {"c"}) == [
        "f.yml, document 2: mesh is b, which the control plane does not have: add the Mesh, or correct the name"
    ]
    assert plan.missing_meshes(items, {"b"}) == []


def test_what_is_somebody_elses_is_not_taken_over():
    items, _problems = checked([document(("Mesh", "", "a"))])
    live = {("Mesh", "", "a"): {"labels": {OWNER: "them"}}}
    assert "Mesh a has the owner them, expected us" in plan.foreign(items, live, "us")[0]
    assert plan.foreign(items, live, "them") == plan.foreign(items, live, None) == plan.foreign(items, {}, "us") == []


def test_labels_of_others_stay_when_a_document_names_none():
    items, _problems = checked([document(("MeshTimeout", "a", "x"))])
    live = {items[0].key: {"type": "MeshTimeout", "mesh": "a", "name": "x", "labels": {"team": "b", "kuma.io/zone": "z"}}}
    decided = plan.decide(items[0], live, {OWNER: "us"})
    assert (decided.action, decided.fields) == (plan.UPDATED, ('labels["meshfleet.kuma/owner"]',))
    assert decided.after["labels"] == {"team": "b", OWNER: "us"}
