# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of role kuma_cp: nothing is written before all was checked, everything reaches its module, and no secret a result."""

from __future__ import annotations

import socket
import stat

import pytest

from ansible_collections.meshfleet.kuma.plugins.action import control_plane_deploy, control_plane_hand_over, control_plane_look
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action
from tests.lab import certificates
from tests.unit.action.vm import Vm, made
from tests.unit.http_server import Answer
from tests.unit.join.test_archive import elf, make
from tests.unit.play.control_planes import FILLED_IN, GIVEN, KEY, PASSWORD, POSTGRES

FILES = {"kuma-2.14.3/bin/kuma-cp": elf(62), "kuma-2.14.3/bin/kuma-dp": elf(62)}
ADDRESSES = {"addresses": ["10.0.0.5", "192.0.2.5"], "default_address": "192.0.2.5", "listening": []}
SEEN = {"architecture": "amd64", "archives": {}, "user_exists": False, "group_exists": False, **ADDRESSES}
LOOK = {"install": True, "archive": "/cache/kuma.tar.gz", "checksum": "ab" * 32, "account": False, "https_address": "10.0.0.5"}
CA = GIVEN["tls_ca"]
TOKEN = "eyJhbGciOiJSUzI1NiJ9.geheim"


def variables(**options):
    return {f"kuma_cp_{name}": value for name, value in {**FILLED_IN, **options}.items()}


def look(tmp_path, seen=None, check=False, **options):
    """The result of the step, its action and the VM."""
    path, checksum = make(tmp_path / "kuma.tar.gz", FILES)
    given = {"archive": path, "archive_checksum": checksum, "archive_cache": str(tmp_path), **options}
    vm = Vm(proxy_info={"host": {**SEEN, **(seen or {})}})
    own = made(control_plane_look, vm, variables(**given), check)
    return own.step(), own, checksum


def test_a_sound_control_plane_is_looked_at_in_one_visit(tmp_path):
    result, own, checksum = look(tmp_path, user="mesh", https_address="")
    path = str(tmp_path / "kuma.tar.gz")
    told = {"install": True, "archive": path, "checksum": checksum, "account": False, "https_address": "10.0.0.5"}
    assert result == {"changed": False, **told}
    wanted = {"config_dir": "/etc/kuma-cp", "install_dir": "/opt/kuma", "user": "mesh", "group": "kuma-cp"}
    assert own._execute_module.calls == [("proxy_info", wanted)]
    assert "kuma_cp_store is memory" in own.warnings[0]
    result, _own, _checksum = look(tmp_path, {"archives": {"2.14.3": checksum}, "user_exists": True, "group_exists": True})
    assert (result["install"], result["account"]) == (False, True)
    assert look(tmp_path, {"user_exists": True})[0]["account"] is False


def test_everything_that_is_wrong_is_told_at_once_with_its_host(tmp_path):
    wrong = {
        "names": ["https://kuma"],
        "store": "etcd",
        "tls_ca": "no.pem",
        "tls_key": "geheim",
        "tls_cert": CA,
        "archive": "nowhere.tar.gz",
    }
    with pytest.raises(ItemsFailed) as failed:
        look(tmp_path, **wrong)
    assert "Nothing was written. 5 problems were found:" in failed.value.msg
    for problem in (
        "kuma_cp_names has",
        "kuma_cp_store is",
        "kuma_cp_tls_ca is 'no.pem'",
        "kuma_cp_tls_key is",
        "kuma_cp_archive is nowhere",
    ):
        assert f"cp: {problem}" in failed.value.msg
    assert "geheim" not in failed.value.msg


def test_a_given_certificate_is_shown_to_a_client_and_leaves_nothing_behind(tmp_path, monkeypatch):
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr(control_plane_look.constants, "DEFAULT_LOCAL_TMP", str(private))
    certificate, key = certificates.self_signed(tmp_path, "kuma", "10.0.0.5")
    given = {"tls_cert": str(certificate), "tls_key": str(key), "tls_ca": certificate.read_text(), "names": ["10.0.0.5"]}
    assert look(tmp_path, **given)[0]["install"]
    with pytest.raises(ItemsFailed, match=r"kuma_cp_tls_cert: it is not for kuma \(it is for 10.0.0.5\)"):
        look(tmp_path, **{**given, "names": ["10.0.0.5", "kuma"]})
    assert list(private.iterdir()) == []


