# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that read the control plane and issue tokens, against a control plane."""

from __future__ import annotations

import base64
import json
import threading
import time

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims
from tests.unit.http_server import Answer, answer_json, problem
from tests.unit.module_runner import run

VERSIONS = ("2.12.14", "2.13.10", "2.14.3", "3.0-dev")
DAY = 86400


def jwt(claims):
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


@pytest.fixture
def mesh(control_plane):
    """A mesh of its own, so that tests do not see each other's Dataplanes."""
    name = f"t{time.monotonic_ns()}"
    definition = {"type": "Mesh", "name": name}
    assert run("resource", control_plane.options(definition=definition))["changed"]
    return name


def register(control_plane, mesh, name, inbound=None, **fields):
    """Writes a Dataplane as it is, without the care of the modules."""
    inbound = {"port": 8080, "tags": {"kuma.io/service": "web", "kuma.io/protocol": "tcp"}, **(inbound or {})}
    body = {"type": "Dataplane", "mesh": mesh, "name": name, "networking": {"address": "10.0.0.1", "inbound": [inbound]}, **fields}
    client = Client(control_plane.https_url, control_plane.token, control_plane.ca_file)
    client.put(f"/meshes/{mesh}/dataplanes/{name}", body)
    client.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_control_plane_info(control_plane_of, version):
    control_plane = control_plane_of(version)
    result = run("control_plane_info", control_plane.options(mesh="default"))
    assert not result["changed"]
    assert result["product"] == "Kuma"
    assert result["model"] == ("v3" if version == "3.0-dev" else "v2")
    assert result["capabilities"]["labels_survive"] is (version != "2.12.14")
    assert result["who"] == {
        "name": "mesh-system:admin",
        "groups": ["mesh-system:admin", "mesh-system:authenticated"],
        "admin": True,
    }
    assert result["mesh_exists"] is True
    assert (result["mode"], result["store"], result["hds_enabled"]) == ("zone", "memory", True)
    assert result["requests"] == 4
    assert "warnings" not in result


def test_control_plane_info_without_a_token_and_of_a_missing_mesh(control_plane):
    result = run("control_plane_info", {"url": control_plane.url, "mesh": "nope"})
    assert result["who"]["admin"] is False
    assert result["mesh_exists"] is False


def test_options_come_from_the_environment(control_plane, monkeypatch):
    for name, value in (("URL", "https_url"), ("TOKEN", "token")):
        monkeypatch.setenv(f"KUMA_API_{name}", getattr(control_plane, value))
    monkeypatch.setenv("KUMA_CA", control_plane.ca_file)
    assert run("control_plane_info", {})["who"]["admin"] is True


@pytest.mark.parametrize("module", ["control_plane_info", "dataplane_info", "dataplane_tokens", "resource", "resource_info"])
def test_every_module_says_what_went_wrong(control_plane, module):
    needed = {
        "dataplane_tokens": {"tokens": [{"name": "web-1"}]},
        "resource": {"definition": {"type": "Mesh", "name": "default"}},
        "resource_info": {"type": "Mesh"},
    }.get(module, {})
    refused = run(module, control_plane.options(**needed, token="a.b.c", retries=0))
    assert refused["failed"]
    assert refused["failure"]["kind"] == "authentication"
    assert refused["requests"] >= 1
    assert "is not a JWT" in refused["msg"]
    gone = run(module, dict(needed, url="http://127.0.0.1:1", retries=0))
    assert gone["failure"]["kind"] == "connection"
    assert "http://127.0.0.1:1" in gone["msg"]
    untrusted = run(module, dict(needed, url=control_plane.https_url, token=control_plane.token))
    assert untrusted["failure"]["kind"] == "tls"
    assert "ca_path" in untrusted["msg"]
    unusable = run(module, dict(needed, url="nonsense"))
    assert (unusable["failure"]["kind"], unusable["requests"]) == ("invalid", 0)


