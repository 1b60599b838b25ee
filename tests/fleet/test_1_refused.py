# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Input that cannot work: a message that names host, variable and remedy, and nothing written anywhere."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import Fleet, service
from tests.lab import archive, certificates
from tests.lab.ansible import Run
from tests.lab.recorder import Seen


@dataclass
class Refusal:
    """A run that should have been refused, with the state of everything before and after it."""

    run: Run
    seen: Seen
    untouched: bool
    registered: list[str]

    def check(self) -> None:
        """Refused before anything was written."""
        assert self.run.code != 0, self.run.explain()
        assert self.seen.writes == []
        assert self.seen.tokens == []
        assert self.registered == []
        assert self.untouched, "something was written on a host"

    def says(self, *patterns: str) -> None:
        """One line of the message holds all of these."""
        lines = self.run.messages.splitlines()
        matching = [line for line in lines if all(re.search(pattern, line) for pattern in patterns)]
        assert matching, f"no line has {patterns} in:\n{self.run.messages}\n{self.run.explain()}"


def refuse(fleet: Fleet, *arguments: str, **options: Any) -> Refusal:
    before = fleet.snapshot()
    run, seen = fleet.join(*arguments, **options)
    after = fleet.snapshot()
    return Refusal(run, seen, before == after, sorted(fleet.dataplanes()))


@pytest.fixture(scope="module")
def bad_inventory(fleet: Fleet) -> Refusal:
    """All faults of an inventory in one run, because that is also how they are to be reported: all together."""

    def spoil(groups: dict[str, Any]) -> None:
        web = groups["web"]["hosts"]
        web["vm2"]["kuma_dp_services"] = [service("web", port=70000), service("web", port=8081, protocol="smtp")]
        web["vm3"]["kuma_dp_address"] = fleet.host("vm5").address
        web["vm3"]["kuma_dp_services"] = [service("web", advertised_address="192.0.2.1")]
        web["vm5"]["kuma_dp_name"] = "x" * 80
        pair = groups["pair"]["vars"]["kuma_dp_proxies"]
        pair[1]["name"] = "vm1"
        pair[1]["services"] = [service("cache", 8080, 18081)]
        groups["shop"]["vars"]["kuma_dp_upstreams"] = [f"service-{number}" for number in range(20)]

    return refuse(fleet, inventory=fleet.inventory(spoil, kuma_dp_outbound_range="10001-10005"))


def test_nothing_is_written_for_a_bad_inventory(bad_inventory: Refusal) -> None:
    bad_inventory.check()


@pytest.mark.parametrize(
    "patterns",
    [
        pytest.param(("vm2", r"kuma_dp_services\[0\]\.port", "70000", "1 to 65535"), id="port out of range"),
        pytest.param(("vm2", r"kuma_dp_services\[1\]\.protocol", "smtp", "http, http2"), id="unknown protocol"),
        pytest.param(("vm3", "vm5", "kuma_dp_address", r"10\.\d+\.0\.15"), id="duplicate address"),
        pytest.param(("vm1", "vm4", "kuma_dp_name", "name of its own"), id="duplicate name"),
        pytest.param(("vm4", "8080", "kuma_dp_proxies", "different ports"), id="colliding ports"),
        pytest.param(("vm5", "kuma_dp_name", "80 characters", "at most 77", "sockets"), id="name that is too long"),
        pytest.param(("vm1", "kuma_dp_outbound_range", "10001-10005", "widen"), id="full outbound range"),
        pytest.param(("vm3", "advertised_address", "only the keys"), id="field that would be dropped"),
    ],
)
def test_a_bad_inventory_is_explained(bad_inventory: Refusal, patterns: tuple[str, ...]) -> None:
    bad_inventory.says(*patterns)


@pytest.fixture(scope="module")
def bad_archives(fleet: Fleet) -> Refusal:
    """One host with a checksum of another file, one with the release of another architecture, one with no checksum at all."""
    package = fleet.stage.archive
    other = "arm64" if package.architecture == "amd64" else "amd64"
    foreign = archive.build(architecture=other)

    def spoil(groups: dict[str, Any]) -> None:
        web = groups["web"]["hosts"]
        web["vm2"]["kuma_dp_archive_checksum"] = "sha256:" + "0" * 64
        web["vm3"].update(kuma_dp_archive=str(foreign.path), kuma_dp_archive_checksum=foreign.sha256)
        web["vm5"]["kuma_dp_archive_checksum"] = {other: foreign.sha256}

    return refuse(fleet, inventory=fleet.inventory(spoil))


def test_nothing_is_written_for_bad_archives(bad_archives: Refusal) -> None:
    bad_archives.check()


@pytest.mark.parametrize(
    "patterns",
    [
        pytest.param(("vm2", "kuma_dp_archive_checksum", "0{64}", "fetch it again|correct the checksum"), id="checksum mismatch"),
        pytest.param(("vm3", "kuma_dp_archive", "is built for", "give the archive of this architecture"), id="wrong architecture"),
        pytest.param(("vm5", "kuma_dp_archive_checksum", "no SHA-256 for architecture"), id="no checksum"),
    ],
)
def test_a_bad_archive_is_explained(bad_archives: Refusal, patterns: tuple[str, ...]) -> None:
    bad_archives.says(*patterns)


