# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same tasks in the controller's process and, with a Python that somebody chose, in processes of their own.

What comes out is the same, what is sent to the control plane is the same, and no secret is shown.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import sys

import pytest
import requests
import yaml

from tests.unit import http_server

HOSTS = ("here", "apart")
SECRET = base64.b64encode(b"correct horse battery staple").decode()
PASSED_ON = ("Authorization", "Content-Type", "Accept")


def dataplane(name, address, **fields):
    inbound = {"port": 8080, "servicePort": 18080, "serviceAddress": "127.0.0.1", "tags": {"kuma.io/service": "web"}, **fields}
    return {"name": name, "networking": {"address": address, "inbound": [inbound]}}


@pytest.fixture(scope="module")
def counted(control_plane):
    """Before the control plane, and knows the requests that came."""

    def forward(request):
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        answer = requests.request(
            request.method, control_plane.url + request.target, headers=headers, data=request.body or None, timeout=30
        )
        return http_server.Answer(answer.status_code, answer.content, answer.headers.get("Content-Type"))

    with contextlib.closing(http_server.Server(forward)) as server:
        yield server


def tasks(token):
    """What is done to the Dataplanes of a host, and what each task returns; the third fails with a token that stands in it."""
    own = "{{ inventory_hostname }}"
    changed = dataplane(f"{own}-1", "10.9.8.1", servicePort=18081)
    mistake = {"token": token, "url": "http://127.0.0.1:9", "retries": 0, "dataplanes": [], "owner": token}
    return [
        ("checked", "dataplanes", {"src": f"{own}.yml"}, {"check_mode": True}),
        ("first", "dataplanes", {"src": f"{own}.yml"}, {}),
        ("again", "dataplanes", {"src": f"{own}.yml"}, {}),
        ("changed", "dataplanes", {"dataplanes": [changed], "owner": own}, {}),
        ("purged", "dataplanes", {"dataplanes": [changed], "owner": own, "purge": True}, {"check_mode": True}),
        ("unreachable", "dataplanes", mistake, {"ignore_errors": True}),
        ("refused", "dataplanes", {"dataplanes": [{"name": ".."}]}, {"ignore_errors": True}),
        ("misspelt", "dataplanes", {"dataplane": [], "token": token}, {"ignore_errors": True}),
        ("read", "dataplane_info", {"names": [f"{own}-1", f"{own}-3"]}, {}),
        ("secret", "resource", {"type": "Secret", "name": f"{own}-s", "data": SECRET}, {}),
        ("secrets", "resources", {"mesh": "default", "secrets": [{"name": f"{own}-s", "data": SECRET}]}, {}),
        ("tokens", "dataplane_tokens", {"tokens": [{"name": f"{own}-1"}]}, {"check_mode": True}),
        ("gone", "dataplanes", {"src": f"{own}.yml", "state": "absent"}, {}),
    ]


@pytest.fixture(scope="module")
def ran(ansible_playbook, control_plane, counted, tmp_path_factory):
    """What a run said, and ``{host: {task: result}}``."""
    directory = tmp_path_factory.mktemp("in-process")
    for host in HOSTS:
        both = [dataplane(f"{host}-{number}", f"10.9.8.{number}") for number in (1, 2)]
        (directory / f"{host}.yml").write_text(yaml.safe_dump(both))
    python = directory / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    inventory = {
        "all": {"hosts": {"here": {}, "apart": {"ansible_python_interpreter": str(python)}}, "vars": {"ansible_connection": "local"}}
    }
    (directory / "inventory.yml").write_text(yaml.safe_dump(inventory))
    done = tasks(control_plane.token)
    results = "{{ dict([" + ", ".join(f"['{name}', {name}]" for name, *_rest in done) + "]) | to_json }}"
    play = {
        "hosts": "all",
        "gather_facts": False,
        "module_defaults": {"group/meshfleet.kuma.api": {"url": counted.url, "token": control_plane.token}},
        "tasks": [
            *({f"meshfleet.kuma.{module}": options, "register": name, **others} for name, module, options, others in done),
            {"ansible.builtin.debug": {"msg": f"RESULTS {results}"}},
        ],
    }
    (directory / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    run = ansible_playbook("-i", directory / "inventory.yml", directory / "play.yml", "-vvv", "--diff")
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    found = re.findall(r'^ok: \[(\w+)\] => \{\s*"msg": ("RESULTS .*")', run.stdout, re.MULTILINE)
    assert len(found) == len(HOSTS), said
    return said, {host: json.loads(json.loads(text).removeprefix("RESULTS ")) for host, text in found}


def test_one_host_runs_them_in_the_controller_and_the_other_does_not(ran, control_plane):
    started = re.findall(r"Using module file \S+/plugins/modules/(\w+)\.py", ran[0])
    assert sorted(started) == sorted(module for _name, module, *_rest in tasks(control_plane.token))


def test_no_secret_is_shown(ran, control_plane):
    said, results = ran
    assert control_plane.token not in said
    assert SECRET not in said
    assert SECRET.rstrip("=") not in said
    assert control_plane.token not in json.dumps(results)
    shown = said.count('"token": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"')
    misspelt = said.count('"token": "(not shown)"')
    assert misspelt == len(HOSTS), "a secret may be under a wrong name"
    assert shown + misspelt == len(HOSTS) * len(tasks("")), "the options of each are shown, and the token is not"


def test_defaults_of_the_group_reach_it(ran, counted):
    """No task names the address of the control plane but those that are to miss it."""
    requests_of = {host: sum(result.get("requests", 0) for result in ran[1][host].values()) for host in HOSTS}
    assert requests_of["here"] == requests_of["apart"]
    assert len(counted.requests) == sum(requests_of.values()) - len(HOSTS), "one for each host went where nobody listens"


def of(host, result):
    """A result without the name of its host, and without times."""
    result = json.loads(json.dumps(result).replace(f"{host}-", "host-").replace(f'"{host}"', '"host"'))
    for item in [result.get("resource", {}), *(item["dataplane"] for item in result.get("dataplanes", []))]:
        for name in ("creationTime", "modificationTime"):
            item.pop(name, None)
    return result


@pytest.mark.parametrize("name", [name for name, *_rest in tasks("")])
def test_results_are_the_same(ran, name):
    here, apart = (of(host, ran[1][host][name]) for host in HOSTS)
    assert here == apart


@pytest.mark.parametrize("host", HOSTS)
def test_nothing_is_written_twice_nor_in_check_mode(ran, counted, host):
    dataplanes, secrets = "/meshes/default/dataplanes", "/meshes/default/secrets"
    sent = [
        (request.method, request.path) for request in counted.requests if request.method != "GET" and host in request.path.split("/")[-1]
    ]
    both = {f"{dataplanes}/{host}-{number}" for number in (1, 2)}
    assert set(sent[:2]) == {("PUT", path) for path in both}
    assert sent[2:4] == [("PUT", f"{dataplanes}/{host}-1"), ("PUT", f"{secrets}/{host}-s")]
    assert set(sent[4:]) == {("DELETE", path) for path in both}
    assert len(sent) == 6
    actions = {name: [item["action"] for item in ran[1][host][name].get("results", [])] for name in ("checked", "first", "again", "gone")}
    assert actions == {"checked": ["created"] * 2, "first": ["created"] * 2, "again": ["unchanged"] * 2, "gone": ["deleted"] * 2}
