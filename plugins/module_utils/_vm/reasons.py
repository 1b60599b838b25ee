# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Why a running proxy is not what it should be. The codes are compared, the text is for people and stands here alone."""

from __future__ import annotations

import typing as t

VERSION, PROGRAM, LIFECYCLE, REGISTRATION, REFUSED = "version", "program", "lifecycle", "registration", "refused"
# Files that a proxy reads when it starts, and never again (trap 29).
CA, DATAPLANE, ENVIRONMENT, TOKEN, FILE_OF_UNIT = "CA", "Dataplane", "environment", "token", "unit"
FILES = (CA, DATAPLANE, ENVIRONMENT, TOKEN, FILE_OF_UNIT)


class Reason(t.NamedTuple):
    """``found`` runs, ``wanted`` is what a restart brings; of a file neither is told."""

    code: str
    found: str = ""
    wanted: str = ""

    @property
    def text(self) -> str:
        if self.code == VERSION:
            return "version %s runs, %s is installed" % (self.found, self.wanted)
        if self.code == PROGRAM:
            return "its program was replaced"
        if self.code == LIFECYCLE:
            return "it runs %s, %s is wanted" % (self.found, self.wanted)
        if self.code == REGISTRATION:
            return "the control plane " + ("holds another Dataplane than its file" if self.found else "does not hold its Dataplane")
        if self.code == REFUSED:
            return "it is not connected and serves with what it has (%s)" % self.found
        return "%s changed after it was started" % self.code
