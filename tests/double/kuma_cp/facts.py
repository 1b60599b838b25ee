# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small read-only documents: the index, /config and the global insight."""

from __future__ import annotations

import socket
import uuid
from typing import Any

from .status import status
from .store import Store, timestamp


class Facts:
    """What a control plane tells about itself."""

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self.store, self.settings = store, settings
        host = socket.gethostname()
        self.instance = f"{host}-{uuid.uuid4().hex[:4]}"
        self.cluster = str(uuid.uuid4())
        self.host = host
        self.created = timestamp()

    def index(self) -> dict[str, str]:
        return {
            "clusterId": self.cluster,
            "gui": "/gui",
            "hostname": self.host,
            "instanceId": self.instance,
            "product": "Kuma",
            "version": self.settings["version"],
        }

    def config(self) -> dict[str, Any]:
        """The effective configuration, in the layout of the real one as far as clients look at it."""
        s = self.settings
        params: dict[str, Any] = {
            "adminAccessLogPath": "/dev/null",
            "adminAddress": "127.0.0.1",
            "adminPort": 9901,
            "xdsConnectTimeout": "1s",
            "xdsHost": "",
            "xdsPort": s["dp_port"],
        }
        if self.store.release.admin_unix_socket:
            params.update(envoyAdminUnixSocket=s["admin_unix_socket"], readinessPort=9902)
        document: dict[str, Any] = {
            "apiServer": {
                "auth": {"clientCertsDir": ""},
                "authn": {
                    "localhostIsAdmin": s["localhost_is_admin"],
                    "tokens": {"bootstrapAdminToken": True, "enableIssuer": True, "validator": {"publicKeys": [], "useSecrets": True}},
                    "type": "tokens",
                },
                "basePath": "/",
                "http": {"enabled": True, "interface": s["bind"], "port": s["api_port"]},
                "https": {"enabled": True, "interface": s["bind"], "port": s["api_tls_port"], "requireClientCert": False},
                "readOnly": False,
                "rootUrl": "",
            },
            "bootstrapServer": {"params": params},
            "dpServer": {
                "authn": {
                    "dpProxy": {"dpToken": s["dataplane_tokens"], "type": "dpToken"},
                    "enableReloadableTokens": s["reloadable_tokens"],
                    "zoneProxy": {"type": "zoneToken", "zoneToken": s["zone_tokens"]},
                },
                "hds": {
                    "checkDefaults": {
                        "healthyThreshold": 1,
                        "interval": f"{s['hds_check_interval']:g}s",
                        "noTrafficInterval": "1s",
                        "timeout": "2s",
                        "unhealthyThreshold": 1,
                    },
                    "enabled": s["hds_enabled"],
                    "interval": f"{s['hds_interval']:g}s",
                    "refreshInterval": "10s",
                },
                "port": s["dp_port"],
            },
            "environment": "universal",
            "general": {"dnsCacheTTL": "10s", "workDir": s["work_dir"]},
            "metrics": {"dataplane": {"idleTimeout": "5m0s", "subscriptionLimit": 2}},
            "mode": "zone",
            "multizone": {"zone": {"globalAddress": "", "name": self.store.zone}},
            "runtime": {"universal": {"dataplaneCleanupAge": "72h0m0s"}},
            "store": {"cache": {"enabled": True, "expirationTime": "1s"}, "type": s["store"], "unsafeDelete": False},
            "xdsServer": {
                "dataplaneConfigurationRefreshInterval": "1s",
                "dataplaneDeregistrationDelay": f"{s['deregistration_delay']:g}s",
                "dataplaneStatusFlushInterval": "10s",
            },
        }
        if not self.store.release.v3:
            document["dnsServer"] = {"CIDR": "240.0.0.0/4", "domain": "mesh", "serviceVipEnabled": True, "serviceVipPort": 80}
        return document

    def insight(self) -> dict[str, Any]:
        """The counters of /global-insight, counted now."""
        v3 = self.store.release.v3
        zero = {"offline": 0, "online": 0, "partiallyDegraded": 0, "total": 0}
        kinds = ["gatewayDelegated", "standard"] if v3 else ["gatewayBuiltin", "gatewayDelegated", "standard"]
        proxies = {kind: dict(zero) for kind in kinds}
        counter = {"Online": "online", "Offline": "offline", "Partially degraded": "partiallyDegraded"}
        for resource in self.store.tables["Dataplane"].within(None):
            gateway = resource.spec["networking"].get("gateway")
            kind = "standard" if gateway is None else "gatewayBuiltin" if gateway.get("type") == "BUILTIN" else "gatewayDelegated"
            proxies[kind]["total"] += 1
            proxies[kind][counter[status(self.store, resource)]] += 1
        totals = {}
        policies = 0
        for name, kind in self.store.kinds.items():
            count = len(self.store.tables[name].order)
            if kind.flags:
                policies += count
            if count and (kind.flags or name in ("Secret", "MeshService", "MeshIdentity", "Workload")):
                totals[name] = {"total": count}
        if self.store.release.order >= (2, 14, 0):
            totals["HostnameGenerator"] = {"total": len(self.store.tables["HostnameGenerator"].order)}
        services: dict[str, Any] = {"external": {"total": 0}, "internal": dict(zero)}
        services.update({kind: dict(zero) for kind in kinds if kind != "standard"})
        return {
            "createdAt": self.created,
            "dataplanes": proxies,
            "meshes": {"total": len(self.store.tables["Mesh"].order)},
            "policies": {"total": policies},
            "resources": dict(sorted(totals.items())),
            "services": dict(sorted(services.items())),
            "zones": {
                "controlPlanes": {"online": 0, "total": 0},
                "zoneEgresses": {"online": 0, "total": 0},
                "zoneIngresses": {"online": 0, "total": 0},
            },
        }
