# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a control plane says about itself, and what it can do by its version."""

from __future__ import annotations

import typing as t
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


# What clients look at of the configuration of a control plane, and where it is: who may issue tokens, what proxies are told, where its zone is.
FACTS: t.Mapping[str, t.Sequence[str]] = {
    "mode": ("mode",),
    "store": ("store", "type"),
    "hds_enabled": ("dpServer", "hds", "enabled"),
    "envoy_admin_unix_socket": ("bootstrapServer", "params", "envoyAdminUnixSocket"),
    "reloadable_tokens": ("dpServer", "authn", "enableReloadableTokens"),
    "inbound_tags_disabled": ("experimental", "inboundTagsDisabled"),
    "zone": ("multizone", "zone", "name"),
    "zone_token_users": ("access", "static", "generateZoneToken", "users"),
    "zone_token_groups": ("access", "static", "generateZoneToken", "groups"),
    "dp_token_users": ("access", "static", "generateDpToken", "users"),
    "dp_token_groups": ("access", "static", "generateDpToken", "groups"),
}


def facts_of(config: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """``FACTS`` of a configuration, without those that it does not name."""
    found = {name: dig(config, place) for name, place in FACTS.items()}
    return {name: value for name, value in found.items() if value is not None}


def dig(value: t.Any, place: t.Sequence[str]) -> t.Any:
    """What is there; None when nothing is."""
    for key in place:
        value = value.get(key) if isinstance(value, dict) else None
    return value
