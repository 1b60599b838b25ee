# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The plan of zone proxies with what the control plane says: reads alone, and every problem in one failure."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import ApiError, NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import archive, preflight, trust
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import api
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone.plan import Zones


def plan(
    client: Client,
    hosts: t.Sequence[t.Dict[str, t.Any]],
    mesh: str,
    warn: t.Callable[[str], None],
    offline: t.Optional[preflight.Offline] = None,
) -> t.Dict[str, t.Any]:
    """What module zone_proxy_plan returns for ``hosts`` (``[{host, in_play, dropped_out, variables, observed}]``).

    ``warn`` is told what does not speak against it; ``offline`` says what speaks against tokens that the controller signs. Raises
    ItemsFailed with every problem.
    """
    archives, problems = archive.plan(hosts)
    model, zone, release = "v2", "", Release(2, 14, 0)
    xds_host = ""
    overviews: t.List[t.Dict[str, t.Any]] = []
    control_plane: t.Dict[str, t.Any] = {}
    try:
        found = preflight.look_for_zone(client, mesh, preflight.versions(hosts), offline)
        model, release, xds_host = found.capabilities.model, found.capabilities.release, found.xds_host
        control_plane = {**found.control_plane, "version": found.capabilities.version, "model": model}
        problems.extend(found.problems)
        for warning in found.warnings:
            warn(warning)
        zone = api.zone_name(client) or _only_zone(hosts)
        if not zone and model == "v2":
            problems.append("the control plane does not tell its zone to this user, expected kuma_zone_proxy_zone to name it")
        if not found.problems:
            overviews = api.overviews(client, mesh)
    except NotFound as error:
        problems.append(f"{client.url} is not the API of a Kuma control plane: {error}")
    except ApiError as error:
        problems.append(str(error) + preflight.variable(error))

    zones = Zones(hosts, overviews, model, zone)
    plans = zones.plan()
    problems.extend(zones.problems)
    trusted = trust.of_fleet(hosts, release, xds_host, time.time())
    for warning in trusted.warnings:
        warn(warning)
    problems = preflight.with_refused(problems, preflight.refused(plans, trusted.refused))
    if problems:
        raise ItemsFailed(preflight.message(problems), {"problems": problems, "control_plane": control_plane})
    for name, needed in archives.items():
        plans[name].update(archive=needed.path, checksum=needed.checksum)
    return {
        "changed": False,
        "plan": plans,
        "not_ready": sorted(
            proxy["name"] for host in plans.values() if not host["refused"] for proxy in host["proxies"] if not proxy["ready"]
        ),
        "fetch": archive.to_fetch(archives.values()),
        "control_plane": control_plane,
        "certificates": trusted.ends,
        "problems": [],
    }


def _only_zone(hosts: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    found = {str((host.get("variables") or {}).get("zone") or "") for host in hosts if host["in_play"]} - {""}
    return min(found) if len(found) == 1 else ""
