# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of a join that is done once, against a stand-in control plane: what is written, how often it is asked, who is refused."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import AccessDenied, NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.jwt import decode_claims, key_id
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import fleet as join_fleet
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import trust
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import sync
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import Ledger
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import joining
from tests.unit.sockets import sign

numbers = itertools.count(1)
WANTED = {"mesh": "default", "initial_state": "NotReady", "token_valid_for": "720h", "token_renew_before": "168h"}


class Hosts:
    """Hosts with names and addresses of their own, and the archive that they want."""

    def __init__(self, archive):
        self.archive, self.own = archive, []

    def add(self, **variables):
        number = next(numbers)
        name = variables.pop("name", f"joining-{number}")
        values = {
            "name": name, "mesh": "default", "address": f"10.44.{number // 250}.{number % 250 + 1}", "version": "2.14.3",
            "archive": str(self.archive), "archive_checksum": {"amd64": "0" * 64}, "outbound_range": "10001-19999",
            "services": [{"name": "web", "port": 8080, "service_port": 18080, "protocol": "http"}], **variables,
        }  # fmt: skip
        observed = {"architecture": "amd64", "archives": {"2.14.3": "0" * 64}, "proxies": {}}
        self.own.append({"host": name, "in_play": True, "variables": values, "observed": observed})
        return name


@pytest.fixture
def client(control_plane, connect):
    return connect(control_plane.https_url, token=control_plane.token, ca_path=control_plane.ca_file)


@pytest.fixture
def hosts(tmp_path, client):
    found = Hosts(tmp_path / "none.tar.gz")
    yield found
    for host in found.own:
        with contextlib.suppress(NotFound):
            client.delete(f"/meshes/default/dataplanes/{host['host']}")


def join(client, hosts, check=False, **wanted):
    options = {**WANTED, **wanted}
    made = joining.Joining(
        client=client,
        plan=lambda: join_fleet.plan(
            client, [dict(host) for host in hosts.own], options["mesh"], options["initial_state"], lambda _text: None
        ),
        options=options,
        role="kuma_dp",
        wanting=False,
        check=check,
        issuer=issue.Issuer(client),
    )
    return made.join(register=True), made.tokens


def test_a_join_registers_what_differs_and_hands_each_host_its_own_token(client, hosts):
    a, b = hosts.add(), hosts.add()
    result, tokens = join(client, hosts)
    assert result["changed"]
    assert {host: list(own) for host, own in tokens.items()} == {a: [a], b: [b]}
    assert {host: own["registered"] for host, own in result["plan"].items()} == {a: [a], b: [b]}
    assert all(own["refused"] == [] for own in result["plan"].values())
    assert client.get(f"/meshes/default/dataplanes/{a}").body["name"] == a
    for token in (tokens[a][a], tokens[b][b]):
        assert token not in str(result)


def test_a_second_join_writes_nothing_and_lists_the_mesh_once(client, hosts):
    name = hosts.add()
    _result, tokens = join(client, hosts)
    tags = {"kuma.io/service": ["web"], "kuma.io/protocol": ["http"]}
    claims = {"Name": name, "Mesh": "default", "Workload": "web", "Tags": tags, "exp": 4102444800}
    hosts.own[0]["observed"]["proxies"] = {name: {"token": {"present": True, "claims": claims}}}
    before = client.requests
    result, tokens = join(client, hosts)
    # The preflight reads the index, the user, the configuration and the mesh, of which the client keeps the first.
    assert client.requests - before <= 5
    assert (result["changed"], tokens) == (False, {})
    assert result["plan"][name]["registered"] == []


def test_a_token_that_the_control_plane_refuses_is_replaced_although_its_claims_are_right(client, hosts):
    name = hosts.add()
    claims = {**decode_claims(join(client, hosts)[1][name][name]), "exp": 4102444800}
    refusal = {"code": "revoked", "said": "authentication failed: token is revoked", "token": True}
    observed = {"token": {"present": True, "claims": claims}, "refusal": refusal}
    hosts.own[0]["observed"]["proxies"] = {name: observed}
    result, tokens = join(client, hosts)
    assert list(tokens) == [name]
    assert f"{name}: new token for 720h (the control plane refuses it: authentication failed: token is revoked)" in str(result["diff"])
    # What was refused is not what lies there any more.
    hosts.own[0]["observed"]["proxies"] = {name: {**observed, "restart_codes": ["token"]}}
    assert join(client, hosts)[1] == {}


