# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook for tests that run it often: one process imports its code and keeps the modules that it has packed, each run is its fork.

A run has the arguments, environment and directory that the command would have, and gives its exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import subprocess
import sys
import warnings

ROOT = pathlib.Path(__file__).parents[2]
# Ansible looks at these when it is imported, so a run with others is one of the command itself.
EARLY = ("ANSIBLE_", "HOME", "LC_", "PYTHON")


class Playbooks:
    """The process that is forked, from the first run until it is closed."""

    def __init__(self, directory):
        self.directory = directory
        command = [sys.executable, "-m", "tests.integration.playbooks"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment(), text=True, **pipes)

    @staticmethod
    def environment(**others):
        return {**os.environ, "ANSIBLE_NOCOLOR": "1", **others}

    def run(self, *arguments, environment=None, cwd=ROOT):
        """A completed process with what it said."""
        command, others = ["ansible-playbook", *map(str, arguments)], environment or {}
        variables = self.environment(**others)
        if any(name.startswith(EARLY) for name in others):
            return subprocess.run(command, env=variables, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        said = [self.directory / name for name in ("stdout", "stderr")]
        wanted = {"arguments": command, "environment": variables, "cwd": str(cwd), "files": list(map(str, said))}
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()
        code = self.process.stdout.readline()
        assert code, "the process that is forked has ended"
        return subprocess.CompletedProcess(command, int(code), *(path.read_text() for path in said))

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def become(arguments, environment, cwd, files):
    """What ansible-playbook does from here on is done by this process; returns its exit code."""
    from ansible.cli import playbook

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    opened = [os.open(os.devnull, os.O_RDONLY), *(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in files)]
    for number, file in enumerate(opened):
        os.dup2(file, number)
        os.close(file)
    sys.argv = arguments
    try:
        playbook.main(arguments)
    except SystemExit as end:
        return end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def main():
    import ansible.plugins.loader as plugins
    from ansible.cli import playbook  # noqa: F401 - what takes the time

    # What every run would read again.
    plugins.init_plugin_loader()
    importlib.import_module("ansible_collections.ansible.builtin")
    for loader in (plugins.connection_loader, plugins.shell_loader, plugins.become_loader):
        list(loader.all(class_only=True))
    warnings.filterwarnings("ignore", "AnsibleCollectionFinder has already been configured")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 250
            try:
                code = become(**json.loads(line))
            finally:
                # Its exit handlers are those of the process that goes on.
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
