# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What the proxies of a VM and its applications are told: the environment files. Pure functions."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import lifecycle
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.journal import PLAIN
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import render_environment
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.layout import Layout

Json = t.Dict[str, t.Any]


def shown(proxy: Json, options: Json, layout: Layout) -> t.List[str]:
    """The variables of :func:`of_proxy` whose values are no secret: those that the role sets, and no user."""
    return sorted((set(_settings(proxy, options, layout)) & PLAIN) - set(options["settings"]))


def of_proxy(proxy: Json, options: Json, layout: Layout) -> str:
    """The settings of a kuma-dp. ``proxy`` is from the plan, ``options`` are ``options.VM``."""
    text = render_environment({key: str(value) for key, value in {**_settings(proxy, options, layout), **options["settings"]}.items()})
    return f"# The settings of kuma-dp for {proxy['name']}. Written by Ansible; kuma-dp reads it when it starts.\n{text}"


def _settings(proxy: Json, options: Json, layout: Layout) -> Json:
    name, zone_proxy = proxy["name"], "zone_proxy" in proxy
    dns = options["dns_enabled"] and not zone_proxy
    settings: Json = {
        "KUMA_CONTROL_PLANE_URL": options["control_plane_dp_url"],
        "KUMA_DATAPLANE_DRAIN_TIME": options["drain_time"],
        "KUMA_DATAPLANE_RUNTIME_TOKEN_PATH": layout.token(name),
        "KUMA_DATAPLANE_RUNTIME_BINARY_PATH": f"{layout.current}/bin/envoy",
        "KUMA_DATAPLANE_RUNTIME_WORK_DIR": naming.work_dir(name),
        "KUMA_DATAPLANE_RUNTIME_ENVOY_LOG_LEVEL": options["log_level"],
        "KUMA_READINESS_PORT": proxy["ports"]["readiness"],
        "KUMA_DNS_ENABLED": "true" if dns else "false",
    }
    # Who brings a resource is accepted only without a name and a mesh (trap 25).
    if zone_proxy or proxy["lifecycle"] == lifecycle.DIRECT:
        settings["KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH"] = layout.dataplane(name)
    else:
        settings.update(KUMA_DATAPLANE_NAME=name, KUMA_DATAPLANE_MESH=proxy["mesh"])
    if zone_proxy:
        settings["KUMA_DATAPLANE_PROXY_TYPE"] = proxy["proxy_type"]
    if proxy.get("arguments"):
        # Not a variable of kuma-dp: the unit makes a flag of it.
        settings["DATAPLANE_VARS"] = proxy["arguments"]
    if options["control_plane_ca"]:
        settings["KUMA_CONTROL_PLANE_CA_CERT_FILE"] = layout.ca
    if options["concurrency"]:
        settings["KUMA_DATAPLANE_RUNTIME_CONCURRENCY"] = options["concurrency"]
    if dns:
        ports = proxy["ports"]
        settings.update(
            KUMA_DNS_CORE_DNS_PORT=ports["coredns"],
            KUMA_DNS_ENVOY_DNS_PORT=ports["envoy_dns"],
            KUMA_DNS_PROMETHEUS_PORT=ports["dns_prometheus"],
        )
    return settings


def outbounds(planned: t.Iterable[Json]) -> str:
    """Where applications on a VM reach the services that its proxies call.

    Two services may have names that make the same variable; the second is told in a comment.
    """
    lines = ["# Where applications on this VM reach the services of the mesh. Written by Ansible."]
    seen: t.Set[str] = set()
    for outbound in sorted((found for proxy in planned for found in proxy["outbounds"]), key=lambda found: str(found["service"])):
        service, address, port = outbound["service"], outbound["address"], outbound["port"]
        key = variable(service)
        if key in seen:
            lines.append(f"# {service}={address}:{port} (its variable would be {key} as well)")
            continue
        seen.add(key)
        lines += [f"{key}={address}:{port}", f"{key}_HOST={address}", f"{key}_PORT={port}"]
    return "\n".join(lines) + "\n"


def variable(service: str) -> str:
    """The environment variable with the address of a service."""
    return "KUMA_OUTBOUND_" + re.sub(r"[^A-Z0-9]", "_", service.upper())
