# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module resources against a control plane: many documents in one call, pruned by their owner."""

from __future__ import annotations

import base64
import json
import pathlib
import threading
import time

import pytest
import yaml

from tests.unit.http_server import CUT, answer_json, problem
from tests.unit.module_runner import run

VERSIONS = ("2.12.14", "2.13.10", "2.14.3", "3.0-dev")
SECRET = base64.b64encode(b"correct horse battery staple").decode()
OTHER = base64.b64encode(b"correct horse battery stable").decode()
OWNER = "meshfleet.kuma/owner"
LISTED = {"MeshTimeout": "meshtimeouts", "Secret": "secrets"}
TYPES = answer_json({"resources": [{"name": name, "path": path, "scope": "Mesh"} for name, path in LISTED.items()]})


def timeout(mesh, name="slow", connection="2s", **fields):
    default = {"connectionTimeout": connection}
    spec = {"targetRef": {"kind": "Mesh"}, "to": [{"targetRef": {"kind": "Mesh"}, "default": default}]}
    return {"type": "MeshTimeout", "mesh": mesh, "name": name, "spec": spec, **fields}


def secret(mesh, data=SECRET, name="password"):
    return {"type": "Secret", "mesh": mesh, "name": name, "data": data}


def actions(result):
    return {f"{item['type']}/{item['name']}": item["action"] for item in result["results"]}


@pytest.fixture
def name():
    return f"s{time.monotonic_ns()}"


@pytest.fixture
def write(tmp_path):
    def documents(*bodies, file="all.yml"):
        (tmp_path / file).write_text(yaml.safe_dump_all(bodies))
        return str(tmp_path)

    return documents


def where(path, file, number):
    """File and line of a document, as the module names it."""
    before = pathlib.Path(path, file).read_text().split("---\n")[: number - 1]
    return f"{file}, line {1 + sum(text.count(chr(10)) + 1 for text in before)}"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_directory_from_nothing_to_nothing(control_plane_of, version, name, write):
    options = control_plane_of(version).options
    # The order in the file is the wrong one.
    path = write(timeout(name), timeout(name, "quick", "1s"), secret(name), {"type": "Mesh", "name": name})
    planned = run("resources", options(path=path), check=True, diff=True)
    assert set(actions(planned).values()) == {"created"}
    assert run("resource_info", options(type="Mesh", name=name))["total"] == 0

    created = run("resources", options(path=path), diff=True)
    assert not created.get("failed"), created
    assert (created["changed"], actions(created)) == (True, actions(planned))
    assert created["results"][0]["source"] == "all.yml, line 1"
    assert [entry["after"].get("spec") for entry in created["diff"]][:2] == [timeout(name)["spec"], timeout(name, "quick", "1s")["spec"]]

    again = run("resources", options(path=path), diff=True)
    assert (again["changed"], set(actions(again).values()), again["diff"]) == (False, {"unchanged"}, [])
    # The version, the types, and one list for each of three types.
    assert again["requests"] == 5

    write(timeout(name, "slow", "9s"), timeout(name, "quick", "1s"), secret(name), {"type": "Mesh", "name": name})
    changed = run("resources", options(path=path), diff=True)
    assert [item["fields"] for item in changed["results"] if "fields" in item] == [["spec.to[0].default.connectionTimeout"]]
    (diff,) = changed["diff"]
    assert diff["before"]["spec"]["to"][0]["default"] == {"connectionTimeout": "2s"}
    assert diff["after"]["spec"]["to"][0]["default"] == {"connectionTimeout": "9s"}

    gone = run("resources", options(path=path, state="absent"))
    assert set(actions(gone).values()) == {"deleted"}
    assert run("resources", options(path=path, state="absent"))["changed"] is False


def test_secrets_are_shown_nowhere(control_plane, name, write):
    log, shown = [], []
    options = control_plane.options
    for data in (SECRET, OTHER):
        path = write({"type": "Mesh", "name": name}, secret(name, data))
        shown.extend(run("resources", options(path=path), check=check, diff=True, log=log) for check in (True, False))
    assert shown[-1]["diff"][0]["after"]["data"] == f"(secret, {len(OTHER)} characters, new value)"
    given = {"mesh": name, "name": "password", "data": SECRET}
    shown.append(run("resources", options(secrets=[given]), diff=True, log=log))
    assert actions(shown[-1]) == {"Secret/password": "updated"}
    shown.append(run("resources", options(secrets=[{"mesh": name, "name": "password"}], state="absent"), diff=True, log=log))
    assert actions(shown[-1]) == {"Secret/password": "deleted"}
    shown.append(run("resources", options(secrets=[dict(given, mesh="nowhere")]), log=log))
    assert shown[-1]["failed"]
    text = json.dumps(shown) + "".join(log)
    assert not [value for value in (SECRET, OTHER, control_plane.token) if value in text]
    refused = run("resources", options(resources=[secret(name)]))
    assert refused["problems"] == ["resources[0]: data would be logged: use the option secrets, or a file"]
    assert SECRET not in json.dumps(refused)


