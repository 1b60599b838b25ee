# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sandboxes of the units: how much they leave, whether that is what their programs need, and which systemd knows what they say."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.files import Paths
from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent import vm as transparent_vm
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import control_plane, control_plane_files, layout, redirection_files
from tests.unit.play.control_planes import CHECKSUM, POSTGRES, wanted
from tests.unit.play.control_planes import ROLE as CONTROL_PLANE
from tests.unit.play.test_files import directives
from tests.unit.play.vm import PLACE, ROOT, Laid, wish

needs_analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
# What `systemd-analyze security` may find at most, in tenths, 0 being best. The last two are root: one for systemd, one for the rules.
EXPOSURE = {"kuma-dp@": 15, "kuma-dp-cover@": 15, "kuma-cp": 15, "kuma-dp-restart@": 30, "kuma-transparent-proxy": 30}
# The oldest systemd that loads the units, and the one that knows all that they say.
OLDEST, NEWEST = 239, 247
ANCIENT = [
    "After",
    "CapabilityBoundingSet",
    "ConditionPathExists",
    "Description",
    "Documentation",
    "Environment",
    "EnvironmentFile",
    "ExecReload",
    "ExecStart",
    "ExecStartPre",
    "ExecStop",
    "Group",
    "KillMode",
    "KillSignal",
    "LimitNOFILE",
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateTmp",
    "ProtectHome",
    "ProtectSystem",
    "RemainAfterExit",
    "Restart",
    "RestartPreventExitStatus",
    "RestartSec",
    "RestrictAddressFamilies",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "SystemCallFilter",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Type",
    "UMask",
    "User",
    "WantedBy",
    "Wants",
    "WorkingDirectory",
]
# When systemd learnt a directive, by its NEWS.
SINCE = {
    **dict.fromkeys(ANCIENT, 214),
    "AmbientCapabilities": 229,
    "IPAddressAllow": 235,
    "IPAddressDeny": 235,
    "LockPersonality": 235,
    "PrivateMounts": 239,
    "ProcSubset": 247,
    "ProtectClock": 245,
    "ProtectControlGroups": 232,
    "ProtectHostname": 242,
    "ProtectKernelLogs": 244,
    "ProtectKernelModules": 232,
    "ProtectKernelTunables": 232,
    "ProtectProc": 247,
    "ReadWritePaths": 231,
    "RemoveIPC": 232,
    "RestrictNamespaces": 233,
    "RestrictRealtime": 231,
    "RestrictSUIDSGID": 242,
    "StartLimitIntervalSec": 230,
    "StateDirectory": 235,
    "StateDirectoryMode": 235,
    "UnsetEnvironment": 235,
}
# The same of values, for directives that take words. An older systemd takes none of them, and says so.
SINCE_VALUES = {
    "Type": {"exec": 240, "oneshot": 214},
    "ProtectSystem": {"strict": 232},
    "ProtectHome": {"yes": 214, "read-only": 214},
    "ProtectProc": {"invisible": 247},
    "ProcSubset": {"pid": 247},
    "SystemCallFilter": {"@system-service": 239, "~@privileged": 231, "@module": 231, "@resources": 231},
}


@pytest.fixture(scope="module")
def units(renderer):
    """The texts of all units by their names."""
    proxies = Laid(renderer).contents(wish())
    found = {name: proxies[f"/etc/systemd/system/{name}.service"] for name in ("kuma-dp@", "kuma-dp-cover@", "kuma-dp-restart@")}

    def render(role):
        return lambda template, variables: renderer(template, {"ansible_search_path": [str(role)], **variables})

    redirecting = redirection_files.files(
        redirection_files.command("/usr/bin/python3"), render(ROOT / "roles/kuma_transparent_proxy"), lambda _path: ""
    )
    (found["kuma-transparent-proxy"],) = [item["content"] for item in redirecting if item["path"] == redirection_files.UNIT]
    of_control_plane = control_plane_files.options(wanted(**POSTGRES), CHECKSUM, render(CONTROL_PLANE), str)["files"]
    (found["kuma-cp"],) = [item["content"] for item in of_control_plane if item["path"] == control_plane.UNIT]
    return found


def test_every_unit_of_a_role_is_looked_at(units):
    templates = {path.name.removesuffix(".service.j2") for path in ROOT.glob("roles/*/templates/*.service.j2")}
    assert templates == set(units) == set(EXPOSURE)


@needs_analyze
@pytest.mark.parametrize("name", EXPOSURE)
def test_a_sandbox_leaves_as_little_as_it_is_said_to(units, tmp_path, name):
    unit = tmp_path / f"{name}.service"
    unit.write_text(re.sub("^(Exec[A-Za-z]+=-?[+]?).*", r"\1/bin/true", units[name], flags=re.MULTILINE))
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE[name]}", str(unit)]
    rated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout[-3000:] + rated.stderr
    assert "Unknown" not in rated.stderr
    assert "ignoring" not in rated.stderr


