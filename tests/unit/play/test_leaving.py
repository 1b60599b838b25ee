# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Leaving, against a stand-in control plane: callers stop choosing a proxy before it stops, and its Dataplane goes."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status
from ansible_collections.meshfleet.kuma.plugins.module_utils._traffic import maintenance
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import leaving

numbers = itertools.count(1)


@pytest.fixture
def client(control_plane, connect):
    return connect(control_plane.https_url, token=control_plane.token, ca_path=control_plane.ca_file)


@pytest.fixture
def register(client):
    names = []

    def one(inbound=True):
        number = next(numbers)
        name = f"leaving-{number}"
        networking = {"address": f"10.45.0.{number}"}
        if inbound:
            networking["inbound"] = [{"port": 8080, "servicePort": 18080, "tags": {"kuma.io/service": f"leaving-{number}"}}]
        else:
            networking["gateway"] = {"type": "DELEGATED", "tags": {"kuma.io/service": f"leaving-{number}"}}
        client.put(f"/meshes/default/dataplanes/{name}", {"type": "Dataplane", "mesh": "default", "name": name, "networking": networking})
        names.append(name)
        return name

    yield one
    for name in names:
        with contextlib.suppress(NotFound):
            client.delete(f"/meshes/default/dataplanes/{name}")


def held(client, name):
    return client.get(f"/meshes/default/dataplanes/{name}").body


def leave(client, *names, check=False):
    return leaving.MeshLeave(client, "default", names, check)


def test_a_proxy_that_is_called_is_fenced_before_it_stops(client, register):
    name, gateway = register(), register(inbound=False)
    leave(client, name, gateway, "leaving-of-nobody").withdraw()
    assert status.fenced(client.get(f"/meshes/default/dataplanes/{name}/_overview").body)
    assert "inbound" not in held(client, gateway)["networking"]


@pytest.mark.parametrize("names", [[], ["leaving-of-nobody"]])
def test_who_left_before_needs_nothing(client, names, monkeypatch):
    monkeypatch.setattr(maintenance.Maintenance, "apply", lambda *_arguments: pytest.fail("nobody is to be fenced"))
    assert leave(client, *names).withdraw() == []


def test_dataplanes_are_deleted_and_those_that_were_gone_are_not_counted(client, register):
    name, stays = register(), register()
    deleted, diff = leave(client, name, "leaving-of-nobody").delete([])
    assert (deleted, len(diff)) == ([name], 1)
    with pytest.raises(NotFound):
        held(client, name)
    assert held(client, stays)["name"] == stays
    assert leave(client, name).delete([]) == ([], [])


def test_a_check_deletes_and_fences_nothing(client, register):
    name = register()
    before = held(client, name)
    leave(client, name, check=True).withdraw()
    assert leave(client, name, check=True).delete([name])[0] == [name]
    assert held(client, name) == before
