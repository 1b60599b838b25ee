# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Durations as Kuma and its users write them, and points in time."""

from __future__ import annotations

import re
import time
import typing as t

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
# Kuma reads Go durations, which have no day (trap 23).
_GO_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(ms|d|h|m|s)")
# 100 years: a Go duration ends at about 292.
_LONGEST = 100 * 365 * 86400


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``720h``, ``30d``, ``1h30m`` or ``500ms``. Raises ValueError when it is not one."""
    total = _sum(_PART, text.strip())
    if total is None:
        raise ValueError(f"found {text!r}, expected a duration such as 720h, 30d, 1h30m or 45s")
    if total > _LONGEST:
        raise ValueError(f"found {text!r}, expected a duration of at most 100 years")
    return total


def go_seconds(value: t.Any) -> t.Any:
    """A protobuf or Go duration (``5s``, ``1m30s``) in seconds; anything else unchanged."""
    total = _sum(_GO_PART, str(value))
    return value if total is None else round(total, 9)


def _sum(part: t.Pattern[str], text: str) -> t.Optional[float]:
    """Seconds of a text that consists of such parts; None for any other."""
    total, end = 0.0, 0
    for match in part.finditer(text):
        if match.start() != end:
            return None
        total += float(match.group(1)) * _UNITS[match.group(2)]
        end = match.end()
    return total if text and end == len(text) else None


def parse_seconds(text: str) -> float:
    """Like :func:`parse_duration`, and a number alone is one of seconds."""
    return float(text) if re.match(r"[0-9]+(\.[0-9]+)?\Z", text.strip()) else parse_duration(text)


def format_duration(seconds: float) -> str:
    """A duration in a form that every Kuma accepts: ``720h``, ``90m``, ``45s``; milliseconds are rounded up to one second at least."""
    whole = max(int(seconds), 1)
    for unit in ("h", "m"):
        size = int(_UNITS[unit])
        if whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def format_day(epoch: float) -> str:
    """The day of a point in time in epoch seconds as ``2026-11-23``."""
    return format_time(epoch).partition("T")[0]


def format_time(epoch: float) -> str:
    """A point in time in epoch seconds as ``2026-11-23T19:25:00Z``."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    except (OverflowError, OSError, ValueError):
        return f"epoch second {epoch:.0f}"
