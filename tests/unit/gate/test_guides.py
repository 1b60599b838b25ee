# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README, the guides and the READMEs of the roles: what they name exists, and the inventories that they print are sound."""

from __future__ import annotations

import re
import textwrap

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshfleet.kuma.plugins.doc_fragments import api
from ansible_collections.meshfleet.kuma.plugins.doc_fragments import step as step_fragment
from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane import check
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import inventory as join_inventory
from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent import redirection
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import inventory
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.variables import PLAYBOOK_OPTIONS
from tests.unit.gate.test_collection import CALLBACKS, FILTERS, MODULES, ROLES, ROOT, documents, fragments, named
from tests.unit.join.test_plan import host, problems_of
from tests.unit.parsed import file as parsed_file
from tests.unit.parsed import text as parsed_text

GUIDES = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES, *(role / "README.md" for role in ROLES)]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
OPTIONS = {
    name: {"type": option.get("type", "str"), **{key: option[key] for key in ("elements", "choices") if key in option}}
    for role in ROLES
    for entry in parsed_file(role / "meta/argument_specs.yml")["argument_specs"].values()
    for name, option in entry["options"].items()
}
API_OPTIONS = yaml.safe_load(api.ModuleDocFragment.DOCUMENTATION)["options"]
DEFAULTS = {name: value for role in ROLES for name, value in parsed_file(role / "defaults/main.yml").items()}
# Roles and the longest first, for the variables of one may begin with the name of another.
PREFIXES = sorted((role.name + "_" for role in ROLES), key=len, reverse=True)


def blocks(path):
    """The code blocks of a page, those between fences and those that are indented, with their language if there is one."""
    text = path.read_text()
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield language, textwrap.dedent(body)
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for body in re.findall(r"(?<=\n\n)(?: {4}.*\n|\n(?= {4}))+", outside):
        yield "", textwrap.dedent(body)


def parsed(path):
    """What is YAML among the blocks of a page; inventories that are indented name variables."""
    for language, body in blocks(path):
        if language == "yaml" or (not language and re.match(r"\s*([\w-]+:\s+)?kuma_\w+:", body)):
            yield from yaml.load_all(body, Loader=yaml.CSafeLoader)


def scopes(value):
    """Every mapping of a document that sets variables of a role."""
    if isinstance(value, dict):
        if any(key.startswith(tuple(PREFIXES)) for key in value if isinstance(key, str)):
            yield value
        for item in value.values():
            yield from scopes(item)
    elif isinstance(value, list):
        for item in value:
            yield from scopes(item)


def told(page):
    return [scope for document in parsed(page) for scope in scopes(document)]


def of_role(scope, role):
    """The variables of one role without their prefix. What a template fills in is left out."""
    own = {name: value for name, value in scope.items() if name.startswith(tuple(PREFIXES)) and "{{" not in str(value)}
    return {name[len(role) + 1 :]: value for name, value in own.items() if next(p for p in PREFIXES if name.startswith(p)) == role + "_"}


def defaults_of(role):
    return of_role(DEFAULTS, role)


@pytest.mark.parametrize("page", **named(PAGES))
def test_printed_variables_are_options_of_a_role_and_have_their_type(page):
    for scope in told(page):
        given = {name: value for name, value in scope.items() if name.startswith(tuple(PREFIXES))}
        assert set(given) <= set(OPTIONS)
        plain = {name: value for name, value in given.items() if "{{" not in str(value)}
        found = ArgumentSpecValidator({name: OPTIONS[name] for name in plain}).validate(plain)
        assert found.error_messages == []


@pytest.mark.parametrize("page", **named(PAGES))
def test_printed_inventories_are_sound(page):
    for scope in told(page):
        offered = of_role(scope, "kuma_dp")
        if {"services", "upstreams", "gateway", "proxies"} & set(offered):
            assert join_inventory.read("web-1", {"name": "web-1", "address": "10.0.0.11", **offered}, "v2")[1] == []
            assert join_inventory.read("web-1", {"name": "web-1", "address": "10.0.0.11", **offered}, "v3")[1] == []
        redirected = of_role(scope, "kuma_transparent_proxy")
        if redirected:
            wanted = {**defaults_of("kuma_transparent_proxy"), "version": "2.14.3", "dns_enabled": False, **redirected}
            assert redirection.problems({name: as_given(value) for name, value in wanted.items()}) == []
        zone = of_role(scope, "kuma_zone_proxy")
        if zone:
            assert inventory.read("gate-1", {"name": "gate-1", "address": "10.0.0.21", **zone}, "v2")[1] == []
        control_plane = of_role(scope, "kuma_cp")
        if control_plane:
            given = {"postgres_password_given": True, "postgres_ca_given": True, "names": ["kuma-1"], **control_plane}
            assert check.problems("kuma-1", check.completed(given)) == []


def as_given(value):
    """Ports as role kuma_transparent_proxy hands them on."""
    return [str(item) for item in value] if isinstance(value, list) else value


def test_the_guides_print_inventories():
    """Otherwise the two tests above look at nothing."""
    without = {page.stem for page in GUIDES if not told(page)}
    assert without == {"architecture", "benchmarks", "maintenance", "migration", "output", "resources", "rolling-restart", "traps"}


