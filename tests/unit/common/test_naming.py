# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that are paths: every option of every module that holds one refuses what is none, before a request and before a touch of the VM."""

from __future__ import annotations

import functools
import itertools
import json
import os
import pathlib
import subprocess
import sys
import types

import pytest
from ansible.module_utils import basic
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.action import rollout
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.reader import Reader
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import host, proxy
from tests.unit import module_runner, parsed
from tests.unit.http_server import answer_json

ROOT = pathlib.Path(__file__).parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py") if path.stem != "__init__")
HOSTILE = [
    ".",
    "..",
    "",
    "a/b",
    "/",
    "../..",
    "-x",
    "x" * 300,
    "Web-1",
    "a b",
    "web-1\n",
    "\n",
    "a\\b",
    "%2e%2e",
    "a%2fb",
    ".web",
    "wéb",
    "$(id)",
    "*",
]

# An option with one of these keys becomes part of a URL, of a path or of the name of a unit.
KEYS = ("name", "names", "mesh", "zone", "proxy", "run")
# Options that are free dictionaries, of which the documentation cannot tell the keys.
INSIDE = {
    "dataplanes": ["dataplanes[].name", "dataplanes[].mesh"],
    "dataplane_handover": ["dataplane.name", "dataplane.mesh"],
    "resource": ["definition.name", "definition.mesh"],
    "resources": ["resources[].name", "resources[].mesh"],
}
# What is no name of anything in the mesh.
OTHERS = {("control_plane_certificate", "names[]"): "what a certificate is for, with wildcards and addresses"}
# Of an action, which runs on the controller and is tested below.
ACTIONS = ("rollout", "inventory_check")

DATAPLANE = {"type": "Dataplane", "name": "web-1", "networking": {"address": "10.0.0.1"}}
TOKEN = {"name": "web-1", "mesh": "default"}
GATE = {"proxy": "web-1", "service": "web", "port": 80}
# What else each module needs.
BASE = {
    "control_plane_info": {},
    "dataplane": {"name": "web-1", "networking": {"address": "10.0.0.1"}},
    "dataplane_handover": {"dataplane": DATAPLANE},
    "dataplane_info": {"names": ["web-1"]},
    "dataplane_maintenance": {"names": ["web-1"], "state": "fenced"},
    "dataplane_tokens": {"tokens": [TOKEN]},
    "dataplanes": {"dataplanes": [DATAPLANE]},
    "fleet_plan": {"hosts": []},
    "migration_report": {},
    "resource": {"definition": {"type": "MeshTimeout", "name": "a"}},
    "resource_info": {"type": "MeshTimeout"},
    "resources": {"resources": [{"type": "MeshTimeout", "name": "a", "mesh": "default"}], "secrets": [{"name": "s", "data": "eA=="}]},
    "zone_proxies": {"names": ["gate-1"]},
    "zone_proxy_info": {"names": ["gate-1"]},
    "zone_proxy_plan": {"hosts": []},
    "zone_tokens": {"tokens": [{"name": "gate-1", "zone": "east", "scope": ["ingress"]}]},
    "proxy_info": {"names": ["web-1"]},
    "proxy_restart": {"proxies": [{"name": "web-1"}], "gates": [GATE]},
    "proxy_service": {"names": ["web-1"], "state": "stopped", "gates": [GATE]},
}


@functools.cache
def documented(module):
    source = (ROOT / f"plugins/modules/{module}.py").read_text()
    return parsed.text(source.split('DOCUMENTATION = r"""', 1)[1].split('"""', 1)[0])


def places(options, prefix=""):
    """Where a module takes names, by its documentation: ``names[]``, ``tokens[].mesh``."""
    for key, option in (options or {}).items():
        place = prefix + key + ("[]" if option["type"] == "list" else "")
        if option.get("suboptions"):
            yield from places(option["suboptions"], place + ".")
        elif key in KEYS:
            yield place


def all_places():
    for module in MODULES:
        if module not in ACTIONS:
            found = [*places(documented(module).get("options")), *INSIDE.get(module, [])]
            yield from ((module, place) for place in found if (module, place) not in OTHERS)


TABLE = list(all_places())


def with_value(arguments, place, value):
    """``arguments`` with another value at ``place``, in the first item of lists."""
    result = json.loads(json.dumps(arguments))
    at, keys = result, place.replace("[]", ".0").split(".")
    for key, following in itertools.pairwise(keys):
        key = int(key) if key == "0" else key
        if key != 0 and key not in at:
            at[key] = [None] if following == "0" else {}
        at = at[key]
    at[0 if keys[-1] == "0" else keys[-1]] = value
    return result


