# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much a function does, in lines of Python that are run: the same on every machine, however busy it is."""

from __future__ import annotations

import gc
import sys


def measured(function, *arguments, **named):
    """What ``function`` returns, and its lines. Each turn of a loop or a comprehension is one, too; what is done in C is not seen."""
    count = 0

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    before, collects = sys.gettrace(), gc.isenabled()
    gc.disable()  # what it calls is not the function's
    sys.settrace(trace)
    try:
        result = function(*arguments, **named)
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return result, count
