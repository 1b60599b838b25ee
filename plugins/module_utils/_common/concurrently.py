# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Many requests to the control plane, a few at a time."""

from __future__ import annotations

import concurrent.futures
import typing as t

# More connections bring nothing: the control plane is the bottleneck from here on.
CONNECTIONS = 8

Item = t.TypeVar("Item")
Done = t.TypeVar("Done")


def concurrently(work: t.Callable[[Item], Done], items: t.Sequence[Item], connections: int = CONNECTIONS) -> t.List[Done]:
    """What ``work`` made of each of ``items``, in their order, over at most eight connections."""
    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        return list(pool.map(work, items))