@pytest.fixture
def elsewhere(tmp_path, serve):
    """``elsewhere(files)`` serves an archive with these files; returns the options of a control plane with it, and its bytes."""

    def start(files):
        (tmp_path / "there").mkdir()
        _path, checksum = make(tmp_path / "there/kuma.tar.gz", files)
        body = (tmp_path / "there/kuma.tar.gz").read_bytes()
        server = serve(Answer(200, body, headers={"Content-Type": "application/gzip"}))
        url = f"{server.url}/kuma-{{version}}-{{arch}}.tar.gz"
        return {"archive": url, "archive_checksum": checksum, "archive_cache": str(tmp_path / "cache")}, body

    return start


def test_a_release_that_is_elsewhere_is_fetched(tmp_path, elsewhere):
    given, body = elsewhere(FILES)
    assert look(tmp_path, check=True, **given)[0]["install"]
    assert not (tmp_path / "cache").exists()
    result = look(tmp_path, **given)[0]
    assert result["archive"] == str(tmp_path / "cache/kuma-2.14.3-amd64.tar.gz")
    assert (tmp_path / "cache/kuma-2.14.3-amd64.tar.gz").read_bytes() == body


def test_a_release_that_was_fetched_is_looked_into(tmp_path, elsewhere):
    given, _body = elsewhere({"kuma-2.14.3/bin/kuma-dp": elf(62)})
    with pytest.raises(ItemsFailed, match=r"cp: kuma_cp_archive \S+ has no <folder>/bin/kuma-cp"):
        look(tmp_path, **given)


def test_another_release_than_the_pinned_one_is_not_kept(tmp_path, elsewhere):
    given, _body = elsewhere(FILES)
    with pytest.raises(ItemsFailed, match=r"kuma_cp_archive http\S+ could not be fetched: its SHA-256 is"):
        look(tmp_path, **{**given, "archive_checksum": "0" * 64})
    assert list((tmp_path / "cache").iterdir()) == []


def deploying(look=None, check=False, answers=None, **options):
    """The result of the step, its action and the VM."""
    vm = Vm(
        **{
            "proxy_release": {"changed": True},
            "proxy_files": {"changed": True, "diff": [{"after": "a"}]},
            "control_plane_certificate": {"changed": True, "ca": CA, "trusted": CA, "diff": {"after": "b"}},
            "control_plane_service": {"changed": True, "actions": ["restarted"], "reasons": ["x"]},
            **(answers or {}),
        }
    )
    own = made(control_plane_deploy, vm, {**variables(**options), "kuma_cp_look": {**LOOK, **(look or {})}}, check)
    own._connection._shell.tmpdir = "/tmp/of-the-vm"
    return own.step(), own, vm


def test_release_files_certificate_and_service_in_this_order():
    result, own, vm = deploying()
    assert vm.names == ["proxy_release", "proxy_files", "control_plane_certificate", "control_plane_service"]
    assert own.removed == [("/tmp/of-the-vm", "proxy_files")], "its arguments lie on the VM while kuma-cp is waited for"
    assert own.sent == ["/cache/kuma.tar.gz"]
    assert vm.options("proxy_release") == {
        "user": "kuma-cp",
        "group": "kuma-cp",
        "comment": "Kuma control plane",
        "install_dir": "/opt/kuma",
        "version": "2.14.3",
        "checksum": "ab" * 32,
        "src": "/tmp/of-the-vm/archive.tar.gz",
    }
    assert vm.options("control_plane_certificate")["names"] == ["10.0.0.5", "localhost", "127.0.0.1"]
    assert vm.options("control_plane_service") == {
        "files": [
            "/etc/kuma-cp/kuma-cp.yaml",
            "/etc/kuma-cp/kuma-cp.env",
            "/etc/kuma-cp/tls/server.pem",
            "/etc/kuma-cp/tls/server-key.pem",
        ],
        "files_changed": True,
        "version": "2.14.3",
        "address": "127.0.0.1",
        "port": 5681,
        "timeout": 120,
    }
    assert result == {
        "changed": True,
        "diff": [{"after": "a"}, {"after": "b"}],
        "actions": ["restarted"],
        "reasons": ["x"],
        "ca": CA,
    }


