# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New tokens between two tasks: each host finds its own, and nobody else anything."""

from __future__ import annotations

import os
import stat

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.tray import Tray


def test_each_host_finds_its_own_until_it_is_cleared(tmp_path):
    tray = Tray(str(tmp_path), "kuma_dp")
    tray.lay({"a": {"a": "token of a"}, "../b": {"b": "token of b"}})
    assert tray.take("a") == {"a": "token of a"}
    assert tray.take("a") == {"a": "token of a"}
    assert tray.take("../b") == {"b": "token of b"}
    assert tray.take("c") == {}
    tray.clear("a")
    tray.clear("c")
    assert tray.take("a") == {}


def test_nobody_else_may_read_them_and_they_are_all_below_the_directory_of_the_run(tmp_path):
    before = os.umask(0)
    try:
        Tray(str(tmp_path), "kuma_dp").lay({"../../a": {"a": "t"}})
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert [path.name for path in tmp_path.parent.glob("a*")] == []


def test_roles_do_not_find_what_others_laid_and_a_new_run_not_what_an_old_one_did(tmp_path):
    one, other = Tray(str(tmp_path), "kuma_dp"), Tray(str(tmp_path), "kuma_zone_proxy")
    one.lay({"a": {"a": "1"}})
    assert other.take("a") == {}
    one.lay({"b": {"b": "2"}})
    assert (one.take("a"), one.take("b")) == ({}, {"b": "2"})


@given(name=st.text(min_size=1, max_size=40))
def test_the_name_of_a_host_may_be_anything(name, tmp_path_factory):
    tray = Tray(str(tmp_path_factory.mktemp("tray")), "kuma_dp")
    tray.lay({name: {"a": "t"}})
    assert tray.take(name) == {"a": "t"}


def test_what_one_host_keeps_takes_nothing_from_others(tmp_path):
    tray = Tray(str(tmp_path), "kuma_dp-digests")
    tray.keep("a", {"key": "1"})
    tray.keep("b", {"key": "2"})
    tray.keep("a", {"key": "3"})
    assert (tray.take("a"), tray.take("b")) == ({"key": "3"}, {"key": "2"})
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()} == {0o600}
