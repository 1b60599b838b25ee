# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the control planes that can be emulated."""

from __future__ import annotations

from dataclasses import dataclass

SUPPORTED_PROTOCOLS = ("grpc", "http", "http2", "kafka", "tcp")


@dataclass(frozen=True)
class Release:
    """One emulated control plane; every flag names a behaviour that was recorded or read in the source."""

    name: str
    served_version: str
    order: tuple[int, int, int]

    @property
    def v3(self) -> bool:
        """The model without inbound tags."""
        return self.order >= (3, 0, 0)

    @property
    def kri(self) -> bool:
        return self.order >= (2, 13, 0)

    @property
    def overview_kri(self) -> bool:
        return self.order >= (2, 14, 0)

    @property
    def inbound_optional(self) -> bool:
        """Zero inbounds, inbounds without tags, listeners and inbound.protocol."""
        return self.order >= (2, 14, 0)

    @property
    def paging_strict(self) -> bool:
        """size=0 and negative offsets are answered with 400."""
        return self.order >= (2, 14, 0)

    @property
    def workload(self) -> bool:
        """Tokens carry a Workload claim and the Workload type exists."""
        return self.order >= (2, 13, 0)

    @property
    def strict_inbound_ports(self) -> bool:
        """A mesh that insists on mTLS lets redirected connections in to declared ports alone."""
        return self.order >= (2, 13, 0)

    @property
    def immutable_labels(self) -> tuple[str, ...]:
        if self.v3:
            return ("kuma.io/zone",)
        if self.order >= (2, 13, 0):
            return ("kuma.io/origin", "kuma.io/zone", "kuma.io/display-name")
        return ()

    @property
    def health_keeps_labels(self) -> bool:
        """Before 2.13 a change of state by the health check stores the Dataplane without the user's labels."""
        return self.order >= (2, 13, 0)

    @property
    def loose_names(self) -> bool:
        """Names of meshes, secrets and zones may have underscores and begin and end with any character."""
        return self.order < (2, 14, 0)

    @property
    def secret_labels(self) -> bool:
        """Secrets get the labels that other resources of a mesh get."""
        return self.order >= (2, 14, 0)

    @property
    def admin_unix_socket(self) -> bool:
        return self.order >= (2, 14, 0)

    @property
    def readiness_unix_socket(self) -> bool:
        return (2, 12, 0) <= self.order < (2, 14, 0)

    @property
    def reuse_port(self) -> bool:
        return self.order >= (2, 13, 7)

    @property
    def says_not_yet_valid(self) -> bool:
        """A token of the future is told from other bad ones."""
        return self.order >= (2, 14, 0)

    @property
    def wildcard_san(self) -> bool:
        """Before 2.14 the host of --cp-address is compared literally with the certificate's names."""
        return self.order >= (2, 14, 0)

    @property
    def zone_proxies(self) -> bool:
        """ZoneIngress and ZoneEgress resources."""
        return not self.v3

    @property
    def mesh_options(self) -> bool:
        """Mesh has mtls, meshServices and constraints."""
        return not self.v3


RELEASES = {
    "2.12.14": Release("2.12.14", "2.12.14", (2, 12, 14)),
    "2.13.10": Release("2.13.10", "2.13.10", (2, 13, 10)),
    "2.14.3": Release("2.14.3", "2.14.3", (2, 14, 3)),
    "3.0-dev": Release("3.0-dev", "3.0.0-preview.vlocal", (3, 0, 0)),
}
