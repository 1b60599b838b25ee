# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many requests, a few at a time."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.concurrently import CONNECTIONS, concurrently


def test_answers_come_in_the_order_of_what_was_asked():
    assert concurrently(lambda number: number * number, range(100)) == [number * number for number in range(100)]


def test_no_more_are_under_way_than_there_are_connections():
    lock, under_way, most = threading.Lock(), [0], [0]
    together = threading.Barrier(CONNECTIONS, timeout=10)

    def work(_number):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        together.wait()
        with lock:
            under_way[0] -= 1

    concurrently(work, range(3 * CONNECTIONS))
    assert most[0] == CONNECTIONS


def test_an_error_of_one_is_raised():
    with pytest.raises(ZeroDivisionError):
        concurrently(lambda number: 1 / number, [1, 0])
