# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is laid down on a VM: sorted, without times, and what systemd and kuma-dp want."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import files, layout
from tests.unit.play.vm import ROOT, Laid, host, proxy, seen, wish, zone_proxy

TEMPLATES = ROOT / "roles/kuma_proxy/templates"
UNITS = {"kuma-dp@": layout.UNIT, "kuma-dp-cover@": layout.COVER_UNIT, "kuma-dp-restart@": layout.RESTART_UNIT}


@pytest.fixture
def laid(renderer):
    return Laid(renderer)


def directives(text):
    """The directives of a unit: ``{name: [values]}``."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value.strip())
    return found


def test_the_unit_stops_with_a_drain_and_comes_back_whatever_happens(laid):
    unit = laid.contents(wish(options={"drain_time": "1m30s", "application_units": ["b.service", "a.service"]}))[layout.UNIT]
    found = directives(unit)
    assert found["KillMode"] == ["mixed"]
    assert found["KillSignal"] == ["SIGTERM"]
    assert found["TimeoutStopSec"] == ["1m30s 30s"]
    assert found["Restart"] == ["always"]
    assert found["After"] == ["network-online.target a.service b.service"]
    assert "StartLimitIntervalSec=0" in unit.partition("[Service]")[0]
    # One unit for all proxies of a VM, of which any may have a template; nothing is left of a variable that is not set.
    assert found["ExecStart"] == ["/opt/kuma/current/bin/kuma-dp run $DATAPLANE_VARS"]
    assert found["SystemCallErrorNumber"] == ["EPERM"]
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == [""]
    assert "Environment" not in found


def test_the_cover_is_like_the_proxy_but_for_what_two_cannot_share(laid):
    contents = laid.contents(wish(ports=[80], options={"application_units": ["a.service"]}))
    main, cover = (directives(contents[path]) for path in (layout.UNIT, layout.COVER_UNIT))
    differing = {key for key in set(main) | set(cover) if main.get(key) != cover.get(key)}
    own = {"Description", "RuntimeDirectory", "WorkingDirectory", "EnvironmentFile", "UnsetEnvironment", "Restart", "RestartSec"}
    # Its resource is filled in already.
    assert differing == own | {"ExecStart", "ExecStartPre", "WantedBy"}
    assert cover["Restart"] == ["no"]
    assert cover["EnvironmentFile"] == ["/etc/kuma/env/%i.env", "/var/lib/kuma-dp/%i/cover/env"]
    # kuma-dp refuses a Dataplane file beside a name.
    assert {"KUMA_DATAPLANE_NAME", "KUMA_DATAPLANE_MESH"} <= set(" ".join(cover["UnsetEnvironment"]).split())


def test_the_restart_comes_back_when_it_is_killed_and_runs_the_code_of_the_collection(laid):
    options = laid.options(wish())
    content = {item["path"]: item["content"] for item in options["files"]}
    text = content[layout.RESTART_UNIT]
    found = directives(text)
    assert (found["Restart"], found["RestartPreventExitStatus"]) == (["on-failure"], ["3"])
    assert "[Install]" not in text
    command = "/usr/bin/python3 -ISB /usr/local/lib/kuma-dp-restart/kuma_dp_restart.py --config-dir=/etc/kuma --install-dir=/opt/kuma"
    assert found["ExecStart"] == [f"{command} --user=kuma-dp run %i"]
    assert directives(content[layout.UNIT])["ExecStartPre"] == [f"-+{command} --user=kuma-dp started %i"]
    package = "/usr/local/lib/kuma-dp-restart/ansible_collections/meshfleet/kuma/plugins/module_utils/"
    code = {path[len(package) :]: text for path, text in content.items() if path.startswith(package)}
    for name, text in code.items():
        assert text == (ROOT / "plugins/module_utils" / name).read_text()
    assert sorted(code) == [f"{name}.py" for name in layout.RESTART_SOURCES]
    # A machine that is started meanwhile finds what it imports.
    assert list(content)[-1] == "/usr/local/lib/kuma-dp-restart/kuma_dp_restart.py"
    assert {str(pathlib.Path(path).parent) for path in content if "kuma-dp-restart/" in path} <= {
        item["path"] for item in options["directories"]
    }


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_units_of_a_restart(laid, tmp_path):
    contents = laid.contents(wish())
    for name, path in UNITS.items():
        text = contents[path].replace("/opt/kuma/current/bin/kuma-dp run", "/bin/true")
        (tmp_path / f"{name}.service").write_text(text)
        (tmp_path / f"{name}web-1.service").symlink_to(f"{name}.service")
    units = [str(tmp_path / f"{name}web-1.service") for name in ("kuma-dp-cover@", "kuma-dp-restart@")]
    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    assert not [line for line in checked.stderr.splitlines() if "kuma-dp" in line], checked.stderr


@pytest.mark.parametrize(("ports", "capability"), [([8080, 80], "CAP_NET_BIND_SERVICE"), ([8080, 1024], ""), ([], "")])
def test_only_a_low_port_brings_a_capability(laid, ports, capability):
    found = directives(laid.contents(wish(ports=ports))[layout.UNIT])
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == [capability]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_unit_and_rates_its_sandbox(laid, tmp_path):
    unit = tmp_path / "kuma-dp@.service"
    unit.write_text(laid.contents(wish())[layout.UNIT].replace("/opt/kuma/current/bin/kuma-dp run", "/bin/true"))
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(unit)]
    rated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout[-500:] + rated.stderr
    assert "Unknown" not in rated.stderr


def test_the_dataplane_file_is_the_resource_with_sorted_keys(laid):
    text = laid.contents(wish())["/etc/kuma/dataplanes/web-1.yaml"]
    assert yaml.safe_load(text) == proxy()["dataplane"]
    assert [line.partition(":")[0] for line in text.splitlines() if line[0].isalpha()] == ["mesh", "name", "networking", "type"]


def test_a_template_of_the_user_is_left_as_it_is(laid):
    own = proxy(lifecycle="direct", template="name: {{ name }}\n")
    assert laid.contents(wish(own))["/etc/kuma/dataplanes/web-1.yaml"].strip() == "name: {{ name }}"


def test_every_file_has_an_owner_and_a_mode_and_the_token_is_for_kuma_dp_alone(laid):
    options = laid.options(wish(tokens={"web-1": "a.b.c\n"}))
    for item in options["files"] + options["secrets"] + options["directories"]:
        assert item["owner"]
        assert item["group"]
        assert re.fullmatch("0[67][0-7]{2}", item["mode"])
    token, environment = options["secrets"]
    assert (token["path"], token["content"]) == ("/etc/kuma/tokens/web-1", "a.b.c")
    assert (token["mode"], token["owner"]) == ("0600", "kuma-dp")
    assert "a.b.c" not in str([options["files"], environment])


def test_what_a_user_tells_kuma_dp_is_a_secret_and_what_the_role_does_is_none(laid):
    own = {"KUMA_ONE": "canary", "KUMA_CONTROL_PLANE_URL": "https://canary.example.com"}
    options = laid.options(wish(options={"settings": own}))
    (found,) = [item for item in options["secrets"] if item["path"] == "/etc/kuma/env/web-1.env"]
    assert (found["mode"], found["owner"], found["group"]) == ("0640", "root", "kuma-dp")
    assert 'KUMA_ONE="canary"' in found["content"]
    assert "canary" not in str(options["files"])
    assert "KUMA_READINESS_PORT" in found["shown"]
    assert not set(own) & set(found["shown"])


def test_a_token_that_is_kept_is_not_written_and_one_that_a_check_would_issue_differs(laid):
    assert "content" not in laid.options(wish())["secrets"][0]
    assert laid.options(wish(unissued=["web-1"]))["secrets"][0]["content"]
    without = host("web-1", proxies={"web-1": seen(token={"present": False})})
    assert laid.options(wish(observed=without))["secrets"][0]["content"]


def test_several_proxies_have_files_of_their_own(laid):
    content = laid.contents(wish(proxy("a"), proxy("b"), observed=host("a", "b", needrestart=True)))
    assert {"/etc/kuma/env/a.env", "/etc/kuma/env/b.env", "/etc/needrestart/conf.d/kuma-dp.conf"} <= set(content)
    assert 'KUMA_DATAPLANE_NAME="b"' in content["/etc/kuma/env/b.env"]
    assert all(text.endswith("\n") for text in content.values())


@pytest.mark.parametrize("text", ["-----BEGIN CERTIFICATE-----\nA\n", ""])
def test_the_authority_is_laid_down_where_there_is_one(laid, text):
    options = laid.options(wish(options={"control_plane_ca": text}))
    found = [item for item in options["files"] if item["path"] == "/etc/kuma/control-plane-ca.pem"]
    assert [item["content"] for item in found] == ([text] if text else [])


def test_a_vm_with_zone_proxies_alone_gets_no_file_of_outbounds(laid):
    assert "/etc/kuma/outbounds.env" not in laid.contents(wish(zone_proxy()))
    assert "/etc/kuma/outbounds.env" in laid.contents(wish())


def test_nothing_laid_down_depends_on_the_time_or_on_chance(laid):
    assert laid.options(wish()) == laid.options(wish())
    for template in TEMPLATES.glob("*.j2"):
        assert not re.search(r"ansible_managed|now\(|random|strftime|ansible_date_time", template.read_text())


def test_where_0_1_0_left_tokens_of_covers_and_its_code_nothing_is_left(laid):
    absent = laid.options(wish())["absent"]
    assert "/var/lib/kuma-dp/web-1/cover/token" in absent
    assert f"{layout.RESTART_DIR}/{layout.PACKAGE}/_tokens.py" in absent
    assert not set(absent) & set(laid.contents(wish()))


@pytest.mark.parametrize(("port", "low"), [(0, False), (1, True), (1023, True), (1024, False)])
def test_what_is_a_low_port(port, low):
    assert files.privileged([port]) is low
