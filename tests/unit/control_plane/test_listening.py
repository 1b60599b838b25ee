# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""On which address the API of a control plane listens, and whom that would shut out."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks
from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane import check, listening

OWN = ["10.0.0.5", "192.0.2.5", "2001:db8::5"]
OPEN = [{"address": "0.0.0.0", "port": 5682, "process": "kuma-cp"}]


def choose(*names, wish="", own=tuple(OWN), default="192.0.2.5", listens=(), resolved=None):
    observed = {"addresses": list(own), "default_address": default, "listening": list(listens)}
    return listening.choose(check.completed({"names": list(names), "https_address": wish}), observed, resolved or {})


@pytest.mark.parametrize(
    ("names", "resolved", "address"),
    [
        (["10.0.0.5"], {}, "10.0.0.5"),
        (["2001:db8:0::5"], {}, "192.0.2.5"),
        (["2001:db8::5"], {}, "2001:db8::5"),
        (["10.0.0.5", "192.0.2.5"], {}, "0.0.0.0"),
        (["10.0.0.5", "2001:db8::5"], {}, "::"),
        (["kuma", "10.0.0.5"], {"kuma": ["10.0.0.5"]}, "10.0.0.5"),
        (["kuma", "10.0.0.5"], {"kuma": ["192.0.2.5"]}, "0.0.0.0"),
        (["kuma"], {"kuma": ["10.0.0.5", "192.0.2.5"]}, "0.0.0.0"),
        (["203.0.113.9"], {}, "192.0.2.5"),
        (["kuma"], {"kuma": ["203.0.113.9"]}, "192.0.2.5"),
        (["kuma", "*.example.com"], {}, "192.0.2.5"),
        (["localhost"], {"localhost": ["127.0.0.1"]}, "127.0.0.1"),
        (["127.0.0.1"], {}, "127.0.0.1"),
        (["kuma"], {"kuma": ["127.0.1.1"]}, "0.0.0.0"),
    ],
)
def test_the_address_is_the_one_that_its_names_mean(names, resolved, address):
    assert choose(*names, resolved=resolved) == (address, [])


def test_a_vm_of_which_nothing_is_known_listens_everywhere():
    assert choose("kuma", own=[], default=None).address == "0.0.0.0"


def test_whoever_is_shut_out_by_the_change_is_told():
    address, (warning,) = choose("10.0.0.5", listens=OPEN)
    assert address == "10.0.0.5"
    assert "now it is on 10.0.0.5 alone" in warning
    assert "at 192.0.2.5, 2001:db8::5 is refused from now on" in warning
    assert "set kuma_cp_https_address to 0.0.0.0" in warning
    assert choose("10.0.0.5", listens=[{**OPEN[0], "address": "10.0.0.5"}]).warnings == [], "said once"
    assert choose("10.0.0.5", listens=[{**OPEN[0], "port": 5678}]).warnings == []
    assert choose("10.0.0.5", "192.0.2.5", listens=OPEN) == ("0.0.0.0", [])


def test_a_wish_holds_and_all_addresses_without_need_are_warned_of():
    assert choose("10.0.0.5", wish="192.0.2.5", listens=OPEN) == ("192.0.2.5", [])
    address, (warning,) = choose("10.0.0.5", wish="0.0.0.0", listens=OPEN)
    assert address == "0.0.0.0"
    assert "while kuma_cp_names need 10.0.0.5 alone" in warning
    assert choose("10.0.0.5", "192.0.2.5", wish="0.0.0.0").warnings == []


names = st.lists(st.sampled_from([*OWN, "203.0.113.9", "127.0.0.1", "kuma", "db", "localhost", "*.x"]), min_size=1, max_size=4, unique=True)
addresses = st.lists(st.sampled_from([*OWN, "203.0.113.9", "127.0.1.1", "::1"]), max_size=3)


@given(
    names,
    st.dictionaries(st.sampled_from(["kuma", "db", "localhost"]), addresses),
    st.lists(st.sampled_from(OWN), unique=True),
    st.booleans(),
)
def test_nobody_who_comes_by_a_name_is_shut_out(given_names, resolved, own, was_open):
    default = own[0] if own else None
    address, _warnings = choose(*given_names, own=own, default=default, listens=OPEN if was_open else (), resolved=resolved)
    by = [name for name in given_names if checks.is_ip(name)] + [one for name in given_names for one in resolved.get(name, [])]
    for one in by:
        if one in own:
            everywhere = address == "::" or (address == "0.0.0.0" and ipaddress.ip_address(one).version == 4)
            assert everywhere or address == one