@pytest.mark.parametrize(
    ("look", "unpacked"),
    [
        ({}, ["version", "checksum", "src"]),
        ({"account": True}, ["version", "checksum", "src"]),
        ({"install": False}, []),
        ({"install": False, "account": True}, None),
    ],
)
def test_a_release_and_an_account_that_are_there_need_no_visit(look, unpacked):
    _result, own, vm = deploying(look)
    if unpacked is None:
        assert vm.names[0] == "proxy_files"
    else:
        assert [key for key in ("version", "checksum", "src") if key in vm.options("proxy_release")] == unpacked
    assert bool(own.sent) is bool(unpacked)


def test_a_check_sends_no_archive():
    _result, own, vm = deploying(check=True)
    assert own.sent == []
    assert "src" not in vm.options("proxy_release")


def test_a_certificate_that_was_given_is_laid_down_and_none_is_made():
    result, _own, vm = deploying(**GIVEN)
    assert vm.names == ["proxy_release", "proxy_files", "control_plane_service"]
    paths = {item["path"] for group in ("files", "secrets") for item in vm.options("proxy_files")[group]}
    assert {"/etc/kuma-cp/tls/given.pem", "/etc/kuma-cp/tls/given-key.pem"} <= paths
    assert result["ca"] == CA


@pytest.mark.parametrize(("written", "signed"), [(False, False), (True, False), (False, True)])
def test_what_was_written_or_signed_restarts_it(written, signed):
    answers = {"proxy_files": {"changed": written}, "control_plane_certificate": {"changed": signed, "ca": CA, "trusted": CA}}
    assert deploying(answers=answers)[2].options("control_plane_service")["files_changed"] is (written or signed)


def test_with_nothing_to_do_nothing_changed():
    answers = {
        "proxy_files": {},
        "control_plane_certificate": {"ca": CA, "trusted": CA},
        "control_plane_service": {"actions": [], "reasons": []},
    }
    result, _own, vm = deploying({"install": False, "account": True}, answers=answers)
    assert (result["changed"], result["diff"], len(vm.calls)) == (False, [], 3)


def test_the_password_and_the_key_go_to_their_files_alone():
    result, own, vm = deploying(**{**POSTGRES, **GIVEN})
    for name, told in vm.calls:
        if name == "proxy_files":
            told = {key: value for key, value in told.items() if key != "secrets"}
        assert not any(secret in str(told) for secret in (PASSWORD, "$ecret", "PRIVATE KEY")), name
    assert not any(secret in str([result, own.warnings]) for secret in (PASSWORD, "$ecret", "PRIVATE KEY", KEY))


def test_a_kuma_cp_that_does_not_start_is_told_with_its_journal():
    with pytest.raises(action.VisitFailed) as failed:
        deploying(answers={"control_plane_service": {"failed": True, "msg": "it does not keep running", "journal": ["no database"]}})
    assert (failed.value.msg, failed.value.result["journal"]) == ("it does not keep running", ["no database"])


def test_what_a_vm_says_of_an_option_is_told_with_the_variable():
    with pytest.raises(action.VisitFailed, match=r"^kuma_cp_install_dir \(install_dir\): /opt/kuma is a file"):
        deploying(look=LOOK, answers={"proxy_release": {"failed": True, "msg": "install_dir: /opt/kuma is a file"}})


def handing(directory, check=False, diff=True, answer=None, **options):
    vm = Vm(control_plane_token=answer or {"token": TOKEN})
    done = {"ca": CA, "actions": ["started"]}
    own = made(control_plane_hand_over, vm, {**variables(fetch_dir=str(directory), **options), "kuma_cp_deployed": done}, check, diff)
    return own.step(), vm


