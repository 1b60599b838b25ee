# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What is asked for with the variables of a maintenance. Pure functions."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import parse_duration
from ansible_collections.meshfleet.kuma.plugins.module_utils._traffic.maintenance import Settings

Json = t.Dict[str, t.Any]

FENCED, IN_TRAFFIC = "fenced", "in_traffic"
_REASON = "maintenance"


def wish(told: Json) -> Settings:
    """``told`` are the values of ``options.MAINTENANCE``; the mesh is not known yet. Raises ItemsFailed."""
    if told["state"] not in (FENCED, IN_TRAFFIC):
        raise ItemsFailed(
            f"kuma_maintenance is {told['state'] or 'not set'}, expected fenced (out of traffic) or in_traffic: "
            "set it with -e kuma_maintenance=fenced."
        )
    return Settings(
        mesh="",
        fence=told["state"] == FENCED,
        reason=str(told["reason"] or _REASON),
        duration=_seconds(told["duration"]),
        force=told["force"],
    )


def _seconds(duration: t.Any) -> t.Optional[float]:
    if not duration:
        return None
    try:
        return parse_duration(str(duration))
    except ValueError as error:
        raise ItemsFailed(f"kuma_maintenance_duration: {error}.") from error
