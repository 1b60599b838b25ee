# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What options change that no other test sets: what a file says, what a module is told, what the control plane gets."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from ansible import constants

from ansible_collections.meshfleet.kuma.plugins.action import fleet_maintenance
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import jwt
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import control_plane as plans
from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent import redirection as rules
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import inventory
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import (
    control_plane,
    control_plane_files,
    layout,
    options,
    redirection,
    rolling,
)
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import settings as roll_settings
from tests.unit.action.host import action
from tests.unit.action.roll import Play
from tests.unit.action.vm import DEFAULTS
from tests.unit.play import test_joining
from tests.unit.sockets import read_request, sign

REST = {"kuma_dp_version": "2.14.3", "kuma_cp_version": "2.14.3", "kuma_cp_names": ["10.0.0.5"], "kuma_cp_localhost_is_admin": True}
client, hosts = test_joining.client, test_joining.hosts


def read(table, **given):
    """The values of a host in the play that sets these options."""
    return options.read(table, lambda variable: {**DEFAULTS, **REST, **given}[variable])


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ({"kuma_transparent_proxy_redirect_inbound": "no"}, ["--redirect-inbound=false"]),
        ({"kuma_transparent_proxy_redirect_inbound_port": 16006}, ["--redirect-inbound-port", "16006"]),
        ({"kuma_transparent_proxy_redirect_outbound_port": 16001}, ["--redirect-outbound-port", "16001"]),
        ({"kuma_transparent_proxy_redirect_dns": True}, ["--redirect-dns", "--redirect-dns-port", "15053"]),
        ({"kuma_transparent_proxy_redirect_all_dns_traffic": "yes"}, ["--redirect-all-dns-traffic", "--redirect-dns-port", "15053"]),
        (
            {"kuma_transparent_proxy_redirect_dns": True, "kuma_transparent_proxy_redirect_dns_port": 5353},
            ["--redirect-dns", "--redirect-dns-port", "5353"],
        ),
        ({"kuma_transparent_proxy_ip_family_mode": "ipv4"}, ["--ip-family-mode", "ipv4"]),
        ({"kuma_transparent_proxy_exclude_outbound_ports": ["5432", 22]}, ["--exclude-outbound-ports", "22,5432"]),
        (
            {"kuma_transparent_proxy_exclude_outbound_ports_for_uids": ["tcp:5432:1000"]},
            ["--exclude-outbound-ports-for-uids", "tcp:5432:1000"],
        ),
        ({"kuma_transparent_proxy_exclude_inbound_ips": ["10.0.0.0/8"]}, ["--exclude-inbound-ips", "10.0.0.0/8"]),
        ({"kuma_transparent_proxy_exclude_outbound_ips": ["10.0.0.9"]}, ["--exclude-outbound-ips", "10.0.0.9"]),
        ({"kuma_transparent_proxy_drop_invalid_packets": True}, ["--drop-invalid-packets"]),
        ({"kuma_transparent_proxy_skip_dns_conntrack_zone_split": True}, ["--skip-dns-conntrack-zone-split"]),
    ],
)
def test_what_kumactl_is_told(given, arguments):
    def told(**variables):
        wanted = redirection.options(read(options.TRANSPARENT, kuma_dp_dns_enabled=True, **variables), [], [])
        assert rules.problems(wanted) == []
        return " ".join(rules.settings({**wanted, "user": "kuma-dp", "kumactl": "kumactl"}, [22], [])["arguments"])

    assert " ".join(arguments) in told(**given)
    assert " ".join(arguments) not in told()


def test_how_long_redirection_waits_for_envoy():
    assert read(options.TRANSPARENT_APPLY, kuma_transparent_proxy_ready_timeout="90")["ready_timeout"] == 90


def laid_down(**given):
    """Everything that is laid down for a control plane: its settings, and the rest as one text."""
    own = read(control_plane.CONTROL_PLANE, **given)
    wanted = control_plane.ControlPlane("cp", own, {name: own[name] for name in control_plane.PEM})
    files = control_plane_files.options(wanted, "checksum", lambda _template, variables: json.dumps(variables), json.dumps)
    return control_plane_files.settings(wanted), wanted, files


