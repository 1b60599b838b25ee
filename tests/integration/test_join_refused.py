# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane that a join cannot use: the whole playbook says why, and writes nothing. On hosts of their own it is tests/fleet."""

from __future__ import annotations

import json
import pathlib
import re
import sys

import pytest
import requests

from tests.unit.http_server import Server, make_certificate
from tests.unit.roll.mesh import Way

ROOT = pathlib.Path(__file__).parents[2]


class Join:
    """A host that is this machine, which is only looked at, and what its join asks a control plane by HTTPS."""

    def __init__(self, control_plane, directory):
        self.control_plane, self.directory = control_plane, directory
        self.certificate = make_certificate(directory / "api.pem")
        self.way = Way(control_plane.url)
        self.server = Server(self.way.handle, self.certificate)
        self.url = self.server.url

    def user(self, **wish):
        """The token of a user."""
        headers = {"Authorization": f"Bearer {self.control_plane.token}"}
        answer = requests.post(f"{self.control_plane.url}/tokens/user", json=wish, headers=headers, timeout=30)
        answer.raise_for_status()
        return answer.text.strip()

    def variables(self, **others):
        return {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "kuma_dp_control_plane_url": self.url,
            "kuma_dp_control_plane_dp_url": self.control_plane.dp_url,
            "kuma_dp_control_plane_ca": self.control_plane.ca_file,
            "kuma_dp_api_ca": self.certificate,
            "kuma_dp_api_token": self.control_plane.token,
            "kuma_dp_archive_cache": str(self.directory / "written" / "cache"),
            "kuma_dp_config_dir": str(self.directory / "written" / "etc"),
            "kuma_dp_install_dir": str(self.directory / "written" / "opt"),
            "kuma_dp_version": "2.14.3",
            # Without this file nothing is written to this machine, even where the control plane is found to be all right.
            "kuma_dp_archive": "/nowhere/kuma.tar.gz",
            "kuma_dp_archive_checksum": "0" * 64,
            "kuma_dp_address": "10.8.2.1",
            "kuma_dp_services": [{"name": "web", "port": 8080, "service_port": 18080, "protocol": "http"}],
            **others,
        }

    def close(self):
        self.server.close()
        self.way.close()


@pytest.fixture
def join(control_plane, tmp_path):
    made = Join(control_plane, tmp_path)
    yield made
    made.close()


def setting(join, case):
    """Variables with which the control plane cannot be used, and what the message has to hold of each problem."""
    if case == "bad token":
        return {"kuma_dp_api_token": "not.a.token"}, [("kuma_dp_api_token", "401|authenticat")]
    if case == "expired token":
        expired = join.user(name="fleet", groups=["mesh-system:admin"], validFor="-1h")
        return {"kuma_dp_api_token": expired}, [("kuma_dp_api_token", "expired")]
    if case == "CA that does not match":
        foreign = make_certificate(join.directory / "foreign.pem")
        return {"kuma_dp_api_ca": foreign}, [("kuma_dp_api_ca|kuma_dp_control_plane_ca", re.escape(join.url))]
    if case == "names that are too long":
        # One proxy could join: all the others would share what is its own.
        named = [{"name": "x" * length, "services": [{"name": "web", "port": 8000 + length}]} for length in (77, 80)]
        return {"kuma_dp_proxies": named}, [("kuma_dp_proxies\\[1\\].name", "vm-1", "has 80 characters, expected at most 77", "one socket")]
    if case.startswith("proxies"):
        others, reason = proxies(join, case)
        return others, [(r"^  \d. vm-1: ", "kuma_dp_control_plane_(ca|dp_url)", reason)]
    assert case == "token without rights and missing mesh"
    reader = join.user(name="reader", groups=["readers"], validFor="1h")
    rights, mesh = ("kuma_dp_api_token", "reader", "use a token of"), ("kuma_dp_mesh", "nowhere", "create the Mesh or correct the name")
    return {"kuma_dp_api_token": reader, "kuma_dp_mesh": "nowhere"}, [rights, mesh]


def proxies(join, case):
    """What a VM finds where its proxies would connect."""
    dp_url = join.control_plane.dp_url
    url = "kuma_dp_control_plane_dp_url"
    return {
        "proxies with a foreign CA": (
            {"kuma_dp_control_plane_ca": foreign_ca(join)},
            "was signed by CN=kuma-cp stand-in CA",
        ),
        "proxies with the certificate of a server": ({"kuma_dp_control_plane_ca": server_certificate(join)}, "is no certificate authority"),
        "proxies at another name": ({url: dp_url.replace("127.0.0.1", "127.0.0.2")}, "nothing listens at 127.0.0.2"),
        "proxies at the API": ({url: join.control_plane.https_url}, "is the API of the control plane, and not its dp-server"),
        "proxies at the API without TLS": ({url: join.control_plane.url.replace("http:", "https:")}, "is the API of the control plane"),
        "proxies where nobody listens": ({url: "https://127.0.0.1:9"}, "nothing listens at 127.0.0.1:9"),
        "proxies at a name that nobody knows": ({url: "https://does-not-exist.invalid:5678"}, "finds no address of does-not-exist.invalid"),
    }[case]


def foreign_ca(join):
    """Without its key, which is refused beside it."""
    path = pathlib.Path(make_certificate(join.directory / "foreign.pem"))
    text = path.read_text()
    path.write_text(text[text.index("-----BEGIN CERTIFICATE") :].partition("-----BEGIN PRIVATE")[0])
    return str(path)


def server_certificate(join):
    return str(pathlib.Path(join.control_plane.ca_file).with_name("server.pem"))


PROXIES = [
    "proxies with a foreign CA",
    "proxies with the certificate of a server",
    "proxies at another name",
    "proxies at the API",
    "proxies at the API without TLS",
    "proxies where nobody listens",
    "proxies at a name that nobody knows",
]


@pytest.mark.parametrize(
    "case",
    [*PROXIES, "bad token", "expired token", "CA that does not match", "names that are too long", "token without rights and missing mesh"],
)
def test_what_speaks_against_a_join_is_explained(join, ansible_playbook, case):
    others, wanted = setting(join, case)
    inventory = join.directory / "inventory.json"
    inventory.write_text(json.dumps({"mesh_fleet": {"hosts": {"vm-1": join.variables(**others)}}}))
    run = ansible_playbook("-i", inventory, ROOT / "playbooks/join_mesh.yml", cwd=join.directory)
    said = " ".join((run.stdout + run.stderr).split())
    assert run.returncode == 2, said
    (found,) = re.findall(r'"msg": ("The join was not begun.*?(?<!\\)")', run.stdout)
    problems = [line for line in json.loads(found).splitlines()[1:] if "/nowhere/kuma.tar.gz" not in line]
    assert len(problems) == len(wanted), problems
    for patterns, problem in zip(wanted, problems, strict=True):
        assert [pattern for pattern in patterns if not re.search(pattern, problem)] == [], problem
    assert "The join was not begun, nothing was written." in said
    assert {method for method, _target in join.way.seen} <= {"GET"}
    assert not (join.directory / "written").exists()
    tokens = {join.control_plane.token, others.get("kuma_dp_api_token", join.control_plane.token)}
    assert not [token for token in tokens if token in said]
