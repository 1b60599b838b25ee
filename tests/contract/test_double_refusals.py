# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-ins refuse a proxy with the words of the real ones, as these were recorded."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.facts import Side
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.files import Paths
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.vm import Vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import refusals
from tests.contract.fleet import ControlPlanes, Fleet, log_of, new_address, status
from tests.contract.processes import application, free_port, until
from tests.double.kuma_cp.tls import create

RECORDED = json.loads((Path(__file__).parents[1] / "unit/vm/refusals-2.14.3.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def refusing(control_planes: ControlPlanes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with ExitStack() as stack:
        fleet = Fleet("2.14.3", control_planes, tmp_path_factory.mktemp("refusals"), stack)
        fleet.register(fleet.dataplane("web-1", new_address(), service="web"))
        yield fleet


def claims_of(fleet: Fleet) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(fleet.api.token("web-1"), options={"verify_signature": False})
    return found


def signed(fleet: Fleet, kid: str | None = "1", key: Any = None, **changes: Any) -> str:
    """A token with other claims, signed with the key of the mesh or another one."""
    secret = fleet.api.get(f"/meshes/{fleet.mesh}/secrets/dataplane-token-signing-key-{fleet.mesh}-1")
    headers = {"kid": kid} if kid else None
    return jwt.encode({**claims_of(fleet), **changes}, key or base64.b64decode(secret["data"]), algorithm="RS256", headers=headers)


def revoked(fleet: Fleet) -> str:
    token = fleet.api.token("web-1")
    listed = jwt.decode(token, options={"verify_signature": False})["jti"]
    name = f"dataplane-token-revocations-{fleet.mesh}"
    data = base64.b64encode(listed.encode()).decode()
    fleet.api.put(f"/global-secrets/{name}", {"type": "GlobalSecret", "name": name, "data": data})
    return token


TOKENS: dict[str, Callable[[Fleet], str]] = {
    "an expired token": lambda fleet: signed(fleet, exp=int(time.time()) - 5),
    "a revoked token": revoked,
    "the token of another proxy": lambda fleet: fleet.api.token("someone-else"),
    "a token of another mesh, signed with the key of this one": lambda fleet: signed(fleet, Mesh="other"),
    "a token signed with another key": lambda fleet: signed(fleet, key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "a token signed with a key that is not there": lambda fleet: signed(fleet, kid="7"),
    "a token without a key ID": lambda fleet: signed(fleet, kid=None),
    "a token of the future": lambda fleet: signed(
        fleet, nbf=int(time.time()) + 3600, iat=int(time.time()) + 3600, exp=int(time.time()) + 7200
    ),
    "a token that was cut": lambda fleet: fleet.api.token("web-1")[:-40],
    "a text that is no token": lambda fleet: "this is no token",
    "an empty token": lambda fleet: "",
    "a token in two lines": lambda fleet: fleet.api.token("web-1").replace(".", ".\n", 1),
    "a token for other tags": lambda fleet: fleet.api.token("web-1", tags={"kuma.io/service": ["other"]}),
    "a token for a tag that is not there": lambda fleet: fleet.api.token("web-1", tags={"team": ["a"]}),
    "a token for a workload": lambda fleet: fleet.api.token("web-1", workload="w"),
}


def foreign_ca(fleet: Fleet) -> dict[str, str]:
    directory = fleet.directory / "foreign"
    directory.mkdir(exist_ok=True)
    return {"KUMA_CONTROL_PLANE_CA_CERT_FILE": str(create(directory, ["127.0.0.1"])[0])}


def address(url: str) -> dict[str, str]:
    return {"KUMA_CONTROL_PLANE_URL": url}


SETTINGS: dict[str, Callable[[Fleet], dict[str, str]]] = {
    "a foreign CA": foreign_ca,
    "the port of the API without TLS": lambda fleet: address(fleet.ready["url"].replace("http:", "https:")),
    "the API without TLS, in plain text": lambda fleet: address(fleet.ready["url"]),
    "the port of the API with TLS": lambda fleet: address(fleet.ready["https_url"]),
    "a port where nobody listens": lambda fleet: address(f"https://127.0.0.1:{free_port()}"),
    "a Dataplane that is not registered": lambda fleet: {"KUMA_DATAPLANE_NAME": "web-99"},
}


def normal(text: str, mesh: str) -> str:
    """Without what differs from one machine and one try to the next."""
    text = re.sub(r"/\S+/token\b|/etc/kuma/tokens/web-1", "TOKEN", text.replace(mesh, "default"))
    return re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text)


def refusal(process: subprocess.Popen[bytes]) -> refusals.Refusal:
    found: refusals.Refusal = until("it logs why", lambda: refusals.found(log_of(process).splitlines()))
    return found


def as_recorded(case: str, fleet: Fleet, **settings: str) -> None:
    process = fleet.start("web-1", **settings)
    recorded = refusals.found(RECORDED[case]["lines"])
    assert recorded is not None
    found = refusal(process)
    assert (found.code, normal(found.said, fleet.mesh)) == (recorded.code, normal(recorded.said, "default"))
    process.kill()
    process.wait()


@pytest.mark.parametrize("case", TOKENS)
def test_a_bad_token_is_refused_in_the_words_of_a_real_control_plane(refusing: Fleet, case: str) -> None:
    as_recorded(case, refusing, token=TOKENS[case](refusing))


@pytest.mark.parametrize("case", SETTINGS)
def test_a_wrong_address_and_a_wrong_authority_are_told_in_the_words_of_a_real_proxy(refusing: Fleet, case: str) -> None:
    as_recorded(case, refusing, **SETTINGS[case](refusing))


def test_a_good_token_is_not_refused_although_another_one_is_revoked(fleet: Fleet) -> None:
    revoked(fleet)
    process = fleet.join(fleet.dataplane("web-1", new_address()))
    assert refusals.found(log_of(process).splitlines()) is None


def test_a_mesh_secret_by_the_name_of_the_revocations_revokes_nothing(fleet: Fleet) -> None:
    token = fleet.api.token("web-1")
    listed = jwt.decode(token, options={"verify_signature": False})["jti"]
    name = f"dataplane-token-revocations-{fleet.mesh}"
    document = {"type": "Secret", "mesh": fleet.mesh, "name": name, "data": base64.b64encode(listed.encode()).decode()}
    fleet.api.put(f"/meshes/{fleet.mesh}/secrets/{name}", document)
    fleet.register(fleet.dataplane("web-1", new_address()))
    fleet.start("web-1", token=token)
    until("it is connected", lambda: fleet.api.is_online("web-1"))


@pytest.mark.parametrize("fleet", ["2.12.14"], indirect=True)
def test_before_2_14_a_token_of_the_future_is_a_bad_one_like_any_other(fleet: Fleet) -> None:
    fleet.register(fleet.dataplane("web-1", new_address()))
    found = refusal(fleet.start("web-1", token=signed(fleet, nbf=int(time.time()) + 3600, exp=int(time.time()) + 7200)))
    assert (found.code, found.said) == (
        refusals.EARLY,
        "authentication failed: could not parse token: token has invalid claims: token is not valid yet",
    )


def side(process: subprocess.Popen[bytes]) -> Side:
    """A proxy as its VM sees it, with this process as the main one of its unit."""
    shown = f"Id=kuma-dp@web-1.service\nActiveState=active\nMainPID={process.pid}"
    return Vm(Paths("web-1"), "root", lambda command: (0, shown, "")).look("begin").main


# The admin interface is a unix socket from 2.14 on, and a port of loopback before.
@pytest.mark.parametrize("fleet", ["2.14.3", "2.12.14"], indirect=True)
def test_a_vm_tells_who_serves_nobody_from_who_serves(fleet: Fleet) -> None:
    dead = fleet.dataplane("web-1", new_address())
    fleet.register(dead)
    refused = fleet.start("web-1", token=fleet.api.token("someone-else"))
    assert refusal(refused).code == refusals.FOREIGN
    until("its Envoy answers", lambda: not side(refused).problem)
    assert (side(refused).serves_nobody, side(refused).serves) == (True, False)
    waiting = fleet.start("web-2")
    assert refusal(waiting).code == refusals.UNREGISTERED
    assert side(waiting).serves_nobody
    serving = fleet.join(fleet.dataplane("web-3", new_address()))
    until("it listens", lambda: side(serving).serves)
    assert not side(serving).serves_nobody


# Envoy takes a minute to say it.
@pytest.mark.nightly
def test_a_proxy_that_serves_goes_on_without_its_control_plane_and_says_so(tmp_path: Path) -> None:
    with ExitStack() as stack:
        fleet = Fleet("2.14.3", ControlPlanes(tmp_path, stack), tmp_path / "fleet", stack)
        web = fleet.dataplane("web-1", new_address(), stack.enter_context(application("hello")))
        process = fleet.join(web)
        assert refusals.found(log_of(process).splitlines()) is None
        os.kill(int(fleet.ready["pid"]), signal.SIGTERM)
        assert refusal(process).code == refusals.UNREACHABLE
        assert "upstream_reset_after_response_started{connection_termination}" in log_of(process)
        assert status(web["networking"]["address"], 8080) == 200
        assert (side(process).serves, side(process).serves_nobody) == (True, False)
