# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may be a name, a release or a path: nothing that says another path, and nothing that a unit or a URL reads otherwise."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.reader import Reader
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import host, proxy, systemd
from tests.unit import hostile
from tests.unit.common.test_jwt import jwt

ROOT = pathlib.Path(__file__).parents[3]
HOSTILE = [*hostile.PARTS, "Web-1"]
RULES = (
    naming.NAME,
    naming.PROXY,
    naming.LOOSE,
    naming.TYPE,
    naming.RUN,
    naming.VERSION,
    naming.ACCOUNT,
    naming.UNIT,
    naming.KEY_ID,
    naming.PATH,
    naming.PLACE,
)


@pytest.mark.parametrize("rule", RULES)
def test_what_is_none_is_refused_with_what_is_expected(rule):
    for value in [*hostile.fixed(rule), None, 5, ["a"], {"a": 1}, b"a"]:
        assert naming.fault(value, rule) == f"is {naming.shown(value)}, expected {naming.expected(rule)}"


@given(st.data())
def test_whatever_else_is_none_is_refused_as_well(data):
    rule = data.draw(st.sampled_from(RULES))
    assert naming.fault(data.draw(hostile.values(rule)), rule)


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (naming.NAME, ["web-1", "a.b", "1", "x" * 253]),
        (naming.PROXY, ["web-1", "a.b", "1", "x" * 231]),
        (naming.LOOSE, ["default", "a_b", "a..b", "1"]),
        (naming.TYPE, ["MeshTimeout"]),
        (naming.RUN, ["20260101-120000-ab12", "by-hand-1"]),
        (naming.VERSION, ["2.14.3", "0.0.0-preview.vabc", "2.14.3+ee", "nightly"]),
        (naming.ACCOUNT, ["kuma-dp", "_kuma", "svc.kuma", "Kuma", "1001"]),
        (naming.UNIT, ["web.service", "web@1.service", "-.mount", "dev-disk-by\\x2duuid.device"]),
        (naming.PATH, ["/etc/kuma", "/etc//kuma/", "/opt/kuma-2+x", "/srv/a@b:c", "/" + "x" * 255, "/.kuma", "/..."]),
        (naming.PLACE, ["", "~/x", "../a b", "/a/../b", "w\u00e9b", "x" * 255, "a%2e", "\uff0e"]),
    ],
)
def test_what_people_use_is_allowed(rule, values):
    for value in values:
        assert naming.fault(value, rule) == ""


@pytest.mark.parametrize(("rule", "value"), [(naming.PROXY, "x" * 232), (naming.NAME, "x" * 254), (naming.VERSION, naming.CURRENT)])
def test_what_is_just_beyond_is_refused(rule, value):
    assert naming.fault(value, rule)


def test_what_is_not_given_is_not_refused():
    assert (
        naming.faults(
            {"names": None, "mesh": None, "tokens": [{"name": None}]}, {"names[]": "name", "mesh": "loose", "tokens[].name": "name"}
        )
        == []
    )
    assert naming.faults({}, {"dataplane.name": "name"}) == []
    assert naming.faults({"dataplane": "x"}, {"dataplane.name": "name"}) == []


@pytest.mark.parametrize("name", ["web-1-cover", "web-1", "a", "a.b", "1"])
def test_names_of_covers_are_reserved_in_inventories_alone(name):
    assert naming.is_name(name)
    reader = Reader("web-1", "v2")
    reader.name(name, "kuma_dp_name")
    assert bool(reader.problems) == name.endswith("-cover")


@pytest.mark.parametrize("value", HOSTILE)
def test_inventories_name_no_other_path(value):
    reader = Reader("web-1", "v2")
    reader.name(value, "kuma_dp_name")
    reader.loose_name(value, "kuma_dp_mesh")
    assert [problem.split(" is ")[0] for problem in reader.problems] == ["web-1: kuma_dp_name", "web-1: kuma_dp_mesh"]


