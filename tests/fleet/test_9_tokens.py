# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens of a running fleet: rotated and signed by another key under load without a failed request, interrupted and run again, revoked when a host leaves."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims, key_id
from tests.fleet.fleet import Fleet
from tests.fleet.rolls import ALL, CALLER, QUICK, WEB, Rolls, four_instances
from tests.fleet.test_5_restart import cover_of, pid, restart, wait_done
from tests.lab.ansible import Run
from tests.lab.load import Load, keepalive, load, new, slow
from tests.lab.processes import wait_until
from tests.lab.recorder import Seen

REVOCATIONS = "/global-secrets/dataplane-token-revocations-default"
# Nothing is restarted that has no reason to be.
CALM = {**QUICK, "kuma_dp_roll_force": False}
# Who is rotated where it is not about all of them.
PAIR = WEB[:2]
SOME = [CALLER, *PAIR]


class Tokens(Rolls):
    """Four instances of web and their caller, joined, with the tokens on their VMs and the list of revocations."""

    def play(self, name: str, *arguments: str, **options: Any) -> tuple[Run, Seen]:
        options["extra"] = {**CALM, **options.get("extra", {})}
        return self.fleet.play(name, *arguments, inventory=options.pop("inventory", self.inventory), **options)

    def held(self, *names: str) -> dict[str, str]:
        """The tokens on these VMs, or all."""
        hosts = names or tuple(ALL)
        with ThreadPoolExecutor(len(hosts)) as pool:
            found = pool.map(lambda name: self.fleet.host(name).run(f"cat /etc/kuma/tokens/{name}").strip(), hosts)
            return dict(zip(hosts, found, strict=True))

    def ids(self, *names: str) -> dict[str, str]:
        return {name: str(decode_claims(token)["jti"]) for name, token in self.held(*names).items()}

    def revoked(self) -> set[str]:
        try:
            data = self.fleet.stage.control_plane.call("GET", REVOCATIONS)["data"]
        except requests.HTTPError:
            return set()
        return set(base64.b64decode(data).decode().split(","))

    def kids(self) -> list[str]:
        listed = self.fleet.stage.control_plane.call("GET", "/meshes/default/secrets?size=1000")["items"]
        prefix = "dataplane-token-signing-key-default-"
        return sorted(item["name"][len(prefix) :] for item in listed if item["name"].startswith(prefix))

    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.fleet.stage.directory / "tokens.jsonl").read_text().splitlines()]

    def refusal(self, name: str) -> str:
        """What Envoy of the proxy that runs now logs about its token."""
        invocation = f"$(systemctl show --property=InvocationID --value kuma-dp@{name})"
        log = self.fleet.host(name).run(f"journalctl --no-pager --output=cat _SYSTEMD_INVOCATION_ID={invocation}")
        return next((line for line in reversed(log.splitlines()) if "authentication failed" in line), "")

    def check_settled(self, *names: str) -> None:
        """Each runs with the token on its VM, which is not revoked, and is in traffic."""
        self.settle(*names)
        assert not set(self.ids(*names).values()) & self.revoked()
        for name in names:
            laid = f"stat --format=%Y /etc/kuma/tokens/{name}"
            began = f'date --date="$(systemctl show --property=ExecMainStartTimestamp --value kuma-dp@{name})" +%s'
            assert self.fleet.host(name).run(f"test $({laid}) -le $({began}) && echo yes", check=False).strip() == "yes"


