# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of the controller that options name."""

from __future__ import annotations

import base64
import hashlib
import os
import stat

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import controller
from tests.unit.http_server import Answer

PEM = "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----"


def test_relative_paths_count_from_the_playbook_the_inventory_and_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("PWD", str(tmp_path / "c"))
    dirs = controller.search_dirs({"playbook_dir": str(tmp_path / "a"), "inventory_dir": str(tmp_path / "b")})
    assert dirs == [str(tmp_path / name) for name in "abc"]
    assert controller.search_dirs({"playbook_dir": str(tmp_path / "c"), "inventory_dir": None}) == [str(tmp_path / "c")]
    for name in "cb":
        (tmp_path / name).mkdir()
        (tmp_path / name / "ca.pem").write_text(name)
        assert controller.find("ca.pem", dirs) == str(tmp_path / name / "ca.pem")
    assert controller.find("other.pem", dirs) is None
    assert controller.find(str(tmp_path / "c/ca.pem"), dirs) == str(tmp_path / "c/ca.pem")


def test_an_option_holds_pem_or_names_a_file(tmp_path):
    (tmp_path / "ca.pem").write_text(PEM)
    assert controller.pem_text("", "x", []) == ""
    assert controller.pem_text(PEM, "x", []) == PEM
    assert controller.pem_text("ca.pem", "x", [str(tmp_path)]) == PEM
    assert controller.pem_path("ca.pem", "x", [str(tmp_path)], "/no") == str(tmp_path / "ca.pem")
    assert controller.pem_path("", "x", [], "/no") is None


def test_a_file_that_is_no_text_or_cannot_be_read_is_told_with_its_option(tmp_path, monkeypatch):
    """Others give out authorities in DER form."""
    path = tmp_path / "ca.cer"
    path.write_bytes(b"\x30\x82\x01\xff")
    with pytest.raises(
        controller.Missing, match=r"^kuma_dp_control_plane_ca is .*ca.cer, which is no text, expected PEM text: openssl x509"
    ):
        controller.pem_text("ca.cer", "kuma_dp_control_plane_ca", [str(tmp_path)])

    def denied(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(controller.Missing, match=r"^kuma_dp_control_plane_ca is .*ca.cer, which cannot be read: Permission denied"):
        controller.pem_text("ca.cer", "kuma_dp_control_plane_ca", [str(tmp_path)])


def test_pem_becomes_a_file_where_only_a_file_will_do(tmp_path):
    path = controller.pem_path(PEM, "x", [], str(tmp_path / "cache"))
    with open(path, encoding="utf-8") as handle:
        assert handle.read() == PEM + "\n"
    written = os.stat(path)
    assert stat.S_IMODE(written.st_mode) == 0o644
    assert controller.pem_path(PEM, "x", [], str(tmp_path / "cache")) == path
    assert os.stat(path).st_ino == written.st_ino, "it was right"
    with open(path, "w", encoding="utf-8") as handle:
        handle.write("another")
    controller.pem_path(PEM, "x", [], str(tmp_path / "cache"))
    with open(path, encoding="utf-8") as handle:
        assert handle.read() == PEM + "\n"


def test_a_file_that_is_not_there_is_told_with_where_it_was_looked_for(tmp_path):
    with pytest.raises(controller.Missing, match=r"kuma_dp_api_ca is ca\.pem, expected PEM text, or a file .* count from /a, /b$"):
        controller.pem_path("ca.pem", "kuma_dp_api_ca", ["/a", "/b"], str(tmp_path))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://x/kuma-{version}-{arch}.tar.gz", "https://x/kuma-2.14.3-amd64.tar.gz"),
        ("kuma-{version}.tar.gz", "{found}"),
        ("other-{arch}.tar.gz", "other-amd64.tar.gz"),
    ],
)
def test_where_an_archive_is(tmp_path, value, expected):
    (tmp_path / "kuma-2.14.3.tar.gz").touch()
    found = str(tmp_path / "kuma-2.14.3.tar.gz")
    assert controller.archive_source(value, "2.14.3", "amd64", [str(tmp_path)]) == expected.replace("{found}", found)


