# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dataplanes that are listed in files of the controller, wherever the task runs."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from tests.unit.action_runner import action, connection, run


def dataplane(number, **fields):
    inbound = {"port": 8080, "servicePort": 18080, "tags": {"kuma.io/service": "web"}, **fields}
    return {"name": f"src-{number}", "networking": {"address": f"10.9.6.{number}", "inbound": [inbound]}}


@pytest.fixture
def playbook(tmp_path):
    """The loader of a playbook in a directory of its own, with a list in ``files`` and one beside it."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files/list.json").write_text(json.dumps([dataplane(1), dataplane(2)]))
    (tmp_path / "list.yml").write_text(yaml.safe_dump_all([dataplane(3), [dataplane(4)]]))
    loader = DataLoader()
    loader.set_basedir(str(tmp_path))
    return loader


@pytest.mark.parametrize(
    ("src", "names"),
    [
        ("list.json", ["src-1", "src-2"]),
        ("list.yml", ["src-3", "src-4"]),
        ("files", ["src-1", "src-2"]),
        ("{tmp}/list.yml", ["src-3", "src-4"]),
    ],
)
def test_it_is_found_as_other_files_of_a_task_are(control_plane, playbook, tmp_path, src, names):
    result = run("dataplanes", control_plane.options(src=src.format(tmp=tmp_path)), check=True, loader=playbook)
    assert [(item["name"], item["action"]) for item in result["results"]] == [(name, "created") for name in names]


def test_they_come_stay_and_go(control_plane, playbook):
    options = control_plane.options(src="list.json")
    requests = {}
    for state, actions in (("present", "created"), ("present", "unchanged"), ("absent", "deleted"), ("absent", "unchanged")):
        result = run("dataplanes", dict(options, state=state), loader=playbook)
        assert {item["action"] for item in result["results"]} == {actions}
        requests[state, actions] = result["requests"]
    assert requests["present", "created"] == 1 + 1 + 2 + 1
    assert requests["present", "unchanged"] == 1 + 1


def test_what_is_wrong_is_told_with_file_and_line_and_nothing_is_asked(playbook, tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all/a.yml").write_text("- name: web-1\n- name: Web\n\n- mesh: a/b\n- name: web-1\n- web-2\n")
    (tmp_path / "all/b.yml").write_text("name: [\n")
    (tmp_path / "all/c.json").write_text('[\n{"name": 5},\n {"name": "web-1"}]')
    result = run("dataplanes", {"url": "http://127.0.0.1:9", "src": "all"}, loader=playbook)
    assert sorted(result["problems"]) == [
        "a.yml, line 2: name is 'Web', expected " + naming.EXPECTED,
        "a.yml, line 4: mesh is 'a/b', expected " + naming.EXPECTED_LOOSE,
        "a.yml, line 4: name is missing, expected the name of the Dataplane",
        "a.yml, line 5: name is 'web-1', which is at a.yml, line 1 as well, expected each name once",
        "a.yml, line 6 is a str, expected a resource with type, name and its fields",
        "b.yml cannot be parsed at line 2, column 1: did not find expected node content",
        "c.json, line 2: name is 5, expected " + naming.EXPECTED,
        "c.json, line 3: name is 'web-1', which is at a.yml, line 1 as well, expected each name once",
    ]
    assert result["msg"].startswith("Nothing was written. 8 problems were found:\n  1. a.yml, line ")
    assert (result["requests"], result["changed"]) == (0, False)


def test_one_that_is_refused_is_named_with_file_and_line(control_plane, playbook, tmp_path):
    (tmp_path / "bad.json").write_text(json.dumps([dataplane(1), dataplane(2, servisePort=1)], indent=0))
    line = (tmp_path / "bad.json").read_text().split('"name": "src-2"')[0].count("\n")
    result = run("dataplanes", control_plane.options(src="bad.json"), loader=playbook)
    assert result["msg"].startswith(f"Nothing was written. 1 failed. Dataplane src-2 (bad.json, line {line}): the Dataplane is not valid")
    assert [(item["name"], item["action"]) for item in result["results"]] == [("src-2", "failed"), ("src-1", "skipped")]
    (tmp_path / "bad.json").write_text(json.dumps([dataplane(2, port=0)]))
    result = run("dataplanes", control_plane.options(src="bad.json"), loader=playbook)
    assert result["msg"].startswith("1 failed. Dataplane src-2 (bad.json, line 1): ")


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_a_file_that_is_not_there(playbook, transport):
    made = action("dataplanes", {"url": "http://127.0.0.1:9", "src": "nowhere.yml"}, reached=connection(transport), loader=playbook)
    result = made.run(task_vars={})
    assert result["msg"].startswith(
        "Nothing was written. 1 problem was found:\n  1. src is nowhere.yml, which does not exist on the controller"
    )
    assert (result["requests"], made.started) == (0, [])


def test_elsewhere_what_is_in_the_file_is_handed_over(playbook):
    given = {"url": "http://127.0.0.1:9", "src": "list.json", "state": "absent"}
    made = action("dataplanes", given, reached=connection("ssh"), loader=playbook)
    assert made.run(task_vars={})["ran"] == "elsewhere"
    handed = {"url": "http://127.0.0.1:9", "state": "absent", "dataplanes": [dataplane(1), dataplane(2)]}
    assert made.started == [(handed, False)]
    assert made._task.args is given, "what callbacks and a retry see is what was given"


def test_a_list_beside_it_is_refused_where_the_module_runs(playbook):
    given = {"url": "http://127.0.0.1:9", "src": "list.json", "dataplanes": []}
    assert action("dataplanes", given, loader=playbook).run(task_vars={})["msg"] == "parameters are mutually exclusive: dataplanes|src"
    made = action("dataplanes", given, reached=connection("ssh"), loader=playbook)
    made.run(task_vars={})
    ((handed, _background),) = made.started
    assert {"src", "dataplanes"} <= set(handed)
