# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a control plane hands over, in a directory of the controller that nobody else may enter: its CA and the administrator's token."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import files, showing

Json = t.Dict[str, t.Any]

_LATER_CA = "made when this is not a check"
_LATER_TOKEN = "fetched when this is not a check"  # noqa: S105


class NotKept(Exception):
    """Why nothing could be kept."""


def keep(directory: str, ca: str, token: str, check: bool) -> t.List[Json]:
    """Write ``ca.pem`` and ``admin-token`` where they differ. Returns their differences, without the token, as diffs. Raises NotKept.

    In a check nothing is written, and what a real run would make or fetch first is empty.
    """
    place = os.path.realpath(os.path.expanduser(directory))
    missing = _missing(os.path.dirname(place))
    wanted: Json = {
        "directories": [{"path": path, "mode": "0700"} for path in (*missing, place)],
        "files": [{"path": f"{place}/ca.pem", "mode": "0644", "content": (ca.strip() or _LATER_CA) + "\n"}],
        "secrets": [{"path": f"{place}/admin-token", "mode": "0600", "content": token or _LATER_TOKEN}],
        "links": [],
    }
    try:
        changes = files.plan(files.wishes_of(wanted), check)
        difference: t.List[Json] = [*showing.diff(changes)]
        if not check:
            # The control planes of several hosts share these, and make them at the same time.
            for path in reversed(missing):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path, 0o700)
            files.apply([change for change in changes if change.wish.path not in missing])
    except (files.Problems, files.WriteFailed, OSError) as error:
        raise NotKept(f"the CA and the administrator's token cannot be kept in {directory}: {error}") from error
    return difference


def keep_ca(directory: str, ca: str, check: bool) -> t.List[Json]:
    """Write ``ca.pem`` alone, where a hand-over has been. Returns its difference; nothing where none has been. Raises NotKept."""
    place = os.path.realpath(os.path.expanduser(directory))
    if not os.path.isdir(place):
        return []
    wanted: Json = {
        "directories": [],
        "files": [{"path": f"{place}/ca.pem", "mode": "0644", "content": ca.strip() + "\n"}],
        "secrets": [],
        "links": [],
    }
    try:
        changes = files.plan(files.wishes_of(wanted), check)
        difference: t.List[Json] = [*showing.diff(changes)]
        if not check:
            files.apply(changes)
    except (files.Problems, files.WriteFailed, OSError) as error:
        raise NotKept(f"the CA cannot be kept in {directory}: {error}") from error
    return difference


def _missing(directory: str) -> t.List[str]:
    """The directories above that are not there, the innermost first."""
    found = []
    while not os.path.isdir(directory):
        found.append(directory)
        directory = os.path.dirname(directory)
    return found
