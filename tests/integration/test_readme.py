# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command that the README and the guide to installing print runs as it is printed; one that cannot be run here fails.

A section is what somebody does in one go, on a machine that has ansible-core and nothing else. Playbooks go as far as the first connection to
a VM; from there on it is tests/fleet.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil

import pytest
import yaml

from tests.integration.newcomer import ABOUT, ROOT, VERSION, Machine, artefact, galaxy, repository
from tests.unit.sockets import sign

README, GUIDE = ROOT / "README.md", ROOT / "docs/install.md"
UNREACHABLE = 4  # the exit code of ansible-playbook
COMMANDS, FILES = ("console", "shell"), ("yaml",)


def sections(page):
    """``{heading: [(language, text), ...]}`` of the code blocks of a page."""
    parts = re.split(r"^## (.*)\n", page.read_text(), flags=re.MULTILINE)
    return {
        heading: re.findall(r"^```(.*)\n((?s:.*?))^```$", text, re.MULTILINE)
        for heading, text in zip(["", *parts[1::2]], parts[::2], strict=True)
    }


def blocks(page, languages):
    return [text for found in sections(page).values() for language, text in found if language in languages]


def commands(text):
    """The lines of a block; one that ends with a backslash goes on."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def files(page):
    """``{name: text}``: the first line of a printed file is its name."""
    return dict(re.match(r"# (\S+)\n(?s:.*)", text).group(1, 0) for text in blocks(page, FILES))


SECTIONS = [
    (page, heading) for page in (README, GUIDE) for heading, found in sections(page).items() if any(block[0] in COMMANDS for block in found)
]
# Other sections of the README print the same commands with other names.
NIGHTLY = [(GUIDE, "From Git, or as a tarball"), (README, "Restarting and upgrading without one failed request")]


def words_of(command):
    """One command and its arguments; what a shell would make more than one command of is refused."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    assert not [word for word in words if re.fullmatch(r"[();<>|&]+", word)], f"one command a line, please: {command}"
    return words


def run_galaxy(machine, command, words):
    installs = words[1:3] == ["collection", "install"]
    if installs and "--upgrade" not in words:
        shutil.rmtree(machine.collection, ignore_errors=True)  # whatever an earlier line put there is no merit of this one
    elif words[2] in ("install", "list", "verify"):
        prepare(machine)
    if "--upgrade" in words:
        machine.age()
    said = machine.run(command)
    if installs:
        assert machine.installed() == VERSION
    elif words[2] == "list":
        assert re.search(rf"meshfleet\.kuma +{re.escape(VERSION)}", said)
    elif words[2] == "verify":
        assert f"that checksums for 'meshfleet.kuma:{VERSION}'" in said, said


def run_python(machine, command, words):
    assert words[1:3] == ["-m", "pip"], command
    machine.run(command)
    if words[3] == "install":
        missing = [module for module in ("requests", "distlib") if module in words and not machine.has(module)]
        assert missing == []


def run_playbook(machine, command, words):
    prepare(machine)
    hosts = yaml.safe_load(files(README)["inventory"])["mesh_fleet"]["children"]["web"]["hosts"]
    before = machine.seen("ssh")
    said = machine.run(command, expected=UNREACHABLE)
    asked = machine.seen("ssh").removeprefix(before)
    assert [name for name, values in hosts.items() if values["ansible_host"] not in asked] == [], said
    recap = re.findall(r"^(\S+) +: .* unreachable=1 +failed=0 ", said, re.MULTILINE)
    assert set(recap) == set(hosts), said


def run_make(machine, command, words):
    """What it would do, from the Makefile of a clone. What comes of that is the gate itself."""
    machine.directory = machine.tree
    machine.environment["MAKEFLAGS"] = "n"
    assert "tests" in machine.run(command)


def run_sha256sum(machine, command, words):
    told = dict(reversed(line.split()) for line in machine.run(command).splitlines())
    assert told == {name: hashlib.sha256((machine.directory / name).read_bytes()).hexdigest() for name in words[1:]}


def run_curl(machine, command, words):
    machine.run(command)
    defaults = yaml.safe_load((ROOT / "roles/kuma_dp/defaults/main.yml").read_text())
    version = yaml.safe_load(files(GUIDE)["group_vars/mesh_fleet/release.yml"])["kuma_dp_version"]
    urls = [defaults["kuma_dp_archive"].format(version=version, arch=arch) for arch in ("amd64", "arm64")]
    assert machine.seen("curl").splitlines()[-1] in urls


def run_ansible(machine, command, words):
    assert words[1:] == ["--version"], command
    (python,) = re.findall(r"python version = (3\.\d+)\S* .*\((\S+)\)$", machine.run(command), re.MULTILINE)
    assert python[1] == str(machine.python)


def run_doc(machine, command, words):
    prepare(machine)
    assert words[1] in machine.run(command).replace("> MODULE ", "")


