# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the recordings do not show of the stand-in's API: users, revocation, key rotation, big lists and TLS."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from tests.contract.processes import LIMIT, Client, control_plane

REVOCATIONS = "/global-secrets/user-token-revocations"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with control_plane("2.14.3", tmp_path_factory.mktemp("cp")) as ready:
        yield Client(ready)


def who(api: Client, token: str | None) -> requests.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.get(api.ready["url"] + "/who-am-i", headers=headers, timeout=LIMIT)


def user_token(api: Client, **fields: Any) -> str:
    answer = api.session.post(
        api.ready["url"] + "/tokens/user", json={"name": "ci", "groups": ["ops"], "validFor": "1h", **fields}, timeout=LIMIT
    )
    assert answer.status_code == 200, answer.text
    return answer.text


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def dataplane(name: str, **networking: Any) -> dict[str, Any]:
    inbound = {"port": 8080, "servicePort": 18080, "serviceAddress": "127.0.0.1", "tags": {"kuma.io/service": "web"}}
    return {"type": "Dataplane", "mesh": "default", "name": name, "networking": {"address": "10.0.0.1", "inbound": [inbound], **networking}}


def test_user_token_is_accepted_until_it_expires_or_is_revoked(api: Client) -> None:
    token = user_token(api)
    assert who(api, token).json() == {"name": "ci", "groups": ["ops", "mesh-system:authenticated"]}
    assert who(api, user_token(api, validFor="-1h")).status_code == 401
    data = base64.b64encode(f"other,{claims(token)['jti']}".encode()).decode()
    api.put(REVOCATIONS, {"type": "GlobalSecret", "name": "user-token-revocations", "data": data})
    assert who(api, token).status_code == 401
    assert who(api, None).status_code == 200
    api.delete(REVOCATIONS)
    assert who(api, token).status_code == 200


def test_a_user_without_admin_rights_gets_no_secrets_and_no_tokens(api: Client) -> None:
    headers = {"Authorization": f"Bearer {user_token(api)}"}
    for path in (
        "/meshes/default/secrets",
        "/global-secrets/admin-user-token",
        "/meshes/default/secrets/dataplane-token-signing-key-default-1",
    ):
        answer = requests.get(api.ready["url"] + path, headers=headers, timeout=LIMIT)
        assert answer.status_code == 403
        assert 'user "ci/ops,mesh-system:authenticated" cannot access the resource of type' in answer.json()["detail"]
    denied = requests.post(api.ready["url"] + "/tokens/dataplane", json={"mesh": "default"}, headers=headers, timeout=LIMIT)
    assert denied.status_code == 403


def test_tokens_are_signed_with_the_newest_key(api: Client) -> None:
    first = api.get("/meshes/default/secrets/dataplane-token-signing-key-default-1")
    api.put("/meshes/rotated", {"type": "Mesh", "name": "rotated"})
    name = "dataplane-token-signing-key-rotated-2"
    api.put(f"/meshes/rotated/secrets/{name}", {"type": "Secret", "mesh": "rotated", "name": name, "data": first["data"]})
    token = api.token("a", mesh="rotated")
    assert jwt.get_unverified_header(token)["kid"] == "2"
    assert claims(token)["Mesh"] == "rotated"


def test_the_admin_token_file_is_private_and_kept_as_a_secret(api: Client) -> None:
    file = Path(api.ready["admin_token_file"])
    assert file.stat().st_mode & 0o777 == 0o600
    assert base64.b64decode(api.get("/global-secrets/admin-user-token")["data"]).decode() == file.read_text()


def test_localhost_is_admin_only_when_asked_for(api: Client, tmp_path: Path) -> None:
    assert who(api, None).json()["name"] == "mesh-system:anonymous"
    with control_plane("2.14.3", tmp_path, "--localhost-is-admin") as ready:
        local = Client(ready)
        assert who(local, None).json()["name"] == "mesh-system:admin"
        assert who(local, "nonsense").json()["name"] == "mesh-system:admin", "the token is not looked at"
        forwarded = requests.get(ready["url"] + "/who-am-i", headers={"X-Forwarded-For": "10.0.0.9"}, timeout=LIMIT)
        assert forwarded.json()["name"] == "mesh-system:anonymous"


