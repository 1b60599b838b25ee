# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a control plane says about itself, and what it can do by its version."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Release

Places = t.Mapping[str, t.Sequence[str]]

_STATIC = ("access", "static")
_AUTHN = ("dpServer", "authn")
# What is of interest in GET /config, under names of ours. ``..._users`` and ``..._groups`` are who may issue tokens.
CONFIGURATION: Places = {
    "mode": ("mode",),
    "store": ("store", "type"),
    "hds_enabled": ("dpServer", "hds", "enabled"),
    "envoy_admin_unix_socket": ("bootstrapServer", "params", "envoyAdminUnixSocket"),
    "reloadable_tokens": (*_AUTHN, "enableReloadableTokens"),
    "inbound_tags_disabled": ("experimental", "inboundTagsDisabled"),
    "zone": ("multizone", "zone", "name"),
    "zone_token_users": (*_STATIC, "generateZoneToken", "users"),
    "zone_token_groups": (*_STATIC, "generateZoneToken", "groups"),
    "dp_token_users": (*_STATIC, "generateDpToken", "users"),
    "dp_token_groups": (*_STATIC, "generateDpToken", "groups"),
}
# Where tokens may come from: whether it issues any, ``public_keys`` (``[{kid, mesh, key}]``) of those that were signed elsewhere, and whether
# keys in Secrets count beside these.
DP_TOKENS: Places = {
    "issuer": (*_AUTHN, "dpProxy", "dpToken", "enableIssuer"),
    "public_keys": (*_AUTHN, "dpProxy", "dpToken", "validator", "publicKeys"),
    "use_secrets": (*_AUTHN, "dpProxy", "dpToken", "validator", "useSecrets"),
}
ZONE_TOKENS: Places = {
    "issuer": (*_AUTHN, "zoneProxy", "zoneToken", "enableIssuer"),
    "public_keys": (*_AUTHN, "zoneProxy", "zoneToken", "validator", "publicKeys"),
    "use_secrets": (*_AUTHN, "zoneProxy", "zoneToken", "validator", "useSecrets"),
}


def dig(value: t.Any, places: Places) -> t.Dict[str, t.Any]:
    """What a configuration says of these; what it does not name is left out."""
    found = {}
    for name, place in places.items():
        inner = value
        for key in place:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if inner is not None:
            found[name] = inner
    return found


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
