# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""One thing that Kuma 3.0 does differently, as the report on a migration has it."""

from __future__ import annotations

import typing as t

SILENT, LOUD, CHANGES, INFO = "silent", "loud", "changes", "info"
SEVERITIES = (SILENT, LOUD, CHANGES, INFO)


class Finding(t.NamedTuple):
    """One thing that 3.0 does differently.

    ``severity`` is silent (breaks without an error), loud (is refused), changes or info; ``code`` is the same for all findings of one
    sort; ``type``, ``mesh`` and ``name`` are the resource, ``host`` the host of the inventory it belongs to (empty for none).
    """

    severity: str
    code: str
    type: str
    mesh: str
    name: str
    host: str
    field: str
    found: str
    then: str
    remedy: str
