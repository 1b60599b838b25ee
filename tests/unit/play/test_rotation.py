# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom VMs trust while the CA of a control plane is rolled over, and who keeps it from changing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import certificates
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import rotation
from tests.unit.sockets import sign

OLD, NEW, OTHER = (sign(name, ca=True) for name in ("old CA", "new CA", "other CA"))
LEAF = sign("cp", NEW)
PATH = "/etc/kuma/control-plane-ca.pem"


def sha(signed):
    return certificates.of_pem(signed.pem)[0].sha256


def prepared(new=NEW, trusted=(OLD, NEW)):
    return {"new": new.pem, "trusted": "".join(one.pem for one in trusted)}


def test_the_successor_is_the_one_of_the_control_plane_or_the_one_that_is_given():
    assert rotation.successor([prepared()], "") == NEW.pem
    assert rotation.successor([], NEW.pem) == NEW.pem
    for several, given_new, reason in (
        ([], "", "kuma_rotate_ca_new is not set"),
        ([], " \n", "kuma_rotate_ca_new is not set"),
        ([prepared()], NEW.pem, "leave kuma_rotate_ca_new out"),
        ([prepared(), prepared()], "", "2 control planes are in the play"),
    ):
        with pytest.raises(ItemsFailed, match=reason):
            rotation.successor(several, given_new)


def test_both_are_trusted_on_the_way_and_each_once():
    assert rotation.trust(OLD.pem, [], NEW.pem).both == OLD.pem + NEW.pem
    assert rotation.trust(OLD.pem, [prepared()], NEW.pem).both == OLD.pem + NEW.pem
    assert rotation.trust(OLD.pem + NEW.pem, [], NEW.pem).both == OLD.pem + NEW.pem, "run again after it was laid down everywhere"
    assert rotation.trust(NEW.pem, [], NEW.pem).both == NEW.pem
    assert rotation.trust(OTHER.pem, [prepared()], NEW.pem).both == OTHER.pem + OLD.pem + NEW.pem, "what the inventory says counts as well"


@pytest.mark.parametrize(
    ("inventory", "new", "reason"),
    [
        ("", NEW.pem, "kuma_dp_control_plane_ca holds no certificate"),
        (OLD.pem, "hello", "kuma_rotate_ca_new holds no certificate"),
        (OLD.pem, LEAF.pem, "kuma_rotate_ca_new: CN=cp is no certificate authority"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", NEW.pem, "kuma_dp_control_plane_ca: certificate 1 cannot be read"),
    ],
)
def test_what_is_no_authority_is_told(inventory, new, reason):
    with pytest.raises(ItemsFailed, match=reason):
        rotation.trust(inventory, [], new)


def test_what_would_be_laid_down_at_last_is_looked_at_first():
    with pytest.raises(ItemsFailed, match="kuma_rotate_ca_new: certificate 1 is in a form that kuma-dp does not read"):
        rotation.trust(OLD.pem, [], NEW.pem.replace("\n", " "))
    with pytest.raises(ItemsFailed, match="kuma_rotate_ca_new: a private key is among"):
        rotation.trust(OLD.pem, [], NEW.pem + NEW.key_pem())


def seen(*servers):
    return {"servers": [{"outcome": outcome, "trusted_by": [sha(one) for one in by]} for outcome, by in servers]}


@pytest.mark.parametrize(
    ("servers", "alone"),
    [
        ([("trusted", [NEW])], True),
        ([("trusted", [OLD, NEW])], True),
        ([("trusted", [OLD])], False),
        ([("trusted", [NEW]), ("trusted", [OLD])], False),
        ([("trusted", [NEW]), ("refused", [])], False),
        ([("trusted", [NEW]), ("trusted", [NEW])], True),
        ([("plain", [])], False),
        ([], False),
    ],
)
def test_a_control_plane_has_changed_when_each_of_its_instances_has(servers, alone):
    assert rotation.shows_new_alone(seen(*servers), NEW.pem) is alone


def vm(text=OLD.pem, **proxies):
    """``proxies``: the codes of reasons for a restart by name, None of one that does not run."""
    return {
        "paths": {PATH: {"kind": "file", "sha256": rotation.digest(text)}},
        "proxies": {name: {"unit": {"active": codes is not None}, "restart_codes": codes or []} for name, codes in proxies.items()},
    }


def test_a_vm_is_confirmed_when_its_file_and_all_of_its_proxies_are():
    assert rotation.unconfirmed(vm(a=[], b=["token"], c=None), PATH, OLD.pem) == ""
    assert "b, c was started before the CA was laid down" in rotation.unconfirmed(vm(a=[], b=["CA"], c=["unit", "CA"]), PATH, OLD.pem)
    assert "is not what was to be laid down" in rotation.unconfirmed(vm(NEW.pem, a=[]), PATH, OLD.pem)
    assert "is not what was to be laid down" in rotation.unconfirmed({"paths": {}, "proxies": {}}, PATH, OLD.pem)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_the_digest_is_the_one_of_the_file_that_a_join_lays_down(text):
    """Blanks around a PEM text are none of its file."""
    assert rotation.digest(f"\n{text}\n\n") == rotation.digest(text.strip())


results = st.one_of(st.none(), st.just({"problem": ""}), st.just({"problem": "old"}), st.just({"failed": True, "msg": "gone"}))


@given(st.dictionaries(st.sampled_from("abcdef"), results))
def test_the_control_plane_changes_when_every_host_of_the_fleet_is_ready_and_never_before(found):
    why = rotation.lacking(list("abcdef"), found.get)
    ready = [host for host in "abcdef" if found.get(host) == {"problem": ""}]
    assert sorted(why) == sorted(set("abcdef") - set(ready))
    if why:
        told = rotation.not_ready(why)
        assert f"{len(why)} host" in told
        assert "run this again" in told


def test_hosts_of_one_reason_are_told_together():
    told = rotation.not_ready(rotation.lacking(["a", "b", "c"], {"a": {"problem": "old"}, "b": {"problem": "old"}}.get))
    assert "  a, b: old" in told
    assert "  c: it is not in this play, or was lost on the way" in told


def test_what_is_said_to_who_has_to_do_something():
    assert "KUMA_GENERAL_TLS_CERT_FILE" in rotation.waiting({"a": ["x"]}, by_role=False)
    assert "see above why" in rotation.waiting({"a": ["x"]}, by_role=True)
    assert rotation.over(NEW.pem, by_role=False) == [
        "The fleet trusts CN=new CA alone: now set kuma_dp_control_plane_ca to it in the inventory, and kuma_dp_api_ca where that is set."
    ]
    assert "kuma_cp_fetch_dir already" in rotation.over(NEW.pem, by_role=True)[0]
