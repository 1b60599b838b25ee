# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Stops proxies that serve nobody, so that they are started with what lies there now. Nothing is lost by that, and nothing has to be drained."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.vm import Vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import RESTART_UNIT

# Stages in which a restart that is under way waits for a proxy that does not get ready, and starts it again when it is gone.
_WAITING = ("stranded",)


def due(vm: Vm, helpers: t.Container[str]) -> bool:
    """Whether the proxy serves nobody at this moment, whoever thought so before. ``helpers`` are the units that run beside those of the proxies.

    A restart that is under way knows best what comes next.
    """
    if RESTART_UNIT % vm.paths.name in helpers:
        state = vm.load()
        if state is None or state["stage"] not in _WAITING:
            return False
    return vm.look("begin").main.serves_nobody


def stop(vm: Vm, helpers: t.Container[str]) -> bool:
    """Stop it without the drain time, which kuma-dp would sleep through. False for one that may serve by now, which is left alone.

    It is looked at now: others were stopped before it, which takes seconds, and one that takes its new token when it connects came back meanwhile.
    """
    if not due(vm, helpers):
        return False
    vm.stop("main")
    return True