def test_a_join_that_writes_lists_the_mesh_before_and_after(client, hosts, monkeypatch):
    hosts.add()
    listed = []
    real = client.list
    monkeypatch.setattr(client, "list", lambda path, *arguments, **named: listed.append(path) or real(path, *arguments, **named))
    join(client, hosts)
    assert listed == ["/meshes/default/dataplanes/_overview", "/meshes/default/dataplanes"]


def test_a_check_writes_nothing_and_tells_whose_token_would_be_new(client, hosts):
    name = hosts.add()
    result, tokens = join(client, hosts, check=True)
    assert result["changed"]
    assert result["plan"][name]["unissued"] == [name]
    assert tokens == {}
    with pytest.raises(NotFound):
        client.get(f"/meshes/default/dataplanes/{name}")


def test_what_speaks_against_a_join_is_found_before_anything_is_written(client, hosts):
    good, _bad = hosts.add(), hosts.add(services=[])
    with pytest.raises(ItemsFailed, match="kuma_dp_services"):
        join(client, hosts)
    with pytest.raises(NotFound):
        client.get(f"/meshes/default/dataplanes/{good}")


def test_a_refused_dataplane_stops_its_own_host_and_gets_no_token(client, hosts, monkeypatch):
    good, bad = hosts.add(), hosts.add()
    real = sync.Dataplanes._create

    def refuse(self, change):
        if change.name == bad:
            return change._replace(action=sync.FAILED, failure={"detail": "no", "invalid_parameters": [{"field": "x", "reason": "y"}]})
        return real(self, change)

    monkeypatch.setattr(sync.Dataplanes, "_create", refuse)
    result, tokens = join(client, hosts)
    assert result["plan"][good]["refused"] == []
    assert result["plan"][bad]["refused"] == ["the Dataplane was not registered: no (x: y)"]
    assert set(tokens) == {good}
    assert result["changed"]


def test_a_token_that_was_not_issued_stops_its_own_host_and_the_others_get_theirs(client, hosts, monkeypatch):
    good, bad = hosts.add(), hosts.add()
    real = client.post_text

    def post_text(path, body):
        if body["name"] == bad:
            raise NotFound("it is gone")
        return real(path, body)

    monkeypatch.setattr(client, "post_text", post_text)
    result, tokens = join(client, hosts)
    assert set(tokens) == {good}
    assert result["plan"][good]["refused"] == []
    (reason,) = result["plan"][bad]["refused"]
    assert reason.startswith("no token was issued: ")


CREATED, FAILED, SKIPPED = (sync.Change("a", action) for action in (sync.CREATED, sync.FAILED, sync.SKIPPED))


@pytest.mark.parametrize(
    ("change", "token", "refused"),
    [
        (CREATED, {"action": "issued"}, []),
        (None, {"action": "kept"}, []),
        (None, {"action": "failed", "reason": "no"}, ["no token was issued: no"]),
        (FAILED._replace(failure={"detail": "bad"}), None, ["the Dataplane was not registered: bad"]),
        (SKIPPED, None, ["the Dataplane was not registered: nothing was written, for other Dataplanes are not valid"]),
    ],
)
def test_why_a_host_does_not_go_on(change, token, refused):
    found = joining.refusals([{"name": "a"}, {"name": "b"}], {"a": change} if change else {}, {"a": token} if token else {})
    assert found == refused


def running(hosts, name, tokens, **claims):
    """What is on the VM of a host once it has joined."""
    host = next(host for host in hosts.own if host["host"] == name)
    token = {"present": True, "claims": {**decode_claims(tokens[name][name]), **claims}, "kid": key_id(tokens[name][name])}
    host["observed"]["proxies"] = {name: {"token": token}}
    return host


def services(*names):
    return [{"name": each, "port": 8080 + number, "service_port": 18080} for number, each in enumerate(names)]