@given(st.text(max_size=8) | st.text("ab1.-_/", max_size=8))
def test_a_name_is_one_part_of_a_path(text):
    for check in (
        naming.is_name,
        naming.is_proxy_name,
        naming.is_loose_name,
        naming.is_type,
        naming.is_run,
        naming.is_version,
        naming.is_account,
    ):
        if check(text):
            assert os.path.normpath("/d/" + text) == "/d/" + text
            assert os.path.dirname("/d/" + text) == "/d"
            assert text.isascii()
            assert text.isprintable()
            assert not text.startswith("-")


@given(st.text("ab1.-_A", max_size=6))
def test_every_name_of_a_proxy_is_one_of_a_resource(text):
    assert not naming.is_name(text) or naming.is_loose_name(text)
    assert not naming.is_proxy_name(text) or naming.is_name(text)


@given(st.text(max_size=8) | st.lists(st.sampled_from(["/", "..", ".", "a", "%i", " ", "~", "\n", "*", "$x"]), max_size=6).map("".join))
def test_a_path_is_absolute_and_says_no_other_one(text):
    if naming.is_path(text):
        assert text.startswith("/")
        plain = re.sub("/+", "/", text).rstrip("/")
        assert os.path.normpath(plain) == plain
        assert not set(text) & set(" \t\n%$\\\"'*?[")


def test_secrets_in_the_place_of_a_name_are_not_shown():
    key = f"-----BEGIN EC PRIVATE KEY-----\n{'geheim' * 9}\n-----END EC PRIVATE KEY-----\n"
    token = jwt({"Name": "web-1"})
    for value, secret in ((key, "geheim"), (token, token[:16]), ("https://a:geheim@b/c", "geheim")):
        for place in (value, [value], {"a": value}):
            assert secret not in naming.shown(place)
            assert "(hidden)" in naming.shown(place)


def test_what_is_long_is_cut_where_it_is_shown():
    assert len(naming.shown("x" * 300)) == 80
    assert naming.shown("a\n") == repr("a\n")


# -- how long a name may be


def sockets(directory, name, mesh="default"):
    """The paths of the sockets of a kuma-dp and its Envoy, by what they are of."""
    own = {
        "admin": "kuma-envoy-admin",
        "access log": f"kuma-al-{name}-{mesh}",
        "metrics": f"kuma-mh-{name}-{mesh}",
        "readiness": "kuma-readiness-reporter",
        "traces": "kuma-otel-collector",
        "settings of metrics": "kuma-mesh-metric-config",
    }
    return {what: f"{directory}/{base}"[:98] + ".sock" for what, base in own.items()}


@pytest.mark.parametrize("length", [1, 60, naming.MAXIMUM_JOINING])
def test_trap_59_sockets_of_a_proxy_that_joins_are_its_own(length):
    name = "x" * length
    assert naming.too_long(name) == ""
    own = sockets(naming.work_dir(name), name)
    cover = sockets(naming.cover_work_dir(name), naming.cover_name(name))
    assert all(os.path.dirname(path) == naming.work_dir(name) for path in own.values())
    assert all(os.path.dirname(path) == naming.cover_work_dir(name) for path in cover.values())
    assert len(set(own.values())) == len(own)
    # Nobody scrapes a cover.
    cover.pop("settings of metrics")
    assert len(set(cover.values())) == len(cover)
    assert max(map(len, [*own.values(), *cover.values()])) < 108, "the kernel takes no longer ones"


@pytest.mark.parametrize("length", [naming.MAXIMUM_JOINING + 1, 80, 104, 231])
def test_trap_59_sockets_of_a_longer_name_are_one(length):
    name = "x" * length
    assert len(set(sockets(naming.work_dir(name), name).values())) < 6
    said = naming.too_long(name)
    assert said.startswith(f"has {length} characters, expected at most {naming.MAXIMUM_JOINING}: kuma-dp cuts the paths of its sockets")