def test_the_table_knows_every_module_that_takes_names():
    assert {module for module, _place in TABLE} == set(BASE)
    assert len(TABLE) >= 40
    # Each is tested below.
    assert {module: sorted(places(documented(module)["options"])) for module in ACTIONS} == {
        "rollout": ["mesh", "names[]", "run"],
        "inventory_check": [],
    }


@pytest.fixture
def closed(monkeypatch, serve):
    """A control plane that is never asked, and a VM on which no command is run."""

    def refuse(*arguments, **_named):
        raise AssertionError(f"a command was run: {arguments[1:]}")

    monkeypatch.setattr(basic.AnsibleModule, "run_command", refuse)
    monkeypatch.setattr(files, "make_directories", refuse)
    server = serve(answer_json({}))
    yield server
    assert server.requests == []


def result_of(module, arguments, server):
    api = {"url": server.url, "retries": 0} if "meshfleet.kuma.api" in str(documented(module)["extends_documentation_fragment"]) else {}
    return module_runner.run(module, {**api, **arguments}), bool(api)


@pytest.mark.parametrize(("module", "place"), TABLE, ids=["-".join(entry) for entry in TABLE])
def test_whatever_is_no_name_is_refused_before_anything(closed, module, place):
    for value in HOSTILE:
        result, api = result_of(module, with_value(BASE[module], place, value), closed)
        assert result.get("failed"), (place, value)
        # One form for all: "resources[0]: name is" and "tokens[0].name: is".
        message = result["msg"].replace(": is ", " is ").replace("]: ", "].")
        assert f"{place.replace('[]', '[0]')} is {naming.shown(value)}, expected a" in message, (place, value)
        if api:
            assert result["requests"] == 0
            assert result.get("problems") or result["failure"]["kind"] == "invalid"


@pytest.mark.parametrize(("module", "place"), [entry for entry in TABLE if "[]" in entry[1]], ids=lambda value: value)
def test_all_faults_are_told_at_once(closed, module, place):
    head = place.split("[]")[0]
    arguments = with_value(BASE[module], place, "..")
    arguments[head] = [*arguments[head], *with_value(BASE[module], place, "a/b")[head]]
    result, _api = result_of(module, arguments, closed)
    message = result["msg"].replace(": is ", " is ").replace("]: ", "].")
    assert f"{place.replace('[]', '[0]')} is '..'" in message
    assert f"{place.replace('[]', '[1]')} is 'a/b'" in message


def test_types_are_checked_too(closed):
    for value in ("..", "a/b", "", "Mesh Timeout", "../Mesh"):
        for module, arguments in (
            ("resource", {"type": value, "name": "a"}),
            ("resource", {"definition": {"type": value, "name": "a"}}),
            ("resource_info", {"type": value}),
            ("resources", {"resources": [{"type": value, "name": "a"}]}),
        ):
            result, _api = result_of(module, arguments, closed)
            assert f"is {value!r}, expected the type of a resource" in result["msg"]
            assert result["requests"] == 0


def test_documents_of_files_are_checked_too(closed, tmp_path):
    (tmp_path / "a.yml").write_text("type: Mesh\nname: ..\n---\ntype: MeshTimeout\nname: a\nmesh: x/y\n---\ntype: 5\n")
    result, _api = result_of("resources", {"path": str(tmp_path), "state": "absent"}, closed)
    assert result["problems"] == [
        f"a.yml, line 1: name is '..', expected {naming.EXPECTED_LOOSE}",
        f"a.yml, line 4: mesh is 'x/y', expected {naming.EXPECTED_LOOSE}",
    ]


def test_what_is_not_given_is_not_refused():
    assert (
        naming.faults(
            {"names": None, "mesh": None, "tokens": [{"name": None}]}, {"names[]": "name", "mesh": "loose", "tokens[].name": "name"}
        )
        == []
    )
    assert naming.faults({}, {"dataplane.name": "name"}) == []
    assert naming.faults({"dataplane": "x"}, {"dataplane.name": "name"}) == []


@pytest.mark.parametrize("name", ["web-1-cover", "web-1", "a", "a.b", "1"])
def test_names_of_covers_are_reserved_in_inventories_alone(name):
    assert naming.is_name(name)
    reader = Reader("web-1", "v2")
    reader.name(name, "kuma_dp_name")
    assert bool(reader.problems) == name.endswith("-cover")


