# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module returns the same in a process of its own and in the controller's, whatever it is asked for."""

from __future__ import annotations

import base64
import json

import pytest

from tests.unit import action_runner, module_runner, return_docs

SECRET = base64.b64encode(b"correct horse battery staple").decode()
INBOUND = {"port": 8080, "servicePort": 18080, "serviceAddress": "127.0.0.1", "tags": {"kuma.io/service": "web"}}


def dataplane(name, **fields):
    return {"name": name, "networking": {"address": "10.9.0.1", "inbound": [{**INBOUND, **fields}]}}


def both(name, options, **mode):
    """What the module and its action return for the same options, without what differs from call to call."""
    return [steady(runner.run(name, json.loads(json.dumps(options)), **mode)) for runner in (module_runner, action_runner)]


def steady(result):
    """Without times, without tokens, and with warnings as text."""
    varying = ("creationTime", "modificationTime", "expires", "seconds", "tokens")
    if isinstance(result, dict):
        if "warnings" in result:
            result = dict(result, warnings=[text if isinstance(text, str) else text["event"]["msg"] for text in result["warnings"]])
        return {key: steady(value) for key, value in result.items() if key not in varying}
    return [steady(item) for item in result] if isinstance(result, list) else result


READS = [
    ("control_plane_info", {"mesh": "default"}),
    ("control_plane_info", {"mesh": ".."}),
    ("control_plane_info", {"timeout": 0}),
    ("control_plane_info", {"token": "not.a.token", "retries": 0}),
    ("control_plane_info", {"url": "nonsense"}),
    ("control_plane_info", {"url": "http://127.0.0.1:9", "retries": 0}),
    ("dataplane_info", {"names": ["same-none"]}),
    ("dataplane_info", {"names": ["same-none"], "wait": "ready", "wait_timeout": 0}),
    ("dataplane_info", {"labels": {"a": 1}, "validate_certs": "no"}),
    ("dataplane_maintenance", {"state": "fenced", "names": ["same-none"]}),
    ("migration_report", {"hosts": [{"host": "web-1"}]}),
    ("migration_report", {"mesh": "nowhere"}),
    ("resource_info", {"type": "Mesh"}),
    ("resource_info", {"type": "MeshNonsense"}),
    ("zone_proxy_info", {}),
    ("zone_proxies", {"names": ["same-none"]}),
]
PLANS = [
    ("dataplane", {"name": "same-1", "networking": dataplane("same-1")["networking"]}),
    ("dataplane", {"name": "same-1", "state": "absent"}),
    ("dataplane_handover", {"dataplane": dataplane("same-1"), "wait_timeout": "1"}),
    ("dataplane_tokens", {"tokens": [{"name": "same-1", "workload": "web"}]}),
    ("dataplane_tokens", {"tokens": [{"name": "same-1"}, {"name": "same-1"}], "valid_for": "soon"}),
    ("dataplanes", {"dataplanes": [dataplane("same-1"), dataplane("same-2")], "owner": "same"}),
    ("dataplanes", {"dataplanes": [dataplane("same-1", servisePort=1), dataplane("same-2")]}),
    ("dataplanes", {"dataplanes": [dataplane("A"), {"mesh": "/"}]}),
    ("dataplanes", {"dataplanes": ['{"name": "same-1"}', "name=same-2"], "state": "absent"}),
    ("dataplanes", {"purge": True}),
    ("resource", {"definition": {"type": "Mesh", "name": "same"}}),
    ("resource", {"type": "Secret", "name": "same", "data": SECRET}),
    ("resource", {"definition": {"type": "Secret", "name": "same", "data": SECRET}}),
    ("resources", {"resources": [{"type": "Secret", "name": "same", "data": SECRET}]}),
    ("resources", {"mesh": "default", "secrets": [{"name": "same", "data": SECRET}]}),
    ("zone_tokens", {"tokens": [{"name": "gate-1", "zone": "default", "scope": ["ingress"]}]}),
]
# Ansible refuses these by what the module says of its options.
REFUSED = [
    ("dataplane_info", {"wait": "forever"}),
    ("dataplane_info", {"wait_timeout": "long"}),
    ("dataplane_maintenance", {"state": "fenced", "names": ["a"], "labels": {"a": "b"}}),
    ("dataplane_maintenance", {"state": "fenced"}),
    ("migration_report", {"hosts": [{"hots": "web-1"}]}),
    ("resource_info", {}),
    ("dataplane", {"name": "same-1"}),
    ("dataplane_tokens", {}),
    ("dataplanes", {"dataplanes": "text"}),
    ("dataplanes", {"dataplanes": [], "src": "x.yml"}),
    ("dataplanes", {"dataplane": []}),
    ("resources", {"mesh": "default", "secrets": [{"name": "same", "data": SECRET, "type": "Password"}]}),
    ("resources", {}),
    ("zone_tokens", {"tokens": [{"name": "gate-1", "zone": "default", "scope": ["sideways"]}]}),
]


