# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Traps of docs/traps.md that lie on the VM: the unit, the environment of kuma-dp, its files and its ports."""

from __future__ import annotations

import pathlib
import re

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._join import archive as join_archive
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import proxy_ports
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import proxy
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import parse_environment
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import done, layout
from tests.unit import parsed
from tests.unit.play import vm
from tests.unit.play.test_files import directives

ROLE = pathlib.Path(__file__).parents[3] / "roles/kuma_dp"
DEFAULTS = parsed.file(ROLE / "defaults/main.yml")


@pytest.fixture
def unit(renderer):
    """``unit(path, **options)``: the directives of a unit."""

    def read(path=layout.UNIT, **options):
        return directives(vm.Laid(renderer).contents(vm.wish(options=options))[path])

    return read


def environment(**options):
    return parse_environment(vm.told(vm.proxy(), **options))


def test_traps_1_2_the_unit_leaves_the_drain_to_kuma_dp_and_lets_it_end(unit):
    found = unit(drain_time="2m")
    assert found["KillMode"] == ["mixed"]
    # systemd adds the words up: the drain in full, and what comes before and after it.
    assert found["TimeoutStopSec"] == ["2m 30s"]


def test_trap_5_whatever_it_exits_with_it_comes_back(unit):
    assert unit()["Restart"] == ["always"]
    assert "SuccessExitStatus" not in unit()


def test_trap_24_there_is_one_channel_for_settings(unit):
    (start,) = unit()["ExecStart"]
    # The values of a user's template have no variable of kuma-dp: a flag is made of them, and of nothing else.
    assert start.split()[1:] == ["run", "$DATAPLANE_VARS"]
    assert "Environment" not in unit()


def test_trap_25_a_dataplane_file_and_a_name_are_never_given_together(unit):
    assert not any("RESOURCE" in name for name in environment())
    unset = " ".join(unit(layout.COVER_UNIT)["UnsetEnvironment"]).split()
    assert {"KUMA_DATAPLANE_NAME", "KUMA_DATAPLANE_MESH"} <= set(unset)


def test_trap_27_a_join_asks_for_the_listener_that_the_control_plane_opens():
    """http://<address of the Dataplane>:<admin port>/ready is there with the first configuration only, in every version."""
    own = vm.proxy(address="10.0.0.9", ports={"admin": 9905, "readiness": 9902})
    joined = done.Done(vm.PLACE, vm.host("web-1"), [own], (), False, ())
    assert joined.ready() == {"web-1": "10.0.0.9:9905"}


@pytest.mark.parametrize(("enabled", "expected"), [(False, "false"), (True, "true")])
def test_trap_28_dns_which_needs_coredns_is_off_unless_asked_for(enabled, expected):
    assert environment(dns_enabled=enabled)["KUMA_DNS_ENABLED"] == expected
    assert DEFAULTS["kuma_dp_dns_enabled"] is False


def test_trap_29_a_token_that_is_newer_than_the_process_makes_a_restart_pending(tmp_path):
    paths = {}
    for kind in ("environment", "token", "CA"):
        paths[kind] = str(tmp_path / kind)
        (tmp_path / kind).touch()
    written = (tmp_path / "token").stat().st_mtime
    observer = proxy.Observer(str(tmp_path), str(tmp_path), None, None)
    reasons = observer.restart_reasons({**paths, "environment": "/no", "CA": "/no"}, {}, written - 1, None, False, None, "indirect")
    assert [reason.text for reason in reasons] == ["token changed after it was started"]
    assert observer.restart_reasons(paths, {}, written + 1, None, False, None, "indirect") == []


def test_trap_30_it_is_registered_before_it_starts_and_is_started_without_a_limit(unit):
    (block,) = parsed.file(ROLE / "tasks/main.yml")
    modules = [next(key for key in task if "." in key) for task in block["block"]]
    assert modules.index("meshfleet.kuma.fleet_join") < modules.index("meshfleet.kuma.fleet_deploy")
    assert unit()["StartLimitIntervalSec"] == ["0"]


def test_trap_31_the_ca_is_installed_and_named_and_nothing_is_left_unverified(renderer):
    found = environment()
    assert found["KUMA_CONTROL_PLANE_CA_CERT_FILE"] == "/etc/kuma/control-plane-ca.pem"
    assert not any("SKIP_VERIFY" in name for name in found)
    laid = vm.Laid(renderer).options(vm.wish())["files"]
    assert any(item["path"] == "/etc/kuma/control-plane-ca.pem" and "BEGIN CERTIFICATE" in item["content"] for item in laid)


def test_trap_35_two_proxies_share_no_port():
    ports = proxy_ports.allocate([{"name": "a"}, {"name": "b"}])
    assert not set(ports["a"].values()) & set(ports["b"].values())
    # With another one before it the second keeps what it has.
    assert proxy_ports.allocate([{"name": "0"}, {"name": "a"}, {"name": "b", "current": ports["b"]}])["b"] == ports["b"]


def test_trap_36_the_token_is_in_a_file_for_kuma_dp_alone(renderer):
    found = environment()
    assert found["KUMA_DATAPLANE_RUNTIME_TOKEN_PATH"] == "/etc/kuma/tokens/web-1"
    assert "KUMA_DATAPLANE_RUNTIME_TOKEN" not in found
    (token,) = [item for item in vm.Laid(renderer).options(vm.wish())["secrets"] if item["path"].startswith("/etc/kuma/tokens/")]
    assert (token["mode"], token["owner"]) == ("0600", "kuma-dp")


def test_trap_47_only_a_pinned_archive_is_taken_and_it_never_overwrites_another_version():
    wish = {"version": "2.14.3", "archive": DEFAULTS["kuma_dp_archive"], "archive_checksum": {}}
    assert "has no SHA-256" in join_archive.wanted("web-1", wish, "amd64")[1][0]
    assert "without v" in join_archive.wanted("web-1", {**wish, "version": "v2.14.3"}, "amd64")[1][0]
    archive, problems = join_archive.wanted("web-1", {**wish, "archive_checksum": "0" * 64}, "amd64")
    assert problems == []
    assert archive.source.endswith("/versions/2.14.3/kuma-2.14.3-linux-amd64.tar.gz")
    assert vm.PLACE.version_dir == "/opt/kuma/2.14.3"
    # What is installed is told by the digest, and not by times, which are those of the epoch.
    assert vm.PLACE.marker == "/opt/kuma/2.14.3/.archive-sha256"


def test_trap_55_waiting_connections_move_to_the_other_listener(renderer):
    text = vm.Laid(renderer).contents(vm.wish())[layout.SYSCTL]
    assert re.search(r"^-?net\.ipv4\.tcp_migrate_req ?= ?1$", text, re.MULTILINE)
