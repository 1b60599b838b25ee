# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Dataplanes that are listed in files: which, where each is, and everything that is wrong with them before anything is asked."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import refusal
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources.documents import Document, read

RULES = (("name", naming.NAME), ("mesh", naming.LOOSE))


class Listed(t.NamedTuple):
    """The Dataplanes in the order of the files, and where each is, by its name."""

    dataplanes: t.List[t.Dict[str, t.Any]]
    places: t.Dict[str, str]


def dataplanes(src: str) -> Listed:
    """The Dataplanes of the file or directory ``src``. Raises ItemsFailed with every fault, each with its file and line."""
    documents, problems = read(src, "src")
    places: t.Dict[str, str] = {}
    for document in documents:
        problems.extend("%s: %s" % (document.source, fault) for fault in _faults(document, places))
    if problems:
        raise refusal(problems)
    return Listed([document.body for document in documents], places)


def _faults(document: Document, places: t.Dict[str, str]) -> t.Iterator[str]:
    """What is wrong with the names of a Dataplane; notes where it is in ``places``."""
    for field, rule in RULES:
        if document.body.get(field) is not None:
            fault = naming.fault(document.body[field], rule)
            if fault:
                yield "%s %s" % (field, fault)
    name = document.body.get("name")
    if name is None:
        yield "name is missing, expected the name of the Dataplane"
    elif str(name) in places:
        yield "name is %s, which is at %s as well, expected each name once" % (naming.shown(name), places[str(name)])
    else:
        places[str(name)] = document.source
