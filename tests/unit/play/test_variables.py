# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variable is a typing error of which option, and which names are none."""

from __future__ import annotations

import pathlib
import re
import string

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import options as play_options
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import variables
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.findings import THE_PLAY, Findings
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.values import NotYet, OfHost
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.vocabulary import facts, vocabulary
from tests.examples import examples
from tests.unit import effort, parsed

ROOT = pathlib.Path(__file__).parents[3]
KNOWN = vocabulary()
ROLES = ("kuma_dp", "kuma_zone_proxy", "kuma_cp", "kuma_transparent_proxy")
LETTERS = string.ascii_lowercase + "_-0A"
# One of each kind: none of the others is treated in another way.
SOME_LETTERS = "es_-0A"
WORDS = st.text(string.ascii_lowercase + "_", max_size=30)


def misspellings(name, letters=LETTERS):
    """Everything at distance one."""
    splits = [(name[:index], name[index:]) for index in range(len(name) + 1)]
    found = {left + right[1:] for left, right in splits if right}
    found |= {left + right[1] + right[0] + right[2:] for left, right in splits if right[1:]}
    found |= {left + letter + right[1:] for left, right in splits if right for letter in letters}
    found |= {left + letter + right for left, right in splits for letter in letters}
    return found - {name}


def options(role):
    entries = parsed.file(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"].values()
    return {name for entry in entries for name in entry.get("options", {})}


@pytest.mark.parametrize("letters", [SOME_LETTERS, pytest.param(LETTERS, marks=pytest.mark.nightly)], ids=["some", "all"])
@pytest.mark.parametrize("role", ROLES)
def test_every_misspelling_at_distance_one_of_every_option_is_refused_with_the_option(role, letters):
    missed = []
    for option in sorted(options(role)):
        for name in misspellings(option, letters) - KNOWN.options:
            verdict = KNOWN.judge(name)
            if verdict is None or not verdict.refused or option not in verdict.options:
                missed.append((name, option, verdict))
    assert missed == []


def test_misspellings_of_what_playbooks_read_are_refused():
    missed = [
        name
        for option in variables.PLAYBOOK_OPTIONS
        for name in misspellings(option) - KNOWN.options
        if option not in (KNOWN.judge(name) or variables.Verdict(False, ())).options
    ]
    assert missed == []


def test_options_are_those_of_all_roles_and_playbooks():
    assert set().union(*map(options, ROLES)) | variables.PLAYBOOK_OPTIONS == KNOWN.options
    assert {name for name in KNOWN.options if KNOWN.judge(name)} == set()
    books = "".join(path.read_text() for path in (ROOT / "playbooks").glob("*.yml"))
    named = ("MAINTENANCE", "MIGRATION", "ROTATE", "ROTATION", "REVOKE", "SIGNING_KEY")
    tables = {option.variable for name in named for option in getattr(play_options, name).values()}
    assert [name for name in variables.PLAYBOOK_OPTIONS - tables if not re.search(rf"\b{name}\b", books)] == []


def test_no_own_name_hides_a_misspelling_of_an_option():
    # A registered variable with this name would be excepted, and with it the likeliest typing error.
    assert {name: KNOWN.near(name) for name in KNOWN.own if KNOWN.near(name)} == {}


def values_of(value, *keys):
    """What is under any of ``keys`` anywhere in ``value``: a string, or the keys of a mapping."""
    if isinstance(value, list):
        for item in value:
            yield from values_of(item, *keys)
    elif isinstance(value, dict):
        for key in keys:
            yield from [value[key]] if isinstance(value.get(key), str) else value.get(key) or []
        for item in value.values():
            yield from values_of(item, *keys)


def test_what_roles_and_playbooks_register_and_set_is_excepted():
    files = [*(ROOT / "roles").glob("*/tasks/*.yml"), *(ROOT / "playbooks").glob("*.yml")]
    tasks = [parsed.file(path) for path in files]
    assert set(values_of(tasks, "register", "ansible.builtin.set_fact")) == KNOWN.facts
    assert {"kuma_dp_look", "kuma_dp_deployed", "kuma_migration_examined", "kuma_roll_problem"} <= KNOWN.facts
    assert {name for name in KNOWN.facts if KNOWN.judge(name)} == set()
    found = set(values_of(tasks, "vars", "loop_var"))
    found |= {name for path in (ROOT / "roles").glob("*/vars/*.yml") for name in parsed.file(path)}
    found = {name for name in found if name.startswith("kuma_")} - KNOWN.options
    assert len(found) > 1
    assert found <= KNOWN.own
    findings = Findings(KNOWN)
    findings.play(sorted(KNOWN.own))
    assert findings.problems() + findings.warnings() == []


def test_facts_are_found_in_plays_and_blocks_and_nowhere_else():
    book = """
    - hosts: all
      vars: {register: a_variable}
      pre_tasks: [{ping: , register: before}]
      tasks:
        - block:
            - block: [{ansible.builtin.set_fact: {deep: 1, deeper: 2}}]
          rescue: [{ping: , register: rescued}]
          always: [{set_fact: {finally: 1}}]
          vars: {own: 1}
        - some.module: {register: an_option, block: [{register: another}]}
          register: last
          loop: [{register: an_item}]
      post_tasks: [{ping: , register: after}]
      handlers: [{ping: , register: handled}]
    """
    found = sorted(facts(yaml.safe_load(book)))
    assert found == ["after", "before", "deep", "deeper", "finally", "handled", "last", "rescued"]
    assert list(facts({"register": "vars"})) == list(facts(None)) == []


@pytest.mark.parametrize("name", [name for name in sorted(KNOWN.own - KNOWN.facts) if KNOWN.judge(name)][:3])
def test_own_names_that_are_no_facts_are_strange_on_a_host(name):
    findings = Findings(KNOWN)
    findings.play([name])
    assert findings.warnings() == []
    findings.variables("web-1", [name])
    (warning,) = findings.warnings()
    assert warning.startswith(f"web-1: {name} is set and is no option of any role")
    assert ", but a name that the roles give to a value of their own. What" in warning
    assert findings.problems() == []


def test_own_names_of_a_host_are_judged_like_names_of_others():
    bare = variables.Vocabulary(KNOWN.options)
    rest = KNOWN.own - KNOWN.facts
    assert {name: KNOWN.judge(name) for name in rest} == {name: bare.judge(name) for name in rest}
    assert [name for name in rest if name.startswith(variables.PREFIXES) and not KNOWN.judge(name)] == []
    assert KNOWN.judge("kuma_dp_addresses") == variables.Verdict(True, ("kuma_dp_address",))


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("kuma_dp_upstream", "kuma_dp_upstreams"),
        ("kuma_dp_service", "kuma_dp_services"),
        ("kuma_flet", "kuma_fleet"),
        ("kuma_dp-name", "kuma_dp_name"),
        # Two letters.
        ("kuma_dp_upsterams_", "kuma_dp_upstreams"),
        ("kuma_cp_upstream", "kuma_dp_upstreams"),
        # The same words, and the same letters.
        ("kuma_dp_timeout_wait", "kuma_dp_wait_timeout"),
        ("kuma_dp_controlPlaneUrl", "kuma_dp_control_plane_url"),
        ("kuma_dp-control-plane-url", "kuma_dp_control_plane_url"),
        ("KUMA_DP_NAME", "kuma_dp_name"),
        # Nearly the same text.
        ("kuma_dp_drain_timeout", "kuma_dp_drain_time"),
        ("kuma_dp_archive_cheksmu_", "kuma_dp_archive_checksum"),
        # Separators alone are no more words, and what is after one option may be a misspelling of another.
        ("kuma_dp_services__", "kuma_dp_services"),
        ("kuma_dp_api_tokne_", "kuma_dp_api_token"),
        ("kuma_dp_archive_checksmus", "kuma_dp_archive_checksum"),
    ],
)
def test_what_resembles_an_option_is_refused(name, option):
    verdict = KNOWN.judge(name)
    assert verdict.refused
    assert verdict.options[0] == option


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("kuma_dp_favourite", ()),
        ("kuma_dp_web_services", ("kuma_dp_services",)),
        ("kuma_dp_port", ("kuma_zone_proxy_port",)),
        ("kuma_zone_proxy_version", ("kuma_cp_version", "kuma_dp_version")),
        # Two letters of four are another word.
        ("kuma_dp_node", ()),
        # An option and more words.
        ("kuma_dp_control_plane_url_east", ("kuma_dp_control_plane_url",)),
        ("kuma_dp_control_plane_url_eu", ("kuma_dp_control_plane_url",)),
        ("kuma_dp_control_plane_url_prod", ("kuma_dp_control_plane_url",)),
        ("kuma_dp_control_plane_ca_file", ("kuma_dp_control_plane_ca",)),
        ("kuma_dp_archive_checksum_new", ("kuma_dp_archive_checksum",)),
        ("kuma_dp_version_2", ("kuma_dp_version",)),
        ("KUMA_DP-VERSION-2", ("kuma_dp_version",)),
        ("kuma_dp_wait_timeout_s", ("kuma_dp_wait_timeout",)),
        ("kuma_dp_api_of_the_other_data_centre", ("kuma_dp_api",)),
        # Another last word.
        ("kuma_dp_control_plane_port", ("kuma_dp_control_plane_url",)),
    ],
)
def test_what_only_begins_like_an_option_is_warned_of(name, nearest):
    assert KNOWN.judge(name) == variables.Verdict(False, nearest)