def run_as_it_is(machine, command, words):
    machine.run(command)


def change_directory(machine, command, words):
    (target,) = words[1:]
    machine.directory /= target
    assert machine.directory.is_dir()


def export(machine, command, words):
    (name, value) = words[1].split("=", 1)
    machine.environment[name] = value


RUNNERS = {
    "ansible": run_ansible,
    "ansible-doc": run_doc,
    "ansible-galaxy": run_galaxy,
    "ansible-playbook": run_playbook,
    "cd": change_directory,
    "curl": run_curl,
    "export": export,
    "git": run_as_it_is,
    "make": run_make,
    "python3": run_python,
    "sha256sum": run_sha256sum,
}


def run(machine, command):
    words = words_of(command)
    assert words[0] in RUNNERS, f"nobody knows how to run this here, so it must not be printed: {command}"
    RUNNERS[words[0]](machine, command, words)


def prepare(machine):
    """The collection, from what the README says first, unless this section got it itself."""
    if not machine.manifest.exists():
        machine.take_over(machine.prepared)


def written(machine):
    """The machine with the printed files, digests filled in, and the CA that the README means. Its files lie beside those of the guide."""
    assert not machine.has("requests")
    assert not machine.has("distlib")
    for page in (README, GUIDE):
        for name, text in files(page).items():
            if "group_vars/" not in name:
                (machine.directory / name).write_text(re.sub("<SHA-256 of [^>]*>", 64 * "0", text))
    ca = machine.directory / "files/kuma-ca.pem"
    ca.parent.mkdir()
    ca.write_text(sign("a CA", ca=True).pem)
    return machine


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """``(the address of Galaxy, the repository)``"""
    directory = tmp_path_factory.mktemp("published")
    tree = repository(directory)
    with galaxy(artefact(tree, directory)) as url:
        yield url, tree


FIRST = commands(blocks(README, COMMANDS)[0])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, published):
    made = written(Machine(tmp_path_factory.mktemp("prepared"), *published))
    for command in FIRST:
        run(made, command)
    return made


@pytest.fixture
def machine(tmp_path, published, prepared):
    made = written(Machine(tmp_path, *published))
    made.prepared = prepared
    return made


@pytest.mark.parametrize(
    ("page", "heading"),
    [
        pytest.param(*section, id=f"{section[0].name}: {section[1]}", marks=pytest.mark.nightly if section in NIGHTLY else [])
        for section in SECTIONS
    ],
)
def test_a_section_runs_as_it_is_printed(page, heading, machine):
    printed = [command for language, text in sections(page)[heading] if language in COMMANDS for command in commands(text)]
    if page == README and printed[: len(FIRST)] == FIRST:
        # They have run, on the machine whose collection all get.
        prepare(machine)
        printed = printed[len(FIRST) :]
    for command in printed:
        run(machine, command)


def test_what_the_collection_needs_is_what_the_pages_say(machine):
    """Without distlib Git gives nothing, and the artefact, which is also that of an execution environment, brings the list of the rest."""
    said = machine.run(f"ansible-galaxy collection install git+{ABOUT['repository']}.git", expected=1)
    assert "distlib" in said
    prepare(machine)
    needs = yaml.safe_load((machine.collection / "meta/execution-environment.yml").read_text())["dependencies"]
    lines = (machine.collection / needs["python"]).read_text().splitlines()
    assert [re.match(r"[\w-]+", line).group() for line in lines] == ["requests"]


def test_printed_variables_reach_the_hosts(machine):
    """Those that the guide prints win over those of the README's inventory."""
    printed = {name: text for name, text in files(GUIDE).items() if name.startswith("group_vars/")}
    assert printed
    for name, text in printed.items():
        path = machine.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    seen = json.loads(machine.run("ansible-inventory -i inventory --host web-1"))
    for name, text in printed.items():
        variables = yaml.safe_load(text)
        assert {key: seen.get(key) for key in variables} == variables, name


def test_every_block_is_run_or_is_a_file_that_is_used():
    for page in (README, GUIDE):
        languages = [language for found in sections(page).values() for language, _text in found]
        assert [language for language in languages if language not in COMMANDS + FILES] == []
        assert not re.search(r"(?<=\n\n) {4}\S", page.read_text()), "an indented block is not run"
        printed = {word for text in blocks(page, COMMANDS) for command in commands(text) for word in words_of(command)}
        assert [name for name in files(page) if name not in printed and not name.startswith("group_vars/")] == []


@pytest.mark.parametrize("command", ["dnf install kuma", "python3 setup.py", "make demo | tail", "export A=b && rm c", "sh <(curl x)"])
def test_a_command_that_cannot_be_run_is_found(command):
    with pytest.raises(AssertionError, match=r"one command a line|nobody knows|setup"):
        run(None, command)
