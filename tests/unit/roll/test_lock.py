# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a roll, where times of the control plane decide."""

from __future__ import annotations

import base64
import json

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import NotFound
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import lock


class Secrets:
    """The Secrets of one mesh, as far as a lock needs them. ``on_put`` runs before a write: another controller at the same moment."""

    def __init__(self, now="2026-11-25T17:00:00.5Z"):
        self.items, self.now, self.writes, self.on_put = {}, now, [], lambda: None

    def add(self, run, created, expires=2_000_000_000):
        name = f"{lock.PREFIX}{run}-1"
        content = json.dumps({"owner": f"root@{run}", "run": run, "expires": expires})
        self.items[name] = {"name": name, "creationTime": created, "data": base64.b64encode(content.encode()).decode()}

    def list(self, _path, _params=None):
        return list(self.items.values())

    def put(self, path, body):
        self.on_put()
        self.writes.append(path)
        self.items[body["name"]] = {**body, "creationTime": self.items.get(body["name"], {}).get("creationTime", self.now)}

    def delete(self, path):
        if self.items.pop(path.rpartition("/")[2], None) is None:
            raise NotFound("gone", kind="not_found")


def locks(secrets, run="mine"):
    return lock.Locks(secrets, "default", run, 1, "root@here", 3600)


def test_a_lock_that_is_held_is_not_even_competed_for():
    secrets = Secrets()
    # A control plane whose clock is ahead of the one that holds the lock.
    secrets.add("theirs", "2026-11-25T17:59:00Z")
    with pytest.raises(lock.Taken, match="root@theirs"):
        locks(secrets).acquire(1_900_000_000)
    assert secrets.writes == []


@pytest.mark.parametrize(
    ("theirs", "wins"),
    [
        pytest.param("2026-11-25T17:00:00.49Z", "theirs", id="earlier by a fraction that is shown with more digits"),
        pytest.param("2026-11-25T17:00:00Z", "theirs", id="earlier, and without a fraction"),
        pytest.param("2026-11-25T17:00:00.500000001Z", "mine", id="later by the smallest fraction"),
        pytest.param("2026-11-25T17:00:00.51Z", "mine", id="later"),
    ],
)
def test_of_two_that_write_at_the_same_moment_the_earlier_wins(theirs, wins):
    secrets = Secrets()
    secrets.on_put = lambda: secrets.add("theirs", theirs)
    if wins == "mine":
        assert locks(secrets).acquire(1_900_000_000) == 1_900_003_600
    else:
        with pytest.raises(lock.Taken, match="root@theirs"):
            locks(secrets).acquire(1_900_000_000)
    assert (f"{lock.PREFIX}mine-1" in secrets.items) is (wins == "mine")


def test_a_lock_that_is_held_is_renewed_beside_one_that_is_about_to_give_up():
    secrets = Secrets()
    held = locks(secrets)
    held.acquire(1_900_000_000)
    secrets.add("theirs", "2026-11-25T17:00:01Z")
    assert held.acquire(1_900_000_100) == 1_900_003_700