def test_https_is_verified_with_the_ca(api: Client) -> None:
    answer = requests.get(api.ready["https_url"] + "/", verify=api.ready["ca_file"], timeout=LIMIT)
    assert answer.json()["version"] == "2.14.3"
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(api.ready["https_url"] + "/", timeout=LIMIT)


def test_config_says_what_clients_look_for(api: Client) -> None:
    config = api.get("/config")
    assert (config["mode"], config["store"]["type"], config["dpServer"]["hds"]["enabled"]) == ("zone", "memory", True)
    assert config["bootstrapServer"]["params"]["envoyAdminUnixSocket"] is True
    assert config["dpServer"]["authn"]["enableReloadableTokens"] is False


@pytest.mark.parametrize(("number", "size"), [(250, 100), pytest.param(2500, 1000, marks=pytest.mark.nightly)])
def test_pages_of_a_big_list_are_complete_and_ordered(api: Client, number: int, size: int) -> None:
    mesh = f"big-{number}"
    api.put(f"/meshes/{mesh}", {"type": "Mesh", "name": mesh})
    names = [f"vm-{index:04d}" for index in range(number)]
    for name in reversed(names):
        api.put(f"/meshes/{mesh}/dataplanes/{name}", {**dataplane(name), "mesh": mesh})
    found, path = [], f"/meshes/{mesh}/dataplanes?size={size}"
    while path:
        page = api.get(path)
        assert page["total"] == number
        found += [item["name"] for item in page["items"]]
        path = (page["next"] or "").removeprefix(api.ready["url"])
    assert found == names


def test_trap_39_an_inbound_without_tags_can_be_created_but_never_updated(api: Client) -> None:
    document = dataplane("bare")
    del document["networking"]["inbound"][0]["tags"]
    assert api.put("/meshes/default/dataplanes/bare", document) == 201
    answer = api.session.put(api.ready["url"] + "/meshes/default/dataplanes/bare", json=document, timeout=LIMIT)
    assert answer.status_code == 400
    assert answer.json()["title"] == "Failed to update a resource"
    api.put("/meshes/exclusive", {"type": "Mesh", "name": "exclusive", "meshServices": {"mode": "Exclusive"}})
    for status in (201, 200):
        assert api.put("/meshes/exclusive/dataplanes/bare", {**document, "mesh": "exclusive"}) == status


def test_durations_and_defaults_come_back_normalised(api: Client) -> None:
    inbound = {
        "port": 8080,
        "service_port": "18080",
        "serviceAddress": "127.0.0.1",
        "state": 0,
        "tags": {"kuma.io/service": "web"},
        "serviceProbe": {"interval": "1.50s", "tcp": {}},
    }
    api.put("/meshes/default/dataplanes/odd", dataplane("odd", inbound=[inbound], outbound=[], advertisedAddress=""))
    found = api.get("/meshes/default/dataplanes/odd")["networking"]
    assert found["inbound"][0]["serviceProbe"] == {"interval": "1.500s", "tcp": {}}
    assert found["inbound"][0]["servicePort"] == 18080
    assert found["inbound"][0]["state"] == "NotReady", "the preset of probed inbounds"
    assert set(found) == {"address", "inbound"}


def test_kri_finds_a_resource(api: Client) -> None:
    api.put("/meshes/default/dataplanes/kri-1", dataplane("kri-1"))
    assert api.get("/_kri/kri_dp_default_default__kri-1_")["name"] == "kri-1"


def secret(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "Secret", "mesh": "default", "name": name, **fields}


