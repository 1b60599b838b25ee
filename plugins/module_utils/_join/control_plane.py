# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What speaks against a control plane that is yet to be: its variables, its archive, and a certificate that was given."""

from __future__ import annotations

import os
import tempfile
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane import check, listening, tls
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import archive

_PROGRAMS = ("kuma-cp",)


class Plan(t.NamedTuple):
    """What is to be done: ``install`` is whether the archive has to be unpacked, ``fetch`` ``[{url, path, checksum}]`` what the controller has to
    fetch before, ``warnings`` what works and is not wise, ``https_address`` where the API listens."""

    install: bool
    archive: str
    checksum: str
    fetch: t.List[t.Dict[str, t.Any]]
    warnings: t.List[str]
    https_address: str


def plan(
    host: str,
    variables: check.Variables,
    observed: t.Mapping[str, t.Any],
    given: t.Mapping[str, t.Optional[str]],
    directory: str,
    resolved: listening.Resolved,
) -> t.Tuple[t.Optional[Plan], t.List[str]]:
    """The plan, and everything that is wrong; there is no plan when something is.

    ``variables`` are those of role kuma_cp without their prefix, ``observed`` is the ``host`` of proxy_info, ``given`` are the texts of
    ``tls_cert``, ``tls_key`` and ``tls_ca``, ``resolved`` the addresses of ``kuma_cp_names``. In ``directory``, which nobody else may enter,
    they are files for a moment.
    """
    complete = check.completed(variables)
    problems = check.problems(host, complete)
    needed, faults = archive.wanted(host, complete, str(observed.get("architecture")), "kuma_cp", _PROGRAMS)
    problems += faults
    install = needed is not None and (observed.get("archives") or {}).get(str(complete.get("version"))) != needed.checksum
    if needed is not None and install:
        problems += archive.inspect(needed)
    texts = {name: text for name, text in given.items() if text}
    if len(texts) == len(given) and isinstance(complete["names"], list):
        problems += ["%s: kuma_cp_tls_cert: %s" % (host, fault) for fault in _certificate(texts, complete["names"], directory)]
    if problems or needed is None:
        return None, problems
    fetch = archive.to_fetch([needed]) if install else []
    choice = listening.choose(complete, observed, resolved)
    warnings = [*check.warnings(host, complete), *(f"{host}: {warning}" for warning in choice.warnings)]
    return Plan(install, needed.path, str(needed.checksum), fetch, warnings, choice.address), []


def _certificate(given: t.Mapping[str, str], names: t.Sequence[t.Any], directory: str) -> t.List[str]:
    with tempfile.TemporaryDirectory(dir=directory) as place:
        paths = {name: os.path.join(place, name) for name in given}
        for name, path in paths.items():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
                file.write(given[name])
        return tls.problems(paths["tls_cert"], paths["tls_key"], paths["tls_ca"], [str(name) for name in names if "*" not in str(name)])


def message(problems: t.Sequence[str]) -> str:
    """The failure of a plan that has these problems."""
    lines = "\n".join("  %d. %s" % (number, problem) for number, problem in enumerate(problems, 1))
    return "Nothing was written. %d problem%s found:\n%s" % (len(problems), " was" if len(problems) == 1 else "s were", lines)
