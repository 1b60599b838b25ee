# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The templates of the role as functions of its variables: sorted, without times, and what systemd and kuma-dp want."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import proxy as vm_proxy
from tests.unit.roles.template_renderer import Renderer

ROLE = pathlib.Path(__file__).parents[3] / "roles/kuma_dp"
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
VARS = yaml.safe_load((ROLE / "vars/main.yml").read_text())
RESTART = {key: value for key, value in VARS.items() if key.startswith(("kuma_dp_restart_", "kuma_dp_cover_", "kuma_dp_sysctl_"))}
SPECS = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]
renderers = []
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"


@pytest.fixture(scope="module", autouse=True)
def _renderer():
    renderers.append(Renderer())
    yield
    renderers.pop().close()


def proxy(name="web-1", **changes):
    dataplane = {
        "type": "Dataplane",
        "mesh": "default",
        "name": name,
        "networking": {"inbound": [{"port": 8080}], "address": "10.0.0.11"},
    }
    return {
        "name": name,
        "mesh": "default",
        "address": "10.0.0.11",
        "dataplane": dataplane,
        "file": dataplane,
        "outbounds": [{"service": "backend", "address": "127.0.0.1", "port": 19524}],
        "ports": {"admin": 9901, "readiness": 9902, "coredns": 15053, "envoy_dns": 15054, "dns_prometheus": 19153},
        "privileged_ports": False,
        "lifecycle": "indirect",
        "template": "",
        "arguments": "",
        **changes,
    }


def render(template, **variables):
    """The text of a template with the defaults of the role, the derived values that it needs, and ``variables``."""
    values = {
        "kuma_dp_control_plane_url": "https://cp.example.com:5682",
        "kuma_dp_version": "2.14.3",
        "kuma_dp_unit_path": "/etc/systemd/system/kuma-dp@.service",
        "kuma_dp_ca_path": "/etc/kuma/control-plane-ca.pem",
        "kuma_dp_ca_text": CA,
        "kuma_dp_proxy": proxy(),
        "kuma_dp_planned": [proxy()],
        "kuma_dp_checksum": "ab" * 32,
        "kuma_dp_version_dir": "/opt/kuma/2.14.3",
        "kuma_dp_issued": {"tokens": {}, "results": []},
        "kuma_dp_unissued": [],
        "kuma_dp_look": {
            "host": {"needrestart": False, "python_executable": "/usr/bin/python3", "proxies": {"web-1": {"token": {"present": True}}}}
        },
        **{key: value for key, value in DEFAULTS.items() if key not in ("kuma_dp_control_plane_dp_url",)},
        "kuma_dp_control_plane_dp_url": "https://cp.example.com:5678",
        "ansible_search_path": [str(ROLE)],
        "role_path": str(ROLE),
        **RESTART,
        "kuma_dp_restart_command": "/usr/bin/python3 -ISB /usr/local/lib/kuma-dp-restart/kuma_dp_restart.py --config-dir=/etc/kuma",
        **variables,
    }
    values.setdefault("kuma_dp_privileged", any(planned["privileged_ports"] for planned in values["kuma_dp_planned"]))
    return renderers[0](template, values)


def environment(**variables):
    return vm_proxy.parse_environment(render("kuma-dp.env.j2", **variables))