def test_a_short_secret_is_hidden_too(control_plane, name, write):
    """It is too short to be blanked out wherever it appears, which would mutilate words."""
    options = control_plane.options
    for data in ("eA==", "eQ=="):
        path = write({"type": "Mesh", "name": name}, secret(name, data))
        for check in (True, False):
            result = run("resources", options(path=path), check=check, diff=True)
            assert result["changed"]
            assert data not in json.dumps(result)
    assert "eA==" not in json.dumps(result["diff"])
    gone = run("resources", options(path=path, state="absent"), diff=True)
    assert "eQ==" not in json.dumps(gone["diff"])


def test_everything_wrong_comes_at_once_and_nothing_is_written(control_plane, name, write):
    path = write({"type": "Mesh", "name": name}, {"type": "MeshTimeout", "name": "x"}, {"type": "Dataplane", "mesh": name, "name": "d"})
    write(timeout("nowhere"), timeout(name), timeout(name), file="more.yml")
    control = run("resources", control_plane.options(path=path, prune=True, resources=[{"type": "MeshTimeuot", "name": "t"}]))
    assert control["failed"]
    assert len(control["problems"]) == 6
    for expected in (
        "prune needs owner",
        "all.yml, line 4: mesh is missing",
        "all.yml, line 7: type is Dataplane",
        "more.yml, line 1: mesh is nowhere, which the control plane does not have",
        f"{where(path, 'more.yml', 3)}: MeshTimeout {name}/slow is in {where(path, 'more.yml', 2)} as well",
        "resources[0]: type is MeshTimeuot, which the control plane does not know, did you mean MeshTimeout?",
    ):
        assert expected in control["msg"]
    assert run("resource_info", control_plane.options(type="Mesh", name=name))["total"] == 0


def test_one_that_is_refused_does_not_stop_the_others_but_every_deletion(control_plane, name, write):
    options = control_plane.options
    mesh = {"type": "Mesh", "name": name}
    path = write(mesh, timeout(name, "old"))
    run("resources", options(path=path, owner=name))
    bad = timeout(name, "bad")
    bad["spec"]["targetRef"]["kind"] = "Nonsense"
    write(mesh, timeout(name, "new"), bad)
    result = run("resources", options(path=path, owner=name, prune=True))
    assert result["failed"]
    assert result["changed"]
    assert actions(result) == {
        f"Mesh/{name}": "unchanged",
        "MeshTimeout/new": "created",
        "MeshTimeout/bad": "failed",
        "MeshTimeout/old": "skipped",
    }
    assert f"MeshTimeout {name}/bad ({where(path, 'all.yml', 3)})" in result["msg"]
    assert "spec.targetRef.kind" in result["msg"]
    write(mesh, timeout(name, "new"))
    assert actions(run("resources", options(path=path, owner=name, prune=True)))["MeshTimeout/old"] == "deleted"


def test_what_is_in_a_mesh_that_was_refused_is_skipped(control_plane, name):
    mesh = {"type": "Mesh", "name": name, "mtls": {"enabledBackend": "x"}}
    result = run("resources", control_plane.options(resources=[timeout(name), mesh]))
    assert actions(result) == {"MeshTimeout/slow": "skipped", f"Mesh/{name}": "failed"}
    assert result["results"][0]["reason"] == f"Mesh {name} could not be created"
    assert result["changed"] is False


def test_pruning_deletes_what_is_ours_and_was_left_out(control_plane, name):
    options = control_plane.options
    mine = [{"type": "Mesh", "name": name}, timeout(name, "a"), timeout(name, "b"), timeout(name, "c")]
    run("resources", options(resources=mine, owner=name))
    run("resource", options(definition=timeout(name, "stranger")))
    assert run("resource_info", options(type="MeshTimeout", mesh=name, name="a"))["resources"][0]["labels"][OWNER] == name
    few = options(resources=mine[:2], owner=name, prune=True)
    limited = run("resources", dict(few, prune_limit=1))
    assert "prune would delete 2 resources, more than prune_limit (1)" in limited["problems"][0]
    planned = run("resources", few, check=True, diff=True)
    assert [entry["after"] for entry in planned["diff"]] == [{}, {}]
    assert run("resource_info", options(type="MeshTimeout", mesh=name, labels={OWNER: name}))["total"] == 3
    pruned = run("resources", few)
    assert {key for key, action in actions(pruned).items() if action == "deleted"} == {"MeshTimeout/b", "MeshTimeout/c"}
    assert run("resource_info", options(type="MeshTimeout", mesh=name, name="stranger"))["total"] == 1
    assert run("resources", few)["changed"] is False

    everything = options(resources=[], owner=name, prune=True)
    assert f"prune would delete Mesh {name} and with it 1 resources that are not" in run("resources", everything)["msg"]
    run("resource", options(type="MeshTimeout", mesh=name, name="stranger", state="absent"))
    assert set(actions(run("resources", everything)).values()) == {"deleted"}
    assert run("resource_info", options(type="Mesh", name=name))["total"] == 0


