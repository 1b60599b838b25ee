# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Direct lifecycle in the plan of a join: what is laid down, what is registered, and what speaks against it."""

from __future__ import annotations

import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._join import lifecycle, mustache
from tests.unit.join.test_plan import host, overview, plan, problems_of

PATH = "direct.yaml.mustache"
TEMPLATE = """
type: Dataplane
mesh: {{ mesh }}
name: {{{name}}}
labels: {kuma.io/workload: {{workload}}, team: {{team}}}
networking:
  address: {{ address }}
  inbound:
    - port: 8080
      servicePort: 18080
      serviceAddress: 127.0.0.1
      tags: {kuma.io/service: web, kuma.io/protocol: http, team: {{team}}}
  outbound:
    - {port: {{outbound_backend}}, tags: {kuma.io/service: backend}}
"""


def direct(number=1, template=None, **variables):
    made = host(number, lifecycle="direct", **variables)
    if template is not None:
        made["variables"].setdefault("dataplane_template", PATH)
        made["templates"] = {PATH: template}
    return made


def templated(template=TEMPLATE, **variables):
    return direct(template=template, **{"dataplane_vars": {"team": "shop"}, **variables})


def planned(made, overviews=()):
    plans, problems = plan([made], overviews)
    assert problems == []
    return plans[made["host"]]["proxies"][0]


def test_the_file_of_a_direct_proxy_is_the_dataplane_that_an_indirect_one_has():
    own, other = planned(direct()), planned(host(1))
    assert own["dataplane"] == other["dataplane"]
    assert own["outbounds"] == other["outbounds"]
    assert (own["lifecycle"], other["lifecycle"]) == ("direct", "indirect")
    assert (own["template"], own["arguments"]) == ("", "")


def test_trap_8_the_file_of_a_direct_proxy_says_not_ready():
    inbound = planned(direct())["file"]["networking"]["inbound"][0]
    assert (inbound["state"], inbound["health"]) == ("NotReady", {"ready": False})
    assert "state" not in planned(direct())["dataplane"]["networking"]["inbound"][0]


def test_a_direct_proxy_keeps_the_ports_that_it_has():
    live = copy.deepcopy(planned(direct())["dataplane"])
    live["networking"]["outbound"][0]["port"] = 15555
    own = planned(direct(), [overview(live)])
    assert own["outbounds"][0]["port"] == 15555
    assert (own["registered"], own["differs"]) == (True, False)


def test_a_direct_proxy_that_does_not_run_keeps_the_ports_that_its_applications_were_told():
    observed = {"outbounds": {"KUMA_OUTBOUND_BACKEND_PORT": "15555", "KUMA_OUTBOUND_OTHER_PORT": "15556"}}
    assert planned(direct(observed=observed))["outbounds"][0]["port"] == 15555
    assert planned(host(1, observed=observed))["outbounds"][0]["port"] != 15555
    # What the control plane holds wins, and a pin wins over both.
    live = copy.deepcopy(planned(direct())["dataplane"])
    live["networking"]["outbound"][0]["port"] = 15557
    assert planned(direct(observed=observed), [overview(live)])["outbounds"][0]["port"] == 15557
    assert planned(direct(observed=observed, outbound_pins={"backend": 15558}))["outbounds"][0]["port"] == 15558


def test_services_whose_variables_have_one_name_are_not_mistaken_for_each_other():
    told = {"outbounds": {"KUMA_OUTBOUND_A_B_PORT": "15555", "KUMA_OUTBOUND_C_PORT": "none"}}
    assert lifecycle.laid_ports(["a.b", "a-b", "c"], told) == {}
    assert lifecycle.laid_ports(["a.b", "c"], told) == {"a.b": 15555}


def test_a_template_is_laid_down_as_it_is_with_the_values_that_it_uses():
    own = planned(templated(dataplane_vars={"team": "shop", "unused": "x"}))
    port = own["outbounds"][0]["port"]
    assert own["template"] == TEMPLATE
    assert own["arguments"] == (f"--dataplane-var=address=10.0.0.1,mesh=default,name=web-1,outbound_backend={port},team=shop,workload=web")
    # What it says beyond the inventory is compared with the control plane as well.
    assert own["dataplane"]["networking"]["inbound"][0]["tags"]["team"] == "shop"


