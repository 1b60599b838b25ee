# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules resource and resource_info against a control plane, with its writes counted."""

from __future__ import annotations

import base64
import json
import time

import pytest

from tests.unit.http_server import CUT, Answer, answer_json, problem
from tests.unit.module_runner import run

VERSIONS = ("2.12.14", "2.13.10", "2.14.3", "3.0-dev")
SECRET = base64.b64encode(b"correct horse battery staple").decode()
OTHER = base64.b64encode(b"correct horse battery stable").decode()


@pytest.fixture
def mesh(control_plane):
    name = f"r{time.monotonic_ns()}"
    assert run("resource", control_plane.options(definition={"type": "Mesh", "name": name}))["action"] == "created"
    return name


def timeout(mesh, connection="2s", **fields):
    default = {"connectionTimeout": connection}
    spec = {"targetRef": {"kind": "Mesh"}, "to": [{"targetRef": {"kind": "Mesh"}, "default": default}]}
    return {"type": "MeshTimeout", "mesh": mesh, "name": "slow", "spec": spec, **fields}


class Held:
    """A control plane that holds resources in memory as they are sent, and counts."""

    def __init__(self, drop=(), add=None):
        self.resources = {}
        self.writes = []
        self.drop = drop
        self.add = add or {}
        self.conflicts = 0

    def __call__(self, request):
        if request.path == "/_resources":
            return answer_json({"resources": [{"name": "MeshTimeout", "path": "meshtimeouts", "scope": "Mesh"}]})
        if request.method != "GET":
            self.writes.append((request.method, request.path))
        if request.method == "PUT":
            if self.conflicts:
                self.conflicts -= 1
                return problem(409, "Conflict")
            created = request.path not in self.resources
            body = {key: value for key, value in request.json().items() if key not in self.drop}
            self.resources[request.path] = {**body, **self.add, "creationTime": "2026-11-23T10:00:00Z"}
            return answer_json({}, 201 if created else 200)
        if request.path not in self.resources:
            return problem(404, "Could not retrieve a resource", "Not found")
        if request.method == "DELETE":
            del self.resources[request.path]
            return answer_json({})
        return answer_json(self.resources[request.path])


def nested(levels):
    value = "x"
    for _each in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("version", VERSIONS)
def test_a_policy_from_creation_to_deletion(control_plane_of, version):
    control_plane = control_plane_of(version)
    options = control_plane.options
    wanted = timeout("default", labels={"team": "a"})
    planned = run("resource", options(definition=wanted), check=True, diff=True)
    assert (planned["action"], planned["changed"], planned["requests"]) == ("created", True, 2)
    assert planned["diff"]["before"] == {}
    assert planned["diff"]["after"] == wanted
    created = run("resource", options(definition=wanted), diff=True)
    assert (created["action"], created["changed"], created["requests"]) == ("created", True, 4)
    assert created["resource"]["spec"] == wanted["spec"]
    assert created["diff"] == planned["diff"]
    again = run("resource", options(definition=wanted))
    assert (again["action"], again["changed"], again["requests"]) == ("unchanged", False, 2)
    changed = run("resource", options(definition=timeout("default", "3s")), diff=True)
    assert changed["action"] == "updated"
    assert changed["resource"]["labels"]["team"] == "a", "labels that are not given are kept"
    assert changed["diff"]["before"]["spec"]["to"][0]["default"] == {"connectionTimeout": "2s"}
    assert changed["diff"]["after"]["spec"]["to"][0]["default"] == {"connectionTimeout": "3s"}
    found = run("resource_info", options(type="MeshTimeout", name="slow"))
    assert (found["total"], found["resources"][0]["name"]) == (1, "slow")
    remove = options(type="MeshTimeout", name="slow", state="absent")
    assert run("resource", remove, check=True)["action"] == "deleted"
    deleted = run("resource", remove, diff=True)
    assert (deleted["action"], deleted["changed"], deleted["resource"]) == ("deleted", True, {})
    assert deleted["diff"]["after"] == {}
    assert run("resource", remove)["action"] == "unchanged"
    assert run("resource_info", options(type="MeshTimeout", name="slow"))["total"] == 0


def test_a_mesh_is_replaced_as_a_whole(control_plane, mesh):
    mtls = {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}
    options = control_plane.options
    assert run("resource", options(definition={"type": "Mesh", "name": mesh, "mtls": mtls}))["action"] == "updated"
    assert run("resource", options(definition={"type": "Mesh", "name": mesh, "mtls": mtls}))["action"] == "unchanged"
    assert run("resource_info", options(type="Mesh", name=mesh))["resources"][0]["mtls"] == mtls
    assert run("resource", options(definition={"type": "Mesh", "name": mesh}))["action"] == "updated"
    assert "mtls" not in run("resource_info", options(type="Mesh", name=mesh))["resources"][0]