@pytest.mark.parametrize(
    ("given", "place", "value"),
    [
        ({"kuma_cp_zone": "east"}, "multizone.zone.name", "east"),
        ({"kuma_cp_create_default_mesh": "no"}, "defaults.skipMeshCreation", True),
        ({"kuma_cp_http_address": "::1"}, "apiServer.http.interface", "::1"),
        ({"kuma_cp_https_address": "10.0.0.5"}, "apiServer.https.interface", "10.0.0.5"),
        ({"kuma_cp_https_port": "6682"}, "apiServer.https.port", 6682),
        ({"kuma_cp_hds_enabled": False}, "dpServer.hds.enabled", False),
        ({"kuma_cp_reports_enabled": True}, "reports.enabled", True),
    ],
)
def test_what_the_settings_of_a_control_plane_say(given, place, value):
    def found(**variables):
        settings = laid_down(**variables)[0]
        for key in place.split("."):
            settings = settings[key]
        return settings

    assert found(**given) == value
    assert found() != value


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"kuma_cp_install_dir": "/srv/kuma"}, "/srv/kuma/2.14.3"),
        ({"kuma_cp_user": "mesh"}, '\\"kuma_cp_user\\": \\"mesh\\"'),
        ({"kuma_cp_group": "mesh"}, '"group": "mesh"'),
        ({"kuma_cp_log_level": "debug"}, '\\"kuma_cp_log_level\\": \\"debug\\"'),
        ({"kuma_cp_config": {"xdsServer": {"dataplaneDeregistrationDelay": "5s"}}}, '\\"dataplaneDeregistrationDelay\\": \\"5s\\"'),
        ({"kuma_cp_environment": {"KUMA_A": 1}}, 'KUMA_A=\\"1\\"'),
    ],
)
def test_what_is_laid_down_for_a_control_plane(given, text):
    assert text in json.dumps(laid_down(**given)[2])
    assert text not in json.dumps(laid_down()[2])


def test_how_a_control_plane_is_signed_and_waited_for():
    wanted = laid_down(kuma_cp_tls_valid_days="90", kuma_cp_tls_renew_before_days=30, kuma_cp_wait_timeout="5")[1]
    assert (wanted.signing()["valid_days"], wanted.signing()["renew_before_days"], wanted.asking()["timeout"]) == (90, 30, 5)


def test_a_certificate_is_given_with_its_key_and_its_ca():
    given = {"kuma_cp_tls_cert": "CERT", "kuma_cp_tls_key": "KEY"}
    assert not laid_down(**given)[1].given
    assert laid_down(kuma_cp_tls_ca="CA", **given)[1].given


def test_the_archive_of_a_control_plane_is_fetched_into_the_cache():
    own = read(
        control_plane.CONTROL_PLANE,
        kuma_cp_archive_cache="/var/cache/mine",
        kuma_cp_archive="https://example.com/kuma.tar.gz",
        kuma_cp_archive_checksum="0" * 64,
    )
    observed = {"architecture": "amd64", "archives": {}}
    found, problems = plans.plan(
        "cp", control_plane.told(own, {}), observed, {"tls_cert": None, "tls_key": None, "tls_ca": None}, "/nowhere", {}
    )
    assert problems == []
    (fetched,) = found.fetch
    assert fetched["path"].startswith("/var/cache/mine/")


@pytest.mark.parametrize(("given", "verify"), [({}, True), ({"kuma_dp_api_validate_certs": "no"}, False)])
def test_the_certificate_of_the_api_is_verified_or_not(control_plane, given, verify):
    made = action(fleet_maintenance, control_plane, {"web-1": {}}, **given)
    api = made.client()
    try:
        assert (api._session._verify is not False) is verify
        assert bool([text for text in api.warnings if "not verified" in text]) is not verify
    finally:
        api.close()