@pytest.mark.parametrize("value", HOSTILE)
def test_inventories_name_no_other_path(value):
    reader = Reader("web-1", "v2")
    reader.name(value, "kuma_dp_name")
    reader.loose_name(value, "kuma_dp_mesh")
    assert [problem.split(" is ")[0] for problem in reader.problems] == ["web-1: kuma_dp_name", "web-1: kuma_dp_mesh"]


@given(st.text(max_size=8) | st.text("ab1.-_/", max_size=8))
def test_a_name_is_one_part_of_a_path(text):
    for check in (naming.is_name, naming.is_loose_name, naming.is_type, naming.is_run):
        if check(text):
            assert os.path.normpath("/d/" + text) == "/d/" + text
            assert os.path.dirname("/d/" + text) == "/d"
            assert text.isascii()
            assert text.isprintable()


@given(st.text("ab1.-_A", max_size=6))
def test_every_name_of_a_proxy_is_one_of_a_resource(text):
    assert not naming.is_name(text) or naming.is_loose_name(text)


# -- on the VM


@pytest.mark.parametrize("value", HOSTILE)
def test_there_is_no_path_for_what_is_no_name(value, tmp_path):
    observer = proxy.Observer(str(tmp_path), str(tmp_path), host.Processes(), lambda _command: (0, "", ""))
    for make in (files.Paths, observer.paths):
        with pytest.raises(ValueError, match="the name of a proxy is"):
            make(value)


def test_files_that_no_proxy_can_have_are_not_taken_for_one(tmp_path):
    for name in ("web-1", "Notes", "-x", "a b", "..."):
        for directory, suffix in (("tokens", ""), ("env", ".env"), ("dataplanes", ".yaml")):
            (tmp_path / directory).mkdir(exist_ok=True)
            (tmp_path / directory / (name + suffix)).write_text("x")
    observer = proxy.Observer(str(tmp_path), str(tmp_path), host.Processes(), lambda _command: (0, "", ""))
    assert observer.names(["web-2"]) == ["web-1", "web-2"]


@pytest.mark.parametrize("verb", ["run", "started"])
@pytest.mark.parametrize("value", ["..", "", "a/b", "../../etc", "web-1\n"])
def test_what_restarts_a_proxy_takes_no_other_name(verb, value, tmp_path):
    script = ROOT / "roles/kuma_proxy/files/kuma_dp_restart.py"
    command = [sys.executable, str(script), verb, f"--config-dir={tmp_path}", f"--install-dir={tmp_path}", "--", value]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"the name of a proxy is {value!r}" in done.stderr
    assert list(tmp_path.iterdir()) == []


# -- rolls


def roll(directory, **options):
    """The result of the action, and the requests that it made."""
    task = types.SimpleNamespace(
        args={"url": "http://127.0.0.1:9", "retries": 0, "run_dir": str(directory), **options}, check_mode=False, async_val=0
    )
    task.action = "meshfleet.kuma.rollout"
    action = rollout.ActionModule(task, types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None)), None, None, None, None)
    return action.run(task_vars={"inventory_hostname": "web-1"})


@pytest.mark.parametrize("value", [value for value in HOSTILE if value not in ("Web-1",)])
def test_a_roll_joins_nothing_else_to_its_directory(tmp_path, value):
    given = [
        ("mesh", {"state": "start", "hosts": [], "mesh": value}),
        ("names[0]", {"state": "restart", "run": "1", "names": [value]}),
        *(("run", {"state": state, "run": value}) for state in ("admit", "finish", "status", "abort") if value),
    ]
    for place, options in given:
        result = roll(tmp_path / "rolls", **options)
        assert result["failed"]
        assert f"{place}: is {naming.shown(value)}, expected" in result["msg"]
        assert result["failure"]["kind"] == "invalid"
    assert list(tmp_path.iterdir()) == []


def test_a_roll_takes_no_other_names_of_proxies(tmp_path):
    hosts = [{"host": "a", "proxies": [{"name": ".."}]}, {"host": "b", "proxies": [{"name": "a/b"}]}]
    result = roll(tmp_path / "rolls", state="start", hosts=hosts)
    assert "hosts[0] (a): the name of a proxy is '..'" in result["msg"]
    assert "hosts[1] (b): the name of a proxy is 'a/b'" in result["msg"]
    assert list(tmp_path.iterdir()) == []