@pytest.mark.parametrize("kind", ["Secret", "GlobalSecret"])
def test_a_secret_is_never_shown(control_plane, kind):
    log, shown = [], []
    options = control_plane.options(type=kind, name=f"password-{time.monotonic_ns()}", data=SECRET)
    for check, data, action in (
        (True, SECRET, "created"),
        (False, SECRET, "created"),
        (False, SECRET, "unchanged"),
        (False, OTHER, "updated"),
    ):
        shown.append(run("resource", dict(options, data=data), check=check, diff=True, log=log))
        assert shown[-1]["action"] == action
    assert shown[-1]["diff"]["after"]["data"] == f"(secret, {len(OTHER)} characters, new value)"
    shown.append(run("resource_info", control_plane.options(type=kind, name=options["name"])))
    assert shown[-1]["resources"][0]["data"] == f"(secret, {len(OTHER)} characters)"
    shown.append(run("resource_info", control_plane.options(type=kind)))
    shown.append(run("resource", {key: value for key, value in options.items() if key != "data"} | {"state": "absent"}, diff=True, log=log))
    assert shown[-1]["action"] == "deleted"
    shown.append(run("resource", dict(options, url="http://127.0.0.1:1", retries=0), log=log))
    text = json.dumps(shown) + "".join(log)
    assert SECRET not in text
    assert OTHER not in text
    assert control_plane.token not in text


def test_a_short_secret_is_hidden_too(serve):
    """It is too short to be blanked out wherever it appears, which would mutilate words."""
    options = {"url": serve(Held()).url, "type": "Secret", "name": "x", "data": "eA=="}
    for check in (True, False, False):
        result = run("resource", options, check=check, diff=True)
        assert result["resource"]["data"] == "(secret, 4 characters)"
        assert "eA==" not in json.dumps([result["resource"], result["diff"]])


def test_data_in_a_definition_is_refused_and_not_shown(control_plane):
    result = run("resource", control_plane.options(definition={"type": "Secret", "name": "x", "data": SECRET}))
    assert result["failed"]
    assert "definition.data: would be logged: use the option data" in result["msg"]
    assert SECRET not in json.dumps(result)


@pytest.mark.parametrize(
    "more",
    [
        {"name": ".."},
        {"mesh": "a/b"},
        {"type": "a/b"},
        {"url": "http://h?"},
        {"client_key": "/nowhere"},
        {"type": ["Secret"]},
        {"spec": nested(120)},
    ],
    ids=str,
)
def test_nor_is_it_when_something_else_is_refused_first(more):
    """The options that a failure came with are in its result."""
    of_api = {key: more[key] for key in more if key in ("url", "client_key")}
    body = {
        "type": "Secret",
        "name": "x",
        "data": SECRET,
        "conf": {"inlineString": SECRET},
        **{key: more[key] for key in more if key not in of_api},
    }
    url = {"url": "http://127.0.0.1:9", "retries": 0, **of_api}
    for module, options in (
        ("resource", {"definition": body}),
        ("resources", {"resources": [body]}),
        ("resources", {"resources": [body], "mesh": ".."}),
    ):
        result = run(module, {**url, **options})
        assert result["failed"]
        assert "invocation" in result
        assert SECRET not in json.dumps(result)


def test_keys_inside_other_resources_are_not_shown(serve):
    key = "-----BEGIN PRIVATE KEY-----"
    backend = {"name": "ca", "type": "provided", "conf": {"key": {"inlineString": key}}}
    options = {"url": serve(Held()).url, "definition": {"type": "Mesh", "name": "m", "mtls": {"backends": [backend]}}}
    assert key not in json.dumps([run("resource", options, check=check, diff=True) for check in (True, False, False)])


def test_all_problems_come_together_and_nothing_is_asked(control_plane):
    definition = {"type": "Mesh", "name": "a", "mesh": "b"}
    result = run("resource", control_plane.options(definition=definition, name="c", data="eA=="))
    assert [entry["field"] for entry in result["failure"]["invalid_parameters"]] == ["name", "data"]
    assert result["requests"] == 0
    missing = run("resource", control_plane.options())
    assert [entry["field"] for entry in missing["failure"]["invalid_parameters"]] == ["type", "name"]
    dataplane = run("resource", control_plane.options(definition={"type": "Dataplane", "name": "web-1"}))
    assert "meshfleet.kuma.dataplane" in dataplane["msg"]


def test_a_missing_mesh_an_unknown_type_and_a_refused_field(control_plane, mesh):
    result = run("resource", control_plane.options(definition=timeout("nope")))
    assert result["failure"]["kind"] == "not_found"
    assert "The mesh does not exist: create it" in result["msg"]
    result = run("resource", control_plane.options(type="MeshTimeot", name="x", state="absent"))
    assert "Did you mean MeshTimeout?" in result["msg"]
    wrong = timeout(mesh)
    wrong["spec"]["targetRef"]["kind"] = "Nonsense"
    result = run("resource", control_plane.options(definition=wrong))
    assert result["failure"]["kind"] == "invalid"
    assert result["failure"]["invalid_parameters"][0]["field"] == "spec.targetRef.kind"