@pytest.mark.parametrize("as_text", [False, True])
def test_the_api_is_shown_a_certificate_of_the_client(control_plane, tmp_path, raw, monkeypatch, as_text):
    def talk(opened):
        shown.append(opened.getpeercert()["subject"])
        read_request(opened)
        opened.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    shown, authority = [], sign("authority", ca=True)
    admin = sign("admin", authority)
    server = raw(talk, context=sign("cp", authority, names=["127.0.0.1"]).context(tmp_path, clients=authority))
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    given = {"kuma_dp_api_client_cert": admin.pem, "kuma_dp_api_client_key": admin.key_pem()}
    if not as_text:
        for name, text in given.items():
            (tmp_path / name).write_text(text)
            given[name] = str(tmp_path / name)
    url = f"https://127.0.0.1:{server.port}"
    made = action(fleet_maintenance, control_plane, {"web-1": {}}, **given, kuma_dp_control_plane_url=url, kuma_dp_api_ca=authority.pem)
    monkeypatch.setitem(made.variables, "kuma_dp_archive_cache", str(tmp_path))
    with contextlib.closing(made.client()) as api:
        api.get("/")
    assert shown == [((("commonName", "admin"),),)]


@pytest.mark.parametrize(("given", "seconds"), [({}, 30.0), ({"kuma_dp_api_timeout": "7.5"}, 7.5)])
def test_how_long_the_api_may_take(control_plane, given, seconds):
    with contextlib.closing(action(fleet_maintenance, control_plane, {"web-1": {}}, **given).client()) as api:
        assert api._timeout == (5.0, seconds)


@pytest.mark.parametrize("given", ["soon", 0, "-1", None, "nan", "inf"])
def test_the_api_takes_a_number_of_seconds(control_plane, given):
    with pytest.raises(ValueError, match=r"kuma_dp_api_timeout: found .* expected a number of seconds above zero"):
        action(fleet_maintenance, control_plane, {"web-1": {}}, kuma_dp_api_timeout=given).client()


def test_the_state_of_new_inbounds(client, hosts):
    state = []
    for given in ({}, {"kuma_dp_initial_state": "Ready"}):
        name = hosts.add()
        test_joining.join(client, hosts, **read(options.REGISTRATION, **given))
        (inbound,) = client.get(f"/meshes/default/dataplanes/{name}").body["networking"]["inbound"]
        state.append(inbound.get("state", "Ready"))
    assert state == ["NotReady", "Ready"]


def test_how_long_tokens_are_valid_and_when_they_are_renewed(client, hosts):
    name = hosts.add()
    brief = {"kuma_dp_token_valid_for": "2h", "kuma_dp_token_renew_before": "1h"}
    _result, tokens = test_joining.join(client, hosts, **read(options.REGISTRATION, **brief))
    claims = jwt.decode_claims(tokens[name][name])
    assert claims["exp"] - time.time() == pytest.approx(7200, abs=600)
    hosts.own[0]["observed"]["proxies"] = {name: {"token": {"present": True, "claims": claims}}}
    for given, renewed in (({}, True), (brief, False)):
        _result, tokens = test_joining.join(client, hosts, **read(options.REGISTRATION, **given))
        assert bool(tokens) is renewed


def test_which_group_may_read_the_files_of_proxies():
    place = layout.Layout.of(read(layout.PLACE, kuma_dp_group="mesh"), "2.14.3")
    assert {place.secret("a")["group"], *(item["group"] for item in place.directories(needrestart=False))} == {"mesh", "root"}


def test_which_ports_a_zone_proxy_has_for_itself():
    given = {"kuma_zone_proxy_admin_port": 9911, "kuma_zone_proxy_readiness_port": "9912"}
    known = read(options.ZONE, kuma_zone_proxy_name="gate", kuma_zone_proxy_type="ingress", kuma_zone_proxy_address="10.0.0.1", **given)
    (proxy,), problems = inventory.read("gate-1", known, "v2")
    assert problems == []
    assert proxy["port_pins"] == {"admin": 9911, "readiness": 9912}


def test_how_many_hosts_are_restarted_at_once():
    told = rolling.settings(read(options.ROLL, kuma_dp_roll_max_in_flight="3", kuma_dp_roll_dir="/nowhere"))
    assert roll_settings.read(told).max_in_flight == 3


@pytest.mark.usefixtures("_short_waits")
@pytest.mark.parametrize(("given", "resumed"), [({}, True), ({"kuma_dp_roll_resume": "never"}, False)])
def test_whether_a_roll_that_died_is_taken_up_again(make_mesh, tmp_path, given, resumed):
    play = Play(make_mesh(web_1="web"), tmp_path, **given)
    play.join("web-1", "web-1")
    first = play.task("start")
    second = play.task("start")
    assert (second["resumed"], second["run"] == first["run"]) == (resumed, resumed)
