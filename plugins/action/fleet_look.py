# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.fleet_look, whose documentation is in plugins/modules/fleet_look.py."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import without_user
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import archive, trust
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, controller, fleet, layout, options, redirection

Json = t.Dict[str, t.Any]


class ActionModule(action.FleetAction):
    """One visit to a VM, and the options of its role as the plan takes them."""

    ARGUMENTS: t.ClassVar[t.Dict[str, t.Any]] = {"purpose": {"type": "str", "choices": ["join", "leave"], "default": "join"}}

    def step(self) -> Json:
        joins = self.params["purpose"] == "join"
        told = self.read(options.ZONE if self.role == "kuma_zone_proxy" else options.JOIN)
        names = fleet.proxy_names(told)
        fleet.check_names(self.host, names, self.role, told["proxies"])
        vm = self.read(layout.PLACE)
        place = layout.Layout.of(vm, str(self.value("kuma_dp_version")) if joins else "")
        if not joins:
            return {"changed": False, "host": self.module("proxy_info", names=names, **vm)["host"], "names": names}
        ca, wish = self._trust()
        asked = {} if wish.problem else {"dp_server_url": wish.url, "dp_server_ca": ca}
        seen = self.module("proxy_info", names=names, **vm, **_paths(place, names), digest_key=self.digest_key(), **asked)
        # The clock of the VM beside that of the controller, at the same moment.
        host = {**seen["host"], "clock": time.time()}
        return {"changed": False, "host": host, "names": names, "options": {**self._options(told, host), "trust": dict(wish._asdict())}}

    def _trust(self) -> t.Tuple[str, trust.Wish]:
        """The CA that the proxies get, and what the plan is told of it. Raises Missing."""
        given = self.read(options.TRUST)
        ca = controller.pem_text(given["ca"], options.TRUST["ca"].variable, self.search_dirs())
        return ca, trust.Wish.of(given["url"], ca, given["warn_before"])

    def _options(self, told: Json, seen: Json) -> Json:
        known = self.known(self.host)
        release = self.read(options.RELEASE)
        directories = self.search_dirs()
        version, architecture = release["version"], seen["architecture"]
        return {
            **told,
            "address": fleet.address(told["address"], self.host, known, seen["default_address"]),
            "search_dirs": directories,
            "version": version,
            # With the user of a URL it would be in every result; who fetches it looks again.
            "archive": without_user(controller.archive_source(release["archive"], version, architecture, directories)),
            "archive_checksum": release["archive_checksum"],
            "archive_cache": os.path.expanduser(release["archive_cache"]),
            "install": seen["archives"].get(version, "") != checksum(release["archive_checksum"], architecture),
            "transparent_proxy": self._transparent(told) if self.role == "kuma_dp" else {},
        }

    def _transparent(self, told: Json) -> Json:
        if not self.read(options.TRANSPARENT_ENABLED)["enabled"]:
            return {}
        return transparent(self, told["gateway"], told["proxies"])


def transparent(own: action.FleetAction, gateway: t.Any, proxies: t.Any) -> Json:
    """What is redirected to the proxy of a host."""
    zone = own.read({key: options.ZONE[key] for key in ("type", "port", "proxies")})
    gateways = [gateway, *(proxy.get("gateway") for proxy in proxies if isinstance(proxy, dict))]
    return redirection.options(own.read(options.TRANSPARENT), gateways, zone["proxies"] or [zone])


def checksum(pinned: t.Any, architecture: str) -> str:
    """The pinned SHA-256 of an archive; empty where there is none, which is for the plan to tell."""
    try:
        return archive.checksum_for(pinned, architecture) or ""
    except ValueError:
        return ""


def _paths(place: layout.Layout, names: t.Sequence[str]) -> Json:
    """What of the layout has to be known to see whether a file differs."""
    files = [place.dataplane(name) for name in names] + [place.environment(name) for name in names]
    files += [*layout.UNITS, place.ca, place.outbounds, place.marker, layout.SYSCTL, layout.NEEDRESTART, layout.RESTART_PROGRAM]
    files += [f"{layout.RESTART_DIR}/{layout.PACKAGE}/{name}.py" for name in layout.RESTART_SOURCES]
    directories = [item["path"] for item in place.directories(needrestart=True)]
    return {
        "paths": [*files, *directories, place.current, *place.outdated(names)],
        "secret_paths": [place.token(name) for name in names],
    }