def test_a_field_that_the_control_plane_drops_is_named(serve):
    held = Held(drop=("loging",))
    definition = {"type": "Mesh", "name": "m", "loging": {"backends": [{"name": "x"}]}}
    result = run("resource", {"url": serve(held).url, "definition": definition})
    assert result["failed"]
    assert result["failure"]["invalid_parameters"][0]["field"] == "loging.backends"
    assert "did not keep 1 of its fields" in result["msg"]


def test_a_default_of_the_control_plane_gives_a_warning(serve):
    held = Held(add={"routing": {"zoneEgress": True}})
    options = {"url": serve(held).url, "definition": {"type": "Mesh", "name": "m"}}
    first = run("resource", options)
    assert first["action"] == "created"
    assert "sets routing of Mesh m by itself" in str(first["warnings"])
    again = run("resource", options)
    assert (again["action"], again["changed"]) == ("unchanged", False)
    assert len(held.writes) == 2
    named = dict(options, definition={"type": "Mesh", "name": "m", "routing": {"zoneEgress": True}})
    assert "warnings" not in run("resource", dict(named, url=options["url"]))
    assert len(held.writes) == 2


def test_check_mode_and_reruns_never_write(serve):
    held = Held()
    options = {"url": serve(held).url, "definition": timeout("default")}
    run("resource", options, check=True)
    assert held.writes == []
    run("resource", options)
    assert len(held.writes) == 1
    run("resource", options)
    run("resource", dict(options, definition=timeout("default", "9s")), check=True)
    run("resource", dict(options, state="absent"), check=True)
    run("resource_info", {"url": options["url"], "type": "MeshTimeout", "name": "slow"})
    assert len(held.writes) == 1


def test_a_conflict_is_read_again(serve):
    held = Held()
    held.conflicts = 2
    result = run("resource", {"url": serve(held).url, "definition": {"type": "Mesh", "name": "m"}})
    assert (result["action"], len(held.writes)) == ("created", 3)
    held.conflicts = 9
    result = run("resource", {"url": serve(held).url, "definition": {"type": "Mesh", "name": "n"}})
    assert result["failure"]["kind"] == "conflict"
    assert len(held.writes) == 7


def test_the_path_is_guessed_when_types_cannot_be_listed(serve):
    held = Held()

    def handler(request):
        return problem(403, "Access Denied") if request.path == "/_resources" else held(request)

    assert run("resource", {"url": serve(handler).url, "definition": timeout("shop")})["action"] == "created"
    assert list(held.resources) == ["/meshes/shop/meshtimeouts/slow"]


def test_a_deletion_whose_answer_is_lost(serve):
    held = Held()
    held.resources["/meshes/m"] = {"type": "Mesh", "name": "m"}
    cut = []

    def handler(request):
        answer = held(request)
        if request.method == "DELETE" and not cut:
            cut.append(True)
            return CUT
        return answer

    assert run("resource", {"url": serve(handler).url, "type": "Mesh", "name": "m", "state": "absent"})["action"] == "deleted"


def test_resource_info_lists(control_plane, mesh):
    options = control_plane.options
    for name in ("b", "a"):
        run("resource", options(definition=timeout(mesh, labels={"team": name}) | {"name": name}))
    found = run("resource_info", options(type="MeshTimeout", mesh=mesh))
    assert [resource["name"] for resource in found["resources"] if resource["name"] in "ab"] == ["a", "b"]
    assert found["total"] == len(found["resources"])
    labelled = run("resource_info", options(type="MeshTimeout", mesh=mesh, labels={"team": "b"}))
    assert [resource["name"] for resource in labelled["resources"]] == ["b"]
    everywhere = run("resource_info", options(type="MeshTimeout", all_meshes=True, name="a"))
    assert mesh in [resource["mesh"] for resource in everywhere["resources"]]
    assert mesh in [resource["name"] for resource in run("resource_info", options(type="Mesh"))["resources"]]


def test_a_mesh_field_that_a_newer_version_dropped_is_named(control_plane_of):
    control_plane = control_plane_of("3.0-dev")
    mtls = {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}
    result = run("resource", control_plane.options(definition={"type": "Mesh", "name": f"d{time.monotonic_ns()}", "mtls": mtls}))
    fields = [entry["field"] for entry in result["failure"]["invalid_parameters"]]
    assert fields == ["mtls.backends", "mtls.enabledBackend"]


@pytest.mark.parametrize("levels", [120, 250])
def test_a_definition_that_nobody_can_look_into_is_refused(serve, levels):
    server = serve(Held())
    result = run("resource", {"url": server.url, "definition": timeout("default", spec=nested(levels))})
    assert result["failed"]
    assert "definition: is nested deeper than 100 levels" in result["msg"]
    assert server.requests == []


def test_an_answer_that_nobody_can_look_into_is_an_error(serve):
    deep = json.dumps(timeout("default", spec="SPEC")).replace('"SPEC"', '{"a":' * 100000 + "1" + "}" * 100000)

    def answer(request):
        if request.path == "/_resources":
            return Held()(request)
        return Answer(200, deep, "application/json")

    result = run("resource", {"url": serve(answer).url, "definition": timeout("default")})
    assert result["failed"]
    assert "nested too deep" in result["msg"]