def test_the_token_goes_to_its_file_and_is_in_no_result(tmp_path):
    result, vm = handing(tmp_path / "kuma")
    assert (tmp_path / "kuma/admin-token").read_text() == TOKEN
    assert stat.S_IMODE((tmp_path / "kuma/admin-token").stat().st_mode) == 0o600
    assert TOKEN not in str(result)
    assert (result["changed"], result["url"], result["dp_url"], result["ca"]) == (
        True,
        "https://10.0.0.5:5682",
        "https://10.0.0.5:5678",
        CA,
    )
    assert (result["summary"]["actions"], result["summary"]["files"]) == (["started"], str(tmp_path / "kuma"))
    assert vm.options("control_plane_token") == {
        "localhost_is_admin": True,
        "path": "/etc/kuma-cp/admin-token",
        "version": "2.14.3",
        "address": "127.0.0.1",
        "port": 5681,
        "timeout": 120,
    }
    again, _vm = handing(tmp_path / "kuma", diff=False)
    assert (again["changed"], again["diff"]) == (False, [])


def test_a_difference_is_shown_to_those_who_asked_for_it(tmp_path):
    assert handing(tmp_path / "a", diff=False)[0]["diff"] == []
    assert len(handing(tmp_path / "b")[0]["diff"]) == 3


def test_who_wants_no_files_gets_none(tmp_path):
    result, vm = handing("")
    assert (result["changed"], result["summary"]["files"], vm.names) == (False, "not wanted", ["control_plane_token"])
    assert handing("", answer={"token": TOKEN, "changed": True})[0]["changed"]


def test_a_check_keeps_nothing(tmp_path):
    result, _vm = handing(tmp_path / "kuma", check=True, answer={"token": ""})
    assert result["changed"]
    assert list(tmp_path.iterdir()) == []


def test_without_a_token_the_host_fails_with_the_reason_alone(tmp_path):
    with pytest.raises(ItemsFailed) as failed:
        handing(tmp_path / "kuma", answer={"failed": True, "msg": "it is refused", "token": TOKEN, "journal": [TOKEN]})
    assert (failed.value.msg, failed.value.result) == ("cp: it is refused", {})
    assert not isinstance(failed.value, action.VisitFailed)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made_fails_the_host(tmp_path):
    (tmp_path / "kuma").write_text("")
    with pytest.raises(ItemsFailed, match=r"^cp: the CA and the administrator's token cannot be kept in"):
        handing(tmp_path / "kuma")


def test_the_api_listens_where_its_names_lead(tmp_path, monkeypatch):
    real = socket.getaddrinfo

    def getaddrinfo(name, *args, **options):
        return real({"kuma.example.com": "192.0.2.5"}.get(name, name), *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def chosen(*names, **options):
        result, own, _checksum = look(tmp_path, names=list(names), https_address="", **options)
        return result["https_address"], [warning for warning in own.warnings if "https_address" in warning]

    assert chosen("10.0.0.5") == ("10.0.0.5", [])
    assert chosen("kuma.example.com", "*.example.com") == ("192.0.2.5", [])
    assert chosen("kuma.example.com", "10.0.0.5") == ("0.0.0.0", [])
    assert chosen("does-not-exist.invalid") == ("192.0.2.5", [])
    seen = {"listening": [{"address": "0.0.0.0", "port": 5682, "process": "kuma-cp"}]}
    address, (warning,) = chosen("10.0.0.5", seen=seen)
    assert address == "10.0.0.5"
    assert warning.startswith("cp: kuma_cp_https_address is not set, and the API was offered on all addresses: now it is on 10.0.0.5 alone")


def test_where_the_api_listens_is_laid_down(tmp_path):
    _result, _own, vm = deploying({"https_address": "10.0.0.7"}, https_address="")
    (config,) = [file["content"] for file in vm.options("proxy_files")["files"] if file["path"].endswith("kuma-cp.yaml")]
    assert "interface: 10.0.0.7" in config
