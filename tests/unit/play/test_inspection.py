# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is looked at of which hosts before a play, and that it costs little."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._join import trust
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.findings import THE_PLAY, Findings
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.inspection import KINDS, PURPOSES, Inspection
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.vocabulary import specifications, vocabulary
from tests.unit import effort
from tests.unit.play.test_values import values

KNOWN, SPECS = vocabulary(), specifications()
SOUND = {
    "kuma_dp_control_plane_url": "https://kuma.example.com:5682",
    "kuma_dp_control_plane_ca": "ca.pem",
    "kuma_dp_version": "2.14.3",
    "kuma_cp_version": "2.14.3",
}
URL = "kuma_dp_control_plane_url is not set, expected the API of the control plane, such as https://kuma.example.com:5682"
CA = f"kuma_dp_control_plane_ca is not set, expected {trust.MISSING}"
VERSION = "kuma_dp_version is not set, expected the release that runs, without v, such as 2.14.3"


def problems(inventory, purpose="join", in_role=False, play=None, **kinds):
    """Of hosts of these ``kinds``, or of hosts with proxies of the mesh; ``play`` are the variables of the play."""
    findings = Findings(KNOWN)
    kinds = kinds or {"proxies": list(inventory)}
    hosts = {kind: kinds.get(kind, []) for kind in KINDS}
    Inspection(findings, values(inventory, in_role, **(play or {})), SPECS, hosts, purpose).look(list(inventory))
    return findings.problems()


def test_options_that_have_to_be_set_depend_on_the_purpose():
    assert problems({"a": {}, "b": SOUND, "c": {}}) == [f"a, c: {CA}", f"a, c: {URL}", f"a, c: {VERSION}"]
    assert problems({"a": {}, "b": {}}, "leave") == [f"a, b: {URL}"]
    for purpose in ("maintenance", "migration", None):
        assert problems({"a": {}}, purpose) == []
    assert problems({"a": {}}, "control_plane", control_planes=["a"]) == [f"a: {VERSION.replace('kuma_dp', 'kuma_cp')}"]
    assert set(PURPOSES.values()) == {"main", "leave", ""}


def test_a_host_of_two_kinds_is_told_of_what_it_lacks_once():
    assert problems({"a": {}}, proxies=["a"], zone_proxies=["a"]) == [f"a: {CA}", f"a: {URL}", f"a: {VERSION}"]
    assert problems({"a": {}, "b": {}, "c": {}}, proxies=["a", "b"], zone_proxies=["b", "c"]) == [
        f"a, b, c: {CA}", f"a, b, c: {URL}", f"a, b, c: {VERSION}",
    ]  # fmt: skip
    (_ca, url, _version) = problems({"a": {}}, zone_proxies=["a"])
    assert url.startswith("a: kuma_dp_control_plane_url is not set, expected the API of the control plane of the zone, such as https")


@pytest.mark.parametrize("in_role", [False, True])
def test_what_the_play_sets_is_set_for_all(in_role):
    play = {"kuma_dp_version": "2.14.3", "kuma_dp_control_plane_url": "{{ nobody }}", "kuma_dp_control_plane_ca": "{{ nobody }}"}
    assert problems({"a": {}, "b": {}}, in_role=in_role, play=play) == []


@pytest.mark.parametrize(
    ("url", "wanted"),
    [("https://kuma:5678", True), ("http://kuma:5678", False), ("{{ somebody }}", True), ("{{ nobody }}", False), ("kuma:5678", False)],
)
def test_with_https_a_ca_has_to_be_set(url, wanted):
    """What a template comes to that cannot be filled in yet is for the plan to tell."""
    given = {**SOUND, "kuma_dp_control_plane_ca": "", "kuma_dp_control_plane_dp_url": url}
    found = problems({"a": given}, play={"somebody": "https://kuma:5678"} if "somebody" in url else None)
    assert found == ([f"a: {CA}"] if wanted else [])


def test_an_option_that_is_misspelt_is_not_missing_as_well():
    wrong = {**SOUND, "kuma_dp_vresion": "2.14.3"}
    wrong.pop("kuma_dp_version")
    misspelt, missing = problems({"a": wrong, "b": {**wrong, "kuma_dp_vresion": ""}, "c": {**SOUND, "kuma_dp_version": ""}})
    assert misspelt.startswith("a, b: kuma_dp_vresion is set and is no option, expected kuma_dp_version")
    assert missing == f"c: {VERSION}"
    sound = {"kuma_dp_control_plane_url": "x", "kuma_dp_control_plane_ca": "x"}
    (misspelt,) = problems({"a": sound}, play={"kuma_dp_vresion": 1})
    assert misspelt.startswith(f"{THE_PLAY}: kuma_dp_vresion")