def expired_token(fleet: Fleet) -> Iterator[str]:
    control_plane = fleet.stage.control_plane
    body = {"name": "fleet", "groups": ["mesh-system:admin"], "validFor": "1s"}
    token = str(control_plane.call("POST", "/tokens/user", body)).strip()
    time.sleep(1.5)  # an expiry cannot be polled for without the API this is about
    yield token


@dataclass
class Setting:
    """Variables that point the fleet to a control plane it cannot join, and what the message has to hold."""

    extra: dict[str, Any]
    patterns: tuple[str, ...]


def settings(fleet: Fleet, case: str) -> Setting:
    url = fleet.stage.recorder.url
    if case == "missing mesh":
        return Setting({"kuma_dp_mesh": "nowhere"}, ("kuma_dp_mesh", "nowhere", "create the Mesh or correct the name"))
    if case == "bad token":
        return Setting({"kuma_dp_api_token": "not.a.token"}, ("kuma_dp_api_token", "401|authenticat"))
    if case == "expired token":
        return Setting({"kuma_dp_api_token": next(expired_token(fleet))}, ("kuma_dp_api_token", "expired"))
    if case == "token without rights":
        token = fleet.stage.control_plane.token("/tokens/user", name="reader", groups=["readers"], validFor="1h")
        return Setting({"kuma_dp_api_token": token}, ("kuma_dp_api_token", "reader", "use a token of"))
    if case == "CA with which VMs do not trust the control plane":
        foreign = certificates.self_signed(fleet.stage.directory, "of-others", fleet.stage.lab.settings.controller_address)
        # Both hosts in one problem.
        pattern = r"1 problem was found: 1\. vm2, vm3: kuma_dp_control_plane_dp_url is .*kuma_dp_control_plane_ca"
        return Setting({"kuma_dp_control_plane_ca": str(foreign[0])}, (pattern, re.escape(fleet.stage.control_plane.dp_url)))
    if case == "port of the API for proxies":
        https_url = fleet.stage.control_plane.https_url
        return Setting({"kuma_dp_control_plane_dp_url": https_url}, ("kuma_dp_control_plane_dp_url", "is the API of the control plane"))
    if case == "CA that does not match":
        directory: Path = fleet.stage.directory
        foreign = certificates.self_signed(directory, "foreign", fleet.stage.lab.settings.controller_address)
        return Setting({"kuma_dp_api_ca": str(foreign[0])}, ("kuma_dp_api_ca|kuma_dp_control_plane_ca", re.escape(url)))
    assert case == "unreachable control plane"
    return Setting({"kuma_dp_control_plane_url": "https://127.0.0.1:9"}, ("kuma_dp_control_plane_url", r"https://127\.0\.0\.1:9"))


# All but one are tried every day without hosts in tests/integration/test_join_refused.py.
NIGHTLY = ["missing mesh", "bad token", "expired token", "token without rights", "CA that does not match"]


# What only a VM can tell.
FROM_VMS = ["CA with which VMs do not trust the control plane", "port of the API for proxies"]


@pytest.mark.parametrize(
    "case", [*(pytest.param(case, marks=pytest.mark.nightly) for case in NIGHTLY), "unreachable control plane", *FROM_VMS]
)
def test_a_control_plane_that_cannot_be_used_is_explained(fleet: Fleet, case: str) -> None:
    setting = settings(fleet, case)
    refusal = refuse(fleet, "--limit", "vm2,vm3", extra=setting.extra)
    refusal.check()
    message = " ".join(refusal.run.messages.split())
    for pattern in setting.patterns:
        assert re.search(pattern, message), f"{pattern!r} is not in: {message}"
    assert str(setting.extra.get("kuma_dp_api_token", "no token")) not in refusal.run.output


def test_what_the_control_plane_rejects_is_passed_on(fleet: Fleet) -> None:
    def spoil(groups: dict[str, Any]) -> None:
        groups["web"]["hosts"]["vm3"]["kuma_dp_owner"] = "two words"

    before = fleet.snapshot()
    run, seen = fleet.join("--limit", "vm3", inventory=fleet.inventory(spoil))
    assert run.code != 0, run.explain()
    assert fleet.snapshot() == before
    assert fleet.dataplanes() == {}
    assert seen.tokens == []
    message = " ".join(run.messages.split())
    for expected in (
        "vm3",
        'labels["meshfleet.kuma/owner"]',
        "a valid label must be an empty string or consist of alphanumeric characters",
    ):
        assert expected in message, message
    failures = [event["result"].get("failure") or event["result"].get("results") for event in run.results]
    assert "meshfleet.kuma/owner" in json.dumps(failures)


def test_a_host_that_fails_its_own_check_stops_the_others(fleet: Fleet) -> None:
    """Ansible checks a role's arguments host by host, and would go on with those that are fine."""

    def spoil(groups: dict[str, Any]) -> None:
        groups["web"]["hosts"]["vm3"]["kuma_dp_services"] = [service("web", servce_port=18080)]

    refusal = refuse(fleet, inventory=fleet.inventory(spoil))
    refusal.check()
    refusal.says("vm3", r"kuma_dp_services\[0\]", "servce_port", "only the keys")


def test_an_empty_fleet_is_an_error(fleet: Fleet) -> None:
    run, seen = fleet.join(extra={"kuma_fleet": "nobody"})
    assert run.code != 0
    assert "nobody" in run.messages
    assert seen.requests == []
