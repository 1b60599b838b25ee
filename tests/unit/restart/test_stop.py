# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A proxy that leaves is drained only where it can be stopped, and whoever waits is told when it is not."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files, stop
from ansible_collections.meshfleet.kuma.plugins.modules import proxy_service
from tests.unit.vm.test_gate import service

# Fixtures are found by their names.
__all__ = ["service"]

SAID = "systemctl stop kuma-dp@web-1.service: Operation refused"


@pytest.fixture
def drained(service, monkeypatch):
    """The module, and the proxies that were drained. They run."""
    names = []

    def stopped(vm):
        names.append(vm.paths.name)
        return 3

    monkeypatch.setattr(proxy_service.stop, "stop", stopped)
    service(state="started")
    return names


def refusing(monkeypatch, names):
    monkeypatch.setattr(proxy_service.stop, "refusing", lambda given, _run: [f"kuma-dp@{name}.service" for name in given if name in names])


def test_what_cannot_be_stopped_is_not_drained(service, drained, monkeypatch):
    refusing(monkeypatch, ["web-1"])
    for check in (False, True):
        result = service(state="stopped", drain_time="1s", check=check)
        assert result["failed"]
        assert result["msg"].startswith("kuma-dp@web-1.service: found RefuseManualStop=yes, expected a unit that can be stopped: remove it")
        assert result["msg"].endswith("No proxy was drained or stopped")
    assert drained == []
    refusing(monkeypatch, [])
    assert service(state="stopped", drain_time="1s")["results"][0]["connections_cut"] == 3
    assert drained == ["web-1"]


def test_who_refuses_is_told_by_systemd():
    asked = []

    def run(command):
        asked.append(command)
        return 0, "Id=kuma-dp@a.service\nRefuseManualStop=yes\n\nId=kuma-dp@b.service\nRefuseManualStop=no\n", ""

    assert stop.refusing(["a", "b", "c"], run) == ["kuma-dp@a.service"]
    assert stop.refusing([], run) == []
    assert len(asked) == 1


def test_a_proxy_that_still_runs_is_told_with_what_to_do(service, drained, monkeypatch):
    def fail(_vm):
        raise stop.NotStopped(f"the proxy does not stop ({SAID})")

    monkeypatch.setattr(proxy_service.stop, "stop", fail)
    result = service(state="stopped", drain_time="1s")
    assert result["failed"]
    assert result["msg"].startswith(
        f"kuma-dp@web-1.service: the proxy does not stop ({SAID}). What else there is of it on this VM is still there"
    )
    assert "systemctl status kuma-dp@web-1.service" in result["msg"]
    assert list(result["journals"]) == ["web-1"]


def test_why_systemd_refuses_is_kept():
    leaving = stop.Leaving(files.Paths("web-1"), "nobody", lambda _command: (1, "", "Operation refused"))
    leaving.stop("main")
    leaving.log("drain -> stop")
    assert leaving.said == SAID