def test_an_archive_is_there_under_its_name_only_when_it_is_the_right_one(serve, tmp_path):
    body = b"archive" * 1000
    server = serve(Answer(200, body))
    right = {"url": server.url + "/a.tar.gz", "path": str(tmp_path / "cache/a"), "checksum": f"sha256:{hashlib.sha256(body).hexdigest()}"}
    wrong = {**right, "path": str(tmp_path / "cache/b"), "checksum": "sha256:" + "0" * 64}
    gone = {**right, "url": "http://127.0.0.1:1/a", "path": str(tmp_path / "cache/c")}
    problems = controller.fetch([right, wrong, gone], "kuma_dp")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["a"]
    assert (tmp_path / "cache/a").read_bytes() == body
    assert (
        f"its SHA-256 is {hashlib.sha256(body).hexdigest()}, expected an archive with the SHA-256 of kuma_dp_archive_checksum"
        in problems[0]
    )
    assert "kuma_dp_archive http://127.0.0.1:1/a could not be fetched" in problems[1]
    assert len(problems) == 2


def test_a_file_is_written_when_it_differs_and_not_in_check_mode(tmp_path):
    path = controller.writable(str(tmp_path / "report.json"), "x")
    assert controller.write(path, "a\n", check=True) == {"before_header": path, "after_header": path, "before": "", "after": "a\n"}
    assert list(tmp_path.iterdir()) == []
    assert controller.write(path, "a\n", check=False)["before"] == ""
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    written = os.stat(path).st_ino
    assert controller.write(path, "a\n", check=False) == {}
    assert os.stat(path).st_ino == written
    assert controller.write(path, "b\n", check=False)["before"] == "a\n"
    assert (tmp_path / "report.json").read_text() == "b\n"


def test_a_file_is_written_where_a_link_leads_and_nowhere_else(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "report.json").symlink_to(tmp_path / "there/report.json")
    assert controller.writable(str(tmp_path / "report.json"), "x") == str(tmp_path / "there/report.json")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert controller.writable("~/there/report.json", "x") == str(tmp_path / "there/report.json")
    for path in (str(tmp_path / "there"), str(tmp_path / "nowhere/report.json"), os.devnull):
        with pytest.raises(controller.Missing, match=f"^x is {path}, expected a file on the controller, in a directory that exists$"):
            controller.writable(path, "x")


def test_the_user_of_an_archive_is_known_to_its_server_and_to_nobody_else(serve, tmp_path):
    body, allowed = b"archive", "Basic " + base64.b64encode(b"me:canary").decode()
    who = Answer(401, headers={"WWW-Authenticate": 'Basic realm="mirror"'})
    server = serve(lambda request: Answer(200, body) if request.headers.get("Authorization") == allowed else who)
    told = server.url.replace("http://", "http://(hidden)@") + "/a.tar.gz"
    users = {told: told.replace("(hidden)", "me:canary")}
    wanted = {"url": told, "path": str(tmp_path / "a"), "checksum": f"sha256:{hashlib.sha256(body).hexdigest()}"}
    assert controller.fetch([wanted], "kuma_dp", users) == []
    for given in ({**wanted, "checksum": "sha256:" + "0" * 64}, {**wanted, "url": "http://me:canary@127.0.0.1:1/a"}):
        (problem,) = controller.fetch([given], "kuma_dp", users)
        assert "canary" not in problem
        assert "kuma_dp_archive http://(hidden)@127.0.0.1" in problem


def test_a_key_becomes_a_file_of_its_own_for_one_run(tmp_path):
    key = "-----BEGIN PRIVATE KEY-----\nA\n-----END PRIVATE KEY-----"
    path = controller.private_path(key, "x", [], str(tmp_path))
    with open(path, encoding="utf-8") as handle:
        assert handle.read() == key + "\n"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert controller.private_path(key, "x", [], str(tmp_path)) == path
    assert len(list(tmp_path.iterdir())) == 1, "no part is left"
    (tmp_path / "client.key").write_text(key)
    assert controller.private_path("client.key", "x", [str(tmp_path)], "/no") == str(tmp_path / "client.key")
    assert controller.private_path("", "x", [], "/no") is None


def test_what_is_taken_for_the_name_of_a_key_is_not_shown(tmp_path):
    with pytest.raises(controller.Missing, match=r"kuma_dp_api_client_key is \(not shown\), expected PEM text"):
        controller.private_path("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49", "kuma_dp_api_client_key", ["/a"], str(tmp_path))