@pytest.mark.parametrize(
    "name", ["", "kuma", "kuma_control_plane_url", "kuma_version", "nginx_upstream", "ansible_host", "kumadp_upstream", "x" * 500]
)
def test_variables_of_others_are_left_alone(name):
    assert KNOWN.judge(name) is None


@given(WORDS)
def test_nothing_else_is_touched(name):
    near = tuple(sorted(option for option in KNOWN.options if variables.distance(name, option) == 1))
    assert KNOWN.near(name) == near
    if not near and not name.startswith(variables.PREFIXES):
        assert KNOWN.judge(name) is None


@given(st.sampled_from(sorted(variables.PREFIXES)), WORDS)
def test_what_begins_like_an_option_is_never_passed_over(prefix, rest):
    name = prefix + rest
    assert (KNOWN.judge(name) is None) == (name in KNOWN.options or name in KNOWN.facts)


@given(st.sampled_from(sorted(KNOWN.options)), WORDS.filter(lambda word: word.strip("_")))
def test_an_option_and_more_words_are_no_misspelling_of_this_option(option, more):
    name = f"{option}_{more}"
    verdict = KNOWN.judge(name)
    if verdict is None:
        assert name in KNOWN.options or name in KNOWN.facts or not name.startswith(variables.PREFIXES)
    elif verdict.refused:
        assert option not in verdict.options
    else:
        assert verdict.options[0].startswith(option)


