# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What may anybody do who reaches the API of this control plane? Told by what it says; nothing is written to find out.

Kuma lets everybody write what is not the administrator's alone, Dataplanes and policies among it. Whether a write gets that far, something
before the control plane may decide by its method, so a warning says what was asked and what follows from it, and no more.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks, naming

_API = ("apiServer",)
_LISTENING = {
    "read_only": (*_API, "readOnly"),
    "interface": (*_API, "http", "interface"),
    "enabled": (*_API, "http", "enabled"),
    "port": (*_API, "http", "port"),
}
_CLOSE = (
    "Let only those reach it who administer the mesh, with a firewall; or have it want certificates of its clients "
    "(KUMA_API_SERVER_HTTPS_REQUIRE_CLIENT_CERT, kuma_dp_api_client_cert) and plain HTTP on loopback alone (KUMA_API_SERVER_HTTP_INTERFACE)."
)


def look(client: Client) -> t.List[str]:
    """Warnings about a control plane that is too open: one request, as somebody whom it does not know."""
    found = client.control_plane(_LISTENING)
    if found.get("read_only") is True:
        return []
    http = open_http(found)
    who = client.as_anybody("/who-am-i")
    if not isinstance(who, dict) or not isinstance(who.get("name"), str):
        # It lets in nobody who is not known, or does not tell.
        return [f"{http}. {_CLOSE}"] if http else []
    groups = who.get("groups")
    own = [who["name"], *(groups if isinstance(groups, list) else [])]
    return [_warning(client, naming.ADMIN in own, who["name"], http)]


def _warning(client: Client, admin: bool, name: str, http: str) -> str:
    also = f" {http}." if http else ""
    if admin:
        return (
            f"Whoever reaches {client.url} is the administrator of the mesh, without a token: the control plane takes these requests for those of "
            f"its own machine. Set KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN=false there (kuma_cp_localhost_is_admin).{also}"
        )
    product = client.capabilities().product
    if product != "Kuma":
        return (
            f"Whoever reaches {client.url} is let in without a token, as {name}. What that user may write is up to the AccessRoleBindings of "
            f"{product}, which were not looked into: see that mesh-system:unauthenticated has no role.{also}"
        )
    return (
        f"Whoever reaches {client.url} may create, change and delete Dataplanes and policies without a token: it is let in as {name}, and Kuma asks "
        f"for no rights to these. (It was not tried, and something before it may refuse it.){also} {_CLOSE}"
    )


def open_http(found: t.Mapping[str, t.Any]) -> str:
    """What is to be said of an API that is offered by plain HTTP on all addresses; empty when it is not, or nobody knows."""
    interface = found.get("interface")
    if found.get("enabled") is False or not isinstance(interface, str) or not checks.is_wildcard(interface):
        return ""
    return f"It offers its API by plain HTTP on all its addresses as well (port {found.get('port')}), where everybody may write without token and certificate"
