# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that rolls a mesh of a stand-in control plane, with connected proxies."""

from __future__ import annotations

import contextlib
import os

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import finish, retiring, run, start
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import host as roll_host
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import settings as roll_settings
from tests.unit.roll.mesh import Mesh, restarted

QUICK = {"soak": 0, "propagation_delay": 0, "gate_timeout": 5, "pause_timeout": 5}


@pytest.fixture
def make_mesh(control_plane):
    with contextlib.ExitStack() as stack:

        def make(**services):
            mesh = Mesh(control_plane, {name.replace("_", "-"): service for name, service in services.items()})
            stack.callback(mesh.close)
            return mesh

        yield make


@pytest.fixture
def _short_waits(monkeypatch):
    monkeypatch.setattr(run, "POLL", 0.01)
    monkeypatch.setattr(run, "LEAST_AGE", 0.02)
    monkeypatch.setattr(finish, "COVERS_LEAVE", 0.2)
    monkeypatch.setattr(roll_host, "RECOVERY", 0.2)
    monkeypatch.setattr(roll_host, "IN_TRAFFIC", 1.0)
    monkeypatch.setattr(retiring.revocations, "MOMENT", 0.0)


class Rolling:
    """One controller that rolls a mesh."""

    def __init__(self, mesh, directory, **given):
        self.mesh, self.directory = mesh, str(directory)
        self.given = {**QUICK, **given}
        self.warnings = []

    def hosts(self, *names, cover=True, pending=("version",), target="2.14.3", **more):
        proxy = {"possible": cover, "reasons": [] if cover else ["no reuse_port"], "pending": list(pending), "version": "2.14.3", **more}
        return [
            {
                "host": name,
                "reachable": True,
                "target_version": target,
                "proxies": [{"name": name, "claims": self.mesh.claims(name), **proxy}],
            }
            for name in names
        ]

    def start(self, hosts, kind="restart", check=False, resume=True, pid=None):
        settings = roll_settings.read(self.given)
        directory = os.path.join(self.directory, self.mesh.name)
        wish = start.Wish(self.mesh.name, kind, hosts, settings, directory, resume, check, pid or os.getppid())
        starter = start.Starter(self.mesh.client(), wish)
        result = starter.start()
        self.warnings = starter.warnings
        self.run = result["run"]
        return result

    def roll(self):
        return run.open_run(self.directory, self.run, self.mesh.client())

    def host(self, name):
        return roll_host.Host(self.roll(), name)

    def admit(self, name):
        return self.host(name).admit()

    def covered(self, name, longest=600.0):
        """An admitted host: its proxies as proxy_restart gets them, covers with Dataplane and token."""
        answer = self.admit(name)
        assert answer.outcome == "admitted", answer
        assert all(proxy.keys() == {"name", "strategy", "reasons"} for proxy in answer.proxies), "a secret is in a result"
        host = self.host(name)
        return [{**wish, "cover": host.cover(wish["name"], longest)} for wish in host.wishes([])]

    def complete(self, name, result=None):
        return self.host(name).complete(restarted(name) if result is None else result)

    def finish(self):
        return finish.Finish(self.roll()).finish()

    def record(self, name):
        return self.roll().journal.record(name)

    def through(self, name):
        """A host on the whole way, all well."""
        answer = self.admit(name)
        assert answer.outcome == "admitted", answer
        self.mesh.restart(name)
        answer = self.complete(name)
        assert answer.outcome == "done", answer


@pytest.fixture
def rolling(make_mesh, tmp_path, _short_waits):
    def make(mesh=None, **given):
        return Rolling(mesh or make_mesh(web_1="web", web_2="web", web_3="web", web_4="web"), tmp_path, **given)

    return make
