# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that become part of a URL or of a path: every module refuses what is none, before a request and before a touch of the VM.

Which options there are is read from the modules themselves, and each is one of these or has a reason here why it is not.
"""

from __future__ import annotations

import importlib
import itertools
import json
import pathlib
import types

import pytest
from ansible.module_utils import basic
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.action import rollout
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._module import api
from tests.unit import hostile, module_runner
from tests.unit.http_server import answer_json

ROOT = pathlib.Path(__file__).parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py") if path.stem != "__init__")
PLUGINS = "ansible_collections.meshfleet.kuma.plugins"

# Options of which nothing becomes a URL, a path or a unit, and why. Of all modules:
FREE = {
    "url": "the address of the control plane itself, tests/unit/api/test_client.py",
    "token": "a header, tests/unit/api/test_client.py",
    "client_cert": "a file of the user's that is read, tests/unit/api/test_client_certificates.py",
    "client_key": "a file of the user's that is read, tests/unit/api/test_client_certificates.py",
    "labels": "compared with labels of Dataplanes, or in the body",
    "owner": "the value of a label",
    "reason": "the value of a label, or a sentence",
    "duration": "a duration",
    "drain_time": "a duration",
    "hosts[].host": "is quoted in messages",
    "hosts[].observed": "what proxy_info has seen",
    "hosts[].variables": "the inventory, which the plan judges: tests/unit/join",
}
# Of one module:
FREE_OF = {
    ("control_plane_certificate", "names[]"): "what a certificate is for",
    ("control_plane_certificate", "subject"): "whom a certificate names",
    ("control_plane_plan", "host"): "is quoted in messages",
    ("control_plane_plan", "variables"): "the inventory, which the plan judges: tests/unit/control_plane",
    ("control_plane_plan", "observed"): "what proxy_info has seen",
    ("control_plane_plan", "tls_cert"): "PEM text",
    ("control_plane_plan", "tls_key"): "PEM text",
    ("control_plane_plan", "tls_ca"): "PEM text",
    ("control_plane_service", "address"): "an IP address, tests/unit/control_plane/test_service.py",
    ("control_plane_token", "address"): "an IP address, tests/unit/control_plane/test_service.py",
    ("dataplane", "networking"): "in the body",
    ("dataplane_tokens", "ledger"): "a file of the controller, which is its user's own",
    ("dataplane_tokens", "valid_for"): "a duration",
    ("dataplane_tokens", "renew_before"): "a duration",
    ("dataplane_tokens", "tokens[].valid_for"): "a duration",
    ("dataplane_tokens", "tokens[].workload"): "in the body",
    ("dataplane_tokens", "tokens[].tags"): "in the body",
    ("dataplane_tokens", "tokens[].current"): "claims, which are compared",
    ("inventory_check", "proxies[]"): "hosts, which are looked up",
    ("inventory_check", "zone_proxies[]"): "hosts, which are looked up",
    ("inventory_check", "control_planes[]"): "hosts, which are looked up",
    ("proxy_files", "directories[].mode"): "octal digits, tests/unit/vm/test_files.py",
    ("proxy_files", "files[].mode"): "octal digits, tests/unit/vm/test_files.py",
    ("proxy_files", "secrets[].shown[]"): "names of variables, which are compared",
    ("proxy_info", "digest_key"): "is hashed",
    ("proxy_info", "dp_server_url"): "an address, tests/unit/vm/test_dp_server.py",
    ("proxy_info", "dp_server_ca"): "PEM text",
    ("rollout", "ledger"): "a file of the controller, which is its user's own",
    ("zone_tokens", "ledger"): "a file of the controller, which is its user's own",
    ("proxy_files", "secrets[].mode"): "octal digits, tests/unit/vm/test_files.py",
    ("proxy_files", "files[].content"): "what is in a file",
    ("proxy_files", "secrets[].content"): "what is in a file",
    ("proxy_release", "comment"): "of a user; the commands refuse what is none",
    ("proxy_release", "checksum"): "hexadecimal digits, tests/unit/modules/test_proxy_release.py",
    ("proxy_release", "programs[]"): "compared with what is in an archive",
    ("proxy_restart", "proxies[].reasons[]"): "sentences",
    ("proxy_restart", "proxies[].cover.dataplane"): "what is in a file; its name is replaced",
    ("proxy_restart", "proxies[].cover.token"): "what is in a file",
    ("proxy_restart", "gates[].service"): "is quoted in messages",
    ("proxy_restart", "gates[].address"): "asked by GET alone, of an application",
    ("proxy_restart", "gates[].path"): "asked by GET alone, of an application",
    ("proxy_service", "gates[].service"): "is quoted in messages",
    ("proxy_service", "gates[].address"): "asked by GET alone, of an application",
    ("proxy_service", "gates[].path"): "asked by GET alone, of an application",
    ("proxy_service", "ready"): "looked up by names that are checked",
    ("resource", "data"): "in the body",
    ("resources", "secrets[].data"): "in the body",
    ("resources", "secrets[].labels"): "in the body",
    ("rollout", "hosts[]"): "the proxies of each are judged by _roll/settings.py, see below; files of hosts are named after a digest",
    ("rollout", "settings"): "numbers and shares, tests/unit/roll",
    ("rollout", "host"): "files of hosts are named after a digest",
    ("rollout", "restart"): "options of proxy_restart, which judges them",
    ("rollout", "result"): "what proxy_restart has returned",
    ("transparent_proxy", "version"): "numbers are read from it",
    **{
        ("transparent_proxy", f"{option}[]"): "what rules are made of, tests/unit/transparent/test_redirection.py"
        for option in (
            *("exclude_inbound_ports", "exclude_outbound_ports", "exclude_outbound_ports_for_uids", "exclude_inbound_ips"),
            *("exclude_outbound_ips", "vnet", "ssh_ports", "members"),
        )
    },
    ("transparent_proxy", "program[]"): "the command that the caller wants",
    ("transparent_proxy", "files[].content"): "what is in a file",
    ("zone_tokens", "valid_for"): "a duration",
    ("zone_tokens", "renew_before"): "a duration",
    ("zone_tokens", "tokens[].valid_for"): "a duration",
    ("zone_tokens", "tokens[].current"): "claims, which are compared",
}
# Paths that are judged by what is done with them, and not by a rule: tests/unit/vm/test_removal.py and test_seen.py.
JUDGED = {
    ("proxy_files", place): hostile.BY_USE
    for place in (
        *(f"{option}[].path" for option in ("directories", "files", "secrets", "links")),
        *(f"{option}[]" for option in ("absent", "below", "absent_if_empty", "absent_releases", "absent_unfinished")),
    )
} | {("proxy_info", f"{option}[]"): hostile.BY_USE for option in ("paths", "secret_paths")}
# Free dictionaries, of which no specification tells the keys, and which the modules look into themselves.
INSIDE = {
    "resources": {
        "resources[].type": naming.TYPE, "resources[].name": naming.LOOSE, "resources[].mesh": naming.LOOSE,
        "secrets[].name": naming.LOOSE, "secrets[].mesh": naming.LOOSE,
    },
}  # fmt: skip

DATAPLANE = {"type": "Dataplane", "name": "web-1", "networking": {"address": "10.0.0.1"}}
TOKEN = {"name": "web-1", "mesh": "default"}
GATE = {"proxy": "web-1", "service": "web", "port": 80}
ITEM = {"path": "/nowhere/a", "content": "x"}
# What else each module needs.
BASE = {
    "control_plane_certificate": {"directory": "/nowhere/tls", "names": ["10.0.0.1"], "subject": "kuma", "group": "kuma-cp"},
    "control_plane_info": {},
    "control_plane_service": {"version": "2.14.3"},
    "control_plane_token": {"version": "2.14.3", "path": "/nowhere/token", "localhost_is_admin": False},
    "dataplane": {"name": "web-1", "networking": {"address": "10.0.0.1"}},
    "dataplane_handover": {"dataplane": DATAPLANE},
    "dataplane_info": {"names": ["web-1"]},
    "dataplane_maintenance": {"names": ["web-1"], "state": "fenced"},
    "dataplane_tokens": {"tokens": [TOKEN]},
    "dataplanes": {"dataplanes": [DATAPLANE]},
    "fleet_plan": {"hosts": []},
    "migration_report": {},
    "proxy_files": {
        "directories": [{"path": "/nowhere"}], "files": [ITEM],
        "secrets": [{"path": "/nowhere/c", "content": "geheim-geheim"}], "links": [{"path": "/nowhere/b", "target": "a"}],
        "absent": ["/nowhere/tokens/web-1"], "below": ["/nowhere/tokens"],
    },
    "proxy_info": {"names": ["web-1"]},
    "proxy_release": {"user": "kuma-dp", "group": "kuma-dp"},
    "proxy_restart": {"proxies": [{"name": "web-1"}], "gates": [GATE]},
    "proxy_service": {"names": ["web-1"], "state": "stopped", "gates": [GATE]},
    "resource": {"definition": {"type": "MeshTimeout", "name": "a"}},
    "resource_info": {"type": "MeshTimeout"},
    "resources": {"resources": [{"type": "MeshTimeout", "name": "a", "mesh": "default"}], "secrets": [{"name": "s", "data": "eA=="}]},
    "rollout": {"state": "restart", "run": "1", "names": ["web-1"]},
    "transparent_proxy": {"files": [ITEM]},
    "zone_proxies": {"names": ["gate-1"]},
    "zone_proxy_info": {"names": ["gate-1"]},
    "zone_proxy_plan": {"hosts": []},
    "zone_tokens": {"tokens": [{"name": "gate-1", "zone": "east", "scope": ["ingress"]}]},
}  # fmt: skip
# Where an option is in the way of another one, or the other way round.
WITHOUT = {("dataplanes", "src"): ("dataplanes",), ("resource", "type"): ("definition",)}
# They talk to the control plane, and say how often.
ASKS = {module for module in MODULES if hasattr(importlib.import_module(f"{PLUGINS}.modules.{module}"), "SPEC")}


def described(module):
    """``(options, rules)`` as the module, or the action that stands for it, tells Ansible and the frame of modules."""
    found = importlib.import_module(f"{PLUGINS}.modules.{module}")
    if not hasattr(found, "main"):
        action = importlib.import_module(f"{PLUGINS}.action.{module}")
        if module == "rollout":
            return {**api.api_argument_spec(), **action.ARGUMENTS}, action.NAMES
        return getattr(action, "ARGUMENTS", action.ActionModule.__dict__.get("ARGUMENTS", {})), {}
    if module in ASKS:
        return found.SPEC.argument_spec(), {**api.API_NAMES, **found.SPEC.names}
    told = []
    patch = pytest.MonkeyPatch()
    patch.setattr(found, "run", lambda _main, options, names=None: told.append((options, names)))
    try:
        found.main()
    finally:
        patch.undo()
    ((options, rules),) = told
    return options, rules if rules is not None else getattr(found, "NAMES", {})


def places(options, prefix=""):
    """Where a module takes what can be a name or a path: ``names[]``, ``tokens[].mesh``. Numbers, truths and choices cannot."""
    for key, option in options.items():
        place, inner = prefix + key + ("[]" if option["type"] == "list" else ""), option.get("options")
        if inner:
            yield from places(inner, place + ".")
        elif option.get("elements", option["type"]) not in ("bool", "int", "float") and not option.get("choices"):
            yield place


def judged(module):
    """``{place: rule}`` of a module, whoever judges."""
    own = {place: rule for (name, place), rule in JUDGED.items() if name == module}
    return {**described(module)[1], **INSIDE.get(module, {}), **own}


TABLE = [(module, place, rule) for module in MODULES for place, rule in judged(module).items()]
IDS = [f"{module}-{place}" for module, place, _rule in TABLE]


def with_value(module, place, value):
    """Arguments of a module with another value at ``place``, in the first item of lists."""
    result = json.loads(json.dumps(BASE[module]))
    for other in WITHOUT.get((module, place), ()):
        result.pop(other)
    at, keys = result, place.replace("[]", ".0").split(".")
    for key, following in itertools.pairwise(keys):
        key = int(key) if key == "0" else key
        if key != 0 and key not in at:
            at[key] = [None] if following == "0" else {}
        at = at[key]
    at[0 if keys[-1] == "0" else keys[-1]] = value
    return result


# -- nothing is forgotten


@pytest.mark.parametrize("module", MODULES)
def test_every_option_of_every_module_is_judged_or_is_known_to_be_free(module):
    options, _rules = described(module)
    known = judged(module)
    found = list(places(options))
    free = {place for place in found if place in FREE or (module, place) in FREE_OF}
    # Of a free dictionary some keys are judged.
    beyond = {place for place in found if place in known or any(other.startswith(place + ".") for other in known)}
    assert [place for place in found if place not in free | beyond] == []
    assert [place for place in free if place in known] == [], "it is judged, and free as well"


def test_nothing_is_said_of_options_that_there_are_not():
    there = {(module, place) for module in MODULES for place in places(described(module)[0])}
    assert set(FREE_OF) | set(JUDGED) <= there
    assert set(FREE) <= {place for _module, place in there}
    heads = {(module, place.replace("[]", "").split(".")[0]) for module, place in there}
    assert [entry for entry in TABLE if (entry[0], entry[1].replace("[]", "").split(".")[0]) not in heads] == []


def test_the_table_has_what_every_module_needs():
    assert {module for module, _place, _rule in TABLE} == set(BASE)
    assert len(TABLE) >= 80
    # Of the steps of roles nothing is told but which role and which step.
    assert {module for module in MODULES if module not in BASE} >= {"fleet_join", "fleet_leave", "fleet_look", "fleet_remove"}


def test_an_option_that_is_new_is_noticed():
    options = {"release_dir": {"type": "path"}, "count": {"type": "int"}, "kind": {"type": "str", "choices": ["a"]}}
    nested = {"items": {"type": "list", "elements": "dict", "options": {"name": {"type": "str"}}}, "any": {"type": "dict"}}
    assert list(places({**options, **nested})) == ["release_dir", "items[].name", "any"]


# -- nothing is done


@pytest.fixture
def closed(monkeypatch, serve):
    """A control plane that is never asked, and a VM on which no command is run."""

    def refuse(*arguments, **_named):
        raise AssertionError(f"a command was run: {arguments[1:]}")

    monkeypatch.setattr(basic.AnsibleModule, "run_command", refuse)
    server = serve(answer_json({}))
    yield server
    assert server.requests == []


def roll(directory, **options):
    """The result of the action that rolls."""
    task = types.SimpleNamespace(args={"run_dir": str(directory), **options}, check_mode=False, async_val=0)
    task.action = "meshfleet.kuma.rollout"
    action = rollout.ActionModule(task, types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None)), None, None, None, None)
    return action.run(task_vars={"inventory_hostname": "web-1"})


def result_of(module, arguments, url):
    asked = {"url": url, "retries": 0}
    if module == "rollout":
        return roll("/nowhere/rolls", **{**asked, **arguments})
    return module_runner.run(module, {**(asked if module in ASKS else {}), **arguments})


def assert_refused(module, place, rule, value, result):
    assert result.get("failed"), value
    if rule == hostile.BY_USE:
        return
    # One form for all: "resources[0]: name is" and "tokens[0].name: is".
    message = result["msg"].replace(": is ", " is ").replace("]: ", "].")
    # What stands in the place of a file of the client may be a key.
    told = [naming.shown(value), *(["'********'"] if place in api.API_NAMES else [])]
    said = [f"{place.replace('[]', '[0]')} is {shown}, expected {naming.expected(rule)}" for shown in told]
    assert any(text in message for text in said), value
    if module in ASKS:
        assert result["requests"] == 0
        assert result.get("problems") or result["failure"]["kind"] == "invalid"


@pytest.mark.parametrize(("module", "place", "rule"), TABLE, ids=IDS)
def test_whatever_is_no_name_is_refused_before_anything(closed, module, place, rule):
    for value in hostile.fixed(rule):
        if (module, place, value) == ("rollout", "run", ""):
            continue  # nothing was begun
        with hostile.untouched():
            result = result_of(module, with_value(module, place, value), closed.url)
        assert_refused(module, place, rule, value, result)


@given(st.data())
def test_whatever_else_is_none_is_refused_as_well(data):
    module, place, rule = data.draw(st.sampled_from(TABLE))
    value = data.draw(hostile.values(rule))
    if (module, place, value) == ("rollout", "run", ""):
        return
    with hostile.untouched():
        result = result_of(module, with_value(module, place, value), "http://127.0.0.1:9")
    assert_refused(module, place, rule, value, result)


@pytest.mark.parametrize(("module", "place", "rule"), [entry for entry in TABLE if "[]" in entry[1] and entry[:2] not in JUDGED])
def test_all_faults_are_told_at_once(closed, module, place, rule):
    head = place.split("[]")[0]
    one, other = hostile.fixed(rule)[0], hostile.fixed(rule)[3]
    arguments = with_value(module, place, one)
    arguments[head] = [*arguments[head], *with_value(module, place, other)[head]]
    message = result_of(module, arguments, closed.url)["msg"].replace(": is ", " is ").replace("]: ", "].")
    assert f"{place.replace('[]', '[0]')} is {naming.shown(one)}" in message
    assert f"{place.replace('[]', '[1]')} is {naming.shown(other)}" in message


def test_documents_of_files_are_checked_too(closed, tmp_path):
    (tmp_path / "a.yml").write_text("type: Mesh\nname: ..\n---\ntype: MeshTimeout\nname: a\nmesh: x/y\n---\ntype: 5\n")
    result = result_of("resources", {"path": str(tmp_path), "state": "absent"}, closed.url)
    assert result["problems"] == [
        f"a.yml, line 1: name is '..', expected {naming.EXPECTED_LOOSE}",
        f"a.yml, line 4: mesh is 'x/y', expected {naming.EXPECTED_LOOSE}",
    ]


def test_a_dataplane_and_a_mesh_of_another_path_are_not_deleted(closed):
    for arguments in ({"name": ".."}, {"name": "a", "mesh": ".."}):
        result = result_of("dataplane", {"state": "absent", **arguments}, closed.url)
        assert result["requests"] == 0
        assert f"{'mesh' if 'mesh' in arguments else 'name'}: is '..'" in result["msg"]


# -- rolls


@pytest.mark.parametrize("value", hostile.PARTS)
def test_a_roll_joins_nothing_else_to_its_directory(tmp_path, value):
    for place, options in (
        ("mesh", {"state": "start", "hosts": [], "mesh": value}),
        *(("run", {"state": state, "run": value}) for state in ("admit", "finish", "status", "abort") if value),
    ):
        result = roll(tmp_path / "rolls", url="http://127.0.0.1:9", retries=0, **options)
        assert result["failed"]
        assert f"{place}: is {naming.shown(value)}, expected" in result["msg"]
        assert result["failure"]["kind"] == "invalid"
    assert list(tmp_path.iterdir()) == []


@given(hostile.values(naming.PROXY).filter(bool))
def test_a_roll_takes_no_other_names_of_proxies(value):
    hosts = [{"host": "a", "proxies": [{"name": value}]}, {"host": "b", "proxies": [{"name": "a/b"}]}]
    with hostile.untouched():
        result = roll("/nowhere/rolls", url="http://127.0.0.1:9", retries=0, state="start", hosts=hosts)
    assert f"hosts[0] (a): the name of a proxy is {naming.shown(value)}" in result["msg"]
    if value != "a/b":
        assert "hosts[1] (b): the name of a proxy is 'a/b'" in result["msg"]