def test_the_printed_template_of_a_direct_proxy_says_what_the_inventory_says():
    (template,) = [body for _language, body in blocks(ROOT / "docs/direct.md") if "{{{name}}}" in body]
    (settings,) = [scope for scope in told(ROOT / "docs/direct.md") if "kuma_dp_dataplane_template" in scope]
    web = host(1, **of_role(settings, "kuma_dp"))
    assert problems_of({**web, "templates": {settings["kuma_dp_dataplane_template"]: template}}) == []


def tasks_of(value):
    """Every mapping of a document that is a task with a module of ours: ``(module, its options)``."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str) and key.startswith("meshfleet.kuma.") and key.rpartition(".")[2] in {path.stem for path in MODULES}:
                yield key.rpartition(".")[2], item or {}
            yield from tasks_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from tasks_of(item)


def specification(options):
    """What a module takes, as its documentation says."""
    result = {}
    for name, option in options.items():
        result[name] = {"type": option["type"], **{key: option[key] for key in ("elements", "required") if key in option}}
        if "choices" in option:
            result[name]["choices"] = list(option["choices"])
        if "suboptions" in option:
            result[name]["options"] = specification(option["suboptions"])
    return result


def wrong_options(module, given):
    """What a task gives to a module of ours that it does not have or take, and what it lacks. ``module_defaults`` have the options of the API."""
    (path,) = [path for path in MODULES if path.stem == module]
    step = parsed_text(step_fragment.ModuleDocFragment.DOCUMENTATION)["options"] if "meshfleet.kuma.step" in fragments(path) else {}
    takes = specification({**documents(path)["DOCUMENTATION"].get("options", {}), **step})
    plain = {name: value for name, value in given.items() if name not in API_OPTIONS}
    for name in takes:
        if isinstance(plain.get(name), str) and "{{" in plain[name]:
            takes[name] = {"type": "raw"}
    return ArgumentSpecValidator(takes).validate(plain).error_messages


@pytest.mark.parametrize("page", **named(PAGES))
def test_printed_tasks_use_options_that_there_are(page):
    for document in parsed(page):
        for module, given in tasks_of(document):
            assert wrong_options(module, given) == [], module


@pytest.mark.parametrize("path", **named([*MODULES, *FILTERS]))
def test_examples_use_options_that_there_are(path):
    """Those that look at a VM are not run as they are printed."""
    tasks = list(tasks_of(documents(path)["EXAMPLES"]))
    assert path in FILTERS or path.stem in {module for module, _given in tasks}
    for module, given in tasks:
        assert wrong_options(module, given) == [], module


@pytest.mark.parametrize("page", **named(PAGES))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", **named(PAGES))
def test_what_a_page_names_is_there(page):
    text = page.read_text()
    content = {path.stem for path in [*CALLBACKS, *MODULES, *FILTERS, *PLAYBOOKS]} | {path.name for path in (ROOT / "roles").iterdir()}
    assert [name for name in re.findall(r"\bmeshfleet\.kuma\.([a-z_]+)", text) if name not in content] == []
    assert [name for name in re.findall(r"`([a-z]+[-_][a-z]+\.yml)`", text) if not (ROOT / "playbooks" / name).exists()] == []
    playbooks = "\n".join(path.read_text() for path in PLAYBOOKS)
    facts = {
        fact
        for role in ROLES
        for path in (role / "tasks").glob("*.yml")
        for facts in re.findall(r"ansible\.builtin\.set_fact:\n((?: +.*\n)+)", path.read_text())
        for fact in re.findall(r"^ +(kuma_\w+):", facts, re.MULTILINE)
    }
    known = set(OPTIONS) | facts | content | set(re.findall(r"\bkuma_\w+", playbooks)) | PLAYBOOK_OPTIONS
    # A group of variables is named by how they begin.
    unknown = [name for name in re.findall(r"\bkuma_\w+", text) if name not in known and name not in PREFIXES]
    assert unknown == []


def test_what_playbooks_ask_for_is_in_a_guide():
    """Variables of playbooks have no argument_specs: a guide is the only place."""
    told_of = "\n".join(page.read_text() for page in PAGES)
    asked = {name for path in PLAYBOOKS for name in re.findall(r"\b(kuma_\w+) \| default\(", path.read_text())}
    inner = {name for path in PLAYBOOKS for name in re.findall(r"^ +(kuma_\w+):", path.read_text(), re.MULTILINE)}
    assert sorted(name for name in (asked | PLAYBOOK_OPTIONS) - set(OPTIONS) - inner if not re.search(rf"\b{name}\b", told_of)) == []


def test_the_readme_lists_every_guide_role_and_playbook():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in GUIDES if f"](docs/{page.name})" not in readme] == []
    assert [role.name for role in ROLES if f"](roles/{role.name}/README.md)" not in readme] == []
    assert [path.stem for path in PLAYBOOKS if "-" not in path.stem and f"`{path.stem}`" not in readme] == ["find_fleet", "roll_fleet"], (
        "they are imported"
    )
