# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What one release of Kuma can do and another one cannot. Kong Mesh counts as the Kuma that it is based on."""

from __future__ import annotations

import re
import typing as t

Numbers = t.Tuple[int, int, int]


class Release(t.NamedTuple):
    """A release, of a control plane or of kuma-dp. It is equal to its numbers and ordered as they are."""

    major: int
    minor: int
    patch: int

    # Of a control plane.

    @property
    def supported(self) -> bool:
        return self >= OLDEST

    @property
    def model(self) -> str:
        """``v2``: services are tags of inbounds; ``v3``: services come from the label kuma.io/workload."""
        return "v3" if self >= (3, 0, 0) else "v2"

    @property
    def has_tags(self) -> bool:
        """3.0 drops tags, and with them all that only a service by tags needs."""
        return self < (3, 0, 0)

    @property
    def labels_survive(self) -> bool:
        """Below 2.13 a readiness change wipes the labels of users (trap 16)."""
        return self >= (2, 13, 0)

    @property
    def workload_tokens(self) -> bool:
        """Whether a Dataplane token can be bound to a workload; versions before 2.13 ignore that silently."""
        return self >= (2, 13, 0)

    @property
    def has_protocols(self) -> bool:
        """inbound.protocol, listeners, and proxies without inbounds came with 2.14; before it the first two are dropped without a word."""
        return self >= (2, 14, 0)

    @property
    def admin_on_socket(self) -> bool:
        """From 2.14 on Envoy's admin interface is a unix socket, unless the control plane is told otherwise (trap 3)."""
        return self >= (2, 14, 0)

    @property
    def reads_wildcards(self) -> bool:
        """Before 2.14 the host by which a proxy comes has to be in the control plane's certificate letter by letter (trap 32)."""
        return self >= (2, 14, 0)

    # Of kuma-dp.

    @property
    def drains_over_socket(self) -> bool:
        """kuma-dp before 2.14 knows no admin interface but that on a port (trap 3)."""
        return self >= (2, 14, 0)

    @property
    def shares_listeners(self) -> bool:
        """Before 2.13.7 listeners are without reuse_port, so that no cover can listen beside its proxy."""
        return self >= (2, 13, 7)

    @property
    def speaks_delta(self) -> bool:
        """Delta xDS came with 2.11, and a control plane of 3.0 speaks nothing else."""
        return self >= (2, 11, 0)


# The oldest control plane that takes what the roles write.
OLDEST = Release(2, 12, 0)


def parse_release(version: str) -> Release:
    """``v2.14.3-rc1`` is (2, 14, 3). Builds without a release number (``0.0.0-preview.vabc``) are of the newest model."""
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version.strip())
    if match is None or match.group(1, 2) == ("0", "0"):
        return Release(3, 0, 0)
    return Release(int(match.group(1)), int(match.group(2)), int(match.group(3) or 0))
