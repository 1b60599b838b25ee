# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a control plane can do, by its version. Pure functions."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass


@dataclass(frozen=True)
class Capabilities:
    """What a control plane can do, by its version; Kong Mesh counts as the Kuma it is based on."""

    product: str
    version: str
    kuma_version: str
    release: t.Tuple[int, int, int]

    @property
    def model(self) -> str:
        """``v2``: services are tags of inbounds; ``v3``: services come from the label kuma.io/workload."""
        return "v3" if self.release >= (3, 0, 0) else "v2"

    @property
    def labels_survive(self) -> bool:
        """Below 2.13 a readiness change wipes the labels of users (trap 16)."""
        return self.release >= (2, 13, 0)

    @property
    def workload_tokens(self) -> bool:
        """Whether a Dataplane token can be bound to a workload; older versions ignore that silently."""
        return self.release >= (2, 13, 0)


def parse_release(version: str) -> t.Tuple[int, int, int]:
    """``v2.14.3-rc1`` is (2, 14, 3). Builds without a release number (``0.0.0-preview.vabc``) are of the newest model."""
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version.strip())
    if match is None or match.group(1, 2) == ("0", "0"):
        return (3, 0, 0)
    return (int(match.group(1)), int(match.group(2)), int(match.group(3) or 0))