@pytest.mark.parametrize("name", EXPOSURE)
def test_systemd_knows_what_the_units_say(units, name):
    """Of 247 everything, and of 239 all but what it ignores with a line in its log, which makes a sandbox wider and no proxy worse."""
    found = directives(units[name])
    assert set(found) - set(SINCE) == set(), "say when systemd learnt these"
    assert [key for key in found if SINCE[key] > NEWEST] == []
    for key, known in SINCE_VALUES.items():
        words = {word for value in found.get(key, []) for word in value.split()}
        assert words <= set(known), key
        assert [word for word in words if known[word] > NEWEST] == []


def test_what_an_older_systemd_ignores_is_documented(units):
    """Only what confines may be ignored, and Type=exec, which is simple then: a start does not wait for the program."""
    ignored = {key: SINCE[key] for text in units.values() for key in directives(text) if SINCE[key] > OLDEST}
    assert set(ignored) == {"ProcSubset", "ProtectClock", "ProtectHostname", "ProtectKernelLogs", "ProtectProc", "RestrictSUIDSGID"}
    ignored["Type=exec"] = SINCE_VALUES["Type"]["exec"]
    readme = (ROOT / "roles/kuma_dp/README.md").read_text()
    told = dict(re.findall(r"`([A-Za-z=]+)` \(([0-9]+)\)", readme.partition("## Requirements")[2]))
    assert told == {key: str(version) for key, version in ignored.items()}
    assert f"systemd {OLDEST} or later" in readme
    assert f"systemd {OLDEST} or later" in (ROOT / "README.md").read_text()


# -- what the programs need


def writable(text):
    return [path.lstrip("-") for value in directives(text)["ReadWritePaths"] for path in value.split()]


def test_a_restart_may_write_what_it_writes_and_nothing_else(units):
    assert writable(units["kuma-dp-restart@"]) == ["/var/lib/kuma-dp", "/etc/kuma", "/opt/kuma", "/etc/systemd/system"]
    paths = Paths("web-1")
    written = [
        *paths.started_with(),
        *(paths.own(name) for name in ("restart.json", "request.json", "good.json", "started.json", "lock", "cover")),
        *(paths.kept(name, path) for name in ("started", "good") for path in paths.secrets),
        paths.cover_token,
        paths.current,
    ]
    for path in written:
        assert path.startswith(tuple(f"{place}/" for place in writable(units["kuma-dp-restart@"]))), path


def test_a_restart_may_write_where_the_options_say(renderer):
    other = PLACE.__class__("/srv/mesh/etc", "/srv/mesh/opt", "2.14.3", "mesh", "mesh")
    text = Laid(renderer).contents(wish(layout=other))[layout.RESTART_UNIT]
    assert writable(text) == ["/var/lib/kuma-dp", "/srv/mesh/etc", "/srv/mesh/opt", "/etc/systemd/system"]


def test_a_restart_has_the_capabilities_that_it_needs(units):
    """It owns files to others and reads theirs, also what was made private, and sees what their processes hold. Signals are systemd's."""
    found = directives(units["kuma-dp-restart@"])
    assert found["CapabilityBoundingSet"] == ["CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_SYS_PTRACE"]
    # It sets a sysctl, sees all processes, and asks systemd and Envoy.
    assert not {"ProtectKernelTunables", "ProtectProc", "ProcSubset", "PrivateNetwork", "User", "DynamicUser", "PrivateUsers"} & set(found)
    assert {"AF_UNIX", "AF_INET"} <= set(found["RestrictAddressFamilies"][0].split())
    assert (found["IPAddressAllow"], found["IPAddressDeny"]) == (["localhost"], ["any"])


def test_the_rules_may_be_made_by_any_iptables(units, tmp_path):
    found = directives(units["kuma-transparent-proxy"])
    # An older iptables opens a raw socket, has a lock in /run, and loads its modules by itself where nothing has before, as at boot.
    assert set(found["CapabilityBoundingSet"][0].split()) == {"CAP_DAC_READ_SEARCH", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_MODULE"}
    assert "@module" in found["SystemCallFilter"][0]
    assert "ProtectKernelModules" not in found
    assert {"AF_NETLINK", "AF_INET", "AF_INET6"} <= set(found["RestrictAddressFamilies"][0].split())
    vm = transparent_vm.Vm(lambda _command: (0, "", ""))
    for path in (vm.pending_path, vm.rules_path, "/run/xtables.lock"):
        assert path.startswith(tuple(f"{place}/" for place in writable(units["kuma-transparent-proxy"]))), path


def test_what_is_kept_of_the_rules_for_good_is_not_written_by_their_unit(tmp_path):
    """The settings that were confirmed are below /etc, which the unit cannot write: a module does, or the rollback, which is a unit of its own."""
    vm = transparent_vm.Vm(lambda _command: (0, "", ""), root=str(tmp_path))
    transparent_vm.write(vm.settings_path, {"kumactl": "/opt/kuma/current/bin/kumactl", "arguments": [], "controllers": []})
    before = (tmp_path / "etc/kuma-transparent-proxy/settings.json").stat()
    vm.remove()
    after = (tmp_path / "etc/kuma-transparent-proxy/settings.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
