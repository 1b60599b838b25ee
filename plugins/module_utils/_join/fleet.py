# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The plan of a join with what the control plane says: reads alone, and every problem in one failure."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.capabilities import Capabilities
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import ApiError, NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import generation
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import archive, lifecycle, preflight, templates, trust
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.plan import Fleet


def plan(
    client: Client,
    hosts: t.Sequence[t.Dict[str, t.Any]],
    mesh: str,
    initial_state: str,
    warn: t.Callable[[str], None],
    offline: t.Optional[preflight.Offline] = None,
) -> t.Dict[str, t.Any]:
    """What module fleet_plan returns for ``hosts`` (``[{host, in_play, dropped_out, variables, observed}]``), and the Dataplanes that the
    mesh holds by name as ``live``.

    ``warn`` is told what does not speak against the join; ``offline`` says what speaks against tokens that the controller signs. Raises
    ItemsFailed with every problem.
    """
    archives, problems = archive.plan(hosts)
    wish, faults = generation.asked(hosts)
    problems.extend(faults)
    rules, release, labels = generation.Rules("v3" if wish == "v3" else "v2"), Release(2, 14, 0), True
    overviews: t.List[t.Dict[str, t.Any]] = []
    control_plane: t.Dict[str, t.Any] = {}
    xds_host = ""
    try:
        found = preflight.look(client, mesh, preflight.versions(hosts), initial_state, offline)
        capabilities = found.capabilities
        release, labels, xds_host = capabilities.release, capabilities.labels_survive, found.xds_host
        tags_disabled = found.control_plane.get("inbound_tags_disabled") is True
        rules, faults = generation.choose(wish, release, generation.mode_of(found.mesh), tags_disabled)
        problems.extend(faults)
        control_plane = {
            **found.control_plane,
            "product": capabilities.product,
            "version": capabilities.version,
            "kuma_version": capabilities.kuma_version,
            "model": rules.model,
        }
        problems.extend(found.problems)
        for warning in [*found.warnings, *_labels(hosts, capabilities)]:
            warn(warning)
        if not found.problems:
            overviews = client.list(api_path("meshes", mesh, "dataplanes", "_overview"))
    except NotFound as error:
        problems.append("%s is not the API of a Kuma control plane: %s" % (client.url, error))
    except ApiError as error:
        problems.append(str(error) + preflight.variable(error))

    templates.read(hosts)
    fleet = Fleet(hosts, overviews, rules.model, release, labels, rules.exclusive, initial_state)
    plans = fleet.plan()
    trusted = trust.of_fleet(hosts, release, xds_host, time.time())
    for warning in trusted.warnings:
        warn(warning)
    problems.extend(fleet.problems)
    refused = preflight.refused(plans, trusted.refused, fleet.refused)
    problems = preflight.with_refused(problems, refused)
    if problems:
        raise ItemsFailed(preflight.message(problems), {"problems": problems, "control_plane": control_plane})
    for name, needed in archives.items():
        plans[name].update(archive=needed.path, checksum=needed.checksum)
    proxies = [proxy for host in plans.values() if not host["refused"] for proxy in host["proxies"]]
    ours = [proxy for proxy in proxies if proxy["lifecycle"] == lifecycle.INDIRECT]
    return {
        "changed": False,
        "plan": plans,
        "dataplanes": [proxy["dataplane"] for proxy in ours],
        "differing": sorted(proxy["name"] for proxy in ours if proxy["differs"]),
        "labels_lost": sorted(proxy["name"] for proxy in ours if proxy["labels_lost"]),
        "not_ready": sorted(proxy["name"] for proxy in proxies if not proxy["ready"] and not proxy["fenced"]),
        "fetch": archive.to_fetch(archives.values()),
        "control_plane": control_plane,
        "certificates": trusted.ends,
        "live": fleet.live,
        "problems": [],
    }


def _labels(hosts: t.Sequence[t.Mapping[str, t.Any]], capabilities: Capabilities) -> t.List[str]:
    """What becomes of labels that somebody asked for where none survive."""
    named = [
        str(host["host"])
        for host in hosts
        if host["in_play"] and any((host.get("variables") or {}).get(key) for key in ("labels", "owner", "workload"))
    ]
    if capabilities.labels_survive or not named:
        return []
    return [
        "The control plane (Kuma %s) loses the labels of users at the next change of readiness, so none are written: kuma_dp_labels, "
        "kuma_dp_workload and kuma_dp_owner of %s have no effect. Upgrade it to 2.13 or later and join again, which writes them."
        % (capabilities.kuma_version, some(named, 3))
    ]
