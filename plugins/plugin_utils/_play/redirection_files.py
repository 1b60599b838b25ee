# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What is laid down on a VM whose connections are redirected: a program, what it imports, and units. Pure but for what it is handed."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.layout import PACKAGE, package_dirs

Json = t.Dict[str, t.Any]
# A template of role kuma_transparent_proxy by its name, filled in with these variables.
Render = t.Callable[[str, t.Mapping[str, t.Any]], str]
# A file of this collection by its path, as it is.
Code = t.Callable[[str], str]

DIRECTORY = "/usr/local/lib/kuma-transparent-proxy"
PROGRAM = DIRECTORY + "/kuma_transparent_proxy.py"
UNIT = "/etc/systemd/system/kuma-transparent-proxy.service"
DROP_IN_DIRECTORY = "/etc/systemd/system/kuma-dp@.service.d"
DROP_IN = DROP_IN_DIRECTORY + "/transparent-proxy.conf"
SOURCES = (
    "_common/checks",
    "_common/naming",
    "_common/redact",
    "_transparent/redirection",
    "_transparent/vm",
    "_vm/commands",
    "_vm/safely",
    "_vm/systemd",
)


def command(python: str) -> t.List[str]:
    """How the program is run: without site packages, where another ansible_collections may be."""
    return [python, "-ISB", PROGRAM]


def directories() -> t.List[str]:
    """All that are made, below those that every VM has; parents first."""
    return [DROP_IN_DIRECTORY, *package_dirs(DIRECTORY, SOURCES)]


def files(program: t.Sequence[str], render: Render, code: Code) -> t.List[Json]:
    """``[{path, content}]``; ``program`` is how the unit runs it. Sorted by their paths, so that it is replaced after what it imports."""
    content = {f"{DIRECTORY}/{PACKAGE}/{name}.py": code(f"plugins/module_utils/{name}.py") for name in SOURCES}
    content[PROGRAM] = code("roles/kuma_transparent_proxy/files/kuma_transparent_proxy.py")
    content[DROP_IN] = render("kuma-dp@.conf.j2", {})
    content[UNIT] = render("kuma-transparent-proxy.service.j2", {"kuma_transparent_proxy_program": list(program)})
    return [{"path": path, "content": content[path]} for path in sorted(content)]