def test_a_token_over_http_gives_a_warning_and_the_token_stays_unseen(control_plane):
    log = []
    away = {"url": "http://kuma.invalid:5681", "token": control_plane.token, "retries": 0, "timeout": 2}
    result = run("control_plane_info", away, log=log)
    assert "unencrypted" in str(result["warnings"])
    assert control_plane.token not in json.dumps(result) + "".join(log)
    at_home = run("control_plane_info", {"url": control_plane.url, "token": control_plane.token}, log=log)
    assert "warnings" not in at_home
    assert control_plane.token not in json.dumps(at_home) + "".join(log)


def test_dataplane_info(control_plane, mesh):
    register(control_plane, mesh, "web-1", labels={"team": "a"})
    register(control_plane, mesh, "web-2", {"state": "NotReady", "health": {}})
    register(control_plane, mesh, "web-10", {"health": {"ready": False}})
    result = run("dataplane_info", control_plane.options(mesh=mesh))
    assert result["requests"] == 1
    assert [(item["name"], item["status"], item["ready"], item["fenced"]) for item in result["dataplanes"]] == [
        ("web-1", "Offline", False, False),
        ("web-10", "Offline", False, True),
        ("web-2", "Offline", False, False),
    ]
    assert result["dataplanes"][0]["dataplane"]["networking"]["address"] == "10.0.0.1"
    assert result["dataplanes"][0]["dataplane"]["type"] == "Dataplane"
    assert result["dataplanes"][0]["insight"] == {}
    named = run("dataplane_info", control_plane.options(mesh=mesh, names=["web-1", "web-7"]))
    assert [item["name"] for item in named["dataplanes"]] == ["web-1"]
    assert named["missing"] == ["web-7"]
    labelled = run("dataplane_info", control_plane.options(mesh=mesh, labels={"team": "a"}))
    assert [item["name"] for item in labelled["dataplanes"]] == ["web-1"]


def test_dataplane_info_fails_naming_each_that_is_late_and_why(control_plane, mesh):
    register(control_plane, mesh, "web-1")
    options = control_plane.options(mesh=mesh, names=["web-1", "web-2"], wait="ready", wait_timeout=0)
    result = run("dataplane_info", options)
    assert result["failed"]
    assert result["failure"]["kind"] == "timeout"
    text = f"2 of 2 Dataplanes of mesh {mesh} are not ready after 0 s: web-1: never connected; web-2: not registered"
    assert result["msg"] == text
    assert [item["name"] for item in result["dataplanes"]] == ["web-1"]
    assert run("dataplane_info", dict(options, wait_timeout=60), check=True)["requests"] == 1, "nothing is waited for in check mode"
    assert "failed" not in run("dataplane_info", dict(options, names=["web-2"], wait="gone"))


def issue(control_plane, *tokens, check=False, diff=False, **options):
    return run("dataplane_tokens", control_plane.options(tokens=list(tokens), **options), check=check, diff=diff)


@pytest.mark.parametrize("version", VERSIONS)
def test_tokens_are_issued_once_and_kept(control_plane_of, version):
    control_plane = control_plane_of(version)
    wishes = [{"name": f"web-{number}", "workload": "web", "tags": {"team": ["a", "b"]}} for number in range(20)]
    first = issue(control_plane, *wishes, valid_for="30d")
    assert first["changed"]
    assert first["requests"] == 20
    assert [entry["name"] for entry in first["results"]] == [wish["name"] for wish in wishes]
    assert {entry["action"] for entry in first["results"]} == {"issued"}
    current = {name: decode_claims(token) for name, token in first["tokens"].items()}
    for entry in first["results"]:
        assert current[entry["name"]]["Name"] == entry["name"]
        assert entry["expires"] == current[entry["name"]]["exp"]
        assert 29 * DAY < entry["expires"] - time.time() < 31 * DAY
    again = issue(control_plane, *[dict(wish, current=current[wish["name"]]) for wish in wishes], valid_for="30d")
    assert not again["changed"]
    assert again["tokens"] == {}
    assert {entry["action"] for entry in again["results"]} == {"kept"}
    # 2.12 knows no workload in tokens: that has to be found out, once.
    assert again["requests"] == (1 if version == "2.12.14" else 0)


