# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The certificate of a control plane: what clients make of it, who signs it, and when it is signed anew. openssl is the real one."""

from __future__ import annotations

import grp
import os
import stat
import subprocess
import time
from unittest import mock

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import certificates as common_certificates
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane import authority, tls
from ansible_collections.meshfleet.kuma.plugins.modules import control_plane_certificate
from tests.lab import certificates
from tests.unit import module_runner

NAMES = ("kuma.example.com", "10.0.0.5", "fd00::5", "localhost")


def run_command(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def sign(directory, names=NAMES, days=825, run=run_command):
    paths = authority.paths_in(str(directory))
    found = authority.examine(paths, names, 60, time.time())
    if found.reasons:
        authority.Authority(paths, run, lambda path, for_server: None).sign("kuma-cp", names, days, found.new_ca)
    return found.reasons


def test_clients_accept_it_under_every_name_and_a_second_look_finds_nothing(tmp_path):
    assert sign(tmp_path) == ["there is no CA"]
    paths = authority.paths_in(str(tmp_path))
    assert tls.accepted(paths.certificate, paths.key, paths.ca).names == set(NAMES)
    assert tls.problems(paths.certificate, paths.key, paths.ca, NAMES) == []
    assert sign(tmp_path) == []
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "ca.pem": 0o644, "ca-key.pem": 0o600, "server.pem": 0o644, "server-key.pem": 0o640
    }  # fmt: skip


def test_other_names_and_a_near_end_are_signed_by_the_same_ca(tmp_path):
    sign(tmp_path)
    ca = (tmp_path / "ca.pem").read_bytes()
    (reason,) = sign(tmp_path, ["kuma.example.com"], days=30)
    assert reason.endswith("expected kuma.example.com")
    (reason,) = sign(tmp_path, ["kuma.example.com"])
    assert reason.startswith("it ends on 20")
    assert (tmp_path / "ca.pem").read_bytes() == ca
    assert sign(tmp_path, ["kuma.example.com"]) == []


@pytest.mark.parametrize("damage", ["server-key.pem", "server.pem"])
def test_a_damaged_certificate_or_key_is_replaced(tmp_path, damage):
    sign(tmp_path)
    (tmp_path / damage).write_text("no PEM")
    (reason,) = sign(tmp_path)
    assert "clients refuse the certificate" in reason
    assert sign(tmp_path) == []


