# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a control plane hands over lies where nobody else may read it, and is shown to nobody."""

from __future__ import annotations

import stat

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import hand_over

CA, TOKEN = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "eyJhbGciOiJSUzI1NiJ9.geheim"


def modes(directory):
    return {str(path.relative_to(directory)): f"{stat.S_IMODE(path.stat().st_mode):04o}" for path in directory.rglob("*")}


def test_both_are_kept_in_a_directory_of_one_s_own(tmp_path):
    difference = hand_over.keep(f"{tmp_path}/kuma/cp", CA + "\n", TOKEN, check=False)
    assert modes(tmp_path) == {"kuma": "0700", "kuma/cp": "0700", "kuma/cp/ca.pem": "0644", "kuma/cp/admin-token": "0600"}
    assert (tmp_path / "kuma/cp/ca.pem").read_text() == CA
    assert (tmp_path / "kuma/cp/admin-token").read_text() == TOKEN
    assert [item["after_header"] for item in difference] == [
        str(tmp_path / name) for name in ("kuma", "kuma/cp", "kuma/cp/ca.pem", "kuma/cp/admin-token")
    ]
    assert TOKEN not in str(difference)
    assert hand_over.keep(f"{tmp_path}/kuma/cp", CA, TOKEN, check=False) == []


def test_a_new_token_replaces_the_old_one_and_neither_is_shown(tmp_path):
    hand_over.keep(f"{tmp_path}/cp", CA, "an old token", check=False)
    (difference,) = hand_over.keep(f"{tmp_path}/cp", CA, TOKEN, check=False)
    assert (tmp_path / "cp/admin-token").read_text() == TOKEN
    assert not any(secret in str(difference) for secret in ("an old token", TOKEN))


def test_what_others_could_read_is_closed_to_them(tmp_path):
    hand_over.keep(f"{tmp_path}/cp", CA, TOKEN, check=False)
    (tmp_path / "cp").chmod(0o755)
    (tmp_path / "cp/admin-token").chmod(0o644)
    assert len(hand_over.keep(f"{tmp_path}/cp", CA, TOKEN, check=False)) == 2
    assert modes(tmp_path) == {"cp": "0700", "cp/ca.pem": "0644", "cp/admin-token": "0600"}


@pytest.mark.parametrize(("ca", "token"), [(CA, TOKEN), ("", "")])
def test_a_check_writes_nothing(tmp_path, ca, token):
    difference = hand_over.keep(f"{tmp_path}/kuma/cp", ca, token, check=True)
    assert len(difference) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_home_may_be_a_link_and_a_name_begin_with_a_tilde(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "home").symlink_to("real")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    hand_over.keep("~/kuma", CA, TOKEN, check=False)
    assert (tmp_path / "real/kuma/admin-token").read_text() == TOKEN
    (tmp_path / "kuma").symlink_to("real/kuma")
    assert hand_over.keep(str(tmp_path / "kuma"), CA, TOKEN, check=False) == []


def test_a_place_where_nothing_can_be_kept_is_named_and_the_token_is_not(tmp_path):
    (tmp_path / "kuma").write_text("")
    with pytest.raises(hand_over.NotKept, match=r"cannot be kept in .*kuma/cp: .*kuma is a file, expected a directory") as error:
        hand_over.keep(f"{tmp_path}/kuma/cp", CA, TOKEN, check=False)
    assert TOKEN not in str(error.value)