@pytest.mark.parametrize("options", [{"state": "absent"}, {"prune": True}])
def test_a_mesh_with_dataplanes_is_not_deleted_and_neither_is_anything_in_it(control_plane, name, options):
    both = [{"type": "Mesh", "name": name}, timeout(name)]
    run("resources", control_plane.options(resources=both, owner=name))
    networking = {"address": "10.6.0.1", "inbound": [{"port": 1, "servicePort": 2, "tags": {"kuma.io/service": "x"}}]}
    run("dataplane", control_plane.options(mesh=name, name="d", networking=networking))
    refused = run("resources", control_plane.options(resources=both if "state" in options else [], owner=name, **options))
    assert f"Mesh {name} is to be deleted, but has 1 Dataplanes: let them leave first" in refused["msg"]
    assert run("resource_info", control_plane.options(type="MeshTimeout", mesh=name, name="slow"))["total"] == 1
    run("dataplane", control_plane.options(mesh=name, name="d", state="absent"))
    done = run("resources", control_plane.options(resources=both if "state" in options else [], owner=name, **options))
    assert actions(done) == {f"Mesh/{name}": "deleted", "MeshTimeout/slow": "deleted"}


def test_a_resource_that_changed_hands_is_not_pruned(serve):
    """Between the listing and the deletion somebody else took it over."""
    held = {"type": "MeshTimeout", "mesh": "m", "name": "x", "labels": {OWNER: "us"}}

    def handler(request):
        if request.path == "/":
            return answer_json({"product": "Kuma", "version": "2.14.3"})
        if request.path == "/_resources":
            return TYPES
        if request.path == "/meshtimeouts":
            return answer_json({"total": 1, "items": [held], "next": None})
        if request.path == "/meshes/m/meshtimeouts/x" and request.method == "GET":
            return answer_json(dict(held, labels={OWNER: "them"}))
        return answer_json({"total": 0, "items": [], "next": None})

    server = serve(handler)
    result = run("resources", {"url": server.url, "resources": [], "owner": "us", "prune": True})
    assert actions(result) == {"MeshTimeout/x": "unchanged"}
    assert not [request for request in server.requests if request.method == "DELETE"]


def test_pruning_is_refused_where_labels_do_not_survive(control_plane_of, name):
    options = control_plane_of("2.12.14").options
    mesh = {"type": "Mesh", "name": name}
    result = run("resources", options(resources=[mesh], owner=name, prune=True))
    assert result["problems"][0].startswith("prune is refused: the control plane runs Kuma 2.12.14")
    run("resources", options(resources=[mesh], owner=name))
    assert OWNER not in run("resource_info", options(type="Mesh", name=name))["resources"][0].get("labels", {})


def test_somebody_elses_resource_is_refused(control_plane, name):
    options = control_plane.options
    mesh = {"type": "Mesh", "name": name}
    run("resources", options(resources=[mesh], owner="them"))
    for state in ("present", "absent"):
        refused = run("resources", options(resources=[mesh], owner="us", state=state))
        assert f"Mesh {name} has the owner them, expected us" in refused["msg"]
    assert run("resources", options(resources=[mesh]))["changed"] is False


@pytest.mark.parametrize("owner", ["not a label", "x" * 64])
def test_an_owner_that_is_no_label_is_refused(control_plane, owner):
    assert "owner is " in run("resources", control_plane.options(resources=[], owner=owner))["msg"]


