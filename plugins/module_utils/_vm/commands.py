# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What runs commands on a VM, which tests can replace."""

from __future__ import annotations

import typing as t

# Runs a command and returns its exit status, output and error output. A program that does not exist is status 127.
Runner = t.Callable[[t.Sequence[str]], t.Tuple[int, str, str]]