def test_the_key_of_another_certificate_is_told(tmp_path):
    sign(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    sign(other)
    paths = authority.paths_in(str(tmp_path))
    assert tls.problems(paths.certificate, str(other / "server-key.pem"), paths.ca, []) == ["the key is not that of the certificate"]
    (problem,) = tls.problems(paths.certificate, paths.key, str(other / "ca.pem"), [])
    assert "issuer" in problem or "signature" in problem or "self" in problem


def test_without_the_key_of_the_ca_nothing_is_signed_and_nothing_is_lost(tmp_path):
    sign(tmp_path)
    (tmp_path / "ca-key.pem").unlink()
    assert sign(tmp_path) == []
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ModuleFailed, match=r"ca-key.pem is gone.*put it back"):
        sign(tmp_path, ["other.example.com"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("number", range(1, 4))
def test_wherever_openssl_fails_the_old_certificate_stays(tmp_path, number):
    sign(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls = []

    def failing(command):
        calls.append(command)
        return run_command(command) if len(calls) != number else (127, "", "openssl: not found")

    with pytest.raises(ModuleFailed, match="install the package openssl"):
        sign(tmp_path, ["other.example.com"], run=failing)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_certificate_that_ended_or_ends_at_once_is_a_problem(tmp_path):
    certificate, key = certificates.self_signed(tmp_path, "kuma", "10.0.0.5")
    end = tls.accepted(str(certificate), str(key), str(certificate)).not_after
    files = [str(path) for path in (certificate, key, certificate)]
    assert tls.problems(*files, ["10.0.0.5"]) == []
    assert tls.problems(*files, ["10.0.0.5"], clock=lambda: end - 3600) == ["it ends within a day"]
    (problem,) = tls.problems(*files, ["10.0.0.6"])
    assert problem.startswith("it is not for 10.0.0.6 (it is for 10.0.0.5)")


def module(directory, check=False, **options):
    group = grp.getgrgid(os.getgid()).gr_name
    args = {"directory": str(directory), "names": ["10.0.0.5", "kuma"], "subject": "kuma-cp kuma-1", "group": group, **options}
    with mock.patch.object(os, "chown"):
        return module_runner.run("control_plane_certificate", args, check=check, diff=True)


def test_the_module_says_the_same_in_check_mode_and_writes_nothing(tmp_path):
    checked = module(tmp_path, check=True)
    assert (checked["changed"], checked["ca"], list(tmp_path.iterdir())) == (True, "", [])
    made = module(tmp_path)
    assert made["diff"] == checked["diff"]
    assert "+" not in made["diff"]["before"]
    again = module(tmp_path)
    assert (again["changed"], again["ca"], again["not_after"]) == (False, made["ca"], made["not_after"])
    assert "PRIVATE" not in str(made)


def test_the_module_tells_a_directory_that_is_not_there(tmp_path):
    result = module(tmp_path / "no")
    assert result["failed"]
    assert "could not be written" in result["msg"]


def shown(directory, ca):
    """Whether a client with this CA takes the certificate that is there."""
    pem = directory / "of-a-client.pem"
    pem.write_text(ca)
    try:
        return bool(tls.accepted(str(directory / "server.pem"), str(directory / "server-key.pem"), str(pem), "kuma"))
    except ValueError:
        return False
    finally:
        pem.unlink()


def test_a_rollover_signs_with_another_ca_only_when_it_is_told_to(tmp_path):
    first = module(tmp_path)
    old = first["ca"]
    assert (first["stage"], first["next"], first["trusted"]) == ("", "", old)
    prepared = module(tmp_path, rollover="prepare", again=True)
    new = prepared["next"]
    assert (prepared["changed"], prepared["stage"], prepared["ca"], prepared["trusted"]) == (True, "prepared", old, old + new)
    assert (shown(tmp_path, old), shown(tmp_path, new)) == (True, False)
    assert certificates_of(old)[0].subject != certificates_of(new)[0].subject
    switched = module(tmp_path, rollover="switch")
    assert (switched["changed"], switched["stage"], switched["ca"], switched["trusted"]) == (True, "switched", new, old + new)
    assert (shown(tmp_path, old), shown(tmp_path, new)) == (False, True)
    finished = module(tmp_path, rollover="finish")
    assert (finished["changed"], finished["stage"], finished["trusted"]) == (True, "", new)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca-key.pem", "ca.pem", "server-key.pem", "server.pem"]
    assert stat.S_IMODE((tmp_path / "ca-key.pem").stat().st_mode) == 0o600
    assert module(tmp_path, names=["other"])["ca"] == new, "it has the key of the new one"
    for result in (prepared, switched, finished):
        assert "PRIVATE" not in str(result)


def certificates_of(pem):
    return common_certificates.of_pem(pem)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_each_step_is_done_once_in_its_turn_and_shown_by_a_check(tmp_path):
    module(tmp_path)
    for step, too_early in (("prepare", ["switch", "finish"]), ("switch", ["finish"]), ("finish", [])):
        before = contents(tmp_path)
        for other in too_early:
            assert module(tmp_path, rollover=other)["changed"] is False
        assert module(tmp_path, check=True, rollover=step, again=True)["changed"]
        assert contents(tmp_path) == before
        assert module(tmp_path, rollover=step, again=True)["changed"]
        after = contents(tmp_path)
        assert module(tmp_path, rollover=step)["changed"] is False
        assert module(tmp_path)["changed"] is False, "a run of the role leaves it where it is"
        assert contents(tmp_path) == after


def test_a_ca_that_a_rollover_has_just_made_is_not_rolled_over(tmp_path):
    first = module(tmp_path)
    result = module(tmp_path, rollover="prepare")
    assert (result["changed"], result["stage"], result["trusted"]) == (False, "", first["ca"])
    with mock.patch.object(control_plane_certificate.time, "time", return_value=time.time() + 2 * 86400):
        assert module(tmp_path, rollover="prepare")["stage"] == "prepared"


class Killed(BaseException):
    pass


# It renames so often: a copy of the former CA, that, key and certificate of the server, the next CA, its key.
@pytest.mark.parametrize("number", range(6))
def test_a_switch_that_is_killed_anywhere_goes_on_and_always_shows_what_one_of_the_two_trusts(tmp_path, number):
    """Nothing is cleared up by a process that is gone."""
    old = module(tmp_path)["ca"]
    new = module(tmp_path, rollover="prepare", again=True)["next"]
    left, real = [number], os.rename

    def rename(source, target, **directories):
        if not left[0]:
            raise Killed
        left[0] -= 1
        real(source, target, **directories)

    with mock.patch.object(os, "rename", rename), pytest.raises(Killed):
        module(tmp_path, rollover="switch")
    assert module(tmp_path)["trusted"] == old + new
    assert shown(tmp_path, old) or shown(tmp_path, new), "a run of the role makes good what was cut"
    switched = module(tmp_path, rollover="switch")
    assert (switched["stage"], switched["ca"], switched["trusted"]) == ("switched", new, old + new)
    assert (shown(tmp_path, old), shown(tmp_path, new)) == (False, True)
    module(tmp_path, rollover="finish")
    assert module(tmp_path, names=["other"])["ca"] == new, "its key is the one of the CA"
