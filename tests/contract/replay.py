# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaying recorded requests and comparing the answers with the recorded ones."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

HERE = Path(__file__).parent
VERSIONS = ("2.14.3", "3.0-dev", "2.13.10", "2.12.14")
VARYING = ("creationTime", "modificationTime", "createdAt", "clusterId", "instanceId", "hostname", "jti", "exp", "nbf", "iat")
BAD_TOKEN = "Bearer nonsense"
BAD_JWT = "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IjEiLCJ0eXAiOiJKV1QifQ.e30.AAAA"
OWN_DATAPLANES = {*(f"rec-{number}" for number in (*range(1, 14), 20)), "bad-1", "bad-2"}
OWN_PATHS = [
    "/meshes/closed/dataplanes/x",
    *(f"/meshes/default/dataplanes/{name}" for name in sorted(OWN_DATAPLANES)),
    "/meshes/default/secrets/dataplane-token-revocations-default",
    "/meshes/closed",
    "/meshes/rec",
    "/zone-ingresses/zi-1",
    "/zoneegresses/ze-1",
]
# The recorder wrote these requests down after it had changed their labels for the next one; this is what was sent.
SENT_LABELS = {
    "replace labels": {"team": "b"},
    "label zone immutable": {"kuma.io/zone": "other"},
    "label key invalid": {"bad key!": "x"},
}


def recording(version: str) -> list[dict[str, Any]]:
    """The cases of one control plane, in their order."""
    cases: list[dict[str, Any]] = json.loads((HERE / f"kuma-{version}.json").read_text(encoding="utf-8"))["cases"]
    for case in cases:
        if case["case"] in SENT_LABELS:
            case["request"]["json"]["labels"] = SENT_LABELS[case["case"]]
    return cases


def recording_for(served: str) -> str:
    """The recording that fits the version that a control plane serves: the same minor."""
    if served.startswith(("3.", "0.0.0-preview")):
        return "3.0-dev"
    for version in VERSIONS:
        if served.split(".")[:2] == version.split(".")[:2]:
            return version
    raise LookupError(f"no recording for a control plane of version {served}; there are {', '.join(VERSIONS)}")


@dataclass
class Target:
    """A control plane: `exclusive` when nothing but this suite writes to it."""

    url: str
    token: str
    version: str
    exclusive: bool
    ca_file: str = ""

    def __post_init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = self.ca_file or True

    def send(self, case: dict[str, Any]) -> dict[str, Any]:
        """The answer to a recorded request, in the shape of a recorded response."""
        request = case["request"]
        headers = dict(request.get("headers") or {})
        auth = request.get("auth", "admin")
        if auth == "admin":
            headers["Authorization"] = f"Bearer {self.token}"
        elif auth == "bad":
            headers["Authorization"] = BAD_JWT if case["case"].endswith("bad jwt") else BAD_TOKEN
        body: dict[str, Any] = {}
        if "raw" in request:
            body["data"] = request["raw"]
        elif request.get("json") is not None:
            body["json"] = request["json"]
        try:
            answer = self.session.request(request["method"], self.url + request["path"], headers=headers, timeout=30, **body)
        except requests.ConnectionError:
            return {"connection": "closed without a response"}
        kind = answer.headers.get("Content-Type", "")
        content: Any = answer.json() if "json" in kind else answer.text
        if request["path"].startswith("/tokens/") and answer.status_code == 200:
            header, claims = (_decoded(part) for part in answer.text.split(".")[:2])
            content = {"<jwt header>": header, "<jwt claims>": claims}
        return {"status": answer.status_code, "content_type": kind, "body": content}

    def leftovers(self) -> list[str]:
        """What is there already under the names that the recorded cases use."""
        return [path for path in OWN_PATHS if self._own("GET", path) == 200]

    def clean(self) -> None:
        """Removes whatever a recording may leave behind."""
        for path in OWN_PATHS:
            self._own("DELETE", path)

    def _own(self, method: str, path: str) -> int:
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.session.request(method, self.url + path, headers=headers, timeout=30).status_code


def _decoded(part: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def _steady(value: Any) -> Any:
    """A copy without what differs from run to run."""
    if isinstance(value, dict):
        return {key: "*" if key in VARYING else _steady(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_steady(item) for item in value]
    return value


def _lifetime(body: dict[str, Any]) -> int | None:
    claims = body.get("<jwt claims>")
    return None if claims is None else claims["exp"] - claims["iat"]


def _own(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in items if item.get("name") in OWN_DATAPLANES]


def comparable(case: dict[str, Any], response: dict[str, Any], target: Target) -> dict[str, Any]:
    """A response reduced to what two control planes must agree on."""
    response = copy.deepcopy(response)
    body = response.get("body")
    if not isinstance(body, dict):
        return response
    path = urlsplit(case["request"]["path"]).path
    if "version" in body and path == "/":
        body["version"] = "*"
    if isinstance(body.get("next"), str):
        following = urlsplit(body["next"])
        body["next"] = {"path": following.path, "query": parse_qs(following.query)}
    if path == "/_resources":
        names = {
            entry["name"] for c in recording(target.version) if c["case"] == "resources" for entry in c["response"]["body"]["resources"]
        }
        body["resources"] = [entry for entry in body["resources"] if entry["name"] in names]
    lifetime = _lifetime(body)
    body = _steady(body)
    if lifetime is not None:
        body["lifetime"] = round(lifetime / 60)
    if not target.exclusive:
        body = _tolerant(path, body)
    response["body"] = body
    return response


def _tolerant(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What stays comparable when others use the control plane: shapes of counters, this suite's own items of lists."""
    if path.startswith("/global-insight"):
        return {"keys": sorted(body)}
    if path == "/meshes/default":
        return {key: body[key] for key in ("type", "name")}
    if path == "/meshes":
        return {"names": [item["name"] for item in body["items"] if item["name"] == "default"]}
    if "items" in body:
        return {"own": _own(body["items"]), "keys": sorted(body)}
    return body


def is_window(case: dict[str, Any]) -> bool:
    """Whether a case asks for one page of a list: others' items move its window."""
    parts = urlsplit(case["request"]["path"])
    query = parse_qs(parts.query)
    return case["request"]["method"] == "GET" and ("size" in query) and "name" not in query


def steps(version: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each case with an identifier for the test report."""
    for number, case in enumerate(recording(version)):
        yield f"{number:03d} {case['case']}", case
