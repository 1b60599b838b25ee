# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proxies that carry no traffic because of a token, an authority or an address: a join says which it is, and one join puts them right."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fleet.fleet import NAMES, Fleet, service
from tests.lab.processes import wait_until
from tests.lab.traffic import outbounds, polling

HOSTS = {"vm4-orders": "vm4", "vm4-cache": "vm4"}
# Of the process that runs now.
JOURNAL = "journalctl --output=cat -u kuma-dp@{0} _SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value kuma-dp@{0})"


def run(fleet: Fleet, name: str, command: str) -> str:
    """On the host of a proxy."""
    return fleet.host(HOSTS.get(name, name)).run(command.format(name))


def at_once(action: Callable[[str], Any], names: list[str]) -> None:
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(action, names))


def restart(fleet: Fleet, name: str, said: str) -> None:
    """Until the proxy has logged why it gets no configuration, and the control plane has seen it go."""
    run(fleet, name, "systemctl restart kuma-dp@{0}")
    wait_until(lambda: said in run(fleet, name, JOURNAL), 60, f"{name} to say {said}", interval=0.5)
    fleet.wait_ready(name, wanted=False)


def claims_of(fleet: Fleet, name: str) -> dict[str, Any]:
    token = run(fleet, name, "cat /etc/kuma/tokens/{0}")
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def signed(fleet: Fleet, name: str, key: Any = None, **changes: Any) -> str:
    """The token of a proxy with other claims, signed with the key of the mesh, or with another one."""
    path = "/meshes/default/secrets/dataplane-token-signing-key-default-1"
    own = base64.b64decode(fleet.stage.control_plane.call("GET", path)["data"])
    return jwt.encode({**claims_of(fleet, name), **changes}, key or own, algorithm="RS256", headers={"kid": "1"})


def revoke(fleet: Fleet, name: str) -> None:
    listed = base64.b64encode(str(claims_of(fleet, name)["jti"]).encode()).decode()
    secret = "dataplane-token-revocations-default"
    fleet.stage.control_plane.call("PUT", f"/global-secrets/{secret}", {"type": "GlobalSecret", "name": secret, "data": listed})


def revoked(fleet: Fleet, name: str) -> str:
    revoke(fleet, name)
    return run(fleet, name, "cat /etc/kuma/tokens/{0}")


def of_another_mesh(fleet: Fleet, name: str) -> str:
    fleet.stage.control_plane.call("PUT", "/meshes/other", {"type": "Mesh", "name": "other"})
    # Its signing key comes a moment later.
    tokens: list[str] = []

    def issued() -> bool:
        try:
            tokens.append(fleet.stage.control_plane.token("/tokens/dataplane", name=name, mesh="other", validFor="1h"))
        except Exception:
            return False
        return True

    wait_until(issued, 30, "a token of another mesh", interval=0.5)
    return tokens[0]