@pytest.fixture(scope="module")
def tokens(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    fleet.clear(*ALL)
    found = Tokens(fleet, tmp_path_factory.mktemp("tokens"))
    run, _seen = fleet.join(inventory=found.inventory)
    assert run.code == 0, run.explain()
    found.wait_for_answers()
    # Tests before these have had hosts of the same names forget their tokens, and nobody revoked those.
    run, _seen = found.play("rotate_tokens")
    assert run.code == 0, run.explain()
    return found


@pytest.fixture
def under_load(tokens: Tokens) -> Iterator[Load]:
    """What the caller asks meanwhile, 300 times a second and more; none of it may fail."""
    port = tokens.port()
    with load(tokens.fleet.host(CALLER), keepalive(port), new(port, rate=50), slow(port, rate=2)) as seen:
        yield seen
    print(seen)
    assert seen.failures == []
    assert all(result.sent for result in seen.results.values())


def test_every_token_is_bound_to_all_that_its_proxy_claims_and_is_in_the_ledger(tokens: Tokens) -> None:
    for name, token in tokens.held().items():
        claims = decode_claims(token)
        service = "shop" if name == CALLER else "web"
        assert (claims["Name"], claims["Mesh"]) == (name, "default")
        assert claims["Tags"] == {"kuma.io/protocol": ["http"], "kuma.io/service": [service]}
        assert claims["Workload"] == service
        noted = [line for line in tokens.ledger() if line["jti"] == claims["jti"]]
        assert [(line["name"], line["host"], line["end"], line["kid"]) for line in noted] == [(name, name, claims["exp"], key_id(token))]
    text = (tokens.fleet.stage.directory / "tokens.jsonl").read_text()
    assert "eyJ" not in text
    assert (tokens.fleet.stage.directory / "tokens.jsonl").stat().st_mode & 0o777 == 0o600


def test_nothing_that_is_due_changes_nothing(tokens: Tokens) -> None:
    before, processes = tokens.fleet.snapshot(), tokens.processes()
    run, seen = tokens.play("rotate_tokens")
    assert run.code == 0, run.explain()
    assert (run.changed, seen.writes, seen.tokens) == ({}, [], [])
    assert (tokens.fleet.snapshot(), tokens.processes()) == (before, processes)
    assert "The fleet has 29 days left: the token of " in run.output


@pytest.mark.parametrize("hosts", [SOME, pytest.param(ALL, marks=pytest.mark.nightly)], ids=["some", "all"])
def test_a_rotation_under_load_loses_no_request_and_revokes_what_was_replaced(tokens: Tokens, under_load: Load, hosts: list[str]) -> None:
    limit = ("--limit", ",".join(hosts))
    old, before = tokens.held(*hosts), tokens.processes()
    run, _seen = tokens.play("rotate_tokens", *limit, extra={"kuma_rotate_before": "all"})
    assert run.code == 0, run.explain()
    assert tokens.restarted(before) == hosts
    assert {name: token for name, token in tokens.held(*hosts).items() if token == old[name]} == {}
    assert {str(decode_claims(token)["jti"]) for token in old.values()} <= tokens.revoked()
    tokens.check_settled(*hosts)
    assert f"revoked: {len(hosts)} tokens that were replaced" in run.output
    assert "The fleet has 29 days left" in run.output
    for token in [*old.values(), *tokens.held().values()]:
        assert token not in run.output
    again, seen = tokens.play("rotate_tokens", *limit)
    assert (again.code, again.changed, seen.writes) == (0, {}, []), again.explain()


# Tasks of a rotation at whose start the controller is killed, by what their names begin with.
MOMENTS = [
    "Lay everything down",
    "Decide who is restarted",
    "Wait for admission",
    "Finish the roll",
    "Look at the tokens",
    "Revoke what was",
]


def numbers(run: Run, wanted: str) -> int:
    return next(number for number, name in enumerate(run.tasks, 1) if wanted in name and number in run.acting)


@pytest.mark.nightly
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_rotation_that_was_cut_is_finished_by_the_next(tokens: Tokens, moment: str, under_load: Load) -> None:
    limit, due = ("--limit", ",".join(PAIR)), {"kuma_rotate_before": "all"}
    whole, _seen = tokens.play("rotate_tokens", *limit, extra=due)
    assert whole.code == 0, whole.explain()
    old = tokens.ids(*PAIR)
    cut, _seen = tokens.play("rotate_tokens", *limit, extra=due, abort_at=numbers(whole, moment))
    assert cut.code != 0
    # What is left of it is due by nothing but itself: what was laid down and not restarted, and what was not revoked.
    again, _seen = tokens.play("rotate_tokens", *limit, extra={} if moment != MOMENTS[0] else due)
    assert again.code == 0, again.explain()
    tokens.check_settled(*PAIR)
    assert set(old.values()) <= tokens.revoked()


def retagged(groups: dict[str, Any]) -> None:
    for name in PAIR:
        groups["web"]["hosts"][name] = {"kuma_dp_services": [{**groups["web"]["vars"]["kuma_dp_services"][0], "tags": {"stage": "two"}}]}


@pytest.mark.nightly
def test_a_change_of_tags_comes_with_its_token_and_loses_no_request(tokens: Tokens, under_load: Load) -> None:
    def change(groups: dict[str, Any]) -> None:
        four_instances(groups)
        retagged(groups)

    limit = ("--limit", ",".join(PAIR))
    inventory = tokens.fleet.inventory(change, kuma_dp_roll_dir=str(tokens.directory), kuma_dp_token_bind=["tags", "workload"])
    run, seen = tokens.play("join_mesh", *limit, inventory=inventory)
    assert run.code == 0, run.explain()
    asked = [str(request).partition(" -> ")[0] for request in seen.requests if request.method != "GET"]
    assert asked[:2] == ["POST /tokens/dataplane"] * 2
    assert sorted(asked[2:]) == [f"PUT /meshes/default/dataplanes/{name}" for name in PAIR]
    assert {tuple(decode_claims(token)["Tags"]["stage"]) for token in tokens.held(*PAIR).values()} == {("two",)}
    rolled, _seen = tokens.play("rolling_restart", *limit, inventory=inventory)
    assert rolled.code == 0, rolled.explain()
    tokens.check_settled(*PAIR)
    back, _seen = tokens.play("rolling_restart", *limit)
    assert back.code == 0, back.explain()
    tokens.check_settled(*PAIR)


def test_a_file_that_claims_a_foreign_service_is_refused(tokens: Tokens) -> None:
    """With the token that a join orders, on the VM of a proxy that somebody makes Direct."""
    name = "vm5"
    host = tokens.fleet.host(name)
    environment = f"/etc/kuma/env/{name}.env"
    host.run(
        f"cp {environment} /root/env; sed -i '/KUMA_DATAPLANE_NAME/d; /KUMA_DATAPLANE_MESH/d' {environment};"
        f" echo KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH=/etc/kuma/dataplanes/{name}.yaml >> {environment};"
        f" cp /etc/kuma/dataplanes/{name}.yaml /root/dataplane; sed -i 's/kuma.io.service: web/kuma.io\\/service: shop/' /etc/kuma/dataplanes/{name}.yaml;"
        f" systemctl restart kuma-dp@{name}"
    )
    try:
        wait_until(lambda: tokens.refusal(name), 60, "the control plane to refuse it", interval=0.5)
        assert 'with value "shop" which is not allowed with this token' in tokens.refusal(name)
    finally:
        host.run(f"mv /root/env {environment}; mv /root/dataplane /etc/kuma/dataplanes/{name}.yaml; systemctl restart kuma-dp@{name}")
    tokens.fleet.wait_ready(name)


def test_a_cover_that_claims_a_foreign_service_is_refused_and_its_proxy_goes_on(tokens: Tokens) -> None:
    """With the token that a roll orders for the cover of this proxy, which is bound to what its own is bound to."""
    name = "vm5"
    host, claims = tokens.fleet.host(name), decode_claims(tokens.held(name)[name])
    cover = cover_of(tokens.fleet, name, tags=claims["Tags"], workload=claims["Workload"])
    for inbound in cover["dataplane"]["networking"]["inbound"]:
        inbound["tags"]["kuma.io/service"] = "shop"
    before = pid(host, f"kuma-dp@{name}")
    result = restart(tokens.fleet, name, name, cover=cover, ready_timeout=6)
    wait_done(host, name)
    assert (result["outcome"], result["served_by"]) == ("untouched", "main"), result
    assert any('with value "shop" which is not allowed with this token' in line for line in result["journal"]), result
    assert pid(host, f"kuma-dp@{name}") == before
    tokens.fleet.wait_ready(name)


def test_another_signing_key_under_load_loses_no_request_and_the_old_one_goes_last(tokens: Tokens, under_load: Load) -> None:
    (old,) = tokens.kids()
    new_kid = str(int(old) + 1)
    added, _seen = tokens.play("rotate_signing_key", extra={"kuma_signing_key_step": "add"})
    assert (added.code, tokens.kids()) == (0, [old, new_kid]), added.explain()
    # A part of the fleet alone keeps the old key.
    some, _seen = tokens.play("rotate_signing_key", "--limit", ",".join(PAIR))
    assert some.code != 0, some.explain()
    assert (tokens.kids(), {key_id(token) for token in tokens.held(*PAIR).values()}) == ([old, new_kid], {new_kid})
    assert "vm5 is on no VM of this play" in some.output or "vm5 is on vm5, which was not looked at" in some.output
    rest, _seen = tokens.play("rotate_signing_key")
    assert rest.code == 0, rest.explain()
    assert (tokens.kids(), {key_id(token) for token in tokens.held().values()}) == ([new_kid], {new_kid})
    assert "PRIVATE KEY" not in added.output + some.output + rest.output
    tokens.check_settled(*ALL)


STEPS = ["Add a key", "Lay everything down", "Wait for admission", "Remove the keys"]


@pytest.mark.nightly
@pytest.mark.parametrize("moment", STEPS)
def test_a_change_of_the_key_that_was_cut_goes_on(tokens: Tokens, moment: str, under_load: Load) -> None:
    (old,) = tokens.kids()
    stop = threading.Event()
    seen_tasks: list[str] = []

    def watch(method: str, path: str) -> None:
        # The requests of each step tell where the play is.
        marks = {
            "Add a key": ("PUT", "/secrets/"),
            "Lay everything down": ("POST", "/tokens/dataplane"),
            "Remove the keys": ("DELETE", "/secrets/"),
        }
        wanted, part = marks.get(moment, ("PUT", "dataplane-token"))
        if method == wanted and part in path:
            seen_tasks.append(path)
            stop.set()

    if moment == "Wait for admission":
        run, _seen = tokens.play("rotate_signing_key", extra={"kuma_signing_key_step": "add"})
        run, _seen = tokens.play("rotate_signing_key", extra={"kuma_signing_key_step": "reissue"})
        assert run.code == 0, run.explain()
    else:
        tokens.fleet.stage.recorder.on_request = watch
        try:
            tokens.play("rotate_signing_key", stop=stop)
        finally:
            tokens.fleet.stage.recorder.on_request = None
        assert seen_tasks
    again, _seen = tokens.play("rotate_signing_key")
    assert again.code == 0, again.explain()
    # Cut while the old one was removed, the next run may have begun another rotation; either way one key is left, and it is newer.
    (left,) = tokens.kids()
    assert int(left) > int(old)
    tokens.check_settled(*ALL)


def as_user(tokens: Tokens, **options: Any) -> Callable[..., tuple[Run, Seen]]:
    """Plays with the token of somebody who is no administrator and may issue none."""
    token = tokens.fleet.stage.control_plane.token("/tokens/user", name="ci", groups=["ops"], validFor="1h")

    def play(name: str, *arguments: str, **extra: Any) -> tuple[Run, Seen]:
        return tokens.play(name, *arguments, extra={"kuma_dp_api_token": token, **options, **extra})

    return play


def test_with_a_key_of_the_controller_nobody_has_to_be_allowed_to_issue_tokens(tokens: Tokens, tmp_path: Path) -> None:
    (kid,) = tokens.kids()
    secret = tokens.fleet.stage.control_plane.call("GET", f"/meshes/default/secrets/dataplane-token-signing-key-default-{kid}")
    pem = base64.b64decode(secret["data"]).decode()
    (tmp_path / "key.pem").write_text(pem)
    tokens.fleet.strip("vm5")
    refused, _seen = as_user(tokens)("join_mesh", "--limit", "vm5")
    assert refused.code != 0
    assert "which may not issue dataplane tokens" in refused.output
    signed = as_user(tokens, kuma_dp_token_signing_key_file=str(tmp_path / "key.pem"), kuma_dp_token_signing_kid=kid)
    run, seen = signed("join_mesh", "--limit", "vm5")
    assert run.code == 0, run.explain()
    assert seen.tokens == []
    tokens.fleet.wait_ready("vm5")
    assert key_id(tokens.held("vm5")["vm5"]) == kid
    line = pem.splitlines()[1]
    assert line not in run.output
    assert tokens.fleet.host("vm5").run(f"grep -rlF '{line}' /etc /root /run /tmp /var/lib /var/tmp 2>/dev/null", check=False) == ""
    again, _seen = tokens.play("join_mesh", "--limit", "vm5")
    assert (again.code, again.changed) == (0, {}), again.explain()


def test_after_a_leave_the_old_token_is_refused(tokens: Tokens) -> None:
    name = "vm5"
    host = tokens.fleet.host(name)
    old = tokens.held(name)[name]
    refused, _seen = as_user(tokens)("leave_mesh", "--limit", name)
    assert refused.code != 0
    assert "expected the token of an administrator" in refused.output
    assert host.run(f"systemctl is-active kuma-dp@{name}").strip() == "active", "nothing was stopped"
    run, _seen = tokens.play("leave_mesh", "--limit", name)
    assert run.code == 0, run.explain()
    assert decode_claims(old)["jti"] in tokens.revoked()
    joined, _seen = tokens.play("join_mesh", "--limit", name)
    assert joined.code == 0, joined.explain()
    host.run(f"printf %s '{old}' > /etc/kuma/tokens/{name}; systemctl restart kuma-dp@{name}")
    try:
        wait_until(lambda: "token is revoked" in tokens.refusal(name), 60, "the control plane to refuse it", interval=0.5)
    finally:
        host.run(f"rm /etc/kuma/tokens/{name}; systemctl stop kuma-dp@{name}")
    healed, _seen = tokens.play("join_mesh", "--limit", name)
    assert healed.code == 0, healed.explain()
    tokens.fleet.wait_ready(name)