def test_check_mode_issues_nothing(control_plane):
    result = issue(control_plane, {"name": "web-1"}, check=True, diff=True)
    assert result["changed"]
    assert result["tokens"] == {}
    assert result["requests"] == 0
    assert result["results"] == [{"name": "web-1", "mesh": "default", "action": "issued", "reason": "there is no token"}]
    assert result["diff"] == {"before": "web-1: no token\n", "after": "web-1: new token for 720h (there is no token)\n"}


def test_a_token_that_ends_soon_is_replaced(control_plane):
    claims = {"Name": "web-1", "Mesh": "default", "exp": time.time() + 3 * DAY}
    assert issue(control_plane, {"name": "web-1", "current": claims})["changed"]
    assert not issue(control_plane, {"name": "web-1", "current": claims}, renew_before="2d")["changed"]


def test_one_that_fails_does_not_stop_the_others_and_no_token_is_shown(control_plane):
    result = issue(control_plane, {"name": "web-1"}, {"name": "web-2", "mesh": "nope"}, {"name": "web-3"})
    assert result["failed"]
    assert result["changed"]
    assert [entry["action"] for entry in result["results"]] == ["issued", "failed", "issued"]
    assert result["results"][1]["failure"]["kind"] == "not_found"
    assert "1 of 3 tokens could not be issued. web-2: " in result["msg"]
    assert "The mesh does not exist" in result["msg"]
    assert "tokens" not in result
    assert "eyJ" not in json.dumps(result)


def test_missing_rights_are_said_once(control_plane):
    tokens = [{"name": f"web-{number}"} for number in range(100)]
    result = run("dataplane_tokens", {"url": control_plane.url, "tokens": tokens})
    assert result["failure"]["kind"] == "authorization"
    assert result["requests"] <= 16, "the rest is not even asked for"
    assert result["msg"].startswith("100 of 100 tokens could not be issued. web-0, web-1, web-2, web-3, web-4 and 95 more: ")
    assert 'user "mesh-system:anonymous/mesh-system:unauthenticated" cannot' in result["msg"]
    assert "set token or KUMA_API_TOKEN" in result["msg"]
    assert not result["changed"]


def test_all_problems_of_the_options_come_together(control_plane):
    result = issue(control_plane, {"name": "web-1", "valid_for": "soon"}, {"name": "web-1"}, renew_before="1 week")
    assert result["requests"] == 0
    assert [entry["field"] for entry in result["failure"]["invalid_parameters"]] == [
        "renew_before",
        "tokens[0].valid_for",
        "tokens[1].name",
    ]
    short = issue(control_plane, {"name": "web-1"}, valid_for="24h")
    assert "not longer than renew_before" in short["msg"]


def test_at_most_eight_tokens_are_asked_for_at_a_time(serve):
    lock, state = threading.Lock(), {"now": 0, "most": 0}
    eight = threading.Barrier(8, timeout=20)

    def handler(request):
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        eight.wait()
        with lock:
            state["now"] -= 1
        body = request.json()
        token = jwt({"Name": body["name"], "Mesh": body["mesh"], "exp": 2_000_000_000})
        return Answer(200, token, "text/plain")

    server = serve(handler)
    result = run("dataplane_tokens", {"url": server.url, "tokens": [{"name": f"web-{number}"} for number in range(32)]})
    assert result["changed"]
    assert (state["most"], len(server.requests)) == (8, 32)
    assert {request.json()["validFor"] for request in server.requests} == {"720h"}


@pytest.mark.parametrize("answer", [Answer(200, "hello", "text/plain"), Answer(200, "", "text/plain"), answer_json({"a": 1})])
def test_an_answer_that_is_no_token_is_refused(serve, answer):
    result = run("dataplane_tokens", {"url": serve(answer).url, "tokens": [{"name": "web-1"}]})
    assert result["failure"]["kind"] == "protocol"


def test_the_token_of_another_proxy_is_refused(serve):
    server = serve(Answer(200, jwt({"Name": "web-9", "Mesh": "default"}), "text/plain"))
    result = run("dataplane_tokens", {"url": server.url, "tokens": [{"name": "web-1"}]})
    assert "token of another proxy" in result["msg"]


def test_failures_are_retried_and_counted(serve):
    server = serve(problem(503, "later"), answer_json({"total": 0, "items": [], "next": None}))
    assert run("dataplane_info", {"url": server.url})["requests"] == 2