@given(WORDS, WORDS)
def test_the_distance_is_one_between_misspellings_and_the_same_both_ways(first, second):
    assert variables.distance(first, second) == variables.distance(second, first)
    assert (variables.distance(first, second) == 0) == (first == second)
    assert (variables.distance(first, second) == 1) == variables._one_apart(first, second)
    assert variables._letters_apart(first, second) <= variables.distance(first, second)


@given(WORDS.filter(bool), st.data())
@settings(max_examples=examples(50))
def test_a_misspelling_is_at_distance_one(name, data):
    wrong = data.draw(st.sampled_from(sorted(misspellings(name))))
    assert variables.distance(name, wrong) == 1
    assert variables._one_apart(wrong, name)


def value_of(**known):
    """The values of a host, as the action gives them; ``...`` is one that cannot be told yet."""

    def value(name, default):
        if known.get(name, default) is ...:
            raise NotYet(name)
        return known.get(name, default)

    return value


@pytest.mark.parametrize("error", [ValueError("by a filter"), KeyError("by a test"), RecursionError()])
def test_whatever_is_raised_while_a_name_is_filled_in_leaves_it_for_later(error):
    class Filler:
        def template(self, text):
            raise error

    value = OfHost({"kuma_dp_name": "{{ 1 | odd }}", "kuma_dp_mesh": "a/b"}, {}, Filler())
    with pytest.raises(NotYet):
        value("kuma_dp_name", "")
    findings = Findings(KNOWN)
    findings.proxies("web-1", "kuma_dp", value)
    findings.mesh("web-1", value)
    (problem,) = findings.problems()
    assert problem.startswith("web-1: kuma_dp_mesh is 'a/b'")