# What is wrong with the token of each proxy, what its journal says, and what the play says.
TOKENS: dict[str, tuple[Callable[[Fleet, str], str], str, str]] = {
    "vm1": (
        lambda fleet, name: signed(fleet, name, nbf=int(time.time()) + 1800, iat=int(time.time()) + 1800),
        "valid",
        "vm1, vm1: the control plane takes its token for one of the future, which is valid from",
    ),
    "vm2": (lambda fleet, name: signed(fleet, name, exp=int(time.time()) - 60), "token is expired", "vm2, vm2: its token expired at"),
    "vm3": (revoked, "token is revoked", "vm3, vm3: its token is revoked"),
    "vm5": (
        lambda fleet, name: signed(fleet, name, rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        "token signature is invalid",
        "vm5, vm5: its token was signed with a key that the control plane does not have",
    ),
    "vm4-orders": (
        lambda fleet, name: fleet.stage.control_plane.token("/tokens/dataplane", name="someone-else", mesh="default", validFor="1h"),
        "is different than in token: someone-else",
        "vm4, vm4-orders: its token is one of someone-else, expected vm4-orders",
    ),
    "vm4-cache": (of_another_mesh, "token signature is invalid", "vm4, vm4-cache: its token is one of mesh other, expected default"),
}


def test_one_join_says_what_is_wrong_with_each_token_and_puts_all_of_them_right(joined: Fleet) -> None:
    fleet = joined
    assert sorted(TOKENS) == NAMES
    bad = {name: make(fleet, name) for name, (make, _said, _told) in TOKENS.items()}

    def spoil(name: str) -> None:
        run(fleet, name, f"printf %s {bad[name]} > /etc/kuma/tokens/{name}")
        restart(fleet, name, TOKENS[name][1])

    try:
        at_once(spoil, list(TOKENS))
        played, seen = fleet.join()
        assert played.code == 0, played.explain()
        for _make, _said, told in TOKENS.values():
            assert told in played.output
        assert len(seen.tokens) == len(TOKENS)
        for name, token in bad.items():
            assert token.rpartition(".")[2] not in played.output, name
        for name in NAMES:
            fleet.wait_ready(name)
        again, seen = fleet.join()
        assert again.code == 0, again.explain()
        assert (again.changed, seen.writes, seen.tokens) == ({}, [], [])
    finally:
        fleet.stage.control_plane.call("DELETE", "/meshes/other")


def test_one_join_puts_a_broken_token_another_authority_and_other_addresses_right(joined: Fleet) -> None:
    fleet, control_plane = joined, joined.stage.control_plane
    settings = "sed -i 's|^KUMA_CONTROL_PLANE_URL=.*|KUMA_CONTROL_PLANE_URL=\"{}\"|' /etc/kuma/env/{}.env"
    host, _colon, _port = control_plane.dp_url.rpartition(":")
    foreign = base64.b64encode(fleet.stage.recorder_ca.read_bytes()).decode()
    faults = {
        "vm1": (
            f"echo {foreign} | base64 -d > /etc/kuma/control-plane-ca.pem",
            "x509: ",
            "vm1, vm1: the CA that it was started with is not the CA",
        ),
        "vm2": (
            settings.format(control_plane.https_url, "vm2"),
            "no /bootstrap endpoint",
            f"{control_plane.https_url}, has a wrong port: no dp-server is there",
        ),
        "vm3": (
            settings.format(f"{host}:1", "vm3"),
            "connection refused",
            f"vm3, vm3: the control plane cannot be reached at the address that it was started with, {host}:1",
        ),
        "vm5": ("printf %s broken > /etc/kuma/tokens/vm5", "dataplane token is invalid", ""),
    }

    def spoil(name: str) -> None:
        run(fleet, name, faults[name][0])
        restart(fleet, name, faults[name][1])

    at_once(spoil, list(faults))
    played, seen = fleet.join()
    assert played.code == 0, played.explain()
    for name, (_command, _said, told) in faults.items():
        assert told in played.output, name
        fleet.wait_ready(name)
    assert len(seen.tokens) == 1
    again, _seen = fleet.join()
    assert (again.code, again.changed) == (0, {}), again.explain()


@contextmanager
def overridden(fleet: Fleet, faults: dict[str, tuple[str, str]]) -> Iterator[None]:
    """Settings of single proxies that no join lays down: a drop-in of somebody else is read after the files of the role."""

    def lay(name: str) -> None:
        directory = f"/run/systemd/system/kuma-dp@{name}.service.d"
        run(fleet, name, f"mkdir -p {directory}; printf '[Service]\\nEnvironmentFile=/run/{name}.env\\n' > {directory}/other.conf")
        run(fleet, name, f"printf '%s\\n' '{faults[name][0]}' > /run/{name}.env; systemctl daemon-reload")
        restart(fleet, name, faults[name][1])

    def remove(name: str) -> None:
        run(fleet, name, f"rm -rf /run/systemd/system/kuma-dp@{name}.service.d /run/{name}.env; systemctl daemon-reload")

    try:
        at_once(lay, list(faults))
        yield
    finally:
        at_once(remove, list(faults))


def test_what_a_join_cannot_put_right_is_told_with_the_variable_and_one_join_suffices_afterwards(joined: Fleet) -> None:
    fleet, control_plane = joined, joined.stage.control_plane
    faults = {
        "vm2": (f"KUMA_CONTROL_PLANE_URL={control_plane.https_url}", "no /bootstrap endpoint"),
        "vm3": ("KUMA_DATAPLANE_RUNTIME_TOKEN_PATH=/etc/hostname", "dataplane token is invalid"),
    }
    with overridden(fleet, faults):
        played, _seen = fleet.join(extra={"kuma_dp_wait_timeout": 8})
        assert played.code != 0, played.explain()
        assert "vm2: vm2 is not in traffic after 8 s: kuma_dp_control_plane_dp_url" in played.messages
        assert "has a wrong port: no dp-server is there" in played.messages
        assert "vm3" in played.messages
        assert "vm5: " not in played.messages
        assert "dataplane token is invalid" in played.messages
    played, _seen = fleet.join()
    assert played.code == 0, played.explain()
    for name in faults:
        fleet.wait_ready(name)


def test_a_proxy_that_is_refused_and_serves_is_left_alone_by_a_join_and_restarted_by_a_roll(joined: Fleet) -> None:
    """Its token is revoked and its stream has broken: it serves with the configuration that it has."""
    fleet, control_plane = joined, joined.stage.control_plane
    process = "systemctl show --property=MainPID --value kuma-dp@vm3"
    host = fleet.host("vm3")
    path = "/meshes/default/dataplanes/vm3"
    revoke(fleet, "vm3")
    address, _colon, port = control_plane.dp_url.rpartition("/")[2].rpartition(":")
    with polling(fleet.host("vm1"), outbounds(fleet.host("vm1"))["WEB"]) as answers:
        # Registered anew it has no connection that the control plane knows of, however the stream ends.
        dataplane = control_plane.call("GET", path)
        control_plane.call("DELETE", path)
        control_plane.call("PUT", path, dataplane)
        fleet.wait_ready("vm3")
        host.run(f"ss -K dst {address} dport = :{port}")
        wait_until(lambda: "token is revoked" in host.run(JOURNAL.format("vm3")), 60, "vm3 to be refused", interval=0.5)
        before = host.run(process)
        played, seen = fleet.join("--limit", "vm3")
        assert played.code == 0, played.explain()
        assert host.run(process) == before
        assert "RESTART PENDING (1)" in played.output
        assert "it is not connected and serves with what it has (its token is revoked)" in played.output
        assert len(seen.tokens) == 1
        rolled, _seen = fleet.play("rolling_restart", "--limit", "vm3", extra={"kuma_dp_roll_soak": 0})
        assert rolled.code == 0, rolled.explain()
        assert host.run(process) != before
        fleet.wait_ready("vm3")
    # Its Dataplane was gone for a moment, and nobody asked it then.
    assert answers.failures == []


@pytest.mark.nightly
def test_a_proxy_that_serves_nobody_is_restarted_also_where_a_join_restarts_by_itself(joined: Fleet) -> None:
    fleet = joined

    def drained(groups: dict[str, Any]) -> None:
        groups["web"]["vars"]["kuma_dp_services"] = [service("web", probe={"interval": "1s", "timeout": "1s"})]

    run(fleet, "vm5", "printf %s broken > /etc/kuma/tokens/vm5")
    restart(fleet, "vm5", "dataplane token is invalid")
    played, _seen = fleet.join(inventory=fleet.inventory(drained, kuma_dp_restart="drained"))
    assert played.code == 0, played.explain()
    fleet.wait_ready("vm5")
