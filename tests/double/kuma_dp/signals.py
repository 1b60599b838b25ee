# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals as events, none of which is lost."""

from __future__ import annotations

import os
import signal
import threading


def listen(numbers, received):
    """Calls `received` with each signal of `numbers`, in another thread; signals of the same moment in any order. Only for the main thread, once.

    Python runs a handler between two steps of its main thread. When that thread is just about to wait, a signal is noticed after the wait only, which
    may be never; the descriptor is written to at once, whatever the main thread does.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in numbers:
        signal.signal(number, lambda *_: None)

    def forward():
        while True:
            for number in os.read(reader, 64):
                if number in numbers:
                    received(signal.Signals(number))

    threading.Thread(target=forward, daemon=True).start()