def test_each_kind_of_host_has_the_options_of_its_roles():
    wrong = {
        **SOUND,
        "kuma_dp_concurrency": "x",
        "kuma_transparent_proxy_vnet": "x",
        "kuma_zone_proxy_port": "x",
        "kuma_cp_http_port": "x",
    }

    def found(**kinds):
        return [problem.split()[1] for problem in problems({"a": wrong, "b": SOUND}, **kinds)]

    assert found(proxies=["a"]) == ["kuma_dp_concurrency", "kuma_transparent_proxy_vnet"]
    assert found(zone_proxies=["a", "b"]) == ["kuma_dp_concurrency", "kuma_zone_proxy_port"]
    assert found(control_planes=["a"]) == ["kuma_cp_http_port"]
    assert found(proxies=["b"]) == found(proxies=[]) == []


def test_hosts_with_one_wrong_value_are_told_together_and_other_values_beside_it():
    fleet = {"a": {"kuma_dp_concurrency": "x"}, "b": {"kuma_dp_concurrency": "x"}, "c": {"kuma_dp_concurrency": "y"}, "d": {}}
    found = problems({host: {**SOUND, **variables} for host, variables in fleet.items()})
    assert found == ["kuma_dp_concurrency is 'x' (a, b), 'y' (c), expected a whole number"]


def test_what_the_play_sets_for_all_is_told_once():
    play = {"kuma_dp_concurrency": "x", "kuma_dp_restart": "{{ mine }}", "kuma_dp_wait_timeout": "{{ nobody }}"}
    found = problems({"a": {**SOUND, "mine": "soon", "kuma_dp_concurrency": "of no use"}, "b": {**SOUND, "mine": "drained"}}, play=play)
    assert found == [
        f"{THE_PLAY}: kuma_dp_concurrency is 'x', expected a whole number",
        "a: kuma_dp_restart is 'soon', expected report or drained",
    ]


def test_with_roles_the_inventory_holds_and_is_what_is_looked_at():
    found = problems({"a": SOUND, "b": {**SOUND, "kuma_dp_concurrency": "y"}}, in_role=True, play={"kuma_dp_concurrency": "x"})
    assert found == [f"kuma_dp_concurrency is 'x' ({THE_PLAY}), 'y' (b), expected a whole number"] or found == [
        f"kuma_dp_concurrency is 'y' (b), 'x' ({THE_PLAY}), expected a whole number"
    ]


def test_names_are_told_by_what_they_name_and_no_second_time():
    (mesh, name) = problems({"a": {**SOUND, "kuma_dp_name": ["x"], "kuma_dp_mesh": True}})
    assert mesh.startswith("a: kuma_dp_mesh is True, expected a name")
    assert name.startswith("a: kuma_dp_name is ['x'], expected a lower-case DNS name")


def test_what_cannot_be_told_yet_and_what_is_encrypted_passes():
    assert (
        problems({"a": {**SOUND, "kuma_dp_concurrency": "{{ nobody }}", "kuma_dp_services": object(), "kuma_dp_owner": "{{ nobody }}"}})
        == []
    )


def test_without_hosts_only_the_names_of_variables_are_looked_at():
    found = problems({"a": {"kuma_dp_concurrency": "x", "kuma_dp_vresion": 1}}, proxies=[])
    assert [problem.split()[1] for problem in found] == ["kuma_dp_vresion"]


def test_a_thousand_hosts_with_fifteen_options_cost_little():
    own = {
        **SOUND,
        "kuma_dp_services": [{"name": "web", "port": 8080}],
        "kuma_dp_upstreams": ["api"],
        "kuma_dp_labels": {"team": "a"},
        "kuma_dp_workload": "web",
        "kuma_dp_concurrency": 2,
        "kuma_dp_dns_enabled": False,
        "kuma_dp_application_units": ["web.service"],
        "kuma_dp_log_level": "info",
        "kuma_dp_wait_timeout": "30",
        "kuma_dp_owner": "{{ inventory_hostname }}-x",
        "kuma_dp_environment": {"A": "b"},
        "kuma_dp_restart": "reprot",
        **{f"other_role_variable_{number}": number for number in range(90)},
    }

    def look(hosts):
        fleet = {f"web-{number}": own for number in range(hosts)}
        assert len(problems(fleet)) == 1

    look(1000)
    few, many = (effort.measured(look, hosts)[1] for hosts in (20, 120))
    # Of 105 variables of a host 15 are looked at, in some 20 lines each; the others cost the line that finds them to be none.
    assert many - few < 100 * (15 * 25 + 105 * 4 + 150)