def test_the_variables_of_a_proxy_win_over_those_of_its_vm():
    one = {"name": "web-1", "services": host(1)["variables"]["services"], "upstreams": ["backend"], "dataplane_vars": {"team": "own"}}
    own = planned(templated(proxies=[one]))
    assert "team=own" in own["arguments"]


def test_two_proxies_of_a_vm_may_have_different_lifecycles():
    proxies = [
        {"name": "one", "services": [{"name": "a", "port": 8080}], "lifecycle": "direct"},
        {"name": "two", "services": [{"name": "b", "port": 8081}]},
    ]
    plans, problems = plan([host(1, proxies=proxies)])
    assert problems == []
    assert [proxy["lifecycle"] for proxy in plans["web-1"]["proxies"]] == ["direct", "indirect"]


BAD = [
    ({"lifecycle": "sideways"}, "kuma_dp_lifecycle is 'sideways', expected indirect or direct"),
    ({"dataplane_template": PATH}, "web-1: kuma_dp_dataplane_template is 'direct.yaml.mustache', expected none, or kuma_dp_lifecycle: direct"),
    ({"dataplane_vars": {"a": "b"}}, "web-1: kuma_dp_dataplane_vars is {'a': 'b'}, expected none, or kuma_dp_lifecycle: direct"),
    ({"lifecycle": "direct", "dataplane_vars": {"a": "b"}}, "expected none, or a kuma_dp_dataplane_template that they are for"),
    ({"lifecycle": "direct", "dataplane_template": 7}, "kuma_dp_dataplane_template is 7, expected the path of a file on the controller"),
    (
        {"lifecycle": "direct", "dataplane_template": PATH},
        "web-1: kuma_dp_dataplane_template direct.yaml.mustache was not found on the controller, expected a file",
    ),
    (
        {"lifecycle": "direct", "environment": ["KUMA_DATAPLANE_NAME", "OTHER"]},
        "web-1: kuma_dp_environment.KUMA_DATAPLANE_NAME is 'set', expected nothing: kuma-dp takes it from the Dataplane file",
    ),
    ({"proxies": [{"name": "a", "services": [{"name": "x", "port": 1}], "lifecycle": "x"}]}, "kuma_dp_proxies[0].lifecycle is 'x'"),
]  # fmt: skip


@pytest.mark.parametrize(("variables", "message"), BAD)
def test_bad_options_are_named(variables, message):
    problems = problems_of(host(1, **variables))
    assert any(message in problem for problem in problems), problems


def test_a_file_that_kuma_dp_would_fill_in_is_refused():
    proxy = {"host": "web-1", "name": "web-1", "field": "kuma_dp_", "template": ""}
    desired = {"networking": {"inbound": [{"tags": {"a": "{{b}}"}}]}}
    _planned, problems = lifecycle.plan(proxy, desired, None, (2, 14, 3), True)
    assert problems == ["web-1: the Dataplane of web-1 has {{ in it, expected none: kuma-dp fills its file in as a template"]


def test_trap_25_variables_that_contradict_a_dataplane_file_are_refused():
    for name in lifecycle.CONTRADICTIONS:
        assert any(name in problem for problem in problems_of(direct(environment=[name])))
        assert problems_of(host(1, environment=[name])) == []


BAD_VALUES = [
    ({"team": "two words"}, "kuma_dp_dataplane_vars.team is 'two words', expected no blanks, commas, quotes"),
    ({"team": "a,b=c"}, "kuma_dp_dataplane_vars.team is 'a,b=c', expected no blanks, commas"),
    ({"team": "$HOME"}, "expected no blanks, commas, quotes, backslashes or dollars"),
    ({"team": True}, "kuma_dp_dataplane_vars.team is True, expected a text or a number"),
    ({"team": ""}, "kuma_dp_dataplane_vars.team is not set, expected a text or a number"),
    ({"team": ["a"]}, "kuma_dp_dataplane_vars.team is ['a'], expected a text or a number"),
    ({"team": "x", "a.b": "y"}, "kuma_dp_dataplane_vars.a.b is 'y', expected a name of letters"),
    ({"team": "x", "name": "y"}, "kuma_dp_dataplane_vars.name is set, expected another name: the play gives it a value itself"),
    ({"team": "a&b"}, "line 5: {{team}} would become a&amp;b, because two braces escape HTML, expected {{{team}}}"),
    ({}, "line 5: {{team}} has no value and would be empty"),
]