def test_trap_63_tags_that_change_are_registered_when_the_vm_has_the_token_that_fits(client, hosts):
    changed, kept = hosts.add(), hosts.add()
    _result, tokens = join(client, hosts)
    for name in (changed, kept):
        running(hosts, name, tokens)
    hosts.own[0]["variables"]["services"] = services("web", "api")
    result, tokens = join(client, hosts)
    assert decode_claims(tokens[changed][changed])["Tags"]["kuma.io/service"] == ["api", "web"]
    assert {host: own["held"] for host, own in result["plan"].items()} == {changed: [changed], kept: []}
    assert result["plan"][changed]["refused"] == []
    assert len(client.get(f"/meshes/default/dataplanes/{changed}").body["networking"]["inbound"]) == 1, "not before"
    written = joining.Registration(client, WANTED, False).held(result["plan"], [changed, kept])
    assert (written["changed"], written["refused"], len(written["diff"])) == (True, {}, 1)
    assert len(client.get(f"/meshes/default/dataplanes/{changed}").body["networking"]["inbound"]) == 2
    running(hosts, changed, tokens)
    result, tokens = join(client, hosts)
    assert (result["changed"], tokens) == (False, {})
    assert joining.Registration(client, WANTED, False).held(result["plan"], [changed, kept])["changed"] is False


def test_what_changes_without_its_token_is_registered_at_once(client, hosts):
    name = hosts.add()
    _result, tokens = join(client, hosts)
    running(hosts, name, tokens)
    hosts.own[0]["variables"]["address"] = "10.44.250.250"
    result, tokens = join(client, hosts)
    assert (result["plan"][name]["held"], result["plan"][name]["registered"], tokens) == ([], [name], {})


def test_a_proxy_whose_vm_has_no_token_yet_is_registered_before_it_is_started(client, hosts):
    name = hosts.add()
    _result, tokens = join(client, hosts)
    running(hosts, name, tokens)["observed"]["proxies"][name]["token"]["claims"] = None
    hosts.own[0]["variables"]["services"] = services("other")
    result, tokens = join(client, hosts)
    assert (result["plan"][name]["held"], result["plan"][name]["registered"], set(tokens)) == ([], [name], {name})


def test_without_a_token_that_fits_nothing_is_registered(client, hosts, monkeypatch):
    name = hosts.add()
    _result, tokens = join(client, hosts)
    running(hosts, name, tokens)
    hosts.own[0]["variables"]["services"] = services("other")

    def post_text(path, body):
        raise AccessDenied("no")

    monkeypatch.setattr(client, "post_text", post_text)
    result, tokens = join(client, hosts)
    assert result["plan"][name]["refused"][0].startswith("no token was issued: ")
    (inbound,) = client.get(f"/meshes/default/dataplanes/{name}").body["networking"]["inbound"]
    assert inbound["tags"]["kuma.io/service"] == "web"


def test_a_dataplane_that_is_refused_in_the_end_is_told_to_its_host(client, hosts, monkeypatch):
    name = hosts.add()
    _result, tokens = join(client, hosts)
    running(hosts, name, tokens)
    hosts.own[0]["variables"]["services"] = services("other")
    result, _tokens = join(client, hosts)

    def refuse(self, change):
        return change._replace(action=sync.FAILED, failure={"detail": "no", "invalid_parameters": []})

    monkeypatch.setattr(sync.Dataplanes, "_update", refuse)
    written = joining.Registration(client, WANTED, False).held(result["plan"], [name])
    assert (written["changed"], written["refused"]) == (False, {name: ["the Dataplane was not registered: no"]})


def test_a_ledger_that_cannot_be_written_is_found_before_anything_else_is(client, hosts, tmp_path):
    name = hosts.add()

    def made(check):
        plan = join_fleet.plan(client, [dict(host) for host in hosts.own], "default", "NotReady", lambda _text: None)
        issuer = issue.Issuer(client, ledger=Ledger(str(tmp_path)))
        return joining.Joining(
            client=client, plan=lambda: plan, options=WANTED, role="kuma_dp", wanting=False, check=check, issuer=issuer
        ).join(register=True)

    with pytest.raises(ItemsFailed, match=r"nothing was written\. 1 problem was found:\n  1\. kuma_dp_token_ledger \(ledger\) is "):
        made(check=False)
    with pytest.raises(NotFound):
        client.get(f"/meshes/default/dataplanes/{name}")
    assert made(check=True)["changed"]


