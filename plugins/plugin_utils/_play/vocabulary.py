# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The names that the files of this collection give to variables, and what its roles say about them. It runs on the controller only."""

from __future__ import annotations

import functools
import pathlib
import re
import typing as t

from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.specs import Specs
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.variables import PLAYBOOK_OPTIONS, Vocabulary

ROOT = pathlib.Path(__file__).parents[3]

_NAME = re.compile(r"\bkuma_\w+")
_TASKS = ("roles/*/tasks/*.yml", "playbooks/*.yml")
_OTHERS = ("roles/*/vars/*.yml", "roles/*/templates/*.j2")
# Where plays and blocks have tasks. What else is in a task, such as the options of its module, is no task.
_LISTS = ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always")
_SET_FACT = ("ansible.builtin.set_fact", "ansible.legacy.set_fact", "set_fact")


@functools.lru_cache(maxsize=None)
def specifications(root: pathlib.Path = ROOT) -> Specs:
    """What every role says about the options of its entry points. Raises OSError when a file cannot be read."""
    return {
        path.parts[-3]: {
            entry: said.get("options") or {} for entry, said in yaml_load(path.read_text(encoding="utf-8"))["argument_specs"].items()
        }
        for path in root.glob("roles/*/meta/argument_specs.yml")
    }


def vocabulary(root: pathlib.Path = ROOT) -> Vocabulary:
    """The options of all roles and playbooks, every other name that these use, and which of those become facts of hosts.

    They are read where the roles say them, so that nobody has to keep a list. Raises OSError when a file cannot be read.
    """
    options = {name for entries in specifications(root).values() for entry in entries.values() for name in entry}
    tasks = list(_texts(root, _TASKS))
    own = _NAME.findall("\n".join([*tasks, *_texts(root, _OTHERS)]))
    return Vocabulary(options | PLAYBOOK_OPTIONS, own, (name for text in tasks for name in facts(yaml_load(text))))


def facts(tasks: t.Any) -> t.Iterator[str]:
    """The names that tasks register and set as facts, also those in plays and blocks."""
    for task in tasks if isinstance(tasks, list) else []:
        if isinstance(task, dict):
            if isinstance(task.get("register"), str):
                yield task["register"]
            for module in _SET_FACT:
                yield from task.get(module) or {}
            for inner in _LISTS:
                yield from facts(task.get(inner))


def _texts(root: pathlib.Path, sources: t.Iterable[str]) -> t.Iterator[str]:
    return (path.read_text(encoding="utf-8") for source in sources for path in root.glob(source))
