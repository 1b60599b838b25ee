# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The names that the files of this collection give to variables. It runs on the controller only."""

from __future__ import annotations

import pathlib
import re
import typing as t

from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.variables import PLAYBOOK_OPTIONS, Vocabulary

ROOT = pathlib.Path(__file__).parents[3]

_NAME = re.compile(r"\bkuma_\w+")
_SOURCES = ("roles/*/tasks/*.yml", "roles/*/vars/*.yml", "roles/*/templates/*.j2", "playbooks/*.yml")


def vocabulary(root: pathlib.Path = ROOT) -> Vocabulary:
    """The options of all roles and playbooks, and every other name that these use.

    They are read where the roles say them, so that nobody has to keep a list. Raises OSError when a file cannot be read.
    """
    options = {name for entry in _entries(root) for name in entry.get("options") or {}}
    text = "\n".join(path.read_text(encoding="utf-8") for source in _SOURCES for path in root.glob(source))
    return Vocabulary(options | PLAYBOOK_OPTIONS, _NAME.findall(text))


def _entries(root: pathlib.Path) -> t.Iterator[t.Mapping[str, t.Any]]:
    for path in root.glob("roles/*/meta/argument_specs.yml"):
        yield from yaml_load(path.read_text(encoding="utf-8"))["argument_specs"].values()
