# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine of somebody who has ansible-core and git, and read the README: what the world outside says is all that is replaced."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig

import yaml

from tests.unit.http_server import Answer, Server, answer_json

ROOT = pathlib.Path(__file__).parents[2]
ABOUT = yaml.safe_load((ROOT / "galaxy.yml").read_text())
VERSION = ABOUT["version"]
# The hosts of the README are nowhere; whoever is asked for is noted.
SSH = """#!/bin/sh
printf '%s\\n' "$*" >> "$HOME/ssh.log"
echo 'ssh: connect to host: Connection refused' >&2
exit 255
"""
CURL = """#!/bin/sh
for word; do url=$word; done
printf '%s\\n' "$url" >> "$HOME/curl.log"
printf 'archive of %s' "$url" > "${url##*/}"
"""


def _git(*words, cwd):
    names = {f"GIT_{who}_{what}": "reader@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", **names}
    subprocess.run(["git", *words], cwd=cwd, check=True, capture_output=True, env=environment)


def repository(directory):
    """What Git would hand out if the tracked files, as they are now, were pushed. Any clone of it is called kuma."""
    tree = directory / "kuma.git"
    subprocess.run(["bash", "-euc", f". {ROOT}/tests/gate/env.sh; copy_tracked {shlex.quote(str(tree))}"], check=True, capture_output=True)
    _git("init", "--quiet", "--initial-branch=main", cwd=tree)
    _git("add", "--all", "--force", cwd=tree)
    _git("commit", "--quiet", "--message=Publish", cwd=tree)
    return tree


def artefact(tree, directory):
    """The tarball that would be on Galaxy."""
    environment = {**_plain_environment(), "HOME": str(directory)}
    build = [sys.executable, "-m", "ansible", "galaxy", "collection", "build", str(tree), "--output-path", str(directory)]
    subprocess.run(build, check=True, capture_output=True, env=environment)
    (built,) = directory.glob("*.tar.gz")
    return built


@contextlib.contextmanager
def galaxy(tarball):
    """As much of Galaxy's API as ansible-galaxy asks for."""
    content = tarball.read_bytes()
    collection = f"/api/v3/collections/{ABOUT['namespace']}/{ABOUT['name']}/"
    about = {
        "namespace": {"name": ABOUT["namespace"]},
        "collection": {"name": ABOUT["name"]},
        "name": ABOUT["name"],
        "version": VERSION,
        "href": f"{collection}versions/{VERSION}/",
        "download_url": f"/artefacts/{tarball.name}",
        "artifact": {"filename": tarball.name, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)},
        "metadata": {"dependencies": ABOUT["dependencies"]},
        "signatures": [],
    }
    pages = {
        "/api/": {"available_versions": {"v3": "v3/"}},
        collection: {"name": ABOUT["name"], "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"},
        f"{collection}versions/": {"meta": {"count": 1}, "links": {"next": None}, "data": [{"version": VERSION}]},
        f"{collection}versions/{VERSION}/": about,
    }

    def answer(request):
        if request.path == about["download_url"]:
            return Answer(200, content, "application/gzip")
        return answer_json(pages[request.path]) if request.path in pages else answer_json({"errors": [{"detail": "Not found."}]}, 404)

    server = Server(answer)
    try:
        yield f"{server.url}/api/"
    finally:
        server.close()


def _plain_environment():
    """That of whoever runs the tests, without what leads to this working tree or to their own Ansible, Git and Kuma."""
    ours = ("ANSIBLE_", "KUMA_", "GIT_", "MAKE", "MFLAGS", "PYTHON", "VIRTUAL_ENV", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    for name in ("no_proxy", "NO_PROXY"):
        kept[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
    # Where pip finds packages is a matter of the machine, also when a user's file says it.
    own = pathlib.Path(os.environ.get("XDG_CONFIG_HOME") or pathlib.Path.home() / ".config") / "pip/pip.conf"
    return {**({"PIP_CONFIG_FILE": str(own)} if own.exists() else {}), **kept}


def _with_dependencies(name, found=None):
    """A package and all that it needs."""
    found = {} if found is None else found
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # one for another platform
        distribution = importlib.metadata.distribution(name)
        if distribution.name not in found:
            found[distribution.name] = distribution
            for wanted in distribution.requires or []:
                if "extra ==" not in wanted:
                    _with_dependencies(re.match(r"[\w.-]+", wanted).group(), found)
    return found


class Machine:
    """A home, a working directory and a Python with ansible-core and pip and nothing else. Neither sees those of whoever runs the tests."""

    def __init__(self, directory, galaxy_url, git_tree):
        self.home, self.directory, self.tree = directory / "home", directory / "project", git_tree
        self.python = directory / "python/bin/python3"
        commands = directory / "commands"
        for path in (self.home, self.directory, commands):
            path.mkdir(parents=True)
        self._make_python(directory / "python")
        for name, text in (("ssh", SSH), ("curl", CURL)):
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        self.environment = {
            **_plain_environment(),
            "HOME": str(self.home),
            "PATH": f"{commands}:{self.python.parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            # The machines of a run fetch a package once.
            "PIP_CACHE_DIR": str(git_tree.parent / "pip"),
            "PIP_NO_COMPILE": "1",
            "ANSIBLE_GALAXY_SERVER": galaxy_url,
            "ANSIBLE_NOCOLOR": "1",
            "GIT_CONFIG_SYSTEM": "/dev/null",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{git_tree.parent}/.insteadOf",
            "GIT_CONFIG_VALUE_0": f"{ABOUT['repository'].rpartition('/')[0]}/",
        }

    def _make_python(self, directory):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
        theirs = pathlib.Path(sysconfig.get_path("purelib"))
        found = {**_with_dependencies("ansible-core"), **_with_dependencies("pip")}
        for distribution in found.values():
            for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
                (self.packages / name).symlink_to(theirs / name)
        for command in found["ansible-core"].entry_points.select(group="console_scripts"):
            script = directory / "bin" / command.name
            script.write_text(
                f"#!{directory}/bin/python3\nimport sys\nfrom {command.module} import {command.attr}\nsys.exit({command.attr}())\n"
            )
            script.chmod(0o755)

    @property
    def packages(self):
        (found,) = self.python.parents[1].glob("lib/python*/site-packages")
        return found

    def take_over(self, other):
        """Have what was installed on another machine."""
        shutil.copytree(other.collection, self.collection)
        (self.packages / "other.pth").write_text(f"{other.packages}\n")

    def run(self, command, expected=0):
        """A line for a shell, as it is printed; returns what it said. ``expected`` is its exit code."""
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        assert run.returncode == expected, f"{command}\n{run.stdout}"
        return run.stdout

    def has(self, module):
        """Whether Ansible's Python finds a module."""
        return (
            subprocess.run([self.python, "-c", f"import {module}"], env=self.environment, capture_output=True, check=False).returncode == 0
        )

    @property
    def collection(self):
        """Where ansible-galaxy puts it when nobody says anything."""
        return self.home / ".ansible/collections/ansible_collections" / ABOUT["namespace"] / ABOUT["name"]

    @property
    def manifest(self):
        return self.collection / "MANIFEST.json"

    def installed(self):
        return json.loads(self.manifest.read_text())["collection_info"]["version"]

    def age(self):
        """The collection becomes that of an older release."""
        self.manifest.write_text(self.manifest.read_text().replace(f'"version": "{VERSION}"', '"version": "0.0.1"'))
        assert self.installed() == "0.0.1"

    def seen(self, log):
        path = self.home / f"{log}.log"
        return path.read_text() if path.exists() else ""
