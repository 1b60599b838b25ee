# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file of the collection imports which, read from their sources."""

from __future__ import annotations

import ast
import functools
import pathlib

ROOT = pathlib.Path(__file__).parents[3]
OURS = "ansible_collections.meshfleet.kuma.plugins."


class Sources:
    """The Python files below a directory that stands for ``plugins``, by their path in it without the ending.

    ``added`` are lines that some of them are taken to have as well: what if they had?
    """

    def __init__(self, plugins=ROOT / "plugins", added=None):
        self.plugins, self.added = plugins, added or {}
        self.files = sorted(str(path.relative_to(plugins).with_suffix("")) for path in plugins.glob("**/*.py"))
        self._known = frozenset(self.files)

    def imports(self, file):
        """The files that a file imports, wherever in it, and all else that it does, by full name."""
        return self.of_text((self.plugins / f"{file}.py").read_text() + self.added.get(file, ""))

    def of_text(self, text):
        ours, others = set(), set()
        for name in named(text):
            file = self._file(name[len(OURS) :]) if name.startswith(OURS) else None
            (others if file is None else ours).add(file or name)
        return ours, others

    def _file(self, name):
        """``module_utils._api.client`` and what is in it are the file ``module_utils/_api/client``."""
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            if "/".join(parts[:end]) in self._known:
                return "/".join(parts[:end])
        return None

    def closure(self, text):
        """All files that a program imports, and those that these import, and so on."""
        found, left = set(), self.of_text(text)[0]
        while left:
            file = left.pop()
            found.add(file)
            left |= self.imports(file)[0] - found
        return found


@functools.cache
def named(text):
    """Every module and every name out of one that a text imports; relative imports begin with a dot."""
    nodes = list(ast.walk(ast.parse(text)))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [
        f"{'.' * node.level}{node.module or ''}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
