# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Is a proxy connected, and does the control plane refuse its token? By what both sides say. Pure functions.

``observed`` is what proxy_info found out about the proxy; empty where nothing is known.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import status

Observed = t.Mapping[str, t.Any]


def connected(overview: t.Optional[status.Overview], observed: Observed) -> bool:
    """The control plane takes a proxy that was killed for connected for minutes, and its Envoy knows better."""
    return overview is not None and status.online(overview) and observed.get("connected") is not False


def refused_token(online: bool, observed: Observed) -> str:
    """Why the control plane refuses the token that lies on the VM; empty where it does not, or where the proxy runs with an older one."""
    refusal = observed.get("refusal") or {}
    if online or not refusal.get("token") or "token" in (observed.get("restart_codes") or ()):
        return ""
    return "the control plane refuses it: %s" % refusal["said"]