@pytest.mark.parametrize(("name", "options"), [*READS, *PLANS])
def test_in_check_mode_with_differences(control_plane, name, options):
    module, action = both(name, control_plane.options(**options), check=True, diff=True)
    assert action == module
    assert control_plane.token not in json.dumps(action)
    assert SECRET not in json.dumps(action)


@pytest.mark.parametrize(("name", "options"), READS)
def test_what_is_read(control_plane, name, options):
    module, action = both(name, control_plane.options(**options))
    assert action == module
    assert "diff" not in action


@pytest.mark.parametrize(("name", "options"), REFUSED)
def test_options_that_are_refused(monkeypatch, name, options):
    monkeypatch.setattr(return_docs, "validate", lambda result, module: None)  # such results have a message alone
    module, action = both(name, {"url": "http://127.0.0.1:9", "token": "a secret", **options})
    assert action == module
    assert action["failed"]
    assert "a secret" not in json.dumps(action)
    module, action = both(name, options)
    assert action == module
    assert action["msg"].startswith(("missing required arguments: ", "parameters are mutually exclusive: ", "Unsupported parameters for "))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resources", {"secrets": [{"name": "a", "dat": SECRET}]}),
        ("resources", {"secrets": [f"{SECRET}\nof several lines"]}),
        ("resource", {"type": "Secret", "name": "a", "value": f"{SECRET}\nof several lines"}),
    ],
)
def test_a_secret_under_a_wrong_name_is_shown_by_neither(monkeypatch, control_plane, name, options):
    monkeypatch.setattr(return_docs, "validate", lambda result, module: None)
    module, action = both(name, control_plane.options(**options))
    assert action == module
    assert action["failed"]
    assert SECRET not in json.dumps(action)


def test_what_the_client_warns_of_is_the_same(control_plane):
    module, action = both("control_plane_info", control_plane.options(validate_certs=False))
    assert action == module
    assert "not verified" in action["warnings"][0]


def test_options_come_from_the_environment(control_plane, monkeypatch):
    for name, value in (
        ("KUMA_API_URL", control_plane.https_url),
        ("KUMA_API_TOKEN", control_plane.token),
        ("KUMA_CA", control_plane.ca_file),
    ):
        monkeypatch.setenv(name, value)
    module, action = both("control_plane_info", {})
    assert action == module
    assert action["who"]["admin"] is True
    assert control_plane.token not in json.dumps(action), "also the one that nobody gave as an option is a secret"


def test_what_is_written(control_plane):
    """Each leaves what it found, so that the other finds the same."""
    whole = [("dataplanes", {"dataplanes": [dataplane("same-w1"), dataplane("same-w2", port=0)], "owner": "same-w"})]
    whole += [("dataplanes", {"dataplanes": [dataplane("same-w1", servicePort=1)], "owner": "same-w", "purge": True})] * 2
    whole += [("dataplanes", {"dataplanes": [{"name": "same-w1"}], "state": "absent"})] * 2
    whole += [("resource", {"definition": {"type": "Mesh", "name": "same-w"}})] * 2
    whole += [("resources", {"mesh": "same-w", "secrets": [{"name": "same", "data": data}]}) for data in (SECRET, SECRET[:-8] + "AAAAAAA=")]
    whole += [("dataplane_tokens", {"tokens": [{"name": "same-w1"}, {"name": "same-w2", "mesh": "nope"}]})]
    whole += [("resource", {"type": "Secret", "mesh": "same-w", "name": "same", "state": "absent"})]
    whole += [("resource", {"type": "Mesh", "name": "same-w", "state": "absent"})]
    module, action = (
        [steady(runner.run(name, control_plane.options(**options), diff=True)) for name, options in whole]
        for runner in (module_runner, action_runner)
    )
    assert action == module
    assert {item["action"] for result in action for item in result.get("results", [])} >= {
        "created",
        "updated",
        "unchanged",
        "deleted",
        "failed",
    }
    assert SECRET not in json.dumps(action)
