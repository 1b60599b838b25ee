# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The options of a task as a module would get them over the wire, and the environment of a task in this process."""

from __future__ import annotations

import contextlib
import json
import os
import typing as t

from ansible.module_utils.common.text.converters import to_text

Json = t.Dict[str, t.Any]


class Owned(t.Dict[str, t.Any]):
    """Options that nobody else holds: whoever wants a copy for himself, as Ansible's validation does, may have them as they are."""

    def __deepcopy__(self, _memo: t.Any) -> Owned:
        return self


def plain(options: t.Mapping[str, t.Any]) -> Owned:
    """``options`` as plain data and a copy of them: by way of JSON, so that they are what a module in a process of its own is given.

    Ansible's own types for text know where it is from and whether it may be a template. They cost ten times as much in every step.
    """
    return Owned(json.loads(json.dumps(options, default=_plain)))


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, t.Mapping):
        return dict(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return to_text(value, nonstring="simplerepr")  # such as what was encrypted in a file of variables


@contextlib.contextmanager
def environment(values: t.Mapping[str, t.Any]) -> t.Iterator[None]:
    """``values`` are variables of the environment of this process meanwhile."""
    before = dict(os.environ)
    os.environ.update({str(name): str(value) for name, value in values.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