@pytest.mark.parametrize(("values", "message"), BAD_VALUES)
def test_trap_33_values_that_would_not_arrive_are_refused(values, message):
    problems = problems_of(templated(dataplane_vars=values))
    assert any(message in problem for problem in problems), problems


BAD_TEMPLATES = [
    (TEMPLATE.replace("port: 8080", "port: 8081"), "networking.inbound[0].port is 8081, expected 8080 as in the inventory"),
    (TEMPLATE.replace("{{{name}}}", "web-2"), "name is web-2, expected web-1 as in the inventory"),
    (
        TEMPLATE.replace("{kuma.io/workload: {{workload}}, team: {{team}}}", "{}"),
        'labels is not set, expected {"kuma.io/workload": "web"} as in the inventory',
    ),
    (TEMPLATE.replace("{{outbound_backend}}", "10001"), "networking.outbound[0].port is 10001, expected"),
    (TEMPLATE.replace("mesh: {{ mesh }}", "mesh: [other"), "is no YAML once it is filled in"),
    (TEMPLATE.replace("Dataplane", "Mesh"), "it is no Dataplane once it is filled in"),
    (TEMPLATE.replace("servicePort", "servisePort"), "networking.inbound[0].servisePort"),
    (TEMPLATE + "    - {port: 10500, tags: {kuma.io/service: more}}\n", "networking.outbound is "),
    ("just text", "it is no Dataplane"),
    (TEMPLATE.replace("{{ address }}", "{{{ address }}}"), "{{{ address }}} is always empty"),
]


@pytest.mark.parametrize(("template", "message"), BAD_TEMPLATES)
def test_a_template_that_says_something_else_than_the_inventory_is_refused(template, message):
    problems = problems_of(templated(template))
    assert any(message in problem and problem.startswith("web-1: kuma_dp_dataplane_template direct") for problem in problems), problems


@given(st.text(st.sampled_from("abXY019.-_:/@&<>=+"), min_size=1, max_size=30))
def test_a_value_that_is_accepted_arrives_at_kuma_dp_as_it_was_given(value):
    """Through the environment file, systemd's splitting and kuma-dp's comma-separated flag."""
    template = TEMPLATE.replace("team: {{team}}}\n  outbound", "team: x}\n  outbound").replace("team: {{team}}}\nnet", "team: x}\nnet")
    template = template.replace("{{ address }}", "{{ address }} # {{{team}}}")
    own = planned(templated(template, dataplane_vars={"team": value}))
    assert own["arguments"].split() == [own["arguments"]]
    pairs = dict(pair.partition("=")[::2] for pair in own["arguments"][len("--dataplane-var=") :].split(","))
    assert pairs["team"] == value
    assert f"# {value}" in mustache.render(mustache.parse(template), pairs)


def test_the_file_of_the_play_holds_nothing_that_kuma_dp_fills_in():
    text = yaml.safe_dump(planned(direct())["file"])
    assert mustache.parse(text).parts == [text]


def fenced(**labels):
    live = copy.deepcopy(planned(direct())["dataplane"])
    for inbound in live["networking"]["inbound"]:
        inbound["health"] = {"ready": False}
    live["labels"] = {**live["labels"], **labels}
    return overview(live)


def test_a_fenced_direct_proxy_is_held_because_a_restart_would_lift_its_fence():
    assert "is fenced and Direct" in planned(direct(), [fenced()])["hold"]
    assert planned(host(1), [fenced()])["hold"] == ""
    assert planned(direct(), [overview(planned(direct())["dataplane"])])["hold"] == ""
    # A roll that was interrupted lifts its own.
    assert planned(direct(), [fenced(**{"meshfleet.kuma/maintenance": "rollout-20261125t171314z-ab12"})])["hold"] == ""
