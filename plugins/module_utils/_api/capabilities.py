# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a control plane says about itself, and what it can do by its version."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Release


@dataclass(frozen=True)
class Capabilities:
    """``kuma_version`` is the Kuma that a Kong Mesh is based on, and ``release`` its numbers."""

    product: str
    version: str
    kuma_version: str
    release: Release

    def __post_init__(self) -> None:
        object.__setattr__(self, "release", Release(*self.release))

    @property
    def model(self) -> str:
        return self.release.model

    @property
    def labels_survive(self) -> bool:
        return self.release.labels_survive

    @property
    def workload_tokens(self) -> bool:
        return self.release.workload_tokens