def directives(text):
    """The directives of a unit: ``{name: [values]}``."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value.strip())
    return found


def test_the_unit_stops_with_a_drain_and_comes_back_whatever_happens():
    unit = render("kuma-dp@.service.j2", kuma_dp_drain_time="1m30s", kuma_dp_application_units=["b.service", "a.service"])
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


def test_the_cover_is_like_the_proxy_but_for_what_two_cannot_share():
    values = {"kuma_dp_application_units": ["a.service"], "kuma_dp_planned": [proxy(privileged_ports=True)]}
    main, cover = (directives(render(template, **values)) for template in ("kuma-dp@.service.j2", "kuma-dp-cover@.service.j2"))
    differing = {key for key in set(main) | set(cover) if main.get(key) != cover.get(key)}
    own = {"Description", "RuntimeDirectory", "WorkingDirectory", "EnvironmentFile", "UnsetEnvironment", "Restart", "RestartSec"}
    # Its resource is filled in already.
    assert differing == own | {"ExecStart", "ExecStartPre", "WantedBy"}
    assert cover["Restart"] == ["no"]
    assert cover["EnvironmentFile"] == ["/etc/kuma/env/%i.env", "/var/lib/kuma-dp/%i/cover/env"]
    # kuma-dp refuses a Dataplane file beside a name.
    assert {"KUMA_DATAPLANE_NAME", "KUMA_DATAPLANE_MESH"} <= set(" ".join(cover["UnsetEnvironment"]).split())


def test_the_restart_comes_back_when_it_is_killed_and_runs_the_code_of_the_collection():
    text = render("kuma-dp-restart@.service.j2")
    found = directives(text)
    assert (found["Restart"], found["RestartPreventExitStatus"]) == (["on-failure"], ["3"])
    assert "[Install]" not in text
    assert found["ExecStart"][0].startswith(
        "/usr/bin/python3 -ISB /usr/local/lib/kuma-dp-restart/kuma_dp_restart.py --config-dir=/etc/kuma "
    )
    assert found["ExecStart"][0].endswith(" run %i")
    content = {item["path"]: item["content"] for item in files()["files"]}
    package = "/usr/local/lib/kuma-dp-restart/ansible_collections/meshfleet/kuma/plugins/module_utils/"
    laid = {path[len(package) :]: text for path, text in content.items() if path.startswith(package)}
    for name, text in laid.items():
        assert text == (ROLE.parents[1] / "plugins/module_utils" / name).read_text()
    assert sorted(laid) == [f"{name}.py" for name in VARS["kuma_dp_restart_sources"]]
    # A machine that is started meanwhile finds what it imports.
    assert list(content)[-1] == "/usr/local/lib/kuma-dp-restart/kuma_dp_restart.py"
    assert {str(pathlib.Path(path).parent) for path in content if "kuma-dp-restart/" in path} <= {
        item["path"] for item in files()["directories"]
    }


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_units_of_a_restart(tmp_path):
    for name in ("kuma-dp@", "kuma-dp-cover@", "kuma-dp-restart@"):
        text = render(f"{name}.service.j2").replace("/opt/kuma/current/bin/kuma-dp run", "/bin/true")
        (tmp_path / f"{name}.service").write_text(text)
    command = [
        "systemd-analyze",
        "verify",
        "--man=no",
        *(str(tmp_path / f"{name}web-1.service") for name in ("kuma-dp-cover@", "kuma-dp-restart@")),
    ]
    for name in ("kuma-dp@", "kuma-dp-cover@", "kuma-dp-restart@"):
        (tmp_path / f"{name}web-1.service").symlink_to(f"{name}.service")
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not [line for line in checked.stderr.splitlines() if "kuma-dp" in line], checked.stderr


def test_only_a_low_port_brings_a_capability():
    planned = [proxy(), proxy("web-2", privileged_ports=True)]
    found = directives(render("kuma-dp@.service.j2", kuma_dp_planned=planned))
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_unit_and_rates_its_sandbox(tmp_path):
    unit = tmp_path / "kuma-dp@.service"
    unit.write_text(render("kuma-dp@.service.j2").replace("/opt/kuma/current/bin/kuma-dp run", "/bin/true"))
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(unit)]
    rated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout[-500:] + rated.stderr
    assert "Unknown" not in rated.stderr


def test_kuma_dp_is_told_everything_by_its_environment():
    assert environment() == {
        "KUMA_CONTROL_PLANE_CA_CERT_FILE": "/etc/kuma/control-plane-ca.pem",
        "KUMA_CONTROL_PLANE_URL": "https://cp.example.com:5678",
        "KUMA_DATAPLANE_DRAIN_TIME": "30s",
        "KUMA_DATAPLANE_MESH": "default",
        "KUMA_DATAPLANE_NAME": "web-1",
        "KUMA_DATAPLANE_RUNTIME_BINARY_PATH": "/opt/kuma/current/bin/envoy",
        "KUMA_DATAPLANE_RUNTIME_ENVOY_LOG_LEVEL": "info",
        "KUMA_DATAPLANE_RUNTIME_TOKEN_PATH": "/etc/kuma/tokens/web-1",
        "KUMA_DATAPLANE_RUNTIME_WORK_DIR": "/run/kuma-dp/web-1",
        "KUMA_DNS_ENABLED": "false",
        "KUMA_READINESS_PORT": "9902",
    }


def test_options_that_are_off_are_not_mentioned_and_those_that_are_on_are():
    assert "KUMA_CONTROL_PLANE_CA_CERT_FILE" not in environment(kuma_dp_ca_text="")
    found = environment(kuma_dp_dns_enabled=True, kuma_dp_concurrency=2)
    assert (found["KUMA_DNS_CORE_DNS_PORT"], found["KUMA_DNS_ENVOY_DNS_PORT"], found["KUMA_DNS_PROMETHEUS_PORT"]) == (
        "15053",
        "15054",
        "19153",
    )
    assert found["KUMA_DATAPLANE_RUNTIME_CONCURRENCY"] == "2"


TEXT = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20)


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), TEXT, max_size=4))
@settings(max_examples=40)
def test_variables_of_the_user_arrive_as_they_are_and_in_order(values):
    text = render("kuma-dp.env.j2", kuma_dp_environment=values)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == sorted(lines, key=lambda line: line.partition("=")[0])
    for line in lines:
        key, _equals, value = line.partition("=")
        # How systemd reads it: a backslash makes the next of these characters an ordinary one.
        read = re.sub(r'\\(["\\`$])', r"\1", value[1:-1])
        if key in values:
            assert read == values[key]


def test_the_dataplane_file_is_the_resource_with_sorted_keys():
    text = render("dataplane.yaml.j2")
    assert yaml.safe_load(text) == proxy()["dataplane"]
    assert [line.partition(":")[0] for line in text.splitlines() if line[0].isalpha()] == ["mesh", "name", "networking", "type"]


SERVICES = st.lists(
    st.tuples(st.from_regex(r"[a-z][a-z0-9._-]{0,10}", fullmatch=True), st.integers(10001, 19999)),
    unique_by=lambda item: item[0],
    max_size=5,
)


@given(SERVICES, st.randoms())
@settings(max_examples=40)
def test_outbounds_are_the_same_in_any_order_and_can_be_sourced(services, random):
    outbounds = [{"service": service, "address": "127.0.0.1", "port": port} for service, port in services]
    shuffled = random.sample(outbounds, len(outbounds))
    text = render("outbounds.env.j2", kuma_dp_planned=[proxy(outbounds=shuffled)])
    assert text == render("outbounds.env.j2", kuma_dp_planned=[proxy(outbounds=outbounds)])
    assert text == render("outbounds.env.j2", kuma_dp_planned=[proxy(outbounds=[outbound]) for outbound in shuffled])
    found = vm_proxy.parse_environment(text)
    keys = {"KUMA_OUTBOUND_" + re.sub("[^A-Z0-9]", "_", service.upper()) for service, _port in services}
    assert {key for key in found if not key.endswith(("_HOST", "_PORT"))} <= keys
    for key in keys:
        assert found[key] == "%s:%s" % (found[key + "_HOST"], found[key + "_PORT"])


def files(**variables):
    """The options of proxy_files."""
    return json.loads(render("files.json.j2", **variables))


def test_every_file_has_an_owner_and_a_mode_and_the_token_is_for_kuma_dp_alone():
    tokens = {"tokens": {"web-1": "a.b.c\n"}, "results": []}
    laid = files(kuma_dp_issued=tokens)
    for item in laid["files"] + laid["secrets"] + laid["directories"]:
        assert item["owner"]
        assert item["group"]
        assert re.fullmatch("0[67][0-7]{2}", item["mode"])
    (token,) = laid["secrets"]
    assert (token["path"], token["content"]) == ("/etc/kuma/tokens/web-1", "a.b.c")
    assert (token["mode"], token["owner"]) == ("0600", "kuma-dp")
    assert "a.b.c" not in str(laid["files"])


def test_a_token_that_is_kept_is_not_written_and_one_that_a_check_would_issue_differs():
    assert "content" not in files()["secrets"][0]
    assert files(kuma_dp_unissued=["web-1"])["secrets"][0]["content"]


def test_several_proxies_have_files_of_their_own():
    facts = {"host": {"needrestart": True, "proxies": {name: {"token": {"present": True}} for name in ("a", "b")}}}
    laid = files(kuma_dp_planned=[proxy("a"), proxy("b")], kuma_dp_look=facts)
    paths = [item["path"] for item in laid["files"]]
    assert len(paths) == len(set(paths))
    assert {"/etc/kuma/env/a.env", "/etc/kuma/env/b.env", "/etc/needrestart/conf.d/kuma-dp.conf"} <= set(paths)
    content = {item["path"]: item["content"] for item in laid["files"]}
    assert 'KUMA_DATAPLANE_NAME="b"' in content["/etc/kuma/env/b.env"]
    assert all(text.endswith("\n") for text in content.values())


@pytest.mark.parametrize("check", [False, True])
def test_the_summary_names_the_dataplanes_whose_labels_were_lost(check):
    state = {"changed": True, "pending": [], "others": []}
    seen = {
        "hostvars": {"web-1": {"kuma_dp_state": state, "kuma_dp_outbounds": {}}},
        "ansible_play_hosts": ["web-1"],
        "ansible_play_hosts_all": ["web-1"],
        "ansible_check_mode": check,
        "kuma_dp_restart_done": {},
    }
    lines = json.loads(render("summary.json.j2", **seen, kuma_dp_plan={"labels_lost": ["web-1", "web-2"]}))
    word = "would be written" if check else "written"
    assert f"labels {word} again that the control plane had lost (2): web-1, web-2" in lines
    assert "labels" not in render("summary.json.j2", **seen, kuma_dp_plan={"labels_lost": []})


def test_nothing_rendered_depends_on_the_time_or_on_chance():
    assert files() == files()
    for template in ROLE.glob("templates/*.j2"):
        assert not re.search(r"ansible_managed|now\(|random|strftime|ansible_date_time", template.read_text())


def test_every_option_has_a_default_or_is_required_and_is_described_in_the_readme():
    readme = (ROLE / "README.md").read_text()
    options = {name: option for entry in SPECS.values() for name, option in entry.get("options", {}).items()}
    required = {name for name, option in SPECS["main"]["options"].items() if option.get("required")}
    assert set(DEFAULTS) | required == set(options)
    for name, option in options.items():
        assert option["description"]
        assert option["type"]
        assert f"| `{name}` |" in readme
        if "default" in option:
            assert DEFAULTS[name] == option["default"]


def zone_proxy(kind="ingress", **changes):
    resource = {"type": "ZoneIngress", "name": "gate", "networking": {"address": "10.0.0.21", "port": 10001}}
    return proxy("gate", zone_proxy=kind, proxy_type=kind, dataplane=resource, file=resource, lifecycle="direct", mesh="", **changes)


def test_trap_25_a_zone_proxy_brings_its_resource_and_neither_name_nor_mesh():
    lines = render("kuma-dp.env.j2", kuma_dp_proxy=zone_proxy(), kuma_dp_dns_enabled=True).splitlines()
    assert 'KUMA_DATAPLANE_PROXY_TYPE="ingress"' in lines
    assert 'KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH="/etc/kuma/dataplanes/gate.yaml"' in lines
    assert 'KUMA_DNS_ENABLED="false"' in lines, "there is nobody whose queries it could answer"
    assert not [line for line in lines if line.startswith(("KUMA_DATAPLANE_NAME", "KUMA_DATAPLANE_MESH"))]
    assert yaml.safe_load(render("dataplane.yaml.j2", kuma_dp_proxy=zone_proxy())) == zone_proxy()["dataplane"]


def test_a_vm_with_zone_proxies_alone_gets_no_file_of_outbounds():
    look = {"host": {"needrestart": False, "python_executable": "/usr/bin/python3", "proxies": {"gate": {"token": {"present": True}}}}}
    laid = files(kuma_dp_planned=[zone_proxy()], kuma_dp_look=look)
    assert not [file for file in laid["files"] if file["path"].endswith("outbounds.env")]
    assert [file for file in files()["files"] if file["path"].endswith("outbounds.env")]


ARGUMENTS = "--dataplane-var=address=10.0.0.11,name=web-1"
PATH = "/etc/kuma/dataplanes/web-1.yaml"


def test_trap_25_a_direct_proxy_is_given_its_file_and_no_name():
    found = environment(kuma_dp_proxy=proxy(lifecycle="direct"))
    assert found["KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH"] == PATH
    assert not {"KUMA_DATAPLANE_NAME", "KUMA_DATAPLANE_MESH", "DATAPLANE_VARS"} & set(found)


def test_the_values_of_a_template_are_the_only_argument_and_only_where_there_is_one():
    plain, own = proxy("web-2"), proxy(lifecycle="direct", arguments=ARGUMENTS, template="name: {{ name }}\n")
    assert environment(kuma_dp_proxy=own)["DATAPLANE_VARS"] == ARGUMENTS
    unit = directives(render("kuma-dp@.service.j2", kuma_dp_planned=[plain, own]))
    assert unit["ExecStart"] == ["/opt/kuma/current/bin/kuma-dp run $DATAPLANE_VARS"]
    # Jinja leaves the braces of the user's template alone.
    assert render("dataplane.yaml.j2", kuma_dp_proxy=own).strip() == "name: {{ name }}"