def test_a_field_that_was_not_kept_is_a_failure_of_its_resource(control_plane_of, control_plane, name):
    mesh = {"type": "Mesh", "name": name, "mtls": {"enabledBackend": "a", "backends": [{"name": "a", "type": "builtin"}]}}
    refused = run("resources", control_plane_of("3.0-dev").options(resources=[mesh]))
    assert "resources[0]: mtls was removed in 3.0" in refused["msg"]
    assert run("resource_info", control_plane_of("3.0-dev").options(type="Mesh", name=name))["total"] == 0
    typo = timeout("default", name, spce={"to": []})
    typo["spce"] = {"to": [1]}
    result = run("resources", control_plane.options(resources=[typo, timeout("default", f"{name}b")]))
    assert actions(result) == {f"MeshTimeout/{name}": "failed", f"MeshTimeout/{name}b": "created"}
    assert result["results"][0]["failure"]["invalid_parameters"][0]["field"] == "spce.to"


def test_at_most_eight_at_a_time_and_levels_one_after_the_other(serve):
    resources, running, seen, lock = {}, [0, 0], [], threading.Lock()

    def handler(request):
        if request.path == "/":
            return answer_json({"product": "Kuma", "version": "2.14.3"})
        if request.path == "/_resources":
            return TYPES
        if request.path in ("/meshes", "/meshtimeouts", "/secrets"):
            return answer_json({"total": 0, "items": [], "next": None})
        if request.method == "PUT":
            with lock:
                running[0] += 1
                running[1] = max(running)
                seen.append(request.path.split("/")[3] if request.path.count("/") > 2 else "meshes")
            time.sleep(0.01)
            with lock:
                running[0] -= 1
            resources[request.path] = request.json()
            return answer_json({}, 201)
        found = resources.get(request.path)
        return answer_json(found) if found else problem(404, "Could not retrieve a resource", "Not found")

    many = [timeout("m", f"t{index}") for index in range(30)]
    server = serve(handler)
    secrets = [{"mesh": "m", "name": f"s{index}", "data": SECRET} for index in range(3)]
    result = run("resources", {"url": server.url, "resources": [*many, {"type": "Mesh", "name": "m"}], "secrets": secrets})
    assert set(actions(result).values()) == {"created"}
    assert seen == ["meshes"] + ["secrets"] * 3 + ["meshtimeouts"] * 30
    assert 2 <= running[1] <= 8


def test_a_control_plane_that_goes_away_is_not_asked_again_for_each(serve):
    def handler(request):
        if request.path == "/":
            return answer_json({"product": "Kuma", "version": "2.14.3"})
        if request.path == "/_resources":
            return TYPES
        if request.path == "/meshes":
            return answer_json({"total": 1, "items": [{"type": "Mesh", "name": "m"}], "next": None})
        if request.path == "/meshtimeouts":
            return answer_json({"total": 0, "items": [], "next": None})
        return CUT

    server = serve(handler)
    result = run("resources", {"url": server.url, "retries": 0, "resources": [timeout("m", f"t{index}") for index in range(40)]})
    assert result["changed"] is False
    assert set(actions(result).values()) == {"failed", "skipped"}
    assert len([request for request in server.requests if request.path.startswith("/meshes/m/")]) <= 16
    assert "not tried, for an earlier one failed" in result["msg"]


def test_types_that_cannot_be_listed(serve):
    held = {}

    def handler(request):
        if request.path == "/":
            return answer_json({"product": "Kuma", "version": "2.14.3"})
        if request.path == "/_resources":
            return problem(403, "Access Denied")
        if request.path == "/meshes":
            return answer_json({"total": 1, "items": [{"type": "Mesh", "name": "m"}], "next": None})
        if request.path == "/meshtimeouts":
            return answer_json({"total": 0, "items": [], "next": None})
        if request.method == "PUT":
            held[request.path] = request.json()
            return answer_json({}, 201)
        return answer_json(held[request.path]) if request.path in held else problem(404, "Could not retrieve a resource")

    options = {"url": serve(handler).url, "resources": [timeout("m")]}
    assert actions(run("resources", options)) == {"MeshTimeout/slow": "created"}
    assert "does not answer GET /_resources" in run("resources", dict(options, owner="us", prune=True))["msg"]


@pytest.mark.parametrize("ending", ["yml", "json"])
def test_files_that_nobody_can_look_into_are_refused_with_their_names(control_plane, tmp_path, ending):
    deep = '{"type": "Mesh", "name": "a", "spec": %s}' % ("[" * 100000 + "]" * 100000)
    (tmp_path / f"deep.{ending}").write_text(deep)
    (tmp_path / "laughs.yml").write_text(
        "a: &a [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else '*a'] * 9)}]\n" for n in range(9))
    )
    result = run("resources", control_plane.options(path=str(tmp_path)))
    assert (result["failed"], result["changed"]) == (True, False)
    assert f"deep.{ending} cannot be parsed: it is nested deeper than 100 levels" in result["msg"]
    assert "laughs.yml, line 1: is larger than 1000000 lists and mappings" in result["msg"]