def test_a_check_holds_back_what_a_join_would_and_shows_it_where_that_would_be_written(client, hosts):
    name = hosts.add()
    _result, tokens = join(client, hosts)
    running(hosts, name, tokens)
    hosts.own[0]["variables"]["services"] = services("other")
    result, _tokens = join(client, hosts, check=True)
    assert (result["plan"][name]["held"], result["plan"][name]["unissued"]) == ([name], [name])
    shown = joining.Registration(client, WANTED, True).held(result["plan"], [name])
    assert (shown["changed"], len(shown["diff"])) == (True, 1)
    (inbound,) = client.get(f"/meshes/default/dataplanes/{name}").body["networking"]["inbound"]
    assert inbound["tags"]["kuma.io/service"] == "web"


def test_an_archive_that_cannot_be_fetched_stops_all_before_anything_is_written(client, tmp_path, monkeypatch):
    planned = {"fetch": [{"url": "http://127.0.0.1:1/a", "path": str(tmp_path / "a"), "checksum": "sha256:" + "0" * 64}]}
    made = joining.Joining(
        client=client, plan=lambda: planned, options=WANTED, role="kuma_dp", wanting=True, check=False, issuer=issue.Issuer(client)
    )
    with pytest.raises(ItemsFailed, match="could not be fetched"):
        made.join(register=True)


def stopped(text, hosts, *names):
    """Hosts whose VM has seen something else than a control plane."""
    wish = trust.Wish.of("https://cp.example.com:5678", sign("authority", ca=True).pem, 0.0)
    for host in hosts.own:
        host["variables"]["trust"] = dict(wish._asdict())
        if host["host"] in names:
            host["observed"]["dp_server"] = {"host": "cp.example.com", "port": 5678, "problem": text, "servers": []}


def test_a_vm_that_does_not_trust_the_control_plane_stops_alone_before_anything_is_written_for_it(client, hosts):
    good, bad = hosts.add(), hosts.add()
    stopped("Name or service not known", hosts, bad)
    result, tokens = join(client, hosts)
    assert result["plan"][good]["refused"] == []
    (reason,) = result["plan"][bad]["refused"]
    assert "the VM finds no address of cp.example.com (Name or service not known)" in reason
    assert (result["plan"][bad]["registered"], set(tokens)) == ([], {good})
    assert bad not in result["not_ready"]
    with pytest.raises(NotFound):
        client.get(f"/meshes/default/dataplanes/{bad}")


def test_when_no_vm_trusts_the_control_plane_that_is_one_problem_and_nothing_is_asked_for(client, hosts):
    names = [hosts.add() for _each in range(5)]
    stopped("Name or service not known", hosts, *names)
    with pytest.raises(ItemsFailed) as caught:
        join(client, hosts)
    assert "The join was not begun, nothing was written. 1 problem was found" in caught.value.msg
    assert f"{', '.join(names[:3])} and 2 more: kuma_dp_control_plane_dp_url is" in caught.value.msg


def test_what_stops_single_hosts_is_told_beside_what_stops_all(client, hosts):
    bad, _worse = hosts.add(), hosts.add(services=[])
    stopped("Name or service not known", hosts, bad)
    with pytest.raises(ItemsFailed, match="kuma_dp_services") as caught:
        join(client, hosts)
    assert f"{bad}: kuma_dp_control_plane_dp_url is" in caught.value.msg


def test_somebody_elses_dataplane_stops_its_host_and_nobody_else(client, hosts):
    good, bad = hosts.add(owner="team-a"), hosts.add(owner="team-b")
    join(client, hosts)
    for host in hosts.own:
        host["variables"].update(owner="team-a", upstreams=["backend"])
    before = client.get(f"/meshes/default/dataplanes/{bad}").body
    result, tokens = join(client, hosts)
    assert result["plan"][bad]["refused"] == [
        f"Dataplane {bad} has the owner team-b, expected team-a: choose another kuma_dp_name, or set kuma_dp_owner if it is yours"
    ]
    assert (result["plan"][good]["refused"], result["plan"][good]["registered"]) == ([], [good])
    assert client.get(f"/meshes/default/dataplanes/{bad}").body == before
    assert set(tokens) == {good}