def test_hosts_of_one_reason_are_told_together_and_each_problem_once():
    findings = Findings(KNOWN)
    for number in range(1, 6):
        host = f"web-{number}"
        findings.variables(host, ["kuma_dp_upstream", "kuma_dp_name", "kuma_dp_favourite", "nginx_port"])
        findings.proxies(host, "kuma_dp", value_of(kuma_dp_name=".."))
        findings.mesh(host, value_of(kuma_dp_mesh=f"a/{number % 2}"))
    findings.play(["kuma_p_user"])
    *spelt, mesh, name = findings.problems()
    assert spelt == [
        "web-1, web-2, web-3 and 2 more: kuma_dp_upstream is set and is no option, expected kuma_dp_upstreams. Correct the name",
        f"{THE_PLAY}: kuma_p_user is set and is no option, expected kuma_cp_user or kuma_dp_user. Correct the name",
    ]
    assert name.startswith("web-1, web-2, web-3 and 2 more: kuma_dp_name is '..', expected a lower-case DNS name")
    assert mesh.startswith("kuma_dp_mesh is 'a/1' (web-1, web-3, web-5), 'a/0' (web-2, web-4), expected a name")
    (warning,) = findings.warnings()
    assert warning.startswith("web-1, web-2, web-3 and 2 more: kuma_dp_favourite is set and is no option of any role, so it has no effect")


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "-x", "x" * 300, "A", "a_b", "a\n", None, True, [], {}])
@pytest.mark.parametrize("role", ["kuma_dp", "kuma_zone_proxy"])
def test_names_that_are_none_are_refused_wherever_they_are(role, name):
    for known, label in (({f"{role}_name": name}, f"{role}_name"), ({f"{role}_proxies": [{"name": name}]}, f"a name in {role}_proxies")):
        findings = Findings(KNOWN)
        findings.proxies("web-1", role, value_of(**known))
        (problem,) = findings.problems()
        assert problem.startswith(f"web-1: {label} is ")
        assert len(problem) < 250


@pytest.mark.parametrize("mesh", ["..", ".", "", "a/b", "-x", "x" * 300, "Default", None])
def test_meshes_that_are_none_are_refused(mesh):
    findings = Findings(KNOWN)
    findings.mesh("web-1", value_of(kuma_dp_mesh=mesh))
    (problem,) = findings.problems()
    assert problem.startswith("web-1: kuma_dp_mesh is ")


@pytest.mark.parametrize(
    ("host", "role", "known"),
    [
        ("web-1", "kuma_dp", {}),
        ("web-1", "kuma_dp", {"kuma_dp_name": 7}),
        ("web_1", "kuma_dp", {"kuma_dp_name": "web-1"}),
        ("web_1", "kuma_dp", {"kuma_dp_proxies": [{"name": "a"}, {"name": "b.c"}], "kuma_dp_name": ".."}),
        ("web_1", "kuma_dp", {"kuma_dp_name": ...}),
        ("web_1", "kuma_dp", {"kuma_dp_proxies": ...}),
        # What is wrong with these is for the plan of the fleet to say.
        ("web-1", "kuma_dp", {"kuma_dp_proxies": [{}, "a"]}),
        ("web-1", "kuma_dp", {"kuma_dp_proxies": "a"}),
        ("web-1", "kuma_zone_proxy", {"kuma_zone_proxy_type": "ingress"}),
    ],
)
def test_good_names_and_those_that_are_not_known_yet_pass(host, role, known):
    findings = Findings(KNOWN)
    findings.proxies(host, role, value_of(**known))
    findings.mesh(host, value_of(kuma_dp_mesh="a_b"))
    findings.mesh(host, value_of(kuma_dp_mesh=...))
    assert findings.problems() == []


def test_a_host_whose_name_is_none_of_a_proxy_is_told_which_variable_names_it():
    findings = Findings(KNOWN)
    findings.proxies("web_1", "kuma_dp", value_of())
    findings.proxies("web_1", "kuma_zone_proxy", value_of(kuma_zone_proxy_type="egress"))
    first, second = findings.problems()
    assert first.startswith("web_1: kuma_dp_name is 'web_1', expected")
    assert second.startswith("web_1: kuma_zone_proxy_name is 'web_1-egress', expected")


def test_thousands_of_hosts_cost_little():
    names = [f"other_role_variable_{number}" for number in range(90)] + [
        "kuma_dp_favourite",
        "kuma_dp_upstream",
        *sorted(KNOWN.options)[:8],
    ]

    def take_in(hosts):
        findings = Findings(KNOWN)
        for number in range(hosts):
            findings.variables(f"web-{number}", names)
            findings.proxies(f"web-{number}", "kuma_dp", value_of(kuma_dp_name=f"web_{number}"))
        assert sum(map(len, findings.problems())) < 1000

    take_in(2000)
    few, many = (effort.measured(take_in, hosts)[1] for hosts in (20, 120))
    # Each name is judged once: every other host adds but some lines for each of its names.
    assert many - few < 100 * 10 * len(names)
