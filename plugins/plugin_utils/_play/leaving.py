# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The parts of a leave that are done once for all hosts: callers stop choosing proxies before they stop, and Dataplanes go after them."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import ApiError
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import sync, waiting
from ansible_collections.meshfleet.kuma.plugins.module_utils._traffic import maintenance
from ansible_collections.meshfleet.kuma.plugins.module_utils._traffic.propagation import Timing
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import api as zone_api
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import resource as zone_resource

Json = t.Dict[str, t.Any]

# Long enough to leave, and reported as forgotten after that.
_FENCED_FOR = 3600.0
# The control plane deletes what a Direct proxy leaves ten seconds after its end.
_GONE_WITHIN = 30.0
_TIMING = Timing(3.0, 30.0, 0.5)


def unrevoked(names: t.Sequence[str]) -> t.List[str]:
    """What is said of proxies that left and whose tokens nobody knows."""
    if not names:
        return []
    return [
        f"No token of {some(names)} is known, neither by the ledger nor by a VM, so none was revoked: whoever has one can use it until it ends."
    ]


class MeshLeave:
    """``names`` are the Dataplanes of one mesh that leave."""

    def __init__(self, client: Client, mesh: str, names: t.Sequence[str], check: bool) -> None:
        self.client, self.mesh, self.names, self.check = client, mesh, list(names), check

    def withdraw(self) -> t.List[str]:
        """Take those out of traffic that are called, and wait until their callers have seen it. Returns warnings; raises ItemsFailed.

        Those that left before, or never registered, need nothing.
        """
        if not self.names:
            return []
        registered = waiting.select(self.client, self.mesh, self.names, {})
        called = [str(overview["name"]) for overview in registered if status.dataplane(overview)["networking"].get("inbound")]
        if not called:
            return []
        wanted = maintenance.Settings(
            mesh=self.mesh, fence=True, reason="leaving", duration=_FENCED_FOR, force=True, check=self.check, wait=True, timing=_TIMING
        )
        try:
            outcome = maintenance.Maintenance(self.client, wanted, time.time()).apply(called, {})
        except sync.Refused as refused:
            raise ItemsFailed(refused.msg) from refused
        failed = [change for change in outcome.changes if change.action == sync.FAILED]
        if failed:
            raise ItemsFailed(sync.describe_failures(failed))
        return maintenance.warnings(maintenance.report(outcome.overviews, time.time()), outcome, wanted)

    def delete(self, direct: t.Sequence[str]) -> t.Tuple[t.List[str], t.List[Json]]:
        """Delete the Dataplanes: names of those that were still there, and a diff. A dead Indirect proxy stays in everybody's endpoints for as
        long as its Dataplane exists. The control plane deletes those of the ``direct`` ones; what it leaves behind, because they were restarted
        meanwhile, is deleted with the others. Raises ItemsFailed.
        """
        if direct and not self.check:
            # Whatever is wrong is met again below.
            with contextlib.suppress(ApiError):
                waiting.wait_for(self.client, self.mesh, direct, {}, "gone", _GONE_WITHIN, 1.0)
        dataplanes = sync.Dataplanes(self.client, sync.Settings(mesh=self.mesh, check=self.check))
        changes = sync.absent(dataplanes, self.names)
        failed = [change for change in changes if change.action == sync.FAILED]
        if failed:
            raise ItemsFailed(sync.describe_failures(failed))
        return [change.name for change in changes if change.action == sync.DELETED], sync.diff(changes, dataplanes)


class ZoneLeave:
    """``names`` are the zone proxies that leave; ``allow_last`` also the last ones of their zone."""

    def __init__(self, client: Client, mesh: str, names: t.Sequence[str], allow_last: bool, check: bool) -> None:
        self.client, self.mesh, self.names, self.allow_last, self.check = client, mesh, set(names), allow_last, check

    def judge(self) -> t.List[str]:
        """Who is registered. Raises ItemsFailed when a zone would be left without."""
        return [str(overview["name"]) for overview in self._registered()]

    def delete(self) -> t.List[str]:
        """The names of those that were deleted. The control plane does so itself ten seconds after a stop, and after 72 hours when a VM is dead."""
        found = self._registered()
        return [str(overview["name"]) for overview in found] if self.check else zone_api.delete(self.client, self.mesh, found)

    def _registered(self) -> t.List[zone_resource.Overview]:
        overviews = zone_api.overviews(self.client, self.mesh)
        last = zone_resource.last_ones(overviews, self.names)
        if last and not self.allow_last:
            raise ItemsFailed(
                f"Nothing was deleted. {'; '.join(last)}. Join another one first, or allow it with kuma_zone_proxy_leave_last (allow_last)."
            )
        return [overview for overview in overviews if overview["name"] in self.names]