def test_data_of_a_secret_is_base64_and_may_be_missing(api: Client) -> None:
    path = "/meshes/default/secrets/data"
    assert api.put(path, secret("data", data="YWJj\nZGU=\n")) == 201
    assert api.get(path)["data"] == "YWJjZGU="
    for fields in ({}, {"data": None}):
        assert api.put(path, secret("data", data="YQ==")) == 200
        assert api.put(path, secret("data", **fields)) == 200
        assert "data" not in api.get(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("abc-", "illegal base64 data at input byte 3"),
        ("a===", "illegal base64 data at input byte 1"),
        ("YQ=", "illegal base64 data at input byte 3"),
        ("YQ", "illegal base64 data at input byte 0"),
        ("YWJjYQ=A", "illegal base64 data at input byte 6"),
        ("YQ==YQ==", "illegal base64 data at input byte 4"),
        (5, "json: cannot unmarshal number into Go value of type []uint8"),
        ({}, "json: cannot unmarshal object into Go value of type []uint8"),
    ],
)
@pytest.mark.parametrize(("kind", "path"), [("Secret", "/meshes/default/secrets/bad"), ("GlobalSecret", "/global-secrets/bad")])
def test_other_data_of_a_secret_is_refused(api: Client, kind: str, path: str, data: Any, reason: str) -> None:
    answer = api.session.put(api.ready["url"] + path, json={**secret("bad", data=data), "type": kind}, timeout=LIMIT)
    assert (answer.status_code, answer.json()["title"]) == (400, "Bad Request")
    assert answer.json()["detail"] == f'invalid {kind} object: "{reason}"'


def test_secrets_have_the_labels_of_a_mesh_and_keep_their_own_while_they_are_sent(api: Client) -> None:
    path, own = "/meshes/default/secrets/labelled", {"team": "a"}
    computed = {"kuma.io/env": "universal", "kuma.io/mesh": "default", "kuma.io/origin": "zone", "kuma.io/zone": "default"}
    api.put(path, secret("labelled", labels=own))
    assert api.get(path)["labels"] == {**computed, **own}
    api.put(path, secret("labelled"))
    assert api.get(path)["labels"] == computed
    assert next(item for item in api.get("/meshes/default/secrets")["items"] if item["name"] == "labelled")["labels"] == computed
    changed = api.session.put(api.ready["url"] + path, json=secret("labelled", labels={"kuma.io/origin": "global"}), timeout=LIMIT)
    assert changed.status_code == 400


@pytest.mark.parametrize(
    ("path", "kind"), [("/meshes", "Mesh"), ("/meshes/default/secrets", "Secret"), ("/global-secrets", "GlobalSecret"), ("/zones", "Zone")]
)
def test_names_are_subdomains(api: Client, path: str, kind: str) -> None:
    document = {"type": kind, "name": "a_b", **({"mesh": "default"} if kind == "Secret" else {})}
    answer = api.session.put(f"{api.ready['url']}{path}/a_b", json=document, timeout=LIMIT)
    assert answer.status_code == 400
    assert "RFC 1123 subdomain" in answer.json()["invalid_parameters"][0]["reason"]
    assert api.put(f"{path}/a.b", {**document, "name": "a.b"}) == 201
    assert api.delete(f"{path}/a.b") == 200


def test_a_policy_selects_dataplanes_by_name_or_by_labels(api: Client) -> None:
    path, target = "/meshes/default/meshtimeouts/some", {"kind": "Dataplane", "labels": {"kuma.io/workload": "web"}}
    policy = {"type": "MeshTimeout", "mesh": "default", "name": "some"}
    assert api.put(path, {**policy, "spec": {"targetRef": target}}) == 201
    answer = api.session.put(api.ready["url"] + path, json={**policy, "spec": {"targetRef": {**target, "name": "web-1"}}}, timeout=LIMIT)
    assert answer.status_code == 400
    fault = {"field": "spec.targetRef.labels", "reason": "either labels or name and namespace must be specified"}
    assert answer.json()["invalid_parameters"] == [fault]