@pytest.mark.parametrize("field", ["kuma_dp_name", "kuma_zone_proxy_name"])
def test_trap_59_a_name_that_is_too_long_is_refused_before_it_joins(field):
    reader = Reader("web-1", "v2")
    reader.name("x" * naming.MAXIMUM_JOINING, field)
    assert reader.problems == []
    reader.name("x" * 80, field)
    (problem,) = reader.problems
    assert problem.startswith(f"web-1: {field} 'xxxx")
    assert f" has 80 characters, expected at most {naming.MAXIMUM_JOINING}: kuma-dp cuts" in problem
    assert problem.endswith(". Choose a shorter name")


def test_trap_59_the_units_have_the_directories_that_are_counted_with():
    for unit, directory in (("kuma-dp", naming.work_dir("%i")), ("kuma-dp-cover", naming.cover_work_dir("%i"))):
        text = (ROOT / f"roles/kuma_proxy/templates/{unit}@.service.j2").read_text()
        made = re.search(r"^RuntimeDirectory=(.*)$", text, re.MULTILINE)[1].split()
        assert f"/run/{made[0]}" == directory == re.search(r"^WorkingDirectory=(.*)$", text, re.MULTILINE)[1]


@pytest.mark.parametrize("unit", [systemd.UNIT, systemd.COVER_UNIT, systemd.RESTART_UNIT])
def test_the_longest_name_on_a_vm_makes_a_unit_and_its_files(unit):
    name = "x" * naming.MAXIMUM_PROXY
    assert naming.is_proxy_name(name)
    assert len(unit % name) <= 255
    # What a write of ours leaves that loses its power, beside the longest of them.
    assert max(len(f"..{name}.started.abcd1234.tmp"), len(f".{name}.yaml.abcd1234.tmp.old")) <= 255
    assert len(systemd.RESTART_UNIT % (name + "x")) > 255


# -- on the VM


@pytest.mark.parametrize("value", HOSTILE)
def test_there_is_no_path_for_what_is_no_name(value, tmp_path):
    observer = proxy.Observer(str(tmp_path), str(tmp_path), host.Processes(), lambda _command: (0, "", ""))
    for make in (files.Paths, observer.paths):
        with pytest.raises(ValueError, match="the name of a proxy is"):
            make(value)


@pytest.mark.parametrize("value", hostile.PATHS)
def test_there_is_no_path_below_what_is_no_directory(value):
    for field in ("config_dir", "install_dir", "state_dir", "unit"):
        with pytest.raises(ValueError, match=f"{field} is .*, expected an absolute path"):
            files.Paths("web-1", **{field: value})


def test_files_that_no_proxy_can_have_are_not_taken_for_one(tmp_path):
    for name in ("web-1", "Notes", "-x", "a b", "..."):
        for directory, suffix in (("tokens", ""), ("env", ".env"), ("dataplanes", ".yaml")):
            (tmp_path / directory).mkdir(exist_ok=True)
            (tmp_path / directory / (name + suffix)).write_text("x")
    observer = proxy.Observer(str(tmp_path), str(tmp_path), host.Processes(), lambda _command: (0, "", ""))
    assert observer.names(["web-2"]) == ["web-1", "web-2"]


@pytest.mark.parametrize("verb", ["run", "started"])
@pytest.mark.parametrize("value", ["..", "", "a/b", "../../etc", "web-1\n"])
def test_what_restarts_a_proxy_takes_no_other_name(verb, value, tmp_path):
    script = ROOT / "roles/kuma_proxy/files/kuma_dp_restart.py"
    command = [sys.executable, str(script), verb, f"--config-dir={tmp_path}", f"--install-dir={tmp_path}", "--", value]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"the name of a proxy is {value!r}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--config-dir", "--install-dir"])
def test_what_restarts_a_proxy_takes_no_other_directory(option, tmp_path):
    script = ROOT / "roles/kuma_proxy/files/kuma_dp_restart.py"
    command = [sys.executable, str(script), "started", f"{option}={tmp_path}/..", "web-1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{option[2:].replace('-', '_')} is '{tmp_path}/..', expected an absolute path" in done.stderr
