# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What releases can do, at the very release from which on they can."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import OLDEST, Release, parse_release


def properties(release):
    names = [name for name, value in vars(Release).items() if isinstance(value, property)]
    return {name: getattr(release, name) for name in names}


@pytest.mark.parametrize(
    ("first", "changes"),
    [
        ((2, 11, 0), {"speaks_delta"}),
        (OLDEST, {"supported"}),
        ((2, 13, 0), {"labels_survive", "workload_tokens"}),
        ((2, 13, 7), {"shares_listeners"}),
        ((2, 14, 0), {"has_protocols", "admin_on_socket", "drains_over_socket", "reads_wildcards"}),
        ((3, 0, 0), {"model", "has_tags"}),
    ],
)
def test_what_comes_with_a_release(first, changes):
    major, minor, patch = first
    before = Release(major, minor, patch - 1) if patch else Release(major, minor - 1, 99) if minor else Release(major - 1, 99, 99)
    old, new = properties(before), properties(Release(*first))
    assert {name for name, value in old.items() if value != new[name]} == changes


def test_a_release_is_its_numbers():
    assert parse_release("v2.14.3-rc1") == (2, 14, 3)
    assert (2, 13, 9) < parse_release("2.14") < Release(3, 0, 0)
    assert "%d.%d" % Release(2, 14, 3)[:2] == "2.14"


@pytest.mark.parametrize("version", ["0.0.0-preview.vabc", "dev", "", "main"])
def test_a_build_without_a_number_is_of_the_newest_model(version):
    assert parse_release(version).model == "v3"
