# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What kuma-dp and applications are told by their environment."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import parse_environment
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import environment
from tests.examples import examples
from tests.unit.play.vm import PLACE, proxy, told, vm_options, zone_proxy

ARGUMENTS = "--dataplane-var=address=10.0.0.11,name=web-1"
TEXT = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20)
SERVICES = st.lists(
    st.tuples(st.from_regex(r"[a-z][a-z0-9._-]{0,10}", fullmatch=True), st.integers(10001, 19999)),
    unique_by=lambda item: item[0],
    max_size=5,
)


def settings_of(each, **changes):
    return parse_environment(told(each, **changes))


def test_kuma_dp_is_told_everything_by_its_environment():
    assert settings_of(proxy()) == {
        "KUMA_CONTROL_PLANE_CA_CERT_FILE": "/etc/kuma/control-plane-ca.pem",
        "KUMA_CONTROL_PLANE_URL": "https://cp.example.com:5678",
        "KUMA_DATAPLANE_DRAIN_TIME": "30s",
        "KUMA_DATAPLANE_MESH": "default",
        "KUMA_DATAPLANE_NAME": "web-1",
        "KUMA_DATAPLANE_RUNTIME_BINARY_PATH": "/opt/kuma/current/bin/envoy",
        "KUMA_DATAPLANE_RUNTIME_ENVOY_LOG_LEVEL": "info",
        "KUMA_DATAPLANE_RUNTIME_TOKEN_PATH": "/etc/kuma/tokens/web-1",
        "KUMA_DATAPLANE_RUNTIME_WORK_DIR": "/run/kuma-dp/web-1",
        "KUMA_DNS_ENABLED": "false",
        "KUMA_READINESS_PORT": "9902",
    }


def test_options_that_are_off_are_not_mentioned_and_those_that_are_on_are():
    assert "KUMA_CONTROL_PLANE_CA_CERT_FILE" not in settings_of(proxy(), control_plane_ca="")
    found = settings_of(proxy(), dns_enabled=True, concurrency=2, log_level="debug", drain_time="5s")
    ports = ("KUMA_DNS_CORE_DNS_PORT", "KUMA_DNS_ENVOY_DNS_PORT", "KUMA_DNS_PROMETHEUS_PORT")
    assert [found[name] for name in ports] == ["15053", "15054", "19153"]
    assert found["KUMA_DNS_ENABLED"] == "true"
    assert found["KUMA_DATAPLANE_RUNTIME_CONCURRENCY"] == "2"
    assert (found["KUMA_DATAPLANE_RUNTIME_ENVOY_LOG_LEVEL"], found["KUMA_DATAPLANE_DRAIN_TIME"]) == ("debug", "5s")


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), TEXT, max_size=4))
@settings(max_examples=examples(100))
def test_variables_of_the_user_arrive_as_they_are_and_in_order(values):
    lines = [line for line in told(proxy(), settings=values).splitlines() if not line.startswith("#")]
    assert lines == sorted(lines, key=lambda line: line.partition("=")[0])
    for line in lines:
        key, _equals, value = line.partition("=")
        # How systemd reads it: a backslash makes the next of these characters an ordinary one.
        read = re.sub(r'\\(["\\`$])', r"\1", value[1:-1])
        if key in values:
            assert read == values[key]


@pytest.mark.parametrize("each", [proxy(), proxy(lifecycle="direct", arguments=ARGUMENTS), zone_proxy()])
def test_all_that_the_role_tells_may_be_shown_but_for_what_a_user_sets(each):
    """And the values of a template, which are on the command line of kuma-dp, and of a user."""
    options = {"dns_enabled": True, "concurrency": 2, "settings": {}}
    told_by_role = settings_of(each, **options)
    assert set(environment.shown(each, vm_options(**options), PLACE)) == set(told_by_role) - {"DATAPLANE_VARS"}
    options["settings"] = {"KUMA_READINESS_PORT": 9999, "A": "b"}
    assert not {"KUMA_READINESS_PORT", "A"} & set(environment.shown(each, vm_options(**options), PLACE))


def test_a_setting_of_the_user_wins_and_need_not_be_a_text():
    found = settings_of(proxy(), settings={"KUMA_READINESS_PORT": 9999, "A": True})
    assert (found["KUMA_READINESS_PORT"], found["A"]) == ("9999", "True")


@given(SERVICES, st.randoms())
@settings(max_examples=examples(100))
def test_outbounds_are_the_same_in_any_order_and_can_be_sourced(services, random):
    outbounds = [{"service": service, "address": "127.0.0.1", "port": port} for service, port in services]
    shuffled = random.sample(outbounds, len(outbounds))
    text = environment.outbounds([proxy(outbounds=shuffled)])
    assert text == environment.outbounds([proxy(outbounds=outbounds)])
    assert text == environment.outbounds([proxy(outbounds=[outbound]) for outbound in shuffled])
    found = parse_environment(text)
    keys = {"KUMA_OUTBOUND_" + re.sub("[^A-Z0-9]", "_", service.upper()) for service, _port in services}
    assert {key for key in found if not key.endswith(("_HOST", "_PORT"))} <= keys
    for key in keys:
        assert found[key] == "%s:%s" % (found[key + "_HOST"], found[key + "_PORT"])


def test_two_services_of_one_variable_are_told_apart():
    calls = [{"service": name, "address": "127.0.0.1", "port": port} for name, port in (("a-b", 1), ("a.b", 2))]
    assert "# a.b=127.0.0.1:2 (its variable would be KUMA_OUTBOUND_A_B as well)" in environment.outbounds([proxy(outbounds=calls)])


def test_trap_25_a_zone_proxy_brings_its_resource_and_neither_name_nor_mesh():
    found = settings_of(zone_proxy(), dns_enabled=True)
    assert found["KUMA_DATAPLANE_PROXY_TYPE"] == "ingress"
    assert found["KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH"] == "/etc/kuma/dataplanes/gate.yaml"
    assert found["KUMA_DNS_ENABLED"] == "false", "there is nobody whose queries it could answer"
    assert not {"KUMA_DATAPLANE_NAME", "KUMA_DATAPLANE_MESH", "KUMA_DNS_CORE_DNS_PORT"} & set(found)


def test_trap_25_a_direct_proxy_is_given_its_file_and_no_name():
    found = settings_of(proxy(lifecycle="direct"))
    assert found["KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH"] == "/etc/kuma/dataplanes/web-1.yaml"
    assert not {"KUMA_DATAPLANE_NAME", "KUMA_DATAPLANE_MESH", "DATAPLANE_VARS", "KUMA_DATAPLANE_PROXY_TYPE"} & set(found)


@pytest.mark.parametrize(("arguments", "given"), [(ARGUMENTS, ARGUMENTS), ("", None)])
def test_the_values_of_a_template_are_the_only_argument_and_only_where_there_is_one(arguments, given):
    assert settings_of(proxy(lifecycle="direct", arguments=arguments)).get("DATAPLANE_VARS") == given
